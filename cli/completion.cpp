#include "cli/completion.hpp"

#include <memory>

#include <CLI/App.hpp>
#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/exit_code.hpp"

namespace recalld::cli {

namespace {

std::string joined(const std::vector<std::string>& words, std::string_view between) {
  std::string out;
  for (const auto& word : words)
    out += (out.empty() ? "" : std::string(between)) + word;
  return out;
}

/// A summary as it may stand inside single quotes of a shell and between zsh's brackets.
std::string quotable(std::string_view summary) {
  std::string out;
  for (char c : summary)
    out += c == '\'' ? '`' : c == '[' ? '(' : c == ']' ? ')' : c == ':' ? ',' : c;
  return out;
}

std::string path_of(const completion_entry& e) { return joined(e.path, " "); }

/// The words that lead to commands with children or flags, as one case pattern per command.
std::string known_paths(std::span<const completion_entry> entries) {
  std::string out;
  for (const auto& e : entries)
    if (!e.path.empty())
      out += (out.empty() ? "'" : "|'") + path_of(e) + "'";
  return out;
}

}  // namespace

std::string bash_completion(std::span<const completion_entry> entries) {
  std::string out = R"(# bash completion of recalld. Use: source <(recalld completion bash)
_recalld() {
  local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}" path="" word next i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="${COMP_WORDS[i]}"
    next="${path:+$path }$word"
    case "$next" in
)";
  out += fmt::format("      {}) path=\"$next\" ;;\n", known_paths(entries));
  out += R"(    esac
  done
  local words=""
  case "$path $previous" in
)";
  for (const auto& e : entries)
    for (const auto& [flag, values] : e.values) {
      std::string answer = "COMPREPLY=(); return";
      if (!values.empty() && values.front() == "<directory>")
        answer = "COMPREPLY=($(compgen -d -- \"$current\")); return";
      else if (!values.empty() && values.front() == "<file>")
        answer = "COMPREPLY=($(compgen -f -- \"$current\")); return";
      else if (!values.empty())
        answer = fmt::format("COMPREPLY=($(compgen -W '{}' -- \"$current\")); return",
                             joined(values, " "));
      out += fmt::format("    '{} {}') {} ;;\n", path_of(e), flag, answer);
    }
  out += "  esac\n  case \"$path\" in\n";
  for (const auto& e : entries)
    out += fmt::format("    '{}') words='{}' ;;\n", path_of(e), joined(e.words, " "));
  out += R"(  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [[ ${#COMPREPLY[@]} -eq 0 && "$current" != -* ]] && COMPREPLY=($(compgen -f -- "$current"))
  return 0
}
complete -F _recalld recalld
)";
  return out;
}

std::string zsh_completion(std::span<const completion_entry> entries) {
  std::string out = R"(#compdef recalld
# zsh completion of recalld. Use: source <(recalld completion zsh)
_recalld() {
  local current="${words[CURRENT]}" previous="${words[CURRENT-1]}" path_="" next i
  for ((i = 2; i < CURRENT; i++)); do
    next="${path_:+$path_ }${words[i]}"
    case "$next" in
)";
  std::string patterns = known_paths(entries);
  out += fmt::format("      ({}) path_=\"$next\" ;;\n", patterns);
  out += R"(    esac
  done
  case "$path_ $previous" in
)";
  for (const auto& e : entries)
    for (const auto& [flag, values] : e.values) {
      std::string answer = "return";
      if (!values.empty() && values.front() == "<directory>")
        answer = "_files -/; return";
      else if (!values.empty() && values.front() == "<file>")
        answer = "_files; return";
      else if (!values.empty())
        answer = fmt::format("compadd -- {}; return", joined(values, " "));
      out += fmt::format("    ('{} {}') {} ;;\n", path_of(e), flag, answer);
    }
  out += "  esac\n  local -a found\n  case \"$path_\" in\n";
  for (const auto& e : entries) {
    std::string described;
    for (std::size_t i = 0; i < e.words.size(); ++i)
      described += fmt::format(" '{}:{}'", e.words[i], quotable(e.summaries[i]));
    out += fmt::format("    ('{}') found=({} ) ;;\n", path_of(e), described);
  }
  out += R"(  esac
  if [[ "$current" == -* ]]; then
    found=(${(M)found:#-*})
  else
    found=(${found:#-*})
  fi
  if (( ${#found} )); then
    _describe 'recalld' found
  else
    _files
  fi
}
compdef _recalld recalld
)";
  return out;
}

std::string fish_completion(std::span<const completion_entry> entries) {
  std::string out = "# fish completion of recalld. Use: recalld completion fish | source\n"
                    "function __recalld_at\n"
                    "  set -l path\n"
                    "  for word in (commandline -opc)[2..-1]\n"
                    "    set -l next (string join ' ' $path $word)\n"
                    "    contains -- $next $__recalld_paths; and set path $next\n"
                    "  end\n"
                    "  test \"$path\" = \"$argv[1]\"\n"
                    "end\n";
  std::string paths;
  for (const auto& e : entries)
    if (!e.path.empty())
      paths += " '" + path_of(e) + "'";
  out += "set -g __recalld_paths" + paths + "\n";
  for (const auto& e : entries) {
    const auto condition = fmt::format("-n \"__recalld_at '{}'\"", path_of(e));
    for (std::size_t i = 0; i < e.words.size(); ++i) {
      const auto& word = e.words[i];
      if (!word.starts_with("--")) {
        out += fmt::format("complete -c recalld -f {} -a '{}' -d '{}'\n", condition, word,
                           quotable(e.summaries[i]));
        continue;
      }
      std::string value;
      for (const auto& [flag, values] : e.values)
        if (flag == word) {
          value = " -r";
          if (!values.empty() && values.front() == "<directory>")
            value = " -x -a '(__fish_complete_directories)'";
          else if (!values.empty() && values.front() != "<file>")
            value = fmt::format(" -x -a '{}'", joined(values, " "));
        }
      out += fmt::format("complete -c recalld {} -l {}{} -d '{}'\n", condition, word.substr(2),
                         value, quotable(e.summaries[i]));
    }
  }
  return out;
}

command completion_command() {
  return {
    .name = "completion",
    .summary = "Print a completion script for bash, zsh or fish.",
    .examples = {"source <(recalld completion bash)", "recalld completion zsh > ~/.zfunc/_recalld",
                 "recalld completion fish | source"},
    .prepare = [](CLI::App& app) -> runner {
      auto shell = std::make_shared<std::string>();
      app.add_option("SHELL", *shell, "bash, zsh or fish.")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish"}));
      return [shell](const invocation&) {
        const auto entries = completion_entries();
        const auto script = *shell == "bash"  ? bash_completion(entries)
                            : *shell == "zsh" ? zsh_completion(entries)
                                              : fish_completion(entries);
        fmt::print("{}", script);
        return exit_code::success;
      };
    },
    .heading = "Tools",
  };
}

}  // namespace recalld::cli

#include "cli/command.hpp"

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "actors/gateway.hpp"
#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "events/near_word.hpp"

#ifndef RECALLD_VERSION
#define RECALLD_VERSION "0.1.0"
#endif

namespace recalld::cli {

namespace {

constexpr std::string_view settings_heading = "Settings";

std::string wrap(std::string_view text, std::size_t indent, std::size_t width) {
  std::string out;
  std::size_t used = indent;
  while (!text.empty()) {
    const auto end = text.find(' ');
    const auto word = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (used > indent && used + 1 + display_width(word) > width) {
      out += "\n" + std::string(indent, ' ');
      used = indent;
    }
    if (used > indent) {
      out += ' ';
      ++used;
    }
    out += word;
    used += display_width(word);
  }
  return out;
}

std::string definition(std::string_view term, std::string_view meaning) {
  constexpr std::size_t column = 30;
  constexpr std::size_t width = 100;
  auto line = "  " + std::string(term);
  if (display_width(line) + 2 > column)
    line += "\n" + std::string(column, ' ');
  else
    line.append(column - display_width(line), ' ');
  return line + wrap(meaning, column, width) + "\n";
}

std::string flag_names(const CLI::Option& option) {
  std::string out;
  for (const auto& name : option.get_snames())
    out += (out.empty() ? "-" : ", -") + name;
  for (const auto& name : option.get_lnames())
    out += (out.empty() ? "--" : ", --") + name;
  return out;
}

bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

std::string full_name(const CLI::App* app) {
  std::string out = app->get_name();
  for (app = app->get_parent(); app != nullptr; app = app->get_parent())
    out = app->get_name() + " " + out;
  return out;
}

/// Our own help, the same with every release of CLI11.
class help_formatter : public CLI::Formatter {
public:
  std::string make_help(const CLI::App* app, std::string, CLI::AppFormatMode) const override {
    std::string out = app->get_description() + "\n\nUsage: " + full_name(app);
    const auto positionals =
      app->get_options([](const CLI::Option* o) { return o->get_positional(); });
    const auto flags = app->get_options([](const CLI::Option* o) { return o->nonpositional(); });
    const auto children = app->get_subcommands([](const CLI::App*) { return true; });
    for (const auto* p : positionals) {
      const auto name = p->get_name(true) + (p->get_items_expected_max() > 1 ? "..." : "");
      out += p->get_required() ? " " + name : " [" + name + "]";
    }
    if (!children.empty())
      out += " COMMAND";
    out += " [OPTIONS]\n";
    if (!positionals.empty()) {
      out += "\n";
      for (const auto* p : positionals)
        out += definition(p->get_name(true), p->get_description());
    }
    std::vector<std::string> headings;
    for (const auto* child : children)
      if (std::find(headings.begin(), headings.end(), child->get_group()) == headings.end())
        headings.push_back(child->get_group());
    for (const auto& heading : headings) {
      out += "\n" + heading + ":\n";
      for (const auto* child : children)
        if (child->get_group() == heading) {
          const auto summary = child->get_description();
          out += definition(child->get_name(), summary.substr(0, summary.find('\n')));
        }
    }
    for (const auto& heading : {std::string("Options"), std::string(settings_heading)}) {
      std::string lines;
      for (const auto* flag : flags)
        if (flag->get_group() == heading) {
          const auto value = takes_value(*flag) ? " " + flag->get_type_name() : std::string();
          lines += definition(flag_names(*flag) + value, flag->get_description());
        }
      if (!lines.empty())
        out += "\n" + heading + ":\n" + lines;
    }
    const auto footer = app->get_footer();
    return footer.empty() ? out : out + "\n" + footer;
  }
};

std::string examples_text(const command& c) {
  std::string out;
  for (const auto example : c.examples)
    out += "  " + std::string(example) + "\n";
  return out.empty() ? out : "Examples:\n" + out;
}

std::string exit_codes_text() {
  std::string out = "Exit status:\n";
  for (const auto& m : exit_meanings())
    out += definition(fmt::format("{:<5}{}", m.code, m.name), m.meaning);
  return out;
}

std::string_view type_name(setting_type t) {
  switch (t) {
    case setting_type::text: return "TEXT";
    case setting_type::path: return "PATH";
    case setting_type::whole: return "N";
    case setting_type::bytes: return "BYTES";
    case setting_type::boolean: return "";
    case setting_type::choice: return "WORD";
  }
  return "";
}

/// The parser, built from the tree, and what it found.
class parser {
public:
  parser() {
    const auto& root = program();
    app_.name(std::string(root.name));
    app_.formatter(std::make_shared<help_formatter>());
    app_.set_version_flag("--version", "recalld " RECALLD_VERSION)
      ->description("Print the version.");
    app_.require_subcommand(1);
    add(app_, root);
    app_.footer(examples_text(root) + "\n" + exit_codes_text()
                + "\nSettings come from flags, RECALLD_* variables and a configuration file: "
                  "`recalld config`\n"
                  "lists them. More on a command: `recalld COMMAND --help`.\n");
  }

  CLI::App& app() { return app_; }

  struct found {
    runner run;
    std::optional<std::string> config;
    std::map<std::string, std::string, std::less<>> flags;
    bool json = false;
  };
  found& chosen() { return found_; }

private:
  void add(CLI::App& app, const command& c) {
    auto text = std::string(c.summary);
    if (!c.details.empty())
      text += "\n\n" + std::string(c.details);
    app.description(text);
    app.footer(examples_text(c));
    app.set_help_flag("-h,--help", "Print this help.");
    add_settings(app, c.audience);
    if (c.prepare)
      app.final_callback([this, run = c.prepare(app)] { found_.run = run; });
    for (const auto& child : c.children) {
      auto* sub = app.add_subcommand(std::string(child.name));
      sub->group(std::string(child.heading));
      add(*sub, child);
    }
    if (!c.children.empty())
      app.require_subcommand(1);
  }

  void add_settings(CLI::App& app, unsigned audience) {
    app.add_flag_callback(
      "--json", [this] { found_.json = true; }, "Results and errors as JSON, for programs.");
    const std::string heading(settings_heading);
    app
      .add_option_function<std::string>(
        "--config", [this](const std::string& file) { found_.config = file; },
        "Configuration file. Default: RECALLD_CONFIG, ./recalld.toml, /etc/recalld/recalld.toml.")
      ->type_name("FILE")
      ->group(heading);
    for (const auto& s : setting_table()) {
      const bool wanted = (s.audience & (audience | used_by::every)) != 0;
      if (s.flag.empty() || !wanted)
        continue;
      const auto key = std::string(s.key);
      auto meaning = std::string(s.meaning);
      if (!s.choices.empty())
        meaning += fmt::format(" One of {}.", s.choices);
      if (s.type == setting_type::boolean) {
        app
          .add_flag_callback(
            std::string(s.flag), [this, key] { found_.flags[key] = "true"; }, meaning)
          ->group(heading);
        continue;
      }
      if (!s.fallback.empty())
        meaning += fmt::format(" Default: {}.", s.fallback);
      app
        .add_option_function<std::string>(
          std::string(s.flag), [this, key](const std::string& v) { found_.flags[key] = v; },
          meaning)
        ->type_name(std::string(type_name(s.type)))
        ->group(heading);
    }
  }

  CLI::App app_;
  found found_;
};

const command* find_child(const command& parent, std::string_view name) {
  const auto found = std::find_if(parent.children.begin(), parent.children.end(),
                                  [&](const auto& c) { return c.name == name; });
  return found == parent.children.end() ? nullptr : &*found;
}

/// The error that a wrong command line deserves: which word is wrong and what is near it.
error explain(const CLI::ParseError& e, CLI::App& app, const std::vector<std::string>& words) {
  const auto* where = &program();
  CLI::App* parsed = &app;
  for (const auto& word : words) {
    if (where->children.empty() || word.starts_with("-"))
      break;
    const auto* child = find_child(*where, word);
    if (child == nullptr) {
      std::vector<std::string_view> known;
      for (const auto& c : where->children)
        known.push_back(c.name);
      auto message = fmt::format("unknown command '{}'", word);
      if (const auto near = nearest(word, known); !near.empty())
        message += fmt::format("; did you mean '{}'?", near);
      return invalid(word, message);
    }
    where = child;
    parsed = parsed->get_subcommand(std::string(child->name));
  }
  std::vector<std::string> names;
  for (const auto* option : parsed->get_options())
    for (const auto& name : option->get_lnames())
      names.push_back("--" + name);
  const std::vector<std::string_view> known(names.begin(), names.end());
  for (const auto& extra : parsed->remaining(true)) {
    auto message = fmt::format("unexpected '{}'", extra);
    const auto flag = std::string_view(extra).substr(0, extra.find('='));
    if (const auto near = extra.starts_with("--") ? nearest(flag, known) : std::string_view{};
        !near.empty())
      message += fmt::format("; did you mean '{}'?", near);
    return invalid(extra, message);
  }
  return invalid("", e.what());
}

void walk(const command& c, const CLI::App& app, std::vector<std::string> path,
          std::vector<completion_entry>& out) {
  completion_entry entry;
  entry.path = path;
  for (const auto& child : c.children) {
    entry.words.emplace_back(child.name);
    entry.summaries.emplace_back(child.summary);
  }
  for (const auto* option :
       app.get_options([](const CLI::Option* o) { return o->nonpositional(); }))
    for (const auto& name : option->get_lnames()) {
      entry.words.push_back("--" + name);
      entry.summaries.push_back(option->get_description());
      const auto type = option->get_type_name();
      std::vector<std::string> values;
      if (type == "PATH" || type == "DIR")
        values = {"<directory>"};
      else if (type == "FILE")
        values = {"<file>"};
      else if (type.find('|') != std::string::npos)
        values = CLI::detail::split(type, '|');
      for (const auto& s : setting_table())
        if (!s.choices.empty() && s.flag == "--" + name)
          values = CLI::detail::split(std::string(s.choices), '|');
      if (takes_value(*option))
        entry.values.emplace_back("--" + name, std::move(values));
    }
  out.push_back(std::move(entry));
  for (const auto& child : c.children) {
    auto deeper = path;
    deeper.emplace_back(child.name);
    walk(child, *app.get_subcommand(std::string(child.name)), std::move(deeper), out);
  }
}

}  // namespace

int invocation::fail(const error& e) const {
  std::fflush(stdout);
  if (json) {
    fmt::print(stderr, "{}\n", actors::render(e));
  } else {
    // Many messages name their field themselves.
    const bool named = e.field.empty() || e.message.find(e.field) != std::string::npos;
    fmt::print(stderr, "{} {}{}\n", err.paint(style::red, "recalld:"),
               named ? "" : printable(e.field) + ": ", printable(e.message));
  }
  return exit_code_of(e.code);
}

void invocation::note(std::string_view line) const {
  // In the order in which they were said, also where both go to one pipe.
  std::fflush(stdout);
  fmt::print(stderr, "{}\n", line);
}

int run(int argc, const char* const* argv) {
  parser p;
  const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
  invocation bare{{}, inspect(STDOUT_FILENO, "auto"), inspect(STDERR_FILENO, "auto"), false};
  bare.json = std::find(words.begin(), words.end(), "--json") != words.end();
  if (words.empty()) {
    fmt::print(stderr, "{}", p.app().help());
    return exit_code_of(errc::invalid);
  }
  try {
    p.app().parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    const CLI::App* deepest = &p.app();
    for (auto chosen = deepest->get_subcommands(); !chosen.empty();
         chosen = deepest->get_subcommands())
      deepest = chosen.front();
    fmt::print("{}", deepest->get_formatter()->make_help(deepest, "", CLI::AppFormatMode::Normal));
    return exit_code::success;
  } catch (const CLI::CallForVersion& e) {
    fmt::print("{}\n", e.what());
    return exit_code::success;
  } catch (const CLI::ParseError& e) {
    const auto status = bare.fail(explain(e, p.app(), words));
    if (!bare.json)
      bare.note("Try --help behind the command.");
    return status;
  }

  auto sources = process_sources();
  if (p.chosen().config)
    sources.file = *p.chosen().config;
  sources.flags = std::move(p.chosen().flags);
  auto loaded = load_settings(sources);
  if (!loaded)
    return bare.fail(loaded.error());
  const auto colour = loaded->text("color");
  const invocation call{std::move(*loaded), inspect(STDOUT_FILENO, colour),
                        inspect(STDERR_FILENO, colour), p.chosen().json};
  for (const auto& warning : call.settings.warnings())
    call.note(warning);
  return p.chosen().run(call);
}

std::string help_of(const std::vector<std::string>& path) {
  parser p;
  const CLI::App* app = &p.app();
  for (const auto& name : path) {
    const auto found =
      app->get_subcommands([&](const CLI::App* sub) { return sub->get_name() == name; });
    if (found.empty())
      return {};
    app = found.front();
  }
  return app->get_formatter()->make_help(app, "", CLI::AppFormatMode::Normal);
}

std::vector<completion_entry> completion_entries() {
  parser p;
  std::vector<completion_entry> out;
  walk(program(), p.app(), {}, out);
  return out;
}

}  // namespace recalld::cli

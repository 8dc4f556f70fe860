#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/settings.hpp"
#include "cli/terminal.hpp"
#include "events/error.hpp"

namespace CLI {
class App;
}

/// A command of the program, as data: the parser, the help, the completion scripts and the manual
/// are read off the tree in `commands.cpp`.
namespace recalld::cli {

/// What a command runs with.
struct invocation {
  cli::settings settings;
  terminal out;       ///< stdout: results.
  terminal err;       ///< stderr: progress, errors.
  bool json = false;  ///< Results for a program.

  /// Prints an error to stderr (as `{"error":…}` with `--json`) and gives its exit status.
  int fail(const error& e) const;
  /// A line for a person on stderr.
  void note(std::string_view line) const;
};

/// Runs a command whose options have been parsed. Gives the exit status.
using runner = std::function<int(const invocation&)>;

struct command {
  std::string_view name;
  std::string_view summary;            ///< One line.
  std::string_view details = {};       ///< More lines for its own help; may be empty.
  unsigned audience = used_by::every;  ///< Which settings it has as flags.
  std::vector<std::string_view> examples = {};
  /// Adds options; they live as long as the runner. Absent in a command that only has children.
  std::function<runner(CLI::App&)> prepare = {};
  std::vector<command> children = {};
  std::string_view heading = "Commands";  ///< Under which it stands in the list.
};

/// The whole tree; the root is the program.
const command& program();

/// Parses and runs. Never throws; gives the exit status.
int run(int argc, const char* const* argv);

/// Help of a command, which `path` leads to: `{"session","get"}`. Empty when there is none.
std::string help_of(const std::vector<std::string>& path);

/// A word that the user can complete after some command path, for the completion scripts.
struct completion_entry {
  std::vector<std::string> path;
  std::vector<std::string> words;      ///< Commands and flags.
  std::vector<std::string> summaries;  ///< As many as words.
  /// Flags and the words that may follow them; `<file>` and `<directory>` stand for paths.
  std::vector<std::pair<std::string, std::vector<std::string>>> values;
};
std::vector<completion_entry> completion_entries();

}  // namespace recalld::cli

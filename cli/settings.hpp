#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "events/result.hpp"

/// Configuration: one table of data, from which the file, the environment, the flags, `recalld
/// config` and the manual are read off. A flag wins over the environment, the environment over the
/// file, the file over the default.
namespace recalld::cli {

enum class setting_type : std::uint8_t {
  text,     ///< Anything.
  path,     ///< A file or directory; relative to the working directory.
  whole,    ///< A whole number, `1_000` allowed.
  bytes,    ///< A whole number with an optional KiB, MiB or GiB.
  boolean,  ///< `true` or `false`.
  choice,   ///< One of `setting::choices`.
};

/// Which commands a setting means something to; they get it as a flag.
namespace used_by {
inline constexpr unsigned every = 1;     ///< All commands.
inline constexpr unsigned store = 2;     ///< Whoever opens the data directory.
inline constexpr unsigned server = 4;    ///< Whoever runs a node.
inline constexpr unsigned client = 8;    ///< Whoever talks to a server.
inline constexpr unsigned session = 16;  ///< Whoever looks for sessions.
}  // namespace used_by

struct setting {
  std::string_view key;   ///< In the file, sections written with dots: `listen.port`.
  std::string_view flag;  ///< `--port`
  setting_type type = setting_type::text;
  /// As it would be written; in capitals the name of another place it is derived from.
  std::string_view fallback;
  std::string_view meaning;  ///< One sentence, with units and limits.
  unsigned audience = used_by::every;
  std::uint64_t least = 0;        ///< Of numbers.
  std::uint64_t most = 0;         ///< Of numbers; 0 = no limit.
  std::string_view choices = {};  ///< Separated by `|`.
};

/// The one table, in the order of the manual.
std::span<const setting> setting_table();
const setting* find_setting(std::string_view key);
/// `RECALLD_LISTEN_PORT` for `listen.port`.
std::string environment_name(const setting& s);

/// Where a value came from.
struct origin {
  enum class source : std::uint8_t { fallback, file, environment, flag };
  source from = source::fallback;
  std::string place;  ///< `FILE:LINE`, the variable or the flag; empty for defaults.
};
std::string to_string(const origin& o);

struct settings_sources;
class settings;
/// `invalid` for a file that cannot be read, an unknown key (naming the nearest known one), a value
/// of the wrong type or out of range; the error says where it stands.
result<settings> load_settings(const settings_sources& from);

/// The effective value of every setting. Every value was checked, so reading one cannot fail.
class settings {
public:
  struct value {
    const setting* what = nullptr;
    std::string text;
    origin from;
  };

  const std::string& text(std::string_view key) const;
  std::filesystem::path path(std::string_view key) const;
  std::uint64_t number(std::string_view key) const;
  bool flag(std::string_view key) const;
  /// Somebody gave a value.
  bool given(std::string_view key) const;

  const std::vector<value>& all() const noexcept { return values_; }
  /// The file that was read; empty when there was none.
  const std::filesystem::path& file() const noexcept { return file_; }
  /// What looks like a mistake and is none for sure: misspelt environment variables.
  const std::vector<std::string>& warnings() const noexcept { return warnings_; }

private:
  friend result<settings> load_settings(const settings_sources& from);
  const value& at(std::string_view key) const;
  std::vector<value> values_;
  std::filesystem::path file_;
  std::vector<std::string> warnings_;
};

/// Where `load_settings` looks.
struct settings_sources {
  /// `--config`; must exist when it is given.
  std::optional<std::filesystem::path> file;
  /// Tried in order when `file` is not given; none has to exist.
  std::vector<std::filesystem::path> usual_files;
  /// Values of flags by key.
  std::map<std::string, std::string, std::less<>> flags;
  /// Looks up an environment variable.
  std::function<std::optional<std::string>(const std::string&)> environment;
  /// All `RECALLD_*` names that are set, so that a misspelt one is noticed.
  std::vector<std::string> environment_names;
};

/// The process's environment and the usual files.
settings_sources process_sources();

/// One `key = value` of a configuration file.
struct file_value {
  std::string key;  ///< With its section: `listen.port`.
  std::string text;
  std::size_t line = 0;
};
/// Reads the configuration language, the part of TOML that the table needs: `[section]`, `key =
/// value` with strings, whole numbers and booleans, and comments. What is accepted means the same
/// in TOML.
result<std::vector<file_value>> parse_config(std::string_view text, std::string_view file);

/// A configuration file with every setting, commented out, at its default.
std::string config_template();
/// The settings as a Markdown table, as the manual has it.
std::string config_markdown();

}  // namespace recalld::cli

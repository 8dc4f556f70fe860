#include "cli/settings.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <limits>

#include <fmt/format.h>
#include <unistd.h>

#include "events/near_word.hpp"

namespace recalld::cli {

namespace {

using enum setting_type;
constexpr auto node = used_by::server;
constexpr std::uint64_t mib = 1 << 20;

constexpr std::array table{
  setting{"data", "--data", path, "./recalld-data", "Directory of the log.",
          used_by::store | used_by::client},
  setting{"store", "--store", text, "",
          "Where the log is: a directory, or postgres://USER@HOST/DATABASE; empty: the data "
          "directory.",
          used_by::store},
  setting{"postgres.schema", "--postgres-schema", text, "recalld",
          "Schema of the log in a Postgres database.", used_by::store},
  setting{"postgres.allow_unsafe", "--allow-unsafe", boolean, "false",
          "Start also where Postgres' settings may lose acknowledged writes.", used_by::store},
  setting{"lease_ms", "--lease-ms", whole, "3000",
          "Milliseconds after which another server takes over a log in Postgres from one that is "
          "gone.",
          node, 500, 600'000},
  setting{"listen.address", "--address", text, "127.0.0.1", "Address that the server listens on.",
          used_by::server},
  setting{"listen.port", "--port", whole, "4711",
          "Port that the server listens on; 0 takes a free one.", used_by::server, 0, 65535},
  setting{"server", "--server", text, "LISTEN.ADDRESS:LISTEN.PORT",
          "Server that commands talk to, as HOST:PORT.", used_by::client},
  setting{"tls.certs", "--certs", path, "DATA/certs",
          "Directory of the cluster's certificates; `serve` makes it when it is absent.",
          used_by::server | used_by::client},
  setting{"tls.insecure_loopback", "--insecure-loopback", boolean, "false",
          "Speak without TLS; only allowed on loopback addresses.",
          used_by::server | used_by::client},
  setting{"tenant", "--tenant", text, "default", "Tenant that sessions are looked for in.",
          used_by::session},
  setting{"app", "--app", text, "", "Application that sessions are looked for in.",
          used_by::session},
  setting{"user", "--user", text, "", "User that sessions are looked for in.", used_by::session},
  setting{"timeout_s", "--timeout", whole, "10", "Seconds that a command waits for an answer.",
          used_by::client, 1, 3600},
  setting{"cache.directory", "--cache", path, "DATA/cache",
          "Directory of the hot cache; may be removed at any time.", node},
  setting{"cache.bytes", "--cache-bytes", bytes, "64MiB",
          "Memory of the hot cache; 0 switches it off.", node},
  setting{"memory.bytes", "--memory-bytes", bytes, "512MiB",
          "Memory for the states of live sessions; beyond it the idlest leave.", node, mib},
  setting{"idle_s", "--idle", whole, "300",
          "Seconds after which a session nobody uses leaves memory.", node, 1, 86'400},
  setting{"readers", "--readers", whole, "2", "Threads that read the store.", node, 1, 64},
  setting{"scheduler.threads", "--threads", whole, "0",
          "Threads that run actors; 0 = one for each core.", node, 0, 1024},
  setting{"node.name", "--node-name", text, "HOSTNAME", "Name of the node in logs and figures.",
          node},
  setting{"summaries.endpoint", "", text, "",
          "OpenAI-compatible endpoint such as http://127.0.0.1:8080, which writes due summaries; "
          "empty: they wait for workers.",
          node},
  setting{"summaries.model", "", text, "", "Model that is asked there.", node},
  setting{"summaries.api_key_file", "", text, "",
          "File whose first line is the key for it; empty: no key is sent.", node},
  setting{"summaries.tenant", "", text, "default", "Tenant whose summaries are written there.",
          node},
  setting{"summaries.timeout_s", "", whole, "60", "Seconds that one answer of the model may take.",
          node, 1, 3600},
  setting{
    "embeddings.endpoint", "", text, "",
    "OpenAI-compatible endpoint such as http://127.0.0.1:8080, which makes vectors of memories "
    "and questions; empty: memories are found by their words.",
    node},
  setting{"embeddings.model", "", text, "", "Model that is asked there.", node},
  setting{"embeddings.api_key_file", "", text, "",
          "File whose first line is the key for it; empty: no key is sent.", node},
  setting{"embeddings.patience_ms", "", whole, "1000",
          "Milliseconds that a search waits for the vector of its question.", node, 1, 60'000},
  setting{"log.level", "--log-level", choice, "info", "How much the server tells on stderr.",
          used_by::every, 0, 0, "trace|debug|info|warn|error|off"},
  setting{"color", "--color", choice, "auto",
          "Colours in the output; `auto`: on a terminal, unless NO_COLOR is set.", used_by::every,
          0, 0, "auto|always|never"},
  setting{"limits.requests", "", whole, "16384", "Requests in progress on the node.", node, 1,
          1 << 20},
  setting{"limits.requests_per_stream", "", whole, "512", "Commands in progress on one session.",
          node, 1, 1 << 16},
  setting{"limits.request_bytes", "", bytes, "1MiB", "Size of one request.", node, 1024, 64 * mib},
  setting{"limits.requests_bytes", "", bytes, "256MiB", "Requests in progress, all together.", node,
          mib},
  setting{"limits.index_bytes", "", bytes, "256MiB",
          "Indexes of memories and entries that were searched last, half each.", node, mib},
  setting{"limits.tail_entries", "", whole, "64",
          "Newest entries that a live session keeps in memory.", node, 0, 10'000},
  setting{"limits.tail_bytes", "", bytes, "128KiB", "Bytes of those entries.", node},
  setting{"limits.batch_facts", "", whole, "4096", "Facts in one commit.", node, 1, 1 << 16},
  setting{"limits.batch_bytes", "", bytes, "8MiB", "Bytes in one commit.", node, 1024},
  setting{"limits.watchers", "", whole, "16384", "Feeds that are followed at the same time.", node,
          0, 1 << 20},
  setting{"limits.receipts_days", "", whole, "7",
          "Days that command ids of forgotten facts are kept; those of values for a time: a minute.", node, 7, 3650},
};

std::string_view trim(std::string_view s) {
  const auto first = s.find_first_not_of(" \t\r");
  if (first == std::string_view::npos)
    return {};
  return s.substr(first, s.find_last_not_of(" \t\r") - first + 1);
}

std::optional<std::uint64_t> parse_whole(std::string_view s) {
  std::string digits;
  for (std::size_t i = 0; i < s.size(); ++i) {
    const bool between = i > 0 && i + 1 < s.size() && s[i - 1] != '_';
    if (s[i] == '_' && between)
      continue;
    if (s[i] < '0' || s[i] > '9')
      return std::nullopt;
    digits += s[i];
  }
  std::uint64_t n = 0;
  const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), n);
  if (failed != std::errc{} || digits.empty())
    return std::nullopt;
  return n;
}

std::optional<std::uint64_t> parse_bytes(std::string_view s) {
  struct unit {
    std::string_view name;
    std::uint64_t factor;
  };
  constexpr std::array units{unit{"KiB", 1ull << 10}, unit{"MiB", 1ull << 20},
                             unit{"GiB", 1ull << 30}, unit{"B", 1}};
  std::uint64_t factor = 1;
  for (const auto& u : units)
    if (s.ends_with(u.name)) {
      factor = u.factor;
      s.remove_suffix(u.name.size());
      break;
    }
  const auto n = parse_whole(trim(s));
  if (!n || *n > std::numeric_limits<std::int64_t>::max() / factor)
    return std::nullopt;
  return *n * factor;
}

std::string allowed(const setting& s) {
  const auto range = [&](std::string_view what) {
    if (s.most > 0)
      return fmt::format("{} from {} to {}", what, s.least, s.most);
    return s.least > 0 ? fmt::format("{} of at least {}", what, s.least) : std::string(what);
  };
  switch (s.type) {
    case text: return "text";
    case path: return "a path";
    case whole: return range("a whole number");
    case bytes: return range("a number of bytes such as 1048576, 512KiB, 64MiB or 2GiB,");
    case boolean: return "true or false";
    case choice: return "one of " + std::string(s.choices);
  }
  return {};
}

bool fits(const setting& s, std::string_view value) {
  switch (s.type) {
    case text: return value.find('\0') == std::string_view::npos;
    case path: return !value.empty() && value.find('\0') == std::string_view::npos;
    case boolean: return value == "true" || value == "false";
    case whole:
    case bytes: {
      const auto n = s.type == whole ? parse_whole(value) : parse_bytes(value);
      return n && *n >= s.least && (s.most == 0 || *n <= s.most);
    }
    case choice: {
      const auto found = ("|" + std::string(s.choices) + "|").find("|" + std::string(value) + "|");
      return !value.empty() && value.find('|') == std::string_view::npos
             && found != std::string::npos;
    }
  }
  return false;
}

error misfit(const setting& s, std::string_view value, std::string_view place) {
  return invalid(std::string(s.key),
                 fmt::format("{}: {} is '{}', but must be {}", place, s.key, value, allowed(s)));
}

error unknown(std::string_view place, std::string_view word,
              std::span<const std::string_view> known, std::string_view what) {
  auto message = fmt::format("{}: unknown {} '{}'", place, what, word);
  if (const auto near = nearest(word, known); !near.empty())
    message += fmt::format("; did you mean '{}'?", near);
  return invalid(std::string(word), std::move(message));
}

const std::vector<std::string_view>& known_keys() {
  static const auto keys = [] {
    std::vector<std::string_view> out;
    for (const auto& s : table)
      out.push_back(s.key);
    return out;
  }();
  return keys;
}

/// A container platform invents variables such as RECALLD_SERVICE_HOST, so that a name we do not
/// know is worth a warning only where it looks like one of ours.
std::vector<std::string> odd_variables(const std::vector<std::string>& set) {
  constexpr std::string_view prefix = "RECALLD_";
  std::vector<std::string> names{"CONFIG"};
  for (const auto& s : table)
    names.push_back(environment_name(s).substr(prefix.size()));
  const std::vector<std::string_view> known(names.begin(), names.end());
  std::vector<std::string> out;
  for (const auto& name : set) {
    const auto word = std::string_view(name).substr(prefix.size());
    const auto near = nearest(word, known);
    if (!near.empty() && near != word)
      out.push_back(
        fmt::format("environment: unknown variable {}; did you mean {}{}?", name, prefix, near));
  }
  return out;
}

std::string hostname() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "node";
}

/// The value of a string, number or boolean as it stands behind a `=`.
result<std::string> parse_scalar(std::string_view raw, std::string_view place) {
  const auto fault = [&](std::string_view what) {
    return fail(errc::invalid, fmt::format("{}: {}", place, what));
  };
  const auto rest_is_comment = [&](std::string_view rest) {
    rest = trim(rest);
    return rest.empty() || rest.front() == '#';
  };
  if (raw.empty())
    return fault("a value is missing behind '='");
  if (raw.front() == '\'') {
    const auto end = raw.find('\'', 1);
    if (end == std::string_view::npos || !rest_is_comment(raw.substr(end + 1)))
      return fault("the string has no end, or something follows it");
    return std::string(raw.substr(1, end - 1));
  }
  if (raw.front() != '"') {
    const auto word = trim(raw.substr(0, raw.find('#')));
    const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '_' || c == '-' || c == '+';
    });
    const bool number = plain && word.front() >= '0' && word.front() <= '9';
    if (word != "true" && word != "false" && !(number && parse_whole(word)))
      return fault(fmt::format(
        "'{}' is neither a whole number nor true or false; text stands in quotes", word));
    return std::string(word);
  }
  std::string out;
  for (std::size_t i = 1; i < raw.size(); ++i) {
    if (raw[i] == '"') {
      if (!rest_is_comment(raw.substr(i + 1)))
        return fault("something follows the string");
      return out;
    }
    if (raw[i] != '\\') {
      out += raw[i];
      continue;
    }
    constexpr std::string_view letters = "\"\\nt";
    constexpr std::string_view meant = "\"\\\n\t";
    const auto which = ++i < raw.size() ? letters.find(raw[i]) : std::string_view::npos;
    if (which == std::string_view::npos)
      return fault("unknown escape in a string; use '…' for text with backslashes");
    out += meant[which];
  }
  return fault("the string has no end");
}

bool bare_key(std::string_view key) {
  return !key.empty() && key.front() != '.' && key.back() != '.'
         && std::all_of(key.begin(), key.end(), [](char c) {
              return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
                     || c == '_' || c == '-' || c == '.';
            });
}

result<std::string> read_file(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in || in.bad())
    return fail(errc::not_found,
                fmt::format("cannot read the configuration file {}", file.string()));
  return text;
}

}  // namespace

std::span<const setting> setting_table() { return table; }

const setting* find_setting(std::string_view key) {
  const auto found =
    std::find_if(table.begin(), table.end(), [&](const auto& s) { return s.key == key; });
  return found == table.end() ? nullptr : &*found;
}

std::string environment_name(const setting& s) {
  std::string out = "RECALLD_";
  for (char c : s.key)
    out += c == '.' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return out;
}

std::string to_string(const origin& o) {
  switch (o.from) {
    case origin::source::fallback: return "default";
    case origin::source::file: return o.place;
    case origin::source::environment:
    case origin::source::flag: return o.place;
  }
  return {};
}

const settings::value& settings::at(std::string_view key) const {
  const auto found =
    std::find_if(values_.begin(), values_.end(), [&](const auto& v) { return v.what->key == key; });
  // A key that is not in the table is a mistake of the program, not of its user.
  if (found == values_.end())
    std::abort();
  return *found;
}

const std::string& settings::text(std::string_view key) const { return at(key).text; }

std::filesystem::path settings::path(std::string_view key) const { return at(key).text; }

std::uint64_t settings::number(std::string_view key) const {
  const auto& v = at(key);
  return (v.what->type == bytes ? parse_bytes(v.text) : parse_whole(v.text)).value_or(0);
}

bool settings::flag(std::string_view key) const { return at(key).text == "true"; }

bool settings::given(std::string_view key) const {
  return at(key).from.from != origin::source::fallback;
}

result<std::vector<file_value>> parse_config(std::string_view text, std::string_view file) {
  std::vector<file_value> out;
  std::map<std::string, std::size_t, std::less<>> seen;
  std::string section;
  std::size_t number = 0;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const auto line = trim(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const auto place = fmt::format("{}:{}", file, ++number);
    if (line.empty() || line.front() == '#')
      continue;
    if (line.front() == '[') {
      const auto close = line.find(']');
      const auto name =
        close == std::string_view::npos ? std::string_view{} : trim(line.substr(1, close - 1));
      const auto rest =
        close == std::string_view::npos ? std::string_view{} : trim(line.substr(close + 1));
      if (!bare_key(name) || (!rest.empty() && rest.front() != '#'))
        return fail(errc::invalid, place + ": a section is written as [name]");
      section = std::string(name) + ".";
      continue;
    }
    const auto equals = line.find('=');
    const auto name = trim(line.substr(0, equals));
    if (equals == std::string_view::npos || !bare_key(name))
      return fail(errc::invalid, place + ": expected `key = value`, [section] or # comment");
    auto value = parse_scalar(trim(line.substr(equals + 1)), place);
    if (!value)
      return fail(value.error());
    auto key = section + std::string(name);
    if (const auto [first, fresh] = seen.emplace(key, number); !fresh)
      return fail(errc::invalid,
                  fmt::format("{}: {} was given in line {} already", place, key, first->second));
    out.push_back({std::move(key), std::move(*value), number});
  }
  return out;
}

result<settings> load_settings(const settings_sources& from) {
  settings out;
  for (const auto& s : table)
    out.values_.push_back({&s, std::string(s.fallback), {}});
  const auto take = [&](std::string_view key, std::string value, origin where) -> result<void> {
    auto& into = *std::find_if(out.values_.begin(), out.values_.end(),
                               [&](const auto& v) { return v.what->key == key; });
    if (!fits(*into.what, value))
      return fail(misfit(*into.what, value, where.place));
    into.text = std::move(value);
    into.from = std::move(where);
    return {};
  };

  if (from.file)
    out.file_ = *from.file;
  for (const auto& candidate : from.usual_files)
    if (std::error_code ignored; out.file_.empty() && std::filesystem::exists(candidate, ignored))
      out.file_ = candidate;
  if (!out.file_.empty()) {
    auto text = read_file(out.file_);
    if (!text)
      return fail(text.error());
    auto values = parse_config(*text, out.file_.string());
    if (!values)
      return fail(values.error());
    for (auto& v : *values) {
      auto place = fmt::format("{}:{}", out.file_.string(), v.line);
      if (find_setting(v.key) == nullptr)
        return fail(unknown(place, v.key, known_keys(), "key"));
      if (auto taken = take(v.key, std::move(v.text), {origin::source::file, std::move(place)});
          !taken)
        return fail(taken.error());
    }
  }

  out.warnings_ = odd_variables(from.environment_names);
  for (const auto& s : table) {
    const auto name = environment_name(s);
    // An empty variable is the shell's way to take one back.
    if (auto value = from.environment ? from.environment(name) : std::nullopt;
        value && !value->empty())
      if (auto taken = take(s.key, std::move(*value), {origin::source::environment, name}); !taken)
        return fail(taken.error());
  }

  for (const auto& [key, value] : from.flags)
    if (auto taken = take(key, value, {origin::source::flag, std::string(find_setting(key)->flag)});
        !taken)
      return fail(taken.error());

  // Defaults that follow from other values.
  const auto derive = [&](std::string_view key, std::string value) {
    auto& v = *std::find_if(out.values_.begin(), out.values_.end(),
                            [&](const auto& x) { return x.what->key == key; });
    if (v.from.from == origin::source::fallback)
      v.text = std::move(value);
  };
  derive("tls.certs", (out.path("data") / "certs").string());
  derive("cache.directory", (out.path("data") / "cache").string());
  const auto& address = out.text("listen.address");
  const bool everywhere = address == "0.0.0.0" || address == "::";
  derive("server",
         fmt::format("{}:{}", everywhere ? "127.0.0.1" : address, out.text("listen.port")));
  derive("node.name", hostname());
  return out;
}

settings_sources process_sources() {
  settings_sources out;
  out.usual_files = {"recalld.toml", "/etc/recalld/recalld.toml"};
  out.environment = [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  };
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view pair = *variable;
    if (pair.starts_with("RECALLD_"))
      out.environment_names.emplace_back(pair.substr(0, pair.find('=')));
  }
  if (auto file = out.environment("RECALLD_CONFIG"); file && !file->empty())
    out.file = *file;
  return out;
}

std::string config_template() {
  std::string out =
    "# Settings of recalld. Each line shows a default; take away the # to change it.\n";
  const auto write = [&](const setting& s, std::string_view name) {
    const bool quoted = s.type == text || s.type == path || s.type == choice || s.type == bytes;
    const char* quote = quoted ? "\"" : "";
    out += fmt::format("\n# {}", s.meaning);
    if (!s.choices.empty())
      out += fmt::format(" One of {}.", s.choices);
    out += fmt::format("\n# {} = {}{}{}\n", name, quote, s.fallback, quote);
  };
  // Plain keys come first: behind a section they would belong to it.
  for (const auto& s : table)
    if (s.key.find('.') == std::string_view::npos)
      write(s, s.key);
  std::string_view section;
  std::vector<std::string_view> done;
  for (const auto& first : table) {
    const auto dot = first.key.find('.');
    section = first.key.substr(0, dot);
    if (dot == std::string_view::npos || std::find(done.begin(), done.end(), section) != done.end())
      continue;
    done.push_back(section);
    out += fmt::format("\n[{}]\n", section);
    for (const auto& s : table)
      if (s.key.starts_with(std::string(section) + "."))
        write(s, s.key.substr(dot + 1));
  }
  return out;
}

std::string config_markdown() {
  std::string out = "| key | environment | flag | default | meaning |\n|---|---|---|---|---|\n";
  for (const auto& s : table) {
    auto meaning = std::string(s.meaning);
    if (!s.choices.empty()) {
      std::string words;
      for (char c : s.choices)
        words += c == '|' ? std::string("`, `") : std::string(1, c);
      meaning += fmt::format(" One of `{}`.", words);
    }
    if (s.most > 0)
      meaning += fmt::format(" {} to {}.", s.least, s.most);
    const auto code = [](std::string_view word) {
      return word.empty() ? std::string("–") : fmt::format("`{}`", word);
    };
    out += fmt::format("| `{}` | `{}` | {} | {} | {} |\n", s.key, environment_name(s), code(s.flag),
                       code(s.fallback), meaning);
  }
  return out;
}

}  // namespace recalld::cli

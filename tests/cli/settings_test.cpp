#include "cli/settings.hpp"

#include <filesystem>
#include <fstream>
#include <set>

#include "tests/catch.hpp"

using namespace recalld;
using namespace recalld::cli;

namespace {

struct directory {
  std::filesystem::path path =
    std::filesystem::temp_directory_path() / ("recalld-settings-" + std::to_string(::getpid()));
  directory() { std::filesystem::create_directories(path); }
  ~directory() { std::filesystem::remove_all(path); }
  std::filesystem::path file(const std::string& name, const std::string& text) const {
    std::ofstream(path / name) << text;
    return path / name;
  }
};

settings_sources nothing() {
  settings_sources s;
  s.environment = [](const std::string&) { return std::nullopt; };
  return s;
}

std::string message_of(const result<settings>& r) {
  REQUIRE_FALSE(r);
  CHECK(r.error().code == errc::invalid);
  return r.error().message;
}

}  // namespace

TEST_CASE("every default is a value its own setting accepts", "[settings]") {
  const auto s = load_settings(nothing());
  REQUIRE(s);
  for (const auto& v : s->all()) {
    INFO(v.what->key);
    auto again = nothing();
    if (!v.text.empty()) {
      again.flags[std::string(v.what->key)] = v.text;
      CHECK(load_settings(again));
    }
    CHECK(v.from.from == origin::source::fallback);
  }
}

TEST_CASE("keys, variables and flags are unique", "[settings]") {
  std::set<std::string> seen;
  for (const auto& s : setting_table()) {
    CHECK(seen.insert(std::string(s.key)).second);
    CHECK(seen.insert(environment_name(s)).second);
    if (!s.flag.empty())
      CHECK(seen.insert(std::string(s.flag)).second);
    CHECK_FALSE(s.meaning.empty());
    CHECK(s.meaning.back() == '.');
  }
}

TEST_CASE("a flag wins over the environment, the environment over the file", "[settings]") {
  directory dir;
  auto from = nothing();
  from.file = dir.file(
    "recalld.toml", "data = \"from-file\"\n\n[listen]\nport = 1  # a comment\naddress = \"::1\"\n");
  from.environment = [](const std::string& name) -> std::optional<std::string> {
    if (name == "RECALLD_LISTEN_PORT")
      return "2";
    if (name == "RECALLD_DATA")
      return "from-environment";
    if (name == "RECALLD_APP")
      return "";
    return std::nullopt;
  };
  from.flags["data"] = "from-flag";
  const auto s = load_settings(from);
  REQUIRE(s);
  CHECK(s->text("data") == "from-flag");
  CHECK(s->number("listen.port") == 2);
  CHECK(s->text("listen.address") == "::1");
  CHECK(s->path("tls.certs") == "from-flag/certs");
  CHECK(s->path("cache.directory") == "from-flag/cache");
  CHECK(s->text("server") == "::1:2");
  CHECK(s->given("listen.port"));
  CHECK_FALSE(s->given("app"));
  for (const auto& v : s->all()) {
    if (v.what->key == "listen.address")
      CHECK(to_string(v.from) == from.file->string() + ":5");
    if (v.what->key == "listen.port")
      CHECK(to_string(v.from) == "RECALLD_LISTEN_PORT");
    if (v.what->key == "data")
      CHECK(to_string(v.from) == "--data");
  }
}

TEST_CASE("an unknown key is named together with the nearest known one", "[settings]") {
  directory dir;
  auto from = nothing();
  from.file = dir.file("a.toml", "[listen]\nprot = 1\n");
  CHECK(message_of(load_settings(from))
        == from.file->string() + ":2: unknown key 'listen.prot'; did you mean 'listen.port'?");
  from.file = dir.file("b.toml", "port = 1\n");
  CHECK_THAT(message_of(load_settings(from)),
             Catch::Matchers::EndsWith("did you mean 'listen.port'?"));
  from.file = dir.file("c.toml", "zzzzzzzzzz = 1\n");
  CHECK_THAT(message_of(load_settings(from)),
             Catch::Matchers::EndsWith("unknown key 'zzzzzzzzzz'"));
}

TEST_CASE("a wrong value is named with its place and what is allowed", "[settings]") {
  auto from = nothing();
  from.flags["listen.port"] = "70000";
  CHECK(message_of(load_settings(from))
        == "--port: listen.port is '70000', but must be a whole number from 0 to 65535");
  from.flags = {{"listen.port", "-1"}};
  CHECK_FALSE(load_settings(from));
  from.flags = {{"log.level", "loud"}};
  CHECK_THAT(message_of(load_settings(from)),
             Catch::Matchers::ContainsSubstring("one of trace|debug|info|warn|error|off"));
  from.flags = {{"cache.bytes", "64 elephants"}};
  CHECK_FALSE(load_settings(from));
  from.flags = {{"memory.bytes", "2GiB"}};
  const auto s = load_settings(from);
  REQUIRE(s);
  CHECK(s->number("memory.bytes") == 2ull << 30);
}

TEST_CASE("a file that was asked for must exist, the usual ones need not", "[settings]") {
  auto from = nothing();
  from.usual_files = {"surely/not/here.toml"};
  CHECK(load_settings(from));
  from.file = "surely/not/here.toml";
  const auto s = load_settings(from);
  REQUIRE_FALSE(s);
  CHECK(s.error().code == errc::not_found);
}

TEST_CASE("a misspelt variable is a warning, a platform's own is none", "[settings]") {
  auto from = nothing();
  from.environment_names = {"RECALLD_LISTEN_PROT", "RECALLD_SERVICE_HOST",
                            "RECALLD_PORT_4711_TCP_ADDR", "RECALLD_DATA"};
  const auto s = load_settings(from);
  REQUIRE(s);
  REQUIRE(s->warnings().size() == 1);
  CHECK_THAT(s->warnings().front(), Catch::Matchers::ContainsSubstring("RECALLD_LISTEN_PORT"));
}

TEST_CASE("the configuration language is a strict part of TOML", "[settings]") {
  const auto good = parse_config(
    "a = \"x # \\\"y\\\" \\\\\" # comment\nb.c = 1_000\n[d]\ne = true\nf = 'C:\\dir'\n", "f");
  REQUIRE(good);
  REQUIRE(good->size() == 4);
  CHECK((*good)[0].text == "x # \"y\" \\");
  CHECK((*good)[1].key == "b.c");
  CHECK((*good)[2].key == "d.e");
  CHECK((*good)[3].text == "C:\\dir");
  CHECK((*good)[3].line == 5);
  for (const char* bad :
       {"a", "a =", "= 1", "a = b", "a = \"x", "a = \"x\" y", "[a", "[]", "a = 1\na = 2",
        "a = \"\\q\"", "a = [1]", "a = 1.5", "a b = 1", "a = 'x"}) {
    INFO(bad);
    const auto r = parse_config(bad, "f");
    REQUIRE_FALSE(r);
    CHECK_THAT(r.error().message, Catch::Matchers::StartsWith("f:"));
  }
}

TEST_CASE("the template is read as what it says: every default", "[settings]") {
  directory dir;
  std::string active;
  std::istringstream lines(config_template());
  for (std::string line; std::getline(lines, line);) {
    // A comment is a sentence; an assignment has one word before its sign.
    const auto sign = line.find(" = ");
    const bool assignment =
      line.starts_with("# ") && sign != std::string::npos && line.find(' ', 2) == sign;
    const bool derived = line.find("\"DATA/") != std::string::npos
                         || line.find("LISTEN.") != std::string::npos
                         || line.find("HOSTNAME") != std::string::npos;
    active += (assignment && !derived ? line.substr(2) : line) + "\n";
  }
  auto from = nothing();
  from.file = dir.file("all.toml", active);
  const auto s = load_settings(from);
  INFO(active);
  REQUIRE(s);
  CHECK(s->given("limits.tail_bytes"));
  CHECK(s->text("data") == "./recalld-data");
}

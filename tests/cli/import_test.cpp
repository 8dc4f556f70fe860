#include <sstream>

#include "cli/import_file.hpp"
#include "events/json.hpp"
#include "tests/catch.hpp"

using namespace recalld;
using namespace recalld::cli;

namespace {

constexpr time_us_t now = 1'800'000'000'000'000;

std::vector<import_run> read(const std::string& text) {
  std::istringstream in(text);
  auto source = read_json_lines(in, {"default", "", ""}, now);
  std::vector<import_run> out;
  while (auto run = source->next())
    out.push_back(std::move(*run));
  return out;
}

const std::string head =
  R"({"session":{"app":"a","user":"u","id":"s","state":{"k":1,"app:x":2},"metadata":{"m":1},)"
  R"("contexts":[{"id":"c","type":"file","content":"x"}],"closed":true}})"
  "\n";

}  // namespace

TEST_CASE("a session and its lines become one run", "[import]") {
  const auto runs =
    read(head
         + "{\"entry\":{\"id\":\"e1\",\"role\":\"user\",\"content\":\"hi\"}}\n\n"
           "{\"track\":\"tools\",\"item\":[1]}\n"
           "{\"entry\":{\"id\":\"e2\",\"role\":\"assistant\",\"content\":\"ho\",\"odd\":[1, 2]}}");
  REQUIRE(runs.size() == 1);
  const auto& run = runs.front();
  CHECK(run.bad.empty());
  CHECK(run.known);
  CHECK(run.place == "line 1");
  CHECK(run.key.session == "s");
  CHECK(run.key.tenant == "default");
  CHECK(run.entries.size() == 2);
  CHECK(run.entries[1] == R"({"id":"e2","role":"assistant","content":"ho","odd":[1, 2]})");
  CHECK(run.tracks == std::vector<std::pair<std::string, std::string>>{{"tools", "[1]"}});
  CHECK(run.contexts.size() == 1);
  CHECK(run.closed);
}

TEST_CASE("lines that name their session are gathered while they are neighbours", "[import]") {
  const auto runs =
    read(R"({"app":"a","user":"u","session":"1","id":"x","role":"user","content":"1"}
{"app":"a","user":"u","session":"1","id":"y","role":"user","content":"2"}
{"app":"a","user":"u","session":"2","id":"x","role":"user","content":"3"}
{"app":"a","user":"u","session":"1","id":"z","role":"user","content":"4"})");
  REQUIRE(runs.size() == 3);
  CHECK(runs[0].entries
        == std::vector<std::string>{R"({"id":"x","role":"user","content":"1"})",
                                    R"({"id":"y","role":"user","content":"2"})"});
  CHECK(runs[2].key.session == "1");
}

TEST_CASE("ids that are missing follow from the content", "[import]") {
  const std::string text = head
                           + "{\"entry\":{\"role\":\"user\",\"content\":\"same\"}}\n{\"entry\":{"
                             "\"role\":\"user\",\"content\":\"same\"}}\n";
  const auto first = read(text);
  const auto second = read("\n" + text);
  REQUIRE(first[0].entries.size() == 2);
  CHECK(first[0].entries[0] != first[0].entries[1]);
  CHECK(first[0].entries == second[0].entries);
}

TEST_CASE("what is wrong is told with its line", "[import]") {
  struct sample {
    const char* line;
    const char* reason;
  };
  const sample samples[] = {
    {"{", "is not JSON"},
    {"[]", "must be an object"},
    {"{\"a\":1}", "none of the members"},
    {"{\"entry\":1}", "must be an object"},
    {"{\"entry\":{\"content\":\"x\"}}", "role"},
    {"{\"entry\":{\"role\":\"user\",\"id\":\"\"}}", "id"},
    {"{\"entry\":{\"role\":\"user\",\"content\":5}}", "content"},
    {"{\"entry\":{\"role\":\"user\"},\"x\":1}", "line.x"},
    {"{\"entry\":{\"role\":\"user\"},\"entry\":{}}", "once"},
    {"{\"entry\":{\"role\":\"user\",\"client_time\":\"2999-01-01T00:00:00Z\"}}", "client_time"},
    {"{\"track\":\"\",\"item\":1}", "track"},
    {"{\"track\":\"t\"}", "item"},
  };
  for (const auto& s : samples) {
    INFO(s.line);
    const auto runs =
      read(head + "{\"entry\":{\"role\":\"user\",\"content\":\"fine\"}}\n" + s.line + "\n");
    REQUIRE(runs.size() == 1);
    REQUIRE(runs[0].bad.size() == 1);
    CHECK(runs[0].bad[0].place == "line 3");
    CHECK_THAT(runs[0].bad[0].reason, Catch::Matchers::ContainsSubstring(s.reason));
  }
}

TEST_CASE("a bad session line condemns its entries, not its neighbours", "[import]") {
  const std::string entry = "{\"entry\":{\"role\":\"user\",\"content\":\"x\"}}\n";
  const char* bad_heads[] = {
    R"({"session":{"app":"a","user":"u"}})",
    R"({"session":{"app":"a","user":"u","id":""}})",
    R"({"session":{"app":"a","user":"u","id":"x","colour":1}})",
    R"({"session":{"app":"a","user":"u","id":"x","state":[]}})",
    R"({"session":{"app":"a","user":"u","id":"x","contexts":[{"content":1}]}})",
  };
  for (const char* bad : bad_heads) {
    INFO(bad);
    const auto runs = read(head + entry + bad + "\n" + entry + entry + head + entry);
    REQUIRE(runs.size() == 3);
    CHECK(runs[0].bad.empty());
    CHECK(runs[1].bad.size() == 1);
    CHECK(runs[1].bad[0].place == "line 3");
    CHECK(runs[2].bad.empty());
    CHECK(runs[2].entries.size() == 1);
  }
}

TEST_CASE("an entry without a session is nobody's", "[import]") {
  const auto runs = read("{\"entry\":{\"role\":\"user\",\"content\":\"x\"}}\n");
  REQUIRE(runs.size() == 1);
  CHECK_FALSE(runs[0].known);
  CHECK(runs[0].bad.size() == 1);
}

TEST_CASE("an entry that is too large is refused", "[import]") {
  const auto runs = read(head + "{\"entry\":{\"role\":\"user\",\"content\":\""
                         + std::string(session::entry_bytes_max, 'x') + "\"}}\n");
  REQUIRE(runs[0].bad.size() == 1);
}

TEST_CASE("shared state has lines of its own", "[import]") {
  const auto runs = read(R"({"scope":{"app":"a","values":{"x":1}}}
{"scope":{"app":"a","user":"u","values":{"y":2}}}
{"scope":{"app":"a","values":3}}
)");
  REQUIRE(runs.size() == 3);
  CHECK(runs[0].scope);
  CHECK(runs[0].state == R"({"x":1})");
  CHECK(runs[1].key.user == "u");
  CHECK(runs[2].bad.size() == 1);
}

TEST_CASE("an id is put in front", "[import]") {
  CHECK(with_id(R"({"a":1})", "x") == R"({"id":"x","a":1})");
  CHECK(with_id("{ }", "x") == R"({"id":"x"})");
  CHECK(with_id("{ \"a\":1}", "x") == R"({"id":"x","a":1})");
}

TEST_CASE("a time as people say it", "[import]") {
  CHECK(format_time(*parse_spoken_time("1:56 pm on 8 May, 2023")) == "2023-05-08T13:56:00.000000Z");
  CHECK(format_time(*parse_spoken_time("12:09 am on 13 September, 2023"))
        == "2023-09-13T00:09:00.000000Z");
  CHECK(format_time(*parse_spoken_time("12:30 pm on 29 February, 2024"))
        == "2024-02-29T12:30:00.000000Z");
  for (const char* bad : {"", "noon", "13:00 pm on 1 May, 2023", "1:00 xm on 1 May, 2023",
                          "1:00 pm on 31 June, 2023", "1:00 pm on 1 Mai, 2023"})
    CHECK_FALSE(parse_spoken_time(bad));
}

TEST_CASE("a LoCoMo conversation becomes a session for each of its sittings", "[import]") {
  std::istringstream in(
    R"([{"sample_id":"conv-1","qa":[],"conversation":{"speaker_a":"Ann","speaker_b":"Bo",
    "session_1_date_time":"1:56 pm on 8 May, 2023","session_2_date_time":"2:00 pm on 9 May, 2023",
    "session_1":[{"speaker":"Ann","dia_id":"D1:1","text":"Hi"},
                 {"speaker":"Bo","dia_id":"D1:2","text":"Look","blip_caption":"a photo of a dog"}]}}])");
  CHECK(guess_format(in) == import_format::locomo);
  auto source = read_locomo(in, {});
  REQUIRE(source);
  const auto run = (*source)->next();
  REQUIRE(run);
  CHECK(run->bad.empty());
  CHECK(run->key.app == "locomo");
  CHECK(run->key.user == "conv-1");
  CHECK(run->key.session == "session_1");
  REQUIRE(run->entries.size() == 2);
  CHECK(
    run->entries[0]
    == R"({"id":"D1:1","role":"user","author":"Ann","content":"Hi","client_time":"2023-05-08T13:56:00.000000Z"})");
  CHECK_THAT(run->entries[1], Catch::Matchers::ContainsSubstring(R"("role":"assistant")"));
  CHECK_THAT(run->entries[1],
             Catch::Matchers::ContainsSubstring(R"("caption":"a photo of a dog")"));
  CHECK_FALSE((*source)->next());
}

TEST_CASE("a broken LoCoMo file is told", "[import]") {
  std::istringstream cut("[{\"sample_id\":");
  CHECK_FALSE(read_locomo(cut, {}));
  std::istringstream odd(R"([{"sample_id":"c","conversation":{"speaker_a":"A","speaker_b":"B",
    "session_1":[{"speaker":"A","dia_id":"D1:1","text":"x"},{"speaker":"A","text":"y"}]}}])");
  auto source = read_locomo(odd, {});
  REQUIRE(source);
  const auto run = (*source)->next();
  REQUIRE(run);
  REQUIRE(run->bad.size() == 1);
  CHECK(run->bad[0].place == "c session_1 turn 2");
}

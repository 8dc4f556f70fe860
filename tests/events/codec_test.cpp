#include "tests/events/given.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

namespace recalld {

using namespace recalld::testing;

namespace {

namespace files = std::filesystem;

std::string content_of(const files::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A state in which every member says something.
session::state rich_state() {
  session::state s;
  s.status = session::status::closed;
  s.created_at = 1'700'000'000'000'001;
  s.updated_at = 1'700'000'100'000'002;
  s.closed_at = 1'700'000'100'000'002;
  s.created_version = 4;
  s.metadata = R"({"channel": "mail"})";
  s.values = {{"a\"b", R"({"$bytes":"AAEC"})"}, {"n", "null"}, {"", "1e999"}};
  s.contexts = {{"c1", {"file", R"({"name":"x.txt"})", 1'700'000'000'000'003, 6}},
                {"c2", {"system", R"("be kind")", 1'700'000'000'000'004, 7}}};
  s.entries = 12;
  s.turn_version = 20;
  s.turn_ordinal = 11;
  s.floor = 5;
  s.floor_ordinal = 3;
  s.retention = {50, 86'400};
  s.borrowed = {{session_stream("default", "chat", "ada", "first"), 9},
                {session_stream("default", "a:b", "", "Grüße"), 15}};
  s.forked_from = s.borrowed.back();
  return s;
}

memory_space::content rich_content() {
  return {"Anna drinks tea",
          memory_space::memory_kind::episode,
          {"drinks", "Anna"},
          start,
          {"Anna"},
          "Rome",
          "0.5",
          R"({"level":3})"};
}
memory_space::origin rich_origin() {
  return {"ben", R"({"kind":"session","session":"s1","entries":["e1"]})"};
}

approval::question rich_question() {
  return {"t1",   "run-1",    "chat", "ada",        "s1",  "mail", R"({"to":"x"})",
          "ab12", "Send it?", "ada",  R"("slack")", "wait"};
}

schedule::definition rich_schedule() {
  return {"0 9 * * mon",
          "Europe/Berlin",
          "report",
          R"({"to":"x"})",
          "config",
          schedule::misfire::catch_up,
          5,
          schedule::overlap::queue_one,
          3,
          300,
          45};
}

/// One fact of every type, every member filled.
std::vector<any_fact> rich_facts() {
  using namespace session;
  return {
    session::fact{created{R"({"m":[1, 2]})", {{"k", "1"}, {"l", R"("x")"}}, {50, 86'400}}},
    session::fact{
      entry_appended{"e1", "user", 7, 12, 6, R"({"id":"e1","role":"user","x":{}})", 4, 86'400}},
    session::fact{state_changed{{{"k", "null"}, {"l", "[]"}}, {"a", "b\n"}, 60}},
    session::fact{context_added{"c1", "file", R"({"name":"x.txt"})", 60}},
    session::fact{context_removed{"c1", 60}},
    session::fact{track_appended{"log", R"({"at":1})", 60}},
    session::fact{session::retention_changed{{50, 86'400}}},
    session::fact{closed{60}},
    session::fact{deleted{}},
    session::fact{expired{}},
    session::fact{forked{session_stream("default", "chat", "ada", "first"), rich_state(), 15}},
    session::fact{trimmed{8, rich_state()}},
    scope::fact{scope::state_changed{{{"k", "null"}, {"l", "[]"}}, {"a", "b\n"}}},
    scope::fact{scope::retention_changed{{50, 86'400}}},
    scope::fact{scope::id_reserved{"018bcfe5-6be8-7000-8024-68acf13579bd"}},
    scope::fact{scope::cleared{}},
    memory_space::fact{memory_space::added{"m1", "ab", rich_content(), rich_origin()}},
    memory_space::fact{
      memory_space::retold{"m1", 2, {"tea"}, R"({"a":1})", {"ben", R"({"kind":"user"})"}}},
    memory_space::fact{
      memory_space::updated{"m1", 3, "cd", rich_content(), "was wrong", rich_origin()}},
    memory_space::fact{memory_space::status_changed{"m1", 4, memory_space::status::superseded, "m2",
                                                    "newer", rich_origin()}},
    memory_space::fact{memory_space::removed{"m1", true}},
    memory_space::fact{memory_space::cleared{{100, true}}},
    memory_space::fact{memory_space::limit_changed{{100, true}}},
    memory_space::fact{
      memory_space::embedded{{"0190-m", "ab12", "small", std::string("\x7f\x81\0\1", 4)}}},
    approval::fact{approval::requested{"c.1", rich_question(), 1'700'000'060'000'000}},
    approval::fact{approval::resolved{"c.1", approval::status::approved, "ada", "but smaller"}},
    approval::fact{approval::claimed{"c.1", "worker-1", "run-1/call-2"}},
    approval::fact{approval::forgotten{}},
    clarification::fact{clarification::asked{
      "q.1",
      {"run-1", "chat", "ada", "s1", "Which one?", R"({"of":["a","b"]})", "ada", R"("slack")"},
      1'700'000'060'000'000}},
    clarification::fact{
      clarification::ended{"q.1", clarification::status::answered, "The \"first\"", "ada"}},
    clarification::fact{clarification::forgotten{}},
    permission::fact{permission::rules_set{{"rm", "sudo*"}, {"*"}}},
    permission::fact{permission::granted{{"g1", "ada", "chat", "ada", "s1", "mail*", R"("to":"x")",
                                          1'700'000'600'000'000, "eve", "c.1"}}},
    permission::fact{permission::revoked{"g1", "eve"}},
    schedule::fact{schedule::defined{rich_schedule(), true, 1'700'006'400'000'000}},
    schedule::fact{schedule::paused{}},
    schedule::fact{schedule::resumed{1'700'006'400'000'000}},
    schedule::fact{schedule::deleted{}},
    schedule::fact{schedule::run_due{"1700006400000000", 1'700'006'400'000'000, true, 3, "eve",
                                     "report", R"({"to":"x"})"}},
    schedule::fact{schedule::runs_skipped{1'700'006'400'000'000, 3, "misfire"}},
    schedule::fact{schedule::advanced{1'700'010'000'000'000}},
    schedule::fact{schedule::run_claimed{"1700006400000000", 1'700'006'400'000'000, "w1",
                                         1'700'006'460'000'000, 1'700'006'700'000'000}},
    schedule::fact{
      schedule::run_extended{"1700006400000000", 1'700'006'520'000'000, 1'700'006'700'000'000}},
    schedule::fact{schedule::run_ended{"1700006400000000", 1'700'006'400'000'000,
                                       schedule::run_status::failed, true, R"({"why":"x"})"}},
    schedule::fact{schedule::run_released{"1700006400000000", 1'700'006'400'000'000}},
    schedule::fact{schedule::runs_forgotten{19'600, 19'645}},
    effect::fact{effect::begun{"ab12", "mail", "c.1", "w1", 1'700'006'460'000'000}},
    effect::fact{effect::extended{1'700'006'520'000'000}},
    effect::fact{effect::ended{effect::status::completed, R"({"id":7})", "eve"}},
    effect::fact{effect::doubted{}},
    value_space::fact{value_space::value_set{"a", R"({"x":1})", 1'700'000'000'000'000,
                                             1'700'000'001'000'000, 1'700'000'061'000'000}},
    value_space::fact{value_space::value_ended{"a"}},
    value_space::fact{value_space::begun_anew{}},
    principal::fact{principal::record_put{{"ada", "idle", true, "web", {"tea"}, R"({"a":1})"},
                                          1'700'000'000'000'000}},
    principal::fact{principal::session_put{
      "main", {"local", "http://127.0.0.1:8080", "small", "chat", "1.k.box"}}},
    principal::fact{principal::session_dropped{"main"}},
    principal::fact{principal::collection_attached{"team", {"chat", "team"}}},
    principal::fact{principal::collection_detached{"team"}},
    principal::fact{principal::usage_recorded{"c1", "main", "small", {1, 7, 3, 2, 10, 40}}},
    principal::fact{principal::purged{}},
    summary::fact{
      summary::stored{3, "root/search", {"They \"met\".", {"tea", "trip"}, 12, 7, "e7", "gpt"}}},
    summary::fact{summary::cleared{40}},
    summary::fact{summary::configured{{20, 8'000, 3'600}}},
    summary::fact{summary::job_due{3, "root/search", "entries", 7}},
    summary::fact{summary::job_raised{"root/search", 9}},
    summary::fact{summary::job_claimed{"root/search", "w1", 2, 1'700'000'060'000'000}},
    summary::fact{summary::job_extended{"root/search", 1'700'000'120'000'000}},
    summary::fact{summary::job_failed{"root/search", summary::job_status::resting,
                                      1'700'000'130'000'000, R"({"why":"x"})"}},
    summary::fact{summary::job_released{"root/search"}},
    summary::fact{summary::job_done{"root/search"}},
  };
}

result<any_fact> decode(std::string_view type, std::string payload, std::uint16_t schema = 1) {
  return codec::decode(type, schema, text(std::move(payload)));
}

void refuse(errc code, std::string_view type, std::string payload, std::uint16_t schema = 1) {
  INFO(type << " " << payload);
  auto fact = decode(type, payload, schema);
  REQUIRE_FALSE(fact.has_value());
  CHECK(to_string(fact.error().code) == to_string(code));
  CHECK_THAT(fact.error().message, Catch::Matchers::ContainsSubstring(std::string(type)));
}

}  // namespace

TEST_CASE("every fact type has a stored sample that is read and written again", "[codec]") {
  const files::path samples = RECALLD_TEST_SAMPLES;
  for (auto type : codec::fact_types()) {
    auto file = samples / (std::string(type) + ".v1.json");
    INFO(file.filename().string());
    REQUIRE(files::exists(file));
    auto sample = content_of(file);
    auto fact = decode(type, sample);
    REQUIRE(fact.has_value());
    auto again = codec::encode(*fact, 1);
    CHECK(again.type == type);
    CHECK(again.schema == 1);
    CHECK(again.payload.view() == sample);
  }
}

TEST_CASE("every stored sample belongs to a fact type and is read", "[codec]") {
  auto types = codec::fact_types();
  for (const auto& file : files::directory_iterator(RECALLD_TEST_SAMPLES)) {
    auto name = file.path().filename().string();
    INFO(name);
    auto version = name.rfind(".v");
    REQUIRE(version != std::string::npos);
    auto type = name.substr(0, version);
    REQUIRE(std::find(types.begin(), types.end(), type) != types.end());
    auto schema = static_cast<std::uint16_t>(std::stoi(name.substr(version + 2)));
    CHECK(decode(type, content_of(file.path()), schema).has_value());
  }
}

TEST_CASE("the samples say what they said when they were stored", "[codec]") {
  auto facts = rich_facts();
  auto types = codec::fact_types();
  REQUIRE(facts.size() == types.size());
  for (std::size_t i = 0; i < facts.size(); ++i) {
    INFO(types[i]);
    auto sample =
      content_of(files::path(RECALLD_TEST_SAMPLES) / (std::string(types[i]) + ".v1.json"));
    auto fact = decode(types[i], sample);
    REQUIRE(fact.has_value());
    CHECK(tell(*fact) == tell(facts[i]));
    CHECK(*fact == facts[i]);
  }
}

TEST_CASE("the fact types are those of the variants, each once", "[codec]") {
  auto types = codec::fact_types();
  std::size_t count = 0;
  for_each_aggregate(aggregates{}, [&]<class A>() {
    count += std::variant_size_v<typename A::fact>;
    CHECK(A::stored_as().types.size() == std::variant_size_v<typename A::fact>);
  });
  CHECK(types.size() == count);
  CHECK(std::set<std::string_view>(types.begin(), types.end()).size() == types.size());
  auto facts = rich_facts();
  for (std::size_t i = 0; i < types.size(); ++i)
    CHECK(codec::encode(facts[i], 1).type == types[i]);
}

TEST_CASE("facts with nothing to say are short and come back", "[codec]") {
  using namespace session;
  const std::pair<any_fact, std::string_view> cases[] = {
    {session::fact{created{}}, R"({"values":{}})"},
    {session::fact{state_changed{}}, "{}"},
    {session::fact{session::retention_changed{}}, "{}"},
    {session::fact{closed{}}, "{}"},
    {session::fact{deleted{}}, "{}"},
    {session::fact{expired{}}, "{}"},
    {session::fact{context_removed{"c"}}, R"({"id":"c"})"},
    {session::fact{track_appended{"t", "1"}}, R"({"track":"t","item":1})"},
    {scope::fact{scope::state_changed{}}, "{}"},
    {scope::fact{scope::retention_changed{}}, "{}"},
    {schedule::fact{schedule::paused{5}}, R"({"forget_at":5})"},
    {schedule::fact{schedule::deleted{5}}, R"({"forget_at":5})"},
    {schedule::fact{schedule::runs_forgotten{1, 2, true}},
     R"({"first_day":1,"last_day":2,"all":true})"},
  };
  for (const auto& [fact, payload] : cases) {
    auto e = codec::encode(fact, 1);
    CHECK(e.payload.view() == payload);
    CHECK(codec::decode(e.type, e.schema, e.payload).value() == fact);
  }
}

TEST_CASE("an entry's payload ends with the entry", "[codec]") {
  session::entry_appended f{"e", "user", 1, 2, 1, R"({"id":"e"})", 1};
  CHECK(codec::encode(session::fact{f}, 2).payload.view()
        == R"({"id":"e","role":"user","ordinal":1,"turn_version":2,"turn_ordinal":1,"life":1,)"
           R"("entry":{"id":"e"}})");
  f.ttl_s = 60;
  CHECK(codec::encode(session::fact{f}, 2).payload.view()
        == R"({"id":"e","role":"user","ordinal":1,"turn_version":2,"turn_ordinal":1,"life":1,)"
           R"("ttl_s":60,"entry":{"id":"e"}})");
}

TEST_CASE("a decoded entry shares the bytes of its payload", "[codec]") {
  for (auto id : {"plain", "quoted\"\\"}) {
    session::entry_appended f{id, "user", 1, 2, 1, R"({"a":[{}]})", 1};
    auto payload = codec::encode(session::fact{f}, 2).payload;
    auto back = codec::decode("session.entry_appended", 1, payload).value();
    const auto& e = std::get<session::entry_appended>(std::get<session::fact>(back));
    CHECK(e == f);
    CHECK(e.raw.view().data() > payload.view().data());
    CHECK(e.raw.view().data() + e.raw.size() + 1 == payload.view().data() + payload.size());
  }
}

TEST_CASE("an entry is read in any form that is the same JSON", "[codec]") {
  session::entry_appended f{"e", "user", 1, 2, 1, R"({"id":"e"})", 1, 60};
  for (
    auto payload :
    {R"( {"id":"e","role":"user","ordinal":1,"turn_version":2,"turn_ordinal":1,"life":1,"ttl_s":60,"entry":{"id":"e"}})",
     R"({"id":"e","role":"user","ordinal":1,"turn_version":2,"turn_ordinal":1,"life":1,"ttl_s":60,"entry": {"id":"e"} } )",
     R"({"entry":{"id":"e"},"ttl_s":60,"life":1,"turn_ordinal":1,"turn_version":2,"ordinal":1,"role":"\u0075ser","id":"e"})",
     R"({"id":"e","role":"user","new":{},"ordinal":1,"turn_version":2,"turn_ordinal":1,"life":1,"ttl_s":60,"entry":{"id":"e"}})"}) {
    INFO(payload);
    auto back = decode("session.entry_appended", payload);
    REQUIRE(back.has_value());
    CHECK(*back == any_fact{session::fact{f}});
  }
}

TEST_CASE("what an entry's payload may not be is corrupt", "[codec]") {
  const std::string whole =
    R"({"id":"e","role":"user","ordinal":1,"turn_version":2,"turn_ordinal":1,"life":1,"entry":{"id":"e"}})";
  REQUIRE(decode("session.entry_appended", whole).has_value());
  for (std::size_t size = 0; size < whole.size(); ++size)
    refuse(errc::corrupt, "session.entry_appended", whole.substr(0, size));
  for (auto part : {"\"id\":\"e\",", "\"role\":\"user\",", "\"ordinal\":1,", "\"turn_version\":2,",
                    "\"turn_ordinal\":1,", "\"life\":1,"}) {
    auto lacking = whole;
    lacking.erase(lacking.find(part), std::string_view(part).size());
    refuse(errc::corrupt, "session.entry_appended", lacking);
  }
  auto wrong = [&](std::string_view from, std::string_view to) {
    auto changed = whole;
    changed.replace(changed.find(from), from.size(), to);
    refuse(errc::corrupt, "session.entry_appended", changed);
  };
  wrong("\"ordinal\":1", "\"ordinal\":-1");
  wrong("\"ordinal\":1", "\"ordinal\":1.5");
  wrong("\"ordinal\":1", "\"ordinal\":\"1\"");
  wrong("\"ordinal\":1", "\"ordinal\":99999999999999999999");
  wrong("\"life\":1", "\"life\":1,\"ttl_s\":x");
  wrong("\"role\":\"user\"", "\"role\":5");
  wrong("\"role\":\"user\"", "\"role\":\"a\",\"role\":\"b\"");
}

TEST_CASE("unreadable payloads are corrupt", "[codec]") {
  for (auto type : codec::fact_types())
    for (auto payload : {"", "{", "[]", "null", "{\"a\":1,\"a\":2}", "\xff"})
      refuse(errc::corrupt, type, payload);
  refuse(errc::corrupt, "session.created", "{}");
  refuse(errc::corrupt, "session.created", R"({"values":[]})");
  refuse(errc::corrupt, "session.created", R"({"values":{},"ttl_s":-1})");
  refuse(errc::corrupt, "session.created", R"({"values":{"a":1,"a":2}})");
  refuse(errc::corrupt, "session.state_changed", R"({"set":1})");
  refuse(errc::corrupt, "session.state_changed", R"({"deleted":"a"})");
  refuse(errc::corrupt, "session.state_changed", R"({"deleted":["a",1]})");
  refuse(errc::corrupt, "session.context_added", R"({"id":"a","type":"b"})");
  refuse(errc::corrupt, "session.context_removed", "{}");
  refuse(errc::corrupt, "session.track_appended", R"({"track":"a"})");
  refuse(errc::corrupt, "session.retention_changed", R"({"keep_entries":"1"})");
  refuse(errc::corrupt, "session.forked", R"({"source":["session"],"through":1})");
  refuse(errc::corrupt, "session.trimmed", R"({"through":1,"state":{}})");
  refuse(errc::corrupt, "scope.state_changed", R"({"set":[]})");
  refuse(errc::corrupt, "scope.retention_changed", R"({"ttl_s":1.5})");
  refuse(errc::corrupt, "scope.id_reserved", R"({"id":1})");
  auto fork = codec::encode(rich_facts()[10], 1).payload.str();
  auto at = fork.find("[\"session\"");
  REQUIRE(at != std::string::npos);
  fork.replace(at + 2, 7, "planets");
  refuse(errc::corrupt, "session.forked", fork);
}

TEST_CASE("unknown members are skipped", "[codec]") {
  CHECK(decode("session.closed", R"({"later":{"a":[1]}})").value()
        == any_fact{session::fact{session::closed{}}});
}

TEST_CASE("newer types and schemas are unavailable, not corrupt", "[codec]") {
  refuse(errc::unavailable, "session.reopened", "{}");
  refuse(errc::unavailable, "session", "{}");
  for (auto type : codec::fact_types()) {
    refuse(errc::unavailable, type, "{}", 2);
    refuse(errc::corrupt, type, "{}", 0);
  }
}

TEST_CASE("facts lie in their lanes under their keys", "[codec]") {
  using namespace session;
  std::set<std::string_view> paged;
  std::set<std::string_view> keyed;
  for (const auto& f : rich_facts()) {
    auto e = codec::encode(f, 9);
    if (e.lane != lane::folded)
      paged.insert(e.type);
    if (!e.key.empty())
      keyed.insert(e.type);
  }
  CHECK(keyed
        == std::set<std::string_view>{"session.entry_appended", "session.track_appended",
                                      "memory_space.added", "memory_space.retold",
                                      "memory_space.updated", "memory_space.status_changed",
                                      "memory_space.embedded", "value.set", "principal.session_put",
                                      "principal.usage_recorded"});
  CHECK(paged
        == std::set<std::string_view>{"session.entry_appended", "session.track_appended",
                                      "scope.id_reserved", "memory_space.embedded"});
  auto entry = codec::encode(session::fact{entry_appended{"e1", "user", 1, 2, 1, "{}", 7}}, 9);
  CHECK(entry.lane == lane::entries);
  CHECK(entry.key == fact_key::entry(7, "e1"));
  auto item = codec::encode(session::fact{track_appended{"log", "1"}}, 9);
  CHECK(item.lane == lane::tracks);
  CHECK(item.key == fact_key::track_item("log", 9));
}

TEST_CASE("states go there and back", "[codec]") {
  for (const auto& s : {rich_state(), session::state{}}) {
    auto written = codec::encode_state(s);
    INFO(written);
    CHECK(json::validate(written, "state").has_value());
    auto back = codec::decode_state<session::aggregate>(written);
    REQUIRE(back.has_value());
    CHECK(*back == s);
  }
  scope::state shared{7, 3, -5, {{"k", "null"}}, {1, 2}};
  for (const auto& s : {shared, scope::state{}}) {
    auto back = codec::decode_state<scope::aggregate>(codec::encode_state(s));
    REQUIRE(back.has_value());
    CHECK(*back == s);
  }
}

TEST_CASE("every member of a state is kept", "[codec]") {
  // The sample is a state with everything in it; without any one part it is another state.
  auto whole = json::to_raw_map(codec::encode_state(rich_state()), "state").value();
  CHECK(whole.size() == 17);
  std::set<std::string> seen{codec::encode_state(rich_state())};
  for (const auto& [name, value] : whole) {
    auto lacking = whole;
    lacking.erase(name);
    auto state = codec::decode_state<session::aggregate>(json::object_of(lacking));
    INFO(name);
    if (state)
      CHECK(seen.insert(codec::encode_state(*state)).second);
  }
}

TEST_CASE("unreadable states are corrupt", "[codec]") {
  for (auto text : {"", "{", "[]", "{}", "null", R"({"status":"open"})"}) {
    INFO(text);
    REQUIRE_FALSE(codec::decode_state<session::aggregate>(text).has_value());
    CHECK(codec::decode_state<session::aggregate>(text).error().code == errc::corrupt);
    REQUIRE_FALSE(codec::decode_state<scope::aggregate>(text).has_value());
    CHECK(codec::decode_state<scope::aggregate>(text).error().code == errc::corrupt);
  }
  auto wrong = [](std::string_view from, std::string_view to) {
    auto state = codec::encode_state(rich_state());
    auto at = state.find(from);
    REQUIRE(at != std::string::npos);
    state.replace(at, from.size(), to);
    INFO(state);
    CHECK_FALSE(codec::decode_state<session::aggregate>(state).has_value());
  };
  wrong(R"("status":"closed")", R"("status":"resting")");
  wrong(R"("entries":12)", R"("entries":"12")");
  wrong(R"("created_at":1)", R"("created_at":x)");
  wrong(R"("type":"file")", R"("type":1)");
  wrong(R"("through":15)", R"("through":-15)");
  wrong(R"(["session","default","chat")", R"(["moon","default","chat")");
  wrong(R"("contexts":{)", R"("contexts":{"x":{},)");
}

TEST_CASE("any numbers and texts go there and back", "[codec]") {
  check_property("entries", [](std::uint64_t ordinal, std::uint64_t version, std::uint64_t turn,
                               std::uint64_t life, std::uint64_t ttl) {
    auto word = rc::gen::container<std::string>(rc::gen::inRange<char>(0, 127));
    session::entry_appended f{*word, *word, ordinal, version, turn, R"({"a":"}"})", life, ttl};
    auto e = codec::encode(session::fact{f}, 1);
    RC_ASSERT(json::validate(e.payload.view(), "payload").has_value());
    auto back = codec::decode(e.type, e.schema, e.payload);
    RC_ASSERT(back.has_value());
    RC_ASSERT((*back == any_fact{session::fact{f}}));
  });
}

}  // namespace recalld

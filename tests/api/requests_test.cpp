#include "api/requests.hpp"

#include "tests/api/given.hpp"
#include "tests/catch.hpp"

using namespace recalld;
using test::given;

namespace {

constexpr time_us_t now = 1'790'000'000'000'000;  // 2026-09-21

struct entries_read {
  std::vector<session::entry> entries;
  std::optional<error> wrong;
};

entries_read read_entries(std::string json) {
  const given members(std::move(json));
  api::request_reader in(members);
  auto entries = api::read_entries(in, members.whole(), now);
  return {std::move(entries), in.wrong() ? std::optional(*in.wrong()) : std::nullopt};
}

api::window_request read_window(api::request_reader& in) {
  return api::read_window(in, "session.get", {"default", "a", "u", "s"});
}

std::optional<error> window_error(std::string json) {
  const given members(std::move(json));
  api::request_reader in(members);
  read_window(in);
  return in.wrong() ? std::optional(*in.wrong()) : std::nullopt;
}

session::window good_window(std::string json) {
  const given members(std::move(json));
  api::request_reader in(members);
  auto wanted = read_window(in);
  INFO((in.wrong() ? in.wrong()->field + ": " + in.wrong()->message : ""));
  REQUIRE(in.wrong() == nullptr);
  return wanted.window;
}

std::string nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

session::recorded_entry entry_at(version_t version, std::uint64_t ordinal) {
  session::recorded_entry e;
  e.version = version;
  e.fact.ordinal = ordinal;
  return e;
}

}  // namespace

// -- entries --

TEST_CASE("an entry keeps its own text and gives what we interpret") {
  const auto read =
    read_entries(R"({"entries":[ {"id":"e1","role":"user","content":"hi","x":{ "y" : [1, 2.50] }},)"
                 R"({"role":"tool","partial":true,"usage":{"total_tokens":3}} ]})");
  REQUIRE_FALSE(read.wrong);
  REQUIRE(read.entries.size() == 2);
  CHECK(read.entries[0].id == "e1");
  CHECK(read.entries[0].role == "user");
  CHECK_FALSE(read.entries[0].partial);
  CHECK(read.entries[0].raw.view()
        == R"({"id":"e1","role":"user","content":"hi","x":{ "y" : [1, 2.50] }})");
  CHECK(read.entries[1].partial);
  CHECK(read.entries[1].id.empty());
}

TEST_CASE("an entry without a role is spoken by its author") {
  const auto read = read_entries(R"({"entry":{"author":"user","content":null}})");
  REQUIRE_FALSE(read.wrong);
  CHECK(read.entries.at(0).role == "user");
}

TEST_CASE("no entries at all is for the operation to judge") {
  CHECK(read_entries(R"({})").entries.empty());
  CHECK(read_entries(R"({"entries":[]})").entries.empty());
}

TEST_CASE("bad entries are refused by the path of what is wrong") {
  const auto [json, field] = GENERATE(table<std::string, std::string>({
    {R"({"entries":[1]})", "entries[0]"},
    {R"({"entries":[{"role":"u"},"x"]})", "entries[1]"},
    {R"({"entries":[[]]})", "entries[0]"},
    {R"({"entries":[null]})", "entries[0]"},
    {R"({"entry":"text"})", "entry"},
    {R"({"entry":{},"entries":[]})", "entry"},
    {R"({"entries":[{}]})", "entries[0].role"},
    {R"({"entries":[{"content":"x"}]})", "entries[0].role"},
    {R"({"entries":[{"role":null}]})", "entries[0].role"},
    {R"({"entries":[{"role":""}]})", "entries[0].role"},
    {R"({"entries":[{"role":7}]})", "entries[0].role"},
    {R"({"entries":[{"role":["user"]}]})", "entries[0].role"},
    {R"({"entries":[{"role":"user","role":"tool"}]})", "entries[0]"},
    {R"({"entries":[{"role":"user"},{"role":"user"},{"role":"user"},{"role":false}]})",
     "entries[3].role"},
    {R"({"entry":{"role":"user","id":""}})", "entry.id"},
    {R"({"entry":{"role":"user","id":null}})", "entry.id"},
    {R"({"entry":{"role":"user","id":12}})", "entry.id"},
    {R"({"entry":{"role":"user","id":"a\u0000b"}})", "entry.id"},
    {R"({"entry":{"role":"user","content":12}})", "entry.content"},
    {R"({"entry":{"role":"user","content":true}})", "entry.content"},
    {R"({"entry":{"role":"user","type":""}})", "entry.type"},
    {R"({"entry":{"role":"user","type":{}}})", "entry.type"},
    {R"({"entry":{"role":"user","author":1}})", "entry.author"},
    {R"({"entry":{"role":"user","invocation_id":1}})", "entry.invocation_id"},
    {R"({"entry":{"role":"user","branch":[]}})", "entry.branch"},
    {R"({"entry":{"role":"user","filter_key":{}}})", "entry.filter_key"},
    {R"({"entry":{"role":"user","tag":0}})", "entry.tag"},
    {R"({"entry":{"role":"user","tool_calls":{}}})", "entry.tool_calls"},
    {R"({"entry":{"role":"user","tool_calls":"x"}})", "entry.tool_calls"},
    {R"({"entry":{"role":"user","tool_results":"x"}})", "entry.tool_results"},
    {R"({"entry":{"role":"user","usage":[]}})", "entry.usage"},
    {R"({"entry":{"role":"user","metadata":[]}})", "entry.metadata"},
    {R"({"entry":{"role":"user","metadata":"x"}})", "entry.metadata"},
    {R"({"entry":{"role":"user","partial":"yes"}})", "entry.partial"},
    {R"({"entry":{"role":"user","partial":1}})", "entry.partial"},
    {R"({"entry":{"role":"user","client_time":1700000000}})", "entry.client_time"},
    {R"({"entry":{"role":"user","client_time":"yesterday"}})", "entry.client_time"},
    {R"({"entry":{"role":"user","client_time":"2026-02-30T00:00:00Z"}})", "entry.client_time"},
    {R"({"entry":{"role":"user","client_time":"2026-01-01 00:00:00"}})", "entry.client_time"},
  }));
  INFO(json);
  const auto read = read_entries(json);
  REQUIRE(read.wrong);
  CHECK(read.wrong->code == errc::invalid);
  CHECK(read.wrong->field == field);
  CHECK_FALSE(read.wrong->message.empty());
}

TEST_CASE("a client's clock may be a little ahead, not more") {
  const auto entry_of = [](time_us_t time) {
    return R"({"entry":{"role":"user","client_time":")" + format_time(time) + "\"}}";
  };
  CHECK_FALSE(read_entries(entry_of(now - 1'000'000'000)).wrong);
  CHECK_FALSE(read_entries(entry_of(now + 300'000'000)).wrong);
  const auto read = read_entries(entry_of(now + 300'000'001));
  REQUIRE(read.wrong);
  CHECK(read.wrong->field == "entry.client_time");
  CHECK_THAT(read.wrong->message, Catch::Matchers::ContainsSubstring("clocks in the future"));
}

TEST_CASE("entries have limits") {
  std::string many = R"({"entries":[)";
  for (int i = 0; i < 501; ++i)
    many += std::string(i == 0 ? "" : ",") + R"({"role":"user"})";
  many += "]}";
  CHECK(read_entries(many).wrong->field == "entries");
  const auto sized = [](std::size_t bytes) {
    const std::string frame = R"({"role":"user","content":""})";
    return R"({"entry":{"role":"user","content":")" + std::string(bytes - frame.size(), 'x')
           + "\"}}";
  };
  CHECK_FALSE(read_entries(sized(256 * 1024)).wrong);
  CHECK(read_entries(sized(256 * 1024 + 1)).wrong->field == "entry");
  CHECK_FALSE(
    read_entries(R"({"entry":{"role":"user","id":")" + std::string(512, 'i') + "\"}}").wrong);
  CHECK(read_entries(R"({"entry":{"role":"user","id":")" + std::string(513, 'i') + "\"}}").wrong);
  CHECK(read_entries(R"({"entry":{"role":")" + std::string(129, 'r') + "\"}}").wrong);
}

TEST_CASE("what we do not interpret is never judged") {
  for (const std::string opaque :
       {"1e400", "-0", "123456789012345678901234567890", "\"\\ud83d\\ude00\"",
        "{\"role\":1,\"role\":2}", "[[],{}]", "null"}) {
    const auto read = read_entries(R"({"entry":{"role":"user","opaque":)" + opaque + "}}");
    INFO(opaque);
    REQUIRE_FALSE(read.wrong);
    CHECK(read.entries.at(0).raw.view() == R"({"role":"user","opaque":)" + opaque + "}");
  }
}

// -- state --

TEST_CASE("a delta is seen with its prefixes, temporary keys included") {
  const given members(R"({"state":{"a":1,"app:b":"x","user:c":null,"temp:d":[ 1 ]}})");
  api::request_reader in(members);
  const auto delta = api::read_delta(in, "state");
  REQUIRE(in.wrong() == nullptr);
  CHECK(delta.session.at("a") == "1");
  CHECK(delta.app.at("b") == "\"x\"");
  CHECK(delta.user.at("c") == "null");
  CHECK(delta.temp.at("d") == "[1]");
  CHECK(api::seen_delta(delta) == R"({"a":1,"app:b":"x","temp:d":[1],"user:c":null})");
}

TEST_CASE("bad deltas are refused") {
  for (const std::string json :
       {R"({"state":[]})", R"({"state":1})", R"({"state":{"":1}})", R"({"state":{"app:":1}})",
        R"({"state":{"a":1,"a":2}})", R"({"state":{"a":{"$bytes":"***"}}})",
        R"({"state":{"a":{"$bytes":7}}})"}) {
    const given members(json);
    api::request_reader in(members);
    api::read_delta(in, "state");
    INFO(json);
    REQUIRE(in.wrong() != nullptr);
    CHECK(in.wrong()->code == errc::invalid);
    CHECK_THAT(in.wrong()->field, Catch::Matchers::StartsWith("state"));
  }
}

TEST_CASE("keys of a session to delete") {
  const auto [json, field] = GENERATE(table<std::string, std::string>({
    {R"({"key":"a"})", ""},
    {R"({"keys":["a","b"]})", ""},
    {R"({})", "key"},
    {R"({"key":"a","keys":["b"]})", "keys"},
    {R"({"keys":[]})", "keys"},
    {R"({"keys":[1]})", "keys[0]"},
    {R"({"keys":["a",""]})", "keys[1]"},
    {R"({"key":""})", "key"},
    {R"({"key":"app:a"})", "key"},
    {R"({"keys":["a","user:b"]})", "keys[1]"},
    {R"({"key":"temp:a"})", "key"},
  }));
  const given members(json);
  api::request_reader in(members);
  const auto keys = api::read_session_keys(in);
  INFO(json);
  CHECK((in.wrong() ? in.wrong()->field : "") == field);
  if (field.empty())
    CHECK(keys.front() == "a");
}

TEST_CASE("shared state takes its own prefix off and refuses others") {
  using api::scope_kind;
  const auto [kind, json, field, key] =
    GENERATE(table<scope_kind, std::string, std::string, std::string>({
      {scope_kind::app, R"({"state":{"k":1}})", "", "k"},
      {scope_kind::app, R"({"state":{"app:k":1}})", "", "k"},
      {scope_kind::user, R"({"state":{"user:k":1}})", "", "k"},
      {scope_kind::user, R"({"state":{"user:x:y":1}})", "", "x:y"},
      {scope_kind::app, R"({"state":{"user:k":1}})", "state.user:k", ""},
      {scope_kind::user, R"({"state":{"app:k":1}})", "state.app:k", ""},
      {scope_kind::app, R"({"state":{"temp:k":1}})", "state.temp:k", ""},
      {scope_kind::app, R"({"state":{"app:":1}})", "state.app:", ""},
      {scope_kind::app, R"({"state":{"k":1,"app:k":2}})", "state.k", ""},
      {scope_kind::app, R"({"state":{}})", "state", ""},
      {scope_kind::app, R"({"state":[]})", "state", ""},
      {scope_kind::app, R"({})", "state", ""},
    }));
  const given members(json);
  api::request_reader in(members);
  const auto values = api::read_scope_state(in, kind);
  INFO(json);
  CHECK((in.wrong() ? in.wrong()->field : "") == field);
  if (field.empty())
    CHECK(values.contains(key));
}

TEST_CASE("shared state is deleted by one key, several keys, or whole") {
  const auto [json, field] = GENERATE(table<std::string, std::string>({
    {R"({"key":"a"})", ""},
    {R"({"keys":["app:a","b"]})", ""},
    {R"({"all":true})", ""},
    {R"({})", "key"},
    {R"({"all":false})", "key"},
    {R"({"key":"a","all":true})", "key"},
    {R"({"key":"a","keys":["a"]})", "key"},
    {R"({"keys":[]})", "keys"},
    {R"({"keys":["user:a"]})", "keys[0]"},
    {R"({"key":"app:"})", "key"},
    {R"({"all":"yes"})", "all"},
  }));
  const given members(json);
  api::request_reader in(members);
  api::read_scope_deletion(in, api::scope_kind::app);
  INFO(json);
  CHECK((in.wrong() ? in.wrong()->field : "") == field);
}

// -- windows --

TEST_CASE("bad windows are refused by the option that is wrong") {
  const auto [json, field] = GENERATE(table<std::string, std::string>({
    {R"({"last":-1})", "last"},
    {R"({"last":10001})", "last"},
    {R"({"last":1.5})", "last"},
    {R"({"last":"5"})", "last"},
    {R"({"last":9007199254740993})", "last"},
    {R"({"limit":0})", "limit"},
    {R"({"limit":-5})", "limit"},
    {R"({"limit":10001})", "limit"},
    {R"({"after_version":-1})", "after_version"},
    {R"({"before_version":-1})", "before_version"},
    {R"({"max_bytes":0})", "max_bytes"},
    {R"({"since":"noon"})", "since"},
    {R"({"since":5})", "since"},
    {R"({"anchor":""})", "anchor"},
    {R"({"anchor":5})", "anchor"},
    {R"({"before":3})", "anchor"},
    {R"({"after":3})", "anchor"},
    {R"({"anchor":"e","before":-1})", "before"},
    {R"({"anchor":"e","after":1001})", "after"},
    {R"({"roles":"user"})", "roles"},
    {R"({"roles":[1]})", "roles[0]"},
    {R"({"roles":["user",""]})", "roles[1]"},
    {R"({"turn_aligned":"yes"})", "turn_aligned"},
    {R"({"cursor":5})", "cursor"},
    {R"({"cursor":""})", "cursor"},
    {R"({"cursor":"garbage"})", "cursor"},
    {R"({"cursor":"AAAAAAAAAAAAAAAAAAAAAAAA"})", "cursor"},
  }));
  INFO(json);
  const auto wrong = window_error(json);
  REQUIRE(wrong);
  CHECK(wrong->code == errc::invalid);
  CHECK(wrong->field == field);
}

TEST_CASE("a window without options is the last hundred, and no answer is without measure") {
  const auto w = good_window("{}");
  CHECK(w.last == session::window_default);
  CHECK(w.turn_aligned == false);
  CHECK(w.max_bytes == api::answer_bytes_max);
  CHECK(good_window(R"({"max_bytes":1000000000000})").max_bytes == api::answer_bytes_max);
  CHECK(good_window(R"({"max_bytes":10})").max_bytes == 10);
  CHECK_FALSE(good_window(R"({"max_bytes":10})").last);
}

TEST_CASE("bounding a window changes nothing about where it begins") {
  const auto behind = good_window(R"({"after_version":5})");
  CHECK(behind.limit == session::window_entries_max);
  CHECK_FALSE(behind.last);
  CHECK(good_window(R"({"last":5})").turn_aligned == true);
  CHECK(good_window(R"({"last":5,"before_version":9})").turn_aligned == false);
  CHECK_FALSE(good_window(R"({"anchor":"e","before":2})").max_bytes);
}

TEST_CASE("cursors lead to the neighbours of a page") {
  const given members(R"({"limit":2,"roles":["user"]})");
  api::request_reader in(members);
  const auto wanted = read_window(in);
  session::page page{{entry_at(5, 2), entry_at(9, 3)}, true, true};
  const auto cursors = api::cursors_of(wanted, page);

  const auto next = good_window(R"({"limit":2,"roles":["user"],"cursor":")" + cursors.next + "\"}");
  CHECK(next.after_version == 9);
  CHECK(next.limit == 2);
  const auto previous =
    good_window(R"({"limit":2,"roles":["user"],"cursor":")" + cursors.previous + "\"}");
  CHECK(previous.before_version == 5);
  CHECK(previous.last == 2);
  CHECK(previous.turn_aligned == false);

  CHECK(window_error(R"({"limit":2,"cursor":")" + cursors.next + "\"}")->field == "cursor");
}

TEST_CASE("a cursor knows better where to begin than the options of the first page") {
  const given members(R"({"after_version":1,"limit":2})");
  api::request_reader in(members);
  const auto wanted = read_window(in);
  const auto cursors = api::cursors_of(wanted, {{entry_at(2, 1), entry_at(3, 2)}, false, true});
  CHECK(cursors.previous.empty());
  const auto w = good_window(R"({"after_version":1,"limit":2,"cursor":")" + cursors.next + "\"}");
  CHECK(w.after_version == 3);
}

TEST_CASE("paging back goes on behind a user entry that was put before its window") {
  const given members(R"({"last":2})");
  api::request_reader in(members);
  const auto wanted = read_window(in);
  // Ordinal 1 began the turn; 2 and 3 lie between it and the window.
  const session::page page{{entry_at(10, 1), entry_at(40, 4), entry_at(50, 5)}, false, false};
  const auto cursors = api::cursors_of(wanted, page);
  REQUIRE_FALSE(cursors.previous.empty());
  CHECK(good_window(R"({"last":2,"cursor":")" + cursors.previous + "\"}").before_version == 40);
}

TEST_CASE("a cursor of one session is none of another") {
  const given members(R"({"limit":2})");
  api::request_reader in(members);
  const auto wanted = api::read_window(in, "session.get", {"default", "a", "u", "other"});
  const auto cursors = api::cursors_of(wanted, {{entry_at(2, 1)}, false, true});
  CHECK(window_error(R"({"limit":2,"cursor":")" + cursors.next + "\"}")->field == "cursor");
}

// -- the rest --

TEST_CASE("track items") {
  const auto [json, field, count] = GENERATE(table<std::string, std::string, std::size_t>({
    {R"({"item":{"a": 1}})", "", 1},
    {R"({"item":null})", "", 1},
    {R"({"items":[1,"x",null]})", "", 3},
    {R"({})", "item", 0},
    {R"({"items":[]})", "items", 0},
    {R"({"items":{}})", "items", 0},
    {R"({"item":1,"items":[1]})", "items", 0},
  }));
  const given members(json);
  api::request_reader in(members);
  const auto items = api::read_track_items(in);
  INFO(json);
  CHECK((in.wrong() ? in.wrong()->field : "") == field);
  if (field.empty())
    CHECK(items.size() == count);
}

TEST_CASE("retention") {
  const auto [json, field] = GENERATE(table<std::string, std::string>({
    {R"({})", ""},
    {R"({"keep_entries":10,"ttl_s":60})", ""},
    {R"({"keep_entries":-1})", "keep_entries"},
    {R"({"ttl_s":-1})", "ttl_s"},
    {R"({"ttl_s":1e3})", "ttl_s"},
    {R"({"ttl_s":9007199254740991})", "ttl_s"},
    {R"({"keep_entries":"5"})", "keep_entries"},
  }));
  const given members(json);
  api::request_reader in(members);
  api::read_retention(in);
  INFO(json);
  CHECK((in.wrong() ? in.wrong()->field : "") == field);
}

TEST_CASE("ids") {
  const auto [json, good] = GENERATE(table<std::string, bool>({
    {R"({"app":"a","user":"u","session":"s"})", true},
    {R"({"app":"a","user":"u"})", false},
    {R"({"app":"","user":"u","session":"s"})", false},
    {R"({"app":"a","user":1,"session":"s"})", false},
    {R"({"app":"a","user":"u","session":"\u0000"})", false},
    {R"({"app":"a/b:c","user":"ü","session":"日本"})", true},
  }));
  const given members(json);
  api::request_reader in(members);
  api::read_session_key(in, "default");
  INFO(json);
  CHECK((in.wrong() == nullptr) == good);
}

// -- noise --

namespace {

/// A JSON value made of the words we know, at random places.
rc::Gen<std::string> some_json(int depth) {
  const auto scalar = rc::gen::element<std::string>(
    "null", "true", "0", "-1", "1.5", "9007199254740993", "1e999", "\"\"", "\"user\"", "\"e1\"",
    "\"2026-01-01T00:00:00Z\"", "\"app:x\"", "\"\\u0000\"", "\"\\ud800\"");
  if (depth == 0)
    return scalar;
  return rc::gen::mapcat(rc::gen::inRange(0, 4), [=](int pick) -> rc::Gen<std::string> {
    if (pick < 2)
      return scalar;
    const auto parts = rc::gen::container<std::vector<std::string>>(some_json(depth - 1));
    return rc::gen::map(parts, [pick](const std::vector<std::string>& values) {
      static constexpr std::string_view names[] = {
        "id",   "role",  "content",  "entries", "entry",       "state",
        "last", "roles", "cursor",   "x",       "client_time", "keys",
        "all",  "items", "metadata", "usage",   "anchor",      "before"};
      std::string out = pick == 2 ? "[" : "{";
      for (std::size_t i = 0; i < values.size() && i < std::size(names); ++i) {
        if (i > 0)
          out += ',';
        if (pick == 3)
          out += "\"" + std::string(names[(values[i].size() + i * 7) % std::size(names)]) + "\":";
        out += values[i];
      }
      return out + (pick == 2 ? "]" : "}");
    });
  });
}

void read_everything(const std::string& json) {
  const given members(json);
  const auto each = [&](auto read) {
    api::request_reader in(members);
    read(in);
    if (in.wrong() != nullptr)
      RC_ASSERT(in.wrong()->code == errc::invalid || in.wrong()->code == errc::corrupt);
  };
  each([&](auto& in) { api::read_entries(in, members.whole(), now); });
  each([&](auto& in) { api::read_delta(in, "state"); });
  each([&](auto& in) { api::read_session_keys(in); });
  each([&](auto& in) { api::read_scope_state(in, api::scope_kind::user); });
  each([&](auto& in) { api::read_scope_deletion(in, api::scope_kind::app); });
  each([&](auto& in) { read_window(in); });
  each([&](auto& in) { api::read_track_items(in); });
  each([&](auto& in) { api::read_retention(in); });
  each([&](auto& in) { api::read_session_key(in, "default"); });
}

}  // namespace

TEST_CASE("whatever comes in, reading it gives a value or a typed error") {
  check_property("shaped noise", [] { read_everything(*some_json(4)); });
  check_property("noise", [](const std::string& bytes) { read_everything(bytes); });
  read_everything(nested(64));
  read_everything(nested(10'000));
}

#include "events/ids.hpp"

#include <set>

#include "events/envelope.hpp"
#include "events/error.hpp"
#include "tests/catch.hpp"

using namespace recalld;

TEST_CASE("every error code has its own word", "[error]") {
  std::set<std::string_view> words;
  for (int code = 1; code <= static_cast<int>(errc::corrupt); ++code)
    words.insert(to_string(static_cast<errc>(code)));
  CHECK(words.size() == 14);
  CHECK(words.count("unknown") == 0);
  CHECK(to_string(errc::outcome_unknown) == "outcome_unknown");
  CHECK(to_string(static_cast<errc>(0)) == "unknown");
}

TEST_CASE("a stream id keeps its parts apart", "[ids]") {
  auto a = stream_id(stream_kind::scope, {"a:b", "c"});
  auto b = stream_id(stream_kind::scope, {"a", "b:c"});
  auto c = stream_id(stream_kind::scope, {"a", "b", "c"});
  CHECK(a != b);
  CHECK(b != c);
  CHECK(stream_id(stream_kind::scope, {"", "x"}) != stream_id(stream_kind::scope, {"x", ""}));
  CHECK(a.parts() == std::vector<std::string_view>{"a:b", "c"});
  CHECK(session_stream("t", "a", "u", "s").kind() == stream_kind::session);
  CHECK(app_stream("t", "a") != user_stream("t", "a", ""));
  CHECK(stream_id(stream_kind::session, {"t", "a"}) != app_stream("t", "a"));
}

TEST_CASE("a stream id is a kind byte and length-prefixed parts", "[ids]") {
  CHECK(session_stream("t", "app", "", "s").bytes()
        == std::string("\x01\x01t\x03"
                       "app\x00\x01s",
                       10));
  auto wide = stream_id(stream_kind::scope, {std::string(300, 'x')});
  CHECK(wide.bytes().substr(0, 3) == "\x02\xac\x02");
  CHECK(wide.bytes().size() == 303);
}

TEST_CASE("a stream id has a form for people", "[ids]") {
  CHECK(to_string(session_stream("default", "app", "u", "s1")) == "session default/app/u/s1");
  CHECK(to_string(app_stream("default", "app")) == "scope default/app");
  CHECK_FALSE(to_string(stream_id{}).empty());
  CHECK(stream_id{}.empty());
  CHECK(stream_id{}.parts().empty());
}

TEST_CASE("only what bytes() gave is read back as a stream id", "[ids]") {
  using namespace std::string_literals;
  auto refused = [](std::string bytes) {
    auto id = stream_id::from_bytes(std::move(bytes));
    return !id && id.error().code == errc::corrupt;
  };
  CHECK(refused(""s));
  CHECK(refused("\x01"s));
  CHECK(refused("\x00\x01t"s));
  CHECK(refused("\x7f\x01t"s));
  CHECK(refused("\x01\x05tttt"s));
  CHECK(refused("\x01\x01t\x02s"s));
  CHECK(refused("\x01\x80"s));
  CHECK(refused("\x01\x81\x00t"s));
  CHECK(refused("\x01"s + std::string(10, '\xff')));

  check_property("round trip", [](const std::vector<std::string>& parts) {
    RC_PRE(!parts.empty());
    auto id =
      stream_id(stream_kind::scope, std::vector<std::string_view>(parts.begin(), parts.end()));
    auto back = stream_id::from_bytes(id.bytes());
    RC_ASSERT(back.has_value());
    RC_ASSERT(*back == id);
    auto views = back->parts();
    RC_ASSERT(std::vector<std::string>(views.begin(), views.end()) == parts);
  });
}

TEST_CASE("a caller's id is checked", "[ids]") {
  CHECK(check_id("a", "id"));
  CHECK(check_id(std::string(512, 'x'), "id"));
  CHECK(check_id("Grüße 你好 \xf0\x9f\x98\x80", "id"));
  auto refused = [](std::string_view id) {
    auto checked = check_id(id, "session");
    return !checked && checked.error().code == errc::invalid && checked.error().field == "session"
           && !checked.error().message.empty();
  };
  CHECK(refused(""));
  CHECK(refused(std::string(513, 'x')));
  CHECK(refused(std::string_view("a\0b", 3)));
  CHECK(refused("\xff"));
  CHECK(refused("\xc3"));
  CHECK(refused("\xed\xa0\x80"));
  CHECK(refused("\xc0\x80"));
}

TEST_CASE("a UUIDv7 has the form of RFC 9562", "[ids]") {
  // The example of appendix A.6, as far as time goes.
  auto id = uuid_v7(1'645'557'742'000'000, {0, 0});
  CHECK(id == "017f22e2-79b0-7000-8000-000000000000");
  CHECK(uuid_v7(0, {~0ull, 0}) == "00000000-0000-7000-9fff-ffffffffffff");
  CHECK(uuid_v7(-5, {0, 0}).substr(0, 8) == "00000000");
  CHECK(uuid_v7(999, {0, 0}).substr(14, 4) == "7ffb");
}

TEST_CASE("UUIDs made from one piece of entropy differ and keep their order", "[ids]") {
  check_property("index and time order ids",
                 [](std::uint64_t a, std::uint64_t b, std::uint32_t us, std::uint16_t index) {
                   time_us_t now = us;
                   auto id = uuid_v7(now, {a, b}, index);
                   RC_ASSERT(id.size() == 36u);
                   RC_ASSERT(id[14] == '7');
                   RC_ASSERT(std::string("89ab").find(id[19]) != std::string::npos);
                   RC_ASSERT(id < uuid_v7(now, {a, b}, index + 1u));
                   RC_ASSERT(id < uuid_v7(now + 1, {b, a}, 0));
                 });
  CHECK(uuid_v7(5, {8, 0}) != uuid_v7(5, {16, 0}));
  CHECK(uuid_v7(5, {0, 8}) != uuid_v7(5, {0, 16}));
}

TEST_CASE("a time is written with microseconds", "[ids]") {
  CHECK(format_time(0) == "1970-01-01T00:00:00.000000Z");
  CHECK(format_time(1'795'232'700'000'001) == "2026-11-21T03:45:00.000001Z");
  CHECK(format_time(-1) == "1969-12-31T23:59:59.999999Z");
  CHECK(format_time(951'782'400'000'000) == "2000-02-29T00:00:00.000000Z");
}

TEST_CASE("RFC 3339 is read", "[ids]") {
  auto read = [](std::string_view text) { return parse_time(text, "at").value_or(-1); };
  CHECK(read("1970-01-01T00:00:00Z") == 0);
  CHECK(read("2026-11-21T03:45:00.000001Z") == 1'795'232'700'000'001);
  CHECK(read("2026-11-21t03:45:00z") == 1'795'232'700'000'000);
  CHECK(read("2026-11-21 03:45:00Z") == 1'795'232'700'000'000);
  CHECK(read("2026-11-21T05:45:00+02:00") == 1'795'232'700'000'000);
  CHECK(read("2026-11-20T22:15:00-05:30") == 1'795'232'700'000'000);
  CHECK(read("1970-01-01T00:00:00.5Z") == 500'000);
  CHECK(read("1970-01-01T00:00:00.123456789Z") == 123'456);
  CHECK(read("2024-02-29T00:00:00Z") == 1'709'164'800'000'000);
}

TEST_CASE("what is no time is refused with its field", "[ids]") {
  for (auto text : {"",
                    "now",
                    "2026-11-21",
                    "2026-11-21T03:45:00",
                    "2026-11-21T03:45Z",
                    "2026-11-21T03:45:00.Z",
                    "2026-13-01T00:00:00Z",
                    "2026-00-01T00:00:00Z",
                    "2026-02-30T00:00:00Z",
                    "2023-02-29T00:00:00Z",
                    "2026-11-00T00:00:00Z",
                    "2026-11-21T24:00:00Z",
                    "2026-11-21T03:60:00Z",
                    "2026-11-21T03:45:60Z",
                    "2026-11-21T03:45:00+24:00",
                    "2026-11-21T03:45:00+02:60",
                    "2026-11-21T03:45:00+0200",
                    "2026-11-21T03:45:00Zx",
                    "-026-11-21T03:45:00Z",
                    "2026-11-21X03:45:00Z",
                    "20261121T034500Z",
                    " 2026-11-21T03:45:00Z"}) {
    INFO(text);
    auto t = parse_time(text, "since");
    REQUIRE_FALSE(t.has_value());
    CHECK(t.error().code == errc::invalid);
    CHECK(t.error().field == "since");
  }
}

TEST_CASE("times go there and back", "[ids]") {
  check_property("round trip", [] {
    // Years 1 to 9999.
    auto t = *rc::gen::inRange<time_us_t>(-62'135'596'800'000'000, 253'402'300'800'000'000);
    RC_ASSERT(parse_time(format_time(t), "at").value() == t);
  });
}

TEST_CASE("fact keys keep lives, ids and tracks apart", "[ids]") {
  CHECK(fact_key::entry(1, "e1") == "e1:e1");
  CHECK(fact_key::entry(1, "1:x") != fact_key::entry(11, "x"));
  CHECK(fact_key::entry_id(fact_key::entry(12, "a:b")) == "a:b");
  CHECK(fact_key::entry_id(fact_key::track_item("e", 1)).empty());
  CHECK(fact_key::entry_id("").empty());
  CHECK(fact_key::track_item("log", 255) == "t3:log00000000000000ff");
  CHECK(fact_key::track_item("log", 2).starts_with(fact_key::track_prefix("log")));
  CHECK_FALSE(fact_key::track_item("logs", 2).starts_with(fact_key::track_prefix("log")));
  CHECK(fact_key::track_item("log", 9) < fact_key::track_item("log", 10));
  CHECK(fact_key::track_item("log", 255) < fact_key::track_item("log", 256));
}

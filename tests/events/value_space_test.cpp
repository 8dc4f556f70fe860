#include "events/value_space.hpp"

#include "tests/events/given.hpp"

namespace recalld::value_space {

using namespace recalld::testing;

namespace {

value_set as_set(std::string key, std::string json, time_us_t at, std::uint64_t ttl_s) {
  return {std::move(key), std::move(json), at, at, at + static_cast<time_us_t>(ttl_s) * second};
}

}  // namespace

TEST_CASE("a value is set for a time and keeps its creation while it lives", "[value_space]") {
  auto out = given_values({}).when(set{"a", "1", 10});
  out.then({as_set("a", "1", start, 10)});
  auto past = given_values({as_set("a", "1", start, 10)});
  past.when(set{"a", "2", 5})
    .then({value_set{"a", "2", start, past.now(), past.now() + 5 * second}});
  past.when(set{"a", "2", 5, true}).nothing();
  past.at(start + 10 * second);
  past.when(set{"a", "2", 5}).then({as_set("a", "2", start + 10 * second, 5)});
  past.when(set{"a", "2", 5, true}).then({as_set("a", "2", start + 10 * second, 5)});
  CHECK(past.state().find("a", start + 10 * second) == nullptr);
  CHECK(past.state().find("a", start + 10 * second - 1) != nullptr);
}

TEST_CASE("a value ends by a caller or by its time", "[value_space]") {
  auto past = given_values({as_set("a", "1", start, 10), as_set("b", "2", start, 100)});
  past.when(remove{"a"}).then({value_ended{"a"}});
  past.when(remove{"c"}).nothing();
  past.when(expire{}).nothing();
  past.at(start + 10 * second);
  past.when(remove{"a"}).nothing();
  auto out = past.when(expire{});
  out.then({value_ended{"a"}});
  CHECK(out.after().values.size() == 1);
  CHECK(out.after().by_expiry.size() == 1);
  // With the last one everything goes.
  past.at(start + 100 * second);
  auto none = past.when(expire{});
  none.then({begun_anew{}});
  CHECK(none.after().values.empty());
  CHECK(none.after().bytes == 0);
}

TEST_CASE("a stream in which most is over begins anew with what lives", "[value_space]") {
  std::vector<fact> facts{as_set("long", "1", start, 1'000'000), as_set("over", "2", start, 1)};
  for (version_t i = 0; i <= facts_over_max + 1; ++i)
    facts.emplace_back(as_set("short", std::to_string(i), start, 1'000'000));
  auto past = given_values(facts);
  const auto now = past.now();
  auto out = past.when(set{"short", "9", 7});
  out.then({begun_anew{}, as_set("long", "1", start, 1'000'000),
            value_set{"short", "9", start, now, now + 7 * second}});
  CHECK(out.after().base == facts.size());
  CHECK(aggregate::base_of(begun_anew{}, 5)->through == 4);
  CHECK_FALSE(aggregate::base_of(begun_anew{}, 5)->carries_state);
}

TEST_CASE("a value that is set or ends forgets what was set before under its key only",
          "[value_space]") {
  const auto key_of = [](const fact& f) { return codec::encode(any_fact(f), 9).key; };
  const auto forgets = [](const fact& f) { return aggregate::forgets(f); };
  CHECK(key_of(as_set("a", "1", 0, 1)).starts_with(forgets(value_ended{"a"})));
  CHECK(key_of(as_set("a", "1", 0, 1)).starts_with(forgets(as_set("a", "2", 0, 1))));
  CHECK_FALSE(key_of(as_set("a/b", "1", 0, 1)).starts_with(forgets(value_ended{"a"})));
  CHECK(forgets(begun_anew{}).empty());
  CHECK(key_of(value_ended{"a"}).empty());
}

TEST_CASE("a value that cannot be kept is refused", "[value_space]") {
  auto past = given_values({});
  past.when(set{"", "1", 1}).fails(errc::invalid, "key");
  past.when(set{"a", "1", 0}).fails(errc::invalid, "ttl_s");
  past.when(set{"a", "1", ttl_s_max + 1}).fails(errc::invalid, "ttl_s");
  past.when(set{"a", std::string(value_bytes_max + 1, '1'), 1}).fails(errc::invalid, "value");
  past.when(remove{""}).fails(errc::invalid, "key");
}

TEST_CASE("the state of values goes there and back", "[value_space]") {
  const auto past =
    given_values({as_set("a", "[1]", start, 10), begun_anew{}, as_set("b", "2", start, 100)});
  auto back = codec::decode_state<aggregate>(codec::encode_state(past.state()));
  REQUIRE(back.has_value());
  CHECK(*back == past.state());
  CHECK(past.state().base == 1);
}

}  // namespace recalld::value_space

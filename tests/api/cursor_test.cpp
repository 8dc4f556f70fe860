#include "api/cursor.hpp"

#include "tests/catch.hpp"

#include <limits>

using namespace recalld;
using api::cursor_part;

namespace {

std::vector<cursor_part> some_place() {
  return {std::monostate{}, std::int64_t{-7}, std::string("a\0b", 3), std::string(),
          std::numeric_limits<std::int64_t>::min()};
}

}  // namespace

TEST_CASE("a cursor gives back the place it was written for") {
  const auto list = api::list_name({"session.list", "default", "shop"});
  const auto cursor = api::write_cursor(list, some_place());
  const auto place = api::read_cursor(cursor, list, "cursor");
  REQUIRE(place);
  CHECK(*place == some_place());
  CHECK(cursor.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
        == std::string::npos);
}

TEST_CASE("a cursor of another list is refused") {
  const auto cursor = api::write_cursor(api::list_name({"l", "a", "bc"}), some_place());
  const auto place = api::read_cursor(cursor, api::list_name({"l", "ab", "c"}), "cursor");
  REQUIRE_FALSE(place);
  CHECK(place.error().code == errc::invalid);
  CHECK(place.error().field == "cursor");
}

TEST_CASE("every single changed or missing character of a cursor is noticed") {
  const auto list = api::list_name({"l"});
  const auto cursor = api::write_cursor(list, some_place());
  for (std::size_t i = 0; i < cursor.size(); ++i) {
    for (char other : {'A', 'z', '7', '_', '=', ' ', '\0'}) {
      auto changed = cursor;
      if (changed[i] == other)
        continue;
      changed[i] = other;
      INFO(i << " " << changed);
      CHECK_FALSE(api::read_cursor(changed, list, "cursor"));
    }
    CHECK_FALSE(api::read_cursor(cursor.substr(0, i), list, "cursor"));
  }
  CHECK_FALSE(api::read_cursor(cursor + "A", list, "cursor"));
  CHECK_FALSE(api::read_cursor(std::string(100'000, 'A'), list, "cursor"));
}

TEST_CASE("random text is no cursor") {
  check_property("read_cursor refuses", [](const std::string& text) {
    RC_ASSERT(!api::read_cursor(text, "list", "cursor"));
  });
}

TEST_CASE("any place comes back") {
  check_property("round trip", [](const std::vector<std::string>& texts, std::int64_t number,
                                  const std::string& list) {
    std::vector<cursor_part> place{number};
    for (const auto& text : texts)
      place.emplace_back(text);
    const auto cursor = api::write_cursor(list, place);
    const auto read = api::read_cursor(cursor, list, "cursor");
    RC_ASSERT(cursor.size() > 8192 || (read && *read == place));
  });
}

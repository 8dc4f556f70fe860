#include "cli/session_difference.hpp"
#include "cli/session_past.hpp"
#include "tests/catch.hpp"

using namespace recalld;
using namespace recalld::cli;

TEST_CASE("equal states do not differ", "[difference]") {
  session::state s;
  s.values = {{"k", "1"}};
  CHECK(differences(s, s).empty());
  session::state t = s;
  t.metadata = "{}";  // an empty object and none are the same
  CHECK(differences(s, t).empty());
}

TEST_CASE("keys that were added, changed and removed are told", "[difference]") {
  session::state before;
  before.status = session::status::open;
  before.values = {{"changed", "1"}, {"gone", "null"}, {"same", "{}"}};
  before.entries = 3;
  auto after = before;
  after.values = {{"changed", "\"x\""}, {"new", "[1]"}, {"same", "{}"}};
  after.entries = 5;
  after.status = session::status::closed;
  const auto all = differences(before, after);
  using kind = difference::kind;
  CHECK(all
        == std::vector<difference>{{kind::changed, "status", "", "\"open\"", "\"closed\""},
                                   {kind::changed, "entries", "", "3", "5"},
                                   {kind::changed, "state", "changed", "1", "\"x\""},
                                   {kind::removed, "state", "gone", "null", ""},
                                   {kind::added, "state", "new", "", "[1]"}});
}

TEST_CASE("contexts are compared by their ids", "[difference]") {
  session::state before;
  before.contexts["c"] = {"file", "\"a\"", 0, 1};
  session::state after;
  after.contexts["c"] = {"file", "\"b\"", 0, 2};
  after.contexts["d"] = {"system", "\"x\"", 0, 3};
  const auto all = differences(before, after);
  REQUIRE(all.size() == 2);
  CHECK(all[0].key == "c");
  CHECK(all[0].how == difference::kind::changed);
  CHECK(all[1].key == "d");
  CHECK(all[1].how == difference::kind::added);
}

TEST_CASE("a point is a version or a time", "[point]") {
  CHECK(std::get<0>((*parse_point("17", "--at"))->at) == 17);
  CHECK((*parse_point("2026-01-31T12:00:00Z", "--at"))->is_time());
  CHECK_FALSE(*parse_point("", "--at"));
  CHECK_FALSE(*parse_point("head", "--at"));
  for (const char* bad : {"-1", "1x", "yesterday", "1.5"})
    CHECK_FALSE(parse_point(bad, "--at"));
}

TEST_CASE("a range may leave its ends away", "[point]") {
  const auto whole = parse_point_range("5..12", "--diff");
  REQUIRE(whole);
  CHECK(std::get<0>(whole->first->at) == 5);
  CHECK(std::get<0>(whole->last->at) == 12);
  CHECK_FALSE(parse_point_range("..12", "--diff")->first);
  CHECK_FALSE(parse_point_range("5..", "--diff")->last);
  CHECK_FALSE(parse_point_range("5-12", "--diff"));
  const auto times =
    parse_point_range("2026-01-31T12:00:00.5Z..2026-01-31T13:00:00+01:00", "--diff");
  REQUIRE(times);
  CHECK(times->first->is_time());
}

#include "tests/actors/stage.hpp"
#include "tests/catch.hpp"

namespace recalld::tests {

namespace {

using namespace std::chrono_literals;

stage_options timed() {
  stage_options o;
  o.timers = true;
  return o;
}

/// Lets time pass in the steps of a timer.
void wait(stage& on, std::chrono::seconds time) {
  for (auto passed = 0ms; passed < time; passed += 250ms)
    on.pass(250ms);
}

std::size_t count(const std::vector<recorded>& log, std::string_view type) {
  return static_cast<std::size_t>(
    std::count_if(log.begin(), log.end(), [&](const recorded& r) { return r.type == type; }));
}

}  // namespace

TEST_CASE("a session whose time is over is gone at once, and cleaned up once", "[timers]") {
  stage on(storage::open_model(), timed());
  REQUIRE(on.call("app.set_retention", json{{"app", "a"}, {"ttl_s", 60}}).ok());
  REQUIRE(on.call("session.create", session_of("s")).ok());
  REQUIRE(on.call("session.append", with(session_of("s"), {{"entry", entry_of("e1")}})).ok());
  REQUIRE(on.call("session.create", session_of("t")).ok());
  wait(on, 40s);
  REQUIRE(on.call("session.append", with(session_of("t"), {{"entry", entry_of("e1")}})).ok());
  wait(on, 15s);
  CHECK(on.call("session.get", session_of("s")).ok());
  CHECK(count(on.log(), "session.expired") == 0);
  // Just past the deadline: no timer has run, yet nobody sees it any more.
  wait(on, 4s);
  on.pass(1'100ms);
  CHECK_FALSE(on.call("session.get", session_of("s")).ok());
  CHECK_FALSE(on.call("session.append", with(session_of("s"), {{"entry", entry_of("e2")}})).ok());
  CHECK(on.call("session.get", session_of("t")).ok());
  wait(on, 10s);
  CHECK(count(on.log(), "session.expired") == 1);
  const auto listed = on.call("session.list", json{{"app", "a"}});
  REQUIRE(listed.body.at("sessions").size() == 1);
  CHECK(listed.body.at("sessions").at(0).at("session") == "t");
  wait(on, 60s);
  CHECK(count(on.log(), "session.expired") == 2);
}

TEST_CASE("a session that expired while nobody was there is cleaned up after the restart",
          "[timers]") {
  const auto disk = storage::make_model_disk();
  time_us_t now = 0;
  {
    stage on(storage::open_model(disk), timed());
    REQUIRE(on.call("app.set_retention", json{{"app", "a"}, {"ttl_s", 60}}).ok());
    REQUIRE(on.call("session.create", session_of("s")).ok());
    now = on.now() + 3'600'000'000;
  }
  stage on(storage::open_model(disk), timed(), now);
  CHECK_FALSE(on.call("session.get", session_of("s")).ok());
  wait(on, 3s);
  CHECK(count(on.log(), "session.expired") == 1);
  CHECK(on.call("session.list", json{{"app", "a"}}).body.at("sessions").empty());
}

TEST_CASE("a thousand sessions that expire together are all cleaned up", "[timers]") {
  stage on(storage::open_model(), timed());
  REQUIRE(on.call("app.set_retention", json{{"app", "a"}, {"ttl_s", 60}}).ok());
  for (int i = 0; i < 1'100; ++i)
    REQUIRE(on.call("session.create", session_of("s" + std::to_string(i))).ok());
  wait(on, 70s);
  CHECK(count(on.log(), "session.expired") == 1'100);
}

TEST_CASE("what was deleted leaves the log in idle moments", "[timers]") {
  stage on(storage::open_model(), timed());
  REQUIRE(on.call("session.create", session_of("s")).ok());
  for (int i = 0; i < 700; ++i)
    REQUIRE(on.call("session.append",
                    with(session_of("s"), {{"entry", entry_of("e" + std::to_string(i))}}))
              .ok());
  REQUIRE(on.call("session.delete", session_of("s")).ok());
  wait(on, 2s);
  for (const auto& f : on.log())
    CHECK((f.blanked || f.type == "session.deleted"));
}

}  // namespace recalld::tests

#include "tests/actors/stage.hpp"
#include "tests/catch.hpp"

namespace recalld::tests {

namespace {

using namespace std::chrono_literals;

stage_options with_supervisor() {
  stage_options o;
  o.supervisor = true;
  return o;
}

/// An actor that takes runs.
struct worker {
  explicit worker(stage& where) : on(where) {
    sink = on.cast([this](caf::event_based_actor*) -> caf::behavior {
      return {[this](const std::string& from, const std::string& work) {
        CHECK(from == id);
        got.push_back(json::parse(work));
      }};
    });
  }

  answer begin(json request, std::uint32_t credit, std::string operation = "run.claim") {
    return begin_text(request.dump(), credit, std::move(operation));
  }
  answer begin_text(std::string request, std::uint32_t credit, std::string operation = "run.claim") {
    auto out = std::make_shared<letter<answer>>();
    on.cast([&](caf::event_based_actor* self) {
      self
        ->request(on.gateway, caf::infinite, actors::protocol_version, std::move(operation),
                  std::move(request), sink, credit)
        .then(
          [this, out](std::uint16_t status, const std::string& body) {
            out->answer = answer{status, json::parse(body)};
            id = out->answer->body.value("delivery", "");
          },
          [out](const caf::error& e) { out->broken = e; });
    });
    on.run();
    return out->answer.value();
  }
  void more(std::uint32_t credit) {
    caf::anon_send(caf::actor_cast<caf::actor>(on.gateway), id, credit);
    on.run();
  }
  void die() {
    caf::anon_send_exit(sink, caf::exit_reason::kill);
    on.run();
  }

  stage& on;
  caf::actor sink;
  std::string id;
  std::vector<json> got;
};

void define(stage& on, const std::string& name, const std::string& kind = "k") {
  REQUIRE(on.call("schedule.define",
                  json{{"schedule", name}, {"expression", "@every 100s"}, {"kind", kind}, {"attempts", 2}})
            .ok());
}

}  // namespace

TEST_CASE("work comes to a registered actor as it falls due, as far as its credit goes",
          "[delivery]") {
  stage on(storage::open_model(), with_supervisor());
  for (const auto* name : {"a", "b", "c"})
    define(on, name);
  define(on, "other", "x");
  worker w(on);
  REQUIRE(w.begin({{"worker", "w"}, {"kind", "k"}, {"lease_s", 30}}, 2).ok());
  CHECK(w.got.empty());
  on.pass(100s);
  on.pass(300ms);
  REQUIRE(w.got.size() == 2);
  on.pass(10s);
  CHECK(w.got.size() == 2);
  w.more(1);
  on.pass(10ms);
  REQUIRE(w.got.size() == 3);
  // What came is claimed for it, once.
  std::set<std::string> schedules;
  for (const auto& work : w.got) {
    const auto& run = work["run"];
    schedules.insert(run["schedule"]);
    CHECK(on.call("run.complete", json{{"schedule", run["schedule"]}, {"run", run["run"]}, {"fence", run["fence"]}})
            .ok());
  }
  CHECK(schedules == std::set<std::string>{"a", "b", "c"});
  const auto left = on.call("run.claim", json{{"worker", "v"}});
  CHECK(left.body["run"]["schedule"] == "other");
  CHECK(on.fatal.empty());
}

TEST_CASE("what a dead worker had comes to another one", "[delivery]") {
  stage on(storage::open_model(), with_supervisor());
  define(on, "a");
  worker first(on), second(on);
  const json wish{{"worker", "w"}, {"lease_s", 30}};
  REQUIRE(first.begin(wish, 5).ok());
  on.pass(100s);
  on.pass(300ms);
  REQUIRE(first.got.size() == 1);
  first.die();
  REQUIRE(second.begin(wish, 5).ok());
  on.pass(10s);
  CHECK(second.got.empty());
  on.pass(21s);
  on.pass(300ms);
  REQUIRE(second.got.size() == 1);
  CHECK(second.got[0]["run"]["run"] == first.got[0]["run"]["run"]);
  // 0 ends a delivery.
  second.more(0);
  on.pass(100s);
  on.pass(6s);
  CHECK(second.got.size() == 1);
}

TEST_CASE("a registration is checked like any other request", "[delivery]") {
  stage_options o = with_supervisor();
  o.limits.watchers_max = 1;
  stage on(storage::open_model(), o);
  define(on, "a");
  worker w(on);
  const json good{{"worker", "w"}};
  CHECK(w.begin(good, 1, "session.append").body["error"]["field"] == "operation");
  CHECK(w.begin(good, 1, "approval.wait").body["error"]["field"] == "operation");
  CHECK(w.begin(good, 1, "nonsense").body["error"]["field"] == "operation");
  CHECK(w.begin(good, 0).body["error"]["field"] == "credit");
  CHECK(w.begin({{"worker", "w"}, {"wait_ms", 1}}, 1).body["error"]["field"] == "wait_ms");
  CHECK(w.begin({{"worker", ""}}, 1).body["error"]["field"] == "worker");
  CHECK(w.begin(json::object(), 1).body["error"]["field"] == "worker");
  CHECK(w.begin({{"worker", "w"}, {"lease_s", 0}}, 1).body["error"]["field"] == "lease_s");
  for (const auto* garbage : {"", "[]", "{", "null", "{}}"})
    CHECK_FALSE(w.begin_text(garbage, 1).ok());
  CHECK(w.begin_text(" {\"worker\":\"w\"} \n", 1).ok());
  worker second(on);
  CHECK(second.begin(good, 1).code() == errc::overloaded);
  w.die();
  CHECK(second.begin(good, 1).ok());
}

}  // namespace recalld::tests

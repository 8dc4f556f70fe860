#include "tests/actors/stage.hpp"
#include "tests/catch.hpp"

#include <chrono>
#include <set>

/// Everything that waits, on a stage: deadlines, restarts, jumps of the clock, and waiters.
namespace recalld::tests {

using namespace std::chrono_literals;

namespace {

stage_options with_supervisor() {
  stage_options o;
  o.supervisor = true;
  return o;
}

std::unique_ptr<storage::store> empty_log() { return storage::open_model(); }

std::string request(stage& on, std::string run, int expires_s = 0, std::string tool = "mail") {
  json wish{{"tool", tool}, {"run", run}, {"args", {{"to", "x"}}}};
  if (expires_s > 0)
    wish["expires_s"] = expires_s;
  const auto a = on.call("approval.request", wish);
  INFO(a.body.dump());
  REQUIRE(a.ok());
  return a.body["approval"]["id"];
}

std::string status_of(stage& on, const std::string& id) {
  return on.call("approval.get", json{{"approval", id}}).body["approval"]["status"];
}

std::size_t count_facts(stage& on, std::string_view type) {
  std::size_t n = 0;
  for (const auto& f : on.log())
    n += f.type == type;
  return n;
}

}  // namespace

TEST_CASE("a request expires at its deadline, with a fact", "[supervisor]") {
  stage on(empty_log(), with_supervisor());
  const auto id = request(on, "r1", 10);
  on.pass(9'990ms);
  CHECK(count_facts(on, "approval.resolved") == 0);
  CHECK(status_of(on, id) == "pending");
  on.pass(20ms);
  CHECK(count_facts(on, "approval.resolved") == 1);
  CHECK(status_of(on, id) == "expired");
  const auto late =
    on.call("approval.resolve", json{{"approval", id}, {"decision", "approved"}, {"by", "ada"}});
  CHECK(late.code() == errc::expired);
  on.pass(60s);
  CHECK(count_facts(on, "approval.resolved") == 1);
  CHECK(on.fatal.empty());
}

TEST_CASE("what is overdue at the start falls once", "[supervisor]") {
  stage on(empty_log());  // Nobody looks after the deadlines.
  std::vector<std::string> ids;
  for (int i = 0; i < 40; ++i)
    ids.push_back(request(on, "r" + std::to_string(i), 10 + i % 3));
  on.pass(60s);
  CHECK(count_facts(on, "approval.resolved") == 0);
  auto one = on.system().spawn(actors::supervisor, on.around);
  on.pass(1s);
  CHECK(count_facts(on, "approval.resolved") == 40);
  // It dies, and another one finds nothing left to do.
  caf::anon_send_exit(one, caf::exit_reason::kill);
  on.run();
  one = on.system().spawn(actors::supervisor, on.around);
  on.pass(2s);
  CHECK(count_facts(on, "approval.resolved") == 40);
  const auto next = request(on, "later", 5);
  on.pass(5'300ms);
  CHECK(status_of(on, next) == "expired");
  CHECK(count_facts(on, "approval.resolved") == 41);
  caf::anon_send_exit(one, caf::exit_reason::kill);
  on.run();
}

TEST_CASE("two supervisors on one log fire nothing twice", "[supervisor]") {
  stage on(empty_log(), with_supervisor());
  auto second = on.system().spawn(actors::supervisor, on.around);
  on.run();
  const auto defined = on.call(
    "schedule.define", json{{"schedule", "s"}, {"expression", "@every 60s"}, {"kind", "k"}});
  INFO(defined.body.dump());
  REQUIRE(defined.ok());
  for (int i = 0; i < 10; ++i)
    on.pass(60s);
  on.pass(1s);
  std::set<std::string> runs;
  for (const auto& f : on.log())
    if (f.type == "schedule.run_due")
      CHECK(runs.insert(f.payload.str()).second);
  CHECK(runs.size() == 10);
  caf::anon_send_exit(second, caf::exit_reason::kill);
  on.run();
}

TEST_CASE("a jump of the clock leads to one run, with the number missed", "[supervisor]") {
  stage on(empty_log(), with_supervisor());
  REQUIRE(
    on.call("schedule.define", json{{"schedule", "s"}, {"expression", "@every 60s"}, {"kind", "k"}})
      .ok());
  on.pass(1h);
  on.pass(1s);
  const auto runs = on.call("schedule.runs", json{{"schedule", "s"}}).body["runs"];
  REQUIRE(runs.size() == 1);
  CHECK(runs[0]["missed"].get<int>() >= 58);
  CHECK(runs[0]["status"] == "due");
}

TEST_CASE("waiters are woken by the decision, each with the one winner", "[supervisor]") {
  stage on(empty_log(), with_supervisor());
  const auto id = request(on, "r1");
  std::vector<letter_ptr<answer>> waiters;
  for (int i = 0; i < 200; ++i)
    waiters.push_back(on.start("approval.wait", json{{"approval", id}, {"wait_ms", 30'000}}));
  on.run();
  for (const auto& w : waiters)
    CHECK(w->open());
  CHECK(on.around->requests == 0);  // Waiting takes no slot.
  auto yes =
    on.start("approval.resolve", json{{"approval", id}, {"decision", "approved"}, {"by", "ada"}});
  auto no =
    on.start("approval.resolve", json{{"approval", id}, {"decision", "rejected"}, {"by", "eve"}});
  on.run();
  REQUIRE((yes->answer && no->answer));
  CHECK(yes->answer->ok() != no->answer->ok());
  const auto& loser = yes->answer->ok() ? *no->answer : *yes->answer;
  const auto& winner = yes->answer->ok() ? *yes->answer : *no->answer;
  CHECK(loser.code() == errc::already_resolved);
  CHECK(loser.error()["detail"]["resolved_by"] == winner.body["approval"]["resolved_by"]);
  for (const auto& w : waiters) {
    REQUIRE(w->answer);
    CHECK(w->answer->body["approval"]["status"] == winner.body["approval"]["status"]);
  }
  CHECK(on.around->requests == 0);
}

TEST_CASE("a wait ends when its time is up", "[supervisor]") {
  stage on(empty_log(), with_supervisor());
  const auto id = request(on, "r1");
  auto waiter = on.start("approval.wait", json{{"approval", id}, {"wait_ms", 1'000}});
  on.run();
  on.pass(900ms);
  CHECK(waiter->open());
  for (int i = 0; i < 4; ++i)
    on.pass(100ms);
  REQUIRE(waiter->answer);
  CHECK(waiter->answer->body["approval"]["status"] == "pending");
}

TEST_CASE("the same call attaches, a grant answers the next one, a claim is granted once",
          "[supervisor]") {
  stage on(empty_log(), with_supervisor());
  const auto id = request(on, "r1");
  CHECK(request(on, "r1") == id);
  CHECK(request(on, "r2") != id);
  const auto resolved =
    on.call("approval.resolve", json{{"approval", id},
                                     {"decision", "approved"},
                                     {"by", "ada"},
                                     {"grant", {{"for_s", 600}, {"contains", "\"to\":\"x\""}}}});
  INFO(resolved.body.dump());
  REQUIRE(resolved.ok());
  CHECK(status_of(on, request(on, "r3")) == "approved");
  CHECK(on.call("grant.list", json::object()).body["grants"].size() == 1);
  const json claim{{"approval", id}, {"args", {{"to", "x"}}}, {"by", "w1"}};
  CHECK(on.call("approval.claim", json{{"approval", id}, {"args", {{"to", "y"}}}}).code()
        == errc::rejected);
  CHECK(on.call("approval.claim", claim).ok());
  CHECK(on.call("approval.claim", claim).code() == errc::already_claimed);
  CHECK(on.call("approval.list", json::object()).body["approvals"].size() == 1);
  CHECK(
    on.call("approval.list", json{{"status", "all"}, {"limit", 2}}).body.contains("next_cursor"));
  on.pass(601s);
  CHECK(on.call("grant.list", json::object()).body["grants"].empty());
  CHECK(status_of(on, request(on, "r4")) == "pending");
}

TEST_CASE("a worker waits for a run, and one that vanishes loses it", "[supervisor]") {
  stage on(empty_log(), with_supervisor());
  REQUIRE(on.call("schedule.define", json{{"schedule", "s"},
                                          {"expression", "@every 60s"},
                                          {"kind", "k"},
                                          {"action", {{"do", 1}}},
                                          {"attempts", 2}})
            .ok());
  on.pass(30s);
  auto worker = on.start("run.claim", json{{"worker", "w1"}, {"lease_s", 10}, {"wait_ms", 60'000}});
  on.run();
  CHECK(worker->open());
  on.pass(30s);
  on.pass(300ms);
  REQUIRE(worker->answer);
  INFO(worker->answer->body.dump());
  auto run = worker->answer->body["run"];
  // The lease begins with the claim, not with the wait.
  CHECK(parse_time(run["lease_until"].get<std::string>(), "").value() > on.now() + 9'000'000);
  CHECK(run["action"] == json{{"do", 1}});
  on.pass(10s);
  on.pass(300ms);
  const auto again = on.call("run.claim", json{{"worker", "w2"}});
  CHECK(again.body["run"]["run"] == run["run"]);
  const json end{{"schedule", "s"}, {"run", run["run"]}, {"fence", run["fence"]}};
  CHECK(on.call("run.complete", end).code() == errc::already_claimed);
  run = again.body["run"];
  CHECK(
    on.call("run.complete", json{{"schedule", "s"}, {"run", run["run"]}, {"fence", run["fence"]}})
      .ok());
  CHECK(on.call("schedule.runs", json{{"status", "succeeded"}}).body["runs"].size() == 1);
  CHECK_FALSE(on.call("run.claim", json{{"worker", "w3"}}).body.contains("run"));
}

TEST_CASE("an effect whose holder vanishes is in doubt and listed", "[supervisor]") {
  stage on(empty_log(), with_supervisor());
  const json begin{{"key", "k1"}, {"args", {1}}, {"holder", "w1"}, {"lease_s", 5}};
  CHECK(on.call("effect.begin", begin).body["begun"] == true);
  CHECK(on.call("effect.begin", begin).code() == errc::already_claimed);
  on.pass(5s);
  on.pass(300ms);
  CHECK(on.call("effect.begin", begin).code() == errc::in_doubt);
  const auto doubted = on.call("effect.list", json::object()).body["effects"];
  REQUIRE(doubted.size() == 1);
  CHECK(doubted[0]["key"] == "k1");
  const auto known =
    on.call("effect.reconcile",
            json{{"key", "k1"}, {"outcome", "completed"}, {"result", {{"id", 7}}}, {"by", "ada"}});
  CHECK(known.ok());
  const auto done = on.call("effect.begin", begin);
  CHECK(done.body["begun"] == false);
  CHECK(done.body["effect"]["outcome"] == json{{"id", 7}});
}

TEST_CASE("what ended is forgotten after thirty days, what goes on is not", "[supervisor]") {
  stage on(empty_log(), with_supervisor());
  const auto ended = request(on, "r1", 10);
  const auto decided = request(on, "r2");
  const auto open = request(on, "r3");
  const auto asked = on.call("clarification.ask", json{{"question", "Which?"}, {"expires_s", 10}});
  REQUIRE(asked.ok());
  CHECK(on.call("approval.resolve", json{{"approval", decided},
                                         {"decision", "approved"},
                                         {"by", "ada"},
                                         {"grant", {{"for_s", 60}}}})
          .ok());
  on.pass(61s);
  on.pass(300ms);
  CHECK(count_facts(on, "permission.revoked") == 1);  // By the clock: its row is gone.
  on.pass(29 * 24h);
  on.pass(300ms);
  const auto listed = [&](const std::string& what) {
    return on.call(what + ".list", json{{"status", "all"}}).body[what + "s"].size();
  };
  CHECK(listed("approval") == 3);
  // Asked for again in time, it is kept from now on.
  const auto again = request(on, "r2", 10);
  on.pass(11s);
  on.pass(24h);
  on.pass(300ms);
  CHECK(listed("approval") == 3);
  CHECK(listed("clarification") == 0);
  CHECK(on.call("approval.get", json{{"approval", ended}}).code() == errc::not_found);
  CHECK(status_of(on, decided) == "approved");
  CHECK(status_of(on, open) == "pending");
  on.pass(29 * 24h + 60s);
  on.pass(300ms);
  CHECK(listed("approval") == 1);
  CHECK(on.call("approval.get", json{{"approval", again}}).code() == errc::not_found);
  CHECK(status_of(on, open) == "pending");
  // A request whose history is forgotten begins anew.
  CHECK(status_of(on, request(on, "r1", 10)) == "pending");
  on.pass(11s);
  CHECK(listed("approval") == 2);
  CHECK(on.fatal.empty());
}

TEST_CASE("after a commit that was given up for lost another supervisor reads the rows",
          "[supervisor]") {
  stage on(empty_log(), with_supervisor());
  on.store->resolves_unknown = true;
  on.store->after = [](const auto&) { return recalld::error{errc::outcome_unknown, "lost"}; };
  const auto lost = on.call("approval.request", json{{"tool", "t"}, {"expires_s", 10}});
  CHECK(lost.code() == errc::outcome_unknown);
  on.store->after = nullptr;
  request(on, "r2", 10);
  on.pass(11s);
  CHECK(count_facts(on, "approval.resolved") == 0);  // It is gone; a node starts the next one.
  on.supervisor = on.system().spawn(actors::supervisor, on.around);
  on.pass(300ms);
  CHECK(count_facts(on, "approval.resolved") == 2);
  CHECK(on.fatal.empty());
}

}  // namespace recalld::tests

// Approvals, questions, schedules, runs and effects through the gateway of a real node on SQLite.

#include "events/canonical.hpp"
#include "tests/api/running_node.hpp"

#include <chrono>
#include <functional>
#include <future>
#include <thread>

namespace recalld::test {

namespace {

using namespace std::chrono_literals;

json with(json request, const json& more) {
  request.update(more);
  return request;
}

/// A call of a tool that waits for a decision.
json mail(const std::string& run = "r1") {
  return {{"tool", "mail"}, {"run", run}, {"args", {{"to", "x"}, {"n", 1}}}};
}

json request(running_node& n, const json& wish) {
  return n.ok("approval.request", wish)["approval"];
}
json decide(const json& approval, const std::string& how, const std::string& by = "ada") {
  return {{"approval", approval["id"]}, {"decision", how}, {"by", by}};
}

json named(const std::string& schedule) { return {{"schedule", schedule}}; }
json hourly(const std::string& schedule) {
  return {{"schedule", schedule}, {"expression", "@hourly"}, {"kind", "k"}};
}

/// What is refused, by code and field; and that nothing was recorded.
struct refusal {
  std::string operation;
  json request;
  errc code;
  std::string field;
};
void check_refused(running_node& n, const std::vector<refusal>& all) {
  const auto written = [&] { return n.ok("node.figures", json::object())["figures"]["facts"]; };
  const auto before = written();
  for (const auto& one : all) {
    const auto e = n.bad(one.operation, one.request);
    INFO(one.operation << " " << one.request.dump().substr(0, 200) << ": " << e.message);
    CHECK(to_string(e.code) == to_string(one.code));
    CHECK(e.field == one.field);
  }
  CHECK(written() == before);
}

/// Waits until something holds that the supervisor brings about; it looks four times a second.
bool soon(const std::function<bool()>& holds) {
  for (int i = 0; i < 400; ++i) {
    if (holds())
      return true;
    std::this_thread::sleep_for(10ms);
  }
  return false;
}

}  // namespace

// -- approvals --

TEST_CASE("a request is seen, decided, claimed and survives restarts", "[approval]") {
  running_node n;
  const auto asked = n.ok("approval.request", with(mail(), {{"thread", "t1"},
                                                            {"question", "Send it?"},
                                                            {"created_by", "ada"},
                                                            {"sender_context", {{"chat", 7}}},
                                                            {"expires_s", 3600}}));
  CHECK(asked["attached"] == false);
  const auto a = asked["approval"];
  CHECK(a["status"] == "pending");
  CHECK(a["args_hash"] == sha256_hex(R"({"n":1,"to":"x"})"));
  CHECK(a["sender_context"] == json{{"chat", 7}});
  const auto same = n.ok("approval.request", mail());
  CHECK(same["attached"] == true);
  CHECK(same["approval"]["id"] == a["id"]);
  CHECK(same["position"] == 0);
  n.restart();
  const json id{{"approval", a["id"]}};
  CHECK(n.ok("approval.get", id)["approval"] == a);
  const auto listed = n.ok("approval.list", json::object())["approvals"];
  REQUIRE(listed.size() == 1);
  CHECK(with(listed[0], {{"args", a["args"]}}) == with(a, {{"args", listed[0]["args"]}}));
  for (const auto& [filter, value, count] :
       std::vector<std::tuple<std::string, std::string, int>>{{"principal", "ada", 1},
                                                              {"principal", "eve", 0},
                                                              {"thread", "t1", 1},
                                                              {"tool", "mail", 1},
                                                              {"tool", "rm", 0},
                                                              {"run", "r1", 1},
                                                              {"status", "all", 1},
                                                              {"status", "approved", 0}})
    CHECK(n.ok("approval.list", {{filter, value}})["approvals"].size()
          == static_cast<std::size_t>(count));
  CHECK(n.ok("approval.list", {{"tenant", "t2"}})["approvals"].empty());

  const auto yes = n.ok("approval.resolve", decide(a, "approved"))["approval"];
  CHECK(yes["status"] == "approved");
  CHECK(yes["resolved_by"] == "ada");
  n.restart();
  CHECK(n.ok("approval.wait", id)["approval"] == yes);
  const auto claim = with(id, {{"args", {{"n", 1.0}, {"to", "x"}}}, {"by", "w"}, {"effect", "e"}});
  CHECK(n.ok("approval.claim", claim)["approval"]["effect"] == "e");
  n.restart();
  CHECK(n.bad("approval.claim", claim).code == errc::already_claimed);
  CHECK(n.ok("approval.list", {{"status", "approved"}})["approvals"][0]["claimed_by"] == "w");
}

TEST_CASE("a page may end where what is read for it at once ends", "[supervision]") {
  running_node n;
  for (int i = 0; i < 1'001; ++i)
    n.ok("approval.request", {{"tool", "mail"}, {"run", "r" + std::to_string(i)}});
  const auto first = n.ok("approval.list", {{"limit", 1'000}});
  CHECK(first["approvals"].size() == 1'000);
  const auto rest = n.ok("approval.list", {{"limit", 1'000}, {"cursor", first["next_cursor"]}});
  REQUIRE(rest["approvals"].size() == 1);
  CHECK(rest["approvals"][0]["run"] == "r0");
  CHECK_FALSE(rest.contains("next_cursor"));
}

TEST_CASE("decisions are made once, in time, by who may", "[approval]") {
  running_node n;
  const auto hers = request(n, with(mail(), {{"created_by", "ada"}, {"expires_s", 60}}));
  const json unknown{{"id", "nowhere.1"}};
  check_refused(
    n,
    {
      {"approval.resolve", decide(hers, "maybe"), errc::invalid, "decision"},
      {"approval.resolve", decide(hers, "expired"), errc::invalid, "decision"},
      {"approval.resolve", decide(hers, "approved", "eve"), errc::forbidden, "by"},
      {"approval.resolve", with(decide(hers, "approved"), {{"role", "agent"}}), errc::forbidden,
       "role"},
      {"approval.resolve", with(decide(hers, "approved"), {{"role", "king"}}), errc::invalid,
       "role"},
      {"approval.resolve", with(decide(hers, "approved"), {{"by", ""}}), errc::invalid, "by"},
      {"approval.resolve", with(decide(hers, "approved"), {{"grant", {{"tool", "*"}}}}),
       errc::invalid, "grant.for_s"},
      {"approval.resolve", with(decide(hers, "approved"), {{"grant", {{"for_s", 0}}}}),
       errc::invalid, "grant.for_s"},
      {"approval.resolve", with(decide(hers, "rejected"), {{"grant", {{"for_s", 9}}}}),
       errc::invalid, "grant"},
      {"approval.resolve", decide(unknown, "approved"), errc::not_found, "approval"},
      {"approval.resolve", decide({{"id", "no dot"}}, "approved"), errc::not_found, "approval"},
      {"approval.get", {{"approval", "nowhere.1"}}, errc::not_found, "approval"},
      {"approval.wait", {{"approval", "nowhere.1"}}, errc::not_found, "approval"},
      {"approval.wait", {{"approval", hers["id"]}, {"wait_ms", 60'001}}, errc::invalid, "wait_ms"},
      {"approval.cancel", {{"approval", "nowhere.1"}}, errc::not_found, "approval"},
      {"approval.claim", {{"approval", hers["id"]}, {"args", 1}}, errc::rejected, "approval"},
      {"approval.claim", {{"approval", hers["id"]}}, errc::invalid, "args_hash"},
      {"approval.claim", {{"approval", "nowhere.1"}, {"args", 1}}, errc::not_found, "approval"},
    });
  n.ok("approval.resolve", with(decide(hers, "approved", "eve"), {{"role", "admin"}}));
  const auto second = n.bad("approval.resolve", decide(hers, "rejected"));
  CHECK(second.code == errc::already_resolved);
  CHECK(json::parse(second.detail)["resolved_by"] == "eve");
  check_refused(
    n, {
         {"approval.claim",
          {{"approval", hers["id"]}, {"args", {{"to", "y"}, {"n", 1}}}},
          errc::rejected,
          "args_hash"},
         {"approval.cancel", {{"approval", hers["id"]}}, errc::already_resolved, "approval"},
       });

  const auto late = request(n, with(mail("r2"), {{"expires_s", 60}}));
  n.put_clock_forward(61s);
  CHECK(n.bad("approval.resolve", decide(late, "approved")).code == errc::expired);
  CHECK(n.ok("approval.get", {{"approval", late["id"]}})["approval"]["status"] == "expired");
  CHECK(n.ok("approval.list", json::object())["approvals"].empty());
  CHECK(soon([&] {
    return n.ok("approval.list", {{"status", "expired"}})["approvals"].size() == 1;
  }));
  CHECK(n.bad("approval.claim", {{"approval", late["id"]}, {"args", mail()["args"]}}).code
        == errc::expired);
}

TEST_CASE("what is approved with feedback is planned again, what is cancelled is over",
          "[approval]") {
  running_node n;
  const auto a = request(n, mail());
  n.ok("approval.resolve", with(decide(a, "approved"), {{"feedback", "only to y"}}));
  check_refused(n, {{"approval.claim",
                     {{"approval", a["id"]}, {"args", mail()["args"]}},
                     errc::rejected,
                     "approval"}});
  const auto b = request(n, mail("r2"));
  CHECK(n.ok("approval.cancel", {{"approval", b["id"]}, {"by", "ada"}})["approval"]["status"]
        == "cancelled");
  CHECK(n.bad("approval.resolve", decide(b, "approved")).code == errc::already_resolved);
  // The same call may be asked for again: it is another request.
  CHECK(request(n, mail("r2"))["id"] != b["id"]);
}

TEST_CASE("requests that are wrong are refused by field", "[approval]") {
  running_node n;
  const std::string big(300 * 1024, 'x');
  check_refused(
    n,
    {
      {"approval.request", {{"run", "r"}}, errc::invalid, "tool"},
      {"approval.request", {{"tool", ""}}, errc::invalid, "tool"},
      {"approval.request", {{"tool", 7}}, errc::invalid, "tool"},
      {"approval.request", {{"tool", "t"}, {"args", big}}, errc::invalid, "args"},
      {"approval.request", {{"tool", "t"}, {"question", big}}, errc::invalid, "question"},
      {"approval.request", {{"tool", "t"}, {"expires_s", 0}}, errc::invalid, "expires_s"},
      {"approval.request", {{"tool", "t"}, {"expires_s", -5}}, errc::invalid, "expires_s"},
      {"approval.request", {{"tool", "t"}, {"policy", "maybe"}}, errc::invalid, "policy"},
      {"approval.request", {{"tool", "t"}, {"attended", "no"}}, errc::invalid, "attended"},
      {"approval.request", {{"tool", "t"}, {"session", "s"}}, errc::invalid, "app"},
      {"approval.request", {{"tool", "t"}, {"app", "a"}, {"session", "s"}}, errc::invalid, "user"},
      {"approval.request", {{"tool", "t"}, {"arguments", 1}}, errc::invalid, "arguments"},
      {"approval.list", {{"status", "open"}}, errc::invalid, "status"},
      {"approval.list", {{"limit", 0}}, errc::invalid, "limit"},
      {"approval.list", {{"limit", 1'001}}, errc::invalid, "limit"},
      {"approval.list", {{"cursor", "x"}}, errc::invalid, "cursor"},
    });
  CHECK(n.bad("approval.request", {{"tool", "t"}, {"args", std::string(10 << 20, 'x')}}).code
        == errc::invalid);
}

TEST_CASE("pages of a list meet every request once, newest first", "[approval]") {
  running_node n;
  for (int i = 0; i < 25; ++i)
    request(n, with(mail("r" + std::to_string(i)), {{"created_by", i % 2 == 0 ? "ada" : "eve"}}));
  for (const json& filter : {json::object(), json{{"principal", "ada"}}, json{{"status", "all"}}}) {
    std::vector<std::string> runs;
    auto page = with(filter, {{"limit", 4}});
    for (;;) {
      const auto answer = n.ok("approval.list", page);
      for (const auto& a : answer["approvals"])
        runs.push_back(a["run"]);
      if (!answer.contains("next_cursor"))
        break;
      page["cursor"] = answer["next_cursor"];
    }
    const std::size_t step = filter.contains("principal") ? 2 : 1;
    REQUIRE(runs.size() == (step == 2 ? 13U : 25U));
    for (std::size_t i = 0; i < runs.size(); ++i)
      CHECK(runs[i] == "r" + std::to_string(24 - i * step));
  }
}

TEST_CASE("rules and grants decide at once; unattended callers get their policy", "[approval]") {
  running_node n;
  n.ok("approval.set_rules", {{"deny", {"rm*"}}, {"allow", {"read*", "RM_dry"}}});
  CHECK(n.ok("approval.get_rules", json::object())["deny"] == json{"rm*"});
  const auto of = [&](const std::string& tool, const json& more = json::object()) {
    return request(n, with({{"tool", tool}}, more));
  };
  CHECK(of("rm_dry")["status"] == "rejected");
  CHECK(of("rm_dry")["resolved_by"] == "rule:deny rm*");
  CHECK(of("READ_file")["status"] == "approved");
  CHECK(of("mail")["status"] == "pending");
  CHECK(of("mail", {{"attended", false}})["resolved_by"] == "policy:reject");
  CHECK(of("mail", {{"attended", false}, {"policy", "approve"}})["status"] == "approved");
  CHECK(of("mail", {{"attended", false}, {"policy", "wait"}})["status"] == "pending");

  const auto given = n.ok("grant.give", {{"tool", "mail"},
                                         {"for_s", 60},
                                         {"principal", "ada"},
                                         {"contains", "\"to\":\"x\""},
                                         {"by", "root"}});
  n.restart();
  const auto hers = [&](const std::string& run, const std::string& to, const std::string& who) {
    return request(n,
                   {{"tool", "mail"}, {"run", run}, {"args", {{"to", to}}}, {"created_by", who}});
  };
  CHECK(hers("g1", "x", "ada")["resolved_by"] == "grant:" + given["grant"].get<std::string>());
  CHECK(hers("g2", "y", "ada")["status"] == "pending");
  CHECK(hers("g3", "x", "eve")["status"] == "pending");
  CHECK(n.ok("grant.list", {{"principal", "eve"}})["grants"].empty());
  REQUIRE(n.ok("grant.list", {{"principal", "ada"}})["grants"].size() == 1);
  n.ok("grant.revoke", {{"grant", given["grant"]}, {"by", "root"}});
  CHECK(hers("g4", "x", "ada")["status"] == "pending");
  check_refused(
    n, {
         {"grant.revoke", {{"grant", given["grant"]}}, errc::not_found, "grant"},
         {"grant.give", {{"for_s", 60}, {"by", "root"}}, errc::invalid, "tool"},
         {"grant.give", {{"tool", "m*l"}, {"for_s", 60}, {"by", "root"}}, errc::invalid, "tool"},
         {"grant.give", {{"tool", "m"}, {"for_s", 0}, {"by", "root"}}, errc::invalid, "for_s"},
         {"grant.give", {{"tool", "m"}, {"for_s", 60}}, errc::invalid, "by"},
         {"grant.give",
          {{"tool", "m"}, {"for_s", 60}, {"by", "r"}, {"session", "s"}},
          errc::invalid,
          "app"},
         {"approval.set_rules", {{"deny", {"a*b"}}}, errc::invalid, "deny[0]"},
         {"approval.set_rules", {{"allow", {""}}}, errc::invalid, "allow[0]"},
       });
}

TEST_CASE("a grant that a decision gives is there when the decision is", "[approval]") {
  running_node n;
  const auto a = request(n, with(mail(), {{"created_by", "ada"}}));
  n.ok("approval.resolve", with(decide(a, "approved"), {{"grant", {{"for_s", 600}}}}));
  n.restart();
  CHECK(request(n, mail("r2"))["status"] == "approved");
  const auto grants = n.ok("grant.list", json::object())["grants"];
  REQUIRE(grants.size() == 1);
  CHECK(grants[0]["approval"] == a["id"]);
  n.put_clock_forward(601s);
  CHECK(request(n, mail("r3"))["status"] == "pending");
}

TEST_CASE("a repeated request under a command id finds its own", "[approval]") {
  running_node n;
  const json wish{{"tool", "mail"}, {"command_id", "c1"}};  // Without a run nothing attaches.
  const auto first = n.ok("approval.request", wish);
  CHECK(request(n, {{"tool", "mail"}})["id"] != first["approval"]["id"]);
  n.restart();
  const auto again = n.ok("approval.request", wish);
  CHECK(again["duplicate"] == true);
  CHECK(again["approval"]["id"] == first["approval"]["id"]);
  CHECK(n.bad("approval.request", with(wish, {{"tool", "rm"}})).code == errc::key_reuse);
}

// -- questions --

TEST_CASE("a question is asked, answered once, and survives restarts", "[clarification]") {
  running_node n;
  const json ask{{"run", "r1"},
                 {"question", "Which file?"},
                 {"context", {{"found", 2}}},
                 {"asked_by", "ada"},
                 {"expires_s", 60}};
  const auto first = n.ok("clarification.ask", ask);
  const auto q = first["clarification"];
  const json id{{"clarification", q["id"]}};
  CHECK(n.ok("clarification.ask", ask)["attached"] == true);
  CHECK(n.ok("clarification.ask", with(ask, {{"asked_by", "eve"}}))["attached"] == false);
  n.restart();
  const auto found =
    n.ok("clarification.list", {{"question", "Which file?"}, {"principal", "ada"}});
  REQUIRE(found["clarifications"].size() == 1);
  CHECK(found["clarifications"][0] == q);
  check_refused(
    n,
    {
      {"clarification.answer", with(id, {{"answer", " "}, {"by", "ada"}}), errc::invalid, "answer"},
      {"clarification.answer", with(id, {{"answer", "a"}, {"by", "eve"}}), errc::forbidden, "by"},
      {"clarification.answer", with(id, {{"answer", "a"}}), errc::invalid, "by"},
      {"clarification.answer", with(id, {{"answer", "a"}, {"by", "x"}, {"role", "agent"}}),
       errc::invalid, "role"},
      {"clarification.answer",
       {{"clarification", "x.1"}, {"answer", "a"}, {"by", "ada"}},
       errc::not_found,
       "clarification"},
      {"clarification.get", {{"clarification", "nowhere"}}, errc::not_found, "clarification"},
      {"clarification.ask", {{"run", "r1"}}, errc::invalid, "question"},
      {"clarification.ask", {{"question", " \n"}}, errc::invalid, "question"},
      {"clarification.ask", {{"question", std::string(70'000, 'x')}}, errc::invalid, "question"},
      {"clarification.list", {{"status", "approved"}}, errc::invalid, "status"},
    });
  auto waiter = std::async(std::launch::async, [&] { return n.ok("clarification.wait", id); });
  std::this_thread::sleep_for(20ms);
  n.ok("clarification.answer", with(id, {{"answer", "the first"}, {"by", "ada"}}));
  CHECK(waiter.get()["clarification"]["answer"] == "the first");
  const auto late = n.bad("clarification.answer", with(id, {{"answer", "no"}, {"by", "ada"}}));
  CHECK(late.code == errc::already_answered);
  CHECK(json::parse(late.detail)["answer"] == "the first");
  CHECK(n.bad("clarification.cancel", id).code == errc::already_answered);
  CHECK(n.ok("clarification.ask", ask)["clarification"]["id"] != q["id"]);
}

TEST_CASE("a question that expires wakes its waiters and is free again", "[clarification]") {
  running_node n;
  const json ask{{"run", "r1"}, {"question", "Which?"}, {"expires_s", 60}};
  const auto q = n.ok("clarification.ask", ask)["clarification"];
  const json id{{"clarification", q["id"]}};
  auto waiter = std::async(std::launch::async, [&] { return n.ok("clarification.wait", id); });
  std::this_thread::sleep_for(20ms);
  n.put_clock_forward(61s);
  CHECK(waiter.get()["clarification"]["status"] == "expired");
  CHECK(n.bad("clarification.answer", with(id, {{"answer", "a"}, {"by", "ada"}})).code
        == errc::expired);
  CHECK(n.ok("clarification.ask", ask)["clarification"]["status"] == "pending");
}

// -- sessions that go --

TEST_CASE("deleting a session cancels what waits for it", "[approval][clarification]") {
  running_node n;
  const json session{{"app", "shop"}, {"user", "ada"}, {"session", "s"}};
  n.ok("session.create", session);
  std::vector<json> asked;
  for (int i = 0; i < 600; ++i)
    asked.push_back(request(n, with(mail("r" + std::to_string(i)), session)));
  const auto q = n.ok("clarification.ask", with(session, {{"question", "Which?"}}));
  const auto done = request(n, with(mail("done"), session));
  n.ok("approval.resolve", decide(done, "approved"));
  const auto elsewhere = request(n, with(mail("other"), with(session, {{"session", "s2"}})));
  const json first{{"approval", asked[0]["id"]}};
  auto waiter = std::async(std::launch::async, [&] { return n.ok("approval.wait", first); });
  std::this_thread::sleep_for(20ms);
  n.ok("session.delete", session);
  CHECK(waiter.get()["approval"]["status"] == "cancelled");
  CHECK(n.bad("approval.resolve", decide(asked[599], "approved")).code == errc::already_resolved);
  CHECK(n.ok("clarification.get",
             {{"clarification", q["clarification"]["id"]}})["clarification"]["status"]
        == "cancelled");
  const auto left = n.ok("approval.list", json::object())["approvals"];
  REQUIRE(left.size() == 1);
  CHECK(left[0]["id"] == elsewhere["id"]);
  CHECK(n.ok("approval.get", {{"approval", done["id"]}})["approval"]["status"] == "approved");
  n.ok("session.delete", session);
}

// -- schedules --

TEST_CASE("a schedule is defined, seen, paused, resumed, triggered and deleted", "[schedule]") {
  running_node n;
  const auto defined = n.ok(
    "schedule.define", with(hourly("s"), {{"zone", "Europe/Berlin"}, {"action", {{"do", 1}}}}));
  CHECK(defined.contains("next_at"));
  n.restart();
  auto listed = n.ok("schedule.list", json::object())["schedules"];
  REQUIRE(listed.size() == 1);
  CHECK(listed[0]["next_at"] == defined["next_at"]);
  CHECK(listed[0]["action"] == json{{"do", 1}});
  CHECK(n.ok("schedule.next", with(named("s"), {{"count", 3}}))["next"].size() == 3);
  CHECK(
    n.ok("schedule.next",
         {{"expression", "0 0 29 2 *"}, {"after", "2024-01-01T00:00:00Z"}, {"count", 2}})["next"]
    == json{"2024-02-29T00:00:00.000000Z", "2028-02-29T00:00:00.000000Z"});

  n.ok("schedule.pause", named("s"));
  CHECK_FALSE(n.ok("schedule.list", json::object())["schedules"][0].contains("next_at"));
  // Defined again, it stays as it was put.
  CHECK_FALSE(n.ok("schedule.define", with(hourly("s"), {{"kind", "k2"}})).contains("next_at"));
  n.ok("schedule.resume", named("s"));
  const auto next = n.ok("schedule.list", json::object())["schedules"][0]["next_at"];
  const auto run = n.ok("schedule.trigger", with(named("s"), {{"by", "ada"}}))["run"];
  CHECK(n.ok("schedule.list", json::object())["schedules"][0]["next_at"] == next);
  const auto claimed = n.ok("run.claim", {{"worker", "w"}})["run"];
  CHECK(claimed["run"] == run);
  CHECK(claimed["kind"] == "k2");
  n.ok("schedule.delete", named("s"));
  n.ok("schedule.delete", named("s"));
  CHECK(n.ok("schedule.list", json::object())["schedules"].empty());
  CHECK(n.ok("schedule.runs", named("s"))["runs"].size() == 1);
  // Who holds a run of a schedule that is gone still says how it ended.
  n.ok("run.complete", with(named("s"), {{"run", run}, {"fence", claimed["fence"]}}));
  CHECK(n.ok("schedule.runs", {{"status", "succeeded"}})["runs"][0]["triggered_by"] == "ada");
}

TEST_CASE("a due run is claimed, kept alive, failed, tried again and ended", "[schedule]") {
  running_node n;
  // Not by the clock on the wall: no second hour begins while the first run is tried.
  n.ok("schedule.define", with(hourly("s"), {{"expression", "@every 1h"}, {"attempts", 3}}));
  n.put_clock_forward(3'600s);
  const json worker{{"worker", "w"}, {"wait_ms", 10'000}, {"lease_s", 60}};
  const auto first = n.ok("run.claim", worker)["run"];
  const auto held = [&](const json& run) {
    return with(named("s"), {{"run", run["run"]}, {"fence", run["fence"]}});
  };
  check_refused(
    n, {
         {"run.heartbeat", with(held(first), {{"fence", 1}}), errc::already_claimed, "fence"},
         {"run.heartbeat", with(held(first), {{"run", "none"}}), errc::not_found, "run"},
         {"run.heartbeat", with(held(first), {{"schedule", "none"}}), errc::not_found, "run"},
         {"run.heartbeat", with(held(first), {{"lease_s", 0}}), errc::invalid, "lease_s"},
         {"run.complete", with(held(first), {{"result", std::string(300 * 1024, 'x')}}),
          errc::invalid, "result"},
         {"run.claim", {{"worker", ""}}, errc::invalid, "worker"},
         {"run.claim", {{"worker", "w"}, {"wait_ms", 60'001}}, errc::invalid, "wait_ms"},
       });
  n.ok("run.heartbeat", with(held(first), {{"lease_s", 120}}));
  n.put_clock_forward(100s);
  n.ok("run.fail", with(held(first), {{"error", "no disk"}}));
  const auto second = n.ok("run.claim", worker)["run"];
  CHECK(second["run"] == first["run"]);
  CHECK(n.bad("run.complete", held(first)).code == errc::already_claimed);
  // This worker vanishes; its lease runs out.
  n.put_clock_forward(61s);
  const auto third = n.ok("run.claim", worker)["run"];
  CHECK(third["run"] == first["run"]);
  CHECK(n.bad("run.complete", held(second)).code == errc::already_claimed);
  n.restart();
  n.ok("run.complete", with(held(third), {{"result", {{"rows", 7}}}}));
  CHECK(n.bad("run.complete", held(third)).code == errc::not_found);
  const auto history = n.ok("schedule.runs", named("s"))["runs"];
  REQUIRE(history.size() == 1);
  CHECK(history[0]["status"] == "succeeded");
  CHECK(history[0]["outcome"] == json{{"rows", 7}});
  CHECK(n.ok("schedule.runs", {{"since", history[0]["due_at"]}})["runs"].size() == 1);
  CHECK_FALSE(n.ok("run.claim", {{"worker", "w"}}).contains("run"));
}

TEST_CASE("nothing is claimed for a worker that is gone", "[schedule]") {
  running_node n;
  n.ok("schedule.define", with(named("s"), {{"expression", "@every 1h"}, {"kind", "k"}}));
  {
    caf::scoped_actor gone(n.system());
    gone->send(n.node().gateway(), actors::protocol_version, std::string("run.claim"),
               json{{"worker", "gone"}, {"wait_ms", 60'000}}.dump());
    std::this_thread::sleep_for(300ms);
  }
  n.ok("schedule.trigger", named("s"));
  const auto claimed = n.ok("run.claim", {{"worker", "here"}, {"wait_ms", 5'000}});
  CHECK(claimed.contains("run"));
}

TEST_CASE("a claim that is repeated is given the same run, and no second one", "[schedule]") {
  running_node n;
  const json every{{"expression", "@every 1h"}};
  for (const auto* name : {"a", "b"})
    for (int i = 0; i < 2; ++i) {
      n.ok("schedule.define", with(with(hourly(name), every), {{"overlap", "allow"}}));
      n.ok("schedule.trigger", named(name));
    }
  const json first_claim{{"worker", "w"}, {"command_id", "c1"}};
  const auto first = n.ok("run.claim", first_claim);
  CHECK(first["duplicate"] == false);
  n.restart();
  const auto again = n.ok("run.claim", first_claim);
  CHECK(again["duplicate"] == true);
  CHECK(again["run"] == first["run"]);
  std::set<std::string> runs{std::string(first["run"]["schedule"])
                             + std::string(first["run"]["run"])};
  for (int i = 2; i <= 4; ++i) {
    const auto other =
      n.ok("run.claim", {{"worker", "w"}, {"command_id", "c" + std::to_string(i)}});
    CHECK(
      runs.insert(std::string(other["run"]["schedule"]) + std::string(other["run"]["run"])).second);
  }
  CHECK(n.ok("run.claim", first_claim)["run"] == first["run"]);
  CHECK_FALSE(n.ok("run.claim", {{"worker", "w"}, {"command_id", "c9"}}).contains("run"));
  // Whoever else uses the id gets nothing of it.
  CHECK_FALSE(n.ok("run.claim", {{"worker", "x"}, {"command_id", "c1"}}).contains("run"));
  CHECK_FALSE(n.ok("run.claim", with(first_claim, {{"tenant", "other"}})).contains("run"));
}

TEST_CASE("definitions that are wrong are refused by field", "[schedule]") {
  running_node n;
  const auto bad = [&](const json& more, const std::string& field) {
    return refusal{"schedule.define", with(hourly("s"), more), errc::invalid, field};
  };
  check_refused(
    n, {
         bad({{"expression", "0 0 30 2 *"}}, "expression"),
         bad({{"expression", "*/0 * * * *"}}, "expression"),
         bad({{"expression", "60 * * * *"}}, "expression"),
         bad({{"expression", "* * *"}}, "expression"),
         bad({{"expression", ""}}, "expression"),
         bad({{"expression", "@never"}}, "expression"),
         bad({{"expression", "@every 0s"}}, "expression"),
         bad({{"zone", "Europe/Nowhere"}}, "zone"),
         bad({{"zone", ""}}, "zone"),
         bad({{"kind", ""}}, "kind"),
         bad({{"action", std::string(300 * 1024, 'x')}}, "action"),
         bad({{"misfire", "sometimes"}}, "misfire"),
         bad({{"overlap", "maybe"}}, "overlap"),
         bad({{"catch_up", 0}}, "catch_up"),
         bad({{"attempts", 0}}, "attempts"),
         bad({{"attempts", 101}}, "attempts"),
         bad({{"deadline_s", 0}}, "deadline_s"),
         bad({{"keep_days", 0}}, "keep_days"),
         bad({{"source", "wish"}}, "source"),
         bad({{"schedule", ""}}, "schedule"),
         {"schedule.pause", named("none"), errc::not_found, "schedule"},
         {"schedule.resume", named("none"), errc::not_found, "schedule"},
         {"schedule.trigger", named("none"), errc::not_found, "schedule"},
         {"schedule.next", named("none"), errc::not_found, "schedule"},
         {"schedule.next", json::object(), errc::invalid, "schedule"},
         {"schedule.next", {{"expression", "0 0 31 4 *"}}, errc::invalid, "expression"},
         {"schedule.next", {{"expression", "@daily"}, {"zone", "x"}}, errc::invalid, "zone"},
         {"schedule.next", {{"expression", "@daily"}, {"count", 101}}, errc::invalid, "count"},
         {"schedule.runs", {{"status", "done"}}, errc::invalid, "status"},
         {"schedule.runs", {{"since", "yesterday"}}, errc::invalid, "since"},
       });
}

// -- effects --

TEST_CASE("an approval, its claim and its effect are one chain", "[effect]") {
  running_node n;
  const auto a = request(n, mail());
  const json begin{{"key", "e1"},    {"args", mail()["args"]}, {"approval", a["id"]},
                   {"tool", "mail"}, {"holder", "w"},          {"lease_s", 60}};
  check_refused(n, {{"effect.begin", begin, errc::rejected, "approval"}});
  n.ok("approval.resolve", decide(a, "approved"));
  check_refused(n, {{"effect.begin", begin, errc::rejected, "approval"}});
  n.ok("approval.claim",
       {{"approval", a["id"]}, {"args", mail()["args"]}, {"by", "w"}, {"effect", "e1"}});
  n.restart();  // The claim is granted; whoever goes on begins the effect that it named.
  check_refused(n,
                {
                  {"effect.begin", with(begin, {{"args", 1}}), errc::rejected, "args_hash"},
                  {"effect.begin", with(begin, {{"key", "e2"}}), errc::rejected, "key"},
                  {"effect.begin", with(begin, {{"approval", "x.1"}}), errc::not_found, "approval"},
                  {"effect.begin", with(begin, {{"approval", "x"}}), errc::not_found, "approval"},
                  {"effect.begin", with(begin, {{"holder", ""}}), errc::invalid, "holder"},
                  {"effect.begin", with(begin, {{"args_hash", "x"}}), errc::invalid, "args_hash"},
                  {"effect.complete", {{"key", "e1"}, {"fence", 1}}, errc::not_found, "key"},
                  {"effect.get", {{"key", "e1"}}, errc::not_found, "key"},
                });
  const auto begun = n.ok("effect.begin", begin);
  CHECK(begun["begun"] == true);
  const json held{{"key", "e1"}, {"fence", begun["effect"]["fence"]}};
  CHECK(n.bad("effect.begin", begin).code == errc::already_claimed);
  n.ok("effect.heartbeat", with(held, {{"lease_s", 120}}));
  check_refused(n,
                {
                  {"effect.complete", with(held, {{"fence", 99}}), errc::already_claimed, "fence"},
                  {"effect.reconcile",
                   {{"key", "e1"}, {"outcome", "failed"}, {"by", "ada"}},
                   errc::rejected,
                   "key"},
                  {"effect.reconcile",
                   {{"key", "e1"}, {"outcome", "maybe"}, {"by", "ada"}},
                   errc::invalid,
                   "outcome"},
                  {"effect.list", {{"status", "lost"}}, errc::invalid, "status"},
                });
  n.ok("effect.complete", with(held, {{"result", {{"id", 7}}}}));
  n.restart();
  const auto again = n.ok("effect.begin", begin);
  CHECK(again["begun"] == false);
  CHECK(again["effect"]["outcome"] == json{{"id", 7}});
  CHECK(n.bad("effect.begin", with(begin, {{"args", 1}, {"approval", a["id"]}})).code
        == errc::rejected);
  CHECK(n.ok("effect.list", {{"status", "completed"}})["effects"].size() == 1);
}

TEST_CASE("an effect that failed may be begun again, one in doubt must be reconciled", "[effect]") {
  running_node n;
  const json begin{{"key", "e"}, {"args", {1}}, {"holder", "w"}, {"lease_s", 60}};
  const auto fence = [](const json& begun) {
    return json{{"key", "e"}, {"fence", begun["effect"]["fence"]}};
  };
  const auto first = n.ok("effect.begin", begin);
  n.ok("effect.fail", with(fence(first), {{"error", "refused"}}));
  CHECK(n.bad("effect.begin", with(begin, {{"args", {2}}})).code == errc::rejected);
  const auto second = n.ok("effect.begin", begin);
  CHECK(second["effect"]["fence"] > first["effect"]["fence"]);
  CHECK(n.bad("effect.complete", fence(first)).code == errc::already_claimed);
  n.put_clock_forward(61s);
  CHECK(n.bad("effect.begin", begin).code == errc::in_doubt);
  CHECK(soon([&] { return n.ok("effect.list", json::object())["effects"].size() == 1; }));
  n.restart();
  CHECK(n.ok("effect.get", {{"key", "e"}})["effect"]["status"] == "in_doubt");
  n.ok("effect.reconcile", {{"key", "e"}, {"outcome", "failed"}, {"by", "ada"}});
  CHECK(n.ok("effect.begin", begin)["begun"] == true);
}

}  // namespace recalld::test

#include "tests/actors/stage.hpp"
#include "tests/catch.hpp"
#include "tests/storage/subject.hpp"

#include <map>
#include <random>
#include <set>

/// Who is first, when many want to be: people, the clock, a crash, a second node.
namespace recalld::tests {

using namespace std::chrono_literals;
using storage::testing::must;

namespace {

stage_options with_supervisor() {
  stage_options o;
  o.supervisor = true;
  return o;
}

std::string ask(stage& on, const std::string& run, int expires_s = 0) {
  json wish{{"tool", "mail"}, {"run", run}, {"args", {{"to", "x"}}}};
  if (expires_s > 0)
    wish["expires_s"] = expires_s;
  const auto a = on.call("approval.request", wish);
  INFO(a.body.dump());
  REQUIRE(a.ok());
  return a.body["approval"]["id"];
}

json decision(const std::string& id, const std::string& how, const std::string& by) {
  return {{"approval", id}, {"decision", how}, {"by", by}};
}

/// How each request ended, by the log; and that none ended twice.
std::map<std::string, json> ends(stage& on) {
  std::map<std::string, json> out;
  for (const auto& f : on.log())
    if (f.type == "approval.resolved") {
      auto end = json::parse(f.payload.view());
      CHECK(out.emplace(end["id"], end).second);
    }
  return out;
}

}  // namespace

TEST_CASE("of approve, reject, expire and a restart each of 2,000 requests has one winner",
          "[supervisor]") {
  constexpr std::size_t many = 2'000;
  auto disk = storage::make_model_disk();
  std::mt19937_64 random(7);
  std::vector<std::string> ids;
  std::map<std::string, std::string> told;  // Who was told that the decision is theirs.
  time_us_t now = stage::first_moment;
  {
    stage on(storage::open_model(disk), with_supervisor());
    for (std::size_t i = 0; i < many; ++i)
      ids.push_back(ask(on, "r" + std::to_string(i), 100));
    std::vector<letter_ptr<answer>> waiters;
    for (const auto& id : ids)
      waiters.push_back(on.start("approval.wait", json{{"approval", id}, {"wait_ms", 60'000}}));
    on.run();
    CHECK(on.around->requests == 0);
    on.move_clock(std::chrono::microseconds(ids.empty() ? 0 : 99'999'000 - (on.now() - now)));
    struct racer {
      std::string id, by;
      letter_ptr<answer> letter;
    };
    std::vector<racer> racers;
    for (const auto& id : ids)
      for (const auto* by : {"ada", "eve"})
        racers.push_back(
          {id, by,
           on.start("approval.resolve",
                    decision(id, by == std::string("ada") ? "approved" : "rejected", by))});
    // The deadline comes while half of them are on their way, and then the power goes.
    for (std::size_t i = 0; i < many * 4; ++i)
      on.step(random());
    on.move_clock(2ms);
    for (std::size_t i = 0; i < many * 4; ++i)
      on.step(random());
    for (const auto& r : racers)
      if (r.letter->answer && r.letter->answer->ok())
        CHECK(told.emplace(r.id, r.by).second);
    for (std::size_t i = 0; i < waiters.size(); ++i)
      if (waiters[i]->answer && told.contains(ids[i]))
        CHECK(waiters[i]->answer->body["approval"].value("resolved_by", told[ids[i]])
              == told[ids[i]]);
    now = on.now();
  }
  stage on(storage::open_model(disk), with_supervisor(), now);
  std::vector<letter_ptr<answer>> waiters;
  for (const auto& id : ids)
    waiters.push_back(on.start("approval.wait", json{{"approval", id}, {"wait_ms", 60'000}}));
  on.run();
  on.pass(300ms);
  const auto ended = ends(on);
  REQUIRE(ended.size() == many);
  std::map<std::string, int> winners;
  for (std::size_t i = 0; i < many; ++i) {
    const auto& end = ended.at(ids[i]);
    ++winners[end["by"]];
    if (const auto promised = told.find(ids[i]); promised != told.end())
      CHECK(end["by"] == promised->second);
    REQUIRE(waiters[i]->answer);
    CHECK(waiters[i]->answer->body["approval"]["status"] == end["status"]);
  }
  CHECK(winners["clock"] + winners["ada"] + winners["eve"] == static_cast<int>(many));
  CHECK(winners["clock"] > 0);
  CHECK(winners["ada"] + winners["eve"] > 0);
  CHECK(on.fatal.empty());
}

TEST_CASE("a supervisor that is killed while deadlines fall misses none", "[supervisor]") {
  stage on(storage::open_model(), with_supervisor());
  std::mt19937_64 random(11);
  std::set<std::string> ids;
  for (int i = 0; i < 600; ++i)
    ids.insert(ask(on, "r" + std::to_string(i), 1 + i % 10));
  for (int i = 0; i < 5; ++i)
    REQUIRE(on.call("schedule.define", json{{"schedule", "s" + std::to_string(i)},
                                            {"expression", "@every 1s"},
                                            {"kind", "k"}})
              .ok());
  std::size_t kills = 0;
  for (int i = 0; i < 1'200; ++i) {
    on.move_clock(std::chrono::microseconds(random() % 20'000));
    for (auto steps = random() % 30; steps > 0 && on.step(random()); --steps) {
    }
    if (random() % 4 == 0) {
      caf::anon_send_exit(on.supervisor, caf::exit_reason::kill);
      on.supervisor = on.system().spawn(actors::supervisor, on.around);
      ++kills;
    }
  }
  on.pass(300ms);
  CHECK(kills > 200);
  CHECK(ends(on).size() == ids.size());
  const auto expected = (on.now() - stage::first_moment) / 1'000'000;
  std::map<std::string, std::int64_t> due;
  for (const auto& f : on.log())
    if (f.type == "schedule.run_due")
      due[std::string(f.at.stream.parts()[1])] +=
        1 + json::parse(f.payload.view()).value("missed", std::int64_t{0});
  REQUIRE(due.size() == 5);
  for (const auto& [name, count] : due)
    CHECK(std::abs(count - expected) <= 1);
  CHECK(on.fatal.empty());
}

TEST_CASE("of two nodes that believe to lead only the younger one is heard", "[supervisor]") {
  auto disk = storage::make_model_disk();
  stage old(storage::open_model(disk), with_supervisor());
  const auto expires = ask(old, "r1", 30);
  const auto open = ask(old, "r2");
  REQUIRE(
    old
      .call("schedule.define", json{{"schedule", "s"}, {"expression", "@every 10s"}, {"kind", "k"}})
      .ok());
  stage young(storage::open_model(disk), with_supervisor(), old.now());
  // Both see the deadlines come; the old one first.
  old.pass(31s);
  young.pass(31s);
  CHECK_FALSE(old.fatal.empty());
  const auto late = old.start("approval.resolve", decision(open, "approved", "eve"));
  old.run();
  CHECK((!late->answer || !late->answer->ok()));
  CHECK(young.call("approval.resolve", decision(open, "rejected", "ada")).ok());
  young.pass(10s);
  CHECK(young.fatal.empty());
  const auto ended = ends(young);
  CHECK(ended.at(expires)["status"] == "expired");
  CHECK(ended.at(open)["by"] == "ada");
  std::uint64_t due = 0;
  std::set<std::int64_t> times;
  for (const auto& f : young.log())
    if (f.type == "schedule.run_due") {
      const auto run = json::parse(f.payload.view());
      due += 1 + run.value("missed", std::uint64_t{0});
      CHECK(times.insert(run["due_at"].get<std::int64_t>()).second);
    }
  CHECK(due == 4);
}

TEMPLATE_TEST_CASE("what waits looks the same on every store, before and after a restart",
                   "[supervisor]", EVERY_STORE) {
  TestType backend;
  const auto look = [](stage& on) {
    json all = json::array();
    const auto pages = [&](const std::string& operation, json request) {
      request["limit"] = 3;
      for (;;) {
        const auto page = on.call(operation, request);
        INFO(operation << page.body.dump());
        REQUIRE(page.ok());
        all.push_back(page.body);
        all.back().erase("next_cursor");
        if (!page.body.contains("next_cursor"))
          return;
        request["cursor"] = page.body["next_cursor"];
      }
    };
    for (const json& filter : {json::object(), json{{"status", "all"}}, json{{"principal", "ada"}},
                               json{{"tool", "mail"}, {"status", "approved"}}})
      pages("approval.list", filter);
    pages("clarification.list", json::object());
    pages("grant.list", json::object());
    pages("schedule.list", json::object());
    for (const json& filter : {json::object(), json{{"schedule", "s1"}}, json{{"status", "due"}}})
      pages("schedule.runs", filter);
    for (const auto* status : {"begun", "completed", "in_doubt"})
      pages("effect.list", {{"status", status}});
    return all.dump(1);
  };
  std::string before;
  time_us_t now = stage::first_moment;
  {
    stage on(must(backend.open()), with_supervisor());
    for (int i = 0; i < 10; ++i)
      REQUIRE(on.call("approval.request", json{{"tool", "mail \xc3\xa4" + std::to_string(i % 2)},
                                               {"run", "r" + std::to_string(i)},
                                               {"created_by", i % 2 == 0 ? "ada" : "eve"},
                                               {"expires_s", 600 + i}})
                .ok());
    const auto id = ask(on, "granted", 500);
    auto yes = decision(id, "approved", "ada");
    yes["grant"] = {{"for_s", 3'600}};
    REQUIRE(on.call("approval.resolve", yes).ok());
    REQUIRE(on.call("clarification.ask", json{{"question", "Which?"}, {"expires_s", 600}}).ok());
    for (int i = 0; i < 5; ++i)
      REQUIRE(on.call("schedule.define", json{{"schedule", "s" + std::to_string(i)},
                                              {"expression", "@every 100s"},
                                              {"kind", "k"}})
                .ok());
    REQUIRE(on.call("effect.begin", json{{"key", "k1"}, {"holder", "w"}, {"lease_s", 50}}).ok());
    for (int i = 0; i < 3; ++i)
      on.pass(100s);
    on.pass(300ms);
    REQUIRE(on.call("run.claim", json{{"worker", "w"}, {"lease_s", 60}}).body.contains("run"));
    before = look(on);
    now = on.now();
  }
  stage on(must(backend.open()), with_supervisor(), now);
  CHECK(look(on) == before);
  on.pass(400s);
  on.pass(300ms);
  CHECK(on.call("approval.list", json::object()).body["approvals"].empty());
  CHECK(on.call("clarification.list", json::object()).body["clarifications"].empty());
  CHECK(ends(on).size() == 11);
  CHECK(on.call("schedule.runs", json{{"status", "abandoned"}}).body["runs"].size() == 1);
  CHECK(on.fatal.empty());
}

}  // namespace recalld::tests

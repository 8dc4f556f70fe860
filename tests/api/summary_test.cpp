// Summaries, their triggers and jobs through the gateway of a real node on SQLite.

#include "tests/api/running_node.hpp"

#include <chrono>
#include <functional>
#include <future>
#include <set>
#include <thread>

namespace recalld::test {

namespace {

using namespace std::chrono_literals;

json with(json request, const json& more) {
  request.update(more);
  return request;
}
json key(const std::string& session = "s1") {
  return {{"app", "chat"}, {"user", "ada"}, {"session", session}};
}
void create(running_node& n, const std::string& session = "s1") {
  n.ok("session.create", key(session));
}
/// Appends entries `from` … `to`; gives the version of the last one.
std::uint64_t talk(running_node& n, int from, int to, const std::string& session = "s1",
                   const json& more = json::object()) {
  json entries = json::array();
  for (int i = from; i <= to; ++i)
    entries.push_back(with({{"id", "e" + std::to_string(i)},
                            {"role", i % 2 == 1 ? "user" : "assistant"},
                            {"content", "word " + std::to_string(i)}},
                           more));
  return n.ok("session.append", with(key(session), {{"entries", entries}}))["version"];
}
json storing(const std::string& text, std::uint64_t through, const json& more = json::object()) {
  return with(with(key(), {{"text", text}, {"through_version", through}}), more);
}
json held(const json& job, const json& more = json::object()) {
  return with({{"app", job["app"]},
               {"user", job["user"]},
               {"session", job["session"]},
               {"filter_key", job["filter_key"]},
               {"fence", job["fence"]}},
              more);
}
/// The next due job, if there is one.
json claim(running_node& n, const json& more = json::object()) {
  const auto answer = n.ok("summary.claim", with({{"worker", "w1"}}, more));
  return answer.contains("job") ? answer["job"] : json();
}
std::vector<std::string> ids_of(const json& job) {
  std::vector<std::string> out;
  for (const auto& e : job["entries"])
    out.push_back(e["entry"]["id"]);
  return out;
}
std::uint64_t facts(running_node& n) {
  return n.ok("node.figures", json::object())["figures"]["facts"];
}

/// Waits until something holds that happens in the background.
bool soon(const std::function<bool()>& holds) {
  for (int i = 0; i < 1'000; ++i) {
    if (holds())
      return true;
    std::this_thread::sleep_for(10ms);
  }
  return false;
}

}  // namespace

TEST_CASE("a summary is stored, read and survives a restart", "[summary]") {
  running_node n;
  create(n);
  CHECK(n.bad("summary.get", key()).code == errc::not_found);
  const auto at = talk(n, 1, 4);
  const auto done =
    n.ok("summary.store", storing("They met.", at, {{"topics", {"tea"}}, {"made_by", "gpt"}}));
  CHECK(done["through_version"] == at);
  const auto got = n.ok("summary.get", key());
  CHECK(got["summary"]["text"] == "They met.");
  CHECK(got["summary"]["topics"] == json{"tea"});
  CHECK(got["summary"]["made_by"] == "gpt");
  CHECK(got["summary"]["entries"] == 4);
  CHECK(got["summary"]["filter_key"] == "");
  CHECK(got["entries_since"] == 0);
  talk(n, 5, 6);
  CHECK(n.ok("summary.get", key())["entries_since"] == 2);
  // A summary is no write to the session.
  CHECK(n.ok("session.get", key())["version"] == at + 2);
  n.restart();
  CHECK(n.ok("summary.get", key())["summary"] == got["summary"]);
}

TEST_CASE("what covers less never replaces what covers more", "[summary]") {
  running_node n;
  create(n);
  const auto early = talk(n, 1, 2);
  const auto late = talk(n, 3, 4);
  n.ok("summary.store", storing("All.", late));
  const auto e = n.bad("summary.store", storing("Half.", early));
  CHECK(e.code == errc::stale);
  CHECK(e.field == "through_version");
  CHECK(json::parse(e.detail)["through_version"] == late);
  CHECK(n.ok("summary.get", key())["summary"]["text"] == "All.");
  // By the entry that it ends with.
  auto by_entry = with(key(), {{"text", "Three."}, {"through_entry", "e3"}, {"filter_key", "a"}});
  CHECK(n.ok("summary.store", by_entry)["through_version"] == late - 1);
  CHECK(n.ok("summary.get", with(key(), {{"filter_key", "a"}}))["summary"]["entries"] == 3);
  // A retry is answered with the first receipt, also after a newer one, and when the session is gone.
  const auto again = storing("Again.", late, {{"command_id", "c1"}});
  const auto first = n.ok("summary.store", again);
  CHECK(first["duplicate"] == false);
  n.ok("summary.store", storing("Newer.", talk(n, 5, 5)));
  CHECK(n.ok("summary.store", again)["duplicate"] == true);
  CHECK(n.bad("summary.store", with(again, {{"text", "Else."}})).code == errc::key_reuse);
  n.ok("session.delete", key());
  const auto receipt = n.ok("summary.store", again);
  CHECK(receipt["duplicate"] == true);
  CHECK(receipt["version"] == first["version"]);
}

TEST_CASE("a branch has a summary of its own, or else that of the whole session", "[summary]") {
  running_node n;
  create(n);
  const auto at = talk(n, 1, 4);
  n.ok("summary.store", storing("Whole.", at));
  n.ok("summary.store", storing("Branch.", at, {{"filter_key", "root/a"}}));
  const auto text = [&](const std::string& filter_key) {
    return n.ok("summary.get", with(key(), {{"filter_key", filter_key}}))["summary"]["text"];
  };
  CHECK(text("root/a") == "Branch.");
  CHECK(text("root/b") == "Whole.");
  CHECK(text("") == "Whole.");
  const auto listed = [&](const json& more) {
    std::set<std::string> out;
    const auto answer = n.ok("summary.list", with(key(), more));
    for (const auto& one : answer["summaries"])
      out.insert(one["filter_key"].get<std::string>());
    return out;
  };
  CHECK(listed(json::object()) == std::set<std::string>{"", "root/a"});
  CHECK(listed({{"filter_key", "root"}}) == std::set<std::string>{"", "root/a"});
  CHECK(listed({{"filter_key", "root/a/x"}}) == std::set<std::string>{"", "root/a"});
  CHECK(listed({{"filter_key", "roo"}}) == std::set<std::string>{""});
}

TEST_CASE("a deleted session takes its summaries with it", "[summary]") {
  running_node n;
  create(n);
  const auto at = talk(n, 1, 4);
  n.ok("summary.store", storing("A secret.", at));
  n.ok("summary.force", with(key(), {{"filter_key", "a"}}));
  n.ok("session.delete", key());
  CHECK(n.bad("summary.get", key()).code == errc::not_found);
  CHECK(n.bad("summary.list", key()).code == errc::not_found);
  CHECK(claim(n).is_null());
  CHECK(n.ok("summary.jobs", json::object())["jobs"].empty());
  // The next life is empty, and can have its own.
  create(n);
  CHECK(n.bad("summary.get", key()).code == errc::not_found);
  CHECK(n.ok("summary.list", key())["summaries"].empty());
  const auto anew = talk(n, 1, 1);
  CHECK(n.bad("summary.store", storing("Old.", at)).code == errc::invalid);
  n.ok("summary.store", storing("New.", anew));
  CHECK(n.ok("summary.get", key())["summary"]["entries"] == 1);
  n.restart();
  CHECK(n.ok("summary.get", key())["summary"]["text"] == "New.");
}

TEST_CASE("an expired session takes its summaries with it", "[summary]") {
  running_node n;
  n.ok("app.set_retention", {{"app", "chat"}, {"ttl_s", 100}});
  create(n);
  const auto at = talk(n, 1, 2);
  n.put_clock_forward(60s);
  n.ok("summary.store", storing("Soon over.", at));
  n.ok("summary.force", with(key(), {{"filter_key", "a"}}));
  n.put_clock_forward(41s);  // The summary did not refresh the session's time.
  CHECK(n.bad("summary.get", key()).code == errc::expired);
  CHECK(n.bad("summary.store", storing("Late.", at)).code == errc::expired);
  CHECK(soon([&] { return n.ok("summary.jobs", json::object())["jobs"].empty(); }));
}

TEST_CASE("bad summaries are refused by field and nothing is written", "[summary]") {
  running_node n;
  create(n);
  const auto at = talk(n, 1, 2);
  const auto before = facts(n);
  const auto refuse = [&](const std::string& operation, const json& request, errc code,
                          const std::string& field) {
    const auto e = n.bad(operation, request);
    INFO(operation << " " << request.dump().substr(0, 200) << ": " << e.message);
    CHECK(to_string(e.code) == to_string(code));
    CHECK(e.field == field);
  };
  refuse("summary.store", storing("", at), errc::invalid, "text");
  refuse("summary.store", storing(std::string(256 * 1024 + 1, 'x'), at), errc::invalid, "text");
  refuse("summary.store", storing("x", at + 1), errc::invalid, "through_version");
  refuse("summary.store", storing("x", 0), errc::invalid, "through_version");
  refuse("summary.store", with(key(), {{"text", "x"}}), errc::invalid, "through_version");
  refuse("summary.store", storing("x", at, {{"through_entry", "e1"}}), errc::invalid,
         "through_version");
  refuse("summary.store", with(key(), {{"text", "x"}, {"through_entry", "nowhere"}}),
         errc::not_found, "through_entry");
  refuse("summary.store", storing("x", at, {{"topics", {"a", ""}}}), errc::invalid, "topics[1]");
  refuse("summary.store", storing("x", at, {{"filter_key", std::string(513, 'k')}}), errc::invalid,
         "filter_key");
  refuse("summary.store", storing("x", at, {{"fence", 7}}), errc::not_found, "filter_key");
  refuse("summary.store", with(storing("x", at), {{"session", "other"}}), errc::not_found, "");
  refuse("summary.force", key("other"), errc::not_found, "");
  refuse("summary.claim", {{"worker", ""}}, errc::invalid, "worker");
  refuse("summary.claim", {{"worker", "w"}, {"lease_s", 0}}, errc::invalid, "lease_s");
  refuse("summary.claim", {{"worker", "w"}, {"max_entries", 0}}, errc::invalid, "max_entries");
  refuse("summary.heartbeat", with(key(), {{"fence", 3}}), errc::not_found, "filter_key");
  refuse("summary.fail", with(key(), {{"fence", 3}}), errc::not_found, "filter_key");
  refuse("summary.jobs", {{"status", "gone"}}, errc::invalid, "status");
  refuse("summary.set_triggers", {{"app", "chat"}, {"entries", -1}}, errc::invalid, "entries");
  refuse("summary.set_triggers", {{"app", ""}}, errc::invalid, "app");
  CHECK(facts(n) == before);
}

TEST_CASE("a job hands out what came after the last summary, with its text", "[summary][jobs]") {
  running_node n;
  create(n);
  talk(n, 1, 4);
  CHECK(n.ok("summary.force", key())["open"] == true);
  auto job = claim(n);
  CHECK(job["session"] == "s1");
  CHECK(job["why"] == "forced");
  CHECK(ids_of(job) == std::vector<std::string>{"e1", "e2", "e3", "e4"});
  CHECK_FALSE(job.contains("previous"));
  CHECK(job["more"] == false);
  CHECK(job["tokens"].get<int>() > 10);
  CHECK(claim(n).is_null());  // Somebody has it.
  n.ok("summary.heartbeat", held(job, {{"lease_s", 90}}));
  const auto stored = held(job, {{"text", "First."}, {"through_version", job["through_version"]}});
  n.ok("summary.store", stored);
  CHECK(n.bad("summary.store", with(stored, {{"text", "Twice."}})).code == errc::not_found);
  CHECK(n.ok("summary.force", key())["open"] == false);  // Nothing is new.
  talk(n, 5, 6);
  n.ok("summary.force", key());
  n.restart();
  job = claim(n, {{"max_entries", 1}});
  CHECK(ids_of(job) == std::vector<std::string>{"e5"});
  CHECK(job["previous"]["text"] == "First.");
  CHECK(job["more"] == true);
  // A part is stored: the rest is due at once.
  n.ok("summary.store",
       held(job, {{"text", "Second."}, {"through_version", job["through_version"]}}));
  job = claim(n);
  CHECK(ids_of(job) == std::vector<std::string>{"e6"});
  CHECK(job["why"] == "rest");
  const auto listed = n.ok("summary.jobs", {{"status", "claimed"}})["jobs"];
  REQUIRE(listed.size() == 1);
  CHECK(listed[0]["worker"] == "w1");
}

TEST_CASE("the job of a branch sees its entries and is followed by the whole session's",
          "[summary][jobs]") {
  running_node n;
  create(n);
  talk(n, 1, 2, "s1", {{"filter_key", "root/a"}});
  talk(n, 3, 4, "s1", {{"filter_key", "root/b"}});
  talk(n, 5, 5, "s1", {{"filter_key", "root"}});
  talk(n, 6, 6);
  n.ok("summary.force", with(key(), {{"filter_key", "root/a"}}));
  auto job = claim(n);
  CHECK(job["filter_key"] == "root/a");
  CHECK(ids_of(job) == std::vector<std::string>{"e1", "e2", "e5", "e6"});
  n.ok("summary.store", held(job, {{"text", "A."}, {"through_version", job["through_version"]}}));
  job = claim(n);
  CHECK(job["filter_key"] == "");
  CHECK(job["why"] == "branch");
  CHECK(ids_of(job).size() == 6);
}

TEST_CASE("a worker that vanished loses its job, one that fails gets it later", "[summary][jobs]") {
  running_node n;
  create(n);
  talk(n, 1, 2);
  n.ok("summary.force", key());
  const auto lost = claim(n, {{"lease_s", 5}});
  n.restart();
  n.put_clock_forward(6s);
  json job;
  REQUIRE(soon([&] { return !(job = claim(n, {{"worker", "w2"}})).is_null(); }));
  CHECK(job["attempt"] == 2);
  const json text{{"text", "x"}, {"through_version", job["through_version"]}};
  CHECK(n.bad("summary.store", held(lost, text)).code == errc::already_claimed);
  CHECK(n.bad("summary.get", key()).code == errc::not_found);
  n.ok("summary.fail", held(job, {{"error", {{"m", 1}}}}));
  CHECK(claim(n).is_null());
  const auto listed = n.ok("summary.jobs", {{"status", "resting"}})["jobs"];
  REQUIRE(listed.size() == 1);
  CHECK(listed[0]["error"] == json{{"m", 1}});
  n.restart();
  n.put_clock_forward(60s);
  REQUIRE(soon([&] { return !(job = claim(n)).is_null(); }));
  CHECK(job["attempt"] == 3);
}

TEST_CASE("a claim that is repeated is given the same job, and no second one", "[summary][jobs]") {
  running_node n;
  for (const auto* session : {"s1", "s2"}) {
    create(n, session);
    talk(n, 1, 3, session);
    n.ok("summary.force", key(session));
    n.ok("summary.force", with(key(session), {{"filter_key", "root"}}));
  }
  const json first_claim{{"command_id", "c1"}};
  const auto first = claim(n, first_claim);
  REQUIRE(first.is_object());
  n.restart();
  CHECK(claim(n, first_claim) == first);
  std::set<std::string> jobs{first["session"].get<std::string>()
                             + first["filter_key"].get<std::string>()};
  for (int i = 2; i <= 4; ++i) {
    const auto other = claim(n, {{"command_id", "c" + std::to_string(i)}});
    CHECK(jobs.insert(other["session"].get<std::string>() + other["filter_key"].get<std::string>())
            .second);
  }
  CHECK(claim(n, first_claim) == first);
  CHECK(claim(n, {{"command_id", "c9"}}).is_null());
}

TEST_CASE("whoever waits for a job gets it when it is due", "[summary][jobs]") {
  running_node n;
  create(n);
  talk(n, 1, 2);
  const auto begun = std::chrono::steady_clock::now();
  auto waiting = std::async(std::launch::async, [&] {
    recalld::client mine(n.system(), n.node().gateway());
    return mine.call("summary.claim", json{{"worker", "w1"}, {"wait_ms", 20'000}}.dump());
  });
  std::this_thread::sleep_for(100ms);
  n.ok("summary.force", key());
  const auto got = waiting.get();
  REQUIRE(got);
  CHECK(json::parse(*got)["job"]["session"] == "s1");
  CHECK(std::chrono::steady_clock::now() - begun < 10s);
  // And nobody gets it twice.
  CHECK(claim(n, {{"wait_ms", 50}}).is_null());
}

TEST_CASE("sessions come due by more entries or tokens than the application wants",
          "[summary][triggers]") {
  running_node n;
  n.ok("summary.set_triggers", {{"app", "chat"}, {"entries", 4}});
  CHECK(n.ok("summary.get_triggers", {{"app", "chat"}})["entries"] == 4);
  create(n);
  talk(n, 1, 4);
  std::this_thread::sleep_for(300ms);
  CHECK(claim(n).is_null());
  talk(n, 5, 5);
  json job = claim(n, {{"wait_ms", 10'000}});
  REQUIRE_FALSE(job.is_null());
  CHECK(job["why"] == "entries");
  CHECK(ids_of(job).size() == 5);
  talk(n, 6, 9);
  n.ok("summary.store", held(job, {{"text", "x"}, {"through_version", job["through_version"]}}));
  std::this_thread::sleep_for(300ms);
  CHECK(claim(n).is_null());  // Four are new.
  talk(n, 10, 10);
  job = claim(n, {{"wait_ms", 10'000}});
  REQUIRE_FALSE(job.is_null());
  CHECK(ids_of(job).size() == 5);
  // Another application's sessions are left alone; tokens count, too.
  n.ok("session.create", {{"app", "mail"}, {"user", "ada"}, {"session", "m"}});
  const json large{{"id", "l"}, {"role", "user"}, {"content", std::string(4'000, 'x')}};
  n.ok("session.append", {{"app", "mail"}, {"user", "ada"}, {"session", "m"}, {"entry", large}});
  std::this_thread::sleep_for(300ms);
  CHECK(claim(n).is_null());
  n.ok("summary.set_triggers", {{"app", "mail"}, {"tokens", 1'000}});
  job = claim(n, {{"wait_ms", 10'000}});
  REQUIRE_FALSE(job.is_null());
  CHECK(job["why"] == "tokens");
  CHECK(job["app"] == "mail");
}

TEST_CASE("a session that is idle long enough comes due", "[summary][triggers]") {
  running_node n;
  n.ok("summary.set_triggers", {{"app", "chat"}, {"idle_s", 60}});
  create(n);
  create(n, "empty");
  talk(n, 1, 1);
  std::this_thread::sleep_for(1'500ms);
  CHECK(claim(n).is_null());
  n.put_clock_forward(61s);
  const auto job = claim(n, {{"wait_ms", 20'000}});
  REQUIRE_FALSE(job.is_null());
  CHECK(job["why"] == "idle");
  CHECK(job["session"] == "s1");
  n.ok("summary.store", held(job, {{"text", "x"}, {"through_version", job["through_version"]}}));
  n.put_clock_forward(61s);
  std::this_thread::sleep_for(1'500ms);
  CHECK(claim(n).is_null());
}

TEST_CASE("a job that a node owed when it ended is made at its next start", "[summary][triggers]") {
  running_node n;
  // Appended before anybody asked, and asked for while nobody looked: only the rows know.
  create(n);
  talk(n, 1, 5);
  create(n, "s2");
  talk(n, 1, 3, "s2");
  n.ok("summary.set_triggers", {{"app", "chat"}, {"entries", 4}});
  n.restart();
  const auto job = claim(n, {{"wait_ms", 10'000}});
  REQUIRE_FALSE(job.is_null());
  CHECK(job["session"] == "s1");
  CHECK(claim(n).is_null());
}

TEST_CASE("a rebuild of the rows gives the same summaries and jobs", "[summary]") {
  running_node n;
  n.ok("summary.set_triggers", {{"app", "chat"}, {"entries", 100}});
  create(n);
  const auto at = talk(n, 1, 4);
  n.ok("summary.store", storing("Kept.", at, {{"topics", {"t"}}}));
  talk(n, 5, 6);
  n.ok("summary.force", key());
  n.ok("summary.force", with(key(), {{"filter_key", "a"}}));
  claim(n);
  const auto jobs = n.ok("summary.jobs", json::object());
  n.ok("node.rebuild", json::object());
  CHECK(n.ok("summary.jobs", json::object()) == jobs);
  CHECK(n.ok("summary.get", key())["summary"]["text"] == "Kept.");
}

}  // namespace recalld::test

#include "storage/sqlite_store.hpp"
#include "tests/catch.hpp"
#include "tests/crash/ledger.hpp"

#include <nlohmann/json.hpp>

#include <csignal>
#include <filesystem>
#include <map>

/// A call of a tool that is parked until a person approves it, on a server that is killed at each
/// commit on its way: the tool runs once.
namespace recalld::tests {

namespace {

using namespace std::chrono_literals;
using nlohmann::json;
namespace fs = std::filesystem;

/// Somebody who does not give up: whatever has no sure answer is asked again, under the same
/// command id, of the server that is started next.
class stubborn {
public:
  /// Of the servers that are started one after the other, `which` has the failpoint.
  stubborn(fs::path directory, int which, std::string failpoint)
    : directory_(std::move(directory)), which_(which), failpoint_(std::move(failpoint)) {}

  json ask(std::string_view operation, json request, bool write = true) {
    if (write)
      request["command_id"] = "c" + std::to_string(++commands_);
    for (int i = 0; i < 10; ++i) {
      if (!line_)
        start();
      auto answer = line_->call(operation, request.dump(), 1'500ms);
      if (answer)
        return json::parse(*answer);
      INFO(operation << ": " << answer.error().message);
      REQUIRE(
        (answer.error().code == errc::outcome_unknown || answer.error().code == errc::unavailable));
      REQUIRE(server_->program().wait(10s) == -SIGKILL);
      ++kills;
      line_.reset();
    }
    FAIL("no answer");
    return {};
  }
  void kill() {
    server_->program().signal(SIGKILL);
    REQUIRE(server_->program().wait(10s));
    line_.reset();
  }

  int kills = 0;  ///< By the failpoint.

private:
  void start() {
    std::map<std::string, std::string> environment;
    if (++started_ == which_)
      environment["RECALLD_FAILPOINT"] = failpoint_;
    server_ = std::make_unique<server>(directory_, environment);
    line_ = std::make_unique<load>(0);
    REQUIRE(line_->start(server_->port()));
  }

  fs::path directory_;
  int which_;
  std::string failpoint_;
  int started_ = 0;
  std::unique_ptr<server> server_;
  std::unique_ptr<load> line_;
  int commands_ = 0;
};

std::map<std::string, int> facts_in(const fs::path& directory) {
  auto store = storage::open_sqlite({.directory = directory, .read_only = true});
  REQUIRE(store);
  auto reader = (*store)->open_reader();
  REQUIRE(reader);
  auto page = (*reader)->scan(0, 0, 1'000);
  REQUIRE(page);
  std::map<std::string, int> count;
  for (const auto& f : page->facts)
    ++count[std::string(f.type)];
  return count;
}

/// The whole way of a call; gives how often the failpoint was met.
int run_parked_call(const fs::path& directory, int which, const std::string& failpoint) {
  stubborn agent(directory, which, failpoint);
  const json args{{"to", "bob"}};
  int ran = 0;  // What the tool did in the world.
  const auto asked = agent.ask(
    "approval.request",
    {{"tool", "mail"}, {"run", "r1"}, {"args", args}, {"expires_s", 3'600}, {"created_by", "ada"}});
  const auto id = asked["approval"]["id"];
  agent.kill();  // Parked: nobody but the log knows of it.
  CHECK(agent.ask("approval.list", json::object(), false)["approvals"].size() == 1);
  agent.ask("approval.resolve", {{"approval", id}, {"decision", "approved"}, {"by", "ada"}});
  CHECK(agent.ask("approval.wait", {{"approval", id}}, false)["approval"]["status"] == "approved");
  agent.ask("approval.claim", {{"approval", id}, {"args", args}, {"by", "w"}, {"effect", "e1"}});
  const json begin{{"key", "e1"}, {"args", args}, {"approval", id}, {"holder", "w"}};
  const auto begun = agent.ask("effect.begin", begin);
  CHECK(begun["begun"] == true);
  if (begun["begun"] == true)
    ++ran;
  agent.ask("effect.complete",
            {{"key", "e1"}, {"fence", begun["effect"]["fence"]}, {"result", {{"sent", 1}}}});
  // Whoever comes later, knowing no command id, gets the result and does nothing.
  const auto again = agent.ask("effect.begin", begin);
  CHECK(again["begun"] == false);
  CHECK(again["effect"]["outcome"] == json{{"sent", 1}});
  CHECK(ran == 1);
  agent.kill();
  const auto facts = facts_in(directory);
  for (const auto* once : {"approval.requested", "approval.resolved", "approval.claimed",
                           "effect.begun", "effect.ended"}) {
    INFO(once);
    CHECK(facts.at(once) == 1);
  }
  return agent.kills;
}

}  // namespace

TEST_CASE("a parked call runs once, whichever commit the server is killed at", "[crash]") {
  // The first server is killed when the call is parked, which is one commit; then come four.
  constexpr std::pair<int, int> moments[] = {{1, 1}, {2, 1}, {2, 2}, {2, 3}, {2, 4}};
  for (const auto* where : {"sqlite.commit.before", "sqlite.commit.after"})
    for (const auto& [which, nth] : moments) {
      const auto failpoint = std::string(where) + ":" + std::to_string(nth);
      INFO("server " << which << ", " << failpoint);
      scratch_directory scratch;
      CHECK(run_parked_call(scratch.path() / "data", which, failpoint) == 1);
    }
}

}  // namespace recalld::tests

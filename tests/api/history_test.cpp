// Histories of principals through the gateway of a real node.

#include "tests/api/running_node.hpp"

#include <chrono>
#include <future>
#include <thread>

namespace recalld::test {

namespace {

json place(const json& more = json::object()) {
  json out{{"principal", "ada"}, {"endpoint", "local"}, {"chat", "c1"}, {"model", "small"}};
  out.update(more);
  return out;
}

json session_of(const json& opened) {
  return {{"app", opened["app"]}, {"user", opened["user"]}, {"session", opened["session"]}};
}

void say(running_node& n, const json& opened, const std::string& what) {
  auto request = session_of(opened);
  request["entries"] = {{{"role", "user"}, {"content", what}}};
  n.ok("session.append", request);
}

std::size_t said(running_node& n, const json& opened) {
  return n.ok("session.messages", session_of(opened))["messages"].size();
}

}  // namespace

TEST_CASE("a history is one conversation per principal, endpoint, chat, thread and model",
          "[history]") {
  running_node n;
  const auto first = n.ok("history.open", place());
  CHECK(first["created"] == true);
  say(n, first, "hello");
  n.restart();
  const auto again = n.ok("history.open", place());
  CHECK(again["created"] == false);
  CHECK(again["session"] == first["session"]);
  CHECK(said(n, again) == 1);
  for (const auto& other :
       {json{{"principal", "bob"}}, json{{"endpoint", "far"}}, json{{"chat", "c2"}},
        json{{"thread", "t"}}, json{{"model", "large"}}, json{{"tenant", "t2"}}}) {
    INFO(other);
    const auto opened = n.ok("history.open", place(other));
    CHECK(opened["created"] == true);
  }
  // Parts are never joined: these two would be the same text.
  const auto one = n.ok("history.open", place({{"chat", "a:b"}, {"thread", "c"}}));
  const auto two = n.ok("history.open", place({{"chat", "a"}, {"thread", "b:c"}}));
  CHECK(one["session"] != two["session"]);
}

TEST_CASE("histories are listed page by page, newest update first", "[history]") {
  running_node n;
  const auto first = n.ok("history.open", place({{"thread", "t"}}));
  n.put_clock_forward(std::chrono::seconds(60));
  n.ok("history.open", place({{"model", "large"}}));
  n.put_clock_forward(std::chrono::seconds(60));
  say(n, first, "hello");
  n.ok("history.open", place({{"principal", "bob"}}));
  auto page = n.ok("history.list", {{"principal", "ada"}, {"limit", 1}});
  REQUIRE(page["histories"].size() == 1);
  CHECK(page["histories"][0]["thread"] == "t");
  CHECK(page["histories"][0]["chat"] == "c1");
  CHECK(page["histories"][0]["entries_total"] == 1);
  CHECK(page["histories"][0]["session"] == first["session"]);
  page =
    n.ok("history.list", {{"principal", "ada"}, {"limit", 1}, {"cursor", page["next_cursor"]}});
  REQUIRE(page["histories"].size() == 1);
  CHECK(page["histories"][0]["model"] == "large");
  CHECK_FALSE(page.contains("next_cursor"));
}

TEST_CASE("a history that is dropped begins empty, and its neighbours stay", "[history]") {
  running_node n;
  const auto gone = n.ok("history.open", place());
  const auto stays = n.ok("history.open", place({{"thread", "t"}}));
  say(n, gone, "forget me");
  say(n, stays, "keep me");
  n.ok("history.drop", place());
  CHECK(n.bad("session.messages", session_of(gone)).code == errc::not_found);
  CHECK(n.ok("history.drop", place())["position"] == 0);
  CHECK(said(n, stays) == 1);
  CHECK(n.ok("history.list", {{"principal", "ada"}})["histories"].size() == 1);
  const auto anew = n.ok("history.open", place());
  CHECK(anew["created"] == true);
  CHECK(said(n, anew) == 0);
}

TEST_CASE("a purge drops a principal's histories and nobody else's", "[history]") {
  running_node n;
  for (int i = 0; i < 3; ++i)
    say(n, n.ok("history.open", place({{"thread", std::to_string(i)}})), "x");
  const auto other = n.ok("history.open", place({{"principal", "bob"}}));
  say(n, other, "mine");
  CHECK(n.ok("principal.purge", {{"principal", "ada"}, {"dry_run", true}})["histories"] == 3);
  CHECK(n.ok("history.list", {{"principal", "ada"}})["histories"].size() == 3);
  // One that is refused drops nothing.
  CHECK(n.bad("principal.purge", {{"principal", "ada"}, {"expected_version", 7}}).code
        == errc::conflict);
  CHECK(n.ok("history.list", {{"principal", "ada"}})["histories"].size() == 3);
  CHECK(n.ok("principal.purge", {{"principal", "ada"}})["histories"] == 3);
  CHECK(n.ok("history.list", {{"principal", "ada"}})["histories"].empty());
  CHECK(said(n, other) == 1);
}

namespace {

std::size_t listed(running_node& n, const std::string& what) {
  return n.ok(what + ".list", json::object())[what + "s"].size();
}

}  // namespace

TEST_CASE("what was asked in a history goes with it, and whoever waits is told", "[history]") {
  using namespace std::chrono_literals;
  running_node n;
  const auto gone = session_of(n.ok("history.open", place()));
  const auto stays = session_of(n.ok("history.open", place({{"thread", "t"}})));
  const auto ask = [&](json session, const std::string& run) {
    session.update({{"run", run}, {"tool", "mail"}, {"question", "May I?"}});
    const auto asked = n.ok("approval.request", session)["approval"];
    session.erase("tool");
    n.ok("clarification.ask", session);
    return asked;
  };
  const auto decided = ask(gone, "r1");
  n.ok("approval.resolve", {{"approval", decided["id"]}, {"decision", "approved"}, {"by", "eve"}});
  const auto open = ask(gone, "r2");
  ask(stays, "r3");
  auto waiter = std::async(std::launch::async, [&] {
    return n.client().call("approval.wait",
                           json{{"approval", open["id"]}, {"wait_ms", 20'000}}.dump());
  });
  std::this_thread::sleep_for(100ms);
  n.ok("history.drop", place());
  const auto told = waiter.get();
  CHECK((told ? json::parse(*told)["approval"]["status"] == "cancelled"
              : told.error().code == errc::not_found));
  CHECK(listed(n, "approval") == 1);
  CHECK(listed(n, "clarification") == 1);
  CHECK(n.bad("approval.get", {{"approval", decided["id"]}}).code == errc::not_found);
  n.ok("principal.purge", {{"principal", "ada"}});
  CHECK(listed(n, "approval") == 0);
  CHECK(listed(n, "clarification") == 0);
  n.restart();
  CHECK(listed(n, "approval") == 0);
}

TEST_CASE("a principal with many histories is purged of all of them", "[history]") {
  running_node n;
  for (int i = 0; i < 150; ++i)
    n.ok("history.open", place({{"thread", std::to_string(i)}}));
  CHECK(n.ok("principal.purge", {{"principal", "ada"}})["histories"] == 150);
  CHECK(n.ok("history.list", {{"principal", "ada"}})["histories"].empty());
}

TEST_CASE("a purge takes the state that histories share, and what was granted", "[history]") {
  running_node n;
  const auto write = [&](const std::string& who) {
    auto request = session_of(n.ok("history.open", place({{"principal", who}})));
    request["state"] = {{"user:likes", "tea"}, {"app:shared", 1}};
    n.ok("session.update_state", request);
    n.ok("grant.give", {{"tool", "mail"}, {"by", "eve"}, {"principal", who}, {"for_s", 60}});
    return request["app"];
  };
  const auto app = write("ada");
  write("bob");
  const auto shared = [&](const std::string& who) {
    return n.ok("user.list_state", {{"app", app}, {"user", who}})["state"];
  };
  CHECK(shared("ada") == json{{"likes", "tea"}});
  n.ok("principal.purge", {{"principal", "ada"}});
  CHECK(shared("ada") == json::object());
  CHECK(shared("bob") == json{{"likes", "tea"}});
  CHECK(n.ok("app.list_state", {{"app", app}})["state"] == json{{"shared", 1}});
  const auto grants = n.ok("grant.list", json::object())["grants"];
  REQUIRE(grants.size() == 1);
  CHECK(grants[0]["principal"] == "bob");
  write("ada");
  CHECK(shared("ada") == json{{"likes", "tea"}});
  n.ok("principal.purge", {{"principal", "ada"}});
  n.restart();
  CHECK(shared("ada") == json::object());
}

TEST_CASE("what is wrong with the place of a history is named", "[history]") {
  running_node n;
  const auto field = [&](const json& more) {
    const auto e = n.bad("history.open", place(more));
    CHECK(e.code == errc::invalid);
    return e.field;
  };
  for (const auto* name : {"principal", "endpoint", "chat", "thread", "model"}) {
    CHECK(field({{name, ""}}) == name);
    CHECK(field({{name, std::string(513, 'x')}}) == name);
    CHECK(field({{name, 7}}) == name);
  }
  CHECK(n.bad("history.open", {{"principal", "ada"}}).field == "endpoint");
  CHECK(n.bad("history.list", {{"principal", "ada"}, {"cursor", "x"}}).field == "cursor");
  CHECK(n.ok("history.list", {{"principal", "ada"}})["histories"].empty());
}

}  // namespace recalld::test

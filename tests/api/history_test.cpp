// Histories of principals through the gateway of a real node.

#include "tests/api/running_node.hpp"

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

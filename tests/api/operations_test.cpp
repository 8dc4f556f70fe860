// Every operation through the gateway of a real node on SQLite.

#include "tests/api/running_node.hpp"

#include <algorithm>
#include <future>
#include <set>
#include <thread>

namespace recalld::test {

namespace {

json session(const std::string& id = "s") {
  return {{"app", "shop"}, {"user", "ada"}, {"session", id}};
}

json with(json request, const json& more) {
  request.update(more);
  return request;
}

json entry(const std::string& role, const json& content, const std::string& id = {}) {
  json out{{"role", role}, {"content", content}};
  if (!id.empty())
    out["id"] = id;
  return out;
}

std::vector<std::string> contents(const json& read) {
  std::vector<std::string> out;
  for (const auto& e : read["entries"])
    out.push_back(e["entry"]["content"]);
  return out;
}

/// A session with entries "1" … "n", every third one by the user.
void fill(running_node& n, int count, const std::string& id = "s") {
  n.ok("session.create", session(id));
  json entries = json::array();
  for (int i = 1; i <= count; ++i)
    entries.push_back(
      entry(i % 3 == 1 ? "user" : "assistant", std::to_string(i), "e" + std::to_string(i)));
  n.ok("session.append", with(session(id), {{"entries", entries}}));
}

}  // namespace

// -- create --

TEST_CASE("a session is created once") {
  running_node n;
  const auto made = n.ok("session.create", with(session(), {{"metadata", {{"m", 1}}}}));
  CHECK(made["version"] == 1);
  CHECK(made["position"] >= 1);
  CHECK(made["created"] == true);
  CHECK(made["duplicate"] == false);
  CHECK(made["session"] == "s");

  const auto again = n.bad("session.create", session());
  CHECK(again.code == errc::already_exists);
  const auto returned = n.ok("session.create", with(session(), {{"if_exists", "return"}}));
  CHECK(returned["created"] == false);
  CHECK(returned["version"] == 1);
  CHECK(n.bad("session.create", with(session(), {{"if_exists", "overwrite"}})).field
        == "if_exists");

  const auto read = n.ok("session.get", session());
  CHECK(read["metadata"] == json{{"m", 1}});
  CHECK(read["created_at"] == made["recorded_at"]);
}

TEST_CASE("a session without an id gets a fresh one") {
  running_node n;
  json request{{"app", "shop"}, {"user", "ada"}};
  const auto one = n.ok("session.create", request);
  const auto two = n.ok("session.create", with(request, {{"session", ""}}));
  CHECK(one["session"].get<std::string>().size() == 36);
  CHECK(one["session"].get<std::string>()[14] == '7');
  CHECK(one["session"] != two["session"]);
}

TEST_CASE("a repeated creation under a command id finds its session again, also in a race") {
  running_node n;
  const json request{{"app", "shop"}, {"user", "ada"}, {"command_id", "c1"}};
  std::vector<std::future<std::string>> racers;
  for (int i = 0; i < 8; ++i)
    racers.push_back(std::async(std::launch::async, [&] {
      auto answer = n.client().call("session.create", request.dump());
      return answer ? json::parse(*answer)["session"].get<std::string>() : answer.error().message;
    }));
  std::set<std::string> ids;
  for (auto& r : racers)
    ids.insert(r.get());
  CHECK(ids.size() == 1);
  n.restart();
  const auto later = n.ok("session.create", request);
  CHECK(later["session"] == *ids.begin());
  CHECK(later["duplicate"] == true);
  CHECK(later["created"] == true);
  CHECK(n.ok("session.list", {{"app", "shop"}})["sessions"].size() == 1);
  CHECK(n.bad("session.create", with(request, {{"metadata", {{"x", 1}}}})).code == errc::key_reuse);
}

TEST_CASE("a race for one id has one winner") {
  running_node n;
  std::vector<std::future<bool>> racers;
  for (int i = 0; i < 8; ++i)
    racers.push_back(std::async(std::launch::async, [&] {
      return n.client().call("session.create", session().dump()).has_value();
    }));
  int won = 0;
  for (auto& r : racers)
    won += r.get();
  CHECK(won == 1);
}

// -- append --

TEST_CASE("entries and state are appended as one and come back untouched") {
  running_node n;
  n.ok("session.create", session());
  const std::string opaque =
    R"({"role":"user","content":"h\u00e9","x":{"big":123456789012345678901234567890, "e":1.50E+2}})";
  auto answer = n.client().call("session.append",
                                R"({"app":"shop","user":"ada","session":"s","entries":[)" + opaque
                                  + R"(],"state":{"k":1,"app:a":2,"user:u":3,"temp:t":4}})");
  REQUIRE(answer);
  const auto done = json::parse(*answer);
  CHECK(done["entries"].size() == 1);
  CHECK(done["entries"][0]["duplicate"] == false);
  CHECK(done["state"] == json{{"k", 1}, {"app:a", 2}, {"user:u", 3}, {"temp:t", 4}});

  const auto raw = n.client().call("session.get", session().dump());
  REQUIRE(raw);
  CHECK_THAT(*raw, Catch::Matchers::ContainsSubstring(opaque.substr(1)));
  const auto read = json::parse(*raw);
  CHECK(read["state"] == json{{"k", 1}, {"app:a", 2}, {"user:u", 3}});
  CHECK(read["entries"][0]["version"] == done["entries"][0]["version"]);
  CHECK(read["entries"][0]["entry"]["id"] == done["entries"][0]["id"]);
  CHECK(read["entries_total"] == 1);

  n.restart();
  CHECK(n.client().call("session.get", session().dump()) == raw);
}

TEST_CASE("one entry may be given instead of a list, state alone will do, nothing will not") {
  running_node n;
  n.ok("session.create", session());
  CHECK(n.ok("session.append",
             with(session(), {{"entry", entry("user", "x", "e1")}}))["entries"][0]["id"]
        == "e1");
  CHECK(n.ok("session.append", with(session(), {{"state", {{"k", 1}}}}))["version"] == 3);
  const auto temp = n.ok("session.append", with(session(), {{"state", {{"temp:k", 1}}}}));
  CHECK(temp["state"] == json{{"temp:k", 1}});
  CHECK(temp["position"] == 0);
  CHECK(n.bad("session.append", session()).field == "entries");
  CHECK(n.bad("session.append", with(session(), {{"entries", json::array()}})).field == "entries");
}

TEST_CASE("an entry id is taken once in a session") {
  running_node n;
  n.ok("session.create", session());
  const auto first = n.ok("session.append", with(session(), {{"entry", entry("user", "x", "e1")}}));
  const auto again =
    n.ok("session.append",
         with(session(), {{"entries", {entry("user", "other", "e1"), entry("user", "y", "e2")}}}));
  CHECK(again["entries"][0]["duplicate"] == true);
  CHECK(again["entries"][0]["version"] == first["entries"][0]["version"]);
  CHECK(again["entries"][1]["duplicate"] == false);
  CHECK(contents(n.ok("session.get", session())) == std::vector<std::string>{"x", "y"});
  const auto twice =
    n.ok("session.append",
         with(session(), {{"entries", {entry("user", "z", "e3"), entry("user", "z", "e3")}}}));
  CHECK(twice["entries"][0]["duplicate"] == false);
  CHECK(twice["entries"][1]["duplicate"] == true);
  CHECK(twice["entries"][1]["version"] == twice["entries"][0]["version"]);
}

TEST_CASE("a repeated command gets its first answer, word by word, whatever came between") {
  running_node n;
  n.ok("session.create", session());
  n.ok("session.append", with(session(), {{"entry", entry("user", "old", "known")}}));
  const auto request = with(
    session(),
    {{"command_id", "c1"},
     {"entries", {entry("user", "a"), entry("user", "x", "known"), entry("user", "b", "named")}},
     {"state", {{"k", 1}, {"temp:t", 2}}}});
  auto first = n.ok("session.append", request);
  n.ok("session.append", with(session(), {{"entry", entry("user", "later")}}));
  for (int round = 0; round < 2; ++round) {
    auto again = n.ok("session.append", request);
    CHECK(again["duplicate"] == true);
    again["duplicate"] = false;
    CHECK(again == first);
    n.restart();
  }
  n.ok("session.close", session());
  CHECK(n.ok("session.append", request)["duplicate"] == true);
  CHECK(n.bad("session.append", with(request, {{"state", {{"k", 2}}}})).code == errc::key_reuse);
  CHECK(n.ok("session.get", session())["entries_total"] == 4);
}

TEST_CASE("a stale writer is told the present version and writes nothing") {
  running_node n;
  n.ok("session.create", session());
  const auto request = with(session(), {{"entry", entry("user", "x")}, {"expected_version", 1}});
  CHECK(n.ok("session.append", request)["version"] == 2);
  const auto stale = n.bad("session.append", request);
  CHECK(stale.code == errc::conflict);
  CHECK(stale.current_version == 2);
  CHECK(n.ok("session.get", session())["version"] == 2);
}

TEST_CASE("partial entries are not stored, their state is") {
  running_node n;
  n.ok("session.create", session());
  auto piece = entry("assistant", "he");
  piece["partial"] = true;
  const auto done =
    n.ok("session.append", with(session(), {{"entry", piece}, {"state", {{"k", 1}}}}));
  CHECK(done["entries"][0]["partial"] == true);
  const auto read = n.ok("session.get", session());
  CHECK(read["entries"].empty());
  CHECK(read["state"]["k"] == 1);
  CHECK(n.ok("session.append", with(session(), {{"entry", piece}}))["position"] == 0);
}

TEST_CASE("what a session does not take, it says") {
  running_node n;
  const auto one = with(session(), {{"entry", entry("user", "x")}});
  CHECK(n.bad("session.append", one).code == errc::not_found);
  CHECK(n.bad("session.get", session()).code == errc::not_found);
  n.ok("session.create", session());
  n.ok("session.close", session());
  n.ok("session.close", session());
  CHECK(n.bad("session.append", one).code == errc::closed);
  CHECK(n.bad("session.update_state", with(session(), {{"state", {{"k", 1}}}})).code
        == errc::closed);
  const auto read = n.ok("session.get", session());
  CHECK(read["status"] == "closed");
  CHECK(read.contains("closed_at"));
}

// -- state --

TEST_CASE("state keys are set, read with their scopes, and deleted") {
  running_node n;
  n.ok("session.create", with(session(), {{"state", {{"a", 1}, {"n", nullptr}, {"app:x", 1}}}}));
  const auto set = n.ok("session.update_state",
                        with(session(), {{"state", {{"a", 2}, {"user:y", "v"}, {"temp:t", 0}}}}));
  CHECK(set["state"] == json{{"a", 2}, {"user:y", "v"}, {"temp:t", 0}});
  auto state = n.ok("session.get", session())["state"];
  CHECK(state == json{{"a", 2}, {"n", nullptr}, {"app:x", 1}, {"user:y", "v"}});
  // Another session of the same user sees the shared keys, one of another user only the app's.
  n.ok("session.create", session("s2"));
  CHECK(n.ok("session.get", session("s2"))["state"] == json{{"app:x", 1}, {"user:y", "v"}});
  n.ok("session.create", {{"app", "shop"}, {"user", "bob"}, {"session", "s"}});
  CHECK(n.ok("session.get", {{"app", "shop"}, {"user", "bob"}, {"session", "s"}})["state"]
        == json{{"app:x", 1}});

  n.ok("session.delete_state_key", with(session(), {{"key", "a"}}));
  n.ok("session.delete_state_key", with(session(), {{"keys", {"n", "never"}}}));
  state = n.ok("session.get", session())["state"];
  CHECK(state == json{{"app:x", 1}, {"user:y", "v"}});
  CHECK(n.bad("session.delete_state_key", with(session(), {{"key", "app:x"}})).field == "key");
  CHECK_FALSE(n.ok("session.get", with(session(), {{"include_state", false}})).contains("state"));
}

TEST_CASE("application and user state by themselves") {
  const auto [scope, who, other] = GENERATE(table<std::string, json, std::string>({
    {"app", json{{"app", "shop"}}, "user:"},
    {"user", json{{"app", "shop"}, {"user", "ada"}}, "app:"},
  }));
  running_node n;
  const auto empty = n.ok(scope + ".list_state", who);
  CHECK(empty["state"].empty());
  CHECK(empty["version"] == 0);
  const auto set =
    n.ok(scope + ".update_state",
         with(who, {{"state", {{"a", 1}, {scope + ":b", nullptr}}}, {"command_id", "c"}}));
  CHECK(set["version"] == 1);
  CHECK(n.ok(scope + ".update_state", with(who, {{"state", {{"a", 1}, {scope + ":b", nullptr}}},
                                                 {"command_id", "c"}}))["duplicate"]
        == true);
  CHECK(n.ok(scope + ".list_state", who)["state"] == json{{"a", 1}, {"b", nullptr}});
  CHECK(n.ok(scope + ".get_state", with(who, {{"key", scope + ":a"}}))["value"] == 1);
  CHECK(n.ok(scope + ".get_state", with(who, {{"key", "b"}}))["value"] == nullptr);
  CHECK(n.bad(scope + ".get_state", with(who, {{"key", "none"}})).code == errc::not_found);
  CHECK(n.bad(scope + ".get_state", with(who, {{"key", other + "a"}})).field == "key");
  CHECK(n.bad(scope + ".update_state", with(who, {{"state", {{other + "a", 1}}}})).code
        == errc::invalid);
  CHECK(
    n.bad(scope + ".update_state", with(who, {{"state", {{"a", 2}}}, {"expected_version", 7}})).code
    == errc::conflict);

  n.ok(scope + ".update_state", with(who, {{"state", {{"c", 1}, {"d", 1}}}}));
  n.ok(scope + ".delete_state", with(who, {{"key", "a"}}));
  n.ok(scope + ".delete_state", with(who, {{"keys", {scope + ":b", "c"}}}));
  CHECK(n.ok(scope + ".list_state", who)["state"] == json{{"d", 1}});
  n.restart();
  n.ok(scope + ".delete_state", with(who, {{"all", true}}));
  CHECK(n.ok(scope + ".list_state", who)["state"].empty());
  CHECK(n.bad(scope + ".delete_state", who).field == "key");
}

// -- reading --

TEST_CASE("windows of a session, before and after a restart") {
  running_node n;
  fill(n, 30);
  using list = std::vector<std::string>;
  for (int round = 0; round < 2; ++round) {
    const auto read = [&](const json& window) {
      return n.ok("session.get", with(session(), window));
    };
    CHECK(contents(read(json::object())).size() == 30);
    CHECK(contents(read({{"last", 2}, {"turn_aligned", false}})) == list{"29", "30"});
    CHECK(contents(read({{"last", 3}})) == list{"28", "29", "30"});
    CHECK(contents(read({{"last", 2}})) == list{"28", "29", "30"});
    CHECK(contents(read({{"last", 5}})) == list{"28", "29", "30"});
    CHECK(contents(read({{"last", 0}})).empty());
    CHECK(contents(read({{"after_version", 29}})) == list{"29", "30"});
    CHECK(contents(read({{"before_version", 4}})) == list{"1", "2"});
    CHECK(contents(read({{"roles", {"user"}}, {"last", 2}})) == list{"25", "28"});
    CHECK(contents(read({{"anchor", "e10"}, {"before", 2}, {"after", 1}}))
          == list{"8", "9", "10", "11"});
    CHECK(contents(read({{"max_bytes", 1}})) == list{"30"});
    CHECK(n.bad("session.get", with(session(), {{"anchor", "nobody"}})).code == errc::not_found);
    CHECK(n.bad("session.get", with(session(), {{"last", -1}})).field == "last");
    CHECK(n.bad("session.get", with(session(), {{"cursor", "garbage"}})).field == "cursor");
    n.restart();
  }
}

TEST_CASE("a session is paged forth and back by cursor without a hole or a double") {
  running_node n;
  fill(n, 50);
  std::vector<std::string> forth;
  json request = with(session(), {{"limit", 7}});
  json page;
  do {
    page = n.ok("session.entries", request);
    CHECK(page["entries"].size() <= 7);
    for (const auto& c : contents(page))
      forth.push_back(c);
    if (page.contains("next_cursor"))
      request["cursor"] = page["next_cursor"];
  } while (page.contains("next_cursor"));
  REQUIRE(forth.size() == 50);
  for (int i = 0; i < 50; ++i)
    CHECK(forth[static_cast<std::size_t>(i)] == std::to_string(i + 1));

  std::vector<std::string> back;
  request = with(session(), {{"last", 7}, {"turn_aligned", false}});
  do {
    page = n.ok("session.entries", request);
    auto some = contents(page);
    back.insert(back.begin(), some.begin(), some.end());
    if (page.contains("previous_cursor"))
      request["cursor"] = page["previous_cursor"];
  } while (page.contains("previous_cursor"));
  CHECK(back == forth);
}

TEST_CASE("the conversation view") {
  running_node n;
  n.ok("session.create", session());
  auto said = entry("assistant", json{{"parts", {1, 2}}}, "e2");
  said["metadata"] = {{"model", "m"}};
  n.ok("session.append", with(session(), {{"entries", {entry("user", "hi", "e1"), said}}}));
  const auto read = n.ok("session.messages", session());
  REQUIRE(read["messages"].size() == 2);
  const auto& first = read["messages"][0];
  CHECK(first["id"] == "e1");
  CHECK(first["role"] == "user");
  CHECK(first["content"] == "hi");
  CHECK(first["metadata"] == json::object());
  CHECK(first.contains("timestamp"));
  CHECK(read["messages"][1]["content"] == json{{"parts", {1, 2}}});
  CHECK(read["messages"][1]["metadata"] == json{{"model", "m"}});
}

// -- list --

TEST_CASE("sessions are listed by their newest update, then by id, a page at a time") {
  running_node n;
  for (int i = 0; i < 25; ++i)
    n.ok("session.create", {{"app", "shop"},
                            {"user", i % 5 == 0 ? "bob" : "ada"},
                            {"session", "s" + std::to_string(100 + i)}});
  n.ok("session.create", {{"app", "other"}, {"user", "ada"}, {"session", "elsewhere"}});
  n.ok("session.append", with(session("s101"), {{"entry", entry("user", "newest")}}));
  const auto all_of = [&](json request) {
    std::vector<std::string> ids;
    std::vector<std::pair<std::string, std::string>> order;
    for (;;) {
      const auto page = n.ok("session.list", request);
      for (const auto& s : page["sessions"]) {
        ids.push_back(s["session"]);
        order.emplace_back(s["updated_at"], s["session"]);
      }
      if (!page.contains("next_cursor"))
        break;
      request["cursor"] = page["next_cursor"];
    }
    CHECK(std::is_sorted(order.rbegin(), order.rend()));
    return ids;
  };
  const auto all = all_of({{"app", "shop"}, {"limit", 4}});
  REQUIRE(all.size() == 25);
  CHECK(all[0] == "s101");
  CHECK(std::set(all.begin(), all.end()).size() == 25);
  CHECK(all_of({{"app", "shop"}, {"user", "bob"}, {"limit", 2}}).size() == 5);
  CHECK(all_of({{"app", "nothing"}}).empty());
  n.restart();
  CHECK(all_of({{"app", "shop"}, {"limit", 1000}}) == all);

  const auto page = n.ok("session.list", {{"app", "shop"}, {"limit", 4}});
  CHECK(n.bad("session.list", {{"app", "other"}, {"cursor", page["next_cursor"]}}).field
        == "cursor");
  CHECK(
    n.bad("session.list", {{"app", "shop"}, {"user", "ada"}, {"cursor", page["next_cursor"]}}).field
    == "cursor");
  CHECK(n.bad("session.list", {{"app", "shop"}, {"limit", 0}}).field == "limit");
  CHECK(n.bad("session.list", {{"app", "shop"}, {"limit", 1001}}).field == "limit");
}

// -- delete, expiry, retention --

TEST_CASE("a deleted session is gone, and its id begins anew and empty") {
  running_node n;
  fill(n, 5);
  n.ok("session.update_state", with(session(), {{"state", {{"k", 1}}}}));
  n.ok("context.add", with(session(), {{"id", "c"}, {"type", "file"}, {"content", "x"}}));
  n.ok("track.append", with(session(), {{"track", "t"}, {"item", 1}}));
  const auto gone = n.ok("session.delete", session());
  CHECK(gone["version"] > 5);
  n.ok("session.delete", session());
  n.ok("session.delete", session("never"));
  CHECK(n.bad("session.get", session()).code == errc::not_found);
  CHECK(n.bad("context.list", session()).code == errc::not_found);
  CHECK(n.ok("session.list", {{"app", "shop"}})["sessions"].empty());

  n.ok("session.create", session());
  for (int round = 0; round < 2; ++round) {
    const auto read = n.ok("session.get", session());
    CHECK(read["entries"].empty());
    CHECK(read["state"].empty());
    CHECK(read["entries_total"] == 0);
    CHECK(n.ok("context.list", session())["contexts"].empty());
    CHECK(n.ok("track.list", with(session(), {{"track", "t"}}))["items"].empty());
    n.restart();
  }
  CHECK(n.ok("session.append",
             with(session(), {{"entry", entry("user", "x", "e1")}}))["entries"][0]["duplicate"]
        == false);
}

TEST_CASE("a session expires when nobody wrote to it for its time to live") {
  running_node n;
  n.ok("app.set_retention", {{"app", "shop"}, {"ttl_s", 60}});
  n.ok("session.create", session());
  CHECK(n.ok("session.get", session()).contains("expires_at"));
  n.put_clock_forward(std::chrono::seconds(50));
  n.ok("session.append", with(session(), {{"entry", entry("user", "x")}}));
  n.put_clock_forward(std::chrono::seconds(50));
  n.ok("session.get", session());
  CHECK(n.ok("session.list", {{"app", "shop"}})["sessions"].size() == 1);
  n.put_clock_forward(std::chrono::seconds(15));
  for (int round = 0; round < 2; ++round) {
    CHECK(n.bad("session.get", session()).code == errc::expired);
    CHECK(n.bad("session.append", with(session(), {{"entry", entry("user", "x")}})).code
          == errc::expired);
    CHECK(n.ok("session.list", {{"app", "shop"}})["sessions"].empty());
    n.restart();
  }
  CHECK(n.ok("session.create", session())["created"] == true);
  CHECK(n.ok("session.get", session())["entries"].empty());
}

TEST_CASE("an application keeps the last entries of its sessions, whole turns") {
  running_node n;
  CHECK(n.ok("app.get_retention", {{"app", "shop"}})["keep_entries"] == 0);
  n.ok("app.set_retention", {{"app", "shop"}, {"keep_entries", 6}});
  CHECK(n.ok("app.get_retention", {{"app", "shop"}})["keep_entries"] == 6);
  n.ok("session.create", session());
  for (int i = 1; i <= 30; ++i)
    n.ok("session.append",
         with(session(), {{"entry", entry(i % 3 == 1 ? "user" : "assistant", std::to_string(i))}}));
  for (int round = 0; round < 2; ++round) {
    CHECK(contents(n.ok("session.get", session()))
          == std::vector<std::string>{"25", "26", "27", "28", "29", "30"});
    n.restart();
  }
  CHECK(n.bad("app.set_retention", {{"app", "shop"}, {"keep_entries", -1}}).field
        == "keep_entries");
}

// -- fork --

TEST_CASE("a fork shares the past and nothing else") {
  running_node n;
  fill(n, 6);
  n.ok("session.update_state", with(session(), {{"state", {{"k", 1}}}}));
  const auto forked = n.ok("session.fork", with(session(), {{"new_session", "f"}}));
  CHECK(forked["session"] == "f");
  CHECK(forked["source"] == "s");
  CHECK(forked["at"] == 8);
  n.ok("session.append", with(session("f"), {{"entry", entry("user", "fork")}}));
  n.ok("session.append", with(session(), {{"entry", entry("user", "original")}}));
  n.ok("session.update_state", with(session(), {{"state", {{"k", 2}}}}));
  for (int round = 0; round < 2; ++round) {
    auto of_fork = contents(n.ok("session.get", session("f")));
    auto of_original = contents(n.ok("session.get", session()));
    CHECK(of_fork == std::vector<std::string>{"1", "2", "3", "4", "5", "6", "fork"});
    CHECK(of_original == std::vector<std::string>{"1", "2", "3", "4", "5", "6", "original"});
    CHECK(n.ok("session.get", session("f"))["state"]["k"] == 1);
    CHECK(n.ok("session.get", session("f"))["forked_from"]["session"] == "s");
    n.restart();
  }
  CHECK(n.ok("session.append",
             with(session("f"), {{"entry", entry("user", "x", "e1")}}))["entries"][0]["duplicate"]
        == true);
  n.ok("session.delete", session());
  CHECK(contents(n.ok("session.get", session("f"))).size() == 7);
}

TEST_CASE("a fork begins at any version of the present life") {
  running_node n;
  fill(n, 6);
  n.ok("session.fork", with(session(), {{"new_session", "f"}, {"at", 4}}));
  CHECK(contents(n.ok("session.get", session("f"))) == std::vector<std::string>{"1", "2", "3"});
  CHECK(n.bad("session.fork", with(session(), {{"new_session", "g"}, {"at", 99}})).field == "at");
  CHECK(n.bad("session.fork", with(session(), {{"new_session", "g"}, {"at", 0}})).field == "at");
  CHECK(n.bad("session.fork", with(session(), {{"new_session", "f"}})).code
        == errc::already_exists);
  CHECK(n.bad("session.fork", with(session(), {{"new_session", "s"}})).field == "new_session");
  CHECK(n.bad("session.fork", session("none")).code == errc::not_found);
  CHECK(n.bad("session.fork", with(session(), {{"expected_version", 1}})).field
        == "expected_version");
}

TEST_CASE("a fork of a fork may begin in the past that both share with the first") {
  running_node n;
  fill(n, 6);
  n.ok("session.fork", with(session(), {{"new_session", "f"}, {"at", 6}}));
  n.ok("session.append", with(session("f"), {{"entry", entry("user", "fork")}}));
  const auto early =
    n.ok("session.fork", with(session("f"), {{"new_session", "g"}, {"at", 4}}));
  CHECK(early["source"] == "f");
  CHECK(early["at"] == 4);
  // Through two of them, too.
  n.ok("session.fork", with(session("f"), {{"new_session", "h"}}));
  n.ok("session.append", with(session("h"), {{"entry", entry("user", "fork of fork")}}));
  n.ok("session.fork", with(session("h"), {{"new_session", "i"}, {"at", 3}}));
  n.ok("session.append", with(session("g"), {{"entry", entry("user", "early")}}));
  const auto as_expected = [&] {
    CHECK(contents(n.ok("session.get", session("g")))
          == std::vector<std::string>{"1", "2", "3", "early"});
    CHECK(contents(n.ok("session.get", session("i"))) == std::vector<std::string>{"1", "2"});
  };
  as_expected();
  // What they begin with is kept for them, whoever else goes.
  for (const auto* gone : {"f", "h", "s"})
    n.ok("session.delete", session(gone));
  as_expected();
  n.restart();
  as_expected();
}

TEST_CASE("a repeated fork finds its session again, though the original went on") {
  running_node n;
  fill(n, 3);
  const auto request = with(session(), {{"command_id", "c1"}});
  auto first = n.ok("session.fork", request);
  n.ok("session.append", with(session(), {{"entry", entry("user", "later")}}));
  n.restart();
  auto again = n.ok("session.fork", request);
  CHECK(again["duplicate"] == true);
  again["duplicate"] = false;
  CHECK(again == first);
  CHECK(n.ok("session.list", {{"app", "shop"}})["sessions"].size() == 2);
}

// -- contexts and tracks --

TEST_CASE("context items") {
  running_node n;
  n.ok("session.create", session());
  const auto made =
    n.ok("context.add",
         with(session(), {{"type", "system"}, {"content", "be kind"}, {"command_id", "c1"}}));
  CHECK(made["id"].get<std::string>().size() == 36);
  CHECK(
    n.ok("context.add",
         with(session(), {{"type", "system"}, {"content", "be kind"}, {"command_id", "c1"}}))["id"]
    == made["id"]);
  n.ok("context.add", with(session(), {{"id", "f"}, {"type", "file"}, {"content", {{"a", {1}}}}}));
  n.ok("context.add", with(session(), {{"id", "f"}, {"type", "file"}, {"content", nullptr}}));
  for (int round = 0; round < 2; ++round) {
    const auto all = n.ok("context.list", session())["contexts"];
    REQUIRE(all.size() == 2);
    CHECK(all[0]["content"] == "be kind");
    CHECK(all[1]["id"] == "f");
    CHECK(all[1]["content"] == nullptr);
    n.restart();
  }
  CHECK(n.ok("context.list", with(session(), {{"type", "file"}}))["contexts"].size() == 1);
  n.ok("context.remove", with(session(), {{"id", "f"}}));
  n.ok("context.remove", with(session(), {{"id", "f"}}));
  CHECK(n.ok("context.list", session())["contexts"].size() == 1);
  CHECK(n.ok("session.get", session())["entries"].empty());
  CHECK(n.bad("context.add", with(session(), {{"type", ""}, {"content", 1}})).field == "type");
  CHECK(n.bad("context.add", with(session(), {{"type", "x"}})).field == "content");
  CHECK(n.bad("context.add", with(session("none"), {{"type", "x"}, {"content", 1}})).code
        == errc::not_found);
}

TEST_CASE("tracks are side logs that are paged") {
  running_node n;
  n.ok("session.create", session());
  json items = json::array();
  for (int i = 0; i < 25; ++i)
    items.push_back({{"n", i}});
  const auto done = n.ok("track.append", with(session(), {{"track", "steps"}, {"items", items}}));
  CHECK(done["versions"].size() == 25);
  n.ok("track.append", with(session(), {{"track", "step"}, {"item", "other"}}));
  std::vector<int> seen;
  json request = with(session(), {{"track", "steps"}, {"limit", 10}});
  for (;;) {
    const auto page = n.ok("track.list", request);
    for (const auto& i : page["items"])
      seen.push_back(i["item"]["n"]);
    if (!page.contains("next_cursor"))
      break;
    request["cursor"] = page["next_cursor"];
    n.restart();
  }
  REQUIRE(seen.size() == 25);
  CHECK(std::is_sorted(seen.begin(), seen.end()));
  CHECK(n.ok("track.list", with(session(), {{"track", "step"}}))["items"].size() == 1);
  CHECK(n.ok("track.list", with(session(), {{"track", "none"}}))["items"].empty());
  CHECK(
    n.bad("track.list", with(session(), {{"track", "step"}, {"cursor", request["cursor"]}})).field
    == "cursor");
  CHECK(n.ok("session.get", session())["entries"].empty());
}

// -- node, tenants, bad requests --

TEST_CASE("about the node") {
  running_node n;
  CHECK(n.ok("node.health", json::object())["status"] == "ok");
  CHECK(n.ok("node.figures", json::object())["figures"].is_object());
  CHECK(n.ok("catalogue.list", json::object())["operations"].size() == api::catalogue().size());
}

TEST_CASE("tenants do not meet") {
  running_node n;
  n.ok("session.create", session());
  const auto elsewhere = with(session(), {{"tenant", "t2"}});
  CHECK(n.bad("session.get", elsewhere).code == errc::not_found);
  n.ok("session.create", elsewhere);
  n.ok("session.append", with(elsewhere, {{"state", {{"app:x", 1}}}}));
  CHECK(n.ok("session.get", session())["state"].empty());
  CHECK(n.ok("session.list", {{"app", "shop"}, {"tenant", "t2"}})["sessions"].size() == 1);
}

TEST_CASE("structured keys are never joined") {
  running_node n;
  n.ok("session.create", {{"app", "a:b"}, {"user", "c"}, {"session", "d"}});
  CHECK(n.bad("session.get", {{"app", "a"}, {"user", "b:c"}, {"session", "d"}}).code
        == errc::not_found);
}

TEST_CASE("bad requests are refused by name, and nothing is written") {
  running_node n;
  n.ok("session.create", session());
  const auto [operation, request, field] = GENERATE(table<std::string, std::string, std::string>({
    {"session.append", R"(not json)", ""},
    {"session.append", R"([])", ""},
    {"session.append", R"({"app":"shop","app":"x"})", ""},
    {"session.append", "{\"app\":\"\xff\"}", ""},
    {"session.append", R"({"app":"shop","user":"ada","session":"s","entrys":[]})", "entrys"},
    {"session.append", R"({"app":"shop","user":"ada","entry":{"role":"user"}})", "session"},
    {"session.append", R"({"app":7,"user":"ada","session":"s","entry":{"role":"user"}})", "app"},
    {"session.append", R"({"app":"","user":"ada","session":"s","entry":{"role":"user"}})", "app"},
    {"session.append", R"({"app":"shop","user":"ada","session":"s","entry":{"role":3}})",
     "entry.role"},
    {"session.append",
     R"({"app":"shop","user":"ada","session":"s","entry":{"role":"user"},"expected_version":-1})",
     "expected_version"},
    {"session.append",
     R"({"app":"shop","user":"ada","session":"s","entry":{"role":"user"},"command_id":""})",
     "command_id"},
    {"session.append",
     R"({"app":"shop","user":"ada","session":"s","entry":{"role":"user"},"tenant":""})", "tenant"},
    {"session.get", R"({"app":"shop","user":"ada","session":"s","last":1e2})", "last"},
    {"session.get", R"({"app":"shop","user":"ada","session":"s","last":9007199254740993})", "last"},
    {"session.gets", R"({})", "operation"},
  }));
  const auto wrong = n.bad_text(operation, request);
  CHECK(wrong.code == errc::invalid);
  if (!field.empty())
    CHECK(wrong.field == field);
  CHECK(n.ok("session.get", session())["version"] == 1);
}

TEST_CASE("a field that is nearly right is named") {
  running_node n;
  const auto wrong = n.bad("session.append", with(session(), {{"entriess", json::array()}}));
  CHECK_THAT(wrong.message, Catch::Matchers::ContainsSubstring("entries"));
}

TEST_CASE("a request over the limit is refused") {
  running_node n;
  n.ok("session.create", session());
  json entries = json::array();
  for (int i = 0; i < 5; ++i)
    entries.push_back(entry("user", std::string(250 * 1024, 'x')));
  CHECK(n.bad("session.append", with(session(), {{"entries", entries}})).code == errc::invalid);
  CHECK(n.ok("session.get", session())["version"] == 1);
}

TEST_CASE("deep JSON is accepted to 64 levels and refused beyond") {
  running_node n;
  n.ok("session.create", session());
  const auto request = [](int depth) {
    return R"({"app":"shop","user":"ada","session":"s","entry":{"role":"user","x":)"
           + std::string(static_cast<std::size_t>(depth), '[') + "1"
           + std::string(static_cast<std::size_t>(depth), ']') + "}}";
  };
  CHECK(n.client().call("session.append", request(62)));
  CHECK(n.bad_text("session.append", request(63)).code == errc::invalid);
  CHECK(n.bad_text("session.append", request(5000)).code == errc::invalid);
}

}  // namespace recalld::test

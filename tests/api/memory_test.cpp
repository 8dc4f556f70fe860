// Memories through the gateway of a real node, on every store that has a disk.

#include "tests/api/running_node.hpp"
#include "tests/storage/subject.hpp"

#include <algorithm>
#include <future>
#include <set>
#include <thread>

namespace recalld::test {

namespace {

using storage::testing::postgres_backend;
using storage::testing::sqlite_backend;

/// A node on a store of the backend, which lives as long.
template <class Backend>
class node_on {
public:
  node_on() : n([this] { return backend_.open(); }) {}
  running_node* operator->() { return &n; }

private:
  Backend backend_;

public:
  running_node n;
};

const json ada{{"app", "shop"}, {"user", "ada"}};

json with(json request, const json& more) {
  request.update(more);
  return request;
}

json of_ada(const json& more) { return with(ada, more); }

template <class Node>
std::string remember(Node& n, const std::string& text, const json& more = json::object()) {
  return n->ok("memory.add", with(of_ada({{"text", text}}), more))["id"];
}

std::vector<std::string> texts(const json& memories) {
  std::vector<std::string> out;
  for (const auto& m : memories)
    out.push_back(m.contains("memory") ? m["memory"]["text"] : m["text"]);
  return out;
}

template <class Node>
std::vector<std::string> found(Node& n, const std::string& query,
                               const json& more = json::object()) {
  return texts(n->ok("memory.search", with(of_ada({{"query", query}}), more))["hits"]);
}

using strings = std::vector<std::string>;

}  // namespace

TEMPLATE_TEST_CASE("a memory is added, read, found at once, changed and deleted", "[memory]",
                   sqlite_backend, postgres_backend) {
  node_on<TestType> n;
  const json source{{"kind", "session"}, {"session", "s1"}, {"entries", {"e1"}}, {"x", 1}};
  const auto made = n->ok("memory.add", of_ada({{"text", "Ada drinks her tea without milk"},
                                                {"kind", "episode"},
                                                {"topics", {"tea"}},
                                                {"event_time", "2026-05-07T18:00:00Z"},
                                                {"participants", {"Ada"}},
                                                {"location", "Kyoto"},
                                                {"importance", 0.75},
                                                {"metadata", {{"cost", 3}}},
                                                {"by", "ben"},
                                                {"source", source}}));
  CHECK(made["created"] == true);
  CHECK(made["version"] == 1);
  CHECK(made["evicted"].empty());
  const std::string id = made["id"];
  CHECK(id.size() == 36);
  CHECK(id[14] == '7');
  CHECK(found(n, "How does Ada like tea?") == strings{"Ada drinks her tea without milk"});

  const auto got = n->ok("memory.get", of_ada({{"id", id}}))["memory"];
  CHECK(got["kind"] == "episode");
  CHECK(got["topics"] == json{"tea"});
  CHECK(got["event_time"] == "2026-05-07T18:00:00.000000Z");
  CHECK(got["participants"] == json{"Ada"});
  CHECK(got["location"] == "Kyoto");
  CHECK(got["importance"] == 0.75);
  CHECK(got["metadata"] == json{{"cost", 3}});
  CHECK(got["source"] == source);
  CHECK(got["by"] == "ben");
  CHECK(got["status"] == "active");
  CHECK(got["created_at"] == made["recorded_at"]);
  const std::string hash = got["hash"];
  CHECK(hash.size() == 64);

  const auto changed = n->ok(
    "memory.update",
    of_ada({{"id", id}, {"text", "Ada drinks coffee"}, {"location", ""}, {"reason", "misheard"}}));
  CHECK(changed["revision"] == 2);
  CHECK(found(n, "tea").empty() == false);  // Still a topic.
  n->ok("memory.update", of_ada({{"id", id}, {"topics", json::array()}, {"event_time", nullptr}}));
  CHECK(found(n, "tea").empty());
  CHECK(found(n, "coffee") == strings{"Ada drinks coffee"});
  const auto after = n->ok("memory.get", of_ada({{"id", id}}))["memory"];
  CHECK(after["revision"] == 3);
  CHECK(after["kind"] == "episode");
  CHECK_FALSE(after.contains("location"));
  CHECK_FALSE(after.contains("event_time"));
  CHECK(after["source"] == source);
  CHECK(after["metadata"] == json{{"cost", 3}});

  n->ok("memory.delete", of_ada({{"id", id}}));
  CHECK(n->ok("memory.delete", of_ada({{"id", id}}))["position"] == 0);
  CHECK(found(n, "coffee").empty());
  CHECK(n->bad("memory.get", of_ada({{"id", id}})).code == errc::not_found);
  CHECK(n->bad("memory.history", of_ada({{"id", id}})).code == errc::not_found);
  CHECK(n->ok("memory.read", ada)["memories"].empty());
}

TEMPLATE_TEST_CASE("the longest ids and the oddest texts are kept, or refused with their field",
                   "[memory]", sqlite_backend, postgres_backend) {
  node_on<TestType> n;
  std::string longest;
  while (longest.size() < 512)
    longest += "\xc3\xbc";  // Two bytes of UTF-8.
  const json whom{{"tenant", longest}, {"app", longest}, {"user", longest}};
  const json said = with(whom, {{"text", "Tea\x01\x7f"}, {"topics", {"\x02"}}});
  const auto id = n->ok("memory.add", said)["id"].template get<std::string>();
  const json due{
    {"tenant", longest}, {"schedule", longest}, {"expression", "@hourly"}, {"kind", "note"}};
  n->ok("schedule.define", due);
  n.n.restart();
  CHECK(n->ok("memory.get", with(whom, {{"id", id}}))["memory"]["text"] == "Tea\x01\x7f");
  CHECK(n->ok("schedule.list", {{"tenant", longest}})["schedules"].size() == 1);
  const std::string nul("a\0b", 3);
  const auto field = [&](const json& more) {
    return n->bad("memory.add", with(of_ada({{"text", "Tea"}}), more)).field;
  };
  CHECK(field({{"text", nul}}) == "text");
  CHECK(field({{"topics", {"a", nul}}}) == "topics[1]");
  CHECK(field({{"location", nul}}) == "location");
  // What is kept as JSON says it in letters.
  n->ok("memory.add", of_ada({{"text", "Tea"}, {"metadata", {{"k", nul}}}}));
  CHECK(found(n, "tea").size() == 1);
}

TEMPLATE_TEST_CASE("the same memory again is the one that exists; an edited one is left alone",
                   "[memory]", sqlite_backend, postgres_backend) {
  node_on<TestType> n;
  const auto id = remember(n, "Ada drinks tea", {{"topics", {"tea"}}});
  const auto again =
    n->ok("memory.add",
          of_ada({{"text", "Ada drinks tea"}, {"topics", {"drinks"}}, {"metadata", {{"a", 1}}}}));
  CHECK(again["created"] == false);
  CHECK(again["id"] == id);
  auto m = n->ok("memory.get", of_ada({{"id", id}}))["memory"];
  CHECK(m["topics"] == json{"drinks"});
  CHECK(m["metadata"] == json{{"a", 1}});
  n->ok("memory.update", of_ada({{"id", id}, {"text", "Ada drinks coffee"}}));
  const auto fresh = remember(n, "Ada drinks tea");
  CHECK(fresh != id);
  CHECK(n->ok("memory.get", of_ada({{"id", id}}))["memory"]["text"] == "Ada drinks coffee");
  CHECK(n->bad("memory.update", of_ada({{"id", fresh}, {"text", "Ada drinks coffee"}})).code
        != errc::invalid);
}

TEST_CASE("a memory that is superseded or invalidated leaves search and stays in history",
          "[memory]") {
  node_on<sqlite_backend> n;
  const auto old = remember(n, "Ada lives in Oslo", {{"source", {{"kind", "user"}}}});
  const auto young = remember(n, "Ada lives in Bergen");
  const auto wrong = remember(n, "Ada lives on the moon");
  n->ok("memory.supersede",
        of_ada({{"id", old}, {"replaced_by", young}, {"reason", "she moved"}, {"by", "ben"}}));
  n->ok("memory.invalidate", of_ada({{"id", wrong}, {"reason", "a joke"}}));
  CHECK(found(n, "Where does Ada live?") == strings{"Ada lives in Bergen"});
  CHECK(texts(n->ok("memory.read", ada)["memories"]) == strings{"Ada lives in Bergen"});
  CHECK(texts(n->ok("memory.read", of_ada({{"status", "superseded"}}))["memories"])
        == strings{"Ada lives in Oslo"});
  CHECK(n->ok("memory.read", of_ada({{"status", "all"}}))["memories"].size() == 3);
  const auto told = n->ok("memory.history", of_ada({{"id", old}}))["revisions"];
  REQUIRE(told.size() == 2);
  CHECK(told[0]["what"] == "added");
  CHECK(told[0]["content"]["text"] == "Ada lives in Oslo");
  CHECK(told[0]["source"] == json{{"kind", "user"}});
  CHECK(told[1]["what"] == "superseded");
  CHECK(told[1]["reason"] == "she moved");
  CHECK(told[1]["by"] == "ben");
  CHECK(n->ok("memory.get", of_ada({{"id", old}}))["memory"]["replaced_by"] == young);

  n->ok("memory.restore", of_ada({{"id", old}}));
  const auto both = found(n, "Where does Ada live?");
  CHECK(std::set<std::string>(both.begin(), both.end())
        == std::set<std::string>{"Ada lives in Bergen", "Ada lives in Oslo"});
  // The order of a fresh start is the same.
  n->restart();
  CHECK(found(n, "Where does Ada live?") == both);
  CHECK(n->bad("memory.supersede", of_ada({{"id", old}, {"replaced_by", "none"}})).field
        == "replaced_by");
  CHECK(n->bad("memory.invalidate", of_ada({{"id", "none"}})).code == errc::not_found);
}

TEMPLATE_TEST_CASE("entries of a session are searched as memories are", "[memory]", sqlite_backend,
                   postgres_backend) {
  node_on<TestType> n;
  const json talk{{"app", "shop"}, {"user", "ada"}, {"session", "s1"}};
  const auto say = [&](const json& where, const std::string& role, const json& content) {
    n->ok("session.append", with(where, {{"entry", {{"role", role}, {"content", content}}}}));
  };
  const auto hits = [&](const json& more) {
    std::vector<std::string> out;
    const auto answer = n->ok("memory.search", with(of_ada({{"session", "s1"}}), more));
    for (const auto& hit : answer["hits"])
      out.push_back(hit.contains("memory") ? "memory: " + std::string(hit["memory"]["text"])
                                           : hit["entry"]["entry"]["content"].dump());
    return out;
  };
  n->ok("session.create", talk);
  say(talk, "user", "Which harbours did we visit?");
  say(talk, "assistant", "Kotor and Bar.");
  say(talk, "user", json::array({{{"type", "text"}, {"text", "The lighthouse was closed"}}}));
  remember(n, "The lighthouse keeper is called Ivo");
  const json entries{{"scope", "entries"}};
  REQUIRE_FALSE(hits(with(entries, {{"query", "lighthouses"}})).empty());
  CHECK(hits(with(entries, {{"query", "lighthouses"}})).front().find("was closed")
        != std::string::npos);
  CHECK(hits(with(entries, {{"query", "type"}})).empty());
  CHECK(hits(with(entries, {{"query", "keeper"}})).empty());
  // The answer is found by its question.
  const auto harbours = hits(with(entries, {{"query", "harbours visited"}}));
  REQUIRE(harbours.size() == 2);
  CHECK(harbours[1] == "\"Kotor and Bar.\"");
  const auto both = hits({{"scope", "both"}, {"query", "lighthouse"}});
  CHECK(std::count(both.begin(), both.end(), "memory: The lighthouse keeper is called Ivo") == 1);
  CHECK(std::count_if(both.begin(), both.end(),
                      [](const auto& hit) { return hit.find("was closed") != std::string::npos; })
        == 1);
  // Page by page the same.
  strings paged;
  json request =
    of_ada({{"session", "s1"}, {"scope", "both"}, {"query", "lighthouse"}, {"limit", 1}});
  for (int pages = 0; pages < 5; ++pages) {
    const auto page = n->ok("memory.search", request);
    for (const auto& hit : page["hits"])
      paged.push_back(hit.contains("memory") ? "memory: " + std::string(hit["memory"]["text"])
                                             : hit["entry"]["entry"]["content"].dump());
    if (!page.contains("next_cursor"))
      break;
    request["cursor"] = page["next_cursor"];
  }
  CHECK(paged == both);
  // What comes later is found at once, after a restart too; a fork has its past, and no more.
  say(talk, "user", "Dolphins followed the ferry");
  CHECK(hits(with(entries, {{"query", "dolphin"}})).front() == "\"Dolphins followed the ferry\"");
  const auto fork = n->ok("session.fork", with(talk, {{"new_session", "s2"}}));
  say(talk, "user", "Only here: pelicans");
  say({{"app", "shop"}, {"user", "ada"}, {"session", "s2"}}, "user", "Only there: herons");
  n->restart();
  const json other{{"scope", "entries"}, {"session", "s2"}};
  CHECK(hits(with(other, {{"query", "dolphin"}})).front() == "\"Dolphins followed the ferry\"");
  CHECK(hits(with(other, {{"query", "herons"}})).front() == "\"Only there: herons\"");
  CHECK(hits(with(other, {{"query", "pelicans"}})).empty());
  CHECK(hits(with(entries, {{"query", "herons"}})).empty());
  // Nothing of a former life.
  n->ok("session.delete", talk);
  CHECK(n->bad("memory.search", with(talk, with(entries, {{"query", "ferry"}}))).code
        == errc::not_found);
  n->ok("session.create", talk);
  CHECK(hits(with(entries, {{"query", "ferry"}})).empty());
  say(talk, "user", "Another ferry");
  CHECK(hits(with(entries, {{"query", "ferry"}})) == strings{"\"Another ferry\""});

  const auto field = [&](const json& more) {
    return n->bad("memory.search", with(of_ada({{"query", "x"}}), more)).field;
  };
  CHECK(field({{"scope", "all"}}) == "scope");
  CHECK(field({{"scope", "entries"}}) == "session");
  CHECK(field({{"scope", "entries"}, {"session", "s1"}, {"principal", "ada"}}) == "principal");
  CHECK(field({{"scope", "both"}, {"session", "s1"}, {"topics", {"a"}}}) == "topics");
  CHECK(field({{"scope", "entries"}, {"session", "s1"}, {"cursor", "x"}}) == "cursor");
}

TEMPLATE_TEST_CASE("searches are filtered, limited and paged", "[memory]", sqlite_backend,
                   postgres_backend) {
  node_on<TestType> n;
  for (int i = 1; i <= 9; ++i)
    remember(n, "Trip number " + std::to_string(i),
             {{"kind", i % 2 == 0 ? "fact" : "episode"},
              {"topics", i < 4 ? json{"north"} : json{"south", "sea"}},
              {"event_time", "2026-05-0" + std::to_string(i) + "T00:00:00Z"},
              {"metadata", {{"cost", i * 10}, {"city", i == 5 ? "Oslo" : "Rome"}}}});
  const auto count = [&](const json& more) { return found(n, "trip", more).size(); };
  CHECK(count(json::object()) == 9);
  CHECK(count({{"topics", {"north"}}}) == 3);
  CHECK(count({{"topics", {"north", "sea"}}}) == 9);
  CHECK(count({{"topics", {"nor"}}}) == 0);
  CHECK(count({{"kind", "fact"}}) == 4);
  CHECK(count({{"since", "2026-05-03T00:00:00Z"}, {"until", "2026-05-05T00:00:00Z"}}) == 3);
  CHECK(count({{"where", {{"field", "cost"}, {"less", 100}}}}) == 9);
  CHECK(count({{"where", {{"field", "cost"}, {"at_least", 80.0}}}}) == 2);
  CHECK(
    count(
      {{"where",
        {{"and",
          {{{"field", "cost"}, {"more", 20}}, {{"not", {{"field", "city"}, {"is", "Rome"}}}}}}}}})
    == 1);
  CHECK(count({{"where", {{"field", "no such"}, {"is", 1}}}}) == 0);
  CHECK(count({{"kind", "fact"}, {"topics", {"north"}}}) == 1);
  CHECK(found(n, "what was number 7", {{"limit", 1}}) == strings{"Trip number 7"});

  // Every page, and nothing twice.
  std::set<std::string> all;
  json request = of_ada({{"query", "trip"}, {"limit", 4}});
  double last = 1;
  std::size_t pages = 0;
  for (;;) {
    const auto page = n->ok("memory.search", request);
    ++pages;
    for (const auto& hit : page["hits"]) {
      CHECK(all.insert(hit["memory"]["id"]).second);
      CHECK(hit["score"] <= last);
      last = hit["score"];
    }
    if (!page.contains("next_cursor"))
      break;
    request["cursor"] = page["next_cursor"];
  }
  CHECK(all.size() == 9);
  CHECK(pages == 3);
  CHECK(n->bad("memory.search", with(request, {{"query", "trips"}})).field == "cursor");
  const auto best = n->ok("memory.search", of_ada({{"query", "number 7"}}))["hits"];
  const double top = best[0]["score"];
  CHECK(found(n, "number 7", {{"min_score", top}}).size() == 1);

  // The list has the same filters.
  const auto listed = n->ok("memory.read", of_ada({{"topics", {"north"}}, {"limit", 2}}));
  CHECK(listed["memories"].size() == 2);
  CHECK(texts(n->ok("memory.read", of_ada({{"topics", {"north"}},
                                           {"limit", 2},
                                           {"cursor", listed["next_cursor"]}}))["memories"])
        == strings{"Trip number 1"});
}

TEST_CASE("whatever a question is made of is text", "[memory]") {
  node_on<sqlite_backend> n;
  remember(n, "100% of the budget_2026 is \"spent\"");
  remember(n, "私は東京でラーメンを食べました");
  remember(n, "Die Straße nach Görlitz");
  remember(n, "Anna AND Ben OR nobody NEAR the lake");
  CHECK(found(n, "100% \"spent\"").size() == 1);
  CHECK(found(n, "budget_2026").size() == 1);
  CHECK(found(n, "東京").size() == 1);
  CHECK(found(n, "STRASSE Gorlitz").size() == 1);
  CHECK(found(n, "near* (Ben) AND -lake ^").size() == 1);
  CHECK(found(n, "%").empty());
  CHECK(found(n, "'; DROP TABLE memories; --").empty());
  CHECK(found(n, "\"").empty());
}

TEST_CASE("owners never see each other's memories", "[memory]") {
  node_on<sqlite_backend> n;
  const auto id = remember(n, "Ada likes tea");
  for (const auto& other :
       {json{{"app", "shop"}, {"user", "bob"}}, json{{"app", "shopa"}, {"user", "da"}},
        json{{"app", "shop"}, {"user", "ada"}, {"tenant", "t2"}}}) {
    CHECK(n->ok("memory.search", with(other, {{"query", "tea"}}))["hits"].empty());
    CHECK(n->ok("memory.read", other)["memories"].empty());
    CHECK(n->bad("memory.get", with(other, {{"id", id}})).code == errc::not_found);
    n->ok("memory.delete", with(other, {{"id", id}}));
    n->ok("memory.clear", other);
  }
  CHECK(found(n, "tea").size() == 1);
}

TEST_CASE("an index is brought up to date by what changed, and is what a fresh one is",
          "[memory]") {
  node_on<sqlite_backend> n;
  strings ids;
  for (int i = 0; i < 40; ++i)
    ids.push_back(remember(n, "Walk " + std::to_string(i) + " by the river",
                           {{"source", {{"session", "s" + std::to_string(i / 10)}}}}));
  const auto ask = [&] {
    return n->ok("memory.search",
                 of_ada({{"query", "Which walk was 13 by the river?"}, {"limit", 100}}));
  };
  CHECK(ask()["hits"].size() == 40);
  n->ok("memory.delete", of_ada({{"id", ids[12]}}));
  n->ok("memory.update", of_ada({{"id", ids[14]}, {"text", "A ride on the hill"}}));
  n->ok("memory.invalidate", of_ada({{"id", ids[20]}}));
  remember(n, "Walk 99 by the river", {{"source", {{"session", "s1"}}}});
  const auto small = ask();
  // The ride is found for its neighbours' sake.
  CHECK(small["hits"].size() == 39);
  n->ok("memory.restore", of_ada({{"id", ids[20]}}));
  const auto whole = ask();
  CHECK(whole["hits"].size() == 40);
  n->restart();
  CHECK(ask()["hits"] == whole["hits"]);
  n->ok("memory.clear", ada);
  CHECK(ask()["hits"].empty());
  remember(n, "Walk 1 by the river");
  CHECK(ask()["hits"].size() == 1);
  CHECK(n->ok("memory.clear", ada)["position"] > 0);
  CHECK(n->ok("memory.clear", ada)["position"] == 0);
}

TEST_CASE("a limit rejects with the numbers or lets the least recent one go", "[memory]") {
  node_on<sqlite_backend> n;
  n->ok("memory.set_limits", of_ada({{"most", 2}}));
  const auto first = remember(n, "one");
  remember(n, "two");
  const auto full = n->bad("memory.add", of_ada({{"text", "three"}}));
  CHECK(full.code == errc::rejected);
  CHECK(json::parse(full.detail) == json{{"memories", 2}, {"most", 2}});
  CHECK(n->ok("memory.add", of_ada({{"text", "one"}}))["created"] == false);
  n->ok("memory.set_limits", of_ada({{"most", 2}, {"when_full", "evict"}}));
  const auto made = n->ok("memory.add", of_ada({{"text", "three"}}));
  CHECK(made["evicted"].size() == 1);
  CHECK(texts(n->ok("memory.read", ada)["memories"]) == strings{"three", "one"});
  CHECK(n->ok("memory.get", of_ada({{"id", first}}))["memory"]["text"] == "one");
  const auto limits = n->ok("memory.limits", ada);
  CHECK(limits["most"] == 2);
  CHECK(limits["when_full"] == "evict");
  CHECK(limits["active"] == 2);
}

TEST_CASE("a repeated write under a command id gets its first answer", "[memory]") {
  node_on<sqlite_backend> n;
  const auto add = of_ada({{"text", "one"}, {"command_id", "c1"}});
  const auto made = n->ok("memory.add", add);
  const std::string id = made["id"];
  const auto update = of_ada({{"id", id}, {"text", "two"}, {"command_id", "c2"}});
  const auto changed = n->ok("memory.update", update);
  for (int round = 0; round < 2; ++round) {
    const auto again = n->ok("memory.add", add);
    CHECK(again["duplicate"] == true);
    CHECK(again["created"] == true);
    CHECK(again["id"] == id);
    const auto repeated = n->ok("memory.update", update);
    CHECK(repeated["duplicate"] == true);
    CHECK(repeated["revision"] == changed["revision"]);
    n->restart();
  }
  CHECK(n->bad("memory.add", of_ada({{"text", "other"}, {"command_id", "c1"}})).code
        == errc::key_reuse);
  n->ok("memory.delete", of_ada({{"id", id}}));
  CHECK(n->ok("memory.update", update)["duplicate"] == true);
  CHECK(n->bad("memory.update", of_ada({{"id", id}, {"text", "three"}})).code == errc::not_found);
}

TEST_CASE("updates of one memory at once lose nothing", "[memory]") {
  node_on<sqlite_backend> n;
  const auto id = remember(n, "one");
  const auto stale = n->bad("memory.update", of_ada({{"id", id}, {"text", "x"}, {"revision", 7}}));
  CHECK(stale.code == errc::conflict);
  auto one = std::async(std::launch::async, [&] {
    return n->client()
      .call("memory.update", of_ada({{"id", id}, {"location", "Oslo"}}).dump())
      .has_value();
  });
  auto two = std::async(std::launch::async, [&] {
    return n->client()
      .call("memory.update", of_ada({{"id", id}, {"topics", {"t"}}}).dump())
      .has_value();
  });
  CHECK(one.get());
  CHECK(two.get());
  const auto m = n->ok("memory.get", of_ada({{"id", id}}))["memory"];
  CHECK(m["location"] == "Oslo");
  CHECK(m["topics"] == json{"t"});
  CHECK(m["revision"] == 3);
}

TEST_CASE("what is wrong with a request about memories is named, and nothing is written",
          "[memory]") {
  node_on<sqlite_backend> n;
  const auto id = remember(n, "one");
  const auto before = n->ok("memory.limits", ada)["version"];
  const auto field = [&](std::string_view operation, const json& more) {
    const auto e = n->bad(operation, of_ada(more));
    CHECK(e.code == errc::invalid);
    return e.field;
  };
  const auto add = [&](json more) { return field("memory.add", with({{"text", "two"}}, more)); };
  CHECK(add({{"text", ""}}) == "text");
  CHECK(add({{"text", " \n"}}) == "text");
  CHECK(add({{"text", std::string(65 * 1024, 'x')}}) == "text");
  CHECK(add({{"topics", {1}}}) == "topics[0]");
  CHECK(add({{"topics", "tea"}}) == "topics");
  CHECK(add({{"topics", {""}}}) == "topics[0]");
  CHECK(add({{"topics", json(std::vector<std::string>(65, "t"))}}) == "topics");
  CHECK(add({{"topics", {std::string(257, 't')}}}) == "topics[0]");
  CHECK(add({{"kind", "dream"}}) == "kind");
  CHECK(add({{"event_time", "yesterday"}}) == "event_time");
  CHECK(add({{"event_time", 5}}) == "event_time");
  CHECK(add({{"importance", "high"}}) == "importance");
  CHECK(add({{"metadata", {1}}}) == "metadata");
  CHECK(add({{"source", {{"kind", "guess"}}}}) == "source.kind");
  CHECK(add({{"source", {{"session", 1}}}}) == "source.session");
  CHECK(add({{"source", {{"entries", "e1"}}}}) == "source.entries");
  CHECK(add({{"by", ""}}) == "by");
  CHECK(add({{"colour", "red"}}) == "colour");
  CHECK(add({{"user", ""}}) == "user");
  CHECK(field("memory.update", {{"id", id}, {"topics", {false}}}) == "topics[0]");
  CHECK(field("memory.update", {{"id", id}, {"revision", 0}}) == "revision");
  CHECK(field("memory.update", {{"id", id}, {"text", ""}}) == "text");
  CHECK(field("memory.set_limits", {{"most", -1}}) == "most");
  CHECK(field("memory.set_limits", {{"most", 1}, {"when_full", "ask"}}) == "when_full");
  CHECK(field("memory.read", {{"limit", -1}}) == "limit");
  CHECK(field("memory.read", {{"status", "gone"}}) == "status");
  CHECK(field("memory.read", {{"cursor", "x"}}) == "cursor");

  const auto search = [&](json more) {
    return field("memory.search", with({{"query", "one"}}, more));
  };
  CHECK(search({{"query", ""}}) == "query");
  CHECK(search({{"query", "  "}}) == "query");
  CHECK(search({{"query", std::string(17 * 1024, 'x')}}) == "query");
  CHECK(search({{"query", std::string(1 << 20, 'x')}}).empty());  // The request is too long.
  CHECK(search({{"query", 1}}) == "query");
  CHECK(search({{"limit", -1}}) == "limit");
  CHECK(search({{"limit", 0}}) == "limit");
  CHECK(search({{"limit", 101}}) == "limit");
  CHECK(search({{"min_score", 2}}) == "min_score");
  CHECK(search({{"min_score", "high"}}) == "min_score");
  CHECK(search({{"since", "2026-05-07T00:00:00Z"}, {"until", "2026-05-06T00:00:00Z"}}) == "until");
  CHECK(search({{"since", "May"}}) == "since");
  CHECK(search({{"where", {{"field", "x"}}}}) == "where");
  CHECK(search({{"where", {{"field", "x"}, {"like", "%"}}}}) == "where.like");
  CHECK(search({{"cursor", "x"}}) == "cursor");
  CHECK(n->bad_text("memory.search", "{\"app\":\"shop\",\"user\":\"ada\",\"query\":\"\xff\"}").code
        == errc::invalid);
  CHECK(n->ok("memory.limits", ada)["version"] == before);
  CHECK(n->bad("memory.update", of_ada({{"id", "none"}, {"text", "x"}})).code == errc::not_found);
}

}  // namespace recalld::test

// Memory collections that are attached to principals and sessions, searched by a real node.

#include "tests/api/running_node.hpp"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

namespace recalld::test {

namespace {

json of(const std::string& user, const json& more = json::object()) {
  json out{{"app", "shop"}, {"user", user}};
  out.update(more);
  return out;
}

void remember(running_node& n, const std::string& user, const std::string& text) {
  n.ok("memory.add", of(user, {{"text", text}}));
}

std::set<std::string> found(running_node& n, const json& more = json::object()) {
  auto request = of("ada", {{"query", "tea"}});
  request.update(more);
  std::set<std::string> texts;
  const auto answer = n.ok("memory.search", request);
  for (const auto& hit : answer["hits"])
    texts.insert(hit["memory"]["text"]);
  return texts;
}

using texts = std::set<std::string>;

}  // namespace

TEST_CASE("a search covers what is attached to a principal, while it is attached", "[collection]") {
  running_node n;
  remember(n, "ada", "Ada likes green tea");
  remember(n, "team", "The team drinks black tea");
  remember(n, "team", "The team runs on Mondays");
  remember(n, "other", "Others spill tea");
  const json ada{{"principal", "ada"}};
  CHECK(n.bad("memory.search", of("ada", {{"query", "tea"}, {"principal", "ada"}})).field
        == "principal");
  n.ok("principal.attach",
       {{"principal", "ada"}, {"collection", "c"}, {"app", "shop"}, {"user", "team"}});
  // The owner's own, attached as well, is searched once.
  n.ok("principal.attach",
       {{"principal", "ada"}, {"collection", "own"}, {"app", "shop"}, {"user", "ada"}});
  const texts both{"Ada likes green tea", "The team drinks black tea"};
  CHECK(found(n, ada) == both);
  CHECK(found(n) == texts{"Ada likes green tea"});
  n.restart();
  CHECK(found(n, ada) == both);
  const auto answer = n.ok("memory.search", of("ada", {{"query", "tea"}, {"principal", "ada"}}));
  REQUIRE(answer["hits"].size() == 2);
  CHECK(answer["hits"][0]["score"] >= answer["hits"][1]["score"]);
  int of_others = 0;
  for (const auto& hit : answer["hits"])
    if (hit.contains("owner")) {
      CHECK(hit["owner"] == of("team"));
      ++of_others;
    }
  CHECK(of_others == 1);
  n.ok("principal.detach", {{"principal", "ada"}, {"collection", "c"}});
  CHECK(found(n, ada) == texts{"Ada likes green tea"});
}

TEST_CASE("a search covers what is attached to a session, while it is attached", "[collection]") {
  running_node n;
  remember(n, "ada", "Ada likes green tea");
  remember(n, "team", "The team drinks black tea");
  const auto in_session = [](const json& more = json::object()) {
    auto out = of("ada", {{"session", "s"}});
    out.update(more);
    return out;
  };
  const json s{{"session", "s"}};
  CHECK(n.bad("memory.search", of("ada", {{"query", "tea"}, {"session", "s"}})).code
        == errc::not_found);
  n.ok("session.create", in_session());
  n.ok("context.add", in_session({{"id", "c"}, {"type", "collection"}, {"content", of("team")}}));
  CHECK(found(n, s) == texts{"Ada likes green tea", "The team drinks black tea"});
  n.ok("context.remove", in_session({{"id", "c"}}));
  CHECK(found(n, s) == texts{"Ada likes green tea"});
  n.ok("context.add", in_session({{"id", "c"}, {"type", "collection"}, {"content", "team"}}));
  const auto answer = n.ok("memory.search", of("ada", {{"query", "tea"}, {"session", "s"}}));
  CHECK(answer["hits"].size() == 1);
  CHECK(answer["note"].get<std::string>().find("'c'") != std::string::npos);
}

TEST_CASE("pages of a search over collections hold every hit once, best first", "[collection]") {
  running_node n;
  for (int i = 0; i < 7; ++i) {
    remember(n, "ada", "Ada had tea number " + std::to_string(i));
    remember(n, "team", "The team had tea number " + std::to_string(10 + i) + " and cake");
  }
  n.ok("principal.attach",
       {{"principal", "ada"}, {"collection", "c"}, {"app", "shop"}, {"user", "team"}});
  auto request = of("ada", {{"query", "tea"}, {"principal", "ada"}, {"limit", 4}});
  texts all;
  std::vector<double> scores;
  for (;;) {
    const auto page = n.ok("memory.search", request);
    for (const auto& hit : page["hits"]) {
      CHECK(all.insert(hit["memory"]["text"]).second);
      scores.push_back(hit["score"]);
    }
    if (!page.contains("next_cursor"))
      break;
    request["cursor"] = page["next_cursor"];
  }
  CHECK(all.size() == 14);
  CHECK(std::is_sorted(scores.rbegin(), scores.rend()));
}

}  // namespace recalld::test

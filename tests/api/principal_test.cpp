// Principals and usage through the gateway of a real node.

#include "tests/api/running_node.hpp"

#include <fstream>
#include <future>
#include <iterator>

namespace recalld::test {

namespace {

json of_ada(const json& more = json::object()) {
  json out{{"principal", "ada"}};
  out.update(more);
  return out;
}

json call_of(const std::string& id, const json& more = json::object()) {
  json out = of_ada({{"call", id}, {"prompt_tokens", 7}, {"completion_tokens", 3}});
  out.update(more);
  return out;
}

/// Whether any file below a directory holds these bytes.
bool readable_below(const std::filesystem::path& place, const std::string& bytes) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(place)) {
    if (!entry.is_regular_file())
      continue;
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string all(std::istreambuf_iterator<char>(in), {});
    if (all.find(bytes) != std::string::npos)
      return true;
  }
  return false;
}

}  // namespace

TEST_CASE("a principal has a record, model sessions and attached collections", "[principal]") {
  running_node n;
  CHECK(n.bad("principal.get", of_ada()).code == errc::not_found);
  n.ok("principal.put", of_ada({{"username", "Ada"},
                                {"admin", true},
                                {"network", "web"},
                                {"topics", {"tea"}},
                                {"metadata", {{"a", 1}}}}));
  n.ok("principal.put_session", of_ada({{"session", "main"},
                                        {"endpoint", "local"},
                                        {"base_url", "http://127.0.0.1:1"},
                                        {"model", "small"},
                                        {"credential", "plaintext-credential"}}));
  n.ok("principal.attach", of_ada({{"collection", "team"}, {"app", "chat"}, {"user", "team"}}));
  n.restart();
  auto got = n.ok("principal.get", of_ada());
  CHECK(got["record"]["username"] == "Ada");
  CHECK(got["record"]["topics"] == json{"tea"});
  REQUIRE(got["sessions"].size() == 1);
  CHECK(got["sessions"][0]["has_credential"] == true);
  CHECK(got.dump().find("plaintext-credential") == std::string::npos);
  CHECK(got["collections"][0]["collection"] == "team");
  CHECK(n.ok("principal.credential", of_ada({{"session", "main"}}))["credential"]
        == "plaintext-credential");
  // A change without a credential keeps it.
  n.ok("principal.put_session", of_ada({{"session", "main"}, {"model", "large"}}));
  CHECK(n.ok("principal.credential", of_ada({{"session", "main"}}))["credential"]
        == "plaintext-credential");
  CHECK_FALSE(readable_below(n.directory(), "plaintext-credential"));

  const auto listed = n.ok("principal.list", json::object())["principals"];
  REQUIRE(listed.size() == 1);
  CHECK(listed[0]["principal"] == "ada");
  CHECK(listed[0]["admin"] == true);
  n.ok("principal.detach", of_ada({{"collection", "team"}}));
  n.ok("principal.drop_session", of_ada({{"session", "main"}}));
  got = n.ok("principal.get", of_ada());
  CHECK(got["sessions"].empty());
  CHECK(got["collections"].empty());
  CHECK(n.bad("principal.credential", of_ada({{"session", "main"}})).code == errc::not_found);
}

TEST_CASE("usage is counted once, also when many tell of it at once", "[principal]") {
  running_node n;
  n.ok("principal.put_session", of_ada({{"session", "main"}, {"model", "small"}}));
  std::vector<std::future<bool>> tellers;
  for (int i = 0; i < 40; ++i)
    tellers.push_back(std::async(std::launch::async, [&, i] {
      const auto request = call_of("c" + std::to_string(i % 20), {{"session", "main"}});
      return n.client().call("usage.record", request.dump()).has_value();
    }));
  for (auto& t : tellers)
    CHECK(t.get());
  n.restart();
  const auto again = n.ok("usage.record", call_of("c3", {{"session", "main"}}));
  CHECK(again["counted"] == false);
  n.ok("usage.record", call_of("d", {{"model", "large"}, {"reasoning_tokens", 5}}));
  const auto usage = n.ok("usage.get", of_ada());
  CHECK(usage["total"]["calls"] == 21);
  CHECK(usage["total"]["total_tokens"] == 210);
  CHECK(usage["last"]["reasoning_tokens"] == 5);
  REQUIRE(usage["sessions"].size() == 1);
  CHECK(usage["sessions"][0]["total"]["calls"] == 20);
  REQUIRE(usage["models"].size() == 2);
  CHECK(usage["models"][0]["model"] == "large");
  CHECK(usage["models"][1]["total"]["prompt_tokens"] == 140);
}

TEST_CASE("usage that is no number or too large is refused", "[principal]") {
  running_node n;
  const auto field = [&](const json& more) {
    return n.bad("usage.record", call_of("c", more)).field;
  };
  CHECK(field({{"prompt_tokens", -1}}) == "prompt_tokens");
  CHECK(field({{"prompt_tokens", 1.5}}) == "prompt_tokens");
  CHECK(field({{"total_tokens", "many"}}) == "total_tokens");
  CHECK(
    n.bad_text("usage.record", R"({"principal":"ada","call":"c","total_tokens":9007199254740993})")
      .field
    == "total_tokens");
  CHECK(field({{"call", ""}}) == "call");
  n.ok("usage.record", call_of("c", {{"total_tokens", 9007199254740992}}));
  CHECK(n.bad("usage.record", call_of("d")).code == errc::rejected);
  CHECK(n.ok("usage.get", of_ada())["total"]["calls"] == 1);
}

TEST_CASE("a purge takes everything, and a dry run tells what", "[principal]") {
  running_node n;
  n.ok("principal.put", of_ada({{"username", "plaintext-name"}}));
  n.ok("principal.put_session", of_ada({{"session", "main"}, {"credential", "k"}}));
  n.ok("usage.record", call_of("plaintext-call"));
  const auto dry = n.ok("principal.purge", of_ada({{"dry_run", true}}));
  CHECK(dry["purged"] == false);
  CHECK(dry["sessions"] == 1);
  CHECK(dry["calls"] == 1);
  CHECK(n.ok("usage.get", of_ada())["total"]["calls"] == 1);
  CHECK(n.ok("principal.purge", of_ada())["purged"] == true);
  CHECK(n.bad("principal.get", of_ada()).code == errc::not_found);
  CHECK(n.ok("principal.list", json::object())["principals"].empty());
  CHECK(n.ok("usage.get", of_ada())["total"]["calls"] == 0);
  CHECK(n.ok("principal.purge", of_ada())["position"] == 0);
}

}  // namespace recalld::test

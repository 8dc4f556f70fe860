// Values that live for a time, through the gateway of a real node.

#include "tests/api/running_node.hpp"
#include "tests/storage/subject.hpp"

#include <future>
#include <thread>

namespace recalld::test {

namespace {

using std::chrono::seconds;
using storage::testing::postgres_backend;
using storage::testing::sqlite_backend;

json value(const std::string& key, const json& more = json::object()) {
  json out{{"app", "shop"}, {"type", "note"}, {"key", key}};
  out.update(more);
  return out;
}

json for_seconds(const std::string& key, const json& what, int ttl_s) {
  return value(key, {{"value", what}, {"ttl_s", ttl_s}});
}

const json all{{"app", "shop"}, {"type", "note"}};

}  // namespace

TEMPLATE_TEST_CASE("a value lives until its time is over, and then is absent everywhere", "[value]",
                   sqlite_backend, postgres_backend) {
  TestType backend;
  running_node n([&] { return backend.open(); });
  const auto set = n.ok("value.set", for_seconds("a", {{"x", 1}}, 60));
  CHECK(set["stored"] == true);
  n.ok("value.set", for_seconds("b", nullptr, 600));
  auto got = n.ok("value.get", value("a"));
  CHECK(got["value"] == json{{"x", 1}});
  const auto created = got["created_at"];
  CHECK(n.ok("value.get", value("b"))["value"].is_null());
  CHECK(n.ok("value.count", all)["count"] == 2);
  CHECK(n.bad("value.get", value("c")).code == errc::not_found);

  n.put_clock_forward(seconds(30));
  n.ok("value.set", for_seconds("a", 2, 60));
  got = n.ok("value.get", value("a"));
  CHECK(got["value"] == 2);
  CHECK(got["created_at"] == created);
  CHECK(got["updated_at"] != created);

  n.put_clock_forward(seconds(61));
  CHECK(n.bad("value.get", value("a")).code == errc::not_found);
  CHECK(n.ok("value.count", all)["count"] == 1);
  const auto listed = n.ok("value.list", all)["values"];
  REQUIRE(listed.size() == 1);
  CHECK(listed[0]["key"] == "b");
  n.restart();
  CHECK(n.bad("value.get", value("a")).code == errc::not_found);
  n.ok("value.set", for_seconds("a", 3, 60));
  CHECK(n.ok("value.get", value("a"))["created_at"] != created);
  n.ok("value.delete", value("a"));
  CHECK(n.ok("value.delete", value("a"))["position"] == 0);
  CHECK(n.bad("value.get", value("a")).code == errc::not_found);
}

TEST_CASE("of many that set an absent value one wins", "[value]") {
  running_node n;
  std::vector<std::future<bool>> racers;
  for (int i = 0; i < 100; ++i)
    racers.push_back(std::async(std::launch::async, [&, i] {
      const auto answer = n.client().call("value.set_if_absent", for_seconds("a", i, 60).dump());
      return answer && json::parse(*answer)["stored"] == true;
    }));
  int won = 0;
  for (auto& r : racers)
    won += r.get();
  CHECK(won == 1);
  n.put_clock_forward(seconds(61));
  CHECK(n.ok("value.set_if_absent", for_seconds("a", "again", 60))["stored"] == true);
}

TEST_CASE("what is over leaves the disk by itself", "[value]") {
  running_node n;
  const auto db = n.directory() / "log" / "recalld.db";
  n.ok("value.set", for_seconds("a", "plaintext-that-goes", 5));
  n.ok("value.set", for_seconds("b", "plaintext-that-is-replaced", 500));
  n.ok("value.set", for_seconds("b", "plaintext-that-stays", 500));
  n.put_clock_forward(seconds(6));
  const auto rows = [&] { return n.ok("value.list", all)["values"].size(); };
  CHECK(rows() == 1);
  // The timers look once a second.
  auto store = [&] {
    auto opened = storage::open_sqlite({.directory = n.directory() / "log", .read_only = true});
    REQUIRE(opened);
    return std::move(*opened);
  }();
  auto reader = store->open_reader();
  REQUIRE(reader);
  std::string log;
  for (int i = 0; i < 100; ++i) {
    log.clear();
    for (const auto& f : (*reader)->scan(0, 0, 1000)->facts)
      log += f.payload.view();
    if (log.find("that-goes") == std::string::npos)
      break;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  CHECK(log.find("that-goes") == std::string::npos);
  CHECK(log.find("that-is-replaced") == std::string::npos);
  CHECK(log.find("that-stays") != std::string::npos);
}

TEST_CASE("values are listed page by page; types, applications and tenants are apart", "[value]") {
  running_node n;
  for (int i = 0; i < 25; ++i)
    n.ok("value.set", for_seconds("k" + std::to_string(100 + i), i, 60));
  n.ok("value.set",
       {{"app", "shop"}, {"type", "other"}, {"key", "k"}, {"value", 1}, {"ttl_s", 60}});
  n.ok("value.set", value("k", {{"tenant", "t2"}, {"value", 1}, {"ttl_s", 60}}));
  json request = all;
  request["limit"] = 10;
  std::vector<std::string> keys;
  for (;;) {
    const auto page = n.ok("value.list", request);
    for (const auto& v : page["values"])
      keys.push_back(v["key"]);
    if (!page.contains("next_cursor"))
      break;
    request["cursor"] = page["next_cursor"];
  }
  CHECK(keys.size() == 25);
  CHECK(std::is_sorted(keys.begin(), keys.end()));
  CHECK(n.ok("value.count", all)["count"] == 25);
}

TEST_CASE("what is wrong with a request about values is named", "[value]") {
  running_node n;
  const auto field = [&](const json& request) {
    const auto e = n.bad("value.set", request);
    CHECK(e.code == errc::invalid);
    return e.field;
  };
  CHECK(field(for_seconds("a", 1, 0)) == "ttl_s");
  CHECK(field(for_seconds("a", 1, -5)) == "ttl_s");
  CHECK(field(value("a", {{"value", 1}, {"ttl_s", 1.5}})) == "ttl_s");
  CHECK(field(value("a", {{"value", 1}})) == "ttl_s");
  CHECK(field(value("a", {{"ttl_s", 5}})) == "value");
  CHECK(field(for_seconds("", 1, 5)) == "key");
  CHECK(field(value("a", {{"value", 1}, {"ttl_s", 5}, {"type", ""}})) == "type");
  CHECK(field(for_seconds("a", std::string(257 * 1024, 'x'), 5)) == "value");
  CHECK(n.bad("value.list", {{"app", "shop"}, {"type", "note"}, {"cursor", "x"}}).field
        == "cursor");
  CHECK(n.ok("value.count", all)["count"] == 0);
}

}  // namespace recalld::test

#include "actors/node.hpp"
#include "api/catalogue.hpp"
#include "storage/model_store.hpp"
#include "tests/actors/stage.hpp"
#include "tests/catch.hpp"

#include <atomic>
#include <thread>

// A node as it is in production: threads, real time, the real order of its end.

namespace recalld::tests {

namespace {

answer call(caf::actor_system& system, const actors::gateway_handle& gateway,
            const std::string& operation, const json& request) {
  caf::scoped_actor self{system};
  answer out{static_cast<std::uint16_t>(errc::unavailable), {}};
  self
    ->request(gateway, std::chrono::seconds(30), actors::protocol_version, operation,
              request.dump())
    .receive(
      [&](std::uint16_t status, const std::string& body) {
        out = {status, json::parse(body)};
      },
      [](const caf::error&) {});
  return out;
}

actors::node_options options_on(std::shared_ptr<storage::model_disk> disk) {
  actors::node_options o;
  o.store = storage::open_model(std::move(disk));
  o.operations = api::catalogue();
  return o;
}

}  // namespace

TEST_CASE("many threads write, and every acknowledged write is in the log once", "[node]") {
  const auto disk = storage::make_model_disk();
  constexpr int threads = 6, each = 60;
  std::atomic<int> acknowledged{0}, refused{0};
  {
    caf::actor_system_config config;
    caf::actor_system system{config};
    std::string why;
    auto options = options_on(disk);
    options.limits.tail_entries = 4;
    options.on_fatal = [&](const std::string& w) { why = w; };
    auto node = actors::node::start(system, std::move(options)).value();
    for (const auto* name : {"s0", "s1"})
      REQUIRE(call(system, node->gateway(), "session.create", session_of(name)).ok());
    std::vector<std::thread> all;
    for (int t = 0; t < threads; ++t)
      all.emplace_back([&, t] {
        for (int i = 0; i < each; ++i) {
          const auto session = "s" + std::to_string(i % 2);
          const auto id = std::to_string(t) + "-" + std::to_string(i);
          const auto a = call(
            system, node->gateway(), "session.append",
            with(session_of(session), {{"entry", entry_of(id)}, {"state", {{"app:" + id, i}}}}));
          (a.ok() ? acknowledged : refused)++;
          call(system, node->gateway(), "session.get", with(session_of(session), {{"last", 3}}));
        }
      });
    for (auto& t : all)
      t.join();
    node->stop();
    CHECK(why.empty());
  }
  CHECK(refused == 0);
  stage on(storage::open_model(disk));
  CHECK(on.log().size() == static_cast<std::size_t>(2 + 2 * acknowledged));
  for (const auto* name : {"s0", "s1"}) {
    const auto got = on.call("session.entries", with(session_of(name), {{"last", 1'000}}));
    CHECK(got.body.at("entries").size() == static_cast<std::size_t>(threads * each / 2));
  }
  CHECK(on.call("app.list_state", json{{"app", "a"}}).body.at("state").size()
        == static_cast<std::size_t>(threads * each));
}

TEST_CASE("who stops a node gets every accepted write answered", "[node]") {
  const auto disk = storage::make_model_disk();
  std::atomic<int> acknowledged{0};
  {
    caf::actor_system_config config;
    caf::actor_system system{config};
    auto node = actors::node::start(system, options_on(disk)).value();
    const auto gateway = node->gateway();
    REQUIRE(call(system, gateway, "session.create", session_of("s")).ok());
    std::atomic<int> asked{0};
    std::vector<std::thread> all;
    for (int t = 0; t < 4; ++t)
      all.emplace_back([&, t, gateway] {
        for (int i = 0;; ++i) {
          ++asked;
          const auto id = std::to_string(t) + "-" + std::to_string(i);
          if (!call(system, gateway, "session.append",
                    with(session_of("s"), {{"entry", entry_of(id)}}))
                 .ok())
            break;
          ++acknowledged;
        }
      });
    while (asked < 200)
      std::this_thread::yield();
    const auto began = std::chrono::steady_clock::now();
    std::thread stopper([&] { node->stop(); });
    for (auto& t : all)
      t.join();
    stopper.join();
    CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(10));
  }
  stage on(storage::open_model(disk));
  CHECK(on.log().size() == static_cast<std::size_t>(1 + acknowledged));
}

TEST_CASE("a node without TLS listens on loopback only", "[node]") {
  caf::actor_system_config config;
  caf::actor_system system{config};
  auto node = actors::node::start(system, options_on(storage::make_model_disk())).value();
  CHECK(node->publish("0.0.0.0", 0, false).error().field == "address");
  CHECK(node->publish("127.0.0.1", 0, false).error().code == errc::invalid);
}

TEST_CASE("a node that can be started and stopped at once leaves nothing behind", "[node]") {
  const auto disk = storage::make_model_disk();
  for (int i = 0; i < 10; ++i) {
    caf::actor_system_config config;
    caf::actor_system system{config};
    auto node = actors::node::start(system, options_on(disk)).value();
    if (i % 2 == 0)
      node->stop();
  }
  CHECK(disk->log.epoch == 10);
}

}  // namespace recalld::tests

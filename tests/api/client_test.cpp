// How a client repeats, gives up and ends, over a gateway that does as it is told.

#include "api/client.hpp"

#include "actors/gateway.hpp"
#include "api/courier.hpp"
#include "api/tls.hpp"
#include "tests/api/scripted_gateway.hpp"
#include "tests/catch.hpp"

#include <nlohmann/json.hpp>

#include <atomic>
#include <future>
#include <set>

namespace recalld::test {

using namespace std::chrono_literals;

namespace {

struct stage {
  api::system_config config{2};
  caf::actor_system system{config};
  std::shared_ptr<script> played = std::make_shared<script>();
  actors::gateway_handle gateway;

  explicit stage(decltype(script::play) play) {
    played->play = std::move(play);
    gateway = system.spawn(scripted_gateway, played);
  }
  ~stage() { end(); }
  void end() { caf::anon_send_exit(gateway, caf::exit_reason::user_shutdown); }
};

script::answer good(const std::string& json = "{}") { return {{0, json}}; }
script::answer bad(error e) { return {{static_cast<std::uint16_t>(e.code), actors::render(e)}}; }

std::string command_id_of(const std::string& request) {
  return nlohmann::json::parse(request).at("command_id");
}

/// One call through a courier of its own, with little patience.
result<std::string> call_once(stage& s, bool writes, std::chrono::milliseconds timeout) {
  const api::patience soon{50ms, 5ms, 20ms, 5};
  auto courier = s.system.spawn<api::courier>(s.gateway, soon);
  std::promise<result<std::string>> promise;
  auto answered = promise.get_future();
  caf::anon_send(courier, api::post{std::make_shared<api::outgoing>(
                            "op", "{}", writes, timeout,
                            [&](result<std::string> r) { promise.set_value(std::move(r)); },
                            std::make_shared<std::atomic<std::size_t>>(0))});
  auto answer = answered.get();
  caf::anon_send_exit(courier, caf::exit_reason::user_shutdown);
  return answer;
}

}  // namespace

TEST_CASE("a write is repeated under one command id until it is taken") {
  stage s([](std::size_t n, auto&, auto&) {
    return n < 4 ? bad({errc::overloaded, "busy", {}, 0, 1}) : good(R"({"version":7})");
  });
  client c(s.system, s.gateway);
  const auto done = c.update_state({"a", "u", "s"}, R"({"k":1})");
  REQUIRE(done);
  CHECK(done->version == 7);
  const auto seen = s.played->seen();
  REQUIRE(seen.size() == 4);
  CHECK(std::set(seen.begin(), seen.end()).size() == 1);
  CHECK(command_id_of(seen[0]).size() == 36);
}

TEST_CASE("two writes have two command ids, a read has none, a given one is used") {
  stage s([](auto, auto&, auto&) { return good(); });
  client c(s.system, s.gateway);
  c.call("session.append", "{}");
  c.call("session.append", " { } ");
  c.call("session.get", "{}");
  c.call("session.append", R"({"command_id":"mine"})");
  call_options named;
  named.command_id = "named \"so\"";
  named.tenant = "t";
  named.expected_version = 3;
  c.call("session.append", R"({"app":"a"})", named);
  c.call("some.newer_operation", R"({"note":"the word command_id in a text"})");
  const auto seen = s.played->seen();
  CHECK(command_id_of(seen.at(0)) != command_id_of(seen.at(1)));
  CHECK(seen.at(2) == "{}");
  CHECK(seen.at(3) == R"({"command_id":"mine"})");
  CHECK(nlohmann::json::parse(seen.at(4))
        == nlohmann::json{
          {"command_id", "named \"so\""}, {"tenant", "t"}, {"expected_version", 3}, {"app", "a"}});
  CHECK(nlohmann::json::parse(seen.at(5)).contains("command_id"));
}

TEST_CASE("a definite refusal is not repeated") {
  for (auto code :
       {errc::invalid, errc::not_found, errc::already_exists, errc::conflict, errc::key_reuse,
        errc::rejected, errc::closed, errc::expired, errc::forbidden, errc::corrupt}) {
    error e{code, "no", "field"};
    if (code == errc::conflict)
      e.current_version = 9;
    stage s([&](auto, auto&, auto&) { return bad(e); });
    client c(s.system, s.gateway);
    const auto done = c.call("session.append", "{}");
    REQUIRE_FALSE(done);
    CHECK(done.error() == e);
    CHECK(s.played->seen().size() == 1);
  }
}

TEST_CASE("what nobody answers is asked again, and in the end told as it is") {
  stage s([](auto, auto&, auto&) { return script::answer{}; });
  const auto write = call_once(s, true, 400ms);
  REQUIRE_FALSE(write);
  CHECK(write.error().code == errc::outcome_unknown);
  const auto asked = s.played->seen().size();
  CHECK(asked >= 2);
  CHECK(asked <= 5);
  const auto read = call_once(s, false, 120ms);
  REQUIRE_FALSE(read);
  CHECK(read.error().code == errc::unavailable);
}

TEST_CASE("an answer to a later attempt counts") {
  stage s([](std::size_t n, auto&, auto&) { return n < 3 ? script::answer{} : good("[1]"); });
  CHECK(call_once(s, true, 5s) == "[1]");
}

TEST_CASE("refused all the time, an unanswered attempt is not forgotten") {
  stage s([](std::size_t n, auto&, auto&) {
    return n == 1 ? script::answer{} : bad({errc::overloaded, "busy", {}, 0, 1});
  });
  const auto write = call_once(s, true, 2s);
  REQUIRE_FALSE(write);
  CHECK(write.error().code == errc::outcome_unknown);
  stage t([](auto, auto&, auto&) { return bad({errc::overloaded, "busy", {}, 0, 1}); });
  const auto refused = call_once(t, true, 2s);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::overloaded);
  CHECK(t.played->seen().size() == 5);
}

TEST_CASE("when the node ends, its clients are told at once") {
  stage s([](auto, auto&, auto&) { return script::answer{}; });
  client c(s.system, s.gateway);
  std::promise<result<std::string>> promise;
  c.call_async("session.append", "{}", {}, [&](result<std::string> r) { promise.set_value(r); });
  while (s.played->seen().empty())
    std::this_thread::sleep_for(1ms);
  s.end();
  const auto begun = std::chrono::steady_clock::now();
  auto answered = promise.get_future();
  CHECK(answered.get().error().code == errc::outcome_unknown);
  const auto later = c.call("session.get", "{}");
  REQUIRE_FALSE(later);
  CHECK(later.error().code == errc::unavailable);
  CHECK(std::chrono::steady_clock::now() - begun < 2s);
}

TEST_CASE("a client that goes away answers every call exactly once") {
  stage s([](std::size_t n, auto&, auto&) { return n % 2 == 0 ? good() : script::answer{}; });
  std::atomic<int> answered{0};
  constexpr int calls = 3000;
  {
    client c(s.system, s.gateway);
    for (int i = 0; i < calls; ++i)
      c.call_async("session.append", "{}", {}, [&](const result<std::string>&) { ++answered; });
    auto moved = std::move(c);
  }
  CHECK(answered == calls);
}

TEST_CASE("thousands in flight are all answered") {
  stage s([](auto, auto&, auto&) { return good(); });
  client c(s.system, s.gateway);
  constexpr int calls = 20'000;
  std::atomic<int> answered{0};
  std::promise<void> all;
  for (int i = 0; i < calls; ++i)
    c.call_async("session.get", "{}", {}, [&](const result<std::string>& r) {
      if (r && ++answered == calls)
        all.set_value();
    });
  REQUIRE(all.get_future().wait_for(60s) == std::future_status::ready);
}

TEST_CASE("JSON that would break a request apart is refused before it is sent") {
  stage s([](auto, auto&, auto&) { return good(); });
  client c(s.system, s.gateway);
  CHECK(c.append({"a", "u", "s"}, R"({"role":"user"},"state":{"x":1})").error().field == "entries");
  CHECK(c.append({"a", "u", "s"}, "").error().field == "entries");
  CHECK(c.update_state({"a", "u", "s"}, "{").error().field == "state");
  CHECK(c.get({"a", "u", "s"}, "[]").error().field == "window");
  CHECK(c.create({"a", "u", "s"}, "x").error().field == "state");
  CHECK(s.played->seen().empty());
}

TEST_CASE("nobody at the other end is said so in time") {
  api::system_config config{2};
  config.use_plain_network();
  caf::actor_system system{config};
  const auto begun = std::chrono::steady_clock::now();
  const auto none = client::connect(system, "127.0.0.1", 1, false, 600ms);
  REQUIRE_FALSE(none);
  CHECK(none.error().code == errc::unavailable);
  CHECK_THAT(none.error().message, Catch::Matchers::ContainsSubstring("127.0.0.1:1"));
  CHECK(std::chrono::steady_clock::now() - begun < 5s);
}

TEST_CASE("a system without its network modules is told apart from a missing node") {
  api::system_config config{2};
  caf::actor_system system{config};
  CHECK(client::connect(system, "127.0.0.1", 1, true).error().code == errc::invalid);
  CHECK(client::connect(system, "127.0.0.1", 1, false).error().code == errc::invalid);
}

}  // namespace recalld::test

#include "providers/http_client.hpp"

#include <chrono>
#include <functional>
#include <thread>

#include "tests/catch.hpp"
#include "tests/http_server.hpp"

/// Against a server on real sockets that does what a test tells it.
namespace recalld::providers {

using Catch::Matchers::ContainsSubstring;
using tests::http_reply;
using tests::http_request;
using tests::http_server;

namespace {

constexpr auto secret = "sk-very-secret";
const headers with_key{{"Authorization", std::string("Bearer ") + secret}};

/// Short enough for tests.
limits quick() {
  limits l;
  l.connect_ms = 1'000;
  l.total_ms = 400;
  l.tries = 3;
  l.pause_ms = 20;
  return l;
}

http_reply status(int code, std::string more = {}) {
  http_reply r;
  r.status = code;
  r.body = R"({"error":"no"})";
  r.headers = std::move(more);
  return r;
}

/// Posts, and checks that no error ever holds what is secret.
result<answer> post(const http_server& server, const limits& l = quick()) {
  auto got = post_json(server.url("/v1/x"), with_key, R"({"question":"private"})", l);
  if (!got) {
    CHECK_THAT(got.error().message + got.error().detail, !ContainsSubstring(secret));
    CHECK_THAT(got.error().message + got.error().detail, !ContainsSubstring("private"));
  }
  return got;
}

std::int64_t ms_of(const std::function<void()>& act) {
  const auto begun = std::chrono::steady_clock::now();
  act();
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now()
                                                               - begun)
    .count();
}

}  // namespace

TEST_CASE("a body goes out and an answer comes back", "[http]") {
  http_server server([](const http_request&, std::size_t) {
    return http_reply{200, R"({"a":1})"};
  });
  const auto got = post(server);
  REQUIRE(got);
  CHECK(got->status == 200);
  CHECK(got->body == R"({"a":1})");
  CHECK(got->tries == 1);
  REQUIRE(server.requests().size() == 1);
  const auto sent = server.requests().front();
  CHECK_THAT(sent.head, Catch::Matchers::StartsWith("POST /v1/x HTTP/1.1\r\n"));
  CHECK_THAT(sent.head, ContainsSubstring("Authorization: Bearer sk-very-secret\r\n"));
  CHECK_THAT(sent.head, ContainsSubstring("Content-Type: application/json\r\n"));
  CHECK(sent.body == R"({"question":"private"})");
}

TEST_CASE("given a server that is busy, then it is asked again as late as it says", "[http]") {
  http_server server([](const http_request&, std::size_t n) {
    return n == 0 ? status(429, "Retry-After: 1\r\n") : http_reply{};
  });
  result<answer> got;
  CHECK(ms_of([&] { got = post(server); }) >= 1'000);
  REQUIRE(got);
  CHECK(got->tries == 2);
}

TEST_CASE("given a server that stays busy, then the caller hears it", "[http]") {
  http_server server([](const http_request&, std::size_t) { return status(429); });
  const auto got = post(server);
  REQUIRE_FALSE(got);
  CHECK(got.error().code == errc::overloaded);
  CHECK(got.error().detail == R"({"cause":"status","status":429})");
  CHECK(server.requests().size() == 3);
}

TEST_CASE("a server that wants more patience than there is, is not waited for", "[http]") {
  http_server server(
    [](const http_request&, std::size_t) { return status(429, "Retry-After: 3600\r\n"); });
  const auto got = post(server);
  REQUIRE_FALSE(got);
  CHECK(got.error().code == errc::overloaded);
  CHECK(got.error().retry_after_ms == 3'600'000);
  CHECK(server.requests().size() == 1);
}

TEST_CASE("a server's own failure is tried again, a refusal is not", "[http]") {
  http_server failing(
    [](const http_request&, std::size_t n) { return n < 2 ? status(500) : http_reply{}; });
  const auto got = post(failing);
  REQUIRE(got);
  CHECK(got->tries == 3);

  const std::pair<int, errc> refusals[] = {{400, errc::rejected},
                                           {401, errc::forbidden},
                                           {403, errc::forbidden},
                                           {404, errc::rejected},
                                           {302, errc::rejected}};
  for (const auto& [code, expected] : refusals) {
    http_server refusing([code = code](const http_request&, std::size_t) {
      return status(code, "Location: http://127.0.0.1:1/\r\n");
    });
    const auto refused = post(refusing);
    REQUIRE_FALSE(refused);
    CHECK(to_string(refused.error().code) == to_string(expected));
    CHECK_THAT(refused.error().message, ContainsSubstring(R"({"error":"no"})"));
    CHECK(refusing.requests().size() == 1);
  }
  http_server broken([](const http_request&, std::size_t) { return status(503); });
  const auto late = post(broken);
  REQUIRE_FALSE(late);
  CHECK(late.error().code == errc::unavailable);
  CHECK(broken.requests().size() == 3);
}

TEST_CASE("slow, cut, garbled and endless answers are typed errors", "[http]") {
  const auto cause_of = [](http_reply reply, errc code, limits l = quick()) {
    http_server server([&](const http_request&, std::size_t) { return reply; });
    const auto got = post(server, l);
    REQUIRE_FALSE(got);
    CHECK(to_string(got.error().code) == to_string(code));
    CHECK(server.requests().size() == 1);
    return got.error().detail;
  };
  http_reply late;
  late.delay_ms = 3'000;
  CHECK(cause_of(late, errc::unavailable) == R"({"cause":"timeout"})");
  http_reply trickling;
  trickling.body = std::string(1'000, 'x');
  trickling.trickle_ms = 20;
  CHECK(cause_of(trickling, errc::unavailable) == R"({"cause":"timeout"})");
  http_reply cut;
  cut.body = std::string(1'000, 'x');
  cut.cut = true;
  CHECK(cause_of(cut, errc::unavailable) == R"({"cause":"cut"})");
  http_reply garbage;
  garbage.raw = "\x16\x03\x01 this is not HTTP\r\n\r\n";
  CHECK(cause_of(garbage, errc::corrupt) == R"({"cause":"garbage"})");
  http_reply large;
  large.body = std::string(100'000, 'x');
  auto small = quick();
  small.answer_bytes_max = 99'999;
  CHECK(cause_of(large, errc::corrupt, small) == R"({"cause":"too_large"})");
}

TEST_CASE("nobody there is tried again and then said", "[http]") {
  const auto url = "http://127.0.0.1:" + std::to_string(tests::unused_port()) + "/";
  result<answer> got;
  CHECK(ms_of([&] { got = post_json(url, {}, "{}", quick()); }) >= 20 + 40);
  REQUIRE_FALSE(got);
  CHECK(got.error().code == errc::unavailable);
  CHECK(got.error().detail == R"({"cause":"connect"})");
}

TEST_CASE("URLs and headers that cannot be meant are refused", "[http]") {
  for (const auto* url : {"", "ftp://x/", "file:///etc/passwd", "http://ada:pw@127.0.0.1/"}) {
    const auto got = post_json(url, {}, "{}", quick());
    REQUIRE_FALSE(got);
    CHECK(got.error().code == errc::invalid);
    CHECK(got.error().field == "url");
  }
  const auto got = post_json("http://127.0.0.1:1/", {{"X", "a\r\nY: b"}}, "{}", quick());
  REQUIRE_FALSE(got);
  CHECK(got.error().field == "headers");
}

TEST_CASE("a request ends soon after it is told to", "[http]") {
  std::atomic<bool> stop{false};
  auto l = quick();
  l.total_ms = 60'000;
  l.stop = &stop;
  http_reply late;
  late.delay_ms = 20'000;
  http_server server([&](const http_request&, std::size_t) { return late; });
  std::thread teller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    stop = true;
  });
  result<answer> got;
  CHECK(ms_of([&] { got = post(server, l); }) < 5'000);
  teller.join();
  REQUIRE_FALSE(got);
  CHECK(got.error().detail == R"({"cause":"stopped"})");
}

TEST_CASE("pauses grow up to a bound, and never undercut what the server asks for", "[http]") {
  limits l;
  l.pause_ms = 500;
  l.pause_ms_max = 3'000;
  CHECK(pause_before_next(l, 1, 0) == 500);
  CHECK(pause_before_next(l, 2, 0) == 1'000);
  CHECK(pause_before_next(l, 3, 0) == 2'000);
  CHECK(pause_before_next(l, 4, 0) == 3'000);
  CHECK(pause_before_next(l, 1'000, 0) == 3'000);
  CHECK(pause_before_next(l, 1, 7'000) == 7'000);
}

}  // namespace recalld::providers

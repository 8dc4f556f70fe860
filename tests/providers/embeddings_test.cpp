#include "providers/embeddings.hpp"

#include "tests/catch.hpp"
#include "tests/http_server.hpp"

/// Vectors by a model behind an endpoint, against a server on real sockets.
namespace recalld::providers {

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using tests::http_reply;
using tests::http_request;
using tests::http_server;

namespace {

using vectors = std::vector<std::vector<float>>;

http_reply with_body(std::string body) {
  http_reply r;
  r.body = std::move(body);
  return r;
}

result<vectors> embed(const http_reply& reply, std::chrono::milliseconds within = 5s) {
  http_server server([&](const http_request&, std::size_t) { return reply; });
  const std::string texts[] = {"one", "two"};
  const std::atomic<bool> stop{false};
  auto got = http_embeddings({server.url(""), "m", "sk-very-secret"}).embed(texts, within, stop);
  CHECK(server.requests().size() == 1);  // Whoever asks decides whether it is asked again.
  if (!got)
    CHECK_THAT(got.error().message, !ContainsSubstring("sk-very-secret"));
  return got;
}

}  // namespace

TEST_CASE("texts are sent and vectors read, by their index", "[embeddings]") {
  http_server server([](const http_request&, std::size_t) {
    return with_body(R"({"object":"list","data":[{"index":1,"embedding":[0.5,-1e-60]},)"
                     R"({"index":0,"embedding":[1,2.5e-1]}],"model":"m-1"})");
  });
  http_embeddings source({server.url("/v1/"), "m", "sk-1"});
  const std::string texts[] = {"a \"b\"", "c"};
  const std::atomic<bool> stop{false};
  const auto got = source.embed(texts, 5s, stop);
  REQUIRE(got);
  CHECK(*got == vectors{{1, 0.25F}, {0.5F, 0}});
  const auto sent = server.requests().at(0);
  CHECK_THAT(sent.head, Catch::Matchers::StartsWith("POST /v1/embeddings "));
  CHECK_THAT(sent.head, ContainsSubstring("Authorization: Bearer sk-1\r\n"));
  CHECK(sent.body == R"({"model":"m","input":["a \"b\"","c"],"encoding_format":"float"})");
}

TEST_CASE("what is no answer with vectors is corrupt", "[embeddings]") {
  for (const auto* body :
       {"", "<html>", "[]", "{}", "null", R"({"data":{}})", R"({"data":[]})", R"({"data":[1]})",
        R"({"data":[{"embedding":[1]},{"embedding":[2]}]})", R"({"data":[{"embedding":[]}]})",
        R"({"data":[{"embedding":["1"]}]})", R"({"data":[{"embedding":[null]}]})",
        R"({"data":[{"embedding":"AAAA"}]})", R"({"data":[{"index":1,"embedding":[1]}]})",
        R"({"data":[{"index":-1,"embedding":[1]}]})", R"({"data":[{"embedding":[1e999]}]})"}) {
    INFO(body);
    const auto got = parse_embeddings(body, 1);
    REQUIRE_FALSE(got);
    CHECK(got.error().code == errc::corrupt);
  }
  CHECK_FALSE(parse_embeddings(R"({"data":[{"embedding":[1]},{"embedding":[1,2]}]})", 2));
  CHECK_FALSE(
    parse_embeddings(R"({"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[2]}]})", 2));
  CHECK(parse_embeddings(R"({"data":[{"embedding":[1]}]})", 1));
}

TEST_CASE("an endpoint that fails is told as what it is", "[embeddings]") {
  http_reply reply;
  reply.status = 429;
  CHECK(embed(reply).error().code == errc::overloaded);
  reply.status = 500;
  CHECK(embed(reply).error().code == errc::unavailable);
  reply.status = 401;
  CHECK(embed(reply).error().code == errc::forbidden);
  reply.status = 400;
  CHECK(embed(reply).error().code == errc::rejected);
  CHECK(embed(with_body("garbage")).error().code == errc::corrupt);
  reply = with_body(R"({"data":[{"embedding":[1]},{"embedding":[2]}]})");
  CHECK(embed(reply));
  reply.cut = true;
  CHECK_FALSE(embed(reply));
  reply.cut = false;
  reply.delay_ms = 3'000;
  const auto began = std::chrono::steady_clock::now();
  CHECK(embed(reply, 100ms).error().code == errc::unavailable);
  CHECK(std::chrono::steady_clock::now() - began < 3s);
}

}  // namespace recalld::providers

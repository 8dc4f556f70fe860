#include "providers/chat_completions.hpp"

#include <map>

#include "providers/scribe.hpp"
#include "tests/catch.hpp"
#include "tests/http_server.hpp"

/// A model behind an endpoint, and the worker that asks it, against a server on real sockets.
namespace recalld::providers {

using Catch::Matchers::ContainsSubstring;
using tests::http_reply;
using tests::http_request;
using tests::http_server;

namespace {

constexpr auto good =
  R"({"id":"c","model":"m-1","choices":[{"index":0,"message":{"role":"assistant","content":"They met."},)"
  R"("finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":3}})";

http_reply with_body(std::string body) {
  http_reply r;
  r.body = std::move(body);
  return r;
}

limits quick() {
  limits l;
  l.total_ms = 400;
  l.tries = 2;
  l.pause_ms = 10;
  return l;
}

constexpr auto job =
  R"({"app":"chat","user":"ada","session":"s1","filter_key":"","why":"entries","attempt":1,"fence":3,)"
  R"("previous":{"text":"Before.","through_version":4},"entries":[)"
  R"({"version":5,"entry":{"id":"e1","role":"user","author":"Ada","content":"Hi \"there\""}},)"
  R"({"version":6,"entry":{"id":"e2","role":"tool","content":{"n":1}}}],"through_version":6,"more":false})";

/// The operations of a node, as far as a worker meets them.
struct desk {
  std::vector<std::pair<std::string, std::string>> calls;
  result<std::string> operator()(std::string_view operation, std::string request) {
    calls.emplace_back(operation, request);
    if (operation == "summary.claim")
      return handed++ == 0 ? R"({"version":3,"job":)" + std::string(job) + "}" : R"({"version":0})";
    return std::string("{}");
  }
  int handed = 0;
};

}  // namespace

TEST_CASE("an endpoint's address may be written in any usual way", "[chat]") {
  for (const auto* base : {"http://x", "http://x/", "http://x/v1", "http://x/v1/"})
    CHECK(url_of(base, "chat/completions") == "http://x/v1/chat/completions");
  CHECK(url_of("https://x/openai", "chat/completions") == "https://x/openai/v1/chat/completions");
}

TEST_CASE("a question is asked and the answer read", "[chat]") {
  http_server server([](const http_request&, std::size_t) { return with_body(good); });
  http_client http;
  const auto got = complete(http, {server.url("/v1"), "m", "sk-1"},
                            {{"system", "Be \"short\""}, {"user", "Hi"}}, quick());
  REQUIRE(got);
  CHECK(got->text == "They met.");
  CHECK(got->model == "m-1");
  CHECK(got->prompt_tokens == 12);
  CHECK(got->completion_tokens == 3);
  const auto sent = server.requests().at(0);
  CHECK_THAT(sent.head, Catch::Matchers::StartsWith("POST /v1/chat/completions "));
  CHECK_THAT(sent.head, ContainsSubstring("Authorization: Bearer sk-1\r\n"));
  CHECK(sent.body
        == R"({"model":"m","messages":[{"role":"system","content":"Be \"short\""},)"
           R"({"role":"user","content":"Hi"}]})");
}

TEST_CASE("what is no answer of a model is corrupt", "[chat]") {
  for (const auto* body :
       {"", "<html>", "[]", "{}", "null", R"({"choices":[]})", R"({"choices":{}})",
        R"({"choices":[1]})", R"({"choices":[{"message":null}]})",
        R"({"choices":[{"message":{"content":null}}]})",
        R"({"choices":[{"message":{"content":" \n"}}]})", "{\"choices\":[{\"message\""}) {
    INFO(body);
    const auto got = parse_completions(body);
    REQUIRE_FALSE(got);
    CHECK(got.error().code == errc::corrupt);
    CHECK(got.error().detail == R"({"cause":"garbage"})");
  }
  const auto cut =
    parse_completions(R"({"choices":[{"message":{"content":"The"},"finish_reason":"length"}]})");
  REQUIRE_FALSE(cut);
  CHECK(cut.error().detail == R"({"cause":"length"})");
}

TEST_CASE("a job is put to the model with the summary so far", "[chat][scribe]") {
  const auto asked = prompt_for(job);
  REQUIRE(asked);
  REQUIRE(asked->size() == 2);
  CHECK(asked->at(0).role == "system");
  CHECK(asked->at(1).content
        == "The summary so far:\nBefore.\n\nThe entries that came after it:\n"
           "user (Ada): Hi \"there\"\ntool: {\"n\":1}\n");
  CHECK_FALSE(prompt_for(R"({"entries":[7]})"));
}

TEST_CASE("a worker claims, asks and stores", "[scribe]") {
  http_server server([](const http_request&, std::size_t) { return with_body(good); });
  desk at;
  scribe_options o;
  o.endpoint = {server.url(""), "m", "sk-1"};
  o.limits = quick();
  scribe worker(o, std::ref(at));
  const auto round = worker.work_once();
  REQUIRE(round);
  CHECK(round->stored);
  CHECK(round->job == "chat/ada/s1");
  REQUIRE(at.calls.size() == 2);
  CHECK(at.calls[1].first == "summary.store");
  CHECK(
    at.calls[1].second
    == R"({"tenant":"default","app":"chat","user":"ada","session":"s1","filter_key":"","fence":3,)"
       R"("text":"They met.","through_version":6,"made_by":"m-1"})");
  const auto idle = worker.work_once();
  REQUIRE(idle);
  CHECK_FALSE(idle->claimed);
}

TEST_CASE("a worker says what failed, without its key, and when to try again", "[scribe]") {
  http_reply busy;
  busy.status = 429;
  busy.headers = "Retry-After: 600\r\n";
  http_reply wrong;
  wrong.status = 500;
  http_reply late;
  late.delay_ms = 3'000;
  http_reply cut = with_body(good);
  cut.cut = true;
  const std::map<std::string, http_reply> replies{{"overloaded", busy},
                                                  {"unavailable", wrong},
                                                  {"corrupt", with_body("garbage")},
                                                  {"unavailable ", late},
                                                  {"unavailable  ", cut}};
  for (const auto& [code, reply] : replies) {
    http_server server([&](const http_request&, std::size_t) { return reply; });
    desk at;
    scribe_options o;
    o.endpoint = {server.url(""), "m", "sk-very-secret"};
    o.limits = quick();
    const auto round = scribe(o, std::ref(at)).work_once();
    REQUIRE(round);
    CHECK(round->claimed);
    CHECK_FALSE(round->stored);
    REQUIRE(at.calls.size() == 2);
    CHECK(at.calls[1].first == "summary.fail");
    const auto& told = at.calls[1].second;
    CHECK_THAT(told, ContainsSubstring(R"("code":")" + code.substr(0, code.find(' ')) + "\""));
    CHECK_THAT(told, !ContainsSubstring("sk-very-secret"));
    CHECK_THAT(told, ContainsSubstring(code == "overloaded" ? R"("retry_after_s":600)"
                                                            : R"("retry_after_s":0)"));
  }
}

}  // namespace recalld::providers

#include "tests/actors/stage.hpp"
#include "tests/catch.hpp"

namespace recalld::tests {

namespace {

/// Operations that do what no good operation does.
std::shared_ptr<actors::call> kept;

constexpr actors::field any_fields[] = {
  {"text", actors::field_type::string, false, "A text."},
  {"count", actors::field_type::integer, true, "A number."},
  {"anything", actors::field_type::any, false, "Whatever."},
};

constexpr actors::operation odd_operations[] = {
  {"odd.forget",
   "Gives no answer.",
   actors::right::read,
   "GET",
   "/forget",
   false,
   any_fields,
   {},
   [](std::shared_ptr<actors::call>) {}},
  {"odd.twice",
   "Answers twice.",
   actors::right::read,
   "GET",
   "/twice",
   false,
   any_fields,
   {},
   [](std::shared_ptr<actors::call> c) {
     c->answer("{\"n\":1}");
     c->answer("{\"n\":2}");
     c->fail({errc::corrupt, "late"});
   }},
  {"odd.keep",
   "Stays in progress.",
   actors::right::read,
   "GET",
   "/keep",
   false,
   any_fields,
   {},
   [](std::shared_ptr<actors::call> c) { kept = std::move(c); }},
  {"odd.release",
   "Answers what was kept.",
   actors::right::read,
   "GET",
   "/release",
   false,
   any_fields,
   {},
   [](std::shared_ptr<actors::call> c) {
     std::exchange(kept, nullptr)->answer("{}");
     c->answer("{}");
   }},
  {"odd.echo",
   "Answers what it was given.",
   actors::right::read,
   "GET",
   "/echo",
   false,
   any_fields,
   {},
   [](std::shared_ptr<actors::call> c) {
     recalld::json::object_writer w;
     for (auto name : {"text", "count", "anything"})
       if (auto raw = c->raw(name))
         w.raw(name, *raw);
     c->answer(std::move(w).done());
   }},
};

stage_options odd() {
  stage_options o;
  o.operations = odd_operations;
  return o;
}

}  // namespace

TEST_CASE("an unknown operation or field names the nearest one", "[gateway]") {
  stage on(storage::open_model());
  const auto operation = on.call("session.apend", session_of("s"));
  CHECK(operation.code() == errc::invalid);
  CHECK(operation.message().find("session.append") != std::string::npos);
  CHECK(on.call("xyzzyxyzzy", json::object()).message().find("did you mean") == std::string::npos);
  const auto field = on.call("session.append", with(session_of("s"), {{"entires", json::array()}}));
  CHECK(field.code() == errc::invalid);
  CHECK(field.field() == "entires");
  CHECK(field.message().find("\"entries\"") != std::string::npos);
  const auto common = on.call("session.append", with(session_of("s"), {{"comand_id", "c"}}));
  CHECK(common.message().find("\"command_id\"") != std::string::npos);
  CHECK(on.log().empty());
}

TEST_CASE("requests are checked before anybody works on them", "[gateway]") {
  stage on(storage::open_model(), odd());
  const auto refused = [&](const std::string& request, const std::string& field) {
    const auto a = on.call("odd.echo", request);
    INFO(request << " -> " << a.body.dump());
    CHECK(a.code() == errc::invalid);
    CHECK(a.field() == field);
  };
  refused(R"({})", "count");
  refused(R"({"count":null})", "count");
  refused(R"({"count":"1"})", "count");
  refused(R"({"count":1.5})", "count");
  refused(R"({"count":9007199254740993})", "count");
  refused(R"({"count":1,"text":1})", "text");
  refused(R"({"count":1,"count":2})", "");
  refused(R"({"count":1,"tenant":""})", "tenant");
  refused(R"({"count":1,"tenant":")" + std::string(513, 'x') + "\"}", "tenant");
  refused(R"({"count":1,"command_id":""})", "command_id");
  refused(R"({"count":1,"command_id":"a\u0000b"})", "command_id");
  refused(R"({"count":1,"expected_version":-1})", "expected_version");
  refused(R"({"count":1,"expected_version":"1"})", "expected_version");
  refused(R"([])", "");
  refused(R"(1)", "");
  refused("", "");
  refused("{\"count\":1", "");
  refused("{\"count\":1} {}", "");
  refused("{\"count\":1,\"text\":\"\xff\"}", "");
  refused("{\"count\":1,\"anything\":" + std::string(70, '[') + std::string(70, ']') + "}", "");

  CHECK(on.call("odd.echo", std::string(R"({"count":1,"text":null,"anything":null})")).body
        == json{{"count", 1}, {"anything", nullptr}});
}

TEST_CASE("what is too big is refused with the limit", "[gateway]") {
  stage on(storage::open_model());
  const auto a =
    on.call("session.append",
            with(session_of("s"), {{"entry", entry_of("e", "user", std::string(1 << 20, 'x'))}}));
  CHECK(a.code() == errc::invalid);
  CHECK(a.message().find("1048576") != std::string::npos);
  CHECK(on.log().empty());
}

TEST_CASE("another protocol is refused", "[gateway]") {
  stage on(storage::open_model());
  auto status = std::make_shared<std::uint16_t>(0);
  on.cast([&on, status](caf::event_based_actor* self) {
    self
      ->request(on.gateway, caf::infinite, static_cast<std::uint16_t>(actors::protocol_version + 1),
                std::string("session.get"), std::string("{}"))
      .then([status](std::uint16_t s, const std::string&) { *status = s; });
  });
  on.run();
  CHECK(*status == static_cast<std::uint16_t>(errc::invalid));
}

TEST_CASE("garbage is answered, never believed", "[gateway]") {
  stage on(storage::open_model());
  REQUIRE(on.call("session.create", session_of("s")).ok());
  const auto good =
    with(session_of("s"), {{"entry", entry_of("e1")}, {"state", {{"app:k", "v"}}}}).dump();
  check_property("any bytes get an answer", [&](const std::string& bytes) {
    const auto before = on.log().size();
    RC_ASSERT(on.call("session.append", bytes).code() == errc::invalid);
    RC_ASSERT(on.log().size() == before);
  });
  check_property("a damaged request gets an answer, and writes nothing when that is an error",
                 [&](const std::vector<std::pair<std::size_t, char>>& damages, std::uint8_t cut) {
                   auto text = good;
                   for (auto [where, what] : damages)
                     text[where % text.size()] = what;
                   text.resize(text.size() - cut % 4);
                   const auto before = on.log().size();
                   const auto a = on.call("session.append", text);
                   RC_ASSERT(a.ok() || on.log().size() == before);
                   RC_ASSERT(a.code() != errc::corrupt);
                 });
  CHECK(on.fatal.empty());
}

TEST_CASE("a node takes on only so much, says when to come back, and then has room again",
          "[gateway]") {
  stage_options o;
  SECTION("requests") { o.limits.requests_max = 3; }
  SECTION("commands on one stream") { o.limits.requests_per_stream_max = 3; }
  SECTION("bytes") { o.limits.requests_bytes_max = 300; }
  stage on(storage::open_model(), o);
  REQUIRE(on.call("session.create", session_of("s")).ok());
  std::vector<letter_ptr<answer>> all;
  for (int i = 0; i < 10; ++i)
    all.push_back(on.start("session.append",
                           with(session_of("s"), {{"entry", entry_of("e" + std::to_string(i))}})));
  on.run();
  std::size_t good = 0, refused = 0;
  for (const auto& one : all) {
    REQUIRE(one->answer);
    if (one->answer->ok()) {
      ++good;
      continue;
    }
    ++refused;
    CHECK(one->answer->code() == errc::overloaded);
    CHECK(one->answer->error().at("retry_after_ms") > 0);
  }
  CHECK(good == 3);
  CHECK(refused == 7);
  CHECK(on.around->overloaded == 7);
  CHECK(on.around->requests == 0);
  // What was refused left nothing; what came back is welcome.
  CHECK(on.log().size() == 4);
  for (int i = 0; i < 10; ++i)
    CHECK(on.call("session.append",
                  with(session_of("s"), {{"entry", entry_of("e" + std::to_string(i))}}))
            .ok());
  CHECK(on.log().size() == 11);
}

TEST_CASE("refused requests cost no credit", "[gateway]") {
  stage_options o;
  o.limits.requests_max = 2;
  o.limits.requests_per_stream_max = 1;
  o.limits.requests_bytes_max = 1'000;
  stage on(storage::open_model(), o);
  for (int i = 0; i < 50; ++i) {
    CHECK(on.call("session.append", std::string("{")).code() == errc::invalid);
    CHECK(on.call("session.append", json{{"nonsense", 1}}).code() == errc::invalid);
    CHECK(on.call("session.append", with(session_of("s"), {{"entry", entry_of("e")}})).code()
          == errc::not_found);
    CHECK(on.call("session.append", with(session_of("s"), {{"tenant", ""}})).code()
          == errc::invalid);
  }
  CHECK(on.around->requests == 0);
  CHECK(on.around->overloaded == 0);
}

TEST_CASE("an operation that forgets its caller or answers twice is no trap", "[gateway]") {
  stage on(storage::open_model(), odd());
  CHECK(on.call("odd.forget", json{{"count", 1}}).code() == errc::corrupt);
  CHECK(on.call("odd.twice", json{{"count", 1}}).body == json{{"n", 1}});
  CHECK(on.around->requests == 0);
  auto open = on.start("odd.keep", json{{"count", 1}});
  on.run();
  CHECK(open->open());
  CHECK(on.around->requests == 1);
  CHECK(on.call("odd.release", json{{"count", 1}}).ok());
  CHECK(open->answer->ok());
  CHECK(on.around->requests == 0);
}

TEST_CASE("who is ending takes nothing on", "[gateway]") {
  stage on(storage::open_model());
  on.around->ending = true;
  const auto a = on.call("session.create", session_of("s"));
  CHECK(a.code() == errc::unavailable);
  CHECK(a.error().at("retry_after_ms") > 0);
}

TEST_CASE("every error says what it was, and reads back as it was", "[gateway]") {
  check_property("render and parse_error", [](std::uint8_t code, std::string message,
                                              std::string field, std::uint16_t retry) {
    for (auto* text : {&message, &field})
      for (auto& c : *text)
        c &= 0x7f;  // Any ASCII, control characters too.
    recalld::error e;
    e.code = static_cast<errc>(1 + code % static_cast<unsigned>(errc::corrupt));
    e.message = message;
    e.field = field;
    e.retry_after_ms = retry;
    e.current_version = e.code == errc::conflict ? 17 : 0;
    RC_ASSERT(actors::parse_error(static_cast<std::uint16_t>(e.code), actors::render(e)) == e);
  });
}

TEST_CASE("rules of an application hold for the very next request", "[gateway]") {
  stage on(storage::open_model());
  REQUIRE(on.call("session.create", session_of("s")).ok());
  auto set = on.start("app.set_retention", json{{"app", "a"}, {"ttl_s", 60}});
  on.run();
  REQUIRE(set->answer->ok());
  REQUIRE(on.call("session.append", with(session_of("s"), {{"entry", entry_of("e")}})).ok());
  CHECK(on.call("session.get", session_of("s")).body.contains("expires_at"));
}

}  // namespace recalld::tests

#include "tests/actors/stage.hpp"
#include "tests/catch.hpp"

namespace recalld::tests {

namespace {

using committed = actors::reply<actors::committed>;
using seen = actors::reply<actors::stream_view>;

json append_of(std::string session, std::vector<json> entries, std::string command_id = {}) {
  auto request = with(session_of(std::move(session)), {{"entries", std::move(entries)}});
  if (!command_id.empty())
    request["command_id"] = command_id;
  return request;
}

}  // namespace

TEST_CASE("a stale writer gets the present version and writes nothing", "[aggregate]") {
  stage on(storage::open_model());
  REQUIRE(on.call("session.create", session_of("s")).ok());
  auto request = append_of("s", {entry_of("e1")});
  request["expected_version"] = 1;
  CHECK(on.call("session.append", request).body.at("version") == 2);
  request = append_of("s", {entry_of("e2")});
  request["expected_version"] = 1;
  const auto stale = on.call("session.append", request);
  CHECK(stale.code() == errc::conflict);
  CHECK(stale.error().at("current_version") == 2);
  CHECK(on.log().size() == 2);
}

TEST_CASE("a repeated command gets its first receipt", "[aggregate]") {
  const auto disk = storage::make_model_disk();
  const bool restarted = GENERATE(false, true);
  auto on = std::make_unique<stage>(storage::open_model(disk));
  const auto again = [&] {
    if (restarted) {
      on.reset();
      on = std::make_unique<stage>(storage::open_model(disk));
    }
  };
  auto create = session_of("s");
  create["command_id"] = "create";
  const auto first = on->call("session.create", create);
  REQUIRE(first.ok());
  CHECK(first.body.at("duplicate") == false);
  auto append = append_of("s", {entry_of("e1"), entry_of("e2")}, "append");
  append["expected_version"] = 1;
  const auto written = on->call("session.append", append);
  REQUIRE(written.ok());
  const auto facts = on->log().size();
  again();

  SECTION("though the command would be refused now") {
    auto repeated = on->call("session.create", create);
    CHECK(repeated.ok());
    CHECK(repeated.body.at("duplicate") == true);
    repeated.body["duplicate"] = false;
    CHECK(repeated.body == first.body);
  }
  SECTION("though its expected version is stale by now") {
    auto repeated = on->call("session.append", append);
    CHECK(repeated.ok());
    CHECK(repeated.body.at("duplicate") == true);
    repeated.body["duplicate"] = false;
    CHECK(repeated.body == written.body);
  }
  SECTION("though the session was closed since") {
    REQUIRE(on->call("session.close", session_of("s")).ok());
    again();
    CHECK(on->call("session.append", append).body.at("version") == written.body.at("version"));
    CHECK(on->log().size() == facts + 1);
    return;
  }
  SECTION("with its members in another order and spacing") {
    auto text = append.dump();
    CHECK(on->call("session.append", "  " + text + " ").body.at("duplicate") == true);
  }
  SECTION("but not with another body") {
    append["entries"][0]["content"] = "other";
    CHECK(on->call("session.append", append).code() == errc::key_reuse);
    create.erase("expected_version");
    create["metadata"] = {{"a", 1}};
    CHECK(on->call("session.create", create).code() == errc::key_reuse);
  }
  CHECK(on->log().size() == facts);
}

TEST_CASE("a repeated fork gets its first receipt though its original is gone", "[aggregate]") {
  stage on(storage::open_model());
  REQUIRE(on.call("session.create", session_of("s")).ok());
  REQUIRE(on.call("session.append", append_of("s", {entry_of("e1")})).ok());
  auto fork = session_of("s");
  fork["command_id"] = "fork";
  if (GENERATE(true, false))
    fork["new_session"] = "f";
  if (GENERATE(true, false))
    fork["at"] = 1;
  const auto first = on.call("session.fork", fork);
  REQUIRE(first.ok());
  REQUIRE(on.call("session.delete", session_of("s")).ok());
  if (GENERATE(true, false)) {
    REQUIRE(on.call("session.create", session_of("s")).ok());  // Another life.
  }
  auto repeated = on.call("session.fork", fork);
  CHECK(repeated.body.at("duplicate") == true);
  repeated.body["duplicate"] = false;
  CHECK(repeated.body == first.body);
  fork["at"] = 2;
  CHECK(on.call("session.fork", fork).code() == errc::key_reuse);
  fork["command_id"] = "other";
  fork["new_session"] = "g";
  CHECK_FALSE(on.call("session.fork", fork).ok());
}

TEST_CASE("a command that comes twice at the same time is executed once", "[aggregate]") {
  stage on(storage::open_model());
  REQUIRE(on.call("session.create", session_of("s")).ok());
  const auto request = append_of("s", {entry_of("e1")}, "c1");
  auto one = on.start("session.append", request);
  auto two = on.start("session.append", request);
  on.run();
  CHECK(one->answer->body.at("version") == 2);
  CHECK(two->answer->body.at("version") == 2);
  CHECK(one->answer->body.at("duplicate") != two->answer->body.at("duplicate"));
  CHECK(on.log().size() == 2);
}

TEST_CASE("an entry id that was seen before is decided again, with the log's knowledge",
          "[aggregate]") {
  stage on(storage::open_model());
  REQUIRE(on.call("session.create", session_of("s")).ok());
  REQUIRE(on.call("session.append", append_of("s", {entry_of("e1"), entry_of("e2")})).ok());
  const auto mixed = on.call("session.append", append_of("s", {entry_of("e2"), entry_of("e3")}));
  REQUIRE(mixed.ok());
  CHECK(mixed.body.at("entries").at(0).at("duplicate") == true);
  CHECK(mixed.body.at("entries").at(0).at("version") == 3);
  CHECK(mixed.body.at("entries").at(1).at("duplicate") == false);
  CHECK(mixed.body.at("entries").at(1).at("version") == 4);
  const auto known = on.call("session.append", append_of("s", {entry_of("e1")}));
  CHECK(known.ok());
  CHECK(known.body.at("entries").at(0).at("version") == 2);
  CHECK(on.log().size() == 4);
}

TEST_CASE("an aggregate that was overtaken reads on and decides again", "[aggregate]") {
  stage on(storage::open_model());
  const auto directory = on.around->directory;
  REQUIRE(on.ask<committed>(directory, scope_submit("a", "k", "1")).value->version == 1);
  // Somebody writes to the stream without telling its actor.
  REQUIRE(on.ask<actors::reply<actors::appended>>(on.around->journals.front(), scope_append("a", "f", "2"))
            .value.has_value());
  const auto next = on.ask<committed>(directory, scope_submit("a", "g", "3"));
  CHECK(next.value->version == 3);
  const auto view =
    on.ask<seen>(directory, actors::view{app_stream("default", "a"), 0}).value.value();
  const auto& values = std::get<std::shared_ptr<const scope::state>>(view.state)->values;
  CHECK(values == recalld::json::raw_map{{"f", "2"}, {"g", "3"}, {"k", "1"}});
}

TEST_CASE("a commit that nobody knew of at first is in the state when it is repeated",
          "[aggregate]") {
  const bool happened = GENERATE(true, false);
  stage on(storage::open_model());
  on.store->resolves_unknown = true;
  on.call("session.create", json{{"app", "a"}, {"user", "u"}, {"session", "s"}});
  auto first = append_of("s", {entry_of("e1")});
  first["command_id"] = "c1";
  first["expected_version"] = 1;
  const recalld::error lost{errc::outcome_unknown, "the answer was lost", {}, 0, 1000};
  if (happened)
    on.store->after = [&](auto&) { return lost; };
  else
    on.store->before = [&](auto) { return lost; };
  CHECK(on.call("session.append", first).code() == errc::outcome_unknown);
  on.store->after = nullptr;
  on.store->before = nullptr;
  CHECK(on.fatal.empty());
  SECTION("repeated") {
    const auto again = on.call("session.append", first);
    REQUIRE(again.ok());
    CHECK(again.body.at("version") == 2);
    CHECK(again.body.at("duplicate") == happened);
    auto next = append_of("s", {entry_of("e2")});
    next["expected_version"] = 2;
    CHECK(on.call("session.append", next).body.at("version") == 3);
    CHECK(on.log().size() == 3);
  }
  SECTION("not repeated, but asked for") {
    const auto got = on.call("session.get", json{{"app", "a"}, {"user", "u"}, {"session", "s"}});
    REQUIRE(got.ok());
    CHECK(got.body.at("version") == (happened ? 2 : 1));
  }
}

TEST_CASE("what cannot be read again is shown as it was, with its age", "[aggregate]") {
  stage on(storage::open_model());
  on.store->resolves_unknown = true;
  on.call("session.create", json{{"app", "a"}, {"user", "u"}, {"session", "s"}});
  const json get{{"app", "a"}, {"user", "u"}, {"session", "s"}};
  CHECK(on.call("session.get", get).body.count("stale_ms") == 0);
  on.store->before = [](auto) {
    return recalld::error{errc::outcome_unknown, "the answer was lost", {}, 0, 1000};
  };
  CHECK(on.call("session.append", append_of("s", {entry_of("e1")})).code()
        == errc::outcome_unknown);
  on.around->alone_since = on.around->clock();
  on.move_clock(std::chrono::milliseconds(2500));
  const auto old = on.call("session.get", get);
  REQUIRE(old.ok());
  CHECK(old.body.at("version") == 1);
  CHECK(old.body.at("stale_ms") == 2500);
  // A write's answer has no age.
  on.store->before = nullptr;
  CHECK(on.call("session.append", append_of("s", {entry_of("e1")})).body.count("stale_ms") == 0);
}

TEST_CASE("an aggregate that is told of facts with a hole reads the log", "[aggregate]") {
  stage on(storage::open_model());
  const auto directory = on.around->directory;
  REQUIRE(on.ask<committed>(directory, scope_submit("a", "k", "1")).value->version == 1);
  auto second =
    on.ask<actors::reply<actors::appended>>(on.around->journals.front(), scope_append("a", "f", "2"));
  auto third =
    on.ask<actors::reply<actors::appended>>(on.around->journals.front(), scope_append("a", "g", "3"));
  const auto stream = app_stream("default", "a");
  const auto tell = [&](const auto& r) {
    caf::anon_send(directory, actors::foreign_recorded{stream, r.value->facts});
  };
  tell(third);
  tell(second);
  tell(third);
  on.run();
  const auto view = on.ask<seen>(directory, actors::view{stream, 0}).value.value();
  CHECK(view.version == 3);
  CHECK(std::get<std::shared_ptr<const scope::state>>(view.state)->values.size() == 3);
}

TEST_CASE("a read behind a write sees it, one before does not", "[aggregate]") {
  stage on(storage::open_model());
  REQUIRE(on.call("session.create", session_of("s")).ok());
  auto before = on.start("session.get", session_of("s"));
  auto write = on.start("session.append", append_of("s", {entry_of("e1")}));
  auto behind = on.start("session.get", session_of("s"));
  on.run();
  CHECK(before->answer->body.at("version") == 1);
  CHECK(write->answer->body.at("version") == 2);
  CHECK(behind->answer->body.at("version") == 2);
  CHECK(behind->answer->body.at("entries").size() == 1);
}

TEST_CASE("a view that was handed out never changes", "[aggregate]") {
  stage on(storage::open_model());
  const auto stream = session_stream("default", "a", "u", "s");
  REQUIRE(on.call("session.create", with(session_of("s"), {{"state", {{"k", 1}}}})).ok());
  REQUIRE(on.call("session.append", append_of("s", {entry_of("e1")})).ok());
  const auto ask = [&] {
    return on.ask<seen>(on.around->directory, actors::view{stream, 64}).value.value();
  };
  const auto old = ask();
  const auto& state = *std::get<std::shared_ptr<const session::state>>(old.state);
  const auto copy = state;
  const auto tail = old.tail;
  REQUIRE(on.call("session.update_state", with(session_of("s"), {{"state", {{"k", 2}}}})).ok());
  REQUIRE(on.call("session.append", append_of("s", {entry_of("e2")})).ok());
  REQUIRE(on.call("session.delete", session_of("s")).ok());
  CHECK(state == copy);
  CHECK(old.tail == tail);
  CHECK(std::get<std::shared_ptr<const session::state>>(ask().state)->status
        == session::status::deleted);
}

TEST_CASE("a write that the disk refuses leaves no trace in the state", "[aggregate]") {
  stage on(storage::open_model());
  REQUIRE(on.call("session.create", session_of("s")).ok());
  on.store->before = [](auto) {
    return recalld::error{errc::unavailable, "disk full", {}, 0, 500};
  };
  const auto refused = on.call(
    "session.append", with(append_of("s", {entry_of("e1")}, "c1"), {{"state", {{"k", 1}}}}));
  CHECK(refused.code() == errc::unavailable);
  CHECK(refused.error().at("retry_after_ms") == 500);
  auto seen = on.call("session.get", session_of("s"));
  CHECK(seen.body.at("version") == 1);
  CHECK(seen.body.at("state").empty());
  CHECK(seen.body.at("entries").empty());
  on.store->before = nullptr;
  const auto again = on.call("session.append",
                             with(append_of("s", {entry_of("e1")}, "c1"), {{"state", {{"k", 1}}}}));
  CHECK(again.body.at("duplicate") == false);
  CHECK(again.body.at("version") == 3);
}

TEST_CASE("a command of another kind of stream is refused", "[aggregate]") {
  stage on(storage::open_model());
  auto wish = scope_submit("a", "k", "1");
  wish.stream = session_stream("default", "a", "u", "s");
  CHECK(on.ask<committed>(on.around->directory, wish).value.error().code == errc::invalid);
}

}  // namespace recalld::tests

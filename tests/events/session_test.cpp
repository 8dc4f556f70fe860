#include "tests/events/given.hpp"

namespace recalld::session {

using namespace recalld::testing;

namespace {

const retention none{};
const retention hour{0, 3600};

created born(const retention& r = none) { return {"", {}, r}; }

append append_one(entry e) { return {{std::move(e)}, {}}; }

state_delta delta_of(json::raw_map own) { return {std::move(own), {}, {}, {}}; }

/// A past that ends in each way in which a session can be gone or shut.
std::vector<fact> past_absent() { return {}; }
std::vector<fact> past_deleted() { return {born(), deleted{}}; }
std::vector<fact> past_expired() { return {born(hour), expired{}}; }
std::vector<fact> past_closed() { return {born(), closed{}}; }

/// Every command that writes to an open session, with something to write.
std::vector<command> writes() {
  return {append_one(testing::entry("e1")),
          append{{}, delta_of({{"k", "1"}})},
          update_state{delta_of({{"k", "1"}})},
          delete_state_keys{{"k"}},
          add_context{"c", "file", "1"},
          remove_context{"c"},
          append_track{"log", {"1"}}};
}

std::string of_bytes(std::size_t n) { return json::quote(std::string(n - 2, 'x')); }

}  // namespace

// -- create --

TEST_CASE("a session is created where none is", "[session][create]") {
  given({})
    .when(create{delta_of({{"k", "1"}}), R"({"a":1})"})
    .then({created{R"({"a":1})", {{"k", "1"}}, none}});
  given({}).when(create{}).then({born()});
}

TEST_CASE("a session is created with the application's retention", "[session][create]") {
  given({}).policy({5, 60}).when(create{}).then({created{"", {}, {5, 60}}});
}

TEST_CASE("a deleted or expired id is free again, and empty", "[session][create]") {
  auto again = given(past_deleted()).when(create{});
  again.then({born()});
  CHECK(again.after().status == status::open);
  CHECK(again.after().values.empty());
  CHECK(again.after().entries == 0);
  CHECK(again.after().created_version == 3);
  CHECK(again.after().floor == 2);
  given(past_expired()).when(create{}).then({born()});
}

TEST_CASE("a session whose time is over is said to be expired before it is created again",
          "[session][create]") {
  auto past = given({born({0, 60})});
  past.at(start + 60 * second).policy(none).when(create{}).then({expired{}, born()});
  past.at(start + 60 * second - 1).when(create{}).fails(errc::already_exists);
}

TEST_CASE("an existing session is an error, or left untouched", "[session][create]") {
  create wish{delta_of({{"k", "2"}}), ""};
  given({born()}).when(wish).fails(errc::already_exists);
  given(past_closed()).when(wish).fails(errc::already_exists);
  wish.return_existing = true;
  given({born()}).when(wish).nothing();
  given(past_closed()).when(wish).nothing();
  given({born()}).policy({9, 9}).when(wish).nothing();
}

TEST_CASE("keys of the application and the user go to their own streams", "[session][create]") {
  state_delta delta{{{"a", "1"}}, {{"b", "2"}}, {{"c", "3"}}, {{"d", "4"}}};
  given({})
    .when(create{delta, ""})
    .elsewhere(app_stream("acme", "chat"), {scope::fact{scope::state_changed{{{"b", "2"}}, {}}}})
    .elsewhere(user_stream("acme", "chat", "ada"),
               {scope::fact{scope::state_changed{{{"c", "3"}}, {}}}})
    .then({created{"", {{"a", "1"}}, none}});
}

TEST_CASE("an existing session sends nothing elsewhere", "[session][create]") {
  state_delta delta{{}, {{"b", "2"}}, {{"c", "3"}}, {}};
  given({born()}).when(create{delta, "", true}).nothing();
}

TEST_CASE("what a session is created with is limited", "[session][create]") {
  given({}).when(create{{}, "[]"}).fails(errc::invalid, "metadata");
  given({}).when(create{{}, "null"}).fails(errc::invalid, "metadata");
  auto wide = R"({"a":)" + of_bytes(entry_bytes_max - 6) + "}";
  given({}).when(create{{}, wide}).then({created{wide, {}, none}});
  given({})
    .when(create{{}, R"({"a":)" + of_bytes(entry_bytes_max - 5) + "}"})
    .fails(errc::invalid, "metadata");
  given({})
    .when(create{delta_of({{"k", of_bytes(state_bytes_max)}}), ""})
    .fails(errc::invalid, "state");
  given({})
    .when(create{{{}, {{"k", of_bytes(state_bytes_max)}}, {}, {}}, ""})
    .fails(errc::invalid, "state");
  given({})
    .when(create{{{}, {}, {{"k", of_bytes(state_bytes_max)}}, {}}, ""})
    .fails(errc::invalid, "state");
}

// -- append --

TEST_CASE("entries are appended in order, with running counts", "[session][append]") {
  auto a = testing::entry("a", "system");
  auto b = testing::entry("b", "user");
  auto c = testing::entry("c", "assistant");
  auto d = testing::entry("d", "user");
  auto all = given({born()}).when(append{{a, b, c, d}, {}});
  all.then(
    {appended(a, 1, 0, 0), appended(b, 2, 3, 2), appended(c, 3, 3, 2), appended(d, 4, 5, 4)});
  CHECK(all.after().entries == 4);
  CHECK(all.after().turn_version == 5);
  CHECK(all.after().turn_ordinal == 4);
  CHECK(all.after().updated_at == start + second);
}

TEST_CASE("counts run on over commands", "[session][append]") {
  auto a = testing::entry("a", "user");
  auto b = testing::entry("b", "tool");
  given({born(), appended(a, 1, 2, 1), state_changed{{{"k", "1"}}, {}}})
    .when(append_one(b))
    .then({appended(b, 2, 2, 1)});
}

TEST_CASE("the entries and the delta are one", "[session][append]") {
  auto a = testing::entry("a");
  state_delta delta{{{"k", "1"}}, {{"b", "2"}}, {{"c", "3"}}, {{"d", "4"}}};
  given({born()})
    .when(append{{a}, delta})
    .elsewhere(app_stream("acme", "chat"), {scope::fact{scope::state_changed{{{"b", "2"}}, {}}}})
    .elsewhere(user_stream("acme", "chat", "ada"),
               {scope::fact{scope::state_changed{{{"c", "3"}}, {}}}})
    .then({appended(a, 1, 2, 1), state_changed{{{"k", "1"}}, {}}});
}

TEST_CASE("an append needs something to append", "[session][append]") {
  given({born()}).when(append{}).fails(errc::invalid, "entries");
  given({}).when(append{}).fails(errc::invalid, "entries");
  given({born()}).when(append{{}, {{}, {}, {}, {{"t", "1"}}}}).nothing();
}

TEST_CASE("a delta alone may be appended", "[session][append]") {
  given({born()})
    .when(append{{}, delta_of({{"k", "null"}})})
    .then({state_changed{{{"k", "null"}}, {}}});
}

TEST_CASE("a delta of other scopes alone leaves a fact without keys for the receipt",
          "[session][append]") {
  given({born()})
    .when(append{{}, {{}, {{"b", "2"}}, {}, {}}})
    .elsewhere(app_stream("acme", "chat"), {scope::fact{scope::state_changed{{{"b", "2"}}, {}}}})
    .then({state_changed{}});
  auto a = testing::entry("a");
  given({born()})
    .when(append{{a}, {{}, {}, {{"c", "3"}}, {}}})
    .elsewhere(user_stream("acme", "chat", "ada"),
               {scope::fact{scope::state_changed{{{"c", "3"}}, {}}}})
    .then({appended(a, 1, 2, 1)});
}

TEST_CASE("partial entries are not stored, their delta is", "[session][append]") {
  auto partial = testing::entry("p");
  partial.partial = true;
  auto whole = testing::entry("w");
  given({born()}).when(append{{partial, whole}, {}}).then({appended(whole, 1, 2, 1)});
  given({born()})
    .when(append{{partial}, delta_of({{"k", "1"}})})
    .then({state_changed{{{"k", "1"}}, {}}});
  given({born()}).when(append{{partial}, {}}).nothing();
  partial.role.clear();
  given({born()}).when(append{{partial, whole}, {}}).then({appended(whole, 1, 2, 1)});
}

TEST_CASE("an entry without id gets a UUIDv7 as its first member", "[session][append]") {
  auto fresh = [](std::string raw) {
    session::entry e{"", "user", false, text(std::move(raw))};
    auto outcome = given({born()}).when(append_one(std::move(e)));
    return std::get<entry_appended>(outcome.decision().facts.at(0));
  };
  auto f = fresh(R"({"role":"user"})");
  CHECK(f.id == uuid_v7(start + second, {0x0123'4567'89ab'cdef, 0}, 0));
  CHECK(f.raw.view() == R"({"id":")" + f.id + R"(","role":"user"})");
  CHECK(fresh("{}").raw.view() == R"({"id":")" + f.id + R"("})");
  CHECK(fresh(" { } ").raw.view() == R"({"id":")" + f.id + R"(" })");
  CHECK(fresh(" { \"a\":{}}").raw.view() == R"({"id":")" + f.id + R"(", "a":{}})");
  auto whole = R"({"id":")" + f.id + R"(","a":{"id":1},"b":[ 2 ]})";
  CHECK(fresh(R"({"a":{"id":1},"id":null,"b":[ 2 ]})").raw.view() == whole);
  CHECK(fresh(R"({"a":{"id":1},"\u0069d":"","b":[ 2 ]})").raw.view() == whole);
  CHECK(fresh(R"({"id":null})").raw.view() == R"({"id":")" + f.id + R"("})");
}

TEST_CASE("raw JSON is recorded without white space around it", "[session]") {
  auto past = given({born()});
  past.when(append_one({"a", "user", false, " {\"id\": \"a\"}\n"}))
    .then({entry_appended{"a", "user", 1, 2, 1, "{\"id\": \"a\"}", 1}});
  past.when(add_context{"c", "file", " [1 ] "}).then({context_added{"c", "file", "[1 ]"}});
  past.when(append_track{"log", {" 1\n"}}).then({track_appended{"log", "1"}});
  given({}).when(create{{}, " {} "}).then({created{"{}", {}, none}});
}

TEST_CASE("entries without id get different ids in order", "[session][append]") {
  session::entry e{"", "user", false, "{}"};
  auto outcome = given({born()}).when(append{{e, e, e}, {}});
  std::vector<std::string> ids;
  for (const auto& f : outcome.decision().facts)
    ids.push_back(std::get<entry_appended>(f).id);
  REQUIRE(ids.size() == 3);
  CHECK(ids[0] < ids[1]);
  CHECK(ids[1] < ids[2]);
}

TEST_CASE("an id seen before in this session is skipped", "[session][append]") {
  auto a = testing::entry("a");
  auto b = testing::entry("b");
  auto past = given({born(), appended(a, 1, 2, 1)}).known(fact_key::entry(1, "a"), 2);
  past.when(append{{a, b}, {}}).then({appended(b, 2, 3, 2)});
  past.when(append_one(a)).nothing();
  past.when(append{{a}, delta_of({{"k", "1"}})}).then({state_changed{{{"k", "1"}}, {}}});
}

TEST_CASE("an id repeated within a call is taken once", "[session][append]") {
  auto a = testing::entry("a");
  auto b = testing::entry("b");
  given({born()})
    .when(append{{a, b, a, b, a}, {}})
    .then({appended(a, 1, 2, 1), appended(b, 2, 3, 2)});
}

TEST_CASE("an id of an earlier life is free", "[session][append]") {
  auto a = testing::entry("a");
  given({born(), appended(a, 1, 2, 1), deleted{}, born()})
    .known(fact_key::entry(1, "a"), 2)
    .when(append_one(a))
    .then({appended(a, 1, 5, 1, 4)});
}

TEST_CASE("only where there is a session can be appended", "[session][append]") {
  auto wish = append_one(testing::entry("a"));
  given(past_absent()).when(wish).fails(errc::not_found);
  given(past_deleted()).when(wish).fails(errc::not_found);
  given(past_closed()).when(wish).fails(errc::closed);
  given(past_expired()).when(wish).fails(errc::expired);
}

TEST_CASE("entries are limited", "[session][append]") {
  auto a = testing::entry("a");
  auto many = [](std::size_t n) {
    append c;
    for (std::size_t i = 0; i < n; ++i)
      c.entries.push_back(testing::entry("e" + std::to_string(i)));
    return c;
  };
  CHECK(given({born()}).when(many(500)).decision().facts.size() == 500);
  given({born()}).when(many(501)).fails(errc::invalid, "entries");

  auto sized = [](std::size_t n) {
    return session::entry{"x", "user", false, R"({"t":)" + of_bytes(n - 6) + "}"};
  };
  CHECK(given({born()}).when(append_one(sized(entry_bytes_max))).decision().facts.size() == 1);
  given({born()})
    .when(append{{a, sized(entry_bytes_max + 1)}, {}})
    .fails(errc::invalid, "entries[1]");
}

TEST_CASE("the part of an entry that is wrong is named", "[session][append]") {
  auto a = testing::entry("a");
  auto fails_with = [&](session::entry e, std::string_view field) {
    given({born()}).when(append{{a, std::move(e)}, {}}).fails(errc::invalid, field);
  };
  fails_with({"b", "", false, "{}"}, "entries[1].role");
  fails_with({"b", std::string(129, 'r'), false, "{}"}, "entries[1].role");
  fails_with({"b", "\xff", false, "{}"}, "entries[1].role");
  fails_with({"b", "user", false, "[]"}, "entries[1]");
  fails_with({"b", "user", false, "1"}, "entries[1]");
  fails_with({"b", "user", false, ""}, "entries[1]");
  fails_with({std::string(513, 'i'), "user", false, "{}"}, "entries[1].id");
  fails_with({std::string("a\0b", 3), "user", false, "{}"}, "entries[1].id");
  auto word = session::entry{"b", std::string(128, 'r'), false, "{}"};
  given({born()}).when(append_one(word)).then({appended(word, 1, 0, 0)});
}

TEST_CASE("one bad entry leaves nothing of the call", "[session][append]") {
  state_delta delta{{{"k", "1"}}, {{"b", "2"}}, {}, {}};
  given({born()})
    .when(append{{testing::entry("a"), {"b", "", false, "{}"}}, delta})
    .fails(errc::invalid, "entries[1].role");
}

TEST_CASE("the state of a session is limited", "[session][append]") {
  auto half = of_bytes(state_bytes_max / 2);
  auto past = given({created{"", {{"a", half}}, none}});
  past.when(append{{}, delta_of({{"b", half}})}).fails(errc::invalid, "state");
  past.when(update_state{delta_of({{"b", half}})}).fails(errc::invalid, "state");
  past.when(update_state{delta_of({{"a", half}})}).then({state_changed{{{"a", half}}, {}}});
  past.when(update_state{{{}, {{"b", of_bytes(state_bytes_max)}}, {}, {}}})
    .fails(errc::invalid, "state");
  auto rest = of_bytes(state_bytes_max - half.size() - 2);
  past.when(update_state{delta_of({{"b", rest}})}).then({state_changed{{{"b", rest}}, {}}});
}

// -- retention and time --

TEST_CASE("every write follows the application's retention first", "[session][retention]") {
  retention fresh{7, 60};
  for (const auto& wish : writes()) {
    INFO("command " << wish.index());
    auto outcome = given({created{"", {{"k", "0"}}, none}, context_added{"c", "file", "2"}})
                     .policy(fresh)
                     .when(wish);
    const auto& facts = outcome.decision().facts;
    REQUIRE(facts.size() == 2);
    CHECK(facts[0] == fact{retention_changed{fresh}});
    CHECK(outcome.after().retention == fresh);
  }
  given({born()}).policy(fresh).when(close{}).then({retention_changed{fresh}, closed{60}});
}

TEST_CASE("versions in entries count the change of retention", "[session][retention]") {
  auto a = testing::entry("a");
  given({born()})
    .policy({0, 60})
    .when(append_one(a))
    .then({retention_changed{{0, 60}}, appended(a, 1, 3, 1, 1, 60)});
}

TEST_CASE("a command that changes nothing follows no retention", "[session][retention]") {
  retention fresh{7, 60};
  given({born()}).policy(fresh).when(delete_state_keys{{"k"}}).nothing();
  given({born()}).policy(fresh).when(remove_context{"c"}).nothing();
  given({born()}).policy(fresh).when(remove{}).then({deleted{}});
  given(past_closed()).policy(fresh).when(close{}).nothing();
}

TEST_CASE("facts carry the time to live that they refresh", "[session][retention]") {
  auto a = testing::entry("a");
  auto past = given({created{"", {{"k", "0"}}, hour}, context_added{"c", "file", "2", 3600}});
  past.when(append{{a}, delta_of({{"k", "1"}})})
    .then({appended(a, 1, 3, 1, 1, 3600), state_changed{{{"k", "1"}}, {}, 3600}});
  past.when(delete_state_keys{{"k"}}).then({state_changed{{}, {"k"}, 3600}});
  past.when(add_context{"d", "file", "1"}).then({context_added{"d", "file", "1", 3600}});
  past.when(remove_context{"c"}).then({context_removed{"c", 3600}});
  past.when(append_track{"log", {"1"}}).then({track_appended{"log", "1", 3600}});
  past.when(close{}).then({closed{3600}});
}

TEST_CASE("a session expires a time to live after its last write", "[session][expiry]") {
  auto past = given({born(hour)});
  CHECK(past.state().expires_at() == start + 3600 * second);
  CHECK(past.state().readable(start + 3600 * second - 1));
  CHECK_FALSE(past.state().readable(start + 3600 * second));
  auto later = given({born(hour), appended(testing::entry("a"), 1, 2, 1)});
  CHECK(later.state().expires_at() == start + 3601 * second);
  CHECK(given({born()}).state().expires_at() == 0);
  CHECK(given({born()}).state().readable(start * 100));
  CHECK_FALSE(given({}).state().readable(start));
  CHECK_FALSE(given(past_deleted()).state().readable(start));
  CHECK_FALSE(given(past_expired()).state().readable(start));
  CHECK(given(past_closed()).state().readable(start));
}

TEST_CASE("an absurd time to live does not overflow", "[session][expiry]") {
  auto past = given({born({0, ~0ull})});
  CHECK(past.state().expires_at() > start);
  CHECK(past.state().readable(start * 2));
}

TEST_CASE("a session past its time refuses writes before any timer says so", "[session][expiry]") {
  for (const auto& wish : writes()) {
    INFO("command " << wish.index());
    given({created{"", {{"k", "0"}}, hour}, context_added{"c", "file", "2"}})
      .at(start + 3601 * second)
      .when(wish)
      .fails(errc::expired);
  }
  given({born(hour)}).at(start + 3600 * second).when(close{}).fails(errc::expired);
  given({born(hour), closed{}}).at(start + 3601 * second).when(close{}).fails(errc::expired);
}

TEST_CASE("expire does something only when it is time", "[session][expiry]") {
  given({born(hour)}).at(start + 3600 * second - 1).when(expire{}).nothing();
  given({born(hour)}).at(start + 3600 * second).when(expire{}).then({expired{}});
  given({born(hour), closed{}}).at(start + 3601 * second).when(expire{}).then({expired{}});
  given({born()}).at(start * 2).when(expire{}).nothing();
  given(past_absent()).when(expire{}).nothing();
  given(past_deleted()).at(start * 2).when(expire{}).nothing();
  given(past_expired()).at(start * 2).when(expire{}).nothing();
}

TEST_CASE("a write refreshes the time and an expire that was armed before does nothing",
          "[session][expiry]") {
  given({born(hour), state_changed{{}, {}, 3600}})
    .at(start + 3600 * second)
    .when(expire{})
    .nothing();
}

// -- state keys --

TEST_CASE("state merges per key", "[session][state]") {
  auto outcome = given({created{"", {{"a", "1"}, {"b", "2"}}, none}})
                   .when(update_state{delta_of({{"b", "null"}, {"c", "\"\""}})});
  outcome.then({state_changed{{{"b", "null"}, {"c", "\"\""}}, {}}});
  CHECK(outcome.after().values == json::raw_map{{"a", "1"}, {"b", "null"}, {"c", "\"\""}});
}

TEST_CASE("an empty delta changes nothing", "[session][state]") {
  given({born()}).when(update_state{}).nothing();
  given({born()}).when(update_state{{{}, {}, {}, {{"t", "1"}}}}).nothing();
  given({}).when(update_state{}).fails(errc::not_found);
}

TEST_CASE("keys are deleted where they are known", "[session][state]") {
  auto past = given({created{"", {{"a", "1"}, {"b", "2"}}, none}});
  past.when(delete_state_keys{{"b", "x", "b"}}).then({state_changed{{}, {"b"}}});
  past.when(delete_state_keys{{"x"}}).nothing();
  past.when(delete_state_keys{}).nothing();
  CHECK(past.when(delete_state_keys{{"b", "a"}}).after().values.empty());
}

TEST_CASE("a key of another scope is not the session's to delete", "[session][state]") {
  auto past = given({born()});
  past.when(delete_state_keys{{"a", "app:x"}}).fails(errc::invalid, "keys[1]");
  past.when(delete_state_keys{{"user:x"}}).fails(errc::invalid, "keys[0]");
  past.when(delete_state_keys{{"temp:x"}}).fails(errc::invalid, "keys[0]");
}

TEST_CASE("every write is refused where there is nothing to write to", "[session]") {
  for (const auto& wish : writes()) {
    INFO("command " << wish.index());
    given(past_absent()).when(wish).fails(errc::not_found);
    given(past_deleted()).when(wish).fails(errc::not_found);
    given(past_expired()).when(wish).fails(errc::expired);
    given(past_closed()).when(wish).fails(errc::closed);
  }
}

// -- contexts --

TEST_CASE("context items are added, replaced and removed", "[session][context]") {
  auto past = given({born(), context_added{"c", "file", "1"}});
  past.when(add_context{"d", "user", "2"}).then({context_added{"d", "user", "2"}});
  past.when(add_context{"c", "file", "2"}).then({context_added{"c", "file", "2"}});
  past.when(add_context{"c", "user", "1"}).then({context_added{"c", "user", "1"}});
  past.when(add_context{"c", "file", "1"}).nothing();
  past.when(remove_context{"c"}).then({context_removed{"c"}});
  past.when(remove_context{"d"}).nothing();
  CHECK(past.state().contexts.at("c") == context_item{"file", "1", start + second, 2});
  CHECK(past.when(remove_context{"c"}).after().contexts.empty());
}

TEST_CASE("a context item without id gets one", "[session][context]") {
  auto outcome = given({born()}).when(add_context{"", "file", "1"});
  outcome.then({context_added{uuid_v7(start + second, {0x0123'4567'89ab'cdef, 0}), "file", "1"}});
}

TEST_CASE("context items are checked and limited", "[session][context]") {
  auto past = given({born(), context_added{"c", "file", of_bytes(contexts_bytes_max - 100)}});
  past.when(add_context{"d", "", "1"}).fails(errc::invalid, "type");
  past.when(add_context{"d", std::string(129, 't'), "1"}).fails(errc::invalid, "type");
  past.when(add_context{"d", "file", ""}).fails(errc::invalid, "content");
  past.when(add_context{"d", "file", of_bytes(101)}).fails(errc::invalid, "content");
  past.when(add_context{std::string(513, 'x'), "file", "1"}).fails(errc::invalid, "id");
  past.when(add_context{"c", "file", of_bytes(101)})
    .then({context_added{"c", "file", of_bytes(101)}});
  past.when(remove_context{""}).fails(errc::invalid, "id");
}

// -- tracks --

TEST_CASE("each item of a track is a fact", "[session][track]") {
  auto outcome = given({born()}).when(append_track{"log", {"1", "{}"}});
  outcome.then({track_appended{"log", "1"}, track_appended{"log", "{}"}});
  CHECK(outcome.after().updated_at == start + second);
  CHECK(outcome.after().entries == 0);
}

TEST_CASE("tracks are checked and limited", "[session][track]") {
  auto past = given({born()});
  past.when(append_track{"", {"1"}}).fails(errc::invalid, "track");
  past.when(append_track{std::string(129, 't'), {"1"}}).fails(errc::invalid, "track");
  past.when(append_track{"log", {}}).fails(errc::invalid, "items");
  past.when(append_track{"log", {"1", ""}}).fails(errc::invalid, "items[1]");
  past.when(append_track{"log", {"1", of_bytes(entry_bytes_max + 1)}})
    .fails(errc::invalid, "items[1]");
  past.when(append_track{"log", std::vector<std::string>(501, "1")}).fails(errc::invalid, "items");
  CHECK(past.when(append_track{"log", std::vector<std::string>(500, "1")}).decision().facts.size()
        == 500);
}

// -- close and delete --

TEST_CASE("closing sets the end once, and reads go on", "[session][close]") {
  auto outcome = given({born()}).when(close{});
  outcome.then({closed{}});
  CHECK(outcome.after().status == status::closed);
  CHECK(outcome.after().closed_at == start + second);
  CHECK(outcome.after().readable(start * 2));
  given(past_closed()).when(close{}).nothing();
  given(past_absent()).when(close{}).fails(errc::not_found);
  given(past_deleted()).when(close{}).fails(errc::not_found);
  given(past_expired()).when(close{}).fails(errc::expired);
}

TEST_CASE("deleting leaves nothing, and twice is fine", "[session][delete]") {
  auto outcome = given({created{"{}", {{"k", "1"}}, hour}, context_added{"c", "file", "1"},
                        appended(testing::entry("a"), 1, 3, 1)})
                   .when(remove{});
  outcome.then({deleted{}});
  state gone;
  gone.status = status::deleted;
  gone.updated_at = start + 3 * second;
  gone.floor = 3;
  CHECK(outcome.after() == gone);
  given(past_closed()).when(remove{}).then({deleted{}});
  given({born(hour)}).at(start * 2).when(remove{}).then({deleted{}});
  given(past_expired()).when(remove{}).then({deleted{}});
  given(past_absent()).when(remove{}).nothing();
  given(past_deleted()).when(remove{}).nothing();
}

// -- forks --

namespace {

const stream_id original = session_stream("acme", "chat", "ada", "origin");

/// The state of a session with two entries, as of version 3.
state origin_state() {
  auto a = testing::entry("a");
  auto b = testing::entry("b", "assistant");
  return given(
           {created{R"({"m":1})", {{"k", "1"}}, none}, appended(a, 1, 2, 1), appended(b, 2, 2, 1)})
    .state();
}

}  // namespace

TEST_CASE("a fork begins with the past of another session", "[session][fork]") {
  auto outcome = given({}).policy({9, 60}).when(begin_fork{original, 3, origin_state()});
  REQUIRE(outcome.decision().facts.size() == 1);
  auto f = std::get<forked>(outcome.decision().facts[0]);
  CHECK(f.source == original);
  CHECK(f.through == 3);
  CHECK(f.at.values == json::raw_map{{"k", "1"}});
  CHECK(f.at.retention == retention{9, 60});
  CHECK(f.at.borrowed == std::vector<borrowed_range>{{original, 3}});
  CHECK(f.at.forked_from == borrowed_range{original, 3});
  CHECK(f.at.floor_ordinal == 2);

  auto s = outcome.after();
  CHECK(s.status == status::open);
  CHECK(s.created_at == start);
  CHECK(s.updated_at == start);
  CHECK(s.created_version == 1);
  CHECK(s.entries == 2);
  CHECK(s.turn_version == 2);

  auto base = aggregate::base_of(f, 4);
  REQUIRE(base.has_value());
  CHECK(*base == base_mark{3, true, {{original, 3}}});
  CHECK(aggregate::carried_state(f) == f.at);
}

TEST_CASE("a fork goes on from the version behind its shared past", "[session][fork]") {
  auto c = testing::entry("c", "user");
  auto fork = std::get<forked>(
    given({}).when(begin_fork{original, 3, origin_state()}).decision().facts.at(0));
  given({fork}).when(append_one(c)).then({appended(c, 3, 5, 3)});
  auto d = testing::entry("d", "tool");
  given({fork}).when(append_one(d)).then({appended(d, 3, 2, 1)});
}

TEST_CASE("a fork of a fork borrows from both", "[session][fork]") {
  auto fork = std::get<forked>(
    given({}).when(begin_fork{original, 3, origin_state()}).decision().facts.at(0));
  auto past = given({fork, state_changed{{{"x", "1"}}, {}}});
  auto second_source = session_stream("acme", "chat", "ada", "second");
  auto again = given({})
                 .in(session_stream("acme", "chat", "ada", "third"))
                 .when(begin_fork{second_source, 5, past.state()});
  auto f = std::get<forked>(again.decision().facts.at(0));
  CHECK(f.at.borrowed == std::vector<borrowed_range>{{original, 3}, {second_source, 5}});
  CHECK(f.at.forked_from == borrowed_range{second_source, 5});
}

TEST_CASE("a closed session may be forked, the fork is open", "[session][fork]") {
  auto origin = given({born(), closed{}}).state();
  auto outcome = given({}).when(begin_fork{original, 2, origin});
  CHECK(outcome.after().status == status::open);
  CHECK(outcome.after().closed_at == 0);
}

TEST_CASE("a fork borrows nothing of what the original has forgotten", "[session][fork]") {
  auto origin = origin_state();
  origin.floor = 3;
  auto f = std::get<forked>(given({}).when(begin_fork{original, 3, origin}).decision().facts.at(0));
  CHECK(f.at.borrowed.empty());
  CHECK(f.at.forked_from == borrowed_range{original, 3});
  origin.floor = 2;
  origin.borrowed = {{session_stream("acme", "chat", "ada", "old"), 2}};
  f = std::get<forked>(given({}).when(begin_fork{original, 3, origin}).decision().facts.at(0));
  CHECK(f.at.borrowed == std::vector<borrowed_range>{{original, 3}});
}

TEST_CASE("a fork needs a fresh id", "[session][fork]") {
  begin_fork wish{original, 3, origin_state()};
  given({born()}).when(wish).fails(errc::already_exists);
  given(past_closed()).when(wish).fails(errc::already_exists);
  given(past_deleted()).when(wish).fails(errc::rejected);
  given(past_expired()).when(wish).fails(errc::rejected);
  given({born(hour)}).at(start * 2).when(wish).fails(errc::rejected);
}

TEST_CASE("a fork needs an original that can be read", "[session][fork]") {
  auto self = self_of(aggregate{});
  auto origin = origin_state();
  given({}).when(begin_fork{self, 3, origin}).fails(errc::invalid, "source");
  given({}).when(begin_fork{{}, 3, origin}).fails(errc::invalid, "source");
  given({}).when(begin_fork{app_stream("acme", "chat"), 3, origin}).fails(errc::invalid, "source");
  auto foreign_tenant = session_stream("other", "chat", "ada", "origin");
  given({}).when(begin_fork{foreign_tenant, 3, origin}).fails(errc::invalid, "source");
  given({}).when(begin_fork{original, 0, state{}}).fails(errc::invalid, "version");
  given({}).when(begin_fork{original, 3, state{}}).fails(errc::not_found);
  given({}).when(begin_fork{original, 2, given(past_deleted()).state()}).fails(errc::not_found);
  given({}).when(begin_fork{original, 2, given(past_expired()).state()}).fails(errc::expired);
  origin.floor = 4;
  given({}).when(begin_fork{original, 3, origin}).fails(errc::invalid, "version");
}

// -- trimming --

namespace {

/// Two turns of two entries: versions 2 to 5.
std::vector<fact> two_turns(const retention& r = none) {
  return {born(r), appended(testing::entry("a"), 1, 2, 1),
          appended(testing::entry("b", "assistant"), 2, 2, 1),
          appended(testing::entry("c"), 3, 4, 3),
          appended(testing::entry("d", "assistant"), 4, 4, 3)};
}

state after_first_turn() {
  auto facts = two_turns();
  facts.resize(3);
  return given(facts).state();
}

}  // namespace

TEST_CASE("trimming forgets facts up to a version", "[session][trim]") {
  auto then = after_first_turn();
  auto outcome = given(two_turns()).when(trim{3, then});
  outcome.then({trimmed{3, then}});
  CHECK(outcome.after().floor == 3);
  CHECK(outcome.after().floor_ordinal == 2);
  CHECK(outcome.after().entries == 4);
  CHECK(outcome.after().updated_at == start + 4 * second);
}

TEST_CASE("a trim sets a base with the state as of there", "[session][trim]") {
  trimmed f{3, after_first_turn()};
  CHECK(aggregate::base_of(f, 6) == base_mark{3, true, {}});
  auto carried = aggregate::carried_state(f);
  CHECK(carried.floor == 3);
  CHECK(carried.floor_ordinal == 2);
  carried.floor = carried.floor_ordinal = 0;
  CHECK(carried == f.at);
}

TEST_CASE("what cannot be trimmed is left", "[session][trim]") {
  auto then = after_first_turn();
  given(two_turns()).when(trim{6, then}).nothing();
  given(two_turns()).when(trim{0, then}).nothing();
  auto trimmed_once = two_turns();
  trimmed_once.push_back(trimmed{3, then});
  given(trimmed_once).when(trim{3, then}).nothing();
  given(trimmed_once).when(trim{2, then}).nothing();
  given(past_absent()).when(trim{1, then}).nothing();
  given(past_deleted()).when(trim{1, then}).nothing();
  given(past_expired()).when(trim{1, then}).nothing();
  given({born(), deleted{}, born()}).when(trim{1, then}).nothing();
  auto other_life = then;
  other_life.created_version = 9;
  given(two_turns()).when(trim{3, other_life}).fails(errc::invalid, "at");
}

TEST_CASE("a closed session may be trimmed", "[session][trim]") {
  auto facts = two_turns();
  facts.push_back(closed{});
  given(facts)
    .policy({1, 1})
    .when(trim{3, after_first_turn()})
    .then({trimmed{3, after_first_turn()}});
}

TEST_CASE("a fork is trimmed only behind its shared past", "[session][trim]") {
  auto fork = std::get<forked>(
    given({}).when(begin_fork{original, 3, origin_state()}).decision().facts.at(0));
  std::vector<fact> facts{fork, appended(testing::entry("c"), 3, 5, 3)};
  given(facts).when(trim{2, origin_state()}).nothing();
  auto at = given(facts).state();
  auto outcome = given(facts).when(trim{5, at});
  outcome.then({trimmed{5, at}});
  CHECK(outcome.after().borrowed.empty());
  CHECK(outcome.after().forked_from == borrowed_range{original, 3});
  CHECK(aggregate::base_of(trimmed{5, at}, 6) == base_mark{5, true, {}});
  CHECK(aggregate::carried_state(trimmed{5, at}).borrowed.empty());
}

TEST_CASE("a life that ended is the base of what comes behind it", "[session]") {
  CHECK(aggregate::base_of(deleted{}, 7) == base_mark{6, false, {}});
  CHECK(aggregate::base_of(expired{}, 7) == base_mark{6, false, {}});
  CHECK(aggregate::carried_state(deleted{}) == state{});
  for (const auto& f : two_turns())
    CHECK_FALSE(aggregate::base_of(f, 7).has_value());
  for (const fact& f : {fact{state_changed{}}, fact{context_added{}}, fact{context_removed{}},
                        fact{track_appended{}}, fact{retention_changed{}}, fact{closed{}}})
    CHECK_FALSE(aggregate::base_of(f, 7).has_value());
}

// -- what readers share --

TEST_CASE("visible are whole turns among the last entries, and the last turn",
          "[session][visible]") {
  state s;
  s.entries = 6;
  s.turn_ordinal = 4;  // turns: 1, 2-3, 4-6
  auto seen = [&](std::uint64_t keep) {
    s.retention.keep_entries = keep;
    std::string out;
    const std::uint64_t turns[] = {1, 2, 2, 4, 4, 4};
    for (std::uint64_t n = 1; n <= 6; ++n)
      out += visible(s, {"", "", n, 0, turns[n - 1], ""}) ? char('0' + n) : '-';
    return out;
  };
  CHECK(seen(0) == "123456");
  CHECK(seen(6) == "123456");
  CHECK(seen(5) == "-23456");
  CHECK(seen(4) == "---456");
  CHECK(seen(3) == "---456");
  CHECK(seen(1) == "---456");
  CHECK(seen(100) == "123456");
}

TEST_CASE("entries before any user entry count one by one", "[session][visible]") {
  state s;
  s.entries = 3;
  s.retention.keep_entries = 2;
  CHECK_FALSE(visible(s, {"", "", 1, 0, 0, ""}));
  CHECK(visible(s, {"", "", 2, 0, 0, ""}));
  CHECK(visible(s, {"", "", 3, 0, 0, ""}));
}

TEST_CASE("a trim is due when more than twice the kept entries lie in the log", "[session][trim]") {
  state s;
  s.entries = 21;
  CHECK(trim_due(s) == 0);
  s.retention.keep_entries = 10;
  CHECK(trim_due(s) == 0);
  s.entries = 22;
  CHECK(trim_due(s) == 10);
  s.floor_ordinal = 1;
  CHECK(trim_due(s) == 0);
  s.floor_ordinal = 30;
  CHECK(trim_due(s) == 0);
  s.floor_ordinal = 0;
  s.retention.keep_entries = ~0ull;
  CHECK(trim_due(s) == 0);
}

TEST_CASE("only a fork looks up ids, of whole entries that have one", "[session][append]") {
  auto partial = testing::entry("p");
  partial.partial = true;
  append wish{{testing::entry("a"), {"", "user", false, "{}"}, partial}, {}};
  state s;
  s.created_version = 4;
  CHECK(aggregate::lookups(s, wish).empty());
  s.borrowed = {{original, 9}};
  CHECK(aggregate::lookups(s, wish) == std::vector<std::string>{fact_key::entry(4, "a")});
  CHECK(aggregate::lookups(s, close{}).empty());
}

TEST_CASE("a delta is sorted by scope", "[session][state]") {
  auto split = split_scopes({{"a", "1"},
                             {"app:b", "2"},
                             {"user:c", "3"},
                             {"temp:d", "4"},
                             {"apple:e", "5"},
                             {"app:app:f", "6"}},
                            "state");
  REQUIRE(split.has_value());
  CHECK(split->session == json::raw_map{{"a", "1"}, {"apple:e", "5"}});
  CHECK(split->app == json::raw_map{{"b", "2"}, {"app:f", "6"}});
  CHECK(split->user == json::raw_map{{"c", "3"}});
  CHECK(split->temp == json::raw_map{{"d", "4"}});
  CHECK(split_scopes({}, "state")->empty());
  CHECK(split_scopes({{"temp:d", "4"}}, "state")->empty());
}

TEST_CASE("keys of a delta are checked", "[session][state]") {
  for (const auto& key :
       {std::string(), std::string("app:"), std::string("user:"), std::string("temp:"),
        std::string(513, 'k'), "app:" + std::string(513, 'k'), std::string("\xff"),
        std::string("a\0b", 3)}) {
    auto split = split_scopes({{key, "1"}}, "state");
    REQUIRE_FALSE(split.has_value());
    CHECK(split.error().code == errc::invalid);
    CHECK(split.error().field == "state." + key.substr(0, 512));
  }
  CHECK(split_scopes({{"app:" + std::string(512, 'k'), "1"}}, "state").has_value());
}

TEST_CASE("bytes are base64", "[session][state]") {
  auto good = [](std::string value) {
    return split_scopes({{"k", std::move(value)}}, "d").has_value();
  };
  CHECK(good(R"({"$bytes":""})"));
  CHECK(good(R"({"$bytes":"AAEC"})"));
  CHECK(good(R"({"$bytes":"AAE="})"));
  CHECK(good(R"({"$bytes":"AA=="})"));
  CHECK(good(R"({"$bytes":"+/zZ"})"));
  CHECK(good(R"({"$bytes":"+\/zZ"})"));
  CHECK(good(R"({"$bytes":1,"other":2})"));
  CHECK(good(R"({"other":1})"));
  CHECK(good(R"({"$other":1})"));
  CHECK(good(R"({})"));
  CHECK(good(R"("$bytes")"));
  CHECK(good(R"([{"$bytes":1}])"));
  CHECK_FALSE(good(R"({"$bytes":1})"));
  CHECK_FALSE(good(R"({"$bytes":null})"));
  CHECK_FALSE(good(R"({"$bytes":"A"})"));
  CHECK_FALSE(good(R"({"$bytes":"AAE"})"));
  CHECK_FALSE(good(R"({"$bytes":"A==="})"));
  CHECK_FALSE(good(R"({"$bytes":"===="})"));
  CHECK_FALSE(good(R"({"$bytes":"AA=A"})"));
  CHECK_FALSE(good(R"({"$bytes":"AA-_"})"));
  CHECK_FALSE(good(R"({"$bytes":"AA E"})"));
  CHECK_FALSE(good(R"({"\u0024bytes":"A"})"));
  CHECK(split_scopes({{"app:k", R"({"$bytes":"A"})"}}, "d").error().field == "d.app:k");
}

TEST_CASE("every status has its own word", "[session]") {
  std::vector<std::string_view> words;
  for (auto s : {status::absent, status::open, status::closed, status::deleted, status::expired})
    words.push_back(to_string(s));
  CHECK(words == std::vector<std::string_view>{"absent", "open", "closed", "deleted", "expired"});
  CHECK(to_string(static_cast<status>(99)) == "unknown");
}

TEST_CASE("a footprint grows with what a state holds", "[session]") {
  state small;
  state large = small;
  large.values.emplace("k", std::string(10'000, 'x'));
  large.contexts.emplace("c", context_item{"file", std::string(10'000, 'x'), 0, 0});
  large.borrowed.push_back({original, 1});
  CHECK(aggregate::footprint(small) >= sizeof(state));
  CHECK(aggregate::footprint(large) > aggregate::footprint(small) + 20'000);
}

}  // namespace recalld::session

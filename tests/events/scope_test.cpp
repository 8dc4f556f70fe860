#include "tests/events/given.hpp"

namespace recalld::scope {

using namespace recalld::testing;

namespace {

const stream_id app = app_stream("acme", "chat");
const stream_id user = user_stream("acme", "chat", "ada");

}  // namespace

TEST_CASE("shared state merges per key", "[scope]") {
  auto outcome =
    given_scope({state_changed{{{"a", "1"}, {"b", "2"}}, {}}}).when(update_state{{{"b", "null"}}});
  outcome.then({state_changed{{{"b", "null"}}, {}}});
  CHECK(outcome.after().values == json::raw_map{{"a", "1"}, {"b", "null"}});
  CHECK(outcome.after().facts == 2);
  CHECK(outcome.after().updated_at == start + second);
  given_scope({}).when(update_state{}).nothing();
}

TEST_CASE("a scope's own prefix is stripped, another one refused", "[scope]") {
  given_scope({}).when(update_state{{{"app:a", "1"}}}).then({state_changed{{{"a", "1"}}, {}}});
  given_scope({})
    .in(user)
    .when(update_state{{{"user:a", "1"}}})
    .then({state_changed{{{"a", "1"}}, {}}});
  given_scope({}).when(update_state{{{"user:a", "1"}}}).fails(errc::invalid, "state.user:a");
  given_scope({}).when(update_state{{{"temp:a", "1"}}}).fails(errc::invalid, "state.temp:a");
  given_scope({}).in(user).when(update_state{{{"app:a", "1"}}}).fails(errc::invalid, "state.app:a");
  given_scope({})
    .in(user)
    .when(update_state{{{"temp:a", "1"}}})
    .fails(errc::invalid, "state.temp:a");
  given_scope({})
    .when(update_state{{{"app:a", "1"}, {"a", "2"}}})
    .fails(errc::invalid, "state.app:a");
}

TEST_CASE("keys and values of shared state are checked", "[scope]") {
  given_scope({}).when(update_state{{{"", "1"}}}).fails(errc::invalid, "state.");
  given_scope({}).when(update_state{{{"app:", "1"}}}).fails(errc::invalid, "state.app:");
  given_scope({}).when(update_state{{{"\xff", "1"}}}).fails(errc::invalid, "state.\xff");
  given_scope({}).when(update_state{{{"k", R"({"$bytes":"A"})"}}}).fails(errc::invalid, "state.k");
  given_scope({})
    .when(update_state{{{"k", R"({"$bytes":"AAAA"})"}}})
    .then({state_changed{{{"k", R"({"$bytes":"AAAA"})"}}, {}}});
  auto half = json::quote(std::string(session::state_bytes_max / 2, 'x'));
  auto past = given_scope({state_changed{{{"a", half}}, {}}});
  past.when(update_state{{{"b", half}}}).fails(errc::invalid, "state");
  past.when(update_state{{{"a", half}}}).then({state_changed{{{"a", half}}, {}}});
}

TEST_CASE("shared keys are deleted where they are known", "[scope]") {
  auto past = given_scope({state_changed{{{"a", "1"}, {"b", "2"}}, {}}});
  past.when(delete_keys{{"b", "x", "app:b"}}).then({state_changed{{}, {"b"}}});
  past.when(delete_keys{{"x"}}).nothing();
  past.when(delete_keys{}).nothing();
  past.when(delete_keys{{"user:a"}}).fails(errc::invalid, "keys[0]");
  past.when(delete_keys{{"a", ""}}).fails(errc::invalid, "keys[1]");
  CHECK(past.when(delete_keys{{"a"}}).after().values == json::raw_map{{"b", "2"}});
}

TEST_CASE("all shared keys are deleted at once", "[scope]") {
  auto past = given_scope({state_changed{{{"a", "1"}, {"b", "2"}}, {}}});
  past.when(delete_keys{{}, true}).then({state_changed{{}, {"a", "b"}}});
  past.when(delete_keys{{"ignored", ""}, true}).then({state_changed{{}, {"a", "b"}}});
  given_scope({}).when(delete_keys{{}, true}).nothing();
}

TEST_CASE("an application has a retention", "[scope]") {
  auto outcome = given_scope({}).when(set_retention{{5, 60}});
  outcome.then({retention_changed{{5, 60}}});
  CHECK(outcome.after().retention == retention{5, 60});
  given_scope({retention_changed{{5, 60}}}).when(set_retention{{5, 60}}).nothing();
  given_scope({retention_changed{{5, 60}}}).when(set_retention{}).then({retention_changed{}});
  given_scope({}).when(set_retention{{0, ttl_s_max}}).then({retention_changed{{0, ttl_s_max}}});
  given_scope({}).when(set_retention{{0, ttl_s_max + 1}}).fails(errc::invalid, "ttl_s");
  given_scope({}).in(user).when(set_retention{{5, 60}}).fails(errc::invalid, "retention");
}

TEST_CASE("an id is written down and changes no state", "[scope]") {
  auto outcome = given_scope({state_changed{{{"a", "1"}}, {}}}).in(user).when(reserve_id{"s1"});
  outcome.then({id_reserved{"s1"}});
  CHECK(outcome.after().values == json::raw_map{{"a", "1"}});
  CHECK(outcome.after().updated_at == start);
  CHECK(outcome.after().facts == 2);
  given_scope({}).when(reserve_id{""}).fails(errc::invalid, "id");
}

TEST_CASE("everything about a user is cleared at once, what was overwritten as well", "[scope]") {
  const state_changed once{{{"a", "1"}}, {}};
  auto outcome = given_scope({once, state_changed{{{"a", "2"}}, {}}}).in(user).when(clear{});
  outcome.then({cleared{}});
  CHECK(outcome.after().values.empty());
  CHECK(aggregate::base_of(cleared{}, 3)->through == 2);
  // What is deleted key by key is still to be forgotten.
  given_scope({once, state_changed{{}, {"a"}}}).in(user).when(clear{}).then({cleared{}});
  given_scope({id_reserved{"s1"}}).in(user).when(clear{}).then({cleared{}});
  given_scope({once, cleared{}}).in(user).when(clear{}).nothing();
  given_scope({}).in(user).when(clear{}).nothing();
  auto again = given_scope({once, cleared{}, once}).in(user);
  CHECK(again.when(delete_keys{{}, true}).after().values.empty());
  again.when(clear{}).then({cleared{}});
  given_scope({once}).when(clear{}).fails(errc::invalid, "user");
}

TEST_CASE("a scope's footprint grows with what it holds", "[scope]") {
  state s;
  s.values.emplace("k", std::string(10'000, 'x'));
  CHECK(aggregate::footprint(s) > aggregate::footprint(state{}) + 10'000);
}

}  // namespace recalld::scope

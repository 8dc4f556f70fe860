#include "events/principal.hpp"

#include "tests/events/given.hpp"

namespace recalld::principal {

using namespace recalld::testing;

namespace {

const record ada{"ada", "idle", true, "web", {"tea"}, R"({"a":1})"};
const model_session small{"local", "http://127.0.0.1:8080", "small", "chat", "1.k.box"};
const usage ten{1, 7, 3, 2, 10, 40};

usage_recorded used(std::string call, std::string session = "", std::string model = "") {
  return {std::move(call), std::move(session), std::move(model), ten};
}

}  // namespace

TEST_CASE("a record is written whole and keeps its creation", "[principal]") {
  auto out = given_principal({}).when(put{ada});
  out.then({record_put{ada, start}});
  auto past = given_principal({record_put{ada, start}});
  past.when(put{ada}).nothing();
  auto other = ada;
  other.status = "busy";
  auto changed = past.when(put{other});
  changed.then({record_put{other, start}});
  CHECK(changed.after().created_at == start);
  CHECK(changed.after().updated_at == past.now());
  other.username = std::string(text_bytes_max + 1, 'x');
  past.when(put{other}).fails(errc::invalid, "username");
  other = ada;
  other.topics = {"\xff"};
  past.when(put{other}).fails(errc::invalid, "topics");
}

TEST_CASE("a model session keeps its credential unless another is given", "[principal]") {
  auto past = given_principal({session_put{"s", small}});
  auto other = small;
  other.model = "large";
  other.sealed = "";
  past.when(put_session{"s", other, true}).then({session_put{"s", [&] {
                                                               auto kept = other;
                                                               kept.sealed = small.sealed;
                                                               return kept;
                                                             }()}});
  past.when(put_session{"s", other, false}).then({session_put{"s", other}});
  past.when(put_session{"s", small}).nothing();
  past.when(drop_session{"s"}).then({session_dropped{"s"}});
  past.when(drop_session{"t"}).nothing();
  past.when(put_session{"", small}).fails(errc::invalid, "session");
}

TEST_CASE("what a session said before is forgotten when it is put again or dropped",
          "[principal]") {
  const auto key = codec::encode(any_fact(fact(session_put{"s", small})), 4).key;
  CHECK(key.starts_with(aggregate::forgets(session_put{"s", small})));
  CHECK(key.starts_with(aggregate::forgets(session_dropped{"s"})));
  CHECK_FALSE(key.starts_with(aggregate::forgets(session_dropped{"s2"})));
  CHECK(aggregate::forgets(record_put{ada, start}).empty());
  CHECK(aggregate::base_of(purged{}, 9)->through == 8);
}

TEST_CASE("usage is counted once per call, in all, per session and per model", "[principal]") {
  auto past = given_principal({session_put{"s", small}});
  auto out = past.when(record_usage{"c1", "s", "", ten});
  out.then({used("c1", "s", "small")});
  CHECK(out.after().all.total == ten);
  CHECK(out.after().by_session.at("s").last == ten);
  CHECK(out.after().by_model.at("small").total == ten);
  past.known(usage_key("c1"), 2);
  past.when(record_usage{"c1", "s", "", ten}).nothing();
  past.when(record_usage{"c1", "dropped", "", ten}).nothing();
  auto twice = given_principal({used("c1", "s", "small"), used("c2", "", "large")});
  CHECK(twice.state().all.total == *sum(ten, ten));
  CHECK(twice.state().all.total.calls == 2);
  CHECK(twice.state().by_session.at("s").total == ten);
  CHECK(twice.state().by_model.size() == 2);
}

TEST_CASE("usage that would overflow is refused", "[principal]") {
  auto much = ten;
  much.total_tokens = number_max;
  auto past = given_principal({used("c1")});
  past.when(record_usage{"c2", "", "", much}).fails(errc::rejected, "total_tokens");
  much.total_tokens = number_max + 1;
  past.when(record_usage{"c2", "", "", much}).fails(errc::invalid, "total_tokens");
  past.when(record_usage{"", "", "", ten}).fails(errc::invalid, "call");
  CHECK_FALSE(sum(much, ten));
}

TEST_CASE("usage of a session that is not there is refused, unless it was counted before",
          "[principal]") {
  auto past = given_principal({session_put{"s", small}});
  past.when(record_usage{"c1", "t", "", ten}).fails(errc::not_found, "session");
  CHECK(aggregate::lookups(past.state(), record_usage{"c1", "t", "", ten})
        == std::vector{usage_key("c1")});
  auto much = ten;
  much.total_tokens = number_max;
  auto near = given_principal({used("c1")});
  CHECK(aggregate::lookups(near.state(), record_usage{"c1", "", "", much}).size() == 1);
  CHECK(aggregate::lookups(near.state(), record_usage{"c2", "", "", ten}).empty());
}

TEST_CASE("a credential is sealed again only while it is the same", "[principal]") {
  auto past = given_principal({session_put{"s", small}});
  auto again = small;
  again.sealed = "1.other.box";
  past.when(reseal{"s", small.sealed, again.sealed}).then({session_put{"s", again}});
  past.when(reseal{"s", "1.older.box", again.sealed}).nothing();
  past.when(reseal{"s", small.sealed, small.sealed}).nothing();
  past.when(reseal{"none", small.sealed, again.sealed}).nothing();
}

TEST_CASE("collections are attached and detached", "[principal]") {
  auto past = given_principal({collection_attached{"team", {"chat", "team"}}});
  past.when(attach{"team", {"chat", "team"}}).nothing();
  past.when(attach{"team", {"chat", "others"}}).then({collection_attached{"team", {"chat", "others"}}});
  past.when(detach{"team"}).then({collection_detached{"team"}});
  past.when(detach{"none"}).nothing();
  past.when(attach{"team", {"", "u"}}).fails(errc::invalid, "app");
  past.when(attach{"team", {"a", ""}}).fails(errc::invalid, "user");
}

TEST_CASE("a purge leaves nothing", "[principal]") {
  auto past = given_principal({record_put{ada, start}, session_put{"s", small}, used("c1", "s")});
  auto out = past.when(purge{});
  out.then({purged{}});
  CHECK(out.after() == state{});
  given_principal({record_put{ada, start}, purged{}}).when(purge{}).nothing();
}

TEST_CASE("the state of a principal goes there and back", "[principal]") {
  const auto past = given_principal({record_put{ada, start}, session_put{"s", small},
                                     collection_attached{"team", {"chat", "team"}}, used("c1", "s", "m")});
  auto back = codec::decode_state<aggregate>(codec::encode_state(past.state()));
  REQUIRE(back.has_value());
  CHECK(*back == past.state());
}

}  // namespace recalld::principal

#include "tests/events/given.hpp"

namespace recalld::memory_space {

using namespace recalld::testing;

namespace {

content says(std::string text) { return {.text = std::move(text)}; }

added as_added(std::string id, const content& c, const origin& from = {}) {
  return {std::move(id), hash_of(c), c, from};
}

const origin ben{"ben", R"({"kind":"session","session":"s1","entries":["e1","e2"]})"};

const content tea = says("Anna drinks tea");
const content coffee = says("Anna drinks coffee");
const content water = says("Anna drinks water");

/// The id that the first addition of a test's command gets, at its time.
std::string id_at(time_us_t now) { return uuid_v7(now, {0x0123'4567'89ab'cdef, 0}); }

}  // namespace

TEST_CASE("a memory is added with its source", "[memory_space]") {
  auto out = given_memories({}).when(add{tea, ben});
  out.then({as_added(id_at(start), tea, ben)});
  CHECK(out.after().memories.at(id_at(start)).revision == 1);
  CHECK(out.after().by_hash.size() == 1);
}

TEST_CASE("the same memory again is the existing one with new topics", "[memory_space]") {
  auto again = tea;
  again.topics = {"drinks"};
  again.metadata = R"({"a":1})";
  auto out = given_memories({as_added("m1", tea)}).when(add{again, ben});
  out.then({retold{"m1", 2, {"drinks"}, R"({"a":1})", ben}});
  CHECK(out.after().memories.size() == 1);
  // Every identity field counts, topics and metadata do not.
  auto other = tea;
  other.kind = memory_kind::episode;
  CHECK(hash_of(other) != hash_of(tea));
  other = tea;
  other.event_time = 0;
  CHECK(hash_of(other) != hash_of(tea));
  other = tea;
  other.location = "Rome";
  CHECK(hash_of(other) != hash_of(tea));
  other = tea;
  other.participants = {"Ro", "me"};
  auto shifted = other;
  shifted.participants = {"Rom", "e"};
  CHECK(hash_of(other) != hash_of(shifted));
  CHECK(hash_of(again) == hash_of(tea));
}

TEST_CASE("embeddings of what a memory says now are kept, others are left out", "[memory_space]") {
  auto past = given_memories({as_added("m1", tea), as_added("m2", water)});
  const embedding good{"m1", hash_of(tea), "small", "\x7f\x01"};
  auto old = good;
  old.hash = hash_of(coffee);
  auto gone = good;
  gone.id = "m9";
  auto out = past.when(embed{{old, good, gone}});
  out.then({embedded{good}});
  // It is no new revision, and takes no place in the order of changes.
  CHECK(out.after() == past.when(embed{{}}).after());
  auto wrong = good;
  wrong.vector.clear();
  past.when(embed{{good, wrong}}).fails(errc::invalid, "vector");
  wrong.vector.assign(dimensions_max + 1, 'x');
  past.when(embed{{wrong}}).fails(errc::invalid, "vector");
  wrong = good;
  wrong.model.clear();
  past.when(embed{{wrong}}).fails(errc::invalid, "model");
  past.when(embed{std::vector<embedding>(embeddings_max + 1, good)})
    .fails(errc::invalid, "embeddings");
}

TEST_CASE("an update keeps the id; the old text is free again", "[memory_space]") {
  auto past = given_memories({as_added("m1", tea), as_added("m2", water)});
  auto out = past.when(update{"m1", coffee, 1, "misheard", ben});
  out.then({updated{"m1", 2, hash_of(coffee), coffee, "misheard", ben}});
  auto edited = given_memories(
    {as_added("m1", tea), updated{"m1", 2, hash_of(coffee), coffee, "misheard", ben}});
  edited.when(add{tea}).then({as_added(id_at(edited.now()), tea)});
  edited.when(add{coffee}).then({retold{"m1", 3, {}, "", {}}});
  past.when(update{"m1", coffee, 7}).fails(errc::conflict);
  past.when(update{"m1", water}).fails(errc::already_exists);
  past.when(update{"m3", coffee}).fails(errc::not_found, "id");
  past.when(update{"m1", says("")}).fails(errc::invalid, "text");
}

TEST_CASE("a memory leaves search and comes back", "[memory_space]") {
  auto past = given_memories({as_added("m1", tea), as_added("m2", coffee)});
  const status_changed gone{"m1", 2, status::superseded, "m2", "newer", ben};
  auto out = past.when(set_status{"m1", status::superseded, "m2", "newer", ben});
  out.then({gone});
  CHECK(out.after().by_hash.size() == 1);
  CHECK(out.after().by_change.size() == 1);
  CHECK(out.after().memories.size() == 2);
  auto later = given_memories({as_added("m1", tea), as_added("m2", coffee), gone});
  later.when(set_status{"m1", status::superseded}).nothing();
  later.when(set_status{"m1", status::active}).then({status_changed{"m1", 3, status::active}});
  // Its text may be told anew meanwhile, and then it cannot come back.
  later.when(add{tea}).then({as_added(id_at(later.now()), tea)});
  given_memories({as_added("m1", tea), as_added("m2", coffee), gone, as_added("m3", tea)})
    .when(set_status{"m1", status::active})
    .fails(errc::already_exists);
  past.when(set_status{"m9", status::invalidated}).fails(errc::not_found, "id");
  past.when(set_status{"m1", status::superseded, "m9"}).fails(errc::invalid, "replaced_by");
  past.when(set_status{"m1", status::superseded, "m1"}).fails(errc::invalid, "replaced_by");
  past.when(set_status{"m1", status::invalidated, "m2"}).fails(errc::invalid, "replaced_by");
}

TEST_CASE("deleting twice is fine", "[memory_space]") {
  auto past = given_memories({as_added("m1", tea)});
  auto out = past.when(remove{"m1"});
  out.then({removed{"m1"}});
  CHECK(out.after() == state{});
  given_memories({as_added("m1", tea), removed{"m1"}}).when(remove{"m1"}).nothing();
  past.when(remove{""}).fails(errc::invalid, "id");
  past.when(clear{}).then({cleared{}});
  given_memories({as_added("m1", tea), cleared{}}).when(clear{}).nothing();
  given_memories({as_added("m1", tea), removed{"m1"}})
    .when(set_status{"m1", status::active})
    .fails(errc::not_found, "id");
}

TEST_CASE("what is deleted is forgotten: one memory by its key, all of them by a base",
          "[memory_space]") {
  const auto key_of = [](const fact& f) { return codec::encode(any_fact(f), 9).key; };
  const fact gone = removed{"m1"};
  const auto prefix = aggregate::forgets(gone);
  CHECK(key_of(as_added("m1", tea)) == "m1/1");
  for (const fact& f :
       {fact{as_added("m1", tea)}, fact{retold{"m1", 2, {}, "", {}}},
        fact{updated{"m1", 3, "h", tea, "", {}}}, fact{status_changed{"m1", 4, status::active}}}) {
    CHECK(key_of(f).starts_with(prefix));
    CHECK(aggregate::forgets(f).empty());
    CHECK_FALSE(aggregate::base_of(f, 5));
  }
  CHECK_FALSE(key_of(as_added("m10", tea)).starts_with(prefix));
  CHECK(key_of(gone).empty());

  auto out = given_memories({limit_changed{{9, true}}, as_added("m1", tea)}).when(clear{});
  out.then({cleared{{9, true}}});
  const fact all = cleared{{9, true}};
  const auto base = aggregate::base_of(all, 3);
  REQUIRE(base);
  CHECK(base->through == 2);
  CHECK(base->carries_state);
  CHECK(aggregate::carried_state(all) == out.after());
}

TEST_CASE("a limit rejects, but not what exists", "[memory_space]") {
  auto past =
    given_memories({limit_changed{{2, false}}, as_added("m1", tea), as_added("m2", coffee)});
  past.when(add{water}).fails(errc::rejected);
  past.when(add{tea}).then({retold{"m1", 2, {}, "", {}}});
  past.when(set_limit{{2, false}}).nothing();
  past.when(set_limit{{0, false}}).then({limit_changed{{}}});
  // Out of search is out of the count; coming back is counted again.
  const status_changed gone{"m1", 2, status::invalidated};
  auto fewer =
    given_memories({limit_changed{{1, false}}, as_added("m1", tea), gone, as_added("m2", coffee)});
  fewer.when(set_status{"m1", status::active}).fails(errc::rejected);
}

TEST_CASE("a limit evicts the least recently changed", "[memory_space]") {
  auto past = given_memories({limit_changed{{2, true}}, as_added("m1", tea), as_added("m2", coffee),
                              retold{"m1", 2, {}, "", {}}});
  auto out = past.when(add{water});
  out.then({removed{"m2", true}, as_added(id_at(past.now()), water)});
  CHECK(out.after().memories.size() == 2);
  // A limit that was lowered is kept to at the next addition.
  given_memories({as_added("m1", tea), as_added("m2", coffee), limit_changed{{1, true}}})
    .when(add{water})
    .then({removed{"m1", true}, removed{"m2", true}, as_added(id_at(start + 3 * second), water)});
}

TEST_CASE("what is remembered is checked", "[memory_space]") {
  auto past = given_memories({});
  past.when(add{says("")}).fails(errc::invalid, "text");
  past.when(add{says(" \n\t")}).fails(errc::invalid, "text");
  past.when(add{says("\xff")}).fails(errc::invalid, "text");
  past.when(add{says(std::string(text_bytes_max + 1, 'x'))}).fails(errc::invalid, "text");
  auto c = tea;
  c.topics = {"a", ""};
  past.when(add{c}).fails(errc::invalid, "topics[1]");
  c.topics.assign(topics_max + 1, "a");
  past.when(add{c}).fails(errc::invalid, "topics");
  c = tea;
  c.participants = {std::string(topic_bytes_max + 1, 'x')};
  past.when(add{c}).fails(errc::invalid, "participants[0]");
  c = tea;
  c.location = "\xc0";
  past.when(add{c}).fails(errc::invalid, "location");
  c = tea;
  c.metadata = std::string(metadata_bytes_max + 1, ' ');
  past.when(add{c}).fails(errc::invalid, "metadata");
}

TEST_CASE("the state goes there and back", "[memory_space]") {
  const auto past =
    given_memories({limit_changed{{9, true}}, as_added("m1", tea), as_added("m2", coffee),
                    status_changed{"m1", 2, status::invalidated}});
  auto back = codec::decode_state<aggregate>(codec::encode_state(past.state()));
  REQUIRE(back.has_value());
  CHECK(*back == past.state());
}

}  // namespace recalld::memory_space

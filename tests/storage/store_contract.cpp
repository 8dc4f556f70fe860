#include "storage/replay.hpp"
#include "tests/storage/subject.hpp"

#include <algorithm>
#include <numeric>

/// What every store promises, sentence by sentence.
namespace recalld::storage::testing {

using versions = std::vector<version_t>;
using positions = std::vector<position_t>;
using reason = refusal::reason;

// -- committing --

TEMPLATE_TEST_CASE("a fresh log is empty and knows who it is", "[store]", EVERY_STORE) {
  opened<TestType> log;
  CHECK(must(log.reader->head(0)) == 0);
  CHECK(must(log.reader->scan(0, 0, 10)).facts.empty());
  CHECK(must(log.reader->scan(0, 0, 10)).through == 0);
  CHECK(log.writer().identity() == log.reader->identity());
  CHECK_FALSE(log.reader->identity().log_id.empty());
  CHECK(code_of(log.reader->find_stream(session_named("s"))) == errc::not_found);
  CHECK(code_of(log.reader->stream_of(1)) == errc::not_found);
  CHECK(must(log.writer().outdated_tables()).empty());
}

TEMPLATE_TEST_CASE("given nothing, when facts are committed, then they stand in the log as told",
                   "[store]", EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  const auto out = log.commit(unit(s, 0, {created(), entry("a"), entry("b", 2)}, "cmd", 5000));
  REQUIRE_FALSE(out.refused);
  REQUIRE(out.parts.size() == 1);
  CHECK(out.parts[0].first_version == 1);
  CHECK(out.parts[0].last_version == 3);
  CHECK(out.parts[0].position == 3);
  CHECK(out.parts[0].time == 5000);
  const auto page = must(log.reader->scan(0, 0, 10));
  REQUIRE(page.facts.size() == 3);
  CHECK(page.through == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    const auto& stored = page.facts[i];
    const auto& told = out.facts[i];
    CHECK(stored.at.position == i + 1);
    CHECK(stored.at.version == i + 1);
    CHECK(stored.at.stream == s);
    CHECK(stored.at.stream_no == told.at.stream_no);
    CHECK(stored.at.time == 5000);
    CHECK(stored.at.command == told.at.command);
    CHECK(stored.at.body_hash == told.at.body_hash);
    CHECK(stored.at.command_facts == told.at.command_facts);
    CHECK(stored.type == told.type);
    CHECK(stored.schema == told.schema);
    CHECK(stored.lane == told.lane);
    CHECK(stored.key == told.key);
    CHECK(stored.payload == told.payload);
    CHECK_FALSE(stored.blanked);
  }
  CHECK(page.facts[0].at.command == "cmd");
  CHECK(page.facts[0].at.command_facts == 3);
  CHECK(page.facts[0].at.body_hash == 7);
  CHECK(page.facts[1].at.command.empty());
  CHECK(must(log.reader->stream_of(out.parts[0].stream_no)) == s);
}

TEMPLATE_TEST_CASE("a body hash keeps all of its 64 bits", "[store]", EVERY_STORE) {
  opened<TestType> log;
  auto u = unit(session_named("s"), 0, {created()}, "cmd");
  u.body_hash = 0xfedcba9876543210ull;
  log.commit(std::move(u));
  CHECK(must(log.reader->scan(0, 0, 1)).facts.at(0).at.body_hash == 0xfedcba9876543210ull);
}

TEMPLATE_TEST_CASE("facts that were encoded beforehand are stored as they are", "[store]",
                   EVERY_STORE) {
  opened<TestType> log;
  auto u = unit(session_named("s"), 0, {created()});
  auto made = codec::encode(u.parts[0].facts[0], 1);
  made.payload = text(R"({"values":{},"unknown":1})");
  u.parts[0].encoded.push_back(made);
  log.commit(std::move(u));
  CHECK(must(log.reader->scan(0, 0, 1)).facts.at(0).payload.view()
        == R"({"values":{},"unknown":1})");
}

TEMPLATE_TEST_CASE("positions run on over streams and commits without a gap", "[store]",
                   EVERY_STORE) {
  opened<TestType> log;
  log.append(session_named("a"), {created(), entry("1")});
  log.append(session_named("b"), {created()});
  log.append(session_named("a"), {entry("2", 2)});
  const auto page = must(log.reader->scan(0, 0, 10));
  CHECK(positions_of(page.facts) == positions{1, 2, 3, 4});
  CHECK(versions_of(page.facts) == versions{1, 2, 1, 3});
  CHECK(must(log.reader->head(0)) == 4);
}

TEMPLATE_TEST_CASE("a scan comes page by page", "[store]", EVERY_STORE) {
  opened<TestType> log;
  for (int i = 0; i < 7; ++i)
    log.append(session_named(std::to_string(i)), {created()});
  position_t after = 0;
  std::vector<std::size_t> sizes;
  for (;;) {
    const auto page = must(log.reader->scan(0, after, 3));
    if (page.through == after)
      break;
    CHECK(page.facts.front().at.position == after + 1);
    sizes.push_back(page.facts.size());
    after = page.through;
  }
  CHECK(sizes == std::vector<std::size_t>{3, 3, 1});
}

TEMPLATE_TEST_CASE("time never goes back within a stream", "[store]", EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  log.append(s, {created()}, {}, 9000);
  CHECK(log.append(s, {entry("a")}, {}, 100).time == 9000);
  CHECK(log.append(session_named("other"), {created()}, {}, 100).time == 100);
  log.reopen();
  CHECK(log.append(s, {entry("b", 2)}, {}, 50).time == 9000);
  CHECK(log.append(s, {entry("c", 3)}, {}, 9001).time == 9001);
}

TEMPLATE_TEST_CASE("given a stream at a version, when another is expected, then it is refused",
                   "[store]", EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  log.append(s, {created(), entry("a")});
  for (const version_t wrong : {0, 1, 3}) {
    const auto out = log.commit(unit(s, wrong, {entry("b", 2)}));
    REQUIRE(out.refused);
    CHECK(out.refused->why == reason::wrong_version);
    CHECK(out.refused->part == 0);
    CHECK(out.refused->current_version == 2);
    CHECK(out.facts.empty());
    CHECK(out.parts.empty());
  }
  CHECK_FALSE(log.commit(unit(s, 2, {entry("b", 2)})).refused);
  const auto absent = log.commit(unit(session_named("none"), 4, {entry("x")}));
  REQUIRE(absent.refused);
  CHECK(absent.refused->current_version == 0);
  CHECK(code_of(log.reader->find_stream(session_named("none"))) == errc::not_found);
}

TEMPLATE_TEST_CASE("a repeated command is refused with its first receipt", "[store]", EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  const auto first = log.append(s, {created(), entry("a")}, "cmd", 4000);
  // Also when its expected version is stale, in the same batch, and after a restart.
  for (int round = 0; round < 2; ++round) {
    for (const auto& expected : {std::optional<version_t>{}, std::optional<version_t>{0}}) {
      const auto out = log.commit(unit(s, expected, {entry("z", 9)}, "cmd"));
      REQUIRE(out.refused);
      CHECK(out.refused->why == reason::duplicate_command);
      const auto& receipt = out.refused->receipt;
      REQUIRE(receipt.size() == projections::receipts::spec.columns.size());
      using namespace projections;
      CHECK(receipt[receipts::stream] == value(static_cast<std::int64_t>(first.stream_no)));
      CHECK(receipt[receipts::command] == value("cmd"));
      CHECK(receipt[receipts::body_hash] == value(std::int64_t{7}));
      CHECK(receipt[receipts::first_version] == value(std::int64_t{1}));
      CHECK(receipt[receipts::last_version] == value(std::int64_t{2}));
      CHECK(receipt[receipts::position] == value(std::int64_t{2}));
      CHECK(receipt[receipts::time] == value(std::int64_t{4000}));
    }
    log.reopen();
  }
  CHECK(must(log.reader->head(0)) == 2);
  // The same id is another command in another stream.
  CHECK_FALSE(log.commit(unit(session_named("other"), 0, {created()}, "cmd")).refused);
}

TEMPLATE_TEST_CASE("a command that is repeated within one batch is executed once", "[store]",
                   EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  const auto out = log.commit_all({unit(s, 0, {created()}, "cmd"), unit(s, 0, {created()}, "cmd")});
  CHECK_FALSE(out[0].refused);
  REQUIRE(out[1].refused);
  CHECK(out[1].refused->why == reason::duplicate_command);
  CHECK(must(log.reader->head(0)) == 1);
}

TEMPLATE_TEST_CASE("a fact's key is unique in its stream", "[store]", EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  log.append(s, {created(), entry("a")});
  const auto out = log.commit(unit(s, 2, {entry("b", 2), entry("a", 3)}, "cmd"));
  REQUIRE(out.refused);
  CHECK(out.refused->why == reason::key_taken);
  CHECK(out.refused->key == fact_key::entry(1, "a"));
  CHECK(out.refused->current_version == 2);
  const auto within = log.commit(unit(s, 2, {entry("c", 2), entry("c", 3)}));
  REQUIRE(within.refused);
  CHECK(within.refused->why == reason::key_taken);
  // Nothing is left of either: the version, the keys and the command are free.
  CHECK_FALSE(log.commit(unit(s, 2, {entry("b", 2), entry("c", 3)}, "cmd")).refused);
  CHECK_FALSE(log.commit(unit(session_named("other"), 0, {created(), entry("a")})).refused);
}

TEMPLATE_TEST_CASE("a refused unit leaves no trace and harms no neighbour", "[store]",
                   EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  log.append(s, {created({{"k", "1"}}), entry("a")});
  const auto before = log.rows(projections::sessions::spec);
  append_unit two_parts = unit(session_named("fresh"), 0, {created()}, "c1");
  two_parts.parts.push_back({s, std::nullopt, {entry("a", 5)}, {}});
  const auto out = log.commit_all({
    unit(session_named("n1"), 0, {created()}),
    two_parts,  // its key is taken
    unit(session_named("n2"), 0, {created()}),
    unit(s, 1, {state_set({{"k", "2"}})}),                       // stale
    unit(s, 2, {state_set({{"k", "3"}}), entry("a", 2)}, "c2"),  // its key is taken
    unit(session_named("n3"), 0, {created()}, "c3"),
  });
  CHECK_FALSE(out[0].refused);
  REQUIRE(out[1].refused);
  CHECK(out[1].refused->part == 1);
  CHECK_FALSE(out[2].refused);
  CHECK(out[3].refused);
  CHECK(out[4].refused);
  CHECK_FALSE(out[5].refused);
  CHECK(positions_of(must(log.reader->scan(0, 0, 100)).facts) == positions{1, 2, 3, 4, 5});
  CHECK(code_of(log.reader->find_stream(session_named("fresh"))) == errc::not_found);
  CHECK(log.rows(projections::session_state::spec).at(0).at(2) == projections::value("1"));
  CHECK(log.rows(projections::sessions::spec).at(0) == before.at(0));
  CHECK(log.rows(projections::receipts::spec).size() == 1);
  CHECK(must(log.reader->find_stream(s)).head == 2);
  // A stream that is begun later gets the number that follows the last one.
  CHECK(out[5].parts[0].stream_no == 4);
  CHECK(log.append(session_named("fresh"), {created()}).stream_no == 5);
}

TEMPLATE_TEST_CASE("a batch in which everything is refused changes nothing", "[store]",
                   EVERY_STORE) {
  opened<TestType> log;
  const auto out = log.commit_all({unit(session_named("s"), 3, {entry("a")}, "c")});
  CHECK(out[0].refused);
  CHECK(must(log.reader->head(0)) == 0);
  CHECK_FALSE(log.commit(unit(session_named("s"), 0, {created()}, "c")).refused);
}

TEMPLATE_TEST_CASE("each unit of a batch sees those before it", "[store]", EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  const auto out = log.commit_all({unit(s, 0, {created()}), unit(s, 1, {entry("a")}),
                                   unit(s, {}, {entry("b", 2)}), unit(s, 2, {entry("c", 3)})});
  CHECK_FALSE(out[1].refused);
  CHECK(out[2].parts.at(0).first_version == 3);
  REQUIRE(out[3].refused);
  CHECK(out[3].refused->current_version == 3);
}

TEMPLATE_TEST_CASE("a unit's parts are committed together, foreign ones behind any version",
                   "[store]", EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  const auto app = app_stream("t", "app");
  log.append(app, {app_value("old", "1")});
  auto u = unit(s, 0, {created(), entry("a")}, "cmd");
  u.parts.push_back({app, std::nullopt, {app_value("k", "2"), app_value("l", "3")}, {}});
  u.parts.push_back({user_stream("t", "app", "ann"), std::nullopt, {app_value("u", "4")}, {}});
  const auto out = log.commit(u);
  REQUIRE_FALSE(out.refused);
  REQUIRE(out.parts.size() == 3);
  CHECK(out.parts[0].position == 3);
  CHECK(out.parts[1].first_version == 2);
  CHECK(out.parts[1].last_version == 3);
  CHECK(out.parts[1].position == 5);
  CHECK(out.parts[2].first_version == 1);
  CHECK(log.rows(projections::scope_state::spec).size() == 4);
  // The command belongs to the first part's stream alone.
  CHECK(log.rows(projections::receipts::spec).size() == 1);
  CHECK(out.facts[0].at.command_facts == 2);

  auto stale = unit(s, 2, {entry("b", 2)});
  stale.parts.push_back({app, 1, {app_value("k", "9")}, {}});
  const auto refused = log.commit(stale);
  REQUIRE(refused.refused);
  CHECK(refused.refused->part == 1);
  CHECK(refused.refused->current_version == 3);
  CHECK(must(log.reader->find_stream(s)).head == 2);
}

TEMPLATE_TEST_CASE("a part without facts checks a version and writes nothing", "[store]",
                   EVERY_STORE) {
  opened<TestType> log;
  auto u = unit(session_named("s"), 0, {created()});
  u.parts.push_back({session_named("guard"), 0, {}, {}});
  CHECK_FALSE(log.commit(u).refused);
  CHECK(code_of(log.reader->find_stream(session_named("guard"))) == errc::not_found);
  u.parts[0] = {session_named("s"), 1, {entry("a")}, {}};
  u.parts[1].expected = 3;
  CHECK(log.commit(u).refused);
}

// -- fencing --

TEMPLATE_TEST_CASE("whoever takes a shard fences those before", "[store]", EVERY_STORE) {
  opened<TestType> log;
  const auto old = log.epoch;
  log.append(session_named("s"), {created()});
  const auto taken = must(log.writer().take_shard(0));
  CHECK(taken > old);
  const std::vector<append_unit> units{unit(session_named("s"), 1, {entry("a")})};
  CHECK(code_of(log.writer().commit(0, old, units)) == errc::fenced);
  CHECK(code_of(log.writer().sweep(0, old, 0, 10)) == errc::fenced);
  CHECK(must(log.reader->head(0)) == 1);
  CHECK(must(log.writer().commit(0, taken, units)).size() == 1);
  log.epoch = taken;
  log.reopen();
  CHECK(log.epoch > taken);
  CHECK(code_of(log.writer().take_shard(99)) == errc::invalid);
}

// -- reading one stream --

TEMPLATE_TEST_CASE("lanes are read in both directions, bounded, without the other lanes", "[store]",
                   EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  log.append(s, {created(), entry("a"), track_item("log"), entry("b", 2), state_set({{"k", "1"}}),
                 entry("c", 3), track_item("log")});
  log.append(session_named("other"), {created(), entry("a")});
  const auto no = log.number_of(s);
  auto& r = *log.reader;
  CHECK(versions_of(must(r.lane_forth(no, lane::entries, 0, 10))) == versions{2, 4, 6});
  CHECK(versions_of(must(r.lane_forth(no, lane::entries, 2, 1))) == versions{4});
  CHECK(versions_of(must(r.lane_back(no, lane::entries, 6, 10))) == versions{4, 2});
  CHECK(versions_of(must(r.lane_back(no, lane::entries, ~version_t{0}, 2))) == versions{6, 4});
  CHECK(versions_of(must(r.lane_forth(no, lane::tracks, 0, 10))) == versions{3, 7});
  CHECK(versions_of(must(r.lane_back(no, lane::folded, 100, 10))) == versions{5, 1});
  CHECK(versions_of(must(r.stream_forth(no, 0, 10))) == versions{1, 2, 3, 4, 5, 6, 7});
  CHECK(versions_of(must(r.stream_forth(no, 3, 2))) == versions{4, 5});
  CHECK(must(r.lane_forth(999, lane::entries, 0, 10)).empty());
  CHECK(must(r.lane_forth(no, lane::entries, 0, 0)).empty());
  const auto facts = must(r.lane_forth(no, lane::entries, 0, 1));
  CHECK(facts.at(0).at.stream == s);
  CHECK(facts.at(0).payload.view().find("hello") != std::string_view::npos);
}

TEMPLATE_TEST_CASE("a fact is found by its key", "[store]", EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  log.append(s, {created(), entry("a"), entry("a:b", 2)});
  const auto no = log.number_of(s);
  const auto found = must(log.reader->by_key(no, fact_key::entry(1, "a:b")));
  REQUIRE(found);
  CHECK(found->at.version == 3);
  CHECK_FALSE(must(log.reader->by_key(no, fact_key::entry(1, "b"))));
  CHECK_FALSE(must(log.reader->by_key(no + 1, fact_key::entry(1, "a"))));
  CHECK_FALSE(must(log.reader->by_key(no, "")));
}

TEMPLATE_TEST_CASE("facts are listed by the prefix of their keys, page by page", "[store]",
                   EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  log.append(s, {created(), track_item("a"), track_item("b"), track_item("a"), track_item("ab"),
                 track_item("a"), entry("a")});
  const auto no = log.number_of(s);
  const auto prefix = fact_key::track_prefix("a");
  auto& r = *log.reader;
  const auto page = must(r.by_key_prefix(no, prefix, "", 2));
  CHECK(versions_of(page) == versions{2, 4});
  CHECK(versions_of(must(r.by_key_prefix(no, prefix, page.back().key, 2))) == versions{6});
  CHECK(versions_of(must(r.by_key_prefix(no, fact_key::track_prefix("ab"), "", 9))) == versions{5});
  CHECK(must(r.by_key_prefix(no, fact_key::track_prefix("none"), "", 9)).empty());
}

TEMPLATE_TEST_CASE("the first fact since a time is found per lane", "[store]", EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  log.append(s, {created()}, {}, 10);
  log.append(s, {entry("a")}, {}, 20);
  log.append(s, {entry("b", 2), entry("c", 3)}, {}, 30);
  log.append(s, {state_set({{"k", "1"}})}, {}, 40);
  log.append(s, {entry("d", 4)}, {}, 50);
  const auto no = log.number_of(s);
  auto since = [&](lane l, time_us_t t) { return must(log.reader->first_since(no, l, t)); };
  CHECK(since(lane::entries, 0) == 2);
  CHECK(since(lane::entries, 20) == 2);
  CHECK(since(lane::entries, 21) == 3);
  CHECK(since(lane::entries, 30) == 3);
  CHECK(since(lane::entries, 31) == 6);
  CHECK(since(lane::entries, 51) == 0);
  CHECK(since(lane::folded, 11) == 5);
  CHECK(since(lane::tracks, 0) == 0);
}

// -- restarts --

TEMPLATE_TEST_CASE("given a written log, when it is opened again, then all of it is there",
                   "[store]", EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  const auto identity = log.writer().identity();
  log.append(s, {created({{"k", "1"}}), entry("a")}, "c1");
  log.append(session_named("b"), {created()});
  const auto rows = log.rows(projections::sessions::spec);
  log.reopen();
  CHECK(log.writer().identity() == identity);
  CHECK(must(log.reader->head(0)) == 3);
  CHECK(must(log.reader->find_stream(s)) == stream_position{1, 2, 0, 0});
  CHECK(log.rows(projections::sessions::spec) == rows);
  const auto more = log.append(session_named("c"), {created()});
  CHECK(more.stream_no == 3);
  CHECK(more.position == 4);
  CHECK(log.append(s, {entry("b", 2)}).first_version == 3);
}

// -- rows --

TEMPLATE_TEST_CASE("rows follow the facts, whatever the batches", "[store]", EVERY_STORE) {
  const auto s = session_named("s");
  const auto t = session_named("t");
  const std::vector<append_unit> units{
    unit(s, {}, {created({{"a", "1"}, {"b", "2"}})}, "c1", 10),
    unit(s, {}, {state_set({{"a", "3"}, {"c", "4"}}, {"b"})}, "c2", 20),
    unit(t, {}, {created({{"x", "1"}})}, "c3", 20),
    unit(s, {}, {deleted()}, "c4", 30),
    unit(s, {}, {created({{"b", "5"}})}, "c5", 40),
    unit(t, {}, {state_set({}, {"x"}), state_set({{"x", "2"}})}, "c6", 50),
    unit(s, {}, {state_set({{"b", "6"}}, {})}, "c7", 60),
  };
  opened<TestType> one_batch;
  one_batch.commit_all(units);
  opened<TestType> many;
  for (const auto& u : units)
    many.commit(u);
  for (const auto* table : projections::tables())
    CHECK(one_batch.rows(*table) == many.rows(*table));
  const auto state = many.rows(projections::session_state::spec);
  REQUIRE(state.size() == 2);
  CHECK(text_of(state[0][1]) == "b");
  CHECK(text_of(state[0][2]) == "6");
  CHECK(text_of(state[1][2]) == "2");
}

TEMPLATE_TEST_CASE("rows are listed by key and by index, both ways, page by page", "[store]",
                   EVERY_STORE) {
  using namespace projections;
  opened<TestType> log;
  // Sessions of two users; some were updated at the same time.
  std::vector<std::string> names;
  for (int i = 0; i < 23; ++i) {
    const auto name = "s" + std::to_string(i * 7 % 23 + 10);
    names.push_back(name);
    log.append(session_stream("t", "app", i % 3 == 0 ? "bob" : "ann", name), {created()}, {},
               100 + (i / 4) * (time_us_t{1} << 23));  // two groups a slot
  }
  log.append(session_stream("t", "other", "ann", "zz"), {created()}, {}, 500);

  for (const bool descending : {false, true}) {
    for (const int index : {-1, int{sessions::by_app}, int{sessions::by_user}}) {
      row_query q{.table = &sessions::spec, .index = index, .descending = descending, .limit = 4};
      if (index == sessions::by_app)
        q.equals = {value("t"), value("app")};
      if (index == sessions::by_user)
        q.equals = {value("t"), value("app"), value("ann")};
      auto all = q;
      all.limit = 1000;
      const auto whole = must(log.reader->rows(all));
      CHECK(whole.size() == (index == -1 ? 24u : index == sessions::by_app ? 23u : 15u));
      std::vector<row> paged;
      for (;;) {
        const auto page = must(log.reader->rows(q));
        paged.insert(paged.end(), page.begin(), page.end());
        if (page.size() < q.limit)
          break;
        std::vector<value> after;
        if (index >= 0) {
          const auto& columns = sessions::spec.indexes[static_cast<std::size_t>(index)].columns;
          for (std::size_t i = q.equals.size(); i < columns.size(); ++i)
            after.push_back(page.back()[columns[i]]);
        }
        after.push_back(page.back()[sessions::stream]);
        q.after = after;
      }
      CHECK(paged == whole);
      auto other_way = all;
      other_way.descending = !descending;
      auto reversed = must(log.reader->rows(other_way));
      std::reverse(reversed.begin(), reversed.end());
      CHECK(reversed == whole);
      if (index == sessions::by_app) {
        const auto updated = [&](const row& r) {
          return std::get<std::int64_t>(r[sessions::updated_at]);
        };
        for (std::size_t i = 1; i < whole.size(); ++i)
          CHECK((descending ? updated(whole[i]) <= updated(whole[i - 1])
                            : updated(whole[i]) >= updated(whole[i - 1])));
      }
    }
  }
}

TEMPLATE_TEST_CASE("rows of a table with a longer key are listed by its beginning", "[store]",
                   EVERY_STORE) {
  using namespace projections;
  opened<TestType> log;
  log.append(session_named("a"), {created({{"k1", "1"}, {"k2", "2"}, {"k3", "3"}})});
  log.append(session_named("b"), {created({{"k1", "4"}})});
  const value a{static_cast<std::int64_t>(log.number_of(session_named("a")))};
  auto keys = [&](const row_query& q) {
    std::string out;
    for (const auto& r : must(log.reader->rows(q)))
      out += text_of(r[session_state::key]) + "=" + text_of(r[session_state::value]) + " ";
    return out;
  };
  CHECK(keys({.table = &session_state::spec, .equals = {a}}) == "k1=1 k2=2 k3=3 ");
  CHECK(keys({.table = &session_state::spec, .equals = {a}, .descending = true})
        == "k3=3 k2=2 k1=1 ");
  CHECK(keys({.table = &session_state::spec, .equals = {a}, .after = {{value("k1")}}})
        == "k2=2 k3=3 ");
  CHECK(keys({.table = &session_state::spec, .equals = {a, value("k2")}}) == "k2=2 ");
  CHECK(keys({.table = &session_state::spec, .equals = {a}, .limit = 1}) == "k1=1 ");
  CHECK(keys({.table = &session_state::spec}) == "k1=1 k2=2 k3=3 k1=4 ");
  CHECK(keys({.table = &session_state::spec, .after = {{a, value("k2")}}}) == "k3=3 k1=4 ");
}

TEMPLATE_TEST_CASE("rows are bounded by whole numbers, and a partial index has only its rows",
                   "[store]", EVERY_STORE) {
  using namespace projections;
  opened<TestType> log;
  auto add = [&](const char* name, time_us_t time, std::uint64_t ttl_s) {
    log.append(session_named(name), {created({}, {.ttl_s = ttl_s})}, {}, time);
  };
  add("never", 100, 0);
  add("late", 200, 9);
  add("soon", 300, 1);
  auto names = [&](const row_query& q) {
    std::string out;
    for (const auto& r : must(log.reader->rows(q)))
      out += text_of(r[sessions::session]) + " ";
    return out;
  };
  using bound = row_query::bound;
  row_query q{.table = &sessions::spec, .index = sessions::by_expiry};
  CHECK(names(q) == "soon late ");
  q.where = {bound{.column = sessions::expires_at, .at_most = 2'000'000}};
  CHECK(names(q) == "soon ");
  row_query by_key{.table = &sessions::spec};
  by_key.where = {bound{.column = sessions::expires_at, .at_least = 2'000'000, .or_null = true}};
  CHECK(names(by_key) == "never late ");
  by_key.where.push_back(bound{.column = sessions::updated_at, .at_least = 101, .at_most = 200});
  CHECK(names(by_key) == "late ");
  by_key.where = {bound{.column = sessions::updated_at, .at_least = 201}};
  CHECK(names(by_key) == "soon ");
}

TEMPLATE_TEST_CASE("a cursor or an equality that does not fit the index is invalid", "[store]",
                   EVERY_STORE) {
  using namespace projections;
  opened<TestType> log;
  const value v{std::int64_t{1}};
  CHECK(code_of(log.reader->rows({.table = &sessions::spec, .equals = {v, v}})) == errc::invalid);
  CHECK(code_of(log.reader->rows({.table = &session_state::spec, .after = {{v}}}))
        == errc::invalid);
}

// -- snapshots of readers --

TEMPLATE_TEST_CASE("a frozen reader sees neither facts nor rows of later commits", "[store]",
                   EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  log.append(s, {created()});
  must(log.reader->begin_snapshot());
  CHECK(code_of(log.reader->begin_snapshot()) == errc::invalid);
  log.append(s, {entry("a")}, "c");
  CHECK(must(log.reader->head(0)) == 1);
  CHECK(must(log.reader->find_stream(s)).head == 1);
  CHECK(log.rows(projections::receipts::spec).empty());
  auto second = must(log.store->open_reader());
  CHECK(must(second->head(0)) == 2);
  must(log.reader->end_snapshot());
  CHECK(must(log.reader->head(0)) == 2);
  CHECK(code_of(log.reader->end_snapshot()) == errc::invalid);
}

// -- bases, borrowing, forgetting --

TEMPLATE_TEST_CASE("a base marks what is forgotten; the state stays with the fact that set it",
                   "[store]", EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  log.append(s, {created(), entry("a"), entry("b", 2)});
  log.append(s, {trimmed(2, open_state(1)), entry("c", 3)});
  CHECK(must(log.reader->find_stream(s)) == stream_position{1, 5, 2, 4});
  log.append(session_named("plain"), {created()});
  const auto based = must(log.reader->based_streams(0, 0, 10));
  REQUIRE(based.size() == 1);
  CHECK(based[0] == stream_position{1, 5, 2, 4});
  CHECK(must(log.reader->based_streams(0, 1, 10)).empty());
  log.append(s, {deleted()});
  CHECK(must(log.reader->find_stream(s)) == stream_position{1, 6, 5, 0});
  log.reopen();
  CHECK(must(log.reader->find_stream(s)) == stream_position{1, 6, 5, 0});
}

TEMPLATE_TEST_CASE("a fork begins behind the past that it borrows", "[store]", EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  const auto f = session_named("f");
  log.append(s, {created(), entry("a"), entry("b", 2)});
  CHECK(log.commit(unit(f, 0, {forked(s, 2, open_state(1))})).refused);
  const auto out = log.commit(unit(f, 2, {forked(s, 2, open_state(1))}));
  REQUIRE_FALSE(out.refused);
  CHECK(out.parts[0].first_version == 3);
  CHECK(must(log.reader->find_stream(f)) == stream_position{2, 3, 2, 3});
  const auto any = log.commit(unit(session_named("g"), {}, {forked(s, 3, open_state(2))}));
  REQUIRE_FALSE(any.refused);
  CHECK(any.parts[0].first_version == 4);
  CHECK(log.append(f, {entry("c", 2)}).first_version == 4);
}

TEMPLATE_TEST_CASE("given a trimmed stream, when it is swept, then what lies below is gone",
                   "[store]", EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  log.append(s, {created(), entry("secret-a"), track_item("log")});
  log.append(s, {entry("b", 2)}, "cmd", 2000);
  log.append(s, {entry("c", 3)});
  log.append(s, {trimmed(4, open_state(2))});
  const auto no = log.number_of(s);

  const auto report = log.sweep(0);
  CHECK(report.blanked == 4);
  CHECK(report.merged == 3);
  CHECK_FALSE(report.more);
  CHECK(versions_of(must(log.reader->lane_forth(no, lane::entries, 0, 10))) == versions{5});
  CHECK(versions_of(must(log.reader->lane_back(no, lane::entries, 100, 10))) == versions{5});
  CHECK_FALSE(must(log.reader->by_key(no, fact_key::entry(1, "secret-a"))));
  CHECK(must(log.reader->by_key_prefix(no, fact_key::track_prefix("log"), "", 9)).empty());
  CHECK(must(log.reader->first_since(no, lane::entries, 0)) == 5);
  CHECK(must(log.reader->find_stream(s)) == stream_position{no, 6, 4, 6});

  // The fact with a command stays, blanked, so that its receipt can be told and replayed.
  const auto page = must(log.reader->scan(0, 0, 10));
  CHECK(positions_of(page.facts) == positions{4, 5, 6});
  CHECK(page.blanks == std::vector<blank_range>{{1, 3}});
  CHECK(page.through == 6);
  CHECK(page.facts[0].blanked);
  CHECK(page.facts[0].payload.empty());
  CHECK(page.facts[0].key.empty());
  CHECK(page.facts[0].lane == lane::entries);
  CHECK(page.facts[0].at.command == "cmd");
  CHECK(page.facts[0].at.body_hash == 7);
  CHECK(page.facts[0].at.command_facts == 1);
  CHECK_FALSE(page.facts[1].blanked);
  const auto forth = must(log.reader->stream_forth(no, 0, 10));
  CHECK(versions_of(forth) == versions{4, 5, 6});
  CHECK(forth[0].blanked);
  CHECK(log.commit(unit(s, {}, {entry("x", 4)}, "cmd")).refused);

  // Sweeping again finds nothing to do, until the receipt is old enough.
  CHECK(log.sweep(2000).merged == 0);
  CHECK(log.rows(projections::receipts::spec).size() == 1);
  CHECK(log.sweep(2001).merged == 1);
  CHECK(log.rows(projections::receipts::spec).empty());
  const auto later = must(log.reader->scan(0, 0, 10));
  CHECK(later.blanks == std::vector<blank_range>{{1, 4}});
  CHECK(positions_of(later.facts) == positions{5, 6});
  CHECK_FALSE(log.commit(unit(s, {}, {entry("x", 4)}, "cmd")).refused);
}

TEMPLATE_TEST_CASE("a deleted stream goes on behind its last version, before and after the sweep",
                   "[store]", EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  log.append(s, {created(), entry("a"), deleted()}, {}, 7000);
  CHECK(log.sweep().merged == 2);
  log.reopen();
  CHECK(must(log.reader->find_stream(s)) == stream_position{1, 3, 2, 0});
  const auto again = log.append(s, {created()}, {}, 10);
  CHECK(again.first_version == 4);
  CHECK(again.time == 7000);
  CHECK(again.stream_no == 1);
}

TEMPLATE_TEST_CASE("a stream whose facts are all gone still knows its head", "[store]",
                   EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  log.append(s, {created(), entry("a")}, {}, 7000);
  // A base may reach up to the fact that sets it.
  log.append(s, {trimmed(3, open_state(1))}, {}, 8000);
  log.append(session_named("t"), {created()});
  CHECK(log.sweep().merged == 3);
  log.reopen();
  CHECK(must(log.reader->find_stream(s)).head == 3);
  CHECK(must(log.reader->scan(0, 0, 10)).blanks == std::vector<blank_range>{{1, 3}});
  const auto more = log.append(s, {created()}, {}, 10);
  CHECK(more.first_version == 4);
  CHECK(more.time == 8000);
}

TEMPLATE_TEST_CASE("what a fork borrows stays until the fork lets go", "[store]", EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  const auto f = session_named("f");
  log.append(s, {created(), entry("a"), entry("b", 2), entry("c", 3)});
  log.append(f, {forked(s, 3, open_state(2))});
  log.append(s, {deleted()});
  log.sweep();
  CHECK(log.lane_versions(s, lane::entries) == versions{2, 3});
  CHECK(must(log.reader->by_key(log.number_of(s), fact_key::entry(1, "a"))));
  log.reopen();
  // The fork forgets a part of it, but not all.
  auto still = open_state(2);
  still.borrowed.push_back({s, 3});
  log.append(f, {trimmed(2, still)});
  log.sweep();
  CHECK(log.lane_versions(s, lane::entries) == versions{2, 3});
  log.append(f, {deleted()});
  log.sweep();
  CHECK(log.lane_versions(s, lane::entries).empty());
  const auto page = must(log.reader->scan(0, 0, 10));
  CHECK(page.blanks == std::vector<blank_range>{{1, 5}, {7, 7}});
  CHECK(positions_of(page.facts) == positions{6, 8});
}

TEMPLATE_TEST_CASE("a source keeps what the longest borrower reads", "[store]", EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  log.append(s, {created(), entry("a"), entry("b", 2), entry("c", 3)});
  log.append(session_named("f"), {forked(s, 2, open_state(1))});
  log.append(session_named("g"), {forked(s, 3, open_state(2))});
  log.append(s, {deleted()});
  log.sweep();
  CHECK(log.lane_versions(s, lane::entries) == versions{2, 3});
  log.append(session_named("g"), {deleted()});
  log.sweep();
  CHECK(log.lane_versions(s, lane::entries) == versions{2});
  log.append(session_named("f"), {deleted()});
  log.sweep();
  CHECK(log.lane_versions(s, lane::entries).empty());
}

TEMPLATE_TEST_CASE("a sweep does no more than its budget and says what is left", "[store]",
                   EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  std::vector<any_fact> facts{created()};
  for (int i = 0; i < 99; ++i)
    facts.push_back(entry(std::to_string(i), i + 1u));
  log.append(s, std::move(facts));
  log.append(s, {deleted()});
  std::uint64_t merged = 0;
  int rounds = 0;
  for (bool more = true; more; ++rounds) {
    REQUIRE(rounds < 100);
    const auto report = log.sweep(0, 20);
    CHECK(report.merged <= 20);
    merged += report.merged;
    more = report.more;
    const auto page = must(log.reader->scan(0, 0, 1000));
    CHECK(page.through == 101);
  }
  CHECK(merged == 100);
  CHECK(rounds >= 5);
}

TEMPLATE_TEST_CASE("blank ranges join their neighbours, whatever the order", "[store]",
                   EVERY_STORE) {
  opened<TestType> log;
  for (int i = 0; i < 9; ++i)
    log.append(session_named(std::to_string(i)), {created()});
  // Position i + 1 belongs to session i; deleting adds positions 10, 11, …
  for (const int i : {2, 6, 4, 5, 3, 0, 8, 1}) {
    log.append(session_named(std::to_string(i)), {deleted()});
    log.sweep();
    const auto page = must(log.reader->scan(0, 0, 100));
    position_t next = 1;
    std::size_t range = 0;
    for (const auto& f : page.facts) {
      if (f.at.position != next) {
        REQUIRE(range < page.blanks.size());
        CHECK(page.blanks[range].first == next);
        next = page.blanks[range++].last + 1;
      }
      CHECK(f.at.position == next);
      ++next;
    }
    CHECK(range == page.blanks.size());
  }
  const auto page = must(log.reader->scan(0, 0, 100));
  CHECK(page.blanks == std::vector<blank_range>{{1, 7}, {9, 9}});
  // A scan may begin and end inside a range.
  const auto inner = must(log.reader->scan(0, 3, 1));
  CHECK(inner.blanks == std::vector<blank_range>{{4, 7}});
  CHECK(positions_of(inner.facts) == positions{8});
}

TEMPLATE_TEST_CASE("a log that ends in a blank range is read to its end", "[store]", EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  log.append(session_named("t"), {created()});
  log.append(s, {created(), trimmed(2, open_state())});
  log.sweep();
  log.reopen();
  const auto page = must(log.reader->scan(0, 0, 100));
  CHECK(page.through == 3);
  CHECK(page.blanks == std::vector<blank_range>{{2, 3}});
  CHECK(must(log.reader->scan(0, 1, 100)).through == 3);
  CHECK(must(log.reader->scan(0, 2, 100)).blanks == std::vector<blank_range>{{3, 3}});
  CHECK(log.append(session_named("t"), {entry("a")}).position == 4);
}

// -- rebuilding --

TEMPLATE_TEST_CASE("a shadow takes the place of the live table at the swap, not before", "[store]",
                   EVERY_STORE) {
  using namespace projections;
  opened<TestType> log;
  log.append(session_named("s"), {created({{"k", "1"}})});
  const auto sessions_before = log.rows(sessions::spec);
  const std::vector<const table*> which{&session_state::spec};
  auto& w = log.writer();
  CHECK(code_of(w.apply_to_shadow({})) == errc::invalid);
  CHECK(code_of(w.swap_shadow()) == errc::invalid);
  for (const char* round : {"7", "8"}) {
    must(w.begin_shadow(which));
    const std::vector<change> changes{
      put{&session_state::spec, {std::int64_t{1}, "k", std::string(round)}},
      put{&session_state::spec, {std::int64_t{1}, "gone", "0"}},
      erase{&session_state::spec, {std::int64_t{1}, "gone"}},
      erase{&sessions::spec, {std::int64_t{1}}}};
    must(w.apply_to_shadow(changes));
    CHECK(text_of(log.rows(session_state::spec).at(0).at(2)) != round);
    must(w.swap_shadow());
    REQUIRE(log.rows(session_state::spec).size() == 1);
    CHECK(text_of(log.rows(session_state::spec).at(0).at(2)) == round);
  }
  CHECK(log.rows(sessions::spec) == sessions_before);
  // The new table is the live one for commits, also after a restart.
  log.append(session_named("s"), {state_set({{"k", "9"}})});
  log.reopen();
  CHECK(text_of(log.rows(session_state::spec).at(0).at(2)) == "9");
}

TEMPLATE_TEST_CASE("what a shadow holds when the process ends is forgotten", "[store]",
                   EVERY_STORE) {
  using namespace projections;
  opened<TestType> log;
  log.append(session_named("s"), {created({{"k", "1"}})});
  const std::vector<const table*> which{&session_state::spec};
  const std::vector<change> changes{put{&session_state::spec, {std::int64_t{1}, "x", "0"}}};
  must(log.writer().begin_shadow(which));
  must(log.writer().apply_to_shadow(changes));
  log.reopen();
  CHECK(code_of(log.writer().swap_shadow()) == errc::invalid);
  must(log.writer().begin_shadow(which));
  must(log.writer().swap_shadow());
  CHECK(log.rows(session_state::spec).empty());
}

TEMPLATE_TEST_CASE("while a shadow is filled, nothing of the log is swept", "[store]",
                   EVERY_STORE) {
  using namespace projections;
  opened<TestType> log;
  log.append(session_named("s"), {created(), entry("a"), deleted()});
  const std::vector<const table*> which{&session_state::spec};
  must(log.writer().begin_shadow(which));
  CHECK(log.sweep().merged == 0);
  must(log.writer().swap_shadow());
  CHECK(log.sweep().merged == 2);
}

// -- forgetting by key --

TEMPLATE_TEST_CASE("what a fact makes forgotten is blanked with its commit", "[store]",
                   EVERY_STORE) {
  opened<TestType> log;
  const auto s = memories_of("ann");
  log.append(s, {remembered("m1", "secret one"), remembered("m10")}, "cmd", 2000);
  log.append(s, {superseded("m1", 2)});
  log.append(memories_of("bob"), {remembered("m1")});
  const auto no = log.number_of(s);
  CHECK(must(log.reader->by_key_prefix(no, "m1/", "", 9)).size() == 2);
  const auto out = log.commit(unit(s, 3, {forgotten("m1")}));
  REQUIRE_FALSE(out.refused);
  log.reopen();

  CHECK(must(log.reader->by_key_prefix(no, "m1/", "", 9)).empty());
  CHECK_FALSE(must(log.reader->by_key(no, "m1/1")));
  CHECK(log.lane_versions(s, lane::folded) == versions{2, 4});
  const auto page = must(log.reader->scan(0, 0, 10));
  CHECK(positions_of(page.facts) == positions{1, 2, 3, 4, 5});
  CHECK(page.blanks.empty());
  for (const auto& f : page.facts) {
    const bool gone = f.at.position == 1 || f.at.position == 3;
    CHECK(f.blanked == gone);
    CHECK(f.payload.empty() == gone);
    if (gone)
      CHECK(f.key.empty());
  }
  CHECK(page.facts[0].at.command == "cmd");
  CHECK(log.commit(unit(s, {}, {remembered("m2")}, "cmd")).refused);
  CHECK(must(verify(*log.reader)).good());
  // The key is free again, and a base takes what is left.
  log.append(s, {remembered("m1")});
  log.append(s, {memory_space::fact{memory_space::cleared{}}});
  CHECK(log.sweep(3000).merged == 5);
  CHECK(must(verify(*log.reader)).good());
}

TEMPLATE_TEST_CASE(
  "what was forgotten by its key goes when a base passes, unless a receipt needs it", "[store]",
  EVERY_STORE) {
  opened<TestType> log;
  const auto s = memories_of("ann");
  log.append(s, {remembered("m1")});
  log.append(s, {remembered("m2")}, "cmd");
  log.append(s, {forgotten("m1"), forgotten("m2")});
  CHECK(log.sweep(0).merged == 0);
  log.append(s, {memory_space::fact{memory_space::cleared{}}});
  const auto first = log.sweep(0);
  CHECK(first.blanked == 2);
  CHECK(first.merged == 3);
  CHECK(log.sweep(500).merged == 0);
  const auto last = log.sweep(2000);
  CHECK(last.blanked == 0);
  CHECK(last.merged == 1);
  CHECK(must(verify(*log.reader)).good());
}

TEMPLATE_TEST_CASE("receipts of values go earlier than others", "[store]", EVERY_STORE) {
  opened<TestType> log;
  const auto values = value_space::stream_of("t", "app", "kind", "k");
  const auto set = [&](const std::string& command, time_us_t time) {
    value_space::value_set fact{"k", "1", time, time, time + 1};
    return log.append(values, {value_space::fact{fact}}, command, time);
  };
  set("c1", 11'000);
  set("c2", 13'000);
  log.append(values, {value_space::fact{value_space::begun_anew{}}}, {}, 14'000);
  const auto s = memories_of("ann");
  log.append(s, {remembered("m1")}, "c3", 15'000);
  log.append(s, {memory_space::fact{memory_space::cleared{}}}, {}, 16'000);
  const auto merged_at = [&](time_us_t before) {
    return log.sweep({before, before + 1000}).merged;
  };
  CHECK(merged_at(10'000) == 0);
  CHECK(merged_at(10'001) == 1);
  const auto again = [&](const stream_id& stream, const any_fact& fact, const std::string& command) {
    return log.commit(unit(stream, {}, {fact}, command)).refused.has_value();
  };
  CHECK(again(values, value_space::fact{value_space::begun_anew{}}, "c2"));
  CHECK(again(s, remembered("m1"), "c3"));
  CHECK(must(verify(*log.reader)).good());
  // Each is met again when its time has come, and not before.
  CHECK(merged_at(12'000) == 0);
  CHECK(merged_at(12'001) == 1);
  CHECK(merged_at(15'000) == 0);
  CHECK(merged_at(15'001) == 1);
  CHECK_FALSE(again(s, remembered("m1"), "c3"));
  CHECK(must(verify(*log.reader)).good());
}

TEMPLATE_TEST_CASE("what is forgotten in the commit that records it is not stored", "[store]",
                   EVERY_STORE) {
  opened<TestType> log;
  const auto s = memories_of("ann");
  const auto outs = log.commit_all({unit(s, 0, {remembered("m1"), remembered("m2")}),
                                    unit(s, 2, {forgotten("m1"), remembered("m3")}),
                                    unit(s, 4, {superseded("m2", 2), forgotten("m2")}),
                                    unit(s, 1, {forgotten("m1")})});
  CHECK(outs[0].facts[0].payload.view().find("m1") != std::string_view::npos);
  CHECK(outs[3].refused);
  CHECK(log.lane_versions(s, lane::folded) == versions{3, 4, 6});
  log.reopen();
  CHECK(log.lane_versions(s, lane::folded) == versions{3, 4, 6});
  CHECK(log.rows(projections::memories::spec).size() == 1);
  CHECK(must(verify(*log.reader)).good());
}

// -- properties --

TEMPLATE_TEST_CASE("every store gives what the model gives, for any commands", "[store]",
                   EVERY_STORE) {
  check_property(
    "same outcomes, facts and rows as the model", [](const std::vector<std::uint16_t>& moves) {
      opened<TestType> log;
      opened<model_backend> model;
      time_us_t now = 1000;
      auto both = [&](const append_unit& u) {
        const auto a = log.commit(u);
        const auto b = model.commit(u);
        RC_ASSERT(a.refused.has_value() == b.refused.has_value());
        if (a.refused) {
          RC_ASSERT(static_cast<int>(a.refused->why) == static_cast<int>(b.refused->why));
          RC_ASSERT(a.refused->current_version == b.refused->current_version);
          RC_ASSERT(a.refused->receipt == b.refused->receipt);
        }
      };
      for (const auto m : moves) {
        now += m % 3;
        const auto name = "s" + std::to_string(m / 8 % 3);
        const auto s = session_named(name);
        const auto at = model.reader->find_stream(s);
        const version_t head = at ? at->head : 0;
        const auto command = m % 2 != 0 ? "c" + std::to_string(m % 32) : std::string();
        const auto space = memories_of("u" + std::to_string(m / 8 % 2));
        const auto id = "m" + std::to_string(m / 16 % 3);
        switch (m % 11) {
          case 0: both(unit(s, {}, {created({{"k", std::to_string(m)}})}, command, now)); break;
          case 1: both(unit(s, head, {entry(std::to_string(m % 16))}, command, now)); break;
          case 2:
            both(unit(s, m % 4, {entry(std::to_string(m)), track_item("t")}, command, now));
            break;
          case 3: both(unit(s, {}, {deleted()}, command, now)); break;
          case 4:
            if (head > 1)
              both(unit(s, head, {trimmed(head - 1, open_state(1, {{"k", "0"}}))}, command, now));
            break;
          case 5:
            if (head > 0)
              both(unit(session_named("f" + std::to_string(m % 64)), head,
                        {forked(s, head, open_state(1))}, command, now));
            break;
          case 6: both(unit(s, {}, {state_set({{"a", "1"}}, {"k"})}, command, now)); break;
          case 7: both(unit(space, {}, {remembered(id)}, command, now)); break;
          case 8: both(unit(space, {}, {superseded(id, m)}, command, now)); break;
          case 9:
            both(unit(space, {}, {forgotten(id), superseded(id, m + 1'000)}, command, now));
            break;
          default: {
            const auto before = m % 16 < 8 ? 0 : now;
            const auto a = log.sweep(before);
            const auto b = model.sweep(before);
            RC_ASSERT(a.blanked == b.blanked);
            RC_ASSERT(a.merged == b.merged);
          }
        }
        if (m % 29 == 0)
          log.reopen();
      }
      const auto a = must(log.reader->scan(0, 0, 100'000));
      const auto b = must(model.reader->scan(0, 0, 100'000));
      RC_ASSERT(a.through == b.through);
      RC_ASSERT(a.blanks == b.blanks);
      RC_ASSERT(a.facts.size() == b.facts.size());
      for (std::size_t i = 0; i < a.facts.size(); ++i) {
        RC_ASSERT(a.facts[i].at.position == b.facts[i].at.position);
        RC_ASSERT(a.facts[i].at.stream_no == b.facts[i].at.stream_no);
        RC_ASSERT(a.facts[i].at.version == b.facts[i].at.version);
        RC_ASSERT(a.facts[i].at.time == b.facts[i].at.time);
        RC_ASSERT(a.facts[i].at.command == b.facts[i].at.command);
        RC_ASSERT(a.facts[i].key == b.facts[i].key);
        RC_ASSERT(a.facts[i].blanked == b.facts[i].blanked);
        RC_ASSERT(a.facts[i].payload.view() == b.facts[i].payload.view());
      }
      for (const auto* t : projections::tables())
        RC_ASSERT(log.rows(*t) == model.rows(*t));
      const auto based = must(log.reader->based_streams(0, 0, 1000));
      RC_ASSERT(based == must(model.reader->based_streams(0, 0, 1000)));
    });
}

}  // namespace recalld::storage::testing

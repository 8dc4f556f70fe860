#include "storage/postgres_store.hpp"

#include "storage/dump.hpp"
#include "storage/postgres_connection.hpp"
#include "storage/replay.hpp"
#include "tests/storage/subject.hpp"
#include "tests/tcp_proxy.hpp"

#include <atomic>
#include <chrono>
#include <map>
#include <numeric>
#include <set>
#include <sstream>
#include <thread>

/// A log of many shards with several writers, and the lease by which nodes agree who serves it.
namespace recalld::storage::testing {

using recalld::tests::link_fault;
using recalld::tests::postgres_server;
using recalld::tests::tcp_proxy;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t shards = 8;

struct sharded : postgres_backend {
  sharded() {
    options.shards = shards;
    options.writers = 2;
  }
};

stream_id numbered(int i) { return session_named("s" + std::to_string(i)); }

/// A unit that writes to two streams, wherever they lie.
append_unit pair_of(const stream_id& a, const stream_id& b, const std::string& id,
                    std::string command = {}) {
  auto u = unit(a, {}, {entry(id)}, std::move(command));
  u.parts.push_back({b, {}, {track_item("t")}, {}});
  return u;
}

std::vector<append_unit> one(append_unit u) {
  std::vector<append_unit> out;
  out.push_back(std::move(u));
  return out;
}

position_t facts_in(log_reader& reader) {
  const auto heads = must(reader.heads());
  return std::accumulate(heads.begin(), heads.end(), position_t{0});
}

}  // namespace

TEST_CASE("streams lie in shards by their names, and each shard counts by itself", "[postgres]") {
  sharded backend;
  auto s = must(backend.open());
  auto& w = s->writer();
  const auto rights = must(w.take_all());
  REQUIRE(rights.size() == shards);
  std::vector<append_unit> units;
  for (int i = 0; i < 200; ++i)
    units.push_back(unit(numbered(i), 0, {created(), entry("a")}));
  std::map<shard_t, position_t> counted;
  const auto out = must(w.commit(rights, units));
  for (int i = 0; i < 200; ++i) {
    REQUIRE_FALSE(out[i].refused);
    const auto& part = out[i].parts.front();
    const auto shard = w.shard_of(numbered(i));
    CHECK(part.stream_no % shards == shard);
    counted[shard] += 2;
    CHECK(part.position == counted[shard]);
  }
  CHECK(counted.size() == shards);
  auto reader = must(s->open_reader());
  const auto heads = must(reader->heads());
  for (const auto& [shard, head] : counted)
    CHECK(heads[shard] == head);
  CHECK(must(verify(*reader)).good());
  CHECK(must(verify(*reader)).progress.facts == 400);
}

TEST_CASE("what is written to two shards at once is there in both or in none", "[postgres]") {
  sharded backend;
  auto s = must(backend.open());
  auto& w = s->writer();
  const auto rights = must(w.take_all());
  const auto a = numbered(1);
  stream_id b = numbered(2);
  for (int i = 3; w.shard_of(b) == w.shard_of(a); ++i)
    b = numbered(i);
  must(w.commit(rights, one(pair_of(a, b, "x", "once"))));
  // The second unit is refused as a whole: its entry is there already.
  const auto again = must(w.commit(rights, one(pair_of(b, a, "y"))));
  CHECK_FALSE(again.front().refused);
  auto twice = pair_of(a, b, "x");
  std::swap(twice.parts[0], twice.parts[1]);
  const auto refused = must(w.commit(rights, one(std::move(twice))));
  REQUIRE(refused.front().refused);
  CHECK(refused.front().refused->why == refusal::reason::key_taken);
  const auto receipt = must(w.commit(rights, one(pair_of(a, b, "z", "once"))));
  REQUIRE(receipt.front().refused);
  CHECK(receipt.front().refused->why == refusal::reason::duplicate_command);
  auto reader = must(s->open_reader());
  CHECK(facts_in(*reader) == 4);
  CHECK(must(verify(*reader)).good());
  // Without the right to one of the shards nothing is written at all.
  const shard_rights half{{w.shard_of(a), rights.at(w.shard_of(a))}};
  CHECK(code_of(w.commit(half, one(pair_of(a, b, "q")))) == errc::invalid);
  CHECK(code_of(w.commit({{shards, 1}}, one(pair_of(a, b, "q")))) == errc::invalid);
  CHECK(facts_in(*reader) == 4);
}

TEST_CASE("two writers write to the same shards at the same time", "[postgres]") {
  sharded backend;
  auto s = must(backend.open());
  const auto writers = s->writers();
  REQUIRE(writers.size() == 2);
  const auto rights = must(writers.front()->take_all());
  constexpr int rounds = 150, streams = 12;
  std::atomic<int> written{0};
  const auto work = [&](int who) {
    for (int i = 0; i < rounds; ++i) {
      const auto id = std::to_string(who) + "-" + std::to_string(i);
      const auto out = must(writers[who]->commit(
        rights, one(pair_of(numbered(i % streams), numbered((i * 7 + 1) % streams), id, id))));
      if (!out.front().refused)
        written += static_cast<int>(out.front().facts.size());
    }
  };
  std::thread other(work, 1);
  work(0);
  other.join();
  CHECK(written == 4 * rounds);
  auto reader = must(s->open_reader());
  CHECK(facts_in(*reader) == 4u * rounds);
  const auto report = must(verify(*reader));
  CHECK(report.good());
  CHECK(report.progress.facts == 4u * rounds);
}

TEST_CASE("tables are rebuilt while several writers go on", "[postgres]") {
  sharded backend;
  auto s = must(backend.open());
  const auto writers = s->writers();
  const auto rights = must(writers.front()->take_all());
  for (int i = 0; i < 100; ++i)
    must(writers[0]->commit(rights, one(unit(numbered(i), 0, {created(), entry("a")}))));
  std::atomic<bool> over{false};
  std::thread other([&] {
    for (int i = 0; !over; ++i)
      must(writers[1]->commit(rights, one(unit(numbered(i % 100), {},
                                               {entry("b" + std::to_string(i), 2)},
                                               "c" + std::to_string(i)))));
  });
  auto log = must(s->open_reader());
  const auto& tables = projections::tables();
  for (int round = 0; round < 3; ++round) {
    rebuild work(*writers[0], *log, {tables.begin(), tables.end()});
    while (must(work.step(50))) {
    }
  }
  over = true;
  other.join();
  auto reader = must(s->open_reader());
  CHECK(must(verify(*reader)).good());
  CHECK(must(writers[0]->sweep(rights, 0, 1000)).blanked == 0);
}

TEST_CASE("commits to several shards whose link is cut: none is lost, none is there twice",
          "[postgres]") {
  tcp_proxy proxy(postgres_server::shared().port(), "hello");
  const sharded backend;
  auto options = backend.options;
  options.url = postgres_server::shared().url(proxy.port());
  options.answer_ms_max = 1000;
  auto s = must(open_postgres(options));
  auto& w = s->writer();
  const auto rights = must(w.take_all());
  constexpr link_fault faults[] = {link_fault::swallow_answer, link_fault::cut_before,
                                   link_fault::cut_within, link_fault::half_close};
  constexpr int commits = 40;
  for (int i = 0; i < commits; ++i) {
    INFO(i);
    proxy.strike(faults[i % std::size(faults)]);
    const auto out =
      must(w.commit(rights, one(pair_of(numbered(i % 5), numbered(i % 7), std::to_string(i),
                                        i % 2 ? "c" + std::to_string(i) : ""))));
    REQUIRE_FALSE(out.front().refused);
  }
  CHECK(proxy.struck() == commits);
  auto reader = must(s->open_reader());
  CHECK(facts_in(*reader) == 2 * commits);
  const auto report = must(verify(*reader));
  CHECK(report.good());
  CHECK(report.progress.facts == 2 * commits);
}

TEST_CASE("who takes all shards fences every writer of the other store", "[postgres]") {
  sharded backend;
  auto first = must(backend.open());
  auto second = must(backend.open());
  const auto old = must(first->writer().take_all());
  must(first->writer().commit(old, one(unit(numbered(1), 0, {created()}))));
  const auto rights = must(second->writer().take_all());
  for (auto* w : first->writers())
    CHECK(code_of(w->commit(old, one(unit(numbered(1), 1, {entry("a")})))) == errc::fenced);
  CHECK_FALSE(
    must(second->writer().commit(rights, one(unit(numbered(1), 1, {entry("a")})))).front().refused);
}

TEST_CASE("a log of many shards is dumped as one of one shard", "[postgres]") {
  sharded backend;
  auto s = must(backend.open());
  const auto rights = must(s->writer().take_all());
  for (int i = 0; i < 60; ++i)
    must(s->writer().commit(rights, one(unit(numbered(i % 20), {}, {entry(std::to_string(i))}))));
  auto reader = must(s->open_reader());
  std::stringstream file;
  must(write_dump(*reader, file));
  auto copy = must(read_dump(file));
  auto there = must(copy->open_reader());
  const auto page = must(there->scan(0, 0, 1000));
  CHECK(page.through == 60);
  std::set<std::string> ids;
  for (const auto& fact : page.facts)
    ids.emplace(fact_key::entry_id(fact.key));
  CHECK(ids.size() == 60);
}

TEST_CASE("a log that was moved to another place begins a new generation", "[postgres]") {
  sharded backend;
  auto s = must(backend.open());
  const auto before = s->writer().identity();
  s.reset();
  CHECK(must(backend.open())->writer().identity() == before);
  postgres::connection(backend.options, postgres::connection::mode::write)
    .exec("UPDATE meta SET value = '1/00000001' WHERE name = 'place'");
  s = must(backend.open());
  const auto after = s->writer().identity();
  CHECK(after.log_id == before.log_id);
  CHECK(after.generation > before.generation);
}

TEST_CASE("one node holds the lease, another gets it when it is over", "[postgres]") {
  sharded backend;
  auto first = must(backend.open());
  auto second = must(backend.open());
  auto mine = must(first->open_lease("one"));
  auto theirs = must(second->open_lease("two"));
  REQUIRE(must(mine->hold(400ms)).ours);
  const auto asked = must(theirs->hold(400ms));
  CHECK_FALSE(asked.ours);
  CHECK(asked.holder == "one");
  CHECK((asked.left > 0ms && asked.left <= 400ms));
  CHECK(must(mine->hold(400ms)).ours);
  std::this_thread::sleep_for(450ms);
  CHECK(must(theirs->hold(60s)).ours);
  CHECK(must(mine->hold(400ms)).holder == "two");
  // To let go of what is not ours changes nothing.
  must(mine->release());
  CHECK_FALSE(must(mine->hold(400ms)).ours);
  must(theirs->release());
  CHECK(must(mine->hold(400ms)).ours);
}

}  // namespace recalld::storage::testing

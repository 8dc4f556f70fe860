#include "storage/log_copy.hpp"

#include "tests/storage/subject.hpp"

#include <map>
#include <numeric>

/// Logs that are copied from one kind of store into another.
namespace recalld::storage::testing {

namespace {

/// What a log says, without positions and stream numbers, which are a store's own.
std::vector<std::string> told(log_reader& log) {
  std::vector<std::string> out;
  const auto heads = must(log.heads());
  for (shard_t shard = 0; shard < heads.size(); ++shard)
    for (position_t after = 0; after < heads[shard];) {
      const auto page = must(log.scan(shard, after, 100));
      for (const auto& f : page.facts)
        out.push_back(to_string(f.at.stream) + " " + std::to_string(f.at.version) + " " + f.type
                      + " " + std::to_string(f.at.time) + " " + f.at.command + " "
                      + std::to_string(f.at.body_hash) + " " + f.key + " "
                      + std::string(f.payload.view()) + (f.blanked ? " blanked" : ""));
      after = page.through;
    }
  std::sort(out.begin(), out.end());
  return out;
}

/// Sessions with all that a log can hold: forgotten pasts, forks of them, receipts, states, scopes.
template <class Backend>
void fill(opened<Backend>& log) {
  for (int i = 0; i < 30; ++i) {
    const auto name = session_named("s" + std::to_string(i));
    const auto id = std::to_string(i);
    log.append(name, {created({{"k", "1"}}), entry("a" + id), entry("b" + id, 2)}, "make" + id);
    log.append(name, {entry("c" + id, 3)}, "more" + id, 2000);
    if (i % 3 == 0)
      log.append(name, {log.trim_of(name, 3)}, "trim" + id, 3000);
    if (i % 5 == 0)
      log.append(session_named("fork" + id), {log.fork_of(name, 4)}, "fork" + id, 4000);
    if (i % 7 == 0)
      log.append(name, {deleted()}, "delete" + id, 5000);
  }
  log.append(stream_id(stream_kind::scope, {"t", "app"}), {app_value("x", "1")}, "scope");
  log.sweep(2500);
}

result<std::unique_ptr<copy_target>> into(const sqlite_backend& b) {
  return copy_into_sqlite(b.options);
}
result<std::unique_ptr<copy_target>> into(const postgres_backend& b) {
  return copy_into_postgres(b.options);
}

template <class From, class To>
void copies() {
  opened<From> source;
  fill(source);
  To target;
  if constexpr (std::is_same_v<To, postgres_backend>)
    target.options.shards = 8;
  {
    // An attempt that ended in the middle.
    auto first = must(into(target));
    const auto heads = must(source.reader->heads());
    auto done = must(first->begin(source.reader->identity(), heads.size()));
    CHECK(done == std::vector<position_t>(heads.size(), 0));
    auto page = must(source.reader->scan(0, 0, 20));
    must(first->add(0, page.through, std::move(page.facts)));
  }
  CHECK(code_of(target.open()) == errc::unavailable);
  {
    auto other = source.reader->identity();
    other.log_id = "00000000-0000-7000-8000-000000000001";
    CHECK(code_of(must(into(target))->begin(other, 1)) == errc::conflict);
  }
  {
    // Somebody writes to the source behind what was copied.
    auto second = must(into(target));
    bool grown = false;
    const auto grow = [&](copy_stage now, std::uint64_t, std::uint64_t) {
      if (now == copy_stage::verifying && !std::exchange(grown, true))
        source.append(session_named("s29"), {entry("late", 9)}, "late", 6000);
    };
    CHECK(code_of(copy_log(*source.reader, *second, {.progress = grow, .to_the_end = true}))
          == errc::unavailable);
    CHECK(grown);
  }
  CHECK(code_of(target.open()) == errc::unavailable);
  const auto before = told(*source.reader);
  {
    auto third = must(into(target));
    std::uint64_t seen = 0;
    const auto count = [&](copy_stage, std::uint64_t, std::uint64_t all) {
      seen = std::max(seen, all);
    };
    const auto report =
      must(copy_log(*source.reader, *third, {.progress = count, .to_the_end = true}));
    CHECK(report.resumed);
    CHECK(report.identity.log_id == source.reader->identity().log_id);
    CHECK(report.identity.generation > source.reader->identity().generation);
    CHECK(seen >= report.facts);
  }
  auto made = must(target.open());
  auto reader = must(made->open_reader());
  CHECK(told(*reader) == before);
  CHECK(must(verify(*reader)).good());
  CHECK(must(verify(*reader)).progress.facts == must(verify(*source.reader)).progress.facts);
  // It is a log like any other: receipts hold, streams go on, what is owed is forgotten.
  auto& w = made->writer();
  const auto rights = must(w.take_all());
  std::vector<append_unit> units;
  units.push_back(unit(session_named("s1"), {}, {entry("z", 9)}, "more1", 9000));
  units.push_back(unit(session_named("s1"), 4, {entry("z", 4)}, "later", 9000));
  const auto out = must(w.commit(rights, units));
  REQUIRE(out[0].refused);
  CHECK(out[0].refused->why == refusal::reason::duplicate_command);
  CHECK_FALSE(out[1].refused);
  must(w.sweep(rights, 100'000, 100'000));
  CHECK(must(verify(*reader)).good());
  reader.reset();
  made.reset();
  CHECK(code_of(must(into(target))->begin(source.reader->identity(), 1)) == errc::conflict);
}

}  // namespace

TEST_CASE("a log is copied between stores and is the same log there", "[copy]") {
  SECTION("from SQLite into Postgres") { copies<sqlite_backend, postgres_backend>(); }
  SECTION("from Postgres into SQLite") { copies<postgres_backend, sqlite_backend>(); }
  SECTION("from SQLite into SQLite") { copies<sqlite_backend, sqlite_backend>(); }
}

TEST_CASE("a log in Postgres is backed up into one file, from which any store is restored",
          "[copy]") {
  opened<postgres_backend> source;
  fill(source);
  const scratch place;
  const auto file = place.path() / "monday.db";
  must(back_up_log(*source.reader, file));
  CHECK(code_of(back_up_log(*source.reader, file)) == errc::conflict);
  CHECK_FALSE(std::filesystem::exists(place.path() / "monday.db.copying"));
  auto backup = must(read_backup(file));
  CHECK(told(*backup) == told(*source.reader));
  const postgres_backend again;
  auto target = must(into(again));
  must(copy_log(*backup, *target));
  target.reset();
  auto restored = must(open_postgres(again.options));
  auto reader = must(restored->open_reader());
  CHECK(told(*reader) == told(*source.reader));
  CHECK(restored->writer().identity().generation > source.store->writer().identity().generation);
  CHECK(code_of(read_backup(place.path() / "none")) == errc::not_found);
}

}  // namespace recalld::storage::testing

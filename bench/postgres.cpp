#include "bench/bare_postgres.hpp"
#include "bench/server.hpp"
#include "bench/workload.hpp"
#include "storage/log_copy.hpp"
#include "tests/postgres_server.hpp"

#include <cmath>
#include <optional>
#include <stdexcept>

namespace recalld::bench {

namespace {

using tests::postgres_server;

/// A database on the disk that is measured, with the settings of a new cluster.
struct database {
  explicit database(const plan& p) : place(p) {
    std::filesystem::permissions(place.path(), std::filesystem::perms::others_exec,
                                 std::filesystem::perm_options::add);
    server.emplace("", postgres_server::home{.directory = place.path()});
  }
  std::string url() const { return server->url(); }
  scratch place;
  std::optional<postgres_server> server;
};

void measure(const plan& p, std::size_t sessions, std::size_t entries) {
  const auto name = "postgres.append.sessions=" + std::to_string(sessions)
                    + (entries > 1 ? ".entries=" + std::to_string(entries) : "");
  if (!p.wants("postgres", name))
    return;
  const database data(p);
  server node({.log = {}, .url = data.url()});
  create_sessions(node, sessions);
  append_load load(sessions, true, entries);
  const auto run = [&](double seconds) {
    return drive(
      node, "session.append", sessions, [&](std::size_t lane) { return load.next(lane); }, seconds);
  };
  run(p.round_s());
  bare_postgres bare(data.url(), sessions);
  const auto row = bare.newest_entry();
  bare.append(row, std::max<std::size_t>(1, sessions / 2) * entries, p.round_s(), entries);
  std::vector<double> rate, bare_rate, p50, p99, one_commit, gathered;
  for (std::size_t round = 0; round < p.rounds(); ++round) {
    const auto before = node.figures();
    const auto out = run(p.round_s());
    const auto after = node.figures();
    const auto batch =
      static_cast<double>(after.facts - before.facts)
      / static_cast<double>(std::max<std::uint64_t>(1, after.commits - before.commits));
    rate.push_back(out.rate() * static_cast<double>(entries));
    p50.push_back(out.us.quantile(0.50));
    p99.push_back(out.us.quantile(0.99));
    gathered.push_back(batch);
    const auto commands =
      static_cast<std::size_t>(std::max(1.0, std::round(batch / static_cast<double>(entries))));
    bare_rate.push_back(bare.append(row, commands * entries, p.round_s(), entries).rows_per_s);
    one_commit.push_back(
      bare.append(row, entries, p.round_s() / 10, entries).commit_us.quantile(0.5));
  }
  print(name, median(rate), "entries/s", median(bare_rate));
  print(name + ".p50", median(p50), "us", median(one_commit));
  print(name + ".p99", median(p99), "us", median(one_commit));
  note(name + ": " + std::to_string(std::lround(median(gathered))) + " facts a commit");
}

/// The last entries of a long session that nobody has in memory.
void measure_cold(const plan& p) {
  const std::string name = "postgres.read.cold.entries=100000";
  if (!p.wants("postgres", name))
    return;
  const scratch place(p);
  {
    log_filler fill(place.path() / "log");
    fill.create(0);
    for (int i = 0; i < 100'000; ++i)
      fill.append(0);
    fill.finish();
  }
  const database data(p);
  const auto moved = [&]() -> result<void> {
    auto from = storage::open_sqlite({.directory = place.path() / "log", .read_only = true});
    if (!from)
      return fail(from.error());
    auto reader = (*from)->open_reader();
    auto to = storage::copy_into_postgres({.url = data.url()});
    if (!reader || !to)
      return fail(reader ? to.error() : reader.error());
    if (auto copied = storage::copy_log(**reader, **to); !copied)
      return fail(copied.error());
    return {};
  }();
  if (!moved)
    throw std::runtime_error(moved.error().message);
  const auto request = "{" + session_members(0) + R"(,"last":20})";
  std::vector<double> cold, hot;
  for (std::size_t i = 0; i < (p.quick ? 2u : 7u); ++i) {
    server node({.log = {}, .url = data.url()});
    node.figures();
    const stopwatch first;
    node.ask("session.get", request);
    cold.push_back(first.us());
    histogram again;
    for (int n = 0; n < 50; ++n) {
      const stopwatch one;
      node.ask("session.get", request);
      again.add(one.us());
    }
    hot.push_back(again.quantile(0.5));
  }
  print(name, median(cold), "us", median(hot));
}

}  // namespace

void postgres(const plan& p) {
  if (!postgres_server::binaries()) {
    note("Postgres is not installed: skipped");
    return;
  }
  for (const std::size_t sessions : {64, 256, 1000})
    measure(p, sessions, 1);
  measure(p, 1000, 2);  // A turn at a time: what was said, and the answer.
  measure_cold(p);
}

}  // namespace recalld::bench

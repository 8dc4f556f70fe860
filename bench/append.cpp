#include "bench/bare_sqlite.hpp"
#include "bench/server.hpp"
#include "bench/workload.hpp"

#include <cmath>

namespace recalld::bench {

namespace {

/// The bare loop begins with a row that the server wrote, so both write the same bytes.
model_row row_of(const std::filesystem::path& log) { return bare_sqlite::open(log).newest_entry(); }

void measure(const plan& p, std::size_t sessions, bool command_ids) {
  const auto name =
    "append.sessions=" + std::to_string(sessions) + (command_ids ? "" : ".no_command_id");
  if (!p.wants("append", name))
    return;
  const scratch place(p);
  server node({.log = place.path() / "server"});
  create_sessions(node, sessions);
  append_load load(sessions, command_ids);
  const auto run = [&](double seconds) {
    return drive(
      node, "session.append", sessions, [&](std::size_t lane) { return load.next(lane); }, seconds);
  };
  run(p.round_s() / 4);
  const auto row = row_of(place.path() / "server");
  bare_sqlite bare(place.path() / "bare", sessions);
  bare.append(row, std::max<std::size_t>(1, sessions / 2), command_ids, p.round_s() / 4);
  bare.checkpoint();

  std::vector<double> rate, bare_rate, p50, p99, one_commit, gathered, cpu, bare_cpu;
  for (std::size_t round = 0; round < p.rounds(); ++round) {
    const auto before = node.figures();
    auto cpu_before = cpu_us();
    auto out = run(p.round_s());
    cpu.push_back((cpu_us() - cpu_before) / static_cast<double>(out.answered));
    const auto after = node.figures();
    const auto batch =
      static_cast<double>(after.facts - before.facts)
      / static_cast<double>(std::max<std::uint64_t>(1, after.commits - before.commits));
    rate.push_back(out.rate());
    p50.push_back(out.us.quantile(0.50));
    p99.push_back(out.us.quantile(0.99));
    gathered.push_back(batch);
    const auto same = static_cast<std::size_t>(std::max(1.0, std::round(batch)));
    cpu_before = cpu_us();
    const auto loop = bare.append(row, same, command_ids, p.round_s());
    bare_cpu.push_back((cpu_us() - cpu_before) / static_cast<double>(loop.rows));
    bare_rate.push_back(loop.rows_per_s);
    bare.checkpoint();
    one_commit.push_back(
      bare.append(row, 1, command_ids, p.round_s() / 10).commit_us.quantile(0.5));
    bare.checkpoint();
  }
  print(name, median(rate), "entries/s", median(bare_rate));
  print(name + ".p50", median(p50), "us", median(one_commit));
  print(name + ".p99", median(p99), "us", median(one_commit));
  print(name + ".cpu", median(cpu), "us/entry", median(bare_cpu));
  note(name + ": " + std::to_string(std::lround(median(gathered))) + " facts a commit");
}

/// One writer alone, an append and a bare commit of the same row in turn.
void measure_lone_writer(const plan& p) {
  const std::string name = "append.lone_writer";
  if (!p.wants("append", name))
    return;
  const scratch place(p);
  server node({.log = place.path() / "server"});
  create_sessions(node, 1);
  append_load load(1, true);
  for (int i = 0; i < 50; ++i)
    node.ask("session.append", load.next(0));
  const auto row = row_of(place.path() / "server");
  bare_sqlite bare(place.path() / "bare", 1);
  histogram us, bare_us;
  const stopwatch whole;
  while (whole.seconds() < (p.quick ? 0.5 : 10)) {
    const stopwatch watch;
    node.ask("session.append", load.next(0));
    us.add(watch.us());
    bare_us.add(bare.append(row, 1, true, 0).commit_us);
  }
  print(name + ".p50", us.quantile(0.50), "us", bare_us.quantile(0.50));
  print(name + ".p90", us.quantile(0.90), "us", bare_us.quantile(0.90));
  print(name + ".p99", us.quantile(0.99), "us", bare_us.quantile(0.99));
}

}  // namespace

void append(const plan& p) {
  measure_lone_writer(p);
  for (const std::size_t sessions : {1, 8, 64, 256, 1000})
    measure(p, sessions, true);
  for (const std::size_t sessions : {256, 1000})
    measure(p, sessions, false);
}

}  // namespace recalld::bench

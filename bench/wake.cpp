#include "bench/bare_sqlite.hpp"
#include "bench/server.hpp"
#include "bench/workload.hpp"

namespace recalld::bench {

namespace {

// Every session has as many state changes, all of which a wake from the log has to fold, and as
// many entries, of which it reads the last one.
constexpr std::size_t changes = 500;
constexpr std::size_t keys = 20;

std::string request(std::size_t session) {
  return "{" + session_members(session) + R"(,"last":0,"include_state":false})";
}

/// The first look at each session.
double wake_us(server& node, std::size_t sessions) {
  histogram us;
  for (std::size_t s = 0; s < sessions; ++s) {
    const stopwatch watch;
    node.ask("session.get", request(s));
    us.add(watch.us());
  }
  return us.quantile(0.5);
}

}  // namespace

void wake(const plan& p) {
  const std::size_t sessions = p.quick ? 20 : 300;
  const scratch place(p);
  const auto log = place.path() / "log";
  const auto cache = place.path() / "cache";
  {
    log_filler fill(log);
    for (std::size_t s = 0; s < sessions; ++s)
      fill.create(s);
    for (std::size_t n = 0; n < changes; ++n)
      for (std::size_t s = 0; s < sessions; ++s) {
        fill.append(s);
        fill.set_state(s, "key" + std::to_string(n % keys), std::to_string(n));
      }
    fill.finish();
  }
  {
    // Sessions that leave memory leave a snapshot.
    server node({.log = log, .cache = cache});
    wake_us(node, sessions);
  }
  std::vector<double> from_snapshot, from_log, live, bare_log;
  for (std::size_t round = 0; round < p.repetitions(); ++round) {
    {
      server node({.log = log, .cache = cache});
      from_snapshot.push_back(wake_us(node, sessions));
      live.push_back(wake_us(node, sessions));
    }
    {
      server node({.log = log});
      from_log.push_back(wake_us(node, sessions));
    }
    auto bare = bare_sqlite::open(log);
    histogram us;
    for (std::size_t s = 0; s < sessions; ++s) {
      const auto id = session_of(s).bytes();
      const stopwatch watch;
      bare.lane(bare.stream_no(id), 0);
      us.add(watch.us());
    }
    bare_log.push_back(us.quantile(0.5));
  }
  const auto name = "wake.changes=" + std::to_string(changes);
  print(name + ".from_snapshot", median(from_snapshot), "us", median(live));
  print(name + ".from_log", median(from_log), "us", median(bare_log));
}

}  // namespace recalld::bench

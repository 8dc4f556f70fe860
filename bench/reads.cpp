#include "bench/bare_sqlite.hpp"
#include "bench/server.hpp"
#include "bench/workload.hpp"

#include <array>

namespace recalld::bench {

namespace {

constexpr std::size_t last = 20;
// Entries of other sessions lie between the newest ones, as they do on a server that is in use.
constexpr std::size_t mixed_entries = 200;
constexpr std::size_t bystanders = 100;

std::string request(std::size_t session) {
  return "{" + session_members(session) + R"(,"last":)" + std::to_string(last) + "}";
}

std::string words(std::size_t n) {
  auto out = std::to_string(n);
  return out;
}

double hot_us(server& node, std::size_t session, std::size_t times) {
  histogram us;
  node.ask("session.get", request(session));
  for (std::size_t i = 0; i < times; ++i) {
    const stopwatch watch;
    node.ask("session.get", request(session));
    us.add(watch.us());
  }
  return us.quantile(0.5);
}

}  // namespace

void reads(const plan& p) {
  std::vector<std::size_t> lengths{100, 10'000, 100'000};
  if (!p.quick)
    lengths.push_back(1'000'000);
  const scratch place(p);
  const auto log = place.path() / "log";
  {
    log_filler fill(log);
    for (std::size_t s = 0; s < lengths.size() + bystanders; ++s)
      fill.create(s);
    for (std::size_t s = 0; s < lengths.size(); ++s)
      for (auto n = mixed_entries; n < lengths[s]; ++n)
        fill.append(s);
    for (std::size_t n = 0; n < mixed_entries; ++n) {
      for (std::size_t s = 0; s < lengths.size(); ++s)
        if (n < lengths[s])
          fill.append(s);
      for (std::size_t b = 0; b < bystanders; ++b)
        fill.append(lengths.size() + b);
    }
    fill.finish();
  }
  const std::size_t hot_times = p.quick ? 50 : 1'000;
  const std::size_t cold_times = p.quick ? 3 : 15;
  for (std::size_t s = 0; s < lengths.size(); ++s) {
    const auto id = session_of(s).bytes();
    std::vector<double> hot, hot_bare, cold, cold_bare;
    {
      server node({.log = log});
      auto bare = bare_sqlite::open(log);
      const auto stream = bare.stream_no(id);
      for (std::size_t round = 0; round < p.repetitions(); ++round) {
        hot.push_back(hot_us(node, s, hot_times));
        histogram us;
        for (std::size_t i = 0; i < hot_times; ++i) {
          const stopwatch watch;
          bare.last_entries(stream, last);
          us.add(watch.us());
        }
        hot_bare.push_back(us.quantile(0.5));
      }
    }
    for (std::size_t i = 0; i < cold_times; ++i) {
      {
        server node({.log = log});
        forget_pages(log);
        const stopwatch watch;
        node.ask("session.get", request(s));
        cold.push_back(watch.us());
      }
      auto bare = bare_sqlite::open(log);
      forget_pages(log);
      const stopwatch watch;
      bare.last_entries(bare.stream_no(id), last);
      cold_bare.push_back(watch.us());
    }
    const auto length = ".entries=" + words(lengths[s]);
    print("reads.hot" + length, median(hot), "us", median(hot_bare));
    print("reads.cold" + length, median(cold), "us", median(cold_bare));
  }
}

}  // namespace recalld::bench

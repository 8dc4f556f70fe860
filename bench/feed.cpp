#include "bench/server.hpp"
#include "bench/workload.hpp"

#include <caf/all.hpp>

#include <atomic>
#include <stdexcept>
#include <thread>

namespace recalld::bench {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t writers = 64;

/// What the watchers got, all together.
struct tally {
  std::atomic<std::uint64_t> batches{0};
  std::atomic<std::uint64_t> bytes{0};
};

caf::behavior watcher(caf::event_based_actor*, std::shared_ptr<tally> seen) {
  return {
    [seen](const std::string&, const std::string& batch) {
      seen->bytes.fetch_add(batch.size(), std::memory_order_relaxed);
      seen->batches.fetch_add(1, std::memory_order_release);
    },
  };
}

void wait_for(const tally& seen, std::uint64_t batches) {
  const stopwatch watch;
  while (seen.batches.load(std::memory_order_acquire) < batches) {
    if (watch.seconds() > 60)
      throw std::runtime_error("the watchers did not get everything");
    std::this_thread::sleep_for(50us);
  }
}

/// The same messages to the same number of actors, with nothing around them.
class plain_sender {
public:
  plain_sender(caf::actor_system& system, std::size_t watchers) : self_(system) {
    for (std::size_t i = 0; i < watchers; ++i)
      sinks_.push_back(system.spawn(watcher, seen_));
  }
  ~plain_sender() {
    for (const auto& sink : sinks_)
      self_->send_exit(sink, caf::exit_reason::user_shutdown);
  }
  /// Microseconds until everybody had `count` messages of `bytes`.
  double run(std::size_t count, std::size_t bytes) {
    const auto before = seen_->batches.load();
    const std::string batch(bytes, 'x');
    const stopwatch watch;
    for (std::size_t n = 0; n < count; ++n)
      for (const auto& sink : sinks_)
        self_->send(sink, std::string("w1"), batch);
    wait_for(*seen_, before + count * sinks_.size());
    return watch.us();
  }

private:
  caf::scoped_actor self_;
  std::shared_ptr<tally> seen_ = std::make_shared<tally>();
  std::vector<caf::actor> sinks_;
};

}  // namespace

void feed(const plan& p) {
  const std::size_t watchers = p.quick ? 100 : 1'000;
  const scratch place(p);
  server node({.log = place.path() / "log"});
  create_sessions(node, writers);
  auto seen = std::make_shared<tally>();
  caf::scoped_actor self{node.system()};
  std::vector<caf::actor> sinks;
  for (std::size_t i = 0; i < watchers; ++i) {
    sinks.push_back(node.system().spawn(watcher, seen));
    std::string wrong;
    self
      ->request(node.gateway(), caf::infinite, actors::protocol_version,
                std::string(R"({"kind":"session","app":"bench","credit":1000000})"), sinks.back())
      .receive([&](std::uint16_t status, std::string& answer) { wrong = status ? answer : ""; },
               [&](const caf::error&) { wrong = "the node is gone"; });
    if (!wrong.empty())
      throw std::runtime_error("watch: " + wrong);
  }
  plain_sender plain(node.system(), watchers);
  append_load load(writers, true);

  // One append at a time: from its answer until the last watcher has it.
  std::vector<double> delay, plain_delay;
  for (std::size_t n = 0; n < (p.quick ? 20u : 200u); ++n) {
    const auto batches = seen->batches.load();
    const auto bytes = seen->bytes.load();
    const stopwatch watch;
    node.ask("session.append", load.next(n % writers));
    const auto answered = watch.us();
    wait_for(*seen, batches + watchers);
    delay.push_back(watch.us() - answered);
    plain_delay.push_back(plain.run(1, (seen->bytes.load() - bytes) / watchers));
  }

  // A crowd of writers: facts that reach watchers a second, until the last watcher has the last.
  std::vector<double> rate, plain_rate, append_rate;
  for (std::size_t round = 0; round < p.rounds(); ++round) {
    const auto before = node.figures();
    const auto batches = seen->batches.load();
    const auto bytes = seen->bytes.load();
    const stopwatch watch;
    const auto out = drive(
      node, "session.append", writers, [&](std::size_t lane) { return load.next(lane); },
      p.round_s());
    const auto after = node.figures();
    wait_for(*seen, batches + (after.commits - before.commits) * watchers);
    const auto deliveries = static_cast<double>((after.facts - before.facts) * watchers);
    rate.push_back(deliveries / watch.seconds());
    append_rate.push_back(out.rate());
    const auto messages = (seen->batches.load() - batches) / watchers;
    const auto size =
      (seen->bytes.load() - bytes) / watchers / std::max<std::uint64_t>(1, messages);
    const auto facts =
      static_cast<double>(after.facts - before.facts) / static_cast<double>(messages);
    const auto some = std::max<std::uint64_t>(1, messages / 4);
    plain_rate.push_back(facts * static_cast<double>(some * watchers)
                         / (plain.run(some, size) / 1e6));
  }
  const auto name = "feed.watchers=" + std::to_string(watchers);
  print(name + ".delay", median(delay), "us", median(plain_delay));
  print(name, median(rate), "deliveries/s", median(plain_rate));
  note(name + ": " + std::to_string(static_cast<long>(median(append_rate)))
       + " appends/s meanwhile from " + std::to_string(writers) + " sessions");
  for (const auto& sink : sinks)
    self->send_exit(sink, caf::exit_reason::user_shutdown);
}

}  // namespace recalld::bench

#include "bench/server.hpp"

#include "api/catalogue.hpp"
#include "events/json.hpp"
#include "storage/postgres_store.hpp"
#include "storage/sqlite_store.hpp"

#include <caf/all.hpp>

#include <atomic>
#include <future>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace recalld::bench {

namespace {

/// As `recalld serve` sets its scheduler.
caf::actor_system_config& configured(caf::actor_system_config& config) {
  config.set("scheduler.policy", caf::atom("sharing"));
  config.set("scheduler.max-threads",
             static_cast<std::uint64_t>(std::max(2u, std::thread::hardware_concurrency())));
  config.set("scheduler.max-throughput", std::uint64_t{64});
  return config;
}

template <class T>
T must(result<T> r, const char* what) {
  if (!r)
    throw std::runtime_error(std::string(what) + ": " + r.error().message);
  return std::move(*r);
}

}  // namespace

server::server(settings s) : system_(configured(config_)) {
  actors::node_options options;
  if (s.url.empty()) {
    storage::sqlite_options log;
    log.directory = std::move(s.log);
    options.store = must(storage::open_sqlite(log), "opening the log");
  } else {
    options.store = must(storage::open_postgres({.url = s.url}), "opening the log");
  }
  options.cache_directory = std::move(s.cache);
  options.limits = s.limits;
  options.operations = api::catalogue();
  options.clock = std::move(s.clock);
  node_ = must(actors::node::start(system_, std::move(options)), "starting the node");
}

server::~server() = default;

std::string server::ask(const std::string& operation, std::string request) {
  std::string out;
  std::string wrong;
  caf::scoped_actor self{system_};
  self->request(gateway(), caf::infinite, actors::protocol_version, operation, std::move(request))
    .receive([&](std::uint16_t status,
                 std::string& answer) { (status == 0 ? out : wrong) = std::move(answer); },
             [&](const caf::error&) { wrong = "the node is gone"; });
  if (!wrong.empty())
    throw std::runtime_error(operation + ": " + wrong);
  return out;
}

node_figures server::figures() {
  node_figures out;
  const auto answer = ask("node.figures", "{}");
  const auto outer = must(json::members(answer, ""), "node.figures");
  for (const auto& m : must(json::members(outer.at(0).raw, ""), "node.figures")) {
    auto* into = m.name == "live_streams" ? &out.live_streams
                 : m.name == "commits"    ? &out.commits
                 : m.name == "facts"      ? &out.facts
                 : m.name == "deadlines"  ? &out.deadlines
                                          : nullptr;
    if (into != nullptr)
      *into = static_cast<std::uint64_t>(must(json::as_integer(m.raw, m.name), "node.figures"));
  }
  return out;
}

namespace {

/// What the clients of one load share.
struct load {
  using clock = std::chrono::steady_clock;

  actors::gateway_handle gateway;
  std::string operation;
  next_request next;
  clock::time_point begin, end;
  std::atomic<bool> stopped{false};  ///< Something failed.

  std::mutex guard;  ///< Of what follows.
  std::size_t clients = 0;
  clock::time_point last;
  load_outcome out;
  std::string wrong;
  std::promise<void> done;
};

/// One of the clients; each has some lanes.
class client_state {
public:
  static constexpr const char* name = "client";
  using clock = load::clock;

  void start(caf::stateful_actor<client_state>* self, std::shared_ptr<load> shared,
             std::size_t first_lane, std::size_t lanes) {
    self_ = self;
    shared_ = std::move(shared);
    last_ = clock::now();
    for (auto lane = first_lane; lane < first_lane + lanes; ++lane)
      send(lane, last_);
    end_if_done();
  }

private:
  void send(std::size_t lane, clock::time_point now) {
    std::optional<std::string> request;
    if (shared_->end == clock::time_point::max()) {
      const std::lock_guard lock(shared_->guard);  // the lanes share what is left
      request = shared_->next(lane);
    } else {
      request = shared_->next(lane);
    }
    if (!request)
      return;
    ++in_flight_;
    self_
      ->request(shared_->gateway, caf::infinite, actors::protocol_version, shared_->operation,
                std::move(*request))
      .then([this, lane, now](std::uint16_t status,
                              const std::string& answer) { answered(lane, now, status, answer); },
            [this](const caf::error&) { failed("the node is gone"); });
  }

  void answered(std::size_t lane, clock::time_point sent, std::uint16_t status,
                const std::string& answer) {
    const auto now = clock::now();
    if (status != 0) {
      failed(answer);
      return;
    }
    --in_flight_;
    last_ = now;
    if (now < shared_->end) {
      ++answered_;
      us_.add(std::chrono::duration<double, std::micro>(now - sent).count());
      if (!shared_->stopped)
        send(lane, now);
    }
    end_if_done();
  }

  void failed(const std::string& why) {
    --in_flight_;
    if (!shared_->stopped.exchange(true)) {
      const std::lock_guard lock(shared_->guard);
      shared_->wrong = why;
    }
    end_if_done();
  }

  void end_if_done() {
    if (in_flight_ > 0)
      return;
    const std::lock_guard lock(shared_->guard);
    shared_->out.answered += answered_;
    shared_->out.us.add(us_);
    shared_->last = std::max(shared_->last, last_);
    if (--shared_->clients == 0)
      shared_->done.set_value();
    self_->quit();
  }

  caf::stateful_actor<client_state>* self_ = nullptr;
  std::shared_ptr<load> shared_;
  std::size_t in_flight_ = 0;
  std::uint64_t answered_ = 0;
  histogram us_;
  clock::time_point last_;
};

}  // namespace

load_outcome drive(server& to, const std::string& operation, std::size_t lanes, next_request next,
                   double seconds) {
  // An actor of CAF 0.17 searches its outstanding requests one by one, so a client with a thousand
  // of them would measure itself.
  constexpr std::size_t lanes_of_client = 16;
  auto shared = std::make_shared<load>();
  shared->gateway = to.gateway();
  shared->operation = operation;
  shared->next = std::move(next);
  shared->clients = (lanes + lanes_of_client - 1) / lanes_of_client;
  shared->begin = shared->last = load::clock::now();
  shared->end = seconds > 0 ? shared->begin
                                + std::chrono::duration_cast<load::clock::duration>(
                                  std::chrono::duration<double>(seconds))
                            : load::clock::time_point::max();
  auto done = shared->done.get_future();
  for (std::size_t first = 0; first < lanes; first += lanes_of_client)
    to.system().spawn([=](caf::stateful_actor<client_state>* self) {
      self->state.start(self, shared, first, std::min(lanes_of_client, lanes - first));
    });
  done.get();
  if (!shared->wrong.empty())
    throw std::runtime_error(operation + ": " + shared->wrong);
  const auto end = seconds > 0 ? shared->end : shared->last;
  shared->out.seconds = std::chrono::duration<double>(end - shared->begin).count();
  return std::move(shared->out);
}

}  // namespace recalld::bench

#include "bench/server.hpp"

#include "api/catalogue.hpp"
#include "events/json.hpp"
#include "storage/sqlite_store.hpp"

#include <caf/all.hpp>

#include <future>
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
  storage::sqlite_options log;
  log.directory = std::move(s.log);
  actors::node_options options;
  options.store = must(storage::open_sqlite(log), "opening the log");
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
                                          : nullptr;
    if (into != nullptr)
      *into = static_cast<std::uint64_t>(must(json::as_integer(m.raw, m.name), "node.figures"));
  }
  return out;
}

namespace {

class client_state {
public:
  static constexpr const char* name = "client";
  using clock = std::chrono::steady_clock;

  void start(caf::stateful_actor<client_state>* self, actors::gateway_handle gateway,
             std::string operation, std::size_t lanes, next_request next, double seconds,
             std::shared_ptr<std::promise<load_outcome>> done) {
    self_ = self;
    gateway_ = std::move(gateway);
    operation_ = std::move(operation);
    next_ = std::move(next);
    done_ = std::move(done);
    begin_ = clock::now();
    end_ =
      seconds > 0
        ? begin_
            + std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(seconds))
        : clock::time_point::max();
    for (std::size_t lane = 0; lane < lanes; ++lane)
      send(lane, begin_);
    end_if_done();
  }

private:
  void send(std::size_t lane, clock::time_point now) {
    auto request = next_(lane);
    if (!request)
      return;
    ++in_flight_;
    self_
      ->request(gateway_, caf::infinite, actors::protocol_version, operation_, std::move(*request))
      .then([this, lane, now](std::uint16_t status,
                              const std::string& answer) { answered(lane, now, status, answer); },
            [this](const caf::error&) { failed("the node is gone"); });
  }

  void answered(std::size_t lane, clock::time_point sent, std::uint16_t status,
                const std::string& answer) {
    --in_flight_;
    const auto now = clock::now();
    if (status != 0) {
      failed(answer);
      return;
    }
    last_ = now;
    if (now < end_) {
      ++out_.answered;
      out_.us.add(std::chrono::duration<double, std::micro>(now - sent).count());
      if (!ended_)
        send(lane, now);
    }
    end_if_done();
  }

  void end_if_done() {
    if (in_flight_ > 0 || ended_)
      return;
    ended_ = true;
    const auto end = end_ == clock::time_point::max() ? last_ : end_;
    out_.seconds = std::chrono::duration<double>(end - begin_).count();
    done_->set_value(std::move(out_));
    self_->quit();
  }

  void failed(const std::string& why) {
    if (ended_)
      return;
    ended_ = true;
    done_->set_exception(std::make_exception_ptr(std::runtime_error(operation_ + ": " + why)));
    self_->quit();
  }

  caf::stateful_actor<client_state>* self_ = nullptr;
  actors::gateway_handle gateway_;
  std::string operation_;
  next_request next_;
  std::shared_ptr<std::promise<load_outcome>> done_;
  clock::time_point begin_, end_, last_;
  std::size_t in_flight_ = 0;
  bool ended_ = false;
  load_outcome out_;
};

}  // namespace

load_outcome drive(server& to, const std::string& operation, std::size_t lanes, next_request next,
                   double seconds) {
  auto done = std::make_shared<std::promise<load_outcome>>();
  auto outcome = done->get_future();
  to.system().spawn([=, gateway = to.gateway()](caf::stateful_actor<client_state>* self) {
    self->state.start(self, gateway, operation, lanes, next, seconds, done);
  });
  return outcome.get();
}

}  // namespace recalld::bench

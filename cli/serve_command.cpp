#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <future>
#include <thread>

#include <caf/actor_system.hpp>
#include <CLI/App.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "api/certs.hpp"
#include "cli/addressing.hpp"
#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "cli/hosting.hpp"

namespace recalld::cli {

namespace {

namespace fs = std::filesystem;

sigset_t ending_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (int s : {SIGINT, SIGTERM, SIGHUP})
    ::sigaddset(&set, s);
  return set;
}

/// Reads signals in a thread of its own. The first asks for an orderly end; a second one ends the
/// process at once, which is safe at any moment. Threads made later inherit the blocked signals.
class signal_reader {
public:
  signal_reader() {
    const auto set = ending_signals();
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    thread_ = std::jthread([this](std::stop_token stop) { read(stop); });
  }

  void wait_for_the_first() { first_.wait(); }
  /// True: a signal came within that time, or before.
  bool came_within(std::chrono::milliseconds time) {
    return first_.wait_for(time) == std::future_status::ready;
  }

private:
  void read(const std::stop_token& stop) {
    const auto set = ending_signals();
    const timespec patience{.tv_sec = 0, .tv_nsec = 100'000'000};
    bool asked = false;
    while (!stop.stop_requested()) {
      const int signal = ::sigtimedwait(&set, nullptr, &patience);
      if (signal < 0)
        continue;
      if (asked) {
        spdlog::warn("ending at once");
        std::_Exit(exit_code::interrupted);
      }
      asked = true;
      spdlog::info("signal {}: stopping in order; a second one ends at once", signal);
      asked_.set_value();
    }
  }

  std::promise<void> asked_;
  std::future<void> first_ = asked_.get_future();
  std::jthread thread_;
};

/// Whether a directory has nothing in it, or does not exist.
bool is_vacant(const fs::path& directory) {
  std::error_code e;
  return !fs::exists(directory, e) || fs::is_empty(directory, e);
}

result<void> prepare_network(const settings& s, api::system_config& config) {
  if (s.flag("tls.insecure_loopback")) {
    spdlog::warn("speaking without TLS on {}", s.text("listen.address"));
    config.use_plain_network();
    return {};
  }
  const auto directory = s.path("tls.certs");
  if (is_vacant(directory)) {
    std::vector<std::string> names;
    if (const auto& address = s.text("listen.address");
        !is_loopback(address) && address != "0.0.0.0" && address != "::")
      names.push_back(address);
    auto made = api::init_certificates(directory, names);
    if (!made)
      return fail(made.error());
    spdlog::info("made an authority and certificates for this cluster in {}", directory.string());
  }
  return config.use_tls(api::node_files(directory));
}

std::int64_t milliseconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now()
                                                               - begin)
    .count();
}

std::string with_port(const std::string& address, std::uint16_t port) {
  const bool bare_v6 = address.find(':') != std::string::npos;
  return bare_v6 ? fmt::format("[{}]:{}", address, port) : fmt::format("{}:{}", address, port);
}

void tell_ready(const invocation& call, const std::string& listen, const std::string& log_id,
                std::int64_t ms) {
  const auto& s = call.settings;
  const auto data = log_is_remote(s)
                      ? log_place(s)
                      : fs::absolute(log_directory(s)).lexically_normal().string();
  if (call.json) {
    json::object_writer w;
    w.str("listen", listen).str("data", data).str("log", log_id).num("ready_ms", ms);
    fmt::print("{}\n", std::move(w).done());
  } else {
    fmt::print("ready listen={} data={} log={} ready_ms={}\n", listen, data, log_id, ms);
  }
  std::fflush(stdout);
}

/// Waits until no other node serves the log. False: a signal came first.
result<bool> stand_by(const invocation& call, storage::log_lease& lease,
                      std::chrono::milliseconds length, signal_reader& signals) {
  constexpr auto look_every = std::chrono::milliseconds(250);
  std::string told;
  for (;;) {
    const auto standing = lease.hold(length);
    if (!standing && standing.error().code != errc::unavailable)
      return fail(standing.error());
    if (standing && standing->ours)
      return true;
    if (!standing) {
      spdlog::warn("{}", standing.error().message);
    } else if (standing->holder != told) {
      told = standing->holder;
      if (call.json) {
        json::object_writer w;
        w.str("standby", told);
        fmt::print("{}\n", std::move(w).done());
      } else {
        fmt::print("standby holder={}\n", told);
      }
      std::fflush(stdout);
    }
    if (signals.came_within(standing ? look_every : 4 * look_every))
      return false;
  }
}

int serve(const invocation& call) {
  const auto begin = std::chrono::steady_clock::now();
  const auto& s = call.settings;
  start_logging(s, call.err.colour);
  signal_reader signals;

  // Before anything is made or touched: what is taken is taken.
  const auto& address = s.text("listen.address");
  const auto wanted = static_cast<std::uint16_t>(s.number("listen.port"));
  if (auto free = check_listenable(address, wanted); !free)
    return call.fail(free.error());
  auto options = node_options_of(s);
  for (auto add : {add_scribe, add_embeddings})
    if (auto usable = add(s, options); !usable)
      return call.fail(usable.error());
  auto store = open_log_to_write(call);
  if (!store)
    return call.fail(store.error());
  const auto log_id = (*store)->writer().identity().log_id;
  api::system_config config(s.number("scheduler.threads"));
  if (auto network = prepare_network(s, config); !network)
    return call.fail(network.error());
  caf::actor_system system(config);
  const std::chrono::milliseconds lease_length(s.number("lease_ms"));
  auto lease = (*store)->open_lease(s.text("node.name"));
  if (!lease)
    return call.fail(lease.error());
  if (*lease) {
    const auto ours = stand_by(call, **lease, lease_length, signals);
    if (!ours)
      return call.fail(ours.error());
    if (!*ours)
      return exit_code::success;
  }
  if (options.embedding_model.open)
    spdlog::info("finding memories by what they mean, too, with {}", options.embedding_model.name);
  options.store = std::move(*store);
  options.lease = std::move(*lease);
  options.lease_length = lease_length;
  options.on_fatal = [](const std::string& why) {
    spdlog::critical("ending at once: {}", why);
    std::_Exit(exit_code::fatal);
  };
  auto node = actors::node::start(system, std::move(options));
  if (!node)
    return call.fail(node.error());
  const auto port = (*node)->publish(address, wanted, !s.flag("tls.insecure_loopback"));
  if (!port)
    return call.fail(port.error());
  tell_ready(call, with_port(address, *port), log_id, milliseconds_since(begin));

  signals.wait_for_the_first();
  const auto stopping = std::chrono::steady_clock::now();
  (*node)->stop();
  spdlog::info("stopped in {} ms", milliseconds_since(stopping));
  return exit_code::success;
}

}  // namespace

command serve_command() {
  return {
    .name = "serve",
    .summary = "Run the server until SIGINT or SIGTERM; a second signal ends it at once.",
    .details = "On its first start it makes the data directory, and a certificate authority with\n"
               "certificates for itself and for the commands of this program. When it takes\n"
               "requests it prints one line that begins with `ready`. Logs go to stderr.\n"
               "A second server on the same Postgres database prints a line that begins with\n"
               "`standby`, and takes over when the first one is gone.",
    .audience = used_by::store | used_by::server,
    .examples =
      {"recalld serve", "recalld serve --data /var/lib/recalld --address 0.0.0.0",
       "recalld serve --store postgres://recalld@db.example/recalld",
       "recalld serve --port 0 --json            the line with the port is for a program"},
    .prepare = [](CLI::App&) -> runner { return serve; },
    .heading = "Server",
  };
}

}  // namespace recalld::cli

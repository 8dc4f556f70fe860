#pragma once

#include "actors/node.hpp"
#include "bench/bench.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>

/// A node in this process, and clients of its gateway.
namespace recalld::bench {

struct node_figures {
  std::uint64_t live_streams = 0;
  std::uint64_t commits = 0;
  std::uint64_t facts = 0;
  std::uint64_t deadlines = 0;
};

class server {
public:
  struct settings {
    std::filesystem::path log;
    std::string url = {};  ///< Of a Postgres database, instead of `log`.
    std::filesystem::path cache = {};  ///< Empty: none.
    actors::limits limits{};
    std::function<std::int64_t()> clock = {};
  };
  /// Ready when it returns.
  explicit server(settings s);
  ~server();

  caf::actor_system& system() noexcept { return system_; }
  const actors::gateway_handle& gateway() const { return node_->gateway(); }

  /// Asks and waits; throws when the answer is an error.
  std::string ask(const std::string& operation, std::string request);
  node_figures figures();

private:
  caf::actor_system_config config_;
  caf::actor_system system_;
  std::unique_ptr<actors::node> node_;
};

/// What came of a load.
struct load_outcome {
  std::uint64_t answered = 0;  ///< Within the time.
  double seconds = 0;
  histogram us;  ///< From the request to its answer.
  double rate() const noexcept { return static_cast<double>(answered) / seconds; }
};

/// The next request of a lane as JSON; absent: the lane has no more. A lane is asked by one thread
/// at a time; all lanes are, when the load goes on until there is no more.
using next_request = std::function<std::optional<std::string>(std::size_t lane)>;

/// Clients that keep a request in flight on each of `lanes` lanes, for `seconds` (0: until no
/// lane has more). Returns when everything is answered; throws when something fails.
load_outcome drive(server& to, const std::string& operation, std::size_t lanes, next_request next,
                   double seconds);

}  // namespace recalld::bench

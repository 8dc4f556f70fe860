#pragma once

#include "actors/gateway_protocol.hpp"
#include "actors/operation.hpp"
#include "events/result.hpp"

#include <caf/fwd.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace recalld::storage {
class store;
class log_lease;
}  // namespace recalld::storage

/// A Recalld node: the server without a process of its own. Start it inside any CAF actor system,
/// alone or beside your own agents.
namespace recalld::actors {

/// How much a node takes on. What does not fit is refused with `overloaded`, never queued.
struct limits {
  std::size_t requests_max = 16'384;           ///< Requests in progress on the node.
  std::size_t requests_per_stream_max = 512;   ///< Commands in progress on one stream.
  std::size_t request_bytes_max = 1 << 20;     ///< Size of one request.
  std::size_t requests_bytes_max = 256 << 20;  ///< Requests in progress, all together.
  std::size_t memory_bytes = 512 << 20;  ///< Live streams' states; beyond it the idlest leave.
  std::uint32_t idle_s = 300;            ///< A stream nobody used for so long leaves memory.
  std::size_t tail_entries = 64;         ///< Newest entries a live session keeps in memory.
  std::size_t tail_bytes = 128 << 10;
  std::size_t batch_facts = 4'096;  ///< Facts in one commit.
  std::size_t batch_bytes = 8 << 20;
  std::uint32_t slow_commit_us =
    1'500;  ///< A longer wait for the disk lets the next commit wait a little, too.
  std::size_t index_bytes =
    256 << 20;  ///< Indexes of memories and entries, half each; the one searched last always fits.
  std::uint32_t watchers_max = 16'384;
  std::uint32_t receipts_days = 7;  ///< Command ids of forgotten facts are kept so long.
};

/// Work beside the node that blocks, such as asking a model. Called once, in a thread of its own; works
/// through the node's gateway like anybody else and returns soon after `stop` became true.
using companion = std::function<void(caf::actor_system& system, const gateway_handle& gateway,
                                     const std::atomic<bool>& stop)>;

/// Makes one vector for each text, all of one length: near each other where texts mean the same. Blocks
/// no longer than `within`, and ends soon after `stop` became true; for one thread at a time.
/// `unavailable` and `overloaded`: perhaps later; `rejected`: these texts never.
using embed_texts = std::function<result<std::vector<std::vector<float>>>(
  std::span<const std::string> texts, std::chrono::milliseconds within,
  const std::atomic<bool>& stop)>;
struct embedding_model {
  std::string name;  ///< Vectors of another model are never compared with its own.
  std::function<embed_texts()>
    open;  ///< Once for each thread that asks; absent: there is no model.
};

struct node_options {
  std::unique_ptr<storage::store> store;  ///< Opened; the node is its only writer.
  /// Of the store, held already by whoever waited for it; absent: the node takes it, if the store has
  /// one, and does not start when another node has it.
  std::unique_ptr<storage::log_lease> lease;
  std::chrono::milliseconds lease_length{3'000};  ///< How long a node that is gone is waited for.
  std::filesystem::path cache_directory;          ///< Empty: no hot cache.
  std::size_t cache_bytes = 64 << 20;
  /// Keys that credentials are sealed with, see `key_ring.hpp`; made when it does not exist. Empty:
  /// there are none, and credentials are refused.
  std::filesystem::path key_file;
  actors::limits limits{};
  std::span<const operation> operations;  ///< Usually `api::catalogue()`.
  std::size_t readers = 2;
  std::vector<companion> companions;
  actors::embedding_model embedding_model;  ///< Without one memories are found by their words only.
  std::chrono::milliseconds embedding_patience{1'000};  ///< So long a search waits for a vector.
  std::string name = "node";
  /// Microseconds since 1970; tests inject their own.
  std::function<std::int64_t()> clock;
  /// Blocking actors get threads of their own; only deterministic tests say no.
  bool threads = true;
  /// Called once, from any thread, when a part without which the node is nothing has gone (the
  /// journal after an unknown outcome, a reader, the directory). The process should end and start
  /// again from the log. Default: log and `std::_Exit(70)`.
  std::function<void(const std::string& why)> on_fatal;
};

class node {
public:
  /// Takes the shards, rebuilds outdated projections, starts the actors. Ready when it returns.
  /// `fenced`, `unavailable` and `corrupt` as the store says.
  static result<std::unique_ptr<node>> start(caf::actor_system& system, node_options options);
  /// As `stop`.
  ~node();

  const gateway_handle& gateway() const;

  /// Opens the gateway to other processes. With TLS the actor system must have been configured with
  /// certificates (`api/tls.hpp`); without, only loopback addresses are accepted. Port 0: any. Gives the port.
  result<std::uint16_t> publish(const std::string& address, std::uint16_t port, bool tls);

  /// Stops in order: faces, gateway, timers, directory (every stream leaves a snapshot), feed,
  /// journal. What was accepted is answered.
  void stop();

private:
  struct parts;
  explicit node(std::unique_ptr<parts> p);
  std::unique_ptr<parts> parts_;
};

}  // namespace recalld::actors

#pragma once

#include "actors/key_ring.hpp"
#include "actors/node.hpp"
#include "actors/protocol.hpp"
#include "events/zones.hpp"
#include "storage/snapshot_cache.hpp"

#include <caf/actor.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace recalld::actors {

/// Which of some journals writes to a shard.
inline std::size_t journal_of(storage::shard_t shard, std::size_t journals) noexcept {
  return shard % journals;
}

/// What the actors of one node share. Filled by the node before the first message; after that only
/// the atomics change.
struct surroundings {
  actors::limits limits{};
  std::string name;
  storage::log_identity log;
  std::shared_ptr<storage::snapshot_cache> cache;
  std::optional<key_ring> keys;  ///< Nothing: nothing can be sealed.
  std::function<time_us_t()> clock;
  const zone_rules* zones = nullptr;
  /// The node cannot go on; see `node_options::on_fatal`.
  std::function<void(const std::string&)> fatal;

  std::vector<caf::actor> journals;
  std::function<storage::shard_t(const stream_id&)> shard_of;
  std::vector<caf::actor> readers;
  caf::actor directory;
  caf::actor feed;
  caf::actor projector;
  caf::actor searcher;
  caf::actor question_embedder;  ///< None: memories are found by their words only.
  std::string embedding_model;   ///< Of it; empty without one.

  /// The journal that writes a stream.
  const caf::actor& journal_for(const stream_id& stream) const {
    return journals.size() == 1 ? journals.front()
                                : journals[journal_of(shard_of(stream), journals.size())];
  }
  /// The reader that serves a stream; always the same one, so its pages stay warm.
  const caf::actor& reader_for(const stream_id& stream) const {
    return readers[std::hash<stream_id>{}(stream) % readers.size()];
  }

  std::atomic<bool> ending{false};         ///< No request is admitted any more.
  std::atomic<std::uint64_t> requests{0};  ///< In progress.

  /// When the log's database was last reached, while it cannot be; otherwise 0. What a node knows
  /// then may be so old.
  std::atomic<time_us_t> alone_since{0};
  std::atomic<time_us_t> confirmed{0};  ///< When the lease was last ours for sure.

  // -- figures --

  std::atomic<std::int64_t> state_bytes{0};  ///< Held by live streams.
  std::atomic<std::uint64_t> live{0};        ///< Streams in memory.
  std::atomic<std::uint64_t> woken{0};
  std::atomic<std::uint64_t> passivated{0};
  std::atomic<std::uint64_t> commits{0};
  std::atomic<std::uint64_t> facts{0};
  std::atomic<std::uint64_t> refused{0};
  std::atomic<std::uint64_t> overloaded{0};
  std::atomic<std::uint64_t> watchers{0};
  std::atomic<std::uint64_t> armed{0};   ///< Deadlines that the supervisor has in view.
  std::atomic<std::uint64_t> fallen{0};  ///< Those that it told streams of.
  std::atomic<std::int64_t> commit_us{0};  ///< Duration of the last commit.
  std::atomic<std::int64_t> disk_us{0};    ///< What of it the journal was not running but waiting.
};

using surroundings_ptr = std::shared_ptr<surroundings>;

}  // namespace recalld::actors

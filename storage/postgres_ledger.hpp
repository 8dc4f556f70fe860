#pragma once

#include "storage/head_cache.hpp"
#include "storage/store.hpp"

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <span>
#include <string>
#include <vector>

/// Inside `storage/` only.
namespace recalld::storage::postgres {

/// What the writers of one store know together: under which rights its shards are written, and where
/// they and their streams stand. A writer holds the shards that it is at work on, so that two of them
/// may write to a shard in turn without asking the database what the other has done.
class ledger {
public:
  /// The right to write a shard, and where the log stands under it.
  struct right {
    epoch_t granted = 0;  ///< What `take` told; an unknown commit raises `epoch` above it.
    epoch_t epoch = 0;
    position_t head = 0;
    std::uint64_t streams = 0;  ///< How many the shard has.
    bool known = false;         ///< Otherwise the database has to be asked.
  };
  struct shard {
    explicit shard(std::size_t heads_max) : heads(heads_max) {}
    std::recursive_mutex busy;
    right mine;
    /// A writer does not know yet what became of its commit.
    bool in_doubt = false;
    head_cache heads;
  };

  ledger(std::uint32_t shards, std::size_t heads_max) : incarnation(fresh_log_id()) {
    for (std::uint32_t s = 0; s < shards; ++s)
      shards_.emplace_back(heads_max / shards);
  }

  shard& operator[](shard_t s) { return shards_[s]; }
  std::size_t size() const noexcept { return shards_.size(); }

  /// Some shards, held in ascending order. What was learnt of them meanwhile is forgotten at the end,
  /// unless the work succeeded.
  class hold {
  public:
    hold(ledger& of, std::vector<shard_t> sorted) : of_(of), held_(std::move(sorted)) {
      for (const auto s : held_)
        of_[s].busy.lock();
    }
    ~hold() {
      for (auto s = held_.rbegin(); s != held_.rend(); ++s) {
        if (!done_)
          of_[*s].heads.clear();
        of_[*s].busy.unlock();
      }
    }
    hold(const hold&) = delete;
    hold& operator=(const hold&) = delete;

    std::span<const shard_t> shards() const noexcept { return held_; }
    void forget() {
      for (const auto s : held_)
        of_[s].heads.clear();
    }
    void done() noexcept { done_ = true; }

  private:
    ledger& of_;
    std::vector<shard_t> held_;
    bool done_ = false;
  };

  std::vector<shard_t> all() const {
    std::vector<shard_t> out;
    for (shard_t s = 0; s < shards_.size(); ++s)
      out.push_back(s);
    return out;
  }

  /// Tells this store from all others that ever took a shard.
  const std::string incarnation;
  /// A rebuild is under way: nothing of the log is forgotten.
  std::atomic<bool> rebuilding{false};
  /// Grows when tables were put in place of others.
  std::atomic<std::uint64_t> swaps{0};

private:
  std::deque<shard> shards_;
};

}  // namespace recalld::storage::postgres

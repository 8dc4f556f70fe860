#pragma once

#include "storage/row_set.hpp"
#include "storage/store.hpp"

#include <map>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace recalld::storage {

/// What a log holds, as plain containers: the specification that the other stores are compared
/// with, the target of a replay, and the disk of a simulation. One shard (0).
struct model_log {
  /// What the log knows of one stream.
  struct stream {
    stream_id id;
    stream_position at;
    time_us_t time = 0;  ///< Of the last fact.
    /// Positions of its facts by version: per lane those that are whole, and all that are left.
    std::map<version_t, position_t> lanes[lane_count];
    std::map<version_t, position_t> all;
    /// Versions of the whole facts with a key.
    std::map<std::string, version_t, std::less<>> keys;
    /// Facts of other streams that it reads: up to which version.
    std::map<stream_no_t, version_t> borrows;
  };

  log_identity identity{"00000000-0000-7000-8000-000000000000", 1};
  epoch_t epoch = 0;
  /// By position - 1; absent: gone for good.
  std::vector<std::optional<recorded>> facts;
  std::vector<stream> streams;  ///< By number - 1.
  std::unordered_map<stream_id, stream_no_t> numbers;
  row_set rows;
  std::map<std::string, int, std::less<>> table_versions;
  row_set shadow;
  std::vector<const projections::table*> shadow_tables;

  position_t head() const noexcept { return facts.size(); }
  stream* find(const stream_id& id);
  /// The highest version of `source` that some other stream reads.
  version_t borrowed_through(stream_no_t source) const;
  /// Notes a fact that is already in `facts` in its stream, which exists.
  void note(const recorded& fact);
};

/// What survives when a store is closed. Give the same one to two stores, one after the other, and
/// the second finds what the first has left.
struct model_disk {
  std::shared_mutex lock;
  model_log log;
};

std::shared_ptr<model_disk> make_model_disk();

/// A store in memory. Thread-safe between its writer and any number of readers. A reader's snapshot
/// copies the whole log.
std::unique_ptr<store> open_model(std::shared_ptr<model_disk> disk = make_model_disk());

}  // namespace recalld::storage

#pragma once

#include "events/ids.hpp"
#include "events/result.hpp"
#include "storage/store.hpp"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace recalld::storage {

/// An aggregate's state at a version. Disposable: losing it costs time, never truth.
struct snapshot {
  version_t version = 0;
  time_us_t time = 0;
  std::uint16_t schema = 0;  ///< `codec::state_schema` of the writer.
  std::string state;         ///< Text of `codec::encode_state`.
  friend bool operator==(const snapshot&, const snapshot&) = default;
};

/// The hot cache: snapshots by stream, in RocksDB without a write-ahead log. Whatever is wrong
/// with it (missing, damaged, of another log, generation or schema) reads as "no snapshot" and is
/// rebuilt. Thread-safe. Never blocks on a disk sync.
class snapshot_cache {
public:
  /// Opens the cache of a log. A directory that holds the cache of another log, or is damaged, is
  /// wiped if it is recognisably a cache of ours; a directory with foreign files in it is refused
  /// as `invalid`. An empty path gives a cache that remembers nothing. So does a disk that is nearly
  /// full (room for half of `memory_bytes` must be left), on which a cache is wiped; what is put while
  /// it is, is forgotten.
  static result<std::unique_ptr<snapshot_cache>> open(const std::filesystem::path& directory,
                                                      const log_identity& log,
                                                      std::size_t memory_bytes = 64 << 20);
  ~snapshot_cache();

  /// Nothing when there is none that fits this log.
  std::optional<snapshot> get(const stream_id& stream);
  /// Failures are counted, not reported: a cache may forget.
  void put(const stream_id& stream, const snapshot& s);
  /// Its bytes leave the files with a later `flush_soon`, or when the cache is closed. A cache whose
  /// process is killed before is wiped when it is opened.
  void erase(const stream_id& stream);
  /// Starts writing what is in memory to files, without waiting, and rewrites files with erased
  /// snapshots in them, at most every 15 s. Of one thread.
  void flush_soon();

  struct counters {
    std::uint64_t hits = 0, misses = 0, puts = 0, ignored = 0, failures = 0;
  };
  counters count() const;

private:
  struct opened;
  explicit snapshot_cache(std::unique_ptr<opened> o);
  std::unique_ptr<opened> opened_;
};

}  // namespace recalld::storage

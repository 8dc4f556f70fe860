#pragma once

#include "storage/store.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>

namespace recalld::storage {

struct sqlite_options {
  /// The log lives in `recalld.db` in here; made if it does not exist (unless `read_only`).
  std::filesystem::path directory;
  /// Only `open_reader` and the writer's `identity`, `shards` and `shard_of` work; no lock is
  /// taken, nothing is written; a server may be running on the same log.
  bool read_only = false;
  /// Opens also what is the unfinished copy of another log.
  bool unfinished = false;
  /// How long a write waits for a lock that a foreign process holds on the database.
  int busy_ms = 2000;
  std::uint64_t writer_cache_bytes = 64 << 20;
  std::uint64_t reader_cache_bytes = 16 << 20;
  /// The write-ahead log is copied into the database when it has grown to so many pages (4 KiB)
  /// when the writer is relieved; `checkpoint` does it sooner, when the writer is idle. A commit that
  /// finds twice as many does it itself.
  int checkpoint_pages = 8000;
  /// How many streams the writer remembers the heads of.
  std::size_t heads_max = 200'000;
  /// The database grows to at most so many pages; 0 = the disk is the limit.
  std::uint32_t pages_max = 0;
};

/// Opens, creates or migrates a log in SQLite: one shard (0), one writing connection, readers with
/// connections of their own. Survives the loss of power after every acknowledged commit.
///
/// `unavailable`: another process has it open for writing (named by its pid), the directory cannot
/// be used, or a newer program wrote it. `corrupt`: the file is damaged. `not_found`: read-only
/// and there is no log.
result<std::unique_ptr<store>> open_sqlite(const sqlite_options& options);

}  // namespace recalld::storage

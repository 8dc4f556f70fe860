#pragma once

#include "storage/postgres_store.hpp"
#include "storage/replay.hpp"
#include "storage/sqlite_store.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

/// Copying a whole log from one store into another: to move it, and to back it up.
namespace recalld::storage {

/// Why a copy that was interrupted cannot be opened as a log.
inline constexpr const char* unfinished_copy =
  "this is the unfinished copy of another log: copy it again, which goes on where it ended";

/// Where a stream stands, in words that mean the same in every store.
struct copied_stream {
  stream_id stream;
  stream_position at;
  std::vector<borrowed_range> borrows;
};

/// A log that is being made as the copy of another one. What was put into it stays over a crash; until
/// `finish` it cannot be opened otherwise. Facts keep their streams, versions, times and commands, and
/// get positions and stream numbers of the new log; what was forgotten does not come along.
class copy_target {
public:
  virtual ~copy_target() = default;

  /// Begins, or goes on. Gives how much of each shard of the source is there. `conflict`: there is a
  /// log already, or the unfinished copy of another one.
  virtual result<std::vector<position_t>> begin(const log_identity& source,
                                                std::size_t source_shards) = 0;
  /// Facts of one shard of the source, in order, and how much of it is there with them.
  virtual result<void> add(shard_t source_shard, position_t through,
                           std::vector<recorded> facts) = 0;
  /// Where streams with a base stand.
  virtual result<void> settle(std::vector<copied_stream> streams) = 0;
  /// The log as it is now, to write the projections of its facts.
  virtual result<std::unique_ptr<store>> open_unfinished() = 0;
  /// Makes it a log, with the id of the source and a generation that is higher than `after` and than
  /// the present time in seconds: cursors and caches of the source are none of it.
  virtual result<log_identity> finish(std::uint64_t after) = 0;
};

/// The directory holds no log yet. Errors as `open_sqlite`.
result<std::unique_ptr<copy_target>> copy_into_sqlite(const sqlite_options& options);
/// The schema holds no log yet. Errors as `open_postgres`.
result<std::unique_ptr<copy_target>> copy_into_postgres(const postgres_options& options);

struct copy_report {
  log_identity identity;  ///< Of the copy.
  std::uint64_t facts = 0;
  bool resumed = false;  ///< An earlier attempt had begun it.
};

/// What a copy is doing, and how much of it is done, in facts.
enum class copy_stage : std::uint8_t { copying, projecting, verifying };
using copy_progress = std::function<void(copy_stage, std::uint64_t done, std::uint64_t all)>;

struct copy_options {
  copy_progress progress;
  /// Nothing may have been written to the source behind what was copied: `unavailable` when it was,
  /// and the copy stays unfinished, so that the same call goes on with it.
  bool to_the_end = false;
};

/// Copies what `from` sees now, writes the projections anew from the copied log, and compares them
/// with it once more before the copy counts as a log. `corrupt` when they differ.
result<copy_report> copy_log(log_reader& from, copy_target& to, const copy_options& options = {});

/// Backs up the log of any store, while it is served: into one file, as `back_up_sqlite` does.
result<copy_report> back_up_log(log_reader& from, const std::filesystem::path& file,
                                const copy_progress& progress = {});
/// Reads a file that `back_up_sqlite` or `back_up_log` wrote.
result<std::unique_ptr<log_reader>> read_backup(const std::filesystem::path& file);

}  // namespace recalld::storage

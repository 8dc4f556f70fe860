#pragma once

#include "storage/store.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>

/// Copies of a log in SQLite, whole and consistent.
namespace recalld::storage {

struct backup_report {
  log_identity identity;
  position_t head = 0;      ///< The copy ends with this position.
  std::uint64_t bytes = 0;  ///< Size of the copy.
};

/// Called now and then with how many pages (4 KiB) of how many were copied.
using backup_progress = std::function<void(std::uint64_t done, std::uint64_t all)>;

/// Copies the log in `directory` into a new file. A server may be running on it: the copy is the
/// log as of the moment when it began, and writers do not wait. The file appears when it is whole
/// and on the disk.
///
/// `not_found`: there is no log. `conflict`: the file exists. `unavailable`: it cannot be written.
result<backup_report> back_up_sqlite(const std::filesystem::path& directory,
                                     const std::filesystem::path& file,
                                     const backup_progress& progress = {});

/// Makes a backup the log in `directory`. The log keeps its id and gets a higher generation than it
/// ever had, so that cursors and caches from before the restore are told apart; the next generation
/// is the time in seconds at least, since what this log had become may be lost. With `replace`
/// a log that is there stays beside it as `recalld.db.replaced`, else it is a `conflict`.
///
/// `not_found`: there is no such backup. `corrupt`: it is damaged. `invalid`: it is no backup of a
/// log. `unavailable`: a server is running on the directory, or a newer program made the backup.
result<backup_report> restore_sqlite(const std::filesystem::path& file,
                                     const std::filesystem::path& directory, bool replace,
                                     const backup_progress& progress = {});

}  // namespace recalld::storage

#pragma once

#include <filesystem>
#include <string>

namespace recalld::storage {

/// Inside `storage/` only. The right of this process to write a log, held as long as the object
/// lives. The lock belongs to the open file, so the system lets it go when the process ends,
/// however it ends.
class process_lock {
public:
  /// Throws `sqlite::failure`: `unavailable` names the process that has it.
  explicit process_lock(const std::filesystem::path& file);
  ~process_lock();
  process_lock(const process_lock&) = delete;
  process_lock& operator=(const process_lock&) = delete;

private:
  std::string read_pid() const;
  int fd_ = -1;
};

}  // namespace recalld::storage

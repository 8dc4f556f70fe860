#include "storage/process_lock.hpp"

#include "storage/sqlite_connection.hpp"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace recalld::storage {

process_lock::process_lock(const std::filesystem::path& file) {
  fd_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0)
    sqlite::refuse(errc::unavailable, "cannot open " + file.string() + ": " + std::strerror(errno));
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    const int why = errno;
    const auto holder = read_pid();
    ::close(fd_);
    if (why == EWOULDBLOCK)
      sqlite::refuse(errc::unavailable, "the log in " + file.parent_path().string()
                                          + " is in use by process " + holder);
    sqlite::refuse(errc::unavailable, "cannot lock " + file.string() + ": " + std::strerror(why));
  }
  const auto pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd_, 0) != 0 || ::pwrite(fd_, pid.data(), pid.size(), 0) < 0) {
    // The lock holds; only the message of a second opener will be poorer.
  }
}

process_lock::~process_lock() {
  ::close(fd_);
}

std::string process_lock::read_pid() const {
  char digits[16] = {};
  const auto n = ::pread(fd_, digits, sizeof digits - 1, 0);
  std::string out;
  for (ssize_t i = 0; i < n && digits[i] >= '0' && digits[i] <= '9'; ++i)
    out += digits[i];
  return out.empty() ? "(unknown)" : out;
}

}  // namespace recalld::storage

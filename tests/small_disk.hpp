#pragma once

#include <filesystem>
#include <string>
#include <utility>

#include <sys/mount.h>

namespace recalld::tests {

/// A file system of a few megabytes in memory over a directory, for as long as the object lives.
class small_disk {
public:
  /// `size` as in tmpfs' `size=`, e.g. `16m`. Needs the right to mount, see `made`.
  small_disk(std::filesystem::path at, const std::string& size)
    : at_(std::move(at)),
      made_(::mount("tmpfs", at_.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0) {}
  ~small_disk() {
    if (made_)
      ::umount2(at_.c_str(), MNT_DETACH);
  }
  small_disk(const small_disk&) = delete;
  small_disk& operator=(const small_disk&) = delete;

  bool made() const noexcept { return made_; }
  bool resize(const std::string& size) {
    return ::mount("tmpfs", at_.c_str(), "tmpfs", MS_REMOUNT, ("size=" + size).c_str()) == 0;
  }
  /// False when a file in it is still open.
  bool give_back() {
    const bool free = made_ && ::umount(at_.c_str()) == 0;
    made_ = made_ && !free;
    return free;
  }

private:
  std::filesystem::path at_;
  bool made_;
};

}  // namespace recalld::tests

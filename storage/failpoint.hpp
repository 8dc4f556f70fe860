#pragma once

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <string>
#include <string_view>

#include <unistd.h>

namespace recalld::storage {

/// A named place where a test may have the process killed, as a power cut would: with
/// `RECALLD_FAILPOINT=name` in the environment the process ends by SIGKILL when it first comes by,
/// with `name:3` at the third time. Without the variable this is one branch. Thread-safe.
inline void failpoint(std::string_view name) {
  struct armed {
    std::string name;
    std::atomic<long> left{1};
    armed() {
      const char* text = std::getenv("RECALLD_FAILPOINT");
      if (text == nullptr)
        return;
      name = text;
      if (auto colon = name.rfind(':'); colon != std::string::npos) {
        left = std::atol(name.c_str() + colon + 1);
        name.resize(colon);
      }
    }
  };
  static armed one;
  if (one.name.empty() || one.name != name)
    return;
  if (one.left.fetch_sub(1) == 1) {
    ::kill(::getpid(), SIGKILL);
    ::pause();  // the signal is on its way
  }
}

}  // namespace recalld::storage

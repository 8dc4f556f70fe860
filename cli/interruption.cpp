#include "cli/interruption.hpp"

#include <csignal>

namespace recalld::cli {

namespace {

sigset_t ends() {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGINT);
  ::sigaddset(&signals, SIGTERM);
  return signals;
}

}  // namespace

interruption::interruption() {
  const auto signals = ends();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

bool interruption::came(std::chrono::milliseconds patience) {
  const auto signals = ends();
  const timespec time{.tv_sec = patience.count() / 1'000,
                      .tv_nsec = patience.count() % 1'000 * 1'000'000};
  return ::sigtimedwait(&signals, nullptr, &time) > 0;
}

}  // namespace recalld::cli

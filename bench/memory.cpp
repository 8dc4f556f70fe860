#include "bench/server.hpp"
#include "bench/workload.hpp"

#include <malloc.h>

#include <atomic>
#include <stdexcept>
#include <thread>

/// jemalloc's control, where it is linked.
extern "C" __attribute__((weak)) int mallctl(const char* name, void* old_value,
                                             std::size_t* old_size, void* new_value,
                                             std::size_t new_size);

namespace recalld::bench {

namespace {

using namespace std::chrono_literals;

constexpr double allowed_bytes = 4096;

/// Bytes that are allocated at this moment, as the allocator of this program counts them.
double allocated() {
  if (mallctl != nullptr) {
    std::uint64_t now = 1;
    std::size_t bytes = 0, size = sizeof bytes;
    // The caches of threads count as allocated until the counters are brought up to date.
    mallctl("thread.tcache.flush", nullptr, nullptr, nullptr, 0);
    mallctl("epoch", nullptr, nullptr, &now, sizeof now);
    mallctl("stats.allocated", &bytes, &size, nullptr, 0);
    return static_cast<double>(bytes);
  }
  ::malloc_trim(0);
  const auto m = ::mallinfo2();
  return static_cast<double>(m.uordblks) + static_cast<double>(m.hblkhd);
}

void touch(server& node, std::size_t from, std::size_t to) {
  auto next = from;
  drive(
    node, "session.get", 64,
    [&](std::size_t) -> std::optional<std::string> {
      if (next == to)
        return std::nullopt;
      return "{" + session_members(next++) + R"(,"last":0,"include_state":false})";
    },
    0);
}

void wait_until_gone(server& node) {
  for (auto waited = 0s; node.figures().live_streams > 0; ++waited) {
    if (waited > 120s)
      throw std::runtime_error("idle sessions did not leave memory");
    std::this_thread::sleep_for(1s);
  }
}

}  // namespace

void memory(const plan& p) {
  const std::size_t sessions = p.quick ? 5'000 : 100'000;
  const scratch place(p);
  const auto log = place.path() / "log";
  {
    log_filler fill(log);
    for (std::size_t s = 0; s < 2 * sessions; ++s)
      fill.create(s);
    fill.finish();
  }
  // The node's clock is moved on by hand, so that idle sessions leave when they are told to.
  auto later = std::make_shared<std::atomic<std::int64_t>>(0);
  server node({.log = log, .clock = [later] {
                 return std::chrono::duration_cast<std::chrono::microseconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count()
                        + later->load();
               }});
  // Other sessions first, so that page caches are full and tables have their size.
  touch(node, sessions, 2 * sessions);
  *later += 3'600'000'000;
  wait_until_gone(node);
  const auto empty = allocated();
  touch(node, 0, sessions);
  const auto live = node.figures().live_streams;
  const auto full = allocated();
  *later += 3'600'000'000;
  wait_until_gone(node);
  const auto after = allocated();
  const auto per_session = [&](double bytes) {
    return (bytes - empty) / static_cast<double>(sessions);
  };
  note(std::to_string(live) + " streams were live");
  print("memory.live_idle_session", per_session(full), "bytes", allowed_bytes);
  print("memory.passivated_session", per_session(after), "bytes", allowed_bytes);
}

}  // namespace recalld::bench

#include "bench/server.hpp"
#include "storage/sqlite_store.hpp"

#include <atomic>
#include <filesystem>
#include <stdexcept>
#include <thread>

namespace recalld::bench {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t lanes = 256;

std::uint64_t bytes_below(const std::filesystem::path& directory) {
  std::uint64_t sum = 0;
  for (const auto& e : std::filesystem::recursive_directory_iterator(directory))
    if (std::error_code gone; e.is_regular_file(gone))
      if (const auto size = e.file_size(gone); !gone)
        sum += size;
  return sum;
}

/// Sets keys [from, to), each for a second.
load_outcome set_keys(server& node, std::size_t from, std::size_t to) {
  std::atomic<std::size_t> next{from};
  const std::string body(100, 'x');
  return drive(
    node, "value.set", lanes,
    [&](std::size_t) -> std::optional<std::string> {
      const auto n = next.fetch_add(1);
      if (n >= to)
        return std::nullopt;
      return R"({"app":"bench","type":"t","ttl_s":1,"key":"k)" + std::to_string(n) + R"(","value":")"
             + body + R"("})";
    },
    0);
}

/// Until nothing lives, and what is forgotten has left the files.
void settle(server& node) {
  const stopwatch watch;
  while (node.ask("value.count", R"({"app":"bench","type":"t"})").find(R"("count":0)")
         == std::string::npos) {
    if (watch.seconds() > 300)
      throw std::runtime_error("values live longer than they should");
    std::this_thread::sleep_for(200ms);
  }
  std::this_thread::sleep_for(5s);
}

}  // namespace

void values(const plan& p) {
  const std::size_t count = p.quick ? 5'000 : 1'000'000;
  const auto tenth = count / 10;
  const auto name = "values.keys=" + std::to_string(count);
  const scratch place(p);
  const auto log = place.path() / "log";
  server node({.log = log});
  set_keys(node, 0, tenth);
  settle(node);
  const auto early = bytes_below(log);
  const auto rest = set_keys(node, tenth, count);
  settle(node);
  print(name + ".bytes_on_disk", static_cast<double>(bytes_below(log)), "B",
        static_cast<double>(early));
  print(name + ".rate", rest.rate(), "/s", 1e6 / sync_us(place.path()));
}

}  // namespace recalld::bench

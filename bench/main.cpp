#include "bench/bench.hpp"

#include <sys/utsname.h>
#include <sys/vfs.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <thread>

// recalld_bench [--only REGEX] [--quick] [--dir DIRECTORY] [--list]
//
// Runs the parts whose name matches, or the figures of one: `append`, `append.sessions=256$`. Data goes below DIRECTORY (default: TMPDIR, else the directory
// of this program) and is removed.

namespace {

using namespace recalld::bench;
namespace fs = std::filesystem;

constexpr part parts[] = {
  {"append", "durable appends through the gateway beside a bare SQLite loop", append},
  {"reads", "the last 20 entries of short and long sessions, hot and cold", reads},
  {"replay", "replaying the log and rebuilding the projections", replay},
  {"wake", "the first look at a session, from a snapshot and from the log", wake},
  {"memory", "memory of a live idle session and of one that left", memory},
  {"ready", "from the start of the process to ready with many sessions on disk", ready},
  {"feed", "one log followed by many watchers", feed},
  {"postgres", "the same on Postgres, beside bare multi-row inserts", postgres},
  {"waiting", "approvals, deadlines and schedules: wakes, lateness, arming", waiting},
  {"search", "searching the memories of one owner among a thousand", search},
  {"values", "a million values that live for a second", values},
};

constexpr long tmpfs_magic = 0x01021994;

fs::path default_place(const fs::path& program) {
  if (const char* dir = std::getenv("TMPDIR"); dir != nullptr && *dir != 0)
    return dir;
  return program.parent_path();
}

void print_machine(const plan& p) {
  utsname system{};
  ::uname(&system);
  note(std::string("kernel ") + system.release + " " + system.machine + ", "
       + std::to_string(std::thread::hardware_concurrency()) + " cores");
  struct statfs disk {};
  if (::statfs(p.place.c_str(), &disk) == 0 && disk.f_type == tmpfs_magic)
    note("WARNING: the data lies in memory (tmpfs), commits cost nothing; set TMPDIR");
  char line[80];
  std::snprintf(line, sizeof line, "fdatasync of 4 KiB: %.0f us (median of 200)", sync_us(p.place));
  note(line);
}

int usage(const char* program) {
  std::fprintf(stderr, "usage: %s [--only REGEX] [--quick] [--dir DIRECTORY] [--list]\n", program);
  return 2;
}

}  // namespace

int main(int argc, char** argv) try {
  plan p;
  p.program = fs::canonical("/proc/self/exe");
  p.place = default_place(p.program);
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const bool more = i + 1 < argc;
    if (word == "--quick") {
      p.quick = true;
    } else if (word == "--only" && more) {
      p.only = argv[++i];
    } else if (word == "--dir" && more) {
      p.place = argv[++i];
    } else if (word == "--list") {
      for (const auto& each : parts)
        std::printf("%-8s %s\n", each.name.data(), each.measures.data());
      return 0;
    } else if (word == "--ready-node" && more) {
      return ready_node(argv[++i]);
    } else if (word == "--ready-bare" && more) {
      return ready_bare(argv[++i]);
    } else {
      return usage(argv[0]);
    }
  }
  print_machine(p);
  bool any = false;
  for (const auto& each : parts) {
    // `append.sessions=256` means a figure of the part `append`.
    if (!p.wants(each.name, "") && !p.only.starts_with(each.name))
      continue;
    any = true;
    note(std::string(each.name) + ": " + std::string(each.measures));
    each.run(p);
  }
  if (!any) {
    std::fprintf(stderr, "no part of that name; --list names them\n");
    return 2;
  }
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "recalld_bench: %s\n", e.what());
  return 1;
}

#include "bench/bare_sqlite.hpp"
#include "bench/server.hpp"
#include "bench/workload.hpp"

#include <cstdio>
#include <cstring>
#include <stdexcept>

#include <sys/wait.h>
#include <unistd.h>

namespace recalld::bench {

namespace {

/// Runs this program with two arguments and gives its first line of output with the time that
/// passed until that came.
struct first_line {
  std::string text;
  double ms = 0;
};

first_line run(const std::string& program, const char* what, const std::filesystem::path& log) {
  int ends[2];
  if (::pipe(ends) != 0)
    throw std::runtime_error("cannot make a pipe");
  const stopwatch watch;
  const auto child = ::fork();
  if (child < 0)
    throw std::runtime_error("cannot fork");
  if (child == 0) {
    ::dup2(ends[1], STDOUT_FILENO);
    ::close(ends[0]);
    ::close(ends[1]);
    ::execl(program.c_str(), program.c_str(), what, log.c_str(), nullptr);
    ::_exit(127);
  }
  ::close(ends[1]);
  first_line out;
  char c = 0;
  while (::read(ends[0], &c, 1) == 1 && c != '\n')
    out.text += c;
  out.ms = watch.us() / 1000;
  while (::read(ends[0], &c, 1) == 1) {
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (status != 0)
    throw std::runtime_error("the process that was started failed");
  return out;
}

}  // namespace

int ready_node(const std::filesystem::path& log) {
  server node({.log = log});
  node.ask("node.health", "{}");
  std::printf("%llu\n", static_cast<unsigned long long>(node.figures().live_streams));
  std::fflush(stdout);
  return 0;
}

int ready_bare(const std::filesystem::path& log) {
  std::printf("%lld\n", static_cast<long long>(bare_sqlite::open(log).head()));
  std::fflush(stdout);
  return 0;
}

void ready(const plan& p) {
  const std::size_t sessions = p.quick ? 20'000 : 1'000'000;
  const scratch place(p);
  const auto log = place.path() / "log";
  {
    log_filler fill(log);
    for (std::size_t s = 0; s < sessions; ++s)
      fill.create(s);
    fill.finish();
  }
  std::vector<double> node, bare, node_cold, bare_cold;
  std::string live;
  for (std::size_t round = 0; round < (p.quick ? 1u : 5u); ++round) {
    const auto started = run(p.program, "--ready-node", log);
    live = started.text;
    node.push_back(started.ms);
    bare.push_back(run(p.program, "--ready-bare", log).ms);
    forget_pages(log);
    node_cold.push_back(run(p.program, "--ready-node", log).ms);
    forget_pages(log);
    bare_cold.push_back(run(p.program, "--ready-bare", log).ms);
  }
  const auto name = "ready.sessions=" + std::to_string(sessions);
  print(name, median(node), "ms", median(bare));
  print(name + ".cold", median(node_cold), "ms", median(bare_cold));
  note("streams that were loaded to get ready: " + live);
}

}  // namespace recalld::bench

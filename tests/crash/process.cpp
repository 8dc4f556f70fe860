#include "tests/crash/process.hpp"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

namespace recalld::tests {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

extern "C" char** environ;

process::process(const std::vector<std::string>& command,
                 const std::map<std::string, std::string>& environment,
                 const std::filesystem::path& errors) {
  // Everything that allocates happens before the fork: this program has threads.
  std::vector<std::string> variables;
  for (char** v = environ; *v != nullptr; ++v)
    if (!std::string_view(*v).starts_with("RECALLD_"))
      variables.emplace_back(*v);
  for (const auto& [name, value] : environment)
    variables.push_back(name + "=" + value);
  std::vector<char*> argv, envp;
  auto words = command;
  for (auto& w : words)
    argv.push_back(w.data());
  argv.push_back(nullptr);
  for (auto& v : variables)
    envp.push_back(v.data());
  envp.push_back(nullptr);

  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    throw std::runtime_error("no pipe");
  const int log = ::open(errors.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(ends[1], 1);
    ::dup2(log, 2);
    ::execve(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  ::close(log);
  if (pid_ < 0)
    throw std::runtime_error("cannot fork");
  out_ = ends[0];
}

process::~process() {
  if (!ended()) {
    signal(SIGKILL);
    wait(10s);
  }
  ::close(out_);
}

std::optional<std::string> process::line(std::chrono::milliseconds patience) {
  const auto until = steady::now() + patience;
  for (;;) {
    if (const auto end = read_.find('\n'); end != std::string::npos) {
      auto one = read_.substr(0, end);
      read_.erase(0, end + 1);
      return one;
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - steady::now());
    if (left <= 0ms)
      return std::nullopt;
    pollfd p{out_, POLLIN, 0};
    if (::poll(&p, 1, static_cast<int>(left.count())) <= 0)
      continue;
    char buffer[4096];
    const auto n = ::read(out_, buffer, sizeof buffer);
    if (n <= 0)
      return std::nullopt;
    read_.append(buffer, static_cast<std::size_t>(n));
  }
}

std::string process::rest() {
  char buffer[4096];
  for (ssize_t n = 0; (n = ::read(out_, buffer, sizeof buffer)) > 0;)
    read_.append(buffer, static_cast<std::size_t>(n));
  return read_;
}

void process::signal(int number) const {
  if (!status_)
    ::kill(pid_, number);
}

bool process::ended() {
  if (status_)
    return true;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_)
    return false;
  status_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return true;
}

std::optional<int> process::wait(std::chrono::milliseconds patience) {
  const auto until = steady::now() + patience;
  while (!ended()) {
    if (steady::now() >= until)
      return std::nullopt;
    std::this_thread::sleep_for(1ms);
  }
  return status_;
}

}  // namespace recalld::tests

#include "tests/postgres_server.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <sched.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace recalld::tests {

namespace {

namespace fs = std::filesystem;

/// Whom the server runs as; nothing when that is who we are anyway.
const passwd* server_user() {
  if (::geteuid() != 0)
    return nullptr;
  for (const char* name : {"postgres", "nobody"})
    if (const auto* user = ::getpwnam(name); user != nullptr)
      return user;
  throw std::runtime_error("root may not run Postgres, and there is no user postgres or nobody");
}

int free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  const bool bound = ::bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0
                     && ::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size) == 0;
  ::close(fd);
  if (!bound)
    throw std::runtime_error(std::string("no free port: ") + std::strerror(errno));
  return ntohs(at.sin_port);
}

bool listens(const std::string& address, int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  ::inet_pton(AF_INET, address.c_str(), &at.sin_addr);
  at.sin_port = htons(static_cast<std::uint16_t>(port));
  const bool up = ::connect(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0;
  ::close(fd);
  return up;
}

/// Starts a program as the server's user, its output in a file; it ends when this thread does.
pid_t run(const std::vector<std::string>& command, const fs::path& log,
          const fs::path& network = {}) {
  const auto* user = server_user();
  std::vector<char*> words;
  for (const auto& word : command)
    words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  const auto parent = ::getpid();
  const auto child = ::fork();
  if (child < 0)
    throw std::runtime_error(std::string("fork: ") + std::strerror(errno));
  if (child > 0)
    return child;
  const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  const int in = ::open("/dev/null", O_RDONLY);
  ::dup2(in, 0);
  ::dup2(out, 1);
  ::dup2(out, 2);
  ::setpgid(0, 0);
  if (!network.empty())
    if (const int there = ::open(network.c_str(), O_RDONLY | O_CLOEXEC);
        there < 0 || ::setns(there, CLONE_NEWNET) != 0)
      ::_exit(123);
  if (user != nullptr
      && (::setgroups(0, nullptr) != 0 || ::setgid(user->pw_gid) != 0 || ::setuid(user->pw_uid) != 0))
    ::_exit(126);
  // After the change of user, which takes it back.
  ::prctl(PR_SET_PDEATHSIG, SIGQUIT);
  if (::getppid() != parent)
    ::_exit(125);
  if (::chdir("/") != 0)
    ::_exit(124);
  ::execv(words[0], words.data());
  ::_exit(127);
}

/// Memory, where there is plenty: hundreds of logs are made, and power is not cut here.
fs::path scratch_place() {
  std::error_code e;
  const fs::path memory = "/dev/shm";
  constexpr std::uintmax_t plenty = 2ull << 30;
  const auto room = fs::space(memory, e);
  return !e && room.available > plenty ? memory : fs::temp_directory_path();
}

std::string text_of(const fs::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

std::optional<fs::path> postgres_server::binaries() {
  auto complete = [](const fs::path& p) {
    std::error_code e;
    return fs::exists(p / "postgres", e) && fs::exists(p / "initdb", e);
  };
  if (const char* given = std::getenv("RECALLD_POSTGRES_BIN"); given != nullptr)
    return complete(given) ? std::optional<fs::path>(given) : std::nullopt;
  std::vector<std::pair<int, fs::path>> found;
  std::error_code e;
  for (fs::directory_iterator at("/usr/lib/postgresql", e), end; !e && at != end; at.increment(e))
    if (complete(at->path() / "bin"))
      found.emplace_back(std::atoi(at->path().filename().c_str()), at->path() / "bin");
  if (found.empty())
    return {};
  return std::max_element(found.begin(), found.end())->second;
}

postgres_server& postgres_server::shared() {
  static postgres_server one;
  return one;
}

postgres_server::postgres_server(const std::string& settings, const home& where)
  : settings_(settings), home_(where), port_(free_port()) {
  static std::atomic<int> count{0};
  const auto bin = binaries();
  if (!bin)
    throw std::runtime_error("Postgres is not installed");
  directory_ = (home_.directory.empty() ? scratch_place() : home_.directory)
               / ("recalld-pg-" + std::to_string(::getpid()) + "-" + std::to_string(++count));
  fs::remove_all(directory_);
  fs::create_directories(directory_);
  if (const auto* user = server_user(); user != nullptr
                                        && ::chown(directory_.c_str(), user->pw_uid, user->pw_gid)
                                             != 0)
    throw std::runtime_error("chown " + directory_.string() + ": " + std::strerror(errno));
  const auto log = directory_ / "initdb.log";
  // Nobody needs the empty cluster after a power cut; the server itself keeps its safe settings.
  const auto made = run({*bin / "initdb", "-D", directory_ / "data", "-U", "recalld", "--auth=trust",
                         "--no-locale", "-E", "UTF8", "--no-sync", "--no-instructions"},
                        log);
  int status = 0;
  ::waitpid(made, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    throw std::runtime_error("initdb failed: " + text_of(log));
  if (home_.address != "127.0.0.1")
    std::ofstream(directory_ / "data" / "pg_hba.conf", std::ios::app)
      << "host all all 0.0.0.0/0 trust\n";
  start();
}

postgres_server::~postgres_server() {
  stop(SIGINT);
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
}

void postgres_server::start() {
  std::vector<std::string> command{*binaries() / "postgres", "-D", directory_ / "data",
                                   "-k", directory_, "-p", std::to_string(port_),
                                   "-c", "listen_addresses=" + home_.address, "-c",
                                   "max_connections=200"};
  std::string word;
  for (const char c : settings_ + " ") {
    if (c != ' ') {
      word += c;
      continue;
    }
    if (!word.empty()) {
      command.emplace_back("-c");
      command.push_back(std::move(word));
    }
    word.clear();
  }
  const auto log = directory_ / "server.log";
  pid_ = run(command, log, home_.network);
  for (int i = 0; i < 600; ++i) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      throw std::runtime_error("Postgres did not start: " + text_of(log));
    }
    // It says so when it takes requests; before that it lets nobody in.
    const auto said = text_of(log);
    const auto ready = said.rfind("database system is ready to accept connections");
    const auto begun = said.rfind("starting PostgreSQL");
    if (ready != std::string::npos && begun != std::string::npos && ready > begun
        && (!home_.network.empty() || listens(home_.address, port_)))
      return;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  stop(SIGQUIT);
  throw std::runtime_error("Postgres is not ready after 30 s: " + text_of(log));
}

void postgres_server::stop(int signal) {
  if (pid_ <= 0)
    return;
  ::kill(pid_, signal);
  for (int i = 0; i < 200; ++i) {
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = -1;
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

std::size_t postgres_server::said(const std::string& words) const {
  const auto log = text_of(directory_ / "server.log");
  std::size_t times = 0;
  for (auto at = log.find(words); at != std::string::npos; at = log.find(words, at + 1))
    ++times;
  return times;
}

void postgres_server::crash() { stop(SIGQUIT); }
void postgres_server::kill() { stop(SIGKILL); }

std::string postgres_server::url(int port) const {
  return "postgres://recalld@" + home_.address + ":" + std::to_string(port) + "/postgres";
}

}  // namespace recalld::tests

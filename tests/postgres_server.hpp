#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include <sys/types.h>

namespace recalld::tests {

/// A Postgres server of the tests' own: made in a directory of its own, with the settings of a new
/// cluster (which are safe), on a free port of 127.0.0.1, run as a user that is not root, and ended
/// with the process that started it, however that ends.
class postgres_server {
public:
  /// The directory with `initdb` and `postgres`, the newest of the usual ones, or
  /// `RECALLD_POSTGRES_BIN`; nothing when Postgres is not installed.
  static std::optional<std::filesystem::path> binaries();

  /// One for the whole process, started when it is first asked for. Throws when it does not start.
  static postgres_server& shared();

  /// Where it lives, when not as usual.
  struct home {
    std::filesystem::path directory{};  ///< That it makes its own directory in.
    std::filesystem::path network{};    ///< A network namespace, as a file; needs root.
    std::string address = "127.0.0.1";  ///< That it listens on.
  };
  /// `settings`: more `-c name=value`, separated by spaces. Throws when it does not start.
  explicit postgres_server(const std::string& settings = "") : postgres_server(settings, home{}) {}
  postgres_server(const std::string& settings, const home& where);
  ~postgres_server();
  postgres_server(const postgres_server&) = delete;
  postgres_server& operator=(const postgres_server&) = delete;

  /// Of the database `postgres`; through another port, such as that of a proxy.
  std::string url(int port) const;
  std::string url() const { return url(port_); }
  int port() const noexcept { return port_; }

  /// Ends it at once, without a checkpoint; as a crash of the server would.
  void crash();
  /// Ends it without giving it a chance to do anything, as when its machine is gone.
  void kill();
  /// Starts it again; it recovers. Throws when it does not come back.
  void start();
  pid_t pid() const noexcept { return pid_; }
  /// How often its log has these words.
  std::size_t said(const std::string& words) const;

private:
  void stop(int signal);

  std::filesystem::path directory_;
  std::string settings_;
  home home_;
  int port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace recalld::tests

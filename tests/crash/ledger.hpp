#pragma once

#include "api/client.hpp"
#include "storage/store.hpp"
#include "tests/actors/scratch.hpp"
#include "tests/crash/process.hpp"

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include <caf/fwd.hpp>

namespace recalld::tests {

/// The program under test.
std::string recalld_binary();

/// Where a server keeps its log: in its data directory, or in a Postgres database.
struct log_home {
  std::filesystem::path directory;
  std::string store{};  ///< A URL, or empty.

  log_home(std::filesystem::path path) : directory(std::move(path)) {}
  log_home(std::filesystem::path path, std::string url)
    : directory(std::move(path)), store(std::move(url)) {}
  /// Opened for reading in this process.
  result<std::unique_ptr<storage::store>> open() const;
};

/// A running `recalld serve`, on a loopback port of its own.
class server {
public:
  /// Fails the test when it is not ready in time; unless `may_die`, then see `ready`.
  explicit server(const log_home& log, std::map<std::string, std::string> environment = {},
                  bool may_die = false);
  /// Starts it and does not wait: it will stand by.
  struct standing_by {};
  server(standing_by, const log_home& log, std::map<std::string, std::string> environment = {});
  /// Whether it became ready within that time.
  bool wait_until_ready(std::chrono::milliseconds patience);

  bool ready() const { return port_ != 0; }
  std::uint16_t port() const { return port_; }
  /// One JSON object, what it said when it was ready.
  const std::string& said() const { return said_; }
  process& program() { return program_; }

private:
  process program_;
  std::uint16_t port_ = 0;
  std::string said_;
};

/// Runs a command of the program to its end: status and output.
std::pair<int, std::string> run_recalld(std::vector<std::string> words, const log_home& log);

/// A client that threads share and that one of them takes away from all at once: calls on their way
/// fail then, and nobody knows what became of them.
class door {
public:
  explicit door(client through) : client_(std::move(through)) {}
  result<std::string> call(std::string_view operation, std::string request,
                           std::chrono::milliseconds timeout = std::chrono::seconds(20));
  void shut();

private:
  std::shared_mutex lock_;
  std::optional<client> client_;
};

/// What one writer was told about its appends, and what it was not told.
///
/// A writer appends to a session of its own, always under the version that it knows, and to one
/// that all share. What has no sure answer is repeated under the same command id before anything
/// else is sent.
class writer {
public:
  struct request {
    std::string command;
    std::string session;
    std::vector<std::string> entries;  ///< Their ids.
    std::string entries_json;
    std::optional<version_t> expected;
  };
  struct receipt {
    request what;
    version_t version = 0;
    position_t position = 0;
  };

  writer(std::string name, std::uint64_t seed) : name_(std::move(name)), random_(seed) {}

  /// Settles what is open, then appends until `stop`. Returns when an answer is not to be had.
  void work(door& through, const std::atomic<bool>& stop);
  /// Appends once; whether it was acknowledged.
  bool append_once(door& through);

  const std::vector<receipt>& acknowledged() const { return acknowledged_; }
  const std::optional<request>& open() const { return open_; }
  /// What an answer said that must not be said.
  const std::vector<std::string>& complaints() const { return complaints_; }
  std::optional<recalld::error> last_error;
  bool refused() const { return refused_; }  ///< The last append was not acknowledged.
  std::size_t entry_bytes = 300;
  std::chrono::milliseconds timeout{20'000};

private:
  bool append(door& through);
  bool settle(door& through);
  void make();
  std::string noise(std::size_t bytes);

  std::string name_;
  std::mt19937_64 random_;
  std::uint64_t next_ = 0;
  version_t version_ = 0;  ///< Of the own session.
  bool created_ = false;
  std::atomic<bool> refused_{false};
  std::optional<request> open_;
  std::vector<receipt> acknowledged_;
  std::vector<std::string> complaints_;
};

/// What `replay --verify` says; empty: all is well.
std::string verify(const log_home& log);

/// Some writers, each in a thread of its own, over one connection.
class load {
public:
  explicit load(std::size_t writers, std::uint64_t seed = 1);
  ~load();

  /// Writes to the server until `stop`. False when it could not be reached.
  bool start(std::uint16_t port);
  /// Lets go of what is on its way: nobody knows what became of it.
  void stop();
  /// Creates, fills and deletes sessions besides, so that there is something to forget.
  bool churn = false;
  std::deque<writer> writers;
  /// Any operation, while started.
  result<std::string> call(std::string_view operation, std::string request,
                           std::chrono::milliseconds timeout = std::chrono::seconds(20)) {
    return door_->call(operation, std::move(request), timeout);
  }

  /// Reads what is new in the log (of a server that is not running) and compares it with what
  /// was acknowledged. Empty: all is well. `from_start` reads the whole log.
  std::string compare(const log_home& log, bool from_start = false);
  std::uint64_t acknowledged() const;
  std::uint64_t entries_in_log() const { return where_.size(); }

private:
  void churn_through();

  struct place {
    std::string session;
    version_t version = 0;
    position_t position = 0;
  };
  std::unique_ptr<caf::actor_system_config> config_;
  std::unique_ptr<caf::actor_system> system_;
  std::shared_ptr<door> door_;
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
  std::uint64_t churned_ = 0;

  std::vector<position_t> read_;        ///< By shard.
  std::map<std::string, place> where_;  ///< By entry id, as the log has it.
  std::map<stream_no_t, version_t> versions_;
  std::vector<std::size_t> compared_;  ///< By writer: so many receipts were found.
};

}  // namespace recalld::tests

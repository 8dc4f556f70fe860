#pragma once

#include "bench/server.hpp"
#include "storage/store.hpp"

#include <string>
#include <unordered_map>
#include <vector>

/// What is written: sessions of application `bench`, one user each, with entries of 600 bytes.
namespace recalld::bench {

inline constexpr std::size_t entry_bytes = 600;

/// The members that name session `n`, without braces: `"app":…,"user":…,"session":…`.
std::string session_members(std::size_t n);
stream_id session_of(std::size_t n);

/// An entry as a client sends it, `entry_bytes` long; who speaks alternates with `n`.
std::string entry_json(std::size_t n);

/// Creates sessions 0 … `count` - 1 through the gateway.
void create_sessions(server& node, std::size_t count);

/// Appends to session `lane` on lane `lane`, so many entries at a time. Each request is the text that
/// a client would send.
class append_load {
public:
  append_load(std::size_t sessions, bool command_ids, std::size_t entries = 1);
  std::string next(std::size_t lane);

private:
  struct lane_text {
    std::string front;  ///< Up to where the command id goes.
    std::uint64_t sent = 0;
  };
  std::vector<lane_text> lanes_;
  bool command_ids_;
  std::size_t at_once_;
  std::string entries_[2];
};

/// Writes facts straight through the store, many in each commit: how large logs are prepared.
class log_filler {
public:
  /// `command_ids`: each fact comes from a command with an id, so it has a receipt.
  explicit log_filler(const std::filesystem::path& directory, bool command_ids = false);
  ~log_filler();

  void create(std::size_t session);
  void append(std::size_t session);
  void set_state(std::size_t session, std::string key, std::string raw_value);
  /// Commits what is left.
  void finish();

private:
  struct session_past {
    version_t version = 0;
    version_t created = 0;
    std::uint64_t entries = 0;
    version_t turn_version = 0;
    std::uint64_t turn_ordinal = 0;
  };
  std::string fresh_id();
  void add(std::size_t session, session::fact fact);

  std::unique_ptr<storage::store> store_;
  epoch_t epoch_ = 0;
  bool command_ids_;
  std::unordered_map<std::size_t, session_past> pasts_;
  std::vector<storage::append_unit> units_;
  std::uint64_t ids_ = 0;
};

}  // namespace recalld::bench

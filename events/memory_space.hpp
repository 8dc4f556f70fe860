#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "events/aggregate.hpp"
#include "events/json.hpp"

/// The memories of one owner (an application's user). The state knows which memories there are and
/// what they are identified by; their texts are in the facts and in the rows.
namespace recalld::memory_space {

// -- limits --

inline constexpr std::size_t text_bytes_max = 64 * 1024;
inline constexpr std::size_t metadata_bytes_max = 64 * 1024;
inline constexpr std::size_t topics_max = 64;         ///< Also of participants.
inline constexpr std::size_t topic_bytes_max = 256;   ///< Also of participants and the location.
inline constexpr std::size_t dimensions_max = 4'096;  ///< Of an embedding.
inline constexpr std::size_t embeddings_max = 128;    ///< In one command.

/// `superseded` and `invalidated` memories are out of search and stay in history.
enum class status : std::uint8_t { active = 0, superseded = 1, invalidated = 2 };
std::string_view to_string(status s) noexcept;

enum class memory_kind : std::uint8_t { fact = 0, episode = 1 };
std::string_view to_string(memory_kind k) noexcept;

/// What is remembered. Text, kind, time, participants and location identify it.
struct content {
  std::string text;
  memory_kind kind = memory_kind::fact;
  std::vector<std::string> topics;
  std::optional<time_us_t> event_time;
  std::vector<std::string> participants;
  std::string location;
  std::string importance;  ///< Raw JSON number; empty = none given.
  std::string metadata;    ///< Raw JSON object; empty = `{}`.
  friend bool operator==(const content&, const content&) = default;
};

/// Who said so, and where it came from.
struct origin {
  std::string by;      ///< Empty = not told.
  std::string source;  ///< Raw JSON object (`{"kind":"session",…}`); empty = not told.
  friend bool operator==(const origin&, const origin&) = default;
};

/// SHA-256 (FIPS 180-4) of what identifies a memory, in hexadecimal digits.
std::string hash_of(const content& c);

struct known {
  std::string hash;
  memory_space::status status = status::active;
  std::uint64_t revision = 1;  ///< Grows with everything that happens to the memory.
  version_t changed = 0;       ///< Version of the last fact about it.
  friend bool operator==(const known&, const known&) = default;
};

/// How many active memories there may be, and what happens to one too many.
struct limit {
  std::uint64_t most = 0;  ///< 0 = no limit.
  bool evict = false;  ///< The least recently changed one gives way; else the new one is rejected.
  friend bool operator==(const limit&, const limit&) = default;
};

struct state {
  std::map<std::string, known, std::less<>> memories;       ///< By id.
  std::map<std::string, std::string, std::less<>> by_hash;  ///< Ids of active memories.
  std::set<std::pair<version_t, std::string>> by_change;    ///< Active ones, least recent first.
  memory_space::limit limit{};
  friend bool operator==(const state&, const state&) = default;
};

// -- commands --

/// The same memory again gives the existing one, with topics and metadata replaced.
struct add {
  memory_space::content content;
  memory_space::origin origin{};
};
/// A new revision under the same id.
struct update {
  std::string id;
  memory_space::content content;
  std::uint64_t of_revision =
    0;  ///< The revision it was made from; another one is a conflict. 0 = any.
  std::string reason{};
  memory_space::origin origin{};
};
/// Takes a memory out of search (`superseded`, `invalidated`) or back into it (`active`).
struct set_status {
  std::string id;
  status to = status::active;
  std::string replaced_by{};  ///< With `superseded`: the memory that holds instead; may be empty.
  std::string reason{};
  memory_space::origin origin{};
};
struct remove {
  std::string id;
};
struct clear {};
struct set_limit {
  limit value{};
};
/// What an embedding model makes of a memory: the direction of its vector, each dimension from -127
/// to 127 in a byte.
struct embedding {
  std::string id;
  std::string hash;  ///< Of the content that it was made from.
  std::string model;
  std::string vector;
  friend bool operator==(const embedding&, const embedding&) = default;
};
/// Those of memories that are gone or say something else by now are left out.
struct embed {
  std::vector<embedding> all;
};
using command = std::variant<add, update, set_status, remove, clear, set_limit, embed>;

// -- facts --

struct added {
  std::string id;
  std::string hash;
  memory_space::content content;
  memory_space::origin origin;
  friend bool operator==(const added&, const added&) = default;
};
/// It was added again: topics and metadata are those of the last time.
struct retold {
  std::string id;
  std::uint64_t revision = 0;
  std::vector<std::string> topics;
  std::string metadata;
  memory_space::origin origin;
  friend bool operator==(const retold&, const retold&) = default;
};
struct updated {
  std::string id;
  std::uint64_t revision = 0;
  std::string hash;
  memory_space::content content;
  std::string reason;
  memory_space::origin origin;
  friend bool operator==(const updated&, const updated&) = default;
};
struct status_changed {
  std::string id;
  std::uint64_t revision = 0;
  status to = status::active;
  std::string replaced_by;
  std::string reason;
  memory_space::origin origin;
  friend bool operator==(const status_changed&, const status_changed&) = default;
};
/// Gone with its history: by a caller, or because the limit made room.
struct removed {
  std::string id;
  bool evicted = false;
  friend bool operator==(const removed&, const removed&) = default;
};
struct cleared {
  limit kept{};  ///< All that is left of the state.
  friend bool operator==(const cleared&, const cleared&) = default;
};
struct limit_changed {
  limit value{};
  friend bool operator==(const limit_changed&, const limit_changed&) = default;
};
struct embedded {
  embedding what;
  friend bool operator==(const embedded&, const embedded&) = default;
};
using fact =
  std::variant<added, retold, updated, status_changed, removed, cleared, limit_changed, embedded>;

/// What the keys of all facts about a memory begin with.
std::string key_prefix(std::string_view id);

// -- the aggregate --

struct aggregate : plain_aggregate<state, command, fact> {
  static constexpr stream_kind kind = stream_kind::memory_space;

  static result<decision> decide(const state& s, const command& c, const context& ctx,
                                 const stream_id& self);
  static void evolve(state& s, const fact& f, const envelope& at);
  static std::optional<base_mark> base_of(const fact& f, version_t version);
  static state carried_state(const fact& f);
  /// A memory that is removed takes the facts about it along.
  static std::string forgets(const fact& f);
  static std::size_t footprint(const state& s) noexcept;
  static const codec::format<aggregate>& stored_as();
};

}  // namespace recalld::memory_space

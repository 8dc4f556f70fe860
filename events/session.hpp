#pragma once

#include <optional>
#include <variant>

#include "events/aggregate.hpp"
#include "events/json.hpp"
#include "events/scope.hpp"

/// One conversation: its entries, state keys, contexts and tracks.
namespace recalld::session {

enum class status : std::uint8_t { absent = 0, open = 1, closed = 2, deleted = 3, expired = 4 };
std::string_view to_string(status s) noexcept;

/// A typed item that travels with the session apart from its messages.
struct context_item {
  std::string type;     ///< `system`, `user`, `file`, … (any word)
  std::string content;  ///< Raw JSON (a string or structured).
  time_us_t created_at = 0;
  version_t version = 0;
  friend bool operator==(const context_item&, const context_item&) = default;
};

struct state {
  session::status status = status::absent;
  time_us_t created_at = 0;
  time_us_t updated_at = 0;
  time_us_t closed_at = 0;
  version_t created_version = 0;  ///< Version of the fact that began this life of the id.
  std::string metadata;           ///< Raw JSON object; empty = `{}`.
  json::raw_map values;           ///< The session's own keys, without `app:` and `user:`.
  std::map<std::string, context_item, std::less<>> contexts;  ///< By item id.
  std::uint64_t entries = 0;       ///< Ordinal of the last entry of this life.
  version_t turn_version = 0;      ///< Version of the last entry whose role is `user`; 0 = none.
  std::uint64_t turn_ordinal = 0;  ///< Its ordinal.
  version_t floor = 0;             ///< Facts up to here are forgotten.
  /// Ordinal of the last entry that is forgotten or lies in a fork's shared past: what trimming can
  /// still take away begins behind it.
  std::uint64_t floor_ordinal = 0;
  recalld::retention retention{};        ///< As of the last write.
  std::vector<borrowed_range> borrowed;  ///< Where a fork's shared past lives; oldest first.
  /// What it is a fork of, and up to which version; kept when the shared past is forgotten.
  std::optional<borrowed_range> forked_from;
  friend bool operator==(const state&, const state&) = default;

  /// Microseconds since 1970 when it expires, 0 = never.
  time_us_t expires_at() const noexcept;
  /// There is something to read at `now`.
  bool readable(time_us_t now) const noexcept;
};

// -- limits --

inline constexpr std::size_t entries_per_append_max = 500;
inline constexpr std::size_t entry_bytes_max = 256 * 1024;
inline constexpr std::size_t state_bytes_max = 4 * 1024 * 1024;  ///< Keys and values of a session.
inline constexpr std::size_t contexts_bytes_max = 4 * 1024 * 1024;  ///< All items of a session.
inline constexpr std::size_t word_bytes_max = 128;                  ///< Roles, types, track names.

// -- commands --

/// One entry as the caller sent it.
struct entry {
  std::string id;  ///< Empty: a UUIDv7 is made and spliced into `raw`.
  std::string role;
  bool partial = false;  ///< A streaming piece: not stored, its delta is.
  text raw;              ///< The whole JSON object.
};

/// Keys to set, already separated by scope (see `split_scopes`).
struct state_delta {
  json::raw_map session;
  json::raw_map app;
  json::raw_map user;
  json::raw_map temp;  ///< Visible to this request only.
  bool empty() const noexcept { return session.empty() && app.empty() && user.empty(); }
};

struct create {
  state_delta state;
  std::string metadata;          ///< Raw JSON object; empty = `{}`.
  bool return_existing = false;  ///< An existing session is left untouched and is no error.
};
struct append {
  std::vector<entry> entries;
  state_delta delta;
};
struct update_state {
  state_delta delta;
};
struct delete_state_keys {
  std::vector<std::string> keys;  ///< Plain keys of the session.
};
struct add_context {
  std::string id;  ///< Empty: a UUIDv7 is made. An existing id: the item is replaced.
  std::string type;
  std::string content;  ///< Raw JSON.
};
struct remove_context {
  std::string id;
};
struct append_track {
  std::string track;
  std::vector<std::string> items;  ///< Raw JSON values.
};
struct close {};
struct remove {};
/// Sent by the clock: nothing happens unless the session's time is over.
struct expire {};
/// Begin a session with the past of another one. `origin` is the original's state at `at`. The id
/// must be fresh: the shared past takes the versions up to `at`, so an id that was used before,
/// even if it was deleted since, is `rejected`.
struct begin_fork {
  stream_id source;
  version_t at = 0;
  state origin;
};
/// Forget facts up to `through`; `at` is the state as of there. Nothing happens when that is not in
/// the present life, or still within the shared past of a fork.
struct trim {
  version_t through = 0;
  state at;
};
using command = std::variant<create, append, update_state, delete_state_keys, add_context,
                             remove_context, append_track, close, remove, expire, begin_fork, trim>;

// -- facts --
//
// Facts that refresh the time to live carry it as `ttl_s`, so that rows can follow from the fact
// and its envelope alone; 0 = no limit.

struct created {
  std::string metadata;
  json::raw_map values;
  recalld::retention retention{};
  friend bool operator==(const created&, const created&) = default;
};
/// An entry with the running counts that make the entries lane cumulative.
struct entry_appended {
  std::string id;
  std::string role;
  std::uint64_t ordinal = 0;  ///< 1-based number of the entry in this life of the session.
  version_t turn_version =
    0;  ///< Version of the user entry that began this turn (may be this one).
  std::uint64_t turn_ordinal = 0;  ///< Its ordinal; 0 = no user entry came before.
  text raw;                        ///< The entry's JSON object, id included.
  version_t life = 0;              ///< `state::created_version`, part of the fact's key.
  std::uint64_t ttl_s = 0;
  friend bool operator==(const entry_appended&, const entry_appended&) = default;
};
/// Keys of the session; none at all when only keys of the application or the user changed.
struct state_changed {
  json::raw_map set;
  std::vector<std::string> deleted;
  std::uint64_t ttl_s = 0;
  friend bool operator==(const state_changed&, const state_changed&) = default;
};
struct context_added {
  std::string id;
  std::string type;
  std::string content;
  std::uint64_t ttl_s = 0;
  friend bool operator==(const context_added&, const context_added&) = default;
};
struct context_removed {
  std::string id;
  std::uint64_t ttl_s = 0;
  friend bool operator==(const context_removed&, const context_removed&) = default;
};
struct track_appended {
  std::string track;
  text item;
  std::uint64_t ttl_s = 0;
  friend bool operator==(const track_appended&, const track_appended&) = default;
};
struct retention_changed {
  recalld::retention value{};
  friend bool operator==(const retention_changed&, const retention_changed&) = default;
};
struct closed {
  std::uint64_t ttl_s = 0;
  friend bool operator==(const closed&, const closed&) = default;
};
/// Gone, and everything before it is forgotten.
struct deleted {
  friend bool operator==(const deleted&, const deleted&) = default;
};
/// Its time is over, and everything before it is forgotten.
struct expired {
  friend bool operator==(const expired&, const expired&) = default;
};
/// The first fact of a fork; its version is `through` + 1.
struct forked {
  stream_id source;
  state at;               ///< State that the fork begins with.
  version_t through = 0;  ///< Version of `source` up to which the past is shared.
  friend bool operator==(const forked&, const forked&) = default;
};
/// Everything up to `through` is forgotten; `at` is the state as of there.
struct trimmed {
  version_t through = 0;
  state at;
  friend bool operator==(const trimmed&, const trimmed&) = default;
};
using fact =
  std::variant<created, entry_appended, state_changed, context_added, context_removed,
               track_appended, retention_changed, closed, deleted, expired, forked, trimmed>;

// -- pure rules that readers share --

/// Whether an entry is inside the application's retention, given the session's state: its whole
/// turn is among the last `keep_entries`, or it is the last turn. Entries before the first user
/// entry belong to no turn and count one by one. What is visible is always a suffix.
bool visible(const state& s, const entry_appended& e) noexcept;

/// The version up to which facts may be forgotten may grow: more than twice the entries that are
/// kept lie in the log. Gives the number of entries to keep; 0 = nothing is due.
std::uint64_t trim_due(const state& s) noexcept;

/// Sorts the keys of a delta by `app:`, `user:`, `temp:` and plain, prefixes stripped; checks each
/// key and that base64 values (`{"$bytes":"…"}`) are well formed. Values must be validated JSON.
result<state_delta> split_scopes(json::raw_map delta, std::string_view field);

// -- the aggregate --

struct aggregate {
  using state = session::state;
  using command = session::command;
  using fact = session::fact;
  using decision = recalld::decision<fact>;
  static constexpr stream_kind kind = stream_kind::session;
  static constexpr bool brief_receipts = false;

  static result<decision> decide(const state& s, const command& c, const context& ctx,
                                 const stream_id& self);
  static void evolve(state& s, const fact& f, const envelope& at);
  /// Fact keys this command must know about when they may lie outside what the log refuses by
  /// itself (the shared past of a fork). Usually empty.
  static std::vector<std::string> lookups(const state& s, const command& c);
  /// The base that a fact sets, if it does.
  static std::optional<base_mark> base_of(const fact& f, version_t version);
  /// The state carried by a fact whose base mark says so.
  static state carried_state(const fact& f);
  /// Bytes that the state takes in memory, roughly.
  static std::size_t footprint(const state& s) noexcept;
  /// How facts and state are stored as text.
  static const codec::format<aggregate>& stored_as();
  /// How many of the newest entries are worth keeping, when enough lie before them; 0 = none do.
  static std::uint64_t trim_due(const state& s) noexcept { return session::trim_due(s); }
  /// The command that forgets up to a version.
  static command trim_command(version_t through, state at) { return trim{through, std::move(at)}; }
};

}  // namespace recalld::session

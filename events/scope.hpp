#pragma once

#include <variant>

#include "events/aggregate.hpp"
#include "events/json.hpp"

/// State that is shared by all sessions of an application (`app:` keys) or of one user in it
/// (`user:` keys), and the application's retention rules.
namespace recalld::scope {

struct state {
  version_t facts = 0;       ///< 0 = nothing was ever recorded.
  version_t cleared_at = 0;  ///< Version of the last fact that cleared it; 0 = none did.
  time_us_t updated_at = 0;
  json::raw_map values;
  recalld::retention retention{};
  friend bool operator==(const state&, const state&) = default;
};

// -- commands --

/// Merge per key. Later writers win.
struct update_state {
  json::raw_map set;
};
struct delete_keys {
  std::vector<std::string> keys;
  bool all = false;  ///< Every key there is; `keys` is ignored.
};
struct set_retention {
  recalld::retention value{};
};
/// Writes down an id that was chosen for the caller, so that a retry under the same command id gets
/// the same one. Always accepted; changes no state.
struct reserve_id {
  std::string id;
};
/// Forgets everything about a user, also what was overwritten. Not for applications.
struct clear {};
using command = std::variant<update_state, delete_keys, set_retention, reserve_id, clear>;

// -- facts --

struct state_changed {
  json::raw_map set;
  std::vector<std::string> deleted;
  friend bool operator==(const state_changed&, const state_changed&) = default;
};
struct retention_changed {
  recalld::retention value{};
  friend bool operator==(const retention_changed&, const retention_changed&) = default;
};
/// An id was chosen for a command of this user, e.g. of a session that is about to be created.
struct id_reserved {
  std::string id;
  friend bool operator==(const id_reserved&, const id_reserved&) = default;
};
/// Nothing before counts any more.
struct cleared {
  friend bool operator==(const cleared&, const cleared&) = default;
};
using fact = std::variant<state_changed, retention_changed, id_reserved, cleared>;

// -- the aggregate --

struct aggregate : plain_aggregate<state, command, fact> {
  static constexpr stream_kind kind = stream_kind::scope;

  static result<decision> decide(const state& s, const command& c, const context& ctx,
                                 const stream_id& self);
  static void evolve(state& s, const fact& f, const envelope& at);
  static std::optional<base_mark> base_of(const fact& f, version_t version);
  static std::size_t footprint(const state& s) noexcept;
  static const codec::format<aggregate>& stored_as();
};

}  // namespace recalld::scope

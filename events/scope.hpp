#pragma once

#include "events/aggregate.hpp"
#include "events/json.hpp"

#include <variant>

/// State that is shared by all sessions of an application (`app:` keys) or of one user in it
/// (`user:` keys), and the application's retention rules.
namespace recalld::scope {

struct state {
  version_t facts = 0;         ///< 0 = nothing was ever recorded.
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
using command = std::variant<update_state, delete_keys, set_retention>;

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
using fact = std::variant<state_changed, retention_changed>;

}  // namespace recalld::scope

#pragma once

#include <variant>

#include "events/aggregate.hpp"
#include "events/due.hpp"

/// The ledger of effects: a tool runs at most once under a key, or it is *in doubt*, never silently
/// twice. One stream per key.
///
///   begin ─► begun ─complete─► completed          a later begin answers the recorded result
///              │ └──fail─────► failed             a later begin begins again
///              └─lease over──► in_doubt ─reconcile─► completed | failed
namespace recalld::effect {

enum class status : std::uint8_t { absent = 0, begun, completed, failed, in_doubt };
std::string_view to_string(status s) noexcept;
std::optional<status> status_of(std::string_view word) noexcept;

struct state {
  effect::status status = status::absent;
  std::string args_hash;
  std::string tool;
  std::string approval;  ///< The request whose claim this executes; may be empty.
  std::string holder;
  version_t fence = 0;  ///< Version of the fact that began it; grows with each begin.
  time_us_t begun_at = 0;
  time_us_t lease_until = 0;
  time_us_t ended_at = 0;
  std::string outcome;  ///< Raw JSON of the result, or of the failure.
  std::string ended_by;
  friend bool operator==(const state&, const state&) = default;
  /// The status as of `now`: a lease that ran out counts even if no timer has run yet.
  effect::status seen_at(time_us_t now) const noexcept;
};

inline constexpr std::size_t outcome_bytes_max = 256 * 1024;

struct begin {
  std::string args_hash;
  std::string tool;
  std::string approval;
  std::string holder;
  time_us_t lease_us = 0;
};
/// More time for who holds the lease.
struct extend {
  version_t fence = 0;
  time_us_t lease_us = 0;
};
struct complete {
  version_t fence = 0;
  std::string result;  ///< Raw JSON.
};
struct give_up {
  version_t fence = 0;
  std::string failure;  ///< Raw JSON.
};
/// What somebody found out about an effect in doubt.
struct reconcile {
  effect::status found = status::failed;  ///< `completed` or `failed` (it may be begun again).
  std::string outcome;                    ///< Raw JSON.
  std::string by;
};
using command = std::variant<begin, extend, complete, give_up, reconcile, fall_due>;

struct begun {
  std::string args_hash;
  std::string tool;
  std::string approval;
  std::string holder;
  time_us_t lease_until = 0;
  friend bool operator==(const begun&, const begun&) = default;
};
struct extended {
  time_us_t lease_until = 0;
  friend bool operator==(const extended&, const extended&) = default;
};
struct ended {
  effect::status status = status::completed;  ///< `completed` or `failed`.
  std::string outcome;
  std::string by;  ///< Empty: who held the lease; else who reconciled.
  friend bool operator==(const ended&, const ended&) = default;
};
struct doubted {
  friend bool operator==(const doubted&, const doubted&) = default;
};
using fact = std::variant<begun, extended, ended, doubted>;

struct aggregate : plain_aggregate<state, command, fact> {
  static constexpr stream_kind kind = stream_kind::effect;

  static result<decision> decide(const state& s, const command& c, const context& ctx,
                                 const stream_id& self);
  static void evolve(state& s, const fact& f, const envelope& at);
  static std::size_t footprint(const state& s) noexcept;
  static const codec::format<aggregate>& stored_as();
};

stream_id stream_of(std::string_view tenant, std::string_view key);

}  // namespace recalld::effect

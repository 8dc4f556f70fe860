#pragma once

#include <variant>

#include "events/aggregate.hpp"
#include "events/due.hpp"
#include "events/permission.hpp"

/// Calls of tools that wait for somebody's decision. One stream is one call: the same tool with the
/// same arguments in the same run. It may be asked for again once the last decision was made, so a
/// stream is a row of *rounds*, of which only the last can be pending. A request without a run has
/// a stream of its own.
namespace recalld::approval {

enum class status : std::uint8_t { pending = 0, approved, rejected, expired, cancelled };
std::string_view to_string(status s) noexcept;
std::optional<status> status_of(std::string_view word) noexcept;

/// What is asked for.
struct question {
  std::string thread, run, app, user, session;  ///< Where it came from; each may be empty.
  std::string tool;
  std::string args;            ///< Canonical JSON.
  std::string args_hash;       ///< SHA-256 of `args`.
  std::string text;            ///< For the person who decides.
  std::string created_by;      ///< Empty: anybody may decide.
  std::string sender_context;  ///< Raw JSON; empty = none.
  std::string policy;          ///< For unattended callers: `reject`, `approve`, `wait`.
  friend bool operator==(const question&, const question&) = default;
};

/// One request and what became of it.
struct round {
  std::string id;
  question what;
  approval::status status = status::pending;
  time_us_t created_at = 0;
  time_us_t expires_at = 0;  ///< 0 = never.
  time_us_t resolved_at = 0;
  std::string resolved_by;
  std::string feedback;
  time_us_t claimed_at = 0;  ///< 0 = not claimed.
  std::string claimed_by;
  std::string effect;  ///< The key that the claim named; empty = any.
  friend bool operator==(const round&, const round&) = default;

  /// The status as of `now`: a deadline counts even if no timer has run yet.
  approval::status seen_at(time_us_t now) const noexcept;
};

struct state {
  std::vector<round> rounds;  ///< Oldest first; the oldest are forgotten.
  friend bool operator==(const state&, const state&) = default;
  const round* find(std::string_view id) const noexcept;
};

inline constexpr std::size_t rounds_max = 64;
inline constexpr std::size_t args_bytes_max = 256 * 1024;
inline constexpr std::size_t text_bytes_max = 64 * 1024;

// -- commands --

struct request {
  question what;
  time_us_t expires_at = 0;
  /// What rules, grants or the policy of an unattended caller say already.
  std::optional<permission::verdict> decided;
};
struct resolve {
  std::string id;
  std::string decision;  ///< `approved` or `rejected`.
  std::string by;
  std::string role;  ///< `user`, `admin` or `agent`.
  std::string feedback;
  std::optional<permission::grant> grant;  ///< Given in the same commit when approved.
};
struct cancel {
  std::string id;
  std::string by;
};
/// Takes the one right to execute.
struct claim {
  std::string id;
  std::string args_hash;
  std::string by;
  std::string effect;  ///< Key of the effect that is going to be begun; may be empty.
};
using command = std::variant<request, resolve, cancel, claim, forget_now, fall_due>;

// -- facts --

struct requested {
  std::string id;
  question what;
  time_us_t expires_at = 0;
  friend bool operator==(const requested&, const requested&) = default;
};
struct resolved {
  std::string id;
  approval::status status = status::approved;
  std::string by;
  std::string feedback;
  friend bool operator==(const resolved&, const resolved&) = default;
};
struct claimed {
  std::string id;
  std::string by;
  std::string effect;
  friend bool operator==(const claimed&, const claimed&) = default;
};
/// Every round has ended long ago, or its session was purged.
struct forgotten {
  friend bool operator==(const forgotten&, const forgotten&) = default;
};
using fact = std::variant<requested, resolved, claimed, forgotten>;

// -- the aggregate --

struct aggregate : plain_aggregate<state, command, fact> {
  static constexpr stream_kind kind = stream_kind::approval;

  static result<decision> decide(const state& s, const command& c, const context& ctx,
                                 const stream_id& self);
  static void evolve(state& s, const fact& f, const envelope& at);
  static std::optional<base_mark> base_of(const fact& f, version_t version);
  static std::size_t footprint(const state& s) noexcept;
  static const codec::format<aggregate>& stored_as();
};

/// The stream of a call. Without a run each request has its own: `fresh` must be new then.
stream_id call_stream(std::string_view tenant, const question& what, std::string_view fresh);
/// The stream in which the request `id` is; `not_found` when it cannot be one.
result<stream_id> stream_of(std::string_view tenant, std::string_view id);

}  // namespace recalld::approval

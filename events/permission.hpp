#pragma once

#include <map>
#include <optional>
#include <variant>

#include "events/aggregate.hpp"
#include "events/due.hpp"

/// What a tenant's tools may do without asking: rules by name, and grants that a person gave for a
/// while. One stream per tenant.
namespace recalld::permission {

/// "Allow this for ten minutes."
struct grant {
  std::string id;
  std::string principal;           ///< Whose calls; empty = anybody's.
  std::string app, user, session;  ///< Only in this session; `session` empty = in any.
  std::string tool;                ///< A name or pattern as in rules.
  std::string contains;  ///< Must occur in the canonical arguments; empty = any arguments.
  time_us_t expires_at = 0;
  std::string given_by;
  std::string approval;  ///< The request whose decision gave it.
  friend bool operator==(const grant&, const grant&) = default;
};

struct state {
  std::vector<std::string> deny;
  std::vector<std::string> allow;
  std::map<std::string, grant, std::less<>> grants;  ///< By id; the clock revokes expired ones.
  friend bool operator==(const state&, const state&) = default;
};

inline constexpr std::size_t rules_max = 1'000;
inline constexpr std::size_t grants_max = 10'000;
inline constexpr time_us_t grant_us_max = 366LL * 86'400 * 1'000'000;

struct set_rules {
  std::vector<std::string> deny;
  std::vector<std::string> allow;
};
struct give {
  permission::grant grant;
};
struct revoke {
  std::string id;
  std::string by;
};
/// Revokes every grant for the calls of somebody who is gone, and those in their sessions of `app`.
struct revoke_all_of {
  std::string principal;
  std::string app;
  std::string by;
};
using command = std::variant<set_rules, give, revoke, revoke_all_of, fall_due>;

struct rules_set {
  std::vector<std::string> deny;
  std::vector<std::string> allow;
  friend bool operator==(const rules_set&, const rules_set&) = default;
};
struct granted {
  permission::grant grant;
  friend bool operator==(const granted&, const granted&) = default;
};
struct revoked {
  std::string id;
  std::string by;
  friend bool operator==(const revoked&, const revoked&) = default;
};
using fact = std::variant<rules_set, granted, revoked>;

/// A decision that needs nobody.
struct verdict {
  bool approved = false;
  std::string by;  ///< `rule:deny PATTERN`, `rule:allow PATTERN`, `grant:ID`, `policy:WORD`.
  friend bool operator==(const verdict&, const verdict&) = default;
};

/// Whose call of what.
struct attempt {
  std::string_view principal, app, user, session, tool;
  std::string_view args;  ///< Canonical.
};
/// The deny list, then the allow list, then live grants; nothing = somebody must be asked.
std::optional<verdict> judge(const state& s, const attempt& a, time_us_t now);
/// `name`, `prefix*` or `*`, without regard to the case of ASCII letters.
bool matches(std::string_view pattern, std::string_view tool) noexcept;

struct aggregate : plain_aggregate<state, command, fact> {
  static constexpr stream_kind kind = stream_kind::permission;

  static result<decision> decide(const state& s, const command& c, const context& ctx,
                                 const stream_id& self);
  static void evolve(state& s, const fact& f, const envelope& at);
  static std::size_t footprint(const state& s) noexcept;
  static const codec::format<aggregate>& stored_as();
};

stream_id stream_of(std::string_view tenant);

}  // namespace recalld::permission

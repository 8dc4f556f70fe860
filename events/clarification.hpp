#pragma once

#include <variant>

#include "events/aggregate.hpp"
#include "events/due.hpp"

/// Questions to a person. One stream is one question of one run and one asker; once it was answered
/// or has expired it may be asked again, so a stream is a row of rounds as in `approval.hpp`.
namespace recalld::clarification {

enum class status : std::uint8_t { pending = 0, answered, expired, cancelled };
std::string_view to_string(status s) noexcept;
std::optional<status> status_of(std::string_view word) noexcept;

struct question {
  std::string run, app, user, session;  ///< Where it came from; each may be empty.
  std::string text;
  std::string context;         ///< Raw JSON; empty = none.
  std::string asked_by;        ///< Whose question; only they and admins answer. Empty: anybody.
  std::string sender_context;  ///< Raw JSON; empty = none.
  friend bool operator==(const question&, const question&) = default;
};

struct round {
  std::string id;
  question what;
  clarification::status status = status::pending;
  time_us_t created_at = 0;
  time_us_t expires_at = 0;  ///< 0 = never.
  time_us_t ended_at = 0;
  std::string ended_by;
  std::string answer;
  friend bool operator==(const round&, const round&) = default;
  clarification::status seen_at(time_us_t now) const noexcept;
};

struct state {
  std::vector<round> rounds;  ///< Oldest first; the oldest are forgotten.
  friend bool operator==(const state&, const state&) = default;
  const round* find(std::string_view id) const noexcept;
};

inline constexpr std::size_t rounds_max = 64;
inline constexpr std::size_t text_bytes_max = 64 * 1024;

struct ask {
  question what;
  time_us_t expires_at = 0;
};
struct answer {
  std::string id;
  std::string text;
  std::string by;
  std::string role;  ///< `user` or `admin`.
};
struct cancel {
  std::string id;
  std::string by;
};
using command = std::variant<ask, answer, cancel, forget_now, fall_due>;

struct asked {
  std::string id;
  question what;
  time_us_t expires_at = 0;
  friend bool operator==(const asked&, const asked&) = default;
};
struct ended {
  std::string id;
  clarification::status status = status::answered;
  std::string answer;
  std::string by;
  friend bool operator==(const ended&, const ended&) = default;
};
/// Every round has ended long ago, or its session was purged.
struct forgotten {
  friend bool operator==(const forgotten&, const forgotten&) = default;
};
using fact = std::variant<asked, ended, forgotten>;

struct aggregate : plain_aggregate<state, command, fact> {
  static constexpr stream_kind kind = stream_kind::clarification;

  static result<decision> decide(const state& s, const command& c, const context& ctx,
                                 const stream_id& self);
  static void evolve(state& s, const fact& f, const envelope& at);
  static std::optional<base_mark> base_of(const fact& f, version_t version);
  static std::size_t footprint(const state& s) noexcept;
  static const codec::format<aggregate>& stored_as();
};

/// The stream of a question. Without a run each has its own: `fresh` must be new then.
stream_id question_stream(std::string_view tenant, const question& what, std::string_view fresh);
/// The stream in which the question `id` is; `not_found` when it cannot be one.
result<stream_id> stream_of(std::string_view tenant, std::string_view id);

}  // namespace recalld::clarification

#pragma once

#include <map>
#include <variant>

#include "events/aggregate.hpp"
#include "events/cron.hpp"
#include "events/due.hpp"

/// Work that comes due by the clock. One stream per schedule: its definition and its runs, so that
/// one due time leads to one run, whoever believes to lead.
///
///   due ─claim─► claimed ─succeed─► succeeded
///    ▲             │ ├──fail──────► failed       (due again while attempts are left)
///    └─────────────┘ └─lease over─► abandoned    (due again while attempts are left)
///   queued: waits until the run before it has ended
namespace recalld::schedule {

enum class run_status : std::uint8_t { queued = 0, due, claimed, succeeded, failed, abandoned };
std::string_view to_string(run_status s) noexcept;

enum class misfire : std::uint8_t { skip = 0, once, catch_up };
enum class overlap : std::uint8_t { allow = 0, skip, queue_one };
std::string_view to_string(misfire m) noexcept;
std::string_view to_string(overlap o) noexcept;
std::optional<run_status> run_status_of(std::string_view word) noexcept;
std::optional<misfire> misfire_of(std::string_view word) noexcept;
std::optional<overlap> overlap_of(std::string_view word) noexcept;

struct definition {
  std::string expression;  ///< See `cron::parse`.
  std::string zone = "UTC";
  std::string kind;             ///< Of the action; whatever the workers understand.
  std::string action;           ///< Raw JSON.
  std::string source = "tool";  ///< `config` or `tool`.
  schedule::misfire misfire = misfire::once;
  std::uint64_t catch_up = 0;  ///< With `catch_up`: at most so many runs.
  schedule::overlap overlap = overlap::allow;
  std::uint64_t attempts = 1;
  std::uint64_t deadline_s = 0;  ///< A run must end so many seconds after its claim; 0 = ever.
  std::uint64_t keep_days = 30;  ///< Ended runs are listed so long.
  friend bool operator==(const definition&, const definition&) = default;
};

/// A run that has not ended.
struct run {
  run_status status = run_status::due;
  time_us_t due_at = 0;
  std::uint64_t attempt = 1;
  std::string worker;
  version_t fence = 0;
  time_us_t lease_until = 0;
  time_us_t deadline = 0;  ///< 0 = none.
  friend bool operator==(const run&, const run&) = default;
  /// When somebody must look at it again; 0 = never.
  time_us_t ends_at() const noexcept;
};

struct state {
  bool defined = false;
  bool enabled = true;
  schedule::definition definition;
  time_us_t created_at = 0;                      ///< Also where `@every` counts from.
  time_us_t next_at = 0;                         ///< 0 = none.
  std::map<std::string, run, std::less<>> runs;  ///< By id; those that have not ended.
  std::int64_t first_day = 0;  ///< The oldest day whose runs are still listed; 0 = none yet.
  friend bool operator==(const state&, const state&) = default;
};

inline constexpr std::size_t action_bytes_max = 256 * 1024;
inline constexpr std::size_t open_runs_max = 1'000;
/// A due time that lies back further than this was missed.
inline constexpr time_us_t misfire_after_us = 10'000'000;
inline constexpr std::int64_t day_us = 86'400'000'000;
inline constexpr std::size_t counted_max = 100'000;  ///< More missed times are not counted.

struct define {
  schedule::definition definition;
  bool enabled = true;  ///< Of a new schedule; an existing one keeps what it has.
};
struct pause {};
struct resume {};
struct trigger {
  std::string by;
};
struct remove {};
struct claim_run {
  std::string id;
  std::string worker;
  time_us_t lease_us = 0;
};
struct extend_run {
  std::string id;
  version_t fence = 0;
  time_us_t lease_us = 0;
};
struct end_run {
  std::string id;
  version_t fence = 0;
  bool succeeded = true;
  std::string outcome;  ///< Raw JSON.
};
using command =
  std::variant<define, pause, resume, trigger, remove, claim_run, extend_run, end_run, fall_due>;

struct defined {
  schedule::definition definition;
  bool enabled = true;
  time_us_t next_at = 0;
  friend bool operator==(const defined&, const defined&) = default;
};
struct paused {
  time_us_t forget_at = 0;  ///< When all runs before this are to be forgotten; 0 = there are none.
  friend bool operator==(const paused&, const paused&) = default;
};
struct resumed {
  time_us_t next_at = 0;
  friend bool operator==(const resumed&, const resumed&) = default;
};
struct deleted {
  time_us_t forget_at = 0;  ///< As of `paused`.
  friend bool operator==(const deleted&, const deleted&) = default;
};
/// A due time led to a run; also what triggering by hand does.
struct run_due {
  std::string id;
  time_us_t due_at = 0;
  bool queued = false;
  std::uint64_t missed = 0;  ///< Due times before it that lead to no run of their own.
  std::string by;            ///< Who triggered it; empty: the clock.
  std::string kind;          ///< What is to be done, as defined at that time.
  std::string action;
  friend bool operator==(const run_due&, const run_due&) = default;
};
/// Due times that led to nothing.
struct runs_skipped {
  time_us_t due_at = 0;  ///< The last of them.
  std::uint64_t count = 0;
  std::string why;  ///< `misfire` or `overlap`.
  friend bool operator==(const runs_skipped&, const runs_skipped&) = default;
};
/// The due time is dealt with; the next one.
struct advanced {
  time_us_t next_at = 0;  ///< 0 = none any more.
  friend bool operator==(const advanced&, const advanced&) = default;
};
struct run_claimed {
  std::string id;
  time_us_t due_at = 0;
  std::string worker;
  time_us_t lease_until = 0;
  time_us_t deadline = 0;
  friend bool operator==(const run_claimed&, const run_claimed&) = default;
};
struct run_extended {
  std::string id;
  time_us_t lease_until = 0;
  time_us_t deadline = 0;
  friend bool operator==(const run_extended&, const run_extended&) = default;
};
/// An attempt has ended; with `again` the run is due once more.
struct run_ended {
  std::string id;
  time_us_t due_at = 0;
  run_status status = run_status::succeeded;
  bool again = false;
  std::string outcome;
  friend bool operator==(const run_ended&, const run_ended&) = default;
};
/// The run before it has ended: a queued run is due.
struct run_released {
  std::string id;
  time_us_t due_at = 0;
  friend bool operator==(const run_released&, const run_released&) = default;
};
/// Ended runs of these days (since 1970) are not listed any more.
struct runs_forgotten {
  std::int64_t first_day = 0;
  std::int64_t last_day = 0;
  bool all = false;  ///< There is nothing more to forget until new runs come.
  friend bool operator==(const runs_forgotten&, const runs_forgotten&) = default;
};
using fact = std::variant<defined, paused, resumed, deleted, run_due, runs_skipped, advanced,
                          run_claimed, run_extended, run_ended, run_released, runs_forgotten>;

struct aggregate : plain_aggregate<state, command, fact> {
  static constexpr stream_kind kind = stream_kind::schedule;

  static result<decision> decide(const state& s, const command& c, const context& ctx,
                                 const stream_id& self);
  static void evolve(state& s, const fact& f, const envelope& at);
  static std::size_t footprint(const state& s) noexcept;
  static const codec::format<aggregate>& stored_as();
};

stream_id stream_of(std::string_view tenant, std::string_view name);

/// The next `count` due times behind `after`.
std::vector<time_us_t> preview(const definition& d, const zone_rules* zones, time_us_t after,
                               time_us_t anchor, std::size_t count);
/// Expression and zone can be used; the field is named otherwise.
result<void> check(const definition& d, const zone_rules* zones, time_us_t at);

}  // namespace recalld::schedule

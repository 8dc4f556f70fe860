#pragma once

#include <concepts>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "events/envelope.hpp"
#include "events/result.hpp"

/// An aggregate is a kind of stream: its commands (wishes), its facts (what was recorded), its
/// state, and two pure functions between them:
///
///   decide(state, command, context) -> decision | error     may say no; reads no clock, no disk
///   evolve(state, fact, envelope)                            total: what is recorded cannot fail
///
/// An aggregate is described by a type with static members (see `session::aggregate`); everything
/// in `actors/`, `storage/` and `cli/` works over that type and the list in `aggregates.hpp`.
namespace recalld {

class zone_rules;
namespace codec {
template <class Aggregate>
struct format;
}

/// Longest time to live that can be asked for: a hundred years.
inline constexpr std::uint64_t ttl_s_max = 100ull * 366 * 86'400;

/// How long things are kept, per application. Zero = for ever / all.
struct retention {
  std::uint64_t keep_entries = 0;  ///< Visible are only the last so many entries of a session.
  std::uint64_t ttl_s = 0;         ///< A session expires so many seconds after its last write.
  friend bool operator==(const retention&, const retention&) = default;
};

/// What a decision may know besides the state: time, chance and looked-up facts, as data.
struct context {
  time_us_t now = 0;
  entropy random{};
  version_t version = 0;  ///< The stream's version before this command.
  retention policy{};     ///< The application's retention at this moment.
  /// Answers to `lookups(...)`: version of the fact by key, for those that exist.
  std::map<std::string, version_t, std::less<>> known{};
  bool looked_up = false;             ///< `known` is complete for this command's `lookups`.
  const zone_rules* zones = nullptr;  ///< The time zones there are; null = none but UTC.
};

/// Facts that go to another stream in the same atomic commit, whatever its version is. Only for
/// facts that no state of that stream could refuse (last writer wins). See `aggregates.hpp`.
struct foreign;

/// Outcome of an accepted command. No facts = nothing had to change.
template <class Fact>
struct decision {
  std::vector<Fact> facts;
  std::vector<recalld::foreign> foreign;
};

/// A stretch of versions that lives in another stream: a fork's shared past.
struct borrowed_range {
  stream_id stream;
  version_t through = 0;  ///< Versions up to here (above the previous range) live in `stream`.
  friend bool operator==(const borrowed_range&, const borrowed_range&) = default;
};

/// Where the history of a stream begins. A fact that sets a base says so with this.
struct base_mark {
  /// The last forgotten (or borrowed) version: the stream's own facts count from `through + 1`.
  version_t through = 0;
  /// The fact that sets the base carries the state as of `through`; otherwise that state is empty.
  bool carries_state = false;
  /// All that the stream borrows from now on; its sources keep those facts as long as it does.
  std::vector<borrowed_range> borrows{};
  friend bool operator==(const base_mark&, const base_mark&) = default;
};

/// What most aggregates have in common: no keys to look up, no base, nothing to trim. A type that
/// describes an aggregate may begin with this and then adds `kind`, `decide`, `evolve`, `footprint`
/// and `stored_as`.
///
/// One whose facts make earlier ones forgotten also has `static std::string forgets(const fact&)`:
/// facts of the stream whose keys begin with what it gives are forgotten in the commit that records
/// the fact; empty = none. What is left must fold to the same state and rows.
template <class State, class Command, class Fact>
struct plain_aggregate {
  using state = State;
  using command = Command;
  using fact = Fact;
  using decision = recalld::decision<Fact>;
  static std::vector<std::string> lookups(const State&, const Command&) { return {}; }
  static std::optional<base_mark> base_of(const Fact&, version_t) { return std::nullopt; }
  static State carried_state(const Fact&) { return {}; }
  static std::uint64_t trim_due(const State&) noexcept { return 0; }
  /// Commands are repeated within a minute or never: their receipts need not stay longer.
  static constexpr bool brief_receipts = false;
};

}  // namespace recalld

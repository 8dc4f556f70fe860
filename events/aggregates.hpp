#pragma once

#include <string_view>
#include <variant>

#include "events/scope.hpp"
#include "events/session.hpp"

/// The one list of aggregates. A new one is added here, and nowhere in `actors/` or `storage/`.
namespace recalld {

using any_fact = std::variant<session::fact, scope::fact>;
using any_command = std::variant<session::command, scope::command>;

/// Facts to record in another stream within the same commit.
using foreign = foreign_facts<any_fact>;

namespace session {

struct aggregate {
  using state = session::state;
  using command = session::command;
  using fact = session::fact;
  using decision = recalld::decision<fact, foreign>;
  static constexpr stream_kind kind = stream_kind::session;

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
  /// How many of the newest entries are worth keeping, when enough lie before them; 0 = none do.
  static std::uint64_t trim_due(const state& s) noexcept { return session::trim_due(s); }
  /// The command that forgets up to a version.
  static command trim_command(version_t through, state at) { return trim{through, std::move(at)}; }
};

}  // namespace session

namespace scope {

struct aggregate {
  using state = scope::state;
  using command = scope::command;
  using fact = scope::fact;
  using decision = recalld::decision<fact, foreign>;
  static constexpr stream_kind kind = stream_kind::scope;

  static result<decision> decide(const state& s, const command& c, const context& ctx,
                                 const stream_id& self);
  static void evolve(state& s, const fact& f, const envelope& at);
  static std::vector<std::string> lookups(const state&, const command&) { return {}; }
  static std::optional<base_mark> base_of(const fact&, version_t) { return std::nullopt; }
  static state carried_state(const fact&) { return {}; }
  static std::size_t footprint(const state& s) noexcept;
  static std::uint64_t trim_due(const state&) noexcept { return 0; }
};

}  // namespace scope

template <class... As>
struct aggregate_list {};
using aggregates = aggregate_list<session::aggregate, scope::aggregate>;

}  // namespace recalld

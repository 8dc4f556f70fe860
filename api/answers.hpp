#pragma once

#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "actors/gateway.hpp"
#include "api/requests.hpp"
#include "events/codec.hpp"
#include "events/json.hpp"

/// From what the node knows to the JSON of an answer. Pure.
namespace recalld::api {

/// The beginning of every answer to a write: version, position, recorded_at, duplicate.
json::object_writer written(const actors::committed& done);

/// The session's state when it can be read at `now`: `not_found` for a session that does not exist
/// (any more), `expired` for one whose time is over.
result<std::shared_ptr<const session::state>> readable(const actors::stream_view& view,
                                                       time_us_t now);
/// The state of a viewed stream, whose kind has states of this type.
template <class State>
const State& state_of(const actors::stream_view& v) {
  return *std::get<std::shared_ptr<const State>>(v.state);
}
/// The state of a scope; a scope that nothing was ever recorded in is empty.
const scope::state& scope_of(const actors::stream_view& view);

/// Adds who it is, status, times and counts of a session.
void add_session(json::object_writer& out, const session_key& key, const session::state& s,
                 version_t version);

/// Session keys with the application's as `app:` and the user's as `user:`.
std::string merged_state(const session::state& s, const scope::state& app,
                         const scope::state& user);

/// `{"version":…,"position":…,"recorded_at":…,"entry":RAW}`; the entry's own text is untouched.
std::string entry_json(const session::recorded_entry& e);
/// The entry as a message of a conversation: version, id, role, content, timestamp, metadata.
result<std::string> message_json(const session::recorded_entry& e);
/// Adds `more_before`, `more_after`, `next_cursor` and `previous_cursor`.
void add_paging(json::object_writer& out, const window_request& wanted, const session::page& page);

/// A JSON array of raw values.
class array_writer {
public:
  array_writer& raw(std::string_view value);
  std::string done() &&;

private:
  std::string out_ = "[";
};

/// The fact behind a record when it is of that kind.
template <class Fact>
std::optional<Fact> fact_as(const recorded& r) {
  auto any = codec::decode(r);
  if (!any)
    return std::nullopt;
  const auto pick = [](auto& fact) -> std::optional<Fact> {
    if constexpr (std::is_same_v<std::remove_reference_t<decltype(fact)>, Fact>)
      return std::move(fact);
    else
      return std::nullopt;
  };
  return std::visit([&](auto& of_aggregate) { return std::visit(pick, of_aggregate); }, *any);
}

/// What became of each entry of an append, in the order of the request.
struct entry_outcome {
  std::string id;
  version_t version = 0;   ///< 0 = not known (or not stored: `partial`).
  bool duplicate = false;  ///< An entry with this id was there before.
  bool partial = false;    ///< A streaming piece: not stored.
};
std::vector<entry_outcome> outcomes_of(const std::vector<session::entry>& entries,
                                       const actors::committed& done);
std::string outcomes_json(const std::vector<entry_outcome>& outcomes);

}  // namespace recalld::api

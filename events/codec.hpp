#pragma once

#include "events/aggregates.hpp"

/// Facts and states as stored text. The grammar of each payload is in `codec.cpp` beside the code
/// that writes it; every fact type has a stored sample in `tests/samples`.
namespace recalld::codec {

/// A fact ready for the log.
struct encoded {
  std::string_view type;  ///< Static storage.
  std::uint16_t schema = 1;
  recalld::lane lane = lane::folded;
  std::string key;
  text payload;
};

/// `version` is the version the fact is going to have (some keys contain it).
encoded encode(const any_fact& fact, version_t version);

/// Reads a payload of any schema version that was ever written. `corrupt` when it cannot be read,
/// `unavailable` when the type or schema is newer than this program.
result<any_fact> decode(std::string_view type, std::uint16_t schema, const text& payload);
inline result<any_fact> decode(const recorded& r) { return decode(r.type, r.schema, r.payload); }

/// Version of the snapshot format; a snapshot of another version is ignored.
inline constexpr std::uint16_t state_schema = 1;
std::string encode_state(const session::state& s);
std::string encode_state(const scope::state& s);
result<session::state> decode_session_state(std::string_view text);
result<scope::state> decode_scope_state(std::string_view text);

template <class Aggregate>
result<typename Aggregate::state> decode_state(std::string_view text);
template <>
inline result<session::state> decode_state<session::aggregate>(std::string_view text) {
  return decode_session_state(text);
}
template <>
inline result<scope::state> decode_state<scope::aggregate>(std::string_view text) {
  return decode_scope_state(text);
}

/// All fact type names, in the order of the variants.
std::vector<std::string_view> fact_types();

}  // namespace recalld::codec

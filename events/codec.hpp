#pragma once

#include <functional>

#include "events/aggregates.hpp"
#include "events/payload.hpp"

/// Facts and states as stored text. The grammar of each payload is in `<aggregate>_codec.cpp` beside
/// the code that writes it; every fact type has a stored sample in `tests/samples`.
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
/// Of whatever aggregate the state is.
template <class State>
std::string encode_state(const State& s) {
  return aggregate_of_t<State>::stored_as().write_state(s);
}
/// Reads the object `text` with `read`; `corrupt` when it cannot.
result<void> read_state_with(std::string_view text, std::string_view kind,
                             const std::function<void(payload_reader&)>& read);
template <class Aggregate>
result<typename Aggregate::state> decode_state(std::string_view text) {
  typename Aggregate::state s;
  auto done = read_state_with(text, to_string(Aggregate::kind),
                              [&](payload_reader& r) { s = Aggregate::stored_as().read_state(r); });
  if (!done)
    return fail(std::move(done.error()));
  return s;
}

/// All fact type names, in the order of the variants.
std::vector<std::string_view> fact_types();

}  // namespace recalld::codec

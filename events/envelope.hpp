#pragma once

#include <string>
#include <string_view>

#include "events/ids.hpp"
#include "events/text.hpp"

namespace recalld {

/// Facts of one stream are kept in lanes, so that a reader pages through one kind of fact without
/// meeting the others. Stored in the log: never renumber.
///
/// `folded`: every fact counts for the aggregate's state. The *paged* lanes are cumulative: only
/// the last fact of such a lane counts for the state (it carries the running counts), so waking an
/// aggregate never reads a long history.
enum class lane : std::uint8_t { folded = 0, entries = 1, tracks = 2 };
inline constexpr std::uint8_t lane_count = 3;

/// What is known of a fact beside what it says.
struct envelope {
  position_t position = 0;    ///< Place in the shard's log.
  stream_no_t stream_no = 0;  ///< The log's number of the stream.
  stream_id stream;
  version_t version = 0;  ///< Place in the stream.
  time_us_t time = 0;     ///< When it was decided; never decreases within a stream.
  /// The caller's command id, on the first fact that the command led to; empty elsewhere.
  std::string command;
  std::uint64_t body_hash = 0;      ///< Hash of the request behind `command`.
  std::uint32_t command_facts = 0;  ///< How many facts in a row the command led to here.
};

/// One fact as the log holds it: envelope, type name, payload text.
struct recorded {
  envelope at;
  std::string type;          ///< e.g. `session.entry_appended`.
  std::uint16_t schema = 1;  ///< Version of the payload's shape.
  recalld::lane lane = lane::folded;
  std::string key;       ///< Unique in its stream when not empty, see `fact_key`.
  text payload;          ///< JSON object.
  bool blanked = false;  ///< The payload was forgotten on purpose.
};

/// Keys that make a fact findable inside its stream, and unique there.
namespace fact_key {
/// Of an entry by its id, in one life of the session (`session::state::created_version`): an id
/// that was used before the session was deleted is free again in the next life. Entries of a fork's
/// shared past have the same key in the stream that they lie in.
std::string entry(version_t life, std::string_view entry_id);
/// The entry's id out of such a key; empty when it is the key of something else.
std::string_view entry_id(std::string_view key) noexcept;
/// Common prefix of all items of one track; items sort by version behind it.
std::string track_prefix(std::string_view track);
std::string track_item(std::string_view track, version_t version);
}  // namespace fact_key

}  // namespace recalld

#pragma once

#include "storage/store.hpp"

#include <string>
#include <string_view>

/// Inside `storage/` only: what every SQL store agrees on about rows of `log` and `streams`.
namespace recalld::storage {

/// `lane` of a fact that was blanked: it has left its lane's index range.
constexpr int blanked_lane(lane l) noexcept { return -1 - static_cast<int>(l); }
constexpr lane lane_of(int stored) noexcept {
  return static_cast<lane>(stored < 0 ? -1 - stored : stored);
}

/// What a fact's row sums up to; a null counts as empty or 0.
struct summed {
  position_t position = 0;
  stream_no_t stream = 0;
  version_t version = 0;
  int stored_lane = 0;
  std::string_view type;
  std::uint16_t schema = 0;
  time_us_t time = 0;
  std::string_view key;
  std::string_view command;
  std::uint64_t body_hash = 0;
  std::uint32_t command_facts = 0;
  std::string_view payload;
};
std::uint32_t row_sum(const summed& row) noexcept;
/// The sum of a fact, whole or blanked.
std::uint32_t row_sum(const recorded& fact) noexcept;
/// The sum of what is left of a fact when it is blanked.
std::uint32_t blanked_sum(const recorded& fact) noexcept;
/// `lane` of its row.
int stored_lane(const recorded& fact) noexcept;
/// What a stream's row sums up to.
std::uint32_t stream_sum(stream_no_t no, std::string_view id) noexcept;

/// Fact `i` of a part as it is to be recorded under a version; its position, stream number and time
/// are the writer's to give.
recorded fact_of(const append_unit& unit, std::size_t part, std::size_t i, version_t version);

/// Where the facts of a stream lie.
shard_t shard_of(const stream_id& stream, std::size_t shards) noexcept;

/// A row of `streams` with where the stream stands.
struct stream_row {
  stream_position at;
  time_us_t time = 0;  ///< Of the last fact.
};

/// The smallest string behind all that begin with `prefix`; empty = there is none.
std::string behind_prefix(std::string_view prefix);

/// The id of a log that is made now: a UUID of version 7.
std::string fresh_log_id();
/// 256 bits of chance, in hexadecimal.
std::string fresh_key();

}  // namespace recalld::storage

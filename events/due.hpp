#pragma once

#include <string>
#include <string_view>

#include "events/ids.hpp"

namespace recalld {

/// Sent by the clock to a stream: the time of one of its things has come. Nothing happens unless
/// that is so by the stream's own state; so it may come late, twice, or for nothing.
struct fall_due {
  std::string item;  ///< Which deadline of the stream; see the table `agenda`.
  time_us_t at = 0;  ///< The deadline.
};

/// Takes everything in a stream of requests or questions away, whatever became of it.
struct forget_now {};

/// Requests and questions are listed so long after their end; then their stream begins anew.
inline constexpr time_us_t ended_kept_us = 30LL * 86'400 * 1'000'000;
/// The deadline at which that is over.
inline constexpr std::string_view forget_item = "forget";

}  // namespace recalld

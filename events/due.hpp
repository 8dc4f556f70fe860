#pragma once

#include <string>

#include "events/ids.hpp"

namespace recalld {

/// Sent by the clock to a stream: the time of one of its things has come. Nothing happens unless
/// that is so by the stream's own state; so it may come late, twice, or for nothing.
struct fall_due {
  std::string item;  ///< Which deadline of the stream; see the table `agenda`.
  time_us_t at = 0;  ///< The deadline.
};

}  // namespace recalld

#pragma once

#include "storage/store.hpp"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace recalld::actors {

/// A place in a whole log: how far each of its shards was seen.
using log_place = std::vector<position_t>;

/// The place as text for a client: `2.<log id>.<generation>.<position>-<position>-….<signature>`. The
/// signature (HMAC-SHA-256 with the log's key, cut to 96 bits) makes sure that a cursor was given by
/// this log and came back whole.
std::string render_cursor(const storage::log_identity& log, const log_place& place);

/// `invalid` (field `after`): not a cursor, damaged, or another log's. `cursor_ahead`: of a time before
/// the log went back to an earlier state, or further than `heads`.
result<log_place> parse_cursor(const storage::log_identity& log, const log_place& heads,
                               std::string_view text);

}  // namespace recalld::actors

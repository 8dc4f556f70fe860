#pragma once

#include "events/result.hpp"
#include "projections/table.hpp"
#include "storage/store.hpp"

#include <span>

namespace recalld::actors {

/// Rebuilds projection tables from the log beside the live ones and swaps them in, before the node
/// takes its first request.
result<void> rebuild_now(storage::store& store, std::span<const projections::table* const> tables);

}  // namespace recalld::actors

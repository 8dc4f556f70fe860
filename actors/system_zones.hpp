#pragma once

#include "events/zones.hpp"

namespace recalld::actors {

/// The system's time zones (tzdata), read when they are first asked for. Shared by the process.
const zone_rules& system_zones();

}  // namespace recalld::actors

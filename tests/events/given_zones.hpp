#pragma once

#include <chrono>
#include <optional>

#include <date/tz.h>

#include "events/zones.hpp"

namespace recalld::testing {

/// The system's zones, asked without any memory.
class plain_zones final : public zone_rules {
public:
  std::optional<period> find(std::string_view zone, std::int64_t at) const override {
    using namespace std::chrono;
    try {
      const auto i = date::locate_zone(std::string(zone))->get_info(date::sys_seconds{seconds{at}});
      return period{i.begin.time_since_epoch().count(), i.end.time_since_epoch().count(),
                    i.offset.count()};
    } catch (const std::exception&) {
      return std::nullopt;
    }
  }
};

/// Zones of every kind: whole and half hours, both hemispheres, changes at odd times, none at all.
inline constexpr const char* places[] = {
  "UTC",           "Europe/Berlin",       "America/New_York", "Asia/Kolkata",
  "Asia/Tokyo",    "Australia/Lord_Howe", "America/Santiago", "Africa/Casablanca",
  "Europe/London", "Pacific/Auckland",    "Asia/Tehran",      "America/St_Johns"};

}  // namespace recalld::testing

#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace recalld {

/// Time zones as data: what a wall clock shows somewhere. Decisions get it through `context`, so
/// that nothing here reads the disk. Implementations may be asked from any thread.
class zone_rules {
public:
  virtual ~zone_rules() = default;

  /// A stretch of time without a change of the clock. All in seconds since 1970 UTC.
  struct period {
    std::int64_t begin = 0;   ///< First second of it; the lowest number = since ever.
    std::int64_t end = 0;     ///< First second behind it; the highest number = for ever.
    std::int64_t offset = 0;  ///< What the wall clock shows minus UTC.
  };
  /// The period in which `at` lies; nothing when there is no such zone.
  virtual std::optional<period> find(std::string_view zone, std::int64_t at) const = 0;
};

}  // namespace recalld

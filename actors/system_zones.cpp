#include "actors/system_zones.hpp"

#include <date/tz.h>

#include <map>
#include <mutex>
#include <string>

namespace recalld::actors {

namespace {

class tzdata final : public zone_rules {
public:
  std::optional<period> find(std::string_view zone, std::int64_t at) const override {
    const auto* known = zone_named(zone);
    if (known == nullptr)
      return std::nullopt;
    const auto info = known->get_info(date::sys_seconds{std::chrono::seconds{at}});
    return period{info.begin.time_since_epoch().count(), info.end.time_since_epoch().count(),
                  info.offset.count()};
  }

private:
  /// The library tells by raising that it has no such zone.
  const date::time_zone* zone_named(std::string_view zone) const {
    std::lock_guard guard{lock_};
    auto it = known_.find(zone);
    if (it != known_.end())
      return it->second;
    const date::time_zone* found = nullptr;
    try {
      found = date::locate_zone(std::string(zone));
    } catch (const std::exception&) {
      return nullptr;
    }
    return known_.emplace(zone, found).first->second;
  }

  mutable std::mutex lock_;
  mutable std::map<std::string, const date::time_zone*, std::less<>> known_;
};

}  // namespace

const zone_rules& system_zones() {
  static const tzdata all;
  return all;
}

}  // namespace recalld::actors

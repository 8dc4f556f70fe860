#pragma once

#include "events/aggregates.hpp"
#include "events/codec.hpp"

namespace recalld {

/// An aggregate's state together with the version it stands at.
template <class Aggregate>
struct versioned {
  typename Aggregate::state state{};
  version_t version = 0;
  time_us_t time = 0;  ///< Time of the last fact.
};

/// Applies one recorded fact. `corrupt` when it does not belong to this aggregate or cannot be
/// read; facts at or below the current version are skipped; blanked facts only count.
template <class Aggregate>
result<void> fold(versioned<Aggregate>& into, const recorded& r) {
  if (r.at.version <= into.version)
    return {};
  if (!r.blanked) {
    auto any = codec::decode(r);
    if (!any)
      return fail(any.error());
    const auto* f = std::get_if<typename Aggregate::fact>(&*any);
    if (f == nullptr)
      return fail(errc::corrupt, "fact " + r.type + " in a stream of another kind");
    Aggregate::evolve(into.state, *f, r.at);
  }
  into.version = r.at.version;
  into.time = r.at.time;
  return {};
}

}  // namespace recalld

#include "events/aggregates.hpp"

namespace recalld {

bool ends_past(const any_fact& fact, version_t version) {
  bool out = false;
  with_aggregate(fact, [&]<class A>(const typename A::fact& own) {
    const auto mark = A::base_of(own, version);
    out = mark && !mark->carries_state;
    if constexpr (requires { A::forgets(own); })
      out = out || !A::forgets(own).empty();
  });
  return out;
}

}  // namespace recalld

#include "actors/aggregate_actor.hpp"

#include <caf/all.hpp>

namespace recalld::actors {

namespace {

template <class... As>
caf::actor spawn_one_of(aggregate_list<As...>, caf::actor_system& system,
                        const surroundings_ptr& around, const stream_id& stream) {
  caf::actor spawned;
  const auto spawn_if = [&]<class A>() {
    if (stream.kind() == A::kind)
      spawned = system.spawn(aggregate_actor<A>, around, stream);
  };
  (spawn_if.template operator()<As>(), ...);
  return spawned;
}

}  // namespace

caf::actor spawn_aggregate(caf::actor_system& system, const surroundings_ptr& around,
                           const stream_id& stream) {
  return spawn_one_of(aggregates{}, system, around, stream);
}

}  // namespace recalld::actors

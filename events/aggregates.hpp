#pragma once

#include <memory>
#include <type_traits>
#include <variant>

#include "events/approval.hpp"
#include "events/clarification.hpp"
#include "events/effect.hpp"
#include "events/memory_space.hpp"
#include "events/permission.hpp"
#include "events/principal.hpp"
#include "events/schedule.hpp"
#include "events/scope.hpp"
#include "events/session.hpp"
#include "events/summary.hpp"
#include "events/value_space.hpp"

/// The one list of aggregates. A new one is a line here, a line in `projections/projections.cpp`
/// and files of its own; nothing in `actors/` or `storage/`.
namespace recalld {

template <class... As>
struct aggregate_list {
  using facts = std::variant<typename As::fact...>;
  using commands = std::variant<typename As::command...>;
  using states = std::variant<std::shared_ptr<const typename As::state>...>;
};
using aggregates = aggregate_list<session::aggregate,        //
                                  scope::aggregate,          //
                                  memory_space::aggregate,   //
                                  approval::aggregate,       //
                                  clarification::aggregate,  //
                                  permission::aggregate,     //
                                  schedule::aggregate,       //
                                  effect::aggregate,         //
                                  value_space::aggregate,    //
                                  principal::aggregate,      //
                                  summary::aggregate>;

using any_fact = aggregates::facts;
using any_command = aggregates::commands;
/// The state of one stream, shared and immutable.
using any_state = aggregates::states;

struct foreign {
  stream_id stream;
  std::vector<any_fact> facts;
};

/// Calls `f` with each aggregate's description, in the order of the list.
template <class F, class... As>
constexpr void for_each_aggregate(aggregate_list<As...>, F&& f) {
  (f.template operator()<As>(), ...);
}

/// The aggregate of which `T` is the state, the command or the fact.
template <class T, class List = aggregates>
struct aggregate_of;
template <class T, class A, class... As>
struct aggregate_of<T, aggregate_list<A, As...>>
  : std::conditional_t<
      std::is_same_v<
        T,
        typename A::
          state> || std::is_same_v<T, typename A::command> || std::is_same_v<T, typename A::fact>,
      std::type_identity<A>, aggregate_of<T, aggregate_list<As...>>> {};
template <class T>
struct aggregate_of<T, aggregate_list<>> {};
template <class T>
using aggregate_of_t = typename aggregate_of<T>::type;

/// Calls `f.template operator()<A>(own)` with the aggregate whose fact it is, and that fact.
template <class F>
void with_aggregate(const any_fact& fact, F&& f) {
  std::visit([&]<class Fact>(const Fact& own) { f.template operator()<aggregate_of_t<Fact>>(own); },
             fact);
}

/// Whether a fact at this version ends what came before it in its stream: bytes of then are to
/// leave every disk.
bool ends_past(const any_fact& fact, version_t version);

}  // namespace recalld

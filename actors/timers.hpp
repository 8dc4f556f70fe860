#pragma once

#include "actors/surroundings.hpp"

#include <caf/stateful_actor.hpp>

namespace recalld::actors {

/// The clock's hand: tells the directory and the journal that time has passed, and sends sessions
/// whose time is over their `expire`. Reads decide by the clock themselves; this only cleans up.
class timers_state {
public:
  static constexpr const char* name = "timers";

  void start(caf::stateful_actor<timers_state>* self, surroundings_ptr around);
  void tick();

private:
  void expire_sessions();
  void expire_values();

  caf::stateful_actor<timers_state>* self_ = nullptr;
  surroundings_ptr around_;
  std::uint64_t ticks_ = 0;
  bool expiring_ = false;
  bool expiring_values_ = false;
};

caf::behavior timers(caf::stateful_actor<timers_state>* self, surroundings_ptr around);

}  // namespace recalld::actors

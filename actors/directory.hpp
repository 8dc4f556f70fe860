#pragma once

#include "actors/surroundings.hpp"

#include <caf/stateful_actor.hpp>

#include <list>
#include <unordered_map>
#include <vector>

namespace recalld::actors {

/// Knows the one actor of each stream: wakes it on its first message, lets the idlest go when
/// nobody asked for them for a while or memory is short. Whoever asks for a stream that is just
/// leaving waits until it left, and is then served by its next actor, so no command is lost.
///
/// Everything about a stream passes through here, in order: a message that a commit caused for
/// another stream is seen before anything its writer does next.
class directory_state {
public:
  static constexpr const char* name = "directory";

  void start(caf::stateful_actor<directory_state>* self, surroundings_ptr around);

  /// The actor to hand a message to, or none: then the stream is leaving, see `park`.
  caf::actor* find_or_wake(const stream_id& stream);
  void park(const stream_id& stream, caf::response_promise promise, caf::message message);
  /// Only what is awake learns of it; the others will read it.
  void absorb(foreign_recorded& f);
  /// Lets idle streams go, and more of them when memory is short.
  void tick();
  /// Lets everything go; answers when it is gone.
  void leave_all(caf::response_promise promise);
  /// A stream has left.
  void gone(const stream_id& stream);

private:
  struct resident {
    caf::actor actor;
    std::list<const stream_id*>::iterator place;  ///< In `by_use_`, newest first.
    time_us_t used = 0;
    bool leaving = false;
    std::vector<std::pair<caf::response_promise, caf::message>> parked;
  };
  using residents = std::unordered_map<stream_id, resident>;

  resident& wake(const stream_id& stream);
  void let_go(residents::iterator it);

  caf::stateful_actor<directory_state>* self_ = nullptr;
  surroundings_ptr around_;
  residents residents_;
  std::list<const stream_id*> by_use_;
  std::size_t leaving_ = 0;
  time_us_t now_ = 0;  ///< As of the last tick: exact enough to tell who is idle.
  bool ending_ = false;
  caf::response_promise ended_;
};

caf::behavior directory(caf::stateful_actor<directory_state>* self, surroundings_ptr around);

}  // namespace recalld::actors

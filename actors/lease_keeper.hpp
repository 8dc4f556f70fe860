#pragma once

#include "actors/surroundings.hpp"

#include <caf/stateful_actor.hpp>

#include <chrono>
#include <memory>

namespace recalld::actors {

/// Keeps the lease of a log that other nodes can reach, three times in its length. A node that learns
/// that another has it ends; one that cannot ask goes on, since nobody can write without the epoch,
/// and its reads say for how long it has been asking in vain.
class lease_keeper_state {
public:
  static constexpr const char* name = "lease_keeper";

  void start(caf::stateful_actor<lease_keeper_state>* self, surroundings_ptr around,
             std::shared_ptr<storage::log_lease> lease, std::chrono::milliseconds length);
  void renew();

private:
  caf::stateful_actor<lease_keeper_state>* self_ = nullptr;
  surroundings_ptr around_;
  std::shared_ptr<storage::log_lease> lease_;
  std::chrono::milliseconds length_{};
};

/// Blocks while the database is asked: to be spawned detached.
caf::behavior lease_keeper(caf::stateful_actor<lease_keeper_state>* self, surroundings_ptr around,
                           std::shared_ptr<storage::log_lease> lease,
                           std::chrono::milliseconds length);

}  // namespace recalld::actors

#include "actors/lease_keeper.hpp"

#include <caf/all.hpp>

#include <algorithm>

namespace recalld::actors {

void lease_keeper_state::start(caf::stateful_actor<lease_keeper_state>* self,
                               surroundings_ptr around, std::shared_ptr<storage::log_lease> lease,
                               std::chrono::milliseconds length) {
  self_ = self;
  around_ = std::move(around);
  lease_ = std::move(lease);
  length_ = length;
  renew();
}

void lease_keeper_state::renew() {
  const auto asked = around_->clock();
  const auto standing = lease_->hold(length_);
  if (standing && !standing->ours) {
    around_->fatal("the node " + standing->holder + " has the lease of the log now");
    return;
  }
  if (standing) {
    around_->alone_since.store(0, std::memory_order_relaxed);
    around_->confirmed.store(asked, std::memory_order_relaxed);
  } else if (standing.error().code == errc::unavailable) {
    around_->alone_since.store(
      std::max<time_us_t>(around_->confirmed.load(std::memory_order_relaxed), 1),
      std::memory_order_relaxed);
  } else {
    around_->fatal("the lease of the log cannot be kept: " + standing.error().message);
    return;
  }
  self_->delayed_send(self_, length_ / 3, tick_atom::value);
}

caf::behavior lease_keeper(caf::stateful_actor<lease_keeper_state>* self, surroundings_ptr around,
                           std::shared_ptr<storage::log_lease> lease,
                           std::chrono::milliseconds length) {
  self->state.start(self, std::move(around), std::move(lease), length);
  return {[self](tick_atom) { self->state.renew(); }};
}

}  // namespace recalld::actors

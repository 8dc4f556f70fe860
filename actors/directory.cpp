#include "actors/directory.hpp"

#include "actors/aggregate_actor.hpp"

#include <caf/all.hpp>

namespace recalld::actors {

namespace {

// What a live stream takes besides its state: actor, mailbox, behaviour and its place in the map.
constexpr std::int64_t resident_bytes = 2'500;
// How many streams leave at once when memory is short; more would flood the scheduler.
constexpr std::size_t leave_at_once = 4'096;

}  // namespace

void directory_state::start(caf::stateful_actor<directory_state>* self, surroundings_ptr around) {
  self_ = self;
  around_ = std::move(around);
  now_ = around_->clock();
}

directory_state::resident& directory_state::wake(const stream_id& stream) {
  auto [it, fresh] = residents_.try_emplace(stream);
  if (fresh) {
    it->second.actor = spawn_aggregate(self_->system(), around_, stream);
    by_use_.push_front(&it->first);
    it->second.place = by_use_.begin();
  } else {
    by_use_.splice(by_use_.begin(), by_use_, it->second.place);
  }
  it->second.used = now_;
  return it->second;
}

caf::actor* directory_state::find_or_wake(const stream_id& stream) {
  auto& r = wake(stream);
  return r.leaving ? nullptr : &r.actor;
}

void directory_state::park(const stream_id& stream, caf::response_promise promise,
                           caf::message message) {
  residents_.at(stream).parked.emplace_back(std::move(promise), std::move(message));
}

void directory_state::absorb(foreign_recorded& f) {
  auto it = residents_.find(f.stream);
  if (it == residents_.end() || it->second.leaving)
    return;  // Whoever wakes it next reads it from the log.
  self_->send(it->second.actor, std::move(f));
}

void directory_state::let_go(residents::iterator it) {
  it->second.leaving = true;
  ++leaving_;
  // No request: CAF 0.17 searches all that an actor has open, and all streams may leave at once.
  self_->send(it->second.actor, passivate{});
}

void directory_state::gone(const stream_id& stream) {
  auto it = residents_.find(stream);
  if (it == residents_.end())
    return;
  --leaving_;
  auto parked = std::move(it->second.parked);
  by_use_.erase(it->second.place);
  residents_.erase(it);
  if (!parked.empty()) {
    auto& next = wake(stream);
    for (auto& [promise, message] : parked)
      promise.delegate(next.actor, std::move(message));
    if (ending_)
      let_go(residents_.find(stream));
  }
  if (ending_ && residents_.empty() && ended_.pending())
    ended_.deliver(caf::unit);
}

void directory_state::tick() {
  now_ = around_->clock();
  if (ending_)
    return;
  const auto idle_us = std::int64_t{around_->limits.idle_s} * 1'000'000;
  const auto taken = around_->state_bytes.load(std::memory_order_relaxed)
                     + static_cast<std::int64_t>(residents_.size() - leaving_) * resident_bytes;
  auto excess = taken - static_cast<std::int64_t>(around_->limits.memory_bytes);
  const auto mean =
    residents_.empty() ? 1 : taken / static_cast<std::int64_t>(residents_.size()) + 1;
  for (auto place = by_use_.rbegin(); place != by_use_.rend() && leaving_ < leave_at_once;
       ++place) {
    auto it = residents_.find(**place);
    if (it->second.leaving)
      continue;
    if (excess <= 0 && now_ - it->second.used < idle_us)
      break;
    let_go(it);
    excess -= mean;
  }
}

void directory_state::leave_all(caf::response_promise promise) {
  ending_ = true;
  ended_ = std::move(promise);
  if (residents_.empty()) {
    ended_.deliver(caf::unit);
    return;
  }
  for (auto it = residents_.begin(); it != residents_.end(); ++it)
    if (!it->second.leaving)
      let_go(it);
}

namespace {

/// Hands a message about a stream to its actor, which answers the sender itself.
template <class Message>
void forward(caf::stateful_actor<directory_state>& self, Message& message) {
  if (auto* actor = self.state.find_or_wake(message.stream)) {
    self.delegate(*actor, std::move(message));
    return;
  }
  const auto stream = message.stream;
  self.state.park(stream, self.make_response_promise(), caf::make_message(std::move(message)));
}

}  // namespace

caf::behavior directory(caf::stateful_actor<directory_state>* self, surroundings_ptr around) {
  self->state.start(self, std::move(around));
  return {
    [self](submit& wish) -> caf::result<reply<committed>> {
      forward(*self, wish);
      return caf::delegated<reply<committed>>{};
    },
    [self](view& wish) -> caf::result<reply<stream_view>> {
      forward(*self, wish);
      return caf::delegated<reply<stream_view>>{};
    },
    [self](parked& p) { self->state.gone(p.stream); },
    [self](foreign_recorded& f) { self->state.absorb(f); },
    [self](tick_atom) { self->state.tick(); },
    [self](leave_atom) -> caf::result<void> {
      auto promise = self->make_response_promise();
      self->state.leave_all(promise);
      return caf::delegated<void>{};
    },
  };
}

}  // namespace recalld::actors

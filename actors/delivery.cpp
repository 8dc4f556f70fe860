#include "actors/delivery.hpp"

#include "actors/gateway.hpp"
#include "actors/protocol.hpp"
#include "events/json.hpp"

#include <caf/all.hpp>

#include <algorithm>
#include <chrono>

namespace recalld::actors {

namespace {

// Work that is claimed after the sink is gone waits for the end of its lease, so the tries of one
// delivery are short.
constexpr std::uint64_t wait_ms = 5'000;
constexpr std::uint32_t pause_ms = 500;

/// Whether an answer of a write says that something was recorded.
bool has_work(const std::string& answer) {
  const auto members = json::members(answer, "");
  return members && std::any_of(members->begin(), members->end(), [](const json::member& m) {
           return m.name == "version" && m.raw != "0";
         });
}

}  // namespace

void delivery_state::start(caf::stateful_actor<delivery_state>* self, wish what,
                           promise_type promise) {
  self_ = self;
  what_ = std::move(what);
  promise_ = std::move(promise);
  self_->monitor(what_.sink);
  self_->monitor(what_.gateway);
  self_->set_down_handler([this](const caf::down_msg& down) {
    if (down.source == what_.sink)
      self_->quit();
    else
      end(render({errc::unavailable, "the node has ended"}));
  });
  ask(0);
}

void delivery_state::ask(std::uint64_t for_ms) {
  asking_ = true;
  auto request = what_.request;
  request.pop_back();
  request += (request.size() > 1 ? "," : "") + ("\"wait_ms\":" + std::to_string(for_ms)) + "}";
  self_->request(what_.gateway, caf::infinite, protocol_version, what_.operation, request)
    .then([this](std::uint16_t status, const std::string& answer) { answered(status, answer); },
          [this](const caf::error&) { end(render({errc::unavailable, "the node has ended"})); });
}

void delivery_state::answered(std::uint16_t status, const std::string& answer) {
  asking_ = false;
  const auto why = status == 0 ? error{} : parse_error(status, answer);
  if (status != 0 && !may_succeed_later(why.code)) {
    if (begun_)
      end(answer);
    else
      promise_.deliver(status, answer);
    self_->quit();
    return;
  }
  if (!begun_) {
    begun_ = true;
    json::object_writer w;
    w.str("delivery", what_.id);
    promise_.deliver(std::uint16_t{0}, std::move(w).done());
  }
  if (status != 0) {
    asking_ = true;
    self_->delayed_send(self_, std::chrono::milliseconds(std::max(pause_ms, why.retry_after_ms)),
                        tick_atom::value);
    return;
  }
  if (has_work(answer)) {
    self_->send(what_.sink, what_.id, answer);
    --what_.credit;
  }
  go_on();
}

void delivery_state::again() {
  asking_ = false;
  go_on();
}

void delivery_state::go_on() {
  if (!asking_ && what_.credit > 0)
    ask(wait_ms);
}

void delivery_state::more(std::uint32_t credit) {
  if (credit == 0) {
    self_->quit();
    return;
  }
  constexpr std::uint32_t most = 1'000'000;
  what_.credit = std::min(most, what_.credit + std::min(most, credit));
  go_on();
}

void delivery_state::end(const std::string& why) {
  if (begun_)
    self_->send(what_.sink, what_.id, why);
  self_->quit();
}

caf::behavior delivery(caf::stateful_actor<delivery_state>* self, delivery_state::wish what,
                       delivery_state::promise_type promise) {
  self->state.start(self, std::move(what), std::move(promise));
  return {
    [self](const std::string&, std::uint32_t credit) { self->state.more(credit); },
    [self](tick_atom) { self->state.again(); },
  };
}

}  // namespace recalld::actors

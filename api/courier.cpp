#include "api/courier.hpp"

#include <algorithm>

#include <caf/all.hpp>

#include "actors/gateway.hpp"
#include "api/families.hpp"

namespace recalld::api {

using namespace std::chrono_literals;

namespace {

// Wake-ups closer together than this are one.
constexpr auto grain = 2ms;

/// How long the server is asked to wait before it answers: that is no silence.
std::chrono::milliseconds asked_to_wait(std::string_view operation, std::string_view request) {
  if (const auto members = json::members(request, {}))
    for (const auto& m : *members)
      if (m.name == "wait_ms")
        return std::chrono::milliseconds(
          std::clamp<std::int64_t>(json::as_integer(m.raw, {}).value_or(0), 0, wait_ms_max));
  return std::chrono::milliseconds(operation.ends_with(".wait") ? wait_ms_default : 0);
}

}  // namespace

// -- outgoing --

outgoing::outgoing(std::string op, std::string json, bool is_write, std::chrono::milliseconds limit,
                   std::function<void(result<std::string>)> then,
                   std::shared_ptr<std::atomic<std::size_t>> in_flight)
  : operation(std::move(op)),
    request(std::move(json)),
    writes(is_write),
    timeout(limit),
    then_(std::move(then)),
    in_flight_(std::move(in_flight)) {
  in_flight_->fetch_add(1, std::memory_order_relaxed);
}

outgoing::~outgoing() {
  if (then_)
    give_up({errc::unavailable, "the client has gone"});
}

void outgoing::finish(result<std::string> answer) {
  if (!then_)
    return;
  in_flight_->fetch_sub(1, std::memory_order_relaxed);
  std::exchange(then_, nullptr)(std::move(answer));
}

void outgoing::give_up(const error& last) {
  if (!writes || !maybe_done) {
    finish(fail(last));
    return;
  }
  finish(fail(errc::outcome_unknown,
              "an attempt was never answered, so nobody knows whether it happened (last: "
                + last.message + "); repeat it with the same command id"));
}

// -- courier --

courier::courier(caf::actor_config& config, actors::gateway_handle gateway, patience p)
  : caf::event_based_actor(config), line_(this, std::move(gateway)), patience_(p) {}

courier::courier(caf::actor_config& config, endpoint to, patience p)
  : caf::event_based_actor(config), line_(this, std::move(to)), patience_(p) {}

caf::behavior courier::make_behavior() {
  line_.open([this] { connected(); }, [this] { lost(); },
             [this](const error& why) { unreachable_ = why; });
  return {
    [this](post& p) { accept(std::move(p.call)); },
    [this](caf::tick_atom) { awake(); },
    [this](caf::connect_atom) { line_.connect(); },
  };
}

void courier::on_exit() {
  // A wake-up that is still on its way keeps this object, but not the node.
  line_.close();
  for (auto it = calls_.begin(); it != calls_.end(); it = calls_.begin())
    give_up(it, {errc::unavailable, "the client has gone"});
}

void courier::accept(outgoing_ptr call) {
  if (line_.final()) {
    call->give_up({errc::unavailable, "the node of this client has ended"});
    return;
  }
  const auto id = next_++;
  auto& e = calls_[id];
  e.call = std::move(call);
  e.waits = asked_to_wait(e.call->operation, e.call->request);
  e.deadline = clock().now() + e.call->timeout + e.waits;
  if (line_.is_up())
    ask(id, e);
  else
    wake_at(id, e, e.deadline);
}

void courier::ask(std::uint64_t id, entry& e) {
  const auto attempt = ++e.call->attempts;
  e.at = phase::asked;
  wake_at(id, e, std::min(e.deadline, clock().now() + patience_.attempt + e.waits));
  // Without a timeout of CAF's: it would keep the request alive until its end even when answered.
  request(line_.gateway(), caf::infinite, actors::protocol_version, e.call->operation,
          e.call->request)
    .then([=, this](std::uint16_t status,
                    std::string& answer) { answered(id, attempt, status, std::move(answer)); },
          [=, this](const caf::error&) { unanswered(id, attempt); });
}

void courier::answered(std::uint64_t id, std::uint32_t attempt, std::uint16_t status,
                       std::string answer) {
  const auto it = calls_.find(id);
  if (it == calls_.end())
    return;
  if (status == 0) {
    finish(it, std::move(answer));
    return;
  }
  auto e = actors::parse_error(status, answer);
  if (!may_succeed_later(e.code)) {
    finish(it, fail(std::move(e)));
    return;
  }
  if (e.code == errc::outcome_unknown)
    it->second.call->maybe_done = true;
  // A late refusal of an attempt that was given up says nothing about the one on its way.
  if (attempt == it->second.call->attempts)
    repeat_later(id, it->second, e);
}

/// The gateway ended, or never was what it should be.
void courier::unanswered(std::uint64_t id, std::uint32_t attempt) {
  const auto it = calls_.find(id);
  if (it == calls_.end() || attempt != it->second.call->attempts)
    return;
  it->second.call->maybe_done = true;
  repeat_later(id, it->second, {errc::unavailable, "the node ended before it answered"});
}

void courier::repeat_later(std::uint64_t id, entry& e, const error& why) {
  const auto& p = patience_;
  const auto doublings = std::min(e.call->attempts, 16u) - 1;
  const auto pause = std::max(jittered(std::min(p.pause_max, p.pause_min * (1 << doublings))),
                              std::chrono::milliseconds(why.retry_after_ms));
  const auto again = clock().now() + pause;
  if (e.call->attempts >= p.attempts_max || again >= e.deadline || line_.final()) {
    give_up(calls_.find(id), why);
    return;
  }
  e.at = phase::pausing;
  wake_at(id, e, again);
}

void courier::connected() {
  for (auto& [id, e] : calls_)
    if (e.at == phase::waiting)
      ask(id, e);
}

void courier::lost() {
  // CAF answers none of the requests that were on their way to another process: forget them.
  multiplexed_responses_.clear();
  std::vector<std::uint64_t> without_hope;
  for (auto& [id, e] : calls_) {
    if (e.at == phase::asked)
      e.call->maybe_done = true;
    if (line_.final())
      without_hope.push_back(id);
    e.at = phase::waiting;
    wake_at(id, e, e.deadline);
  }
  for (auto id : without_hope)
    give_up(calls_.find(id), {errc::unavailable, "the node of this client has ended"});
}

/// Looks at every call whose time has come.
void courier::awake() {
  armed_ = time_point::max();
  const auto now = clock().now();
  while (!wakes_.empty() && wakes_.begin()->first <= now) {
    const auto id = wakes_.begin()->second;
    const auto it = calls_.find(id);
    auto& e = it->second;
    if (e.at == phase::asked)
      e.call->maybe_done = true;
    if (now >= e.deadline || e.call->attempts >= patience_.attempts_max) {
      const auto waited = std::to_string(e.call->timeout.count()) + " ms";
      give_up(it, e.at == phase::waiting ? unreachable_
                                         : error{errc::unavailable, "no answer within " + waited});
    } else if (line_.is_up()) {
      ask(id, e);
    } else {
      e.at = phase::waiting;
      wake_at(id, e, e.deadline);
    }
  }
  arm();
}

void courier::wake_at(std::uint64_t id, entry& e, time_point t) {
  wakes_.erase({e.wake, id});
  e.wake = t;
  wakes_.emplace(t, id);
  arm();
}

void courier::arm() {
  if (wakes_.empty() || wakes_.begin()->first + grain >= armed_)
    return;
  armed_ = std::max(wakes_.begin()->first, clock().now() + grain);
  scheduled_send(this, armed_, caf::tick_atom::value);
}

void courier::finish(entries::iterator it, result<std::string> answer) {
  wakes_.erase({it->second.wake, it->first});
  const auto call = std::move(it->second.call);
  calls_.erase(it);
  call->finish(std::move(answer));
}

void courier::give_up(entries::iterator it, const error& last) {
  wakes_.erase({it->second.wake, it->first});
  const auto call = std::move(it->second.call);
  calls_.erase(it);
  call->give_up(last);
}

}  // namespace recalld::api

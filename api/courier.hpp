#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include <caf/allowed_unsafe_message_type.hpp>
#include <caf/event_based_actor.hpp>

#include "api/line.hpp"
#include "events/result.hpp"

namespace recalld::api {

/// How a courier repeats.
struct patience {
  std::chrono::milliseconds attempt{3'000};  ///< No answer for so long: send again.
  std::chrono::milliseconds pause_min{20};
  std::chrono::milliseconds pause_max{2'000};
  std::uint32_t attempts_max = 10;
};

/// A call on its way. Its callback runs exactly once, whatever becomes of the actor that has it.
class outgoing {
public:
  using time_point = std::chrono::steady_clock::time_point;

  outgoing(std::string op, std::string json, bool writes, std::chrono::milliseconds timeout,
           std::function<void(result<std::string>)> then,
           std::shared_ptr<std::atomic<std::size_t>> in_flight);
  outgoing(const outgoing&) = delete;
  outgoing& operator=(const outgoing&) = delete;
  ~outgoing();

  void finish(result<std::string> answer);
  /// Nothing came of it and time is up, or nobody is left to try.
  void give_up(const error& last);

  const std::string operation;
  const std::string request;
  const bool writes;
  const std::chrono::milliseconds timeout;

  std::uint32_t attempts = 0;
  /// An attempt was sent whose outcome was never heard of.
  bool maybe_done = false;

private:
  std::function<void(result<std::string>)> then_;
  std::shared_ptr<std::atomic<std::size_t>> in_flight_;
};
using outgoing_ptr = std::shared_ptr<outgoing>;

/// Hands a call to a courier.
struct post {
  outgoing_ptr call;
};

/// Carries calls to a gateway and brings back their answers: repeats what may be repeated, within
/// each call's time. A client has a few of them.
class courier : public caf::event_based_actor {
public:
  courier(caf::actor_config& config, actors::gateway_handle gateway, patience p);
  courier(caf::actor_config& config, endpoint to, patience p);

  caf::behavior make_behavior() override;
  void on_exit() override;
  const char* name() const override { return "courier"; }

private:
  using time_point = outgoing::time_point;
  enum class phase : std::uint8_t { waiting, asked, pausing };
  struct entry {
    outgoing_ptr call;
    time_point deadline;
    std::chrono::milliseconds waits{0};  ///< What the call itself asks the server to wait.
    time_point wake;  ///< When to look at it again.
    phase at = phase::waiting;
  };
  using entries = std::unordered_map<std::uint64_t, entry>;

  void accept(outgoing_ptr call);
  void ask(std::uint64_t id, entry& e);
  void answered(std::uint64_t id, std::uint32_t attempt, std::uint16_t status, std::string answer);
  void unanswered(std::uint64_t id, std::uint32_t attempt);
  void repeat_later(std::uint64_t id, entry& e, const error& why);
  void connected();
  void lost();
  void awake();
  void arm();
  void wake_at(std::uint64_t id, entry& e, time_point t);
  void finish(entries::iterator it, result<std::string> answer);
  void give_up(entries::iterator it, const error& last);

  line line_;
  patience patience_;
  entries calls_;
  std::set<std::pair<time_point, std::uint64_t>> wakes_;
  time_point armed_ = time_point::max();
  std::uint64_t next_ = 1;
  error unreachable_{errc::unavailable, "there is no connection to a node yet"};
};

}  // namespace recalld::api

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::api::post)

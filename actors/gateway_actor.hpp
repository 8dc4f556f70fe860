#pragma once

#include "actors/gateway.hpp"
#include "actors/open_requests.hpp"
#include "actors/surroundings.hpp"

#include <caf/typed_event_based_actor.hpp>

#include <random>
#include <span>
#include <unordered_map>

namespace recalld::actors {

class live_call;

/// The door of a node: checks what every request must fulfil, admits it or says `overloaded`, runs
/// the operation's handler, and renders the answer.
class gateway_state {
public:
  using self_type = gateway_handle::stateful_pointer<gateway_state>;
  using promise_type = caf::typed_response_promise<std::uint16_t, std::string>;
  static constexpr const char* name = "gateway";

  void start(self_type self, surroundings_ptr around, std::span<const operation> operations);
  void run(std::uint16_t protocol, const std::string& operation, std::string request,
           promise_type promise);
  /// Starts a watch of the feed; see `gateway_protocol.hpp`.
  void watch(std::uint16_t protocol, const std::string& request, const caf::actor& sink,
             promise_type promise);
  /// Hands out work; see `gateway_protocol.hpp`.
  void deliver(std::uint16_t protocol, const std::string& operation, std::string request,
               const caf::actor& sink, std::uint32_t credit, promise_type promise);
  /// More credit for a watch or a delivery.
  void credit(const std::string& id, std::uint32_t more);
  const surroundings_ptr& around() const noexcept { return around_; }

private:
  friend class live_call;

  result<std::shared_ptr<live_call>> open(std::uint16_t protocol, const std::string& operation,
                                          std::string request, const promise_type& promise);
  result<void> admit(std::size_t bytes);
  bool admit_to(const stream_id& stream);
  void leave(const stream_id& stream);

  struct remembered_retention {
    retention value{};
    time_us_t read_at = 0;
  };

  self_type self_ = nullptr;
  surroundings_ptr around_;
  std::unordered_map<std::string_view, const operation*> operations_;
  std::size_t bytes_ = 0;
  std::unordered_map<stream_id, std::uint32_t> per_stream_;
  std::unordered_map<std::string, caf::actor> deliveries_;  ///< By id.
  std::unordered_map<stream_id, remembered_retention> retentions_;  ///< By application stream.
  std::mt19937_64 random_{std::random_device{}()};
  open_requests asked_;  ///< Last: calls that end with it give their credits back.
};

gateway_handle::behavior_type gateway(gateway_handle::stateful_pointer<gateway_state> self,
                                      surroundings_ptr around,
                                      std::span<const operation> operations);

}  // namespace recalld::actors

#pragma once

#include "actors/gateway_protocol.hpp"

#include <caf/stateful_actor.hpp>
#include <caf/typed_response_promise.hpp>

#include <string>
#include <vector>

namespace recalld::actors {

/// Hands work to one actor as it comes: repeats an operation that waits for work and sends each
/// piece to the sink, as long as it has credit. It holds nothing that is not in the log: a piece
/// that was handed to nobody is under a lease like any other, and comes back when that is over.
class delivery_state {
public:
  using promise_type = caf::typed_response_promise<std::uint16_t, std::string>;
  static constexpr const char* name = "delivery";

  struct wish {
    gateway_handle gateway;
    std::string id;         ///< What the sink's messages begin with.
    std::string operation;  ///< Has the member `wait_ms`.
    std::string request;    ///< A JSON object without it.
    caf::actor sink;
    std::uint32_t credit = 0;
  };

  /// The promise is told as soon as the first try shows that the request is a good one.
  void start(caf::stateful_actor<delivery_state>* self, wish what, promise_type promise);
  void more(std::uint32_t credit);
  void again();  ///< After a pause.

private:
  void go_on();
  void ask(std::uint64_t wait_ms);
  void answered(std::uint16_t status, const std::string& answer);
  void end(const std::string& why);

  caf::stateful_actor<delivery_state>* self_ = nullptr;
  wish what_;
  promise_type promise_;
  bool begun_ = false;   ///< The promise was told.
  bool asking_ = false;  ///< Or about to ask again.
};

caf::behavior delivery(caf::stateful_actor<delivery_state>* self, delivery_state::wish what,
                       delivery_state::promise_type promise);

}  // namespace recalld::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::delivery_state::wish)

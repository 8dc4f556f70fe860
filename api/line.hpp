#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include <caf/fwd.hpp>

#include "actors/gateway_protocol.hpp"
#include "events/result.hpp"

namespace recalld::api {

/// Where a gateway listens.
struct endpoint {
  std::string host;
  std::uint16_t port = 0;
  bool tls = true;
};

/// Keeps one actor in touch with a gateway: connects, notices the loss, connects again. Belongs to
/// the actor that holds it and runs on its turns.
///
/// Connecting asks CAF's middleman by message instead of calling `remote_actor`, which would block
/// its caller for as long as the peer is silent. All actors of a system that talk to one endpoint
/// share one connection.
class line {
public:
  /// Over a gateway of this process: lost is lost.
  line(caf::event_based_actor* owner, actors::gateway_handle gateway);
  line(caf::event_based_actor* owner, endpoint to);

  /// `up`: there is a gateway to talk to. `down`: it is gone (and will come back, unless
  /// `final()`). `failed`: one more try to connect came to nothing.
  void open(std::function<void()> up, std::function<void()> down,
            std::function<void(const error&)> failed);

  /// Tries to connect. The owner calls it when it gets the `connect_atom` that the line sends it.
  void connect();

  /// Lets go of the gateway for good: its owner ends.
  void close() noexcept;

  /// Null while there is no connection.
  const actors::gateway_handle& gateway() const noexcept { return gateway_; }
  bool is_up() const noexcept { return static_cast<bool>(gateway_); }
  /// There is no way back up.
  bool final() const noexcept { return !to_ && !gateway_; }

private:
  void again(const error& why);
  void established(actors::gateway_handle gateway);

  caf::event_based_actor* owner_;
  std::optional<endpoint> to_;
  actors::gateway_handle gateway_;
  std::function<void()> up_;
  std::function<void()> down_;
  std::function<void(const error&)> failed_;
  std::chrono::milliseconds pause_{0};
};

/// A little more or less than `span`, so that many who wait do not come back together.
std::chrono::milliseconds jittered(std::chrono::milliseconds span);

}  // namespace recalld::api

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <caf/event_based_actor.hpp>

#include "api/client.hpp"
#include "api/line.hpp"

namespace recalld::api {

/// What a watching actor and the outside share.
struct watch_state {
  watch_request what;
  std::function<void(const watch_batch&)> each;
  std::function<void(const error&)> ended;
  /// Told once: the watch has begun, or why it could not.
  std::function<void(result<void>)> begun;

  mutable std::mutex lock;
  std::string cursor;  ///< Behind the last batch that was handed over; under `lock`.
};

/// Follows a gateway's log for one watch: renews credits, begins again behind its cursor when the
/// connection was lost.
class watcher : public caf::event_based_actor {
public:
  watcher(caf::actor_config& config, actors::gateway_handle gateway,
          std::shared_ptr<watch_state> s);
  watcher(caf::actor_config& config, endpoint to, std::shared_ptr<watch_state> s);

  caf::behavior make_behavior() override;
  void on_exit() override;
  const char* name() const override { return "watcher"; }

private:
  void subscribe();
  void subscribed(std::uint16_t status, const std::string& answer);
  void receive(const std::string& id, std::string batch);
  void hand_over(const std::string& batch);
  void end(const error& why);
  std::string cursor() const;

  line line_;
  std::shared_ptr<watch_state> shared_;
  std::string id_;  ///< Of the watch at the gateway; empty while there is none.
  std::vector<std::pair<std::string, std::string>> early_;  ///< Came before the answer with the id.
  bool asking_ = false;
  std::uint32_t used_ = 0;  ///< Credits used since they were last renewed.
};

}  // namespace recalld::api

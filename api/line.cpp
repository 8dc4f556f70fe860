#include "api/line.hpp"

#include <algorithm>
#include <random>

#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <caf/openssl/all.hpp>

namespace recalld::api {

using namespace std::chrono_literals;

namespace {

constexpr auto connect_patience = 5s;
constexpr auto pause_min = 50ms;
constexpr auto pause_max = 2'000ms;

error unreachable(const endpoint& to, const std::string& why) {
  return {errc::unavailable,
          "no gateway at " + to.host + ':' + std::to_string(to.port) + ": " + why,
          {},
          0,
          static_cast<std::uint32_t>(pause_max.count())};
}

}  // namespace

std::chrono::milliseconds jittered(std::chrono::milliseconds span) {
  thread_local std::minstd_rand random{std::random_device{}()};
  std::uniform_int_distribution<std::int64_t> around(span.count() / 2, span.count() * 3 / 2);
  return std::chrono::milliseconds(around(random));
}

line::line(caf::event_based_actor* owner, actors::gateway_handle gateway)
  : owner_(owner), gateway_(std::move(gateway)) {}

line::line(caf::event_based_actor* owner, endpoint to) : owner_(owner), to_(std::move(to)) {}

void line::open(std::function<void()> up, std::function<void()> down,
                std::function<void(const error&)> failed) {
  up_ = std::move(up);
  down_ = std::move(down);
  failed_ = std::move(failed);
  owner_->set_down_handler([this](const caf::down_msg& gone) {
    if (!gateway_ || gone.source != caf::actor_cast<caf::actor_addr>(gateway_))
      return;
    gateway_ = nullptr;
    down_();
    if (to_)
      connect();
  });
  if (gateway_)
    established(std::exchange(gateway_, nullptr));
  else
    connect();
}

void line::close() noexcept {
  to_.reset();
  gateway_ = nullptr;
}

void line::established(actors::gateway_handle gateway) {
  gateway_ = std::move(gateway);
  pause_ = 0ms;
  owner_->monitor(gateway_);
  up_();
}

void line::connect() {
  if (!to_)
    return;
  auto& system = owner_->system();
  if (to_->tls ? !system.has_openssl_manager() : !system.has_middleman()) {
    failed_({errc::invalid, "the actor system was started without its network module"});
    return;
  }
  const auto middleman =
    to_->tls ? system.openssl_manager().actor_handle() : system.middleman().actor_handle();
  owner_->request(middleman, connect_patience, caf::connect_atom::value, to_->host, to_->port)
    .then(
      [this](const caf::node_id&, caf::strong_actor_ptr& whom,
             const std::set<std::string>& speaks) {
        const auto wanted =
          owner_->system().message_types(caf::detail::type_list<actors::gateway_handle>{});
        if (whom == nullptr)
          again(unreachable(*to_, "nothing is published there"));
        else if (!owner_->system().assignable(speaks, wanted))
          again(unreachable(*to_, "what is published there is no gateway of this protocol"));
        else
          established(caf::actor_cast<actors::gateway_handle>(std::move(whom)));
      },
      [this](const caf::error& why) { again(unreachable(*to_, owner_->system().render(why))); });
}

void line::again(const error& why) {
  failed_(why);
  pause_ = std::clamp<std::chrono::milliseconds>(pause_ * 2, pause_min, pause_max);
  owner_->delayed_send(owner_, jittered(pause_), caf::connect_atom::value);
}

}  // namespace recalld::api

#include "actors/open_requests.hpp"

#include <caf/all.hpp>

namespace recalld::actors {

namespace {

/// Takes answers in the name of an actor and puts them into its mailbox as messages of their own.
/// Runs on the thread of whoever answers; has no mailbox.
class inbox final : public caf::monitorable_actor {
public:
  inbox(caf::actor_config& config, const caf::strong_actor_ptr& owner)
    : caf::monitorable_actor(config), owner_(caf::actor_cast<caf::weak_actor_ptr>(owner)) {}

  void enqueue(caf::mailbox_element_ptr what, caf::execution_unit* context) override {
    if (!what->mid.is_response()) {
      handle_system_message(*what, context, false);
      return;
    }
    // A handle of the owner, which holds this object, must not keep it alive.
    auto owner = caf::actor_cast<caf::strong_actor_ptr>(owner_);
    if (!owner)
      return;
    const auto id = what->mid.request_id().with_normal_priority();
    // Nobody waits for an answer to an answer. An error would reach the owner's error handler, as if
    // it were its own, and end it.
    if (what->content().match_elements<caf::error>()) {
      owner->enqueue(caf::make_mailbox_element(nullptr, id, {}, no_answer{}), context);
      return;
    }
    what->mid = id;
    what->sender = nullptr;
    owner->enqueue(std::move(what), context);
  }

private:
  caf::weak_actor_ptr owner_;
};

}  // namespace

void open_requests::start(caf::scheduled_actor* self) {
  self_ = self;
  auto& system = self->system();
  caf::actor_config config;
  inbox_ = caf::make_actor<inbox, caf::strong_actor_ptr>(
    system.next_actor_id(), system.node(), &system, config,
    caf::actor_cast<caf::strong_actor_ptr>(self));
  self->set_default_handler(
    [this](caf::scheduled_actor*, caf::message_view& view) { return answered(view); });
}

caf::result<caf::message> open_requests::answered(caf::message_view& view) {
  const auto* element = self_->current_mailbox_element();
  const auto found = element->mid.is_request() && element->sender == nullptr
                       ? open_.find(element->mid.request_id().integer_value())
                       : open_.end();
  if (found == open_.end())
    return caf::print_and_drop(self_, view);
  auto then = std::move(found->second);
  open_.erase(found);
  then(view.content());
  return caf::delegated<caf::message>{};  // says nothing to nobody
}

}  // namespace recalld::actors

#pragma once

#include "actors/protocol.hpp"

#include <caf/actor.hpp>
#include <caf/mailbox_element.hpp>
#include <caf/scheduled_actor.hpp>

#include <cstdint>
#include <functional>
#include <unordered_map>

namespace recalld::actors {

/// Stands in the place of an answer that will not come. Internal.
struct no_answer {};

/// Requests of an actor that may have thousands of them open at once. CAF 0.17 keeps the open
/// requests of an actor in a vector, which it searches for each new one and each answer; here both
/// cost the same however many are open. Member of the actor's state; used on its turn only.
///
/// Answers reach the actor as messages that its behaviour does not know, so the actor's default
/// handler belongs to this object.
class open_requests {
public:
  /// Before the first `ask`. The object may not move afterwards.
  void start(caf::scheduled_actor* self);

  /// Sends a request; `then` is called on the actor's turn with the answer, or with `unavailable`
  /// when the other actor is gone. Dropped without a call when the asking actor ends first.
  template <class Answer, class Message, class Then>
  void ask(const caf::actor& whom, Message message, Then then) {
    const auto id = ++last_id_;
    open_.emplace(id, [then = std::move(then)](caf::type_erased_tuple& answer) mutable {
      if (answer.match_elements<reply<Answer>>())
        then(std::move(answer.get_mutable_as<reply<Answer>>(0).value));
      else
        then(result<Answer>(fail({errc::unavailable, "the node is ending", {}, 0, 1000})));
    });
    send(whom, id, [&](caf::strong_actor_ptr from, caf::message_id mid) {
      return caf::make_mailbox_element(std::move(from), mid, {}, std::move(message));
    });
  }

  std::size_t size() const noexcept { return open_.size(); }

private:
  template <class Make>
  void send(const caf::actor& whom, std::uint64_t id, Make make) {
    whom->enqueue(make(inbox_, caf::message_id{id}.with_normal_priority()), self_->context());
  }
  caf::result<caf::message> answered(caf::message_view& view);

  caf::scheduled_actor* self_ = nullptr;
  caf::strong_actor_ptr inbox_;  ///< Where answers go first; hands them on as messages.
  std::uint64_t last_id_ = 0;
  std::unordered_map<std::uint64_t, std::function<void(caf::type_erased_tuple&)>> open_;
};

}  // namespace recalld::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::no_answer)

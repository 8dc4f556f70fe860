#include "api/steps.hpp"

#include "api/answers.hpp"

namespace recalld::api {

bool refused(const call_ptr& call, const request_reader& in) {
  if (in.wrong() == nullptr)
    return false;
  call->fail(*in.wrong());
  return true;
}

void submit_to_session(const call_ptr& call, const session_key& key, actors::shared_command command,
                       std::function<void(actors::committed)> then) {
  auto done = call->on<actors::committed>(std::move(then));
  if (const auto policy = call->known_retention(key.app)) {
    call->submit(key.stream(), std::move(command), *policy, std::move(done));
    return;
  }
  call->retention_of(key.app, [=](retention policy) {
    call->submit(key.stream(), command, policy, done);
  });
}

void view_session(const call_ptr& call, const session_key& key, std::size_t newest,
                  std::function<void(session_view)> then) {
  call->view(key.stream(), newest, call->on<actors::stream_view>([=](actors::stream_view view) {
    auto state = readable(view, call->now());
    if (state)
      then({std::move(view), std::move(*state)});
    else
      call->fail(std::move(state.error()));
  }));
}

void choose_session_id(const call_ptr& call, const session_key& key,
                       std::optional<std::string> wanted, std::function<void(std::string)> then) {
  if (wanted) {
    then(std::move(*wanted));
    return;
  }
  auto fresh = uuid_v7(call->now(), call->random());
  if (call->command_id().empty()) {
    then(std::move(fresh));
    return;
  }
  const auto use = [=](actors::committed done) {
    for (const auto& r : done.facts)
      if (auto reserved = fact_as<scope::id_reserved>(*r)) {
        then(std::move(reserved->id));
        return;
      }
    call->fail({errc::corrupt, "the id that was chosen for this command cannot be read", {}, 0, 0});
  };
  // The caller's own commands on the user's stream may carry the same id, so the name differs.
  call->submit_as(key.of_user(), std::string(call->what().name) + ' ' + call->command_id(),
                  any_command(scope::command(scope::reserve_id{std::move(fresh)})), {},
                  call->on<actors::committed>(use));
}

std::function<void(const result<actors::committed>&)> all_of(const call_ptr& call,
                                                             std::size_t count,
                                                             std::function<void()> then) {
  struct waiting {
    std::size_t open;
    std::optional<error> failed;
    std::function<void()> then;
  };
  auto all = std::make_shared<waiting>(waiting{count, {}, std::move(then)});
  return [call, all](const result<actors::committed>& done) {
    if (!done)
      all->failed = done.error();
    if (--all->open > 0)
      return;
    if (all->failed)
      call->fail(*all->failed);
    else
      all->then();
  };
}

}  // namespace recalld::api

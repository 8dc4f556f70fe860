#pragma once

#include <functional>

#include "api/families.hpp"
#include "api/requests.hpp"

/// Steps that handlers of several families share.
namespace recalld::api {

/// The members of a call's request.
class call_members : public members {
public:
  explicit call_members(const actors::call& of) noexcept : of_(of) {}
  std::optional<std::string_view> raw(std::string_view name) const override {
    return of_.raw(name);
  }

private:
  const actors::call& of_;
};

/// Answers the call with what was wrong in its request, if something was.
bool refused(const call_ptr& call, const request_reader& in);

/// Sends a command to a session under its application's retention rules.
void submit_to_session(const call_ptr& call, const session_key& key, actors::shared_command command,
                       std::function<void(actors::committed)> then);
inline void submit_to_session(const call_ptr& call, const session_key& key,
                              session::command command,
                              std::function<void(actors::committed)> then) {
  submit_to_session(call, key, actors::shared_command(std::move(command)), std::move(then));
}

/// A session that can be read, as of one moment.
struct session_view {
  actors::stream_view stream;
  std::shared_ptr<const session::state> state;
};

/// The session as it is now, with up to `newest` of its newest entries at hand; `not_found` and
/// `expired` answer the call.
void view_session(const call_ptr& call, const session_key& key, std::size_t newest,
                  std::function<void(session_view)> then);

/// A continuation for each of `count` (at least 1) commands that are on their way together. When all
/// have come back, `then` goes on; if one failed, its error answers the call instead.
std::function<void(const result<actors::committed>&)> all_of(const call_ptr& call,
                                                             std::size_t count,
                                                             std::function<void()> then);

/// Cancels every request for approval and every question of a session that is still pending, or of all
/// sessions of the user when the key names none.
void cancel_waiting(const call_ptr& call, const session_key& key, std::function<void()> then);

/// Forgets every request for approval and every question that was asked there, whatever became of it.
void forget_asked(const call_ptr& call, const session_key& key, std::function<void()> then);

/// Takes the summaries of a session's lives before version `ended` of it away, and their jobs.
void clear_summaries(const call_ptr& call, const session_key& key, version_t ended,
                     std::function<void()> then);

/// Chooses an id for a new session: `wanted`, or a fresh one. With a command id the choice is
/// recorded first, so that every retry of the command gets the same one.
void choose_session_id(const call_ptr& call, const session_key& key,
                       std::optional<std::string> wanted, std::function<void(std::string)> then);

}  // namespace recalld::api

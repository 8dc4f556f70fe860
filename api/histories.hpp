#pragma once

#include <cstdint>
#include <functional>

#include "api/steps.hpp"

/// Histories: the conversations of a principal, one for each endpoint, chat, thread and model. Each
/// is a session of the application `histories_app`, whose user is the principal; see
/// `docs/decisions/0017-histories-are-sessions.md`.
namespace recalld::api {

/// Also what retention rules for all histories are set for.
inline constexpr std::string_view histories_app = "recalld.histories";

/// Deletes all histories of a principal with what was asked in them and the state that they share,
/// then goes on with how many there were. Errors answer the call; who repeats it deletes the rest.
void drop_histories(const call_ptr& call, const std::string& principal,
                    std::function<void(std::uint64_t)> then);

/// How many histories a principal has.
void count_histories(const call_ptr& call, const std::string& principal,
                     std::function<void(std::uint64_t)> then);

}  // namespace recalld::api

#pragma once

#include <caf/fwd.hpp>
#include <caf/typed_actor.hpp>

#include <cstdint>
#include <string>

/// The one interface that Recalld publishes to other processes over CAF. Everything in it is text
/// and numbers, so that it needs no shared types, only this header.
namespace recalld::actors {

/// Raised when a call of an older client would be misunderstood.
inline constexpr std::uint16_t protocol_version = 1;

/// - `(protocol, operation, request) -> (status, answer)`: one operation of the catalogue, e.g.
///   `session.append`, with a JSON object. Status 0: `answer` is the operation's JSON answer. Else
///   status is the number of an `errc` and `answer` is
///   `{"error":{"code":…,"message":…,"field":…,…}}`.
/// - `(protocol, request, sink) -> (status, answer)`: follow the log. The request is
///   `{"tenant":…,"kind":…,"app":…,"user":…,"session":…,"after":cursor,"from_start":true,"credit":n}`,
///   all but `credit` optional; the answer is `{"watch":id,"cursor":…}`. From then on `sink` gets `(watch id, batch)` messages, a batch being
///   `{"cursor":…,"facts":[…]}`, each costing one credit.
/// - `(protocol, operation, request, sink, n) -> (status, answer)`: hand out work. The operation is
///   one that takes something to do and can wait for it, such as `run.claim`, the request is its own
///   without `wait_ms`, and the answer is `{"delivery":id}`. From then on `sink` gets
///   `(delivery id, answer of the operation)` as work comes, each costing one of its n credits.
/// - `(watch id or delivery id, n)`: n more credits. 0 ends it.
///
/// When a watch or a delivery cannot go on, its last message is `(id, {"error":…})`. Both end with
/// their sink.
using gateway_handle = caf::typed_actor<
  caf::replies_to<std::uint16_t, std::string, std::string>::with<std::uint16_t, std::string>,
  caf::replies_to<std::uint16_t, std::string, caf::actor>::with<std::uint16_t, std::string>,
  caf::replies_to<std::uint16_t, std::string, std::string, caf::actor, std::uint32_t>::with<
    std::uint16_t, std::string>,
  caf::reacts_to<std::string, std::uint32_t>>;

}  // namespace recalld::actors

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace recalld {

/// The closed list of ways in which an operation can fail. Every edge (exit status, CAF error,
/// HTTP status) renders it from one table.
enum class errc : std::uint8_t {
  invalid = 1,       ///< The request is wrong; `field` names the part. Do not repeat it.
  not_found,         ///< The thing does not exist (or exists no more).
  already_exists,    ///< It exists and the caller asked for a fresh one.
  conflict,          ///< The expected version is stale; `current_version` is the present one.
  key_reuse,         ///< The command id was used before for another request.
  rejected,          ///< A rule of the domain forbids it.
  closed,            ///< The session was closed: reads go on, writes do not.
  expired,           ///< Its time to live is over.
  forbidden,         ///< The caller may not do this.
  fenced,            ///< Another node owns the shard now.
  overloaded,        ///< No credit left; repeat after `retry_after_ms`.
  unavailable,       ///< The store or the node cannot be reached now; repeat later.
  outcome_unknown,   ///< Nobody knows yet whether it happened: repeat with the same command id.
  corrupt,           ///< Stored bytes are not what was written.
  already_resolved,  ///< Somebody decided before; `detail` tells who and what.
  already_claimed,   ///< The one claim was granted before, or the work is somebody else's.
  already_answered,  ///< Somebody answered before; `detail` tells who.
  in_doubt,          ///< It was begun and nobody knows whether it ended: reconcile it first.
  cursor_ahead,      ///< The log has gone back behind the cursor: read again from the start.
  stale,             ///< What is there is newer than what was brought; `detail` tells it.
};
inline constexpr errc errc_last = errc::stale;

/// The word of the contract for a code, e.g. `not_found`.
std::string_view to_string(errc code) noexcept;
/// Whether the same request, sent again later, may be answered otherwise without anybody acting.
bool may_succeed_later(errc code) noexcept;

/// What went wrong, for a program (`code`, `field`) and for a person (`message`).
struct error {
  errc code = errc::invalid;
  std::string message;
  /// The path of the offending request field, e.g. `entries[3].role`; empty when none is.
  std::string field = {};
  /// Only with `conflict`: the version the stream has now.
  std::uint64_t current_version = 0;
  /// Only with `overloaded` and `unavailable`: how long to wait before the next try; 0 = unknown.
  std::uint32_t retry_after_ms = 0;
  /// What a program may want to know besides, as a JSON object, e.g. the winner of a race; or empty.
  std::string detail = {};

  friend bool operator==(const error&, const error&) = default;
};

/// The error that a request field is not what is allowed there.
inline error invalid(std::string field, std::string message) {
  return {errc::invalid, std::move(message), std::move(field)};
}

}  // namespace recalld

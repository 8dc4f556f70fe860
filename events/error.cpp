#include "events/error.hpp"

namespace recalld {

std::string_view to_string(errc code) noexcept {
  switch (code) {
    case errc::invalid: return "invalid";
    case errc::not_found: return "not_found";
    case errc::already_exists: return "already_exists";
    case errc::conflict: return "conflict";
    case errc::key_reuse: return "key_reuse";
    case errc::rejected: return "rejected";
    case errc::closed: return "closed";
    case errc::expired: return "expired";
    case errc::forbidden: return "forbidden";
    case errc::fenced: return "fenced";
    case errc::overloaded: return "overloaded";
    case errc::unavailable: return "unavailable";
    case errc::outcome_unknown: return "outcome_unknown";
    case errc::corrupt: return "corrupt";
    case errc::already_resolved: return "already_resolved";
    case errc::already_claimed: return "already_claimed";
    case errc::already_answered: return "already_answered";
    case errc::in_doubt: return "in_doubt";
    case errc::cursor_ahead: return "cursor_ahead";
    case errc::stale: return "stale";
  }
  return "unknown";
}

bool may_succeed_later(errc code) noexcept {
  return code == errc::unavailable || code == errc::overloaded || code == errc::fenced
         || code == errc::outcome_unknown;
}

}  // namespace recalld

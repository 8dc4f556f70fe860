#include "cli/exit_code.hpp"

#include <array>

namespace recalld::cli {

namespace {

constexpr std::array meanings{
  exit_meaning{0, "success", "done"},
  exit_meaning{1, "findings",
               "done, and something was found: rows that differ, bad lines, a failed check"},
  exit_meaning{2, "invalid", "the command line, the configuration or the input is wrong"},
  exit_meaning{3, "not_found", "the session, file or table does not exist"},
  exit_meaning{4, "already_exists", "it exists already"},
  exit_meaning{5, "conflict", "the expected version is stale"},
  exit_meaning{6, "key_reuse", "the command id was used for another request"},
  exit_meaning{7, "rejected", "a rule forbids it"},
  exit_meaning{8, "closed", "the session was closed"},
  exit_meaning{9, "expired", "the session's time to live is over"},
  exit_meaning{10, "forbidden", "the certificate or the file permissions do not allow it"},
  exit_meaning{11, "fenced", "another node owns the log now"},
  exit_meaning{12, "overloaded", "the server has no room now, repeat later"},
  exit_meaning{13, "unavailable", "the server, port or store cannot be had now, repeat later"},
  exit_meaning{14, "outcome_unknown",
               "nobody knows whether it happened, repeat with the same command id"},
  exit_meaning{15, "corrupt", "stored bytes are not what was written"},
  exit_meaning{16, "already_resolved", "somebody decided before"},
  exit_meaning{17, "already_claimed", "the one claim was granted before"},
  exit_meaning{18, "already_answered", "somebody answered before"},
  exit_meaning{19, "in_doubt", "it was begun and nobody knows whether it ended, reconcile it"},
  exit_meaning{20, "cursor_ahead", "the log has gone back behind the cursor, read again"},
  exit_meaning{21, "stale", "what is there is newer than what was brought"},
  exit_meaning{70, "fatal", "a vital part of the node has gone; start it again, nothing is lost"},
  exit_meaning{130, "interrupted", "ended by Ctrl-C before the work was done"},
};

}  // namespace

std::span<const exit_meaning> exit_meanings() { return meanings; }

int exit_code_of(errc code) noexcept {
  switch (code) {
    case errc::invalid: return 2;
    case errc::not_found: return 3;
    case errc::already_exists: return 4;
    case errc::conflict: return 5;
    case errc::key_reuse: return 6;
    case errc::rejected: return 7;
    case errc::closed: return 8;
    case errc::expired: return 9;
    case errc::forbidden: return 10;
    case errc::fenced: return 11;
    case errc::overloaded: return 12;
    case errc::unavailable: return 13;
    case errc::outcome_unknown: return 14;
    case errc::corrupt: return 15;
    case errc::already_resolved: return 16;
    case errc::already_claimed: return 17;
    case errc::already_answered: return 18;
    case errc::in_doubt: return 19;
    case errc::cursor_ahead: return 20;
    case errc::stale: return 21;
  }
  return exit_code::fatal;
}

}  // namespace recalld::cli

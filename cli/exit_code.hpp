#pragma once

#include <span>
#include <string_view>

#include "events/error.hpp"

/// What the process tells its caller when it ends. The numbers are part of the interface: scripts
/// branch on them, so they are never renumbered.
namespace recalld::cli {

namespace exit_code {
inline constexpr int success = 0;
/// The command did its work and found something: rows that differ, bad lines, a failed check.
inline constexpr int findings = 1;
/// A part without which the node is nothing has gone: start it again, nothing is lost.
inline constexpr int fatal = 70;
/// Ended by SIGINT before the work was done.
inline constexpr int interrupted = 130;
}  // namespace exit_code

struct exit_meaning {
  int code;
  std::string_view name;
  std::string_view meaning;
};

/// Every exit status there is, in order, for the help text and the manual.
std::span<const exit_meaning> exit_meanings();

/// The exit status of an error.
int exit_code_of(errc code) noexcept;

}  // namespace recalld::cli

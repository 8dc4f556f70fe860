#pragma once

#include <cstdint>
#include <string>

#include "cli/command.hpp"

/// The live inbox: what waits for a person, as it comes and goes.
namespace recalld::cli {

struct watch_options {
  std::string by;
  bool admin = false;
  bool embedded = false;
  std::uint64_t count = 0;  ///< End after so many lines; 0 = never.
};

/// Runs until it is interrupted. On a terminal its lines decide and answer.
int watch_inbox(const invocation& call, const watch_options& o);

}  // namespace recalld::cli

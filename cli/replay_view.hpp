#pragma once

#include "cli/command.hpp"
#include "cli/session_difference.hpp"
#include "cli/session_past.hpp"

/// `replay SESSION …`: a session as it was, step by step, and what changed. Each gives the exit
/// status.
namespace recalld::cli {

/// The session at a version, with its newest `entries` entries of then.
int show_moment(const invocation& call, session_past& past, version_t at, std::size_t entries);

/// Every fact up to `to`, one after another, with what it changed. On a terminal it waits for Enter
/// between them; `q` ends it.
int show_steps(const invocation& call, session_past& past, version_t to);

/// What changed between two versions.
int show_difference(const invocation& call, session_past& past, version_t first, version_t last);

}  // namespace recalld::cli

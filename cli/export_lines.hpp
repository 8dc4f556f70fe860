#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "cli/session_past.hpp"

namespace recalld::cli {

/// Gives the lines of `import_file.hpp` for one session as it is now: importing them again gives an
/// equal session. Counts the entries.
result<std::uint64_t> export_session(session_past& past,
                                     const std::function<void(const std::string&)>& line);

/// The line of an application's or user's shared state.
std::string export_scope(const stream_id& scope, const json::raw_map& values);

}  // namespace recalld::cli

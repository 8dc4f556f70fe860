#pragma once

#include <functional>
#include <string>
#include <vector>

#include "api/requests.hpp"
#include "storage/store.hpp"

/// Which sessions and shared states a log holds, straight from its rows.
namespace recalld::cli {

/// Empty members match everything.
struct session_filter {
  std::string tenant;
  std::string app;
  std::string user;
  std::string session;
  bool matches(const std::vector<std::string_view>& parts) const;
};

/// Gives every session that can be read, in the order in which they were made; false ends it.
result<void> each_session(storage::log_reader& log, const session_filter& filter,
                          const std::function<bool(const stream_id&)>& visit);

/// Gives every application's and user's shared state: the stream and its keys.
result<void> each_scope(storage::log_reader& log, const session_filter& filter,
                        const std::function<void(const stream_id&, const json::raw_map&)>& visit);

}  // namespace recalld::cli

#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "events/aggregates.hpp"
#include "events/window.hpp"
#include "storage/store.hpp"

namespace recalld::cli {

/// A point in a session's life: a version, or a time.
struct point {
  std::variant<version_t, time_us_t> at;
  bool is_time() const noexcept { return at.index() == 1; }
};

/// Reads `17`, `head` (the newest, as `absent`) or RFC 3339.
result<std::optional<point>> parse_point(std::string_view text, std::string_view field);
/// Reads `A..B`; a missing A is the beginning, a missing B the newest.
struct point_range {
  std::optional<point> first;
  std::optional<point> last;
};
result<point_range> parse_point_range(std::string_view text, std::string_view field);

/// The history of one session, read from a log: its state at any version. It folds every fact that
/// is still there, the long way round, so that it checks the shortcuts that the server takes.
/// Borrows the reader.
class session_past {
public:
  struct moment {
    session::state state;
    version_t version = 0;
    time_us_t time = 0;
    position_t position = 0;
    json::raw_map app;   ///< The application's keys as of then.
    json::raw_map user;  ///< The user's keys as of then.
  };

  /// `not_found` when there never was such a session.
  static result<session_past> open(storage::log_reader& log, stream_id session);

  const stream_id& stream() const noexcept { return stream_; }
  version_t head() const noexcept { return at_.head; }
  /// The first version whose state can still be told.
  version_t first() const noexcept { return at_.base; }

  /// The version at a point. `not_found` before the beginning or behind the end.
  result<version_t> resolve(const point& p);

  /// `not_found` for a version whose past is forgotten.
  result<moment> at(version_t version);

  /// Gives each fact in (`from`, `to`] with the states before and behind it; false ends the walk.
  using visitor = std::function<bool(const recorded&, const moment& before, const moment& after)>;
  result<void> walk(version_t from, version_t to, const visitor& visit);

  /// Entries with version in (`after`, the moment's], oldest first, at most the newest `limit`.
  /// Whatever retention hid by then is left out.
  result<std::vector<session::recorded_entry>> entries(const moment& m, version_t after,
                                                       std::size_t limit);
  /// Gives every entry that could be read at the moment, oldest first.
  result<void> each_entry(const moment& m,
                          const std::function<void(const session::recorded_entry&)>& visit);
  /// Items of the side logs up to the moment: track name and raw item.
  result<std::vector<std::pair<std::string, std::string>>> tracks(const moment& m);

private:
  session_past(storage::log_reader& log, stream_id stream, storage::stream_position at)
    : log_(&log), stream_(std::move(stream)), at_(at) {}
  result<moment> beginning();
  result<void> add_scopes(moment& m);

  storage::log_reader* log_;
  stream_id stream_;
  storage::stream_position at_;
};

}  // namespace recalld::cli

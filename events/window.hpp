#pragma once

#include <optional>
#include <string>
#include <vector>

#include "events/session.hpp"

/// Which part of a session's entries a reader wants, and the one algorithm that cuts it, over any
/// source: memory right after the append, or the log after a restart. Same answer from both.
namespace recalld::session {

/// Everything is optional; what is given must all hold. Entries come back in order, oldest first.
///
/// `last`, `max_bytes` and `before_version` take from the newest end, `limit`, `after_version` and
/// `since` without them from the oldest, up to `window_entries_max`. A window that says nothing of
/// the kind is the last `window_default` entries. An `anchor` goes with `before`, `after`, `roles`
/// and bounds only; it is always part of its window, whatever its role.
///
/// A turn-aligned window takes from the newest end. It begins with a user entry: others before the
/// first user entry are left out; if there is none, the one that began the turn is put before the
/// window (on top of `last` and `max_bytes`) where it can be seen and the bounds allow it.
struct window {
  std::optional<std::uint64_t> last;        ///< The last so many entries.
  std::optional<version_t> after_version;   ///< Only entries behind this version.
  std::optional<version_t> before_version;  ///< Only entries before this version.
  std::optional<time_us_t> since;           ///< Only entries recorded at or after this time.
  std::optional<std::uint64_t> max_bytes;   ///< Entries whose JSON fits; at least one.
  std::optional<std::string> anchor;        ///< An entry id: `before`/`after` entries around it.
  std::uint64_t before = 0;
  std::uint64_t after = 0;
  std::vector<std::string> roles;      ///< Only entries of these roles; empty = all.
  std::optional<std::uint64_t> limit;  ///< Page size, for paging from the oldest.
  std::optional<bool> turn_aligned;    ///< Default: true when `last` is given alone.
};

inline constexpr std::uint64_t window_entries_max = 10'000;
inline constexpr std::uint64_t window_default = 100;

/// An entry with where and when it was recorded.
struct recorded_entry {
  version_t version = 0;
  position_t position = 0;
  time_us_t time = 0;
  entry_appended fact;
};

/// Gives the entries of one session in either order, by version. Implemented over the log, over
/// memory, and over plain vectors in tests.
class entry_source {
public:
  virtual ~entry_source() = default;
  /// Up to `limit` entries with version < `before` (newest first).
  virtual result<std::vector<recorded_entry>> back(version_t before, std::size_t limit) = 0;
  /// Up to `limit` entries with version > `after` (oldest first).
  virtual result<std::vector<recorded_entry>> forth(version_t after, std::size_t limit) = 0;
  /// The version of the entry with this key (see `fact_key::entry`), 0 = none.
  virtual result<version_t> find(std::string_view key) = 0;
  /// The smallest entry version whose time is >= t; 0 = none.
  virtual result<version_t> first_since(time_us_t t) = 0;
};

/// A cut window. Whether there is more does not look at roles.
struct page {
  std::vector<recorded_entry> entries;  ///< Oldest first.
  bool more_before = false;             ///< Visible entries lie before the first one here.
  bool more_after = false;              ///< Visible entries lie behind the last one here.
};

/// Cuts `w` out of `source` as of version `head`. `invalid` for a window that contradicts itself,
/// `not_found` for an unknown anchor.
result<page> cut(const window& w, const state& s, version_t head, entry_source& source);

/// The version of the oldest entry that can be seen, 0 = none; whatever lies before it may be
/// trimmed. Reads about as many entries as the retention keeps.
result<version_t> first_visible(const state& s, version_t head, entry_source& source);

/// `invalid` with the field for a window that contradicts itself or asks for too much.
result<void> check(const window& w);

}  // namespace recalld::session

#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "events/aggregates.hpp"
#include "events/text.hpp"
#include "events/window.hpp"

/// From the raw JSON of a request to typed parts of commands. Pure: no actors, no clock.
namespace recalld::api {

/// The members of one request object, raw.
class members {
public:
  virtual ~members() = default;
  /// Nothing when the member was not given.
  virtual std::optional<std::string_view> raw(std::string_view name) const = 0;
};

/// Reads members one after the other. The first thing that is wrong is kept, and everything read
/// after it is a default, so that a caller reads all it wants and asks `wrong()` once.
class request_reader {
public:
  explicit request_reader(const members& of) noexcept : of_(of) {}

  bool has(std::string_view name) const { return of_.raw(name).has_value(); }
  std::optional<std::string_view> raw(std::string_view name) const { return of_.raw(name); }

  /// An id; `invalid` when it is missing, empty, too long or not UTF-8.
  std::string id(std::string_view name);
  /// The same, but it need not be there; what is there must not be empty.
  std::optional<std::string> optional_id(std::string_view name);
  /// A word such as a type or a track's name: not empty, at most `session::word_bytes_max` bytes.
  std::optional<std::string> word(std::string_view name);
  std::optional<std::string> string(std::string_view name);
  /// One of `allowed`.
  std::optional<std::string> choice(std::string_view name,
                                    std::initializer_list<std::string_view> allowed);
  std::optional<bool> flag(std::string_view name);
  /// A whole number from `min` to `max`.
  std::optional<std::uint64_t> count(std::string_view name, std::uint64_t min, std::uint64_t max);
  /// Any number from `min` to `max`.
  std::optional<double> number(std::string_view name, double min, double max);
  std::optional<time_us_t> time(std::string_view name);
  /// An array of strings, none of them empty, at most `most`.
  std::vector<std::string> strings(std::string_view name, std::size_t most);
  /// Whatever JSON it is, minified; empty when it was not given.
  std::string any(std::string_view name);
  /// A JSON object, minified.
  std::optional<std::string> object(std::string_view name);

  void refuse(error e);
  void refuse(std::string_view field, std::string message);
  /// What was wrong first; null while everything is fine.
  const error* wrong() const noexcept { return wrong_ ? &*wrong_ : nullptr; }

private:
  /// Unwraps a value or keeps its error.
  template <class T>
  std::optional<T> keep(result<T> r);

  const members& of_;
  std::optional<error> wrong_;
};

/// Who a session belongs to.
struct session_key {
  std::string tenant;
  std::string app;
  std::string user;
  std::string session;

  stream_id stream() const { return session_stream(tenant, app, user, session); }
  stream_id of_app() const { return app_stream(tenant, app); }
  stream_id of_user() const { return user_stream(tenant, app, user); }
};

/// How far a caller's clock may be ahead of ours.
inline constexpr time_us_t clock_skew_us_max = 5LL * 60 * 1'000'000;
/// Keys that one request may set or delete.
inline constexpr std::size_t keys_max = 10'000;
/// Items of a track in one request.
inline constexpr std::size_t track_items_max = 500;
/// Bytes of entries in one answer; what is left is reached by cursor.
inline constexpr std::uint64_t answer_bytes_max = 16ULL << 20;
/// Entries or rows on one page.
inline constexpr std::uint64_t page_max = 1'000;

session_key read_session_key(request_reader& in, std::string_view tenant);

/// Entries in `entries` (an array) or `entry` (one object), as slices of `request`. Members that we
/// interpret are checked, everything else in an entry is opaque.
std::vector<session::entry> read_entries(request_reader& in, const text& request, time_us_t now);

/// One entry. `raw` is a slice of `request`; `path` names it in errors, e.g. `entries[3]`.
result<session::entry> parse_entry(std::string_view raw, std::string_view path, const text& request,
                                   time_us_t now);

/// State keys to set, separated by scope.
session::state_delta read_delta(request_reader& in, std::string_view name);
/// The delta as the request that carries it sees it: every key with its prefix, `temp:` too.
std::string seen_delta(const session::state_delta& delta);

/// Keys of a session in `key` or `keys`; `app:`, `user:` and `temp:` keys are refused.
std::vector<std::string> read_session_keys(request_reader& in);

/// Where shared state belongs, with the prefix its keys may carry.
enum class scope_kind : std::uint8_t { app, user };
std::string_view prefix_of(scope_kind kind) noexcept;

/// A key of shared state: the own prefix is taken off, another scope's is refused.
result<std::string> scope_key(std::string_view key, scope_kind kind, std::string_view field);
json::raw_map read_scope_state(request_reader& in, scope_kind kind);
/// Exactly one of `key`, `keys` and `all`.
scope::delete_keys read_scope_deletion(request_reader& in, scope_kind kind);

retention read_retention(request_reader& in);

/// Which entries are wanted, and the list that cursors of the answer belong to.
struct window_request {
  session::window window;
  std::string list;        ///< See `list_name`.
  bool backwards = false;  ///< The cursor that was given leads to older entries.
};
/// `operation` and `key` name the list. The members are those of `window_fields`.
window_request read_window(request_reader& in, std::string_view operation, const session_key& key);

/// Cursors to the neighbours of a page; empty where there is nothing.
struct page_cursors {
  std::string next;      ///< To newer entries.
  std::string previous;  ///< To older entries.
};
page_cursors cursors_of(const window_request& wanted, const session::page& page);

/// Items of a track in `items` (an array) or `item`, minified.
std::vector<std::string> read_track_items(request_reader& in);

}  // namespace recalld::api

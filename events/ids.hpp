#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "events/result.hpp"

namespace recalld {

/// 1-based count of facts in one stream; 0 = the stream has no fact yet.
using version_t = std::uint64_t;
/// 1-based dense place in a shard's log; 0 = before the first.
using position_t = std::uint64_t;
/// Growing number of the right to write a shard.
using epoch_t = std::uint64_t;
/// The number by which the log knows a stream; dense, given at the stream's first fact.
using stream_no_t = std::uint64_t;
/// Microseconds since 1970-01-01 UTC.
using time_us_t = std::int64_t;

/// Longest id in bytes that a caller may give (tenant, app, user, session, entry, command).
inline constexpr std::size_t id_bytes_max = 512;

/// The kinds of streams, one per aggregate. The numbers are stored: never reuse one.
enum class stream_kind : std::uint8_t {
  session = 1,
  scope = 2,
  approval = 3,
  clarification = 4,
  permission = 5,
  schedule = 6,
  effect = 7,
  memory_space = 8,
  value = 9,
  principal = 10,
  lineage = 11,
  summary = 12,
};

/// What is known of a kind beside its aggregate.
struct stream_kind_row {
  stream_kind kind;
  std::string_view name;
  /// Names of the key parts, tenant first; a stream may have fewer.
  std::vector<std::string_view> parts;
};
/// Every kind, in the order of the numbers.
std::span<const stream_kind_row> stream_kinds();
/// Null when there is no such kind.
const stream_kind_row* find_stream_kind(stream_kind kind) noexcept;

std::string_view to_string(stream_kind kind) noexcept;
std::optional<stream_kind> stream_kind_of(std::string_view name) noexcept;

/// The address of one stream: its kind, its tenant, and further key parts, which are structured
/// and never joined with a separator: ("a:b","c") and ("a","b:c") are different streams.
///
/// Encoded (and stored) as: kind byte, then each part as varint length + bytes; tenant first.
/// Immutable; copies share the bytes and their hash, so that ids travel between threads at the cost
/// of a reference count.
class stream_id {
public:
  stream_id() = default;
  stream_id(stream_kind kind, std::span<const std::string_view> parts);
  stream_id(stream_kind kind, std::initializer_list<std::string_view> parts)
    : stream_id(kind, std::span(parts.begin(), parts.size())) {}

  /// Reads what `bytes()` gave. Anything else is `corrupt`.
  static result<stream_id> from_bytes(std::string bytes);

  stream_kind kind() const noexcept { return static_cast<stream_kind>(bytes().at(0)); }
  /// All parts; the first is the tenant. Views into this object.
  std::vector<std::string_view> parts() const;
  const std::string& bytes() const noexcept { return shared_ ? shared_->bytes : none; }
  /// Of the bytes; the same in one process only.
  std::size_t hash() const noexcept { return shared_ ? shared_->hash : 0; }
  bool empty() const noexcept { return shared_ == nullptr; }

  friend bool operator==(const stream_id& a, const stream_id& b) noexcept {
    return a.shared_ == b.shared_ || (a.hash() == b.hash() && a.bytes() == b.bytes());
  }
  friend std::strong_ordering operator<=>(const stream_id& a, const stream_id& b) noexcept {
    return a.bytes() <=> b.bytes();
  }

private:
  struct content {
    explicit content(std::string b) : bytes(std::move(b)), hash(std::hash<std::string>{}(bytes)) {}
    std::string bytes;  ///< Never empty.
    std::size_t hash;
  };
  static const std::string none;

  std::shared_ptr<const content> shared_;  ///< Null: no stream.
};

/// A human's form of a stream id for logs and messages, e.g. `session default/app/u/s1`.
std::string to_string(const stream_id& id);

/// Checks an id that a caller gave: not empty, at most `id_bytes_max` bytes, valid UTF-8, no NUL.
result<void> check_id(std::string_view id, std::string_view field);

/// The stream of a session.
stream_id session_stream(std::string_view tenant, std::string_view app, std::string_view user,
                         std::string_view session);
/// The stream of an application's shared state.
stream_id app_stream(std::string_view tenant, std::string_view app);
/// The stream of one user's state in an application.
stream_id user_stream(std::string_view tenant, std::string_view app, std::string_view user);

/// 128 random bits, given to pure code as data.
using entropy = std::array<std::uint64_t, 2>;

/// UUID version 7 (RFC 9562, section 5.7) for a time and random bits; `index` makes several
/// different ids out of one piece of entropy, in order.
std::string uuid_v7(time_us_t now, const entropy& random, std::uint32_t index = 0);

/// FNV-1a, 64 bits (Fowler, Noll, Vo). For tables and comparisons, never against an adversary.
constexpr std::uint64_t fnv1a(std::string_view bytes,
                              std::uint64_t seed = 14695981039346656037ull) noexcept {
  auto hash = seed;
  for (char c : bytes) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 1099511628211ull;
  }
  return hash;
}

/// `2026-11-21T03:45:00.000001Z` for microseconds since 1970.
std::string format_time(time_us_t t);
/// Reads RFC 3339 with `Z` or an offset; the fraction is optional, what is finer than microseconds
/// is cut off. `invalid` otherwise.
result<time_us_t> parse_time(std::string_view text, std::string_view field);

}  // namespace recalld

template <>
struct std::hash<recalld::stream_id> {
  std::size_t operator()(const recalld::stream_id& id) const noexcept {
    return id.hash();
  }
};

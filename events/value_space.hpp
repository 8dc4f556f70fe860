#pragma once

#include <map>
#include <set>
#include <string>
#include <variant>

#include "events/aggregate.hpp"
#include "events/json.hpp"

/// Values that live for a time only. Those of one type are spread over `buckets` streams by their
/// keys, so that each holds few: a stream begins anew when most of what it holds is over, and then
/// tells what still lives once more.
namespace recalld::value_space {

inline constexpr std::uint64_t buckets = 64;
inline constexpr std::size_t value_bytes_max = 256 * 1024;
/// A stream begins anew when so many facts in it are over, and more than half of all.
inline constexpr version_t facts_over_max = 1'000;

/// The stream of a value: tenant, application, type, bucket.
stream_id stream_of(std::string_view tenant, std::string_view app, std::string_view type,
                    std::string_view key);

struct held {
  std::string json;
  time_us_t created_at = 0;  ///< Kept when it is overwritten while it lives.
  time_us_t updated_at = 0;
  time_us_t expires_at = 0;  ///< From then on it is not there.
  version_t version = 0;
  friend bool operator==(const held&, const held&) = default;
};

struct state {
  std::map<std::string, held, std::less<>> values;  ///< By key; some may be over.
  std::set<std::pair<time_us_t, std::string>> by_expiry;
  version_t base = 0;     ///< Facts up to here are forgotten.
  std::size_t bytes = 0;  ///< Of keys and values.

  /// The value, if it lives at `now`.
  const held* find(std::string_view key, time_us_t now) const;
  friend bool operator==(const state&, const state&) = default;
};

// -- commands --

struct set {
  std::string key;
  std::string json;
  std::uint64_t ttl_s = 0;  ///< 1 to `ttl_s_max`.
  bool if_absent = false;   ///< One that lives is left alone: nothing is recorded.
};
struct remove {
  std::string key;
};
/// Takes out what is over by now.
struct expire {};
using command = std::variant<set, remove, expire>;

// -- facts --

struct value_set {
  std::string key;
  std::string json;
  time_us_t created_at = 0;
  time_us_t updated_at = 0;
  time_us_t expires_at = 0;
  friend bool operator==(const value_set&, const value_set&) = default;
};
/// By a caller, or because it was over.
struct value_ended {
  std::string key;
  friend bool operator==(const value_ended&, const value_ended&) = default;
};
/// Nothing before counts any more; what still lives follows.
struct begun_anew {
  friend bool operator==(const begun_anew&, const begun_anew&) = default;
};
using fact = std::variant<value_set, value_ended, begun_anew>;

// -- the aggregate --

struct aggregate : plain_aggregate<state, command, fact> {
  static constexpr stream_kind kind = stream_kind::value;
  static constexpr bool brief_receipts = true;

  static result<decision> decide(const state& s, const command& c, const context& ctx,
                                 const stream_id& self);
  static void evolve(state& s, const fact& f, const envelope& at);
  static std::size_t footprint(const state& s) noexcept;
  static std::optional<base_mark> base_of(const fact& f, version_t version);
  static std::string forgets(const fact& f);
  static const codec::format<aggregate>& stored_as();
};

/// What the keys of all facts about a value begin with.
std::string key_prefix(std::string_view key);

}  // namespace recalld::value_space

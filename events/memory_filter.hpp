#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "events/memory_space.hpp"

/// Which memories are wanted, whatever they say: by topic, kind, time and metadata. Pure.
namespace recalld::memory_space {

/// A condition on a JSON object. As a caller writes it:
///
///   {"field":"city","is":"Oslo"}                      is, is_not: any plain value; 10, 10.0 and 1e1 are one number
///   {"field":["trip","cost"],"less":100}              less, at_most, more, at_least: numbers, or texts by their bytes
///   {"field":"city","one_of":["Oslo","Bergen"]}
///   {"field":"tags","contains":"work"}                an element of an array
///   {"field":"city","exists":false}
///   {"and":[…]}  {"or":[…]}  {"not":…}                of conditions; an empty `and` is true, an empty `or` false
///
/// `field` is a member's name, or an array of names from the outside in. On a member that is not
/// there only `is_not` and `exists: false` are true.
class condition {
public:
  /// Most conditions in one, whole or part.
  static constexpr std::size_t parts_max = 256;

  /// `json` must have been validated. Anything but the above is `invalid`, naming the part in `field`.
  static result<condition> parse(std::string_view json, std::string_view field);

  /// Whether it holds for a validated JSON object; empty stands for `{}`.
  bool holds(std::string_view object) const;

  friend bool operator==(const condition&, const condition&) = default;

private:
  enum class verb : std::uint8_t {
    all,
    any,
    none,
    is,
    is_not,
    less,
    at_most,
    more,
    at_least,
    one_of,
    contains,
    exists
  };
  struct verb_row {
    std::string_view name;
    verb is;
  };
  static const verb_row verbs[];

  static result<condition> parse_counted(std::string_view json, const std::string& field,
                                         std::size_t& parts);
  static result<condition> parse_comparison(std::string_view json, const std::string& field);
  result<void> take_path(std::string_view raw, const std::string& field);
  result<void> take_values(std::string_view raw, const std::string& field);
  bool compare(std::string_view value) const;

  verb verb_ = verb::all;
  std::vector<condition> parts_;
  std::vector<std::string> path_;
  std::vector<std::string> values_;  ///< Raw JSON.
};

/// What a filter looks at.
struct traits {
  memory_kind kind = memory_kind::fact;
  std::vector<std::string> topics;
  time_us_t time = 0;    ///< When it happened, else when it was written down.
  std::string metadata;  ///< Raw JSON object; empty = `{}`.
};

struct filter {
  std::vector<std::string> topics;  ///< At least one of these; empty = any.
  std::optional<memory_kind> kind;
  std::optional<time_us_t> since;  ///< At or after.
  std::optional<time_us_t> until;  ///< At or before.
  std::optional<condition> metadata;

  bool empty() const { return *this == filter{}; }
  bool wants(const traits& m) const;
  friend bool operator==(const filter&, const filter&) = default;
};

}  // namespace recalld::memory_space

#include "events/memory_filter.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "events/json.hpp"

namespace recalld::memory_space {

namespace {

using json::kind_of;
using value_kind = json::kind;

// Whole numbers beyond this are not exact everywhere, so that nobody may rely on comparing them.
constexpr double number_max = 9007199254740992.0;  // 2^53

/// The value of a number; nothing where it is beyond a double.
std::optional<double> number_of(std::string_view raw) {
  double n = 0;
  const auto read = std::from_chars(raw.data(), raw.data() + raw.size(), n);
  if (read.ec != std::errc{})
    return std::nullopt;
  return n;
}

/// < 0, 0, > 0 for values that can be ordered: two numbers or two texts.
std::optional<int> order_of(std::string_view a, std::string_view b) {
  const auto kind = kind_of(a);
  if (kind != kind_of(b))
    return std::nullopt;
  if (kind == value_kind::number) {
    const auto x = number_of(a);
    const auto y = number_of(b);
    if (!x || !y)
      return std::nullopt;
    return *x < *y ? -1 : *x > *y ? 1 : 0;
  }
  if (kind != value_kind::string)
    return std::nullopt;
  const auto x = json::as_string(a, "");
  const auto y = json::as_string(b, "");
  if (!x || !y)
    return std::nullopt;
  return x->compare(*y);
}

bool same(std::string_view a, std::string_view b) {
  if (const auto order = order_of(a, b))
    return *order == 0;
  const auto kind = kind_of(a);
  return (kind == value_kind::boolean || kind == value_kind::null) && a == b;
}

bool is_plain(std::string_view raw) {
  const auto kind = kind_of(raw);
  return kind != value_kind::array && kind != value_kind::object;
}

result<void> check_value(std::string_view raw, const std::string& field) {
  if (!is_plain(raw))
    return fail_field(field, "must be a text, a number, true, false or null");
  if (kind_of(raw) == value_kind::number)
    if (const auto n = number_of(raw); !n || std::abs(*n) >= number_max)
      return fail_field(field, "must be a number between -2^53 and 2^53");
  return {};
}

std::string part_of(const std::string& field, std::size_t i) {
  return field + "[" + std::to_string(i) + "]";
}

}  // namespace

const condition::verb_row condition::verbs[] = {
  {"and", verb::all},           {"or", verb::any},
  {"not", verb::none},          {"is", verb::is},
  {"is_not", verb::is_not},     {"less", verb::less},
  {"at_most", verb::at_most},   {"more", verb::more},
  {"at_least", verb::at_least}, {"one_of", verb::one_of},
  {"contains", verb::contains}, {"exists", verb::exists},
};

result<condition> condition::parse(std::string_view json, std::string_view field) {
  std::size_t parts = 0;
  return parse_counted(json, std::string(field), parts);
}

result<condition> condition::parse_counted(std::string_view json, const std::string& field,
                                           std::size_t& parts) {
  if (++parts > parts_max)
    return fail_field(field, "at most " + std::to_string(parts_max) + " conditions");
  if (kind_of(json) != value_kind::object)
    return fail_field(field, "must be an object");
  const auto members = json::members(json, field);
  if (!members)
    return fail(members.error());
  const auto joins = [](const json::member& m) {
    return m.name == "and" || m.name == "or" || m.name == "not";
  };
  if (std::none_of(members->begin(), members->end(), joins))
    return parse_comparison(json, field);
  if (members->size() != 1)
    return fail_field(field, "`and`, `or` and `not` stand alone");
  const auto& only = members->front();
  const auto path = field + "." + only.name;
  condition out;
  out.verb_ = only.name == "and" ? verb::all : only.name == "or" ? verb::any : verb::none;
  std::vector<std::string_view> inner{only.raw};
  if (out.verb_ != verb::none) {
    if (kind_of(only.raw) != value_kind::array)
      return fail_field(path, "must be an array of conditions");
    auto elements = json::elements(only.raw, path);
    if (!elements)
      return fail(elements.error());
    inner = std::move(*elements);
  }
  for (std::size_t i = 0; i < inner.size(); ++i) {
    auto part = parse_counted(inner[i], out.verb_ == verb::none ? path : part_of(path, i), parts);
    if (!part)
      return part;
    out.parts_.push_back(std::move(*part));
  }
  return out;
}

result<condition> condition::parse_comparison(std::string_view json, const std::string& field) {
  condition out;
  bool compared = false;
  const auto members = json::members(json, field);
  if (!members)
    return fail(members.error());
  for (const auto& m : *members) {
    const auto path = field + "." + m.name;
    if (m.name == "field") {
      if (auto good = out.take_path(m.raw, path); !good)
        return fail(good.error());
      continue;
    }
    const auto known = std::find_if(std::begin(verbs), std::end(verbs),
                                    [&](const verb_row& v) { return v.name == m.name; });
    if (known == std::end(verbs))
      return fail_field(path, "there is no such comparison");
    if (std::exchange(compared, true))
      return fail_field(path, "one comparison each; join several with `and`");
    out.verb_ = known->is;
    if (auto good = out.take_values(m.raw, path); !good)
      return fail(good.error());
  }
  if (out.path_.empty())
    return fail_field(field + ".field", "is required");
  if (!compared)
    return fail_field(field, "must have a comparison such as `is`");
  return out;
}

result<void> condition::take_path(std::string_view raw, const std::string& field) {
  std::vector<std::string_view> names{raw};
  if (kind_of(raw) == value_kind::array) {
    auto elements = json::elements(raw, field);
    if (!elements)
      return fail(elements.error());
    names = std::move(*elements);
    if (names.empty() || names.size() > json::depth_max)
      return fail_field(field, "must have 1 to " + std::to_string(json::depth_max) + " names");
  }
  for (auto each : names) {
    auto name = json::as_string(each, field);
    if (!name)
      return fail(name.error());
    path_.push_back(std::move(*name));
  }
  return {};
}

result<void> condition::take_values(std::string_view raw, const std::string& field) {
  if (verb_ == verb::one_of) {
    if (kind_of(raw) != value_kind::array)
      return fail_field(field, "must be an array of plain values");
    const auto elements = json::elements(raw, field);
    if (!elements)
      return fail(elements.error());
    if (elements->size() > parts_max)
      return fail_field(field, "at most " + std::to_string(parts_max) + " values");
    for (std::size_t i = 0; i < elements->size(); ++i) {
      if (auto good = check_value((*elements)[i], part_of(field, i)); !good)
        return good;
      values_.emplace_back((*elements)[i]);
    }
    return {};
  }
  if (auto good = check_value(raw, field); !good)
    return good;
  const auto kind = kind_of(raw);
  const bool orders =
    verb_ == verb::less || verb_ == verb::at_most || verb_ == verb::more || verb_ == verb::at_least;
  if (orders && kind != value_kind::number && kind != value_kind::string)
    return fail_field(field, "must be a number or a text");
  if (verb_ == verb::exists && kind != value_kind::boolean)
    return fail_field(field, "must be true or false");
  values_.emplace_back(raw);
  return {};
}

bool condition::holds(std::string_view object) const {
  const auto part_holds = [&](const condition& c) { return c.holds(object); };
  switch (verb_) {
    case verb::all: return std::all_of(parts_.begin(), parts_.end(), part_holds);
    case verb::any: return std::any_of(parts_.begin(), parts_.end(), part_holds);
    case verb::none: return !part_holds(parts_.front());
    default: break;
  }
  auto at = json::trim(object);
  for (const auto& name : path_) {
    if (at.empty() || kind_of(at) != value_kind::object) {
      at = {};
      break;
    }
    const auto members = json::members(at, "");
    at = {};
    if (!members)
      break;
    for (const auto& m : *members)
      if (m.name == name)
        at = json::trim(m.raw);
  }
  if (verb_ == verb::exists)
    return !at.empty() == (values_.front() == "true");
  if (at.empty())
    return verb_ == verb::is_not;
  return compare(at);
}

bool condition::compare(std::string_view value) const {
  const auto is_same = [&](const std::string& wanted) { return same(value, wanted); };
  const auto order = [&] { return order_of(value, values_.front()); };
  switch (verb_) {
    case verb::is: return is_same(values_.front());
    case verb::is_not: return !is_same(values_.front());
    case verb::less: return order().value_or(0) < 0;
    case verb::more: return order().value_or(0) > 0;
    case verb::at_most: return order().value_or(1) <= 0;
    case verb::at_least: return order().value_or(-1) >= 0;
    case verb::one_of: return std::any_of(values_.begin(), values_.end(), is_same);
    case verb::contains: {
      if (kind_of(value) != value_kind::array)
        return false;
      const auto elements = json::elements(value, "");
      return elements
             && std::any_of(elements->begin(), elements->end(), [&](std::string_view each) {
                  return same(json::trim(each), values_.front());
                });
    }
    default: return false;
  }
}

bool filter::wants(const traits& m) const {
  if ((since && m.time < *since) || (until && m.time > *until) || (kind && m.kind != *kind))
    return false;
  if (!topics.empty()
      && std::find_first_of(topics.begin(), topics.end(), m.topics.begin(), m.topics.end())
           == topics.end())
    return false;
  return !metadata || metadata->holds(m.metadata);
}

}  // namespace recalld::memory_space

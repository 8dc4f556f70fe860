#pragma once

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "events/aggregate.hpp"
#include "events/envelope.hpp"
#include "events/json.hpp"

/// What the codecs of the aggregates are written with.
namespace recalld::codec {

/// The writer with our habit of leaving out what says nothing.
struct payload_writer : json::object_writer {
  void count(std::string_view name, std::uint64_t n) {
    if (n != 0)
      num(name, n);
  }
  /// Left out when empty.
  void word(std::string_view name, std::string_view value) {
    if (!value.empty())
      str(name, value);
  }
  void value(std::string_view name, std::string_view json) {
    if (!json.empty())
      raw(name, json);
  }
  /// Left out when zero.
  void time(std::string_view name, time_us_t t) {
    if (t != 0)
      num(name, t);
  }
  void kept(const retention& r) {
    count("keep_entries", r.keep_entries);
    count("ttl_s", r.ttl_s);
  }
  void keys(const json::raw_map& set, const std::vector<std::string>& deleted) {
    if (!set.empty())
      raw("set", json::object_of(set));
    if (!deleted.empty())
      raw("deleted", strings(deleted));
  }
  void stream(std::string_view name, const stream_id& id) {
    std::vector<std::string> words{std::string(to_string(id.kind()))};
    for (auto part : id.parts())
      words.emplace_back(part);
    raw(name, strings(words));
  }

  static std::string strings(const std::vector<std::string>& words) {
    std::string out = "[";
    for (const auto& word : words) {
      if (out.size() > 1)
        out.push_back(',');
      json::append_quoted(out, word);
    }
    out.push_back(']');
    return out;
  }
};

/// A JSON array of texts that are JSON already.
std::string array_text(const std::vector<std::string>& items);
std::string ranges_text(const std::vector<borrowed_range>& ranges);
std::string range_text(const borrowed_range& r);

/// Reads the members of one object; what is missing or of another type is remembered by name.
class payload_reader {
public:
  explicit payload_reader(std::string_view valid) {
    auto members = json::members(valid, "payload");
    if (members)
      members_ = std::move(*members);
    else
      wrong_ = members.error().message;
  }

  bool good() const noexcept { return wrong_.empty(); }
  const std::string& wrong() const noexcept { return wrong_; }

  /// The raw value; empty when there is none.
  std::string_view optional(std::string_view name) const {
    auto m = std::find_if(members_.begin(), members_.end(),
                          [&](const auto& one) { return one.name == name; });
    return m == members_.end() ? std::string_view{} : m->raw;
  }
  std::string_view raw(std::string_view name) {
    auto value = optional(name);
    if (value.empty())
      miss(name);
    return value;
  }
  std::string str(std::string_view name) {
    auto value = json::as_string(raw(name), name);
    if (!value)
      miss(name);
    return value.value_or("");
  }
  template <class Number>
  Number num(std::string_view name) {
    return number<Number>(raw(name), name);
  }
  std::uint64_t count(std::string_view name) {
    auto value = optional(name);
    return value.empty() ? 0 : number<std::uint64_t>(value, name);
  }
  retention kept() { return {count("keep_entries"), count("ttl_s")}; }
  json::raw_map keys(std::string_view name) { return keys_of(raw(name), name); }
  json::raw_map optional_keys(std::string_view name) {
    auto value = optional(name);
    return value.empty() ? json::raw_map{} : keys_of(value, name);
  }
  std::vector<std::string> optional_strings(std::string_view name) {
    auto value = optional(name);
    return value.empty() ? std::vector<std::string>{} : strings_of(value, name);
  }
  stream_id stream(std::string_view name);
  borrowed_range range(std::string_view raw, std::string_view name);
  std::vector<borrowed_range> optional_ranges(std::string_view name);
  std::optional<std::string> optional_str(std::string_view name);
  std::string word(std::string_view name) { return optional_str(name).value_or(std::string()); }
  std::string value(std::string_view name) const { return std::string(optional(name)); }
  time_us_t time(std::string_view name) {
    auto value = optional(name);
    return value.empty() ? 0 : number<time_us_t>(value, name);
  }
  /// Each element of an array of objects, when there is one.
  template <class Read>
  void each(std::string_view name, Read read) {
    auto value = optional(name);
    if (value.empty())
      return;
    auto elements = json::elements(value, name);
    if (!elements) {
      miss(name);
      return;
    }
    for (auto element : *elements) {
      payload_reader one(element);
      read(one);
      join(one, name);
    }
  }
  /// One of an enumeration's words.
  template <class Enum>
  Enum choice(std::string_view name, std::optional<Enum> (*read)(std::string_view)) {
    auto found = read(str(name));
    if (!found)
      miss(name);
    return found.value_or(Enum{});
  }
  bool flag(std::string_view name) { return optional(name) == "true"; }

  /// A member is missing or wrong; the first one counts.
  void miss(std::string_view name) {
    if (good())
      wrong_ = "member `" + std::string(name) + "` is missing or wrong";
  }
  /// Takes over what went wrong further inside.
  void join(const payload_reader& inner, std::string_view name) {
    if (!inner.good())
      miss(name);
  }

private:
  template <class Number>
  Number number(std::string_view raw, std::string_view name) {
    Number n = 0;
    auto [stop, failure] = std::from_chars(raw.data(), raw.data() + raw.size(), n);
    if (failure != std::errc{} || stop != raw.data() + raw.size())
      miss(name);
    return n;
  }
  json::raw_map keys_of(std::string_view raw, std::string_view name) {
    json::raw_map map;
    auto members = json::members(raw, name);
    if (!members) {
      miss(name);
      return map;
    }
    for (auto& m : *members)
      map.emplace(std::move(m.name), m.raw);
    return map;
  }
  std::vector<std::string> strings_of(std::string_view raw, std::string_view name) {
    std::vector<std::string> words;
    auto elements = json::elements(raw, name);
    if (!elements)
      miss(name);
    else
      for (auto element : *elements)
        if (auto word = json::as_string(element, name))
          words.push_back(std::move(*word));
        else
          miss(name);
    return words;
  }
  std::vector<json::member> members_;
  std::string wrong_;
};

/// How an aggregate's facts and state are stored. `types` has one line for each alternative of the
/// variant `fact`, in its order.
template <class Aggregate>
struct format {
  using fact = typename Aggregate::fact;
  using state = typename Aggregate::state;

  struct type {
    std::string_view name;  ///< Static storage.
    recalld::lane lane;
    /// What cannot be read is remembered by the reader.
    fact (*read)(payload_reader& r, const text& payload);
    /// A quicker way for the usual form of a payload; null or false: `read` does it.
    bool (*read_quickly)(const text& payload, fact& into) = nullptr;
  };
  std::span<const type> types;
  std::string (*write)(const fact& f);
  /// The key under which a fact is found, empty for most; null = always empty.
  std::string (*key)(const fact& f, version_t version);
  std::string (*write_state)(const state& s);
  state (*read_state)(payload_reader& r);
};

}  // namespace recalld::codec

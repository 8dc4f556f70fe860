#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "events/ids.hpp"
#include "events/result.hpp"
#include "events/text.hpp"

/// JSON as text: validated once, carried raw, spliced, never turned into a tree on the hot path.
/// No JSON library shows in this header.
namespace recalld::json {

/// Deepest nesting that is accepted anywhere.
inline constexpr std::size_t depth_max = 64;

/// Well-formed UTF-8 (no surrogates, no overlong forms).
bool valid_utf8(std::string_view bytes) noexcept;

/// Accepts exactly one JSON value (RFC 8259): grammar, UTF-8, nesting of at most `depth_max`.
/// Numbers of any size are fine, they are somebody else's. `field` is named in the error.
result<void> validate(std::string_view value, std::string_view field);

/// One member of an object: the unescaped name and the raw text of the value (a slice).
struct member {
  std::string name;
  std::string_view raw;
};

/// The members of an object in their order. The text must have been validated before; anything
/// but an object, and a name that occurs twice, is `invalid`.
result<std::vector<member>> members(std::string_view object, std::string_view field);

/// The raw elements of an array. The text must have been validated before.
result<std::vector<std::string_view>> elements(std::string_view array, std::string_view field);

/// What a raw value is.
enum class kind : std::uint8_t { null, boolean, number, string, array, object };
kind kind_of(std::string_view raw) noexcept;

/// The values of raw scalars; another type is `invalid` with the field's name.
result<std::string> as_string(std::string_view raw, std::string_view field);
/// Whole numbers within ±2^53 only.
result<std::int64_t> as_integer(std::string_view raw, std::string_view field);
result<bool> as_bool(std::string_view raw, std::string_view field);

/// `"…"` with the escapes that JSON needs.
std::string quote(std::string_view plain);
/// Appends `quote(plain)` to `out`.
void append_quoted(std::string& out, std::string_view plain);
/// Without white space around it.
std::string_view trim(std::string_view raw) noexcept;
/// Without insignificant white space; the input must be valid. Same bytes for the same value text.
std::string minify(std::string_view valid);

/// Raw JSON values by key, in key order.
using raw_map = std::map<std::string, std::string, std::less<>>;
/// `{"k":raw,…}` of a map.
std::string object_of(const raw_map& map);
/// A validated object as a map with minified values.
result<raw_map> to_raw_map(std::string_view object, std::string_view field);

/// Builds an object by splicing: `object_writer w; w.str("a","x").raw("b","[1]"); w.done()`.
class object_writer {
public:
  object_writer& raw(std::string_view name, std::string_view value);
  object_writer& str(std::string_view name, std::string_view value);
  object_writer& num(std::string_view name, std::int64_t value);
  object_writer& num(std::string_view name, std::uint64_t value);
  object_writer& boolean(std::string_view name, bool value);
  std::string done() &&;

private:
  static std::string begun() {
    std::string out;
    out.reserve(120);  // Most objects have room in it, and few waste much of it.
    out.push_back('{');
    return out;
  }
  std::string out_ = begun();
};

}  // namespace recalld::json

#include "events/json.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <memory>

#include <simdjson.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace recalld::json {

namespace {

/// A parser and a padded buffer that are used again and again, since both are costly to make.
class validator {
public:
  explicit validator(std::size_t levels) : levels_(levels) {}

  simdjson::error_code operator()(std::string_view value) {
    if (!buffer_ || capacity_ < value.size())
      grow(value.size());
    std::memcpy(buffer_.get(), value.data(), value.size());
    std::memset(buffer_.get() + value.size(), ' ', simdjson::SIMDJSON_PADDING);
    return parser_.parse(buffer_.get(), value.size(), false).error();
  }

private:
  void grow(std::size_t size) {
    capacity_ = std::max<std::size_t>(4096, std::bit_ceil(size));
    buffer_ = std::make_unique<char[]>(capacity_ + simdjson::SIMDJSON_PADDING);
    if (parser_.allocate(capacity_, levels_) != simdjson::SUCCESS)
      capacity_ = 0;
  }

  std::size_t levels_;
  simdjson::dom::parser parser_;
  std::unique_ptr<char[]> buffer_;
  std::size_t capacity_ = 0;
};

/// Larger texts get a parser of their own, so that no thread keeps a huge one for good.
constexpr std::size_t kept_bytes_max = 1 << 20;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

/// Length of a run of digits at the front.
std::size_t digits(std::string_view s) {
  return std::find_if_not(s.begin(), s.end(), is_digit) - s.begin();
}

/// Whether `s` is a number by RFC 8259.
bool is_number(std::string_view s) {
  if (s.starts_with('-'))
    s.remove_prefix(1);
  auto whole = digits(s);
  if (whole == 0 || (whole > 1 && s.front() == '0'))
    return false;
  s.remove_prefix(whole);
  if (s.starts_with('.')) {
    auto fraction = digits(s.substr(1));
    if (fraction == 0)
      return false;
    s.remove_prefix(1 + fraction);
  }
  if (s.starts_with('e') || s.starts_with('E')) {
    s.remove_prefix(1);
    if (s.starts_with('+') || s.starts_with('-'))
      s.remove_prefix(1);
    auto exponent = digits(s);
    if (exponent == 0)
      return false;
    s.remove_prefix(exponent);
  }
  return s.empty();
}

/// Every well-formed number outside strings becomes `0`, so that a parser which refuses numbers
/// it cannot hold can judge the rest. The text keeps its length, and stays wrong where it was.
std::string without_numbers(std::string_view value) {
  std::string out(value);
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (out[i] == '"') {
      for (++i; i < out.size() && out[i] != '"'; ++i)
        if (out[i] == '\\')
          ++i;
    } else if (is_digit(out[i]) || out[i] == '-') {
      auto end = std::min(out.find_first_not_of("0123456789+-.eE", i), out.size());
      if (is_number(value.substr(i, end - i))) {
        std::fill(out.begin() + i, out.begin() + end, ' ');
        out[i] = '0';
      }
      i = end - 1;
    }
  }
  return out;
}

// -- slicing: the text is known to be valid, or at least every read stays inside it --

const char* skip_space(const char* at, const char* end) {
  while (at != end && is_space(*at))
    ++at;
  return at;
}

/// The next `"` or `\` at or behind `at`, or `end`.
const char* find_quote(const char* at, const char* end) {
#ifdef __SSE2__
  const auto quote = _mm_set1_epi8('"');
  const auto slash = _mm_set1_epi8('\\');
  for (; end - at >= 16; at += 16) {
    auto chunk = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    auto hits = static_cast<unsigned>(
      _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(chunk, quote), _mm_cmpeq_epi8(chunk, slash))));
    if (hits != 0)
      return at + std::countr_zero(hits);
  }
#endif
  while (at != end && *at != '"' && *at != '\\')
    ++at;
  return at;
}

/// The next quote or bracket at or behind `at`, or `end`.
const char* find_structure(const char* at, const char* end) {
#ifdef __SSE2__
  // `[` and `{`, like `]` and `}`, differ in one bit.
  const auto bit = _mm_set1_epi8(0x20);
  const auto open = _mm_set1_epi8('{');
  const auto shut = _mm_set1_epi8('}');
  const auto quote = _mm_set1_epi8('"');
  for (; end - at >= 16; at += 16) {
    auto chunk = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    auto folded = _mm_or_si128(chunk, bit);
    auto brackets = _mm_or_si128(_mm_cmpeq_epi8(folded, open), _mm_cmpeq_epi8(folded, shut));
    auto hits = static_cast<unsigned>(
      _mm_movemask_epi8(_mm_or_si128(brackets, _mm_cmpeq_epi8(chunk, quote))));
    if (hits != 0)
      return at + std::countr_zero(hits);
  }
#endif
  while (at != end && *at != '"' && (*at | 0x20) != '{' && (*at | 0x20) != '}')
    ++at;
  return at;
}

/// Behind the string that begins at `at`.
const char* skip_string(const char* at, const char* end) {
  for (at = find_quote(at + 1, end); at != end && *at == '\\';)
    at = end - at > 2 ? find_quote(at + 2, end) : end;
  return at == end ? end : at + 1;
}

/// Behind the object or array that begins at `at`.
const char* skip_container(const char* at, const char* end) {
  std::size_t depth = 0;
  while ((at = find_structure(at, end)) != end) {
    if (*at == '"') {
      at = skip_string(at, end);
      continue;
    }
    if ((*at | 0x20) == '{')
      ++depth;
    else if (--depth == 0)
      return at + 1;
    ++at;
  }
  return end;
}

/// Behind the value that begins at `at`.
const char* skip_value(const char* at, const char* end) {
  if (at == end)
    return end;
  if (*at == '"')
    return skip_string(at, end);
  if (*at == '{' || *at == '[')
    return skip_container(at, end);
  while (at != end && *at != ',' && *at != '}' && *at != ']' && !is_space(*at))
    ++at;
  return at;
}

/// Walks over the parts of one object or array.
struct cursor {
  const char* at;
  const char* end;

  cursor(std::string_view whole) : at(whole.data()), end(at + whole.size()) {
    at = skip_space(at, end);
    if (at != end)
      ++at;
  }
  /// At the beginning of the next part; false when there is none.
  bool next() {
    at = skip_space(at, end);
    if (at != end && *at == ',')
      at = skip_space(at + 1, end);
    return at != end && *at != '}' && *at != ']';
  }
  std::string_view value() {
    at = skip_space(at, end);
    auto begin = at;
    at = skip_value(at, end);
    return {begin, static_cast<std::size_t>(at - begin)};
  }
  void colon() {
    at = skip_space(at, end);
    if (at != end)
      ++at;
  }
};

// -- strings --

void append_utf8(std::string& out, std::uint32_t c) {
  if (c < 0x80) {
    out.push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out.push_back(static_cast<char>(0xc0 | c >> 6));
    out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
  } else if (c < 0x10000) {
    out.push_back(static_cast<char>(0xe0 | c >> 12));
    out.push_back(static_cast<char>(0x80 | (c >> 6 & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
  } else {
    out.push_back(static_cast<char>(0xf0 | c >> 18));
    out.push_back(static_cast<char>(0x80 | (c >> 12 & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (c >> 6 & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3f)));
  }
}

/// Takes `\uXXXX` off the front of `in`.
bool take_unit(std::string_view& in, std::uint32_t& unit) {
  if (in.size() < 6 || in[0] != '\\' || in[1] != 'u')
    return false;
  auto [stop, failure] = std::from_chars(in.data() + 2, in.data() + 6, unit, 16);
  in.remove_prefix(6);
  return failure == std::errc{} && stop == in.data();
}

/// Takes one escape off the front of `in`; false for half of a surrogate pair.
bool take_escape(std::string_view& in, std::string& out) {
  constexpr std::string_view names = "\"\\/bfnrt";
  constexpr std::string_view meant = "\"\\/\b\f\n\r\t";
  if (in.size() < 2)
    return false;
  if (in[1] != 'u') {
    auto which = names.find(in[1]);
    if (which == std::string_view::npos)
      return false;
    out.push_back(meant[which]);
    in.remove_prefix(2);
    return true;
  }
  std::uint32_t unit = 0;
  std::uint32_t low = 0;
  if (!take_unit(in, unit) || (unit & 0xfc00) == 0xdc00)
    return false;
  if ((unit & 0xfc00) == 0xd800) {
    if (!take_unit(in, low) || (low & 0xfc00) != 0xdc00)
      return false;
    unit = 0x10000 + ((unit & 0x3ff) << 10) + (low & 0x3ff);
  }
  append_utf8(out, unit);
  return true;
}

/// What a raw string says; false when it is none.
bool unquote(std::string_view raw, std::string& out) {
  if (raw.size() < 2 || raw.front() != '"' || raw.back() != '"')
    return false;
  auto rest = raw.substr(1, raw.size() - 2);
  while (!rest.empty()) {
    auto plain = std::min(rest.find('\\'), rest.size());
    out.append(rest.substr(0, plain));
    rest.remove_prefix(plain);
    if (!rest.empty() && !take_escape(rest, out))
      return false;
  }
  return true;
}

/// A name that occurs twice, or null.
const std::string* repeated_name(const std::vector<member>& all) {
  if (all.size() <= 16) {
    for (std::size_t i = 1; i < all.size(); ++i)
      for (std::size_t j = 0; j < i; ++j)
        if (all[i].name == all[j].name)
          return &all[i].name;
    return nullptr;
  }
  std::vector<const std::string*> names;
  names.reserve(all.size());
  for (const auto& m : all)
    names.push_back(&m.name);
  auto less = [](auto a, auto b) { return *a < *b; };
  auto same = [](auto a, auto b) { return *a == *b; };
  std::sort(names.begin(), names.end(), less);
  auto twice = std::adjacent_find(names.begin(), names.end(), same);
  return twice == names.end() ? nullptr : *twice;
}

// -- validation --

/// Deepest nesting of brackets outside of strings.
std::size_t nesting(std::string_view value) {
  std::size_t depth = 0;
  std::size_t deepest = 0;
  auto end = value.data() + value.size();
  for (auto at = find_structure(value.data(), end); at != end; at = find_structure(at, end)) {
    if (*at == '"') {
      at = skip_string(at, end);
    } else if ((*at++ | 0x20) == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (depth > 0) {
      --depth;
    }
  }
  return deepest;
}

simdjson::error_code parse(std::string_view value) {
  // simdjson counts the document as a level and empty brackets not at all: what it finds too deep
  // may still be one level below the limit.
  auto problem = simdjson::SUCCESS;
  if (value.size() > kept_bytes_max) {
    problem = validator{depth_max}(value);
  } else {
    thread_local validator kept{depth_max};
    problem = kept(value);
  }
  if (problem == simdjson::DEPTH_ERROR && nesting(value) <= depth_max)
    problem = validator{2 * depth_max}(value);
  return problem;
}

}  // namespace

bool valid_utf8(std::string_view bytes) noexcept {
  return simdjson::validate_utf8(bytes.data(), bytes.size());
}

result<void> validate(std::string_view value, std::string_view field) {
  // A byte order mark is no JSON, although some parsers skip it.
  if (value.starts_with("\xef\xbb\xbf"))
    return fail_field(std::string(field), "is not valid JSON: it begins with a byte order mark");
  auto problem = parse(value);
  if (problem == simdjson::SUCCESS)
    return {};
  if (problem != simdjson::DEPTH_ERROR && problem != simdjson::UTF8_ERROR) {
    // The code for a number that is too big differs between versions of simdjson: ask again
    // without.
    problem = parse(without_numbers(value));
    if (problem == simdjson::SUCCESS)
      return {};
  }
  if (problem == simdjson::DEPTH_ERROR)
    return fail_field(std::string(field), "is nested deeper than 64 levels");
  if (problem == simdjson::UTF8_ERROR)
    return fail_field(std::string(field), "is not valid UTF-8");
  return fail_field(std::string(field),
                    std::string("is not valid JSON: ") + simdjson::error_message(problem));
}

result<std::vector<member>> members(std::string_view object, std::string_view field) {
  if (kind_of(object) != kind::object)
    return fail_field(std::string(field), "must be an object");
  std::vector<member> all;
  all.reserve(16);
  for (cursor c(object); c.next();) {
    member& m = all.emplace_back();
    if (!unquote(c.value(), m.name))
      return fail_field(std::string(field), "has a name that is no valid string");
    c.colon();
    m.raw = c.value();
  }
  if (auto twice = repeated_name(all))
    return fail_field(std::string(field), "has the member `" + *twice + "` twice");
  return all;
}

result<std::vector<std::string_view>> elements(std::string_view array, std::string_view field) {
  if (kind_of(array) != kind::array)
    return fail_field(std::string(field), "must be an array");
  std::vector<std::string_view> all;
  for (cursor c(array); c.next();)
    all.push_back(c.value());
  return all;
}

kind kind_of(std::string_view raw) noexcept {
  auto at = skip_space(raw.data(), raw.data() + raw.size());
  if (at == raw.data() + raw.size())
    return kind::null;
  switch (*at) {
    case '{': return kind::object;
    case '[': return kind::array;
    case '"': return kind::string;
    case 't':
    case 'f': return kind::boolean;
    case 'n': return kind::null;
    default: return kind::number;
  }
}

std::string_view trim(std::string_view raw) noexcept {
  while (!raw.empty() && is_space(raw.front()))
    raw.remove_prefix(1);
  while (!raw.empty() && is_space(raw.back()))
    raw.remove_suffix(1);
  return raw;
}

result<std::string> as_string(std::string_view raw, std::string_view field) {
  std::string out;
  if (!unquote(trim(raw), out))
    return fail_field(std::string(field), "must be a string");
  return out;
}

result<std::int64_t> as_integer(std::string_view raw, std::string_view field) {
  constexpr std::int64_t most = std::int64_t{1} << 53;
  raw = trim(raw);
  std::int64_t n = 0;
  auto [stop, failure] = std::from_chars(raw.data(), raw.data() + raw.size(), n);
  if (raw.empty() || failure != std::errc{} || stop != raw.data() + raw.size() || n > most
      || n < -most)
    return fail_field(std::string(field), "must be a whole number within 2^53");
  return n;
}

result<bool> as_bool(std::string_view raw, std::string_view field) {
  raw = trim(raw);
  if (raw == "true")
    return true;
  if (raw == "false")
    return false;
  return fail_field(std::string(field), "must be true or false");
}

std::string quote(std::string_view plain) {
  std::string out;
  out.reserve(plain.size() + 2);
  append_quoted(out, plain);
  return out;
}

void append_quoted(std::string& out, std::string_view plain) {
  constexpr std::string_view meant = "\"\\\b\f\n\r\t";
  constexpr std::string_view names = "\"\\bfnrt";
  out.push_back('"');
  auto written = plain.begin();
  for (auto at = plain.begin(); at != plain.end(); ++at) {
    if (static_cast<unsigned char>(*at) >= 0x20 && *at != '"' && *at != '\\')
      continue;
    out.append(written, at);
    written = at + 1;
    out.push_back('\\');
    if (auto which = meant.find(*at); which != std::string_view::npos) {
      out.push_back(names[which]);
    } else {
      out.append("u00");
      out.push_back("0123456789abcdef"[*at >> 4]);
      out.push_back("0123456789abcdef"[*at & 0xf]);
    }
  }
  out.append(written, plain.end());
  out.push_back('"');
}

std::string minify(std::string_view valid) {
  std::string out;
  out.reserve(valid.size());
  auto end = valid.data() + valid.size();
  for (auto at = valid.data(); at != end;) {
    auto begin = at;
    if (*at == '"') {
      at = skip_string(at, end);
      out.append(begin, at);
    } else if (!is_space(*at++)) {
      out.push_back(*begin);
    }
  }
  return out;
}

std::string object_of(const raw_map& map) {
  object_writer w;
  for (const auto& [key, value] : map)
    w.raw(key, value);
  return std::move(w).done();
}

result<raw_map> to_raw_map(std::string_view object, std::string_view field) {
  auto all = members(object, field);
  if (!all)
    return fail(std::move(all.error()));
  raw_map map;
  for (auto& m : *all)
    map.emplace(std::move(m.name), minify(m.raw));
  return map;
}

object_writer& object_writer::raw(std::string_view name, std::string_view value) {
  if (out_.size() > 1)
    out_.push_back(',');
  append_quoted(out_, name);
  out_.push_back(':');
  out_.append(value);
  return *this;
}

object_writer& object_writer::str(std::string_view name, std::string_view value) {
  raw(name, {});
  append_quoted(out_, value);
  return *this;
}

object_writer& object_writer::num(std::string_view name, std::int64_t value) {
  char digits[24];
  auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  return raw(name, {digits, static_cast<std::size_t>(end - digits)});
}

object_writer& object_writer::num(std::string_view name, std::uint64_t value) {
  char digits[24];
  auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  return raw(name, {digits, static_cast<std::size_t>(end - digits)});
}

object_writer& object_writer::boolean(std::string_view name, bool value) {
  return raw(name, value ? "true" : "false");
}

std::string object_writer::done() && {
  out_.push_back('}');
  return std::move(out_);
}

}  // namespace recalld::json

#include "events/ids.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>

#include "events/envelope.hpp"
#include "events/json.hpp"

namespace recalld {

namespace {

constexpr time_us_t us_per_s = 1'000'000;

void append_varint(std::string& out, std::uint64_t n) {
  while (n >= 0x80) {
    out.push_back(static_cast<char>((n & 0x7f) | 0x80));
    n >>= 7;
  }
  out.push_back(static_cast<char>(n));
}

/// Takes a varint off the front of `in`; false when it is cut off, too long or not the shortest.
bool take_varint(std::string_view& in, std::uint64_t& n) {
  n = 0;
  for (std::size_t i = 0; i < in.size() && i < 10; ++i) {
    auto byte = static_cast<unsigned char>(in[i]);
    n |= static_cast<std::uint64_t>(byte & 0x7f) << (7 * i);
    if ((byte & 0x80) == 0) {
      in.remove_prefix(i + 1);
      return i == 0 || byte != 0;
    }
  }
  return false;
}

/// Takes the next part off the front of `in`.
bool take_part(std::string_view& in, std::string_view& part) {
  std::uint64_t size = 0;
  if (!take_varint(in, size) || size > in.size())
    return false;
  part = in.substr(0, size);
  in.remove_prefix(size);
  return true;
}

bool known_kind(char byte) { return find_stream_kind(static_cast<stream_kind>(byte)) != nullptr; }

void append_padded(std::string& out, std::int64_t n, int width) {
  char digits[24];
  auto end = std::to_chars(digits, digits + sizeof digits, n).ptr;
  for (auto missing = width - (end - digits); missing > 0; --missing)
    out.push_back('0');
  out.append(digits, end);
}

void append_hex(std::string& out, std::uint64_t n, int digits) {
  for (int shift = (digits - 1) * 4; shift >= 0; shift -= 4)
    out.push_back("0123456789abcdef"[(n >> shift) & 0xf]);
}

/// Takes exactly `width` digits off the front of `in`.
bool take_digits(std::string_view& in, std::size_t width, int& n) {
  if (in.size() < width)
    return false;
  n = 0;
  for (char c : in.substr(0, width)) {
    if (c < '0' || c > '9')
      return false;
    n = n * 10 + (c - '0');
  }
  in.remove_prefix(width);
  return true;
}

bool take_any(std::string_view& in, std::string_view allowed) {
  if (in.empty() || allowed.find(in.front()) == std::string_view::npos)
    return false;
  in.remove_prefix(1);
  return true;
}

/// A fraction's digits as microseconds; what is finer is cut off.
bool take_fraction(std::string_view& in, time_us_t& us) {
  us = 0;
  if (!take_any(in, "."))
    return true;
  std::size_t count = 0;
  for (time_us_t unit = us_per_s / 10; !in.empty() && in.front() >= '0' && in.front() <= '9';
       unit /= 10, ++count) {
    us += unit * (in.front() - '0');
    in.remove_prefix(1);
  }
  return count > 0;
}

bool take_offset(std::string_view& in, time_us_t& us) {
  us = 0;
  if (take_any(in, "Zz"))
    return true;
  auto sign = !in.empty() && in.front() == '-' ? -1 : 1;
  int hours = 0;
  int minutes = 0;
  if (!take_any(in, "+-") || !take_digits(in, 2, hours) || !take_any(in, ":")
      || !take_digits(in, 2, minutes) || hours > 23 || minutes > 59)
    return false;
  us = sign * (hours * 3600LL + minutes * 60LL) * us_per_s;
  return true;
}

}  // namespace

std::span<const stream_kind_row> stream_kinds() {
  using enum stream_kind;
  static const std::vector<stream_kind_row> all{
    {session, "session", {"tenant", "app", "user", "session"}},
    {scope, "scope", {"tenant", "app", "user"}},
    {approval, "approval", {"tenant", "call"}},
    {clarification, "clarification", {"tenant", "question"}},
    {permission, "permission", {"tenant"}},
    {schedule, "schedule", {"tenant", "name"}},
    {effect, "effect", {"tenant", "key"}},
    {memory_space, "memory_space", {"tenant", "app", "user"}},
    {value, "value", {"tenant", "app", "type", "bucket"}},
    {principal, "principal", {"tenant", "principal"}},
    {lineage, "lineage", {"tenant", "lineage"}},
    {summary, "summary", {"tenant", "app", "user", "session"}},
  };
  return all;
}

const stream_kind_row* find_stream_kind(stream_kind kind) noexcept {
  for (const auto& row : stream_kinds())
    if (row.kind == kind)
      return &row;
  return nullptr;
}

std::string_view to_string(stream_kind kind) noexcept {
  const auto* row = find_stream_kind(kind);
  return row == nullptr ? "unknown" : row->name;
}

std::optional<stream_kind> stream_kind_of(std::string_view name) noexcept {
  for (const auto& row : stream_kinds())
    if (row.name == name)
      return row.kind;
  return std::nullopt;
}

const std::string stream_id::none;

stream_id::stream_id(stream_kind kind, std::span<const std::string_view> parts) {
  std::size_t size = 1;
  for (auto part : parts)
    size += part.size() + 2;  // Enough for any id that a caller may give.
  std::string bytes;
  bytes.reserve(size);
  bytes.push_back(static_cast<char>(kind));
  for (auto part : parts) {
    append_varint(bytes, part.size());
    bytes.append(part);
  }
  shared_ = std::make_shared<const content>(std::move(bytes));
}

result<stream_id> stream_id::from_bytes(std::string bytes) {
  std::string_view rest = bytes;
  if (rest.size() < 2 || !known_kind(rest.front()))
    return fail(errc::corrupt, "not a stream id");
  rest.remove_prefix(1);
  for (std::string_view part; !rest.empty();)
    if (!take_part(rest, part))
      return fail(errc::corrupt, "a stream id that is cut off");
  stream_id id;
  id.shared_ = std::make_shared<const content>(std::move(bytes));
  return id;
}

std::vector<std::string_view> stream_id::parts() const {
  std::vector<std::string_view> all;
  if (empty())
    return all;
  all.reserve(4);
  auto rest = std::string_view(bytes()).substr(1);
  for (std::string_view part; !rest.empty() && take_part(rest, part);)
    all.push_back(part);
  return all;
}

std::string to_string(const stream_id& id) {
  if (id.empty())
    return "(no stream)";
  std::string out(to_string(id.kind()));
  char before = ' ';
  for (auto part : id.parts()) {
    out.push_back(before);
    out.append(part);
    before = '/';
  }
  return out;
}

result<void> check_id(std::string_view id, std::string_view field) {
  if (id.empty())
    return fail_field(std::string(field), "must not be empty");
  if (id.size() > id_bytes_max)
    return fail_field(std::string(field), "must have at most 512 bytes");
  if (id.find('\0') != std::string_view::npos)
    return fail_field(std::string(field), "must not contain a NUL byte");
  if (!json::valid_utf8(id))
    return fail_field(std::string(field), "must be valid UTF-8");
  return {};
}

stream_id session_stream(std::string_view tenant, std::string_view app, std::string_view user,
                         std::string_view session) {
  return {stream_kind::session, {tenant, app, user, session}};
}

stream_id app_stream(std::string_view tenant, std::string_view app) {
  return {stream_kind::scope, {tenant, app}};
}

stream_id user_stream(std::string_view tenant, std::string_view app, std::string_view user) {
  return {stream_kind::scope, {tenant, app, user}};
}

std::string uuid_v7(time_us_t now, const entropy& random, std::uint32_t index) {
  auto us = static_cast<std::uint64_t>(std::max<time_us_t>(now, 0));
  // 48 bits of milliseconds; the part of a millisecond in 1/4096 (RFC 9562, section 6.2, method 3);
  // then 61 random bits, to which the index is added without ever overflowing the 62 that it has.
  auto ms = us / 1000 & 0xffff'ffff'ffff;
  auto fraction = (us % 1000) * 4096 / 1000;
  auto tail = ((random[0] ^ random[1]) >> 3) + index;
  std::string out;
  out.reserve(36);
  append_hex(out, ms >> 16, 8);
  out.push_back('-');
  append_hex(out, ms & 0xffff, 4);
  out.push_back('-');
  append_hex(out, 0x7000 | fraction, 4);
  out.push_back('-');
  append_hex(out, 0x8000 | (tail >> 48 & 0x3fff), 4);
  out.push_back('-');
  append_hex(out, tail & 0xffff'ffff'ffff, 12);
  return out;
}

std::string format_time(time_us_t t) {
  using namespace std::chrono;
  sys_time<microseconds> at{microseconds{t}};
  auto day = floor<days>(at);
  year_month_day date{day};
  hh_mm_ss time{at - day};
  std::string out;
  out.reserve(27);
  append_padded(out, static_cast<int>(date.year()), 4);
  out.push_back('-');
  append_padded(out, static_cast<unsigned>(date.month()), 2);
  out.push_back('-');
  append_padded(out, static_cast<unsigned>(date.day()), 2);
  out.push_back('T');
  append_padded(out, time.hours().count(), 2);
  out.push_back(':');
  append_padded(out, time.minutes().count(), 2);
  out.push_back(':');
  append_padded(out, time.seconds().count(), 2);
  out.push_back('.');
  append_padded(out, time.subseconds().count(), 6);
  out.push_back('Z');
  return out;
}

result<time_us_t> parse_time(std::string_view text, std::string_view field) {
  using namespace std::chrono;
  int y = 0, mo = 0, d = 0, h = 0, mi = 0, s = 0;
  time_us_t fraction = 0;
  time_us_t offset = 0;
  bool read = take_digits(text, 4, y) && take_any(text, "-") && take_digits(text, 2, mo)
              && take_any(text, "-") && take_digits(text, 2, d) && take_any(text, "Tt ")
              && take_digits(text, 2, h) && take_any(text, ":") && take_digits(text, 2, mi)
              && take_any(text, ":") && take_digits(text, 2, s) && take_fraction(text, fraction)
              && take_offset(text, offset) && text.empty();
  year_month_day date{year{y}, month{static_cast<unsigned>(mo)}, day{static_cast<unsigned>(d)}};
  if (!read || !date.ok() || h > 23 || mi > 59 || s > 59)
    return fail_field(std::string(field), "must be a time like 2026-11-21T03:45:00.000001Z");
  auto seconds = sys_days{date}.time_since_epoch().count() * 86400LL + h * 3600LL + mi * 60LL + s;
  return seconds * us_per_s + fraction - offset;
}

namespace fact_key {

// entry:  "e" life ":" id                   life in decimal: its colon is the first one
// track:  "t" bytes ":" name version        bytes = length of the name in decimal;
//                                           version as 16 hex digits, so that bytes sort by it

std::string entry(version_t life, std::string_view entry_id) {
  std::string out = "e";
  append_padded(out, static_cast<std::int64_t>(life), 1);
  out.push_back(':');
  out.append(entry_id);
  return out;
}

std::string_view entry_id(std::string_view key) noexcept {
  auto colon = key.find(':');
  if (!key.starts_with('e') || colon == std::string_view::npos)
    return {};
  return key.substr(colon + 1);
}

std::string track_prefix(std::string_view track) {
  std::string out = "t";
  append_padded(out, static_cast<std::int64_t>(track.size()), 1);
  out.push_back(':');
  out.append(track);
  return out;
}

std::string track_item(std::string_view track, version_t version) {
  auto out = track_prefix(track);
  append_hex(out, version, 16);
  return out;
}

}  // namespace fact_key

}  // namespace recalld

#include "api/cursor.hpp"

#include <array>
#include <initializer_list>
#include <optional>

#include "events/ids.hpp"

namespace recalld::api {

namespace {

// cursor := base64url(body checksum)
// body   := format:u8 list:u64 part*
// part   := 0 | 1 number:u64 | 2 length:u32 bytes
// All numbers little endian; checksum is the low 32 bits of FNV-1a over body.
constexpr char format = 1;
constexpr std::size_t cursor_bytes_max = 8192;
constexpr std::string_view alphabet =
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

template <class T>
void put(std::string& out, T number) {
  for (std::size_t i = 0; i < sizeof(T); ++i)
    out.push_back(static_cast<char>(static_cast<std::uint64_t>(number) >> (8 * i)));
}

template <class T>
std::optional<T> take(std::string_view& in) {
  if (in.size() < sizeof(T))
    return std::nullopt;
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    number |= static_cast<std::uint64_t>(static_cast<unsigned char>(in[i])) << (8 * i);
  in.remove_prefix(sizeof(T));
  return static_cast<T>(number);
}

std::string to_base64url(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 4 / 3 + 3);
  std::uint32_t window = 0;
  int bits = 0;
  for (unsigned char byte : bytes) {
    window = window << 8 | byte;
    for (bits += 8; bits >= 6; bits -= 6)
      out.push_back(alphabet[window >> (bits - 6) & 63]);
  }
  if (bits > 0)
    out.push_back(alphabet[window << (6 - bits) & 63]);
  return out;
}

std::optional<std::string> from_base64url(std::string_view text) {
  std::string out;
  std::uint32_t window = 0;
  int bits = 0;
  for (char c : text) {
    const auto value = alphabet.find(c);
    if (value == std::string_view::npos)
      return std::nullopt;
    window = window << 6 | static_cast<std::uint32_t>(value);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out.push_back(static_cast<char>(window >> bits & 255));
    }
  }
  // What is left must be padding of zeros, so that each cursor has one spelling.
  if (bits >= 6 || (window & ((1u << bits) - 1)) != 0)
    return std::nullopt;
  return out;
}

std::uint32_t checksum(std::string_view body) { return static_cast<std::uint32_t>(fnv1a(body)); }

std::optional<std::vector<cursor_part>> read_parts(std::string_view in) {
  std::vector<cursor_part> place;
  while (!in.empty()) {
    const auto tag = take<std::uint8_t>(in);
    if (*tag == 0) {
      place.emplace_back();
    } else if (*tag == 1) {
      const auto number = take<std::uint64_t>(in);
      if (!number)
        return std::nullopt;
      place.emplace_back(static_cast<std::int64_t>(*number));
    } else if (*tag == 2) {
      const auto length = take<std::uint32_t>(in);
      if (!length || *length > in.size())
        return std::nullopt;
      place.emplace_back(std::string(in.substr(0, *length)));
      in.remove_prefix(*length);
    } else {
      return std::nullopt;
    }
  }
  return place;
}

}  // namespace

std::string list_name(std::initializer_list<std::string_view> parts) {
  std::string name;
  for (auto part : parts) {
    put(name, static_cast<std::uint32_t>(part.size()));
    name += part;
  }
  return name;
}

std::string write_cursor(std::string_view list, std::span<const cursor_part> place) {
  std::string body(1, format);
  put(body, fnv1a(list));
  for (const auto& part : place) {
    body.push_back(static_cast<char>(part.index()));
    if (const auto* number = std::get_if<std::int64_t>(&part)) {
      put(body, static_cast<std::uint64_t>(*number));
    } else if (const auto* text = std::get_if<std::string>(&part)) {
      put(body, static_cast<std::uint32_t>(text->size()));
      body += *text;
    }
  }
  put(body, checksum(body));
  return to_base64url(body);
}

result<std::vector<cursor_part>> read_cursor(std::string_view cursor, std::string_view list,
                                             std::string_view field) {
  const auto wrong = [&](std::string why) {
    return fail_field(std::string(field), std::move(why));
  };
  const auto bytes = cursor.size() <= cursor_bytes_max ? from_base64url(cursor) : std::nullopt;
  if (!bytes || bytes->size() < 1 + sizeof(std::uint64_t) + sizeof(std::uint32_t))
    return wrong("this is not a cursor that an answer gave");
  std::string_view rest = *bytes;
  auto tail = rest.substr(rest.size() - sizeof(std::uint32_t));
  const auto body = rest.substr(0, rest.size() - sizeof(std::uint32_t));
  if (take<std::uint32_t>(tail) != checksum(body))
    return wrong("this is not a cursor that an answer gave");
  rest = body;
  if (take<std::uint8_t>(rest) != static_cast<std::uint8_t>(format))
    return wrong("this cursor was given by another release; begin again without it");
  if (take<std::uint64_t>(rest) != fnv1a(list))
    return wrong("this cursor belongs to another list; a cursor goes with the same filters");
  auto place = read_parts(rest);
  if (!place)
    return wrong("this is not a cursor that an answer gave");
  return std::move(*place);
}

}  // namespace recalld::api

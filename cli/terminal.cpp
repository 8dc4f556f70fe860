#include "cli/terminal.hpp"

#include <array>
#include <cstdlib>
#include <cwchar>

#include <locale.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace recalld::cli {

namespace {

/// One code point of `text` at `at`; bytes = 0 when the bytes there are not UTF-8.
struct code_point {
  char32_t value = 0;
  std::size_t bytes = 0;
};

code_point decode(std::string_view text, std::size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  if (lead < 0x80)
    return {lead, 1};
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || at + length > text.size())
    return {};
  char32_t value = lead & (0xFFu >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    const auto next = static_cast<unsigned char>(text[at + i]);
    if ((next & 0xC0) != 0x80)
      return {};
    value = value << 6 | (next & 0x3F);
  }
  constexpr std::array<char32_t, 5> least{0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (value < least[length] || value > 0x10FFFF || surrogate)
    return {};
  return {value, length};
}

/// The C library's table of widths, independent of the user's locale.
std::size_t columns_of(char32_t c) {
  static const locale_t utf8 = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  if (c < 0x80)
    return c < 0x20 || c == 0x7F ? 0 : 1;
  if (utf8 == nullptr)
    return 1;
  const auto before = ::uselocale(utf8);
  const int width = ::wcwidth(static_cast<wchar_t>(c));
  ::uselocale(before);
  return width < 0 ? 1 : static_cast<std::size_t>(width);
}

std::string_view sequence(style s) {
  switch (s) {
    case style::plain: return "";
    case style::bold: return "\x1b[1m";
    case style::dim: return "\x1b[2m";
    case style::red: return "\x1b[31m";
    case style::green: return "\x1b[32m";
    case style::yellow: return "\x1b[33m";
    case style::cyan: return "\x1b[36m";
  }
  return "";
}

void append_escaped(std::string& out, char c) {
  constexpr std::string_view digits = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(c);
  out += "\\x";
  out += digits[byte >> 4];
  out += digits[byte & 0xF];
}

}  // namespace

std::string terminal::paint(style s, std::string_view text) const {
  if (!colour || s == style::plain || text.empty())
    return std::string(text);
  return std::string(sequence(s)) + std::string(text) + "\x1b[0m";
}

terminal inspect(int fd, std::string_view colour) {
  terminal out;
  out.tty = ::isatty(fd) == 1;
  const char* term = std::getenv("TERM");
  const bool dumb = term == nullptr || std::string_view(term) == "dumb";
  const bool unwanted = std::getenv("NO_COLOR") != nullptr || dumb;
  out.colour = colour == "always" || (colour != "never" && out.tty && !unwanted);
  if (out.tty) {
    winsize size{};
    if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
      out.width = size.ws_col;
    else
      out.width = 80;
  }
  return out;
}

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  for (std::size_t at = 0; at < text.size();) {
    const auto c = decode(text, at);
    width += c.bytes == 0 ? 1 : columns_of(c.value);
    at += c.bytes == 0 ? 1 : c.bytes;
  }
  return width;
}

std::string cut_to(std::string_view text, std::size_t width) {
  std::size_t used = 0;
  std::size_t fits = 0;  // bytes that leave room for the ellipsis
  for (std::size_t at = 0; at < text.size();) {
    const auto c = decode(text, at);
    used += c.bytes == 0 ? 1 : columns_of(c.value);
    if (used > width)
      return width == 0 ? std::string() : std::string(text.substr(0, fits)) + "…";
    at += c.bytes == 0 ? 1 : c.bytes;
    if (used < width)
      fits = at;
  }
  return std::string(text);
}

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const auto c = decode(text, at);
    const bool control = c.value < 0x20 || (c.value >= 0x7F && c.value < 0xA0);
    // Direction overrides would let a text rearrange the line that it stands in.
    const bool bidi =
      (c.value >= 0x202A && c.value <= 0x202E) || (c.value >= 0x2066 && c.value <= 0x2069);
    if (c.bytes == 1 && c.value == '\n')
      out += "⏎";
    else if (c.bytes == 1 && c.value == '\t')
      out += ' ';
    else if (c.bytes == 0 || control || bidi)
      for (char byte : text.substr(at, c.bytes == 0 ? 1 : c.bytes))
        append_escaped(out, byte);
    else
      out += text.substr(at, c.bytes);
    at += c.bytes == 0 ? 1 : c.bytes;
  }
  return out;
}

}  // namespace recalld::cli

#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace recalld {

/// A 64-bit checksum of bytes, eight at a time (folded 64x64 multiplication, as in wyhash). Finds
/// flipped and lost bytes; is no protection against an adversary. Stored: never change it.
/// Same value on every little-endian machine.
inline std::uint64_t checksum(std::string_view bytes, std::uint64_t seed) noexcept {
  auto mix = [](std::uint64_t a, std::uint64_t b) noexcept {
    __extension__ using wide = unsigned __int128;
    const wide product = static_cast<wide>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  };
  auto word = [](const char* p) noexcept {
    std::uint64_t w;
    std::memcpy(&w, p, sizeof w);
    return w;
  };
  constexpr std::uint64_t a = 0xa0761d6478bd642full;
  constexpr std::uint64_t b = 0xe7037ed1a0b428dbull;
  auto hash = seed ^ (bytes.size() * b);
  const char* p = bytes.data();
  auto left = bytes.size();
  for (; left >= 16; p += 16, left -= 16)
    hash = mix(word(p) ^ a ^ hash, word(p + 8) ^ b);
  char rest[16] = {};
  if (left > 0)
    std::memcpy(rest, p, left);
  return mix(mix(word(rest) ^ a ^ hash, word(rest + 8) ^ b), a);
}

}  // namespace recalld

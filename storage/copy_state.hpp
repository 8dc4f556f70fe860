#pragma once

#include "storage/store.hpp"

#include <charconv>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// Inside `storage/` only: what an unfinished copy notes of itself in `meta`, under `copying`.
namespace recalld::storage {

struct copy_state {
  std::string source;               ///< Id of the log that is copied.
  std::vector<position_t> through;  ///< How much of each of its shards is there.

  std::string text() const {
    auto out = source;
    for (const auto p : through)
      out += ' ' + std::to_string(p);
    return out;
  }
  static std::optional<copy_state> parse(std::string_view text) {
    copy_state out;
    const auto end = std::min(text.find(' '), text.size());
    out.source = text.substr(0, end);
    for (text.remove_prefix(end); !text.empty();) {
      text.remove_prefix(1);
      const auto digits = std::min(text.find(' '), text.size());
      const auto [stop, bad] =
        std::from_chars(text.data(), text.data() + digits, out.through.emplace_back());
      if (bad != std::errc{} || stop != text.data() + digits)
        return {};
      text.remove_prefix(digits);
    }
    return out;
  }
  /// Whether a copy may go on that noted this; why not otherwise.
  result<void> fits(const log_identity& from, std::size_t shards) const {
    if (source == from.log_id && through.size() == shards)
      return {};
    return fail(errc::conflict, "there is the unfinished copy of another log (" + source + ")");
  }
};

/// The generation of a copy of a log.
inline std::uint64_t next_generation(std::uint64_t after) {
  const auto now = std::chrono::duration_cast<std::chrono::seconds>(
    std::chrono::system_clock::now().time_since_epoch());
  return std::max(after + 1, static_cast<std::uint64_t>(now.count()));
}

}  // namespace recalld::storage

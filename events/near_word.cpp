#include "events/near_word.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

namespace recalld {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0u : 1u)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> known) {
  std::string_view best;
  auto least = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const auto candidate : known) {
    auto distance = edit_distance(word, candidate);
    if (const auto dot = candidate.rfind('.'); dot != std::string_view::npos)
      distance = std::min(distance, edit_distance(word, candidate.substr(dot + 1)) + 1);
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace recalld

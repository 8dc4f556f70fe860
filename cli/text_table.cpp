#include "cli/text_table.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>

#include <fmt/format.h>

namespace recalld::cli {

namespace {

constexpr std::size_t gap = 2;
constexpr std::size_t narrowest = 8;

}  // namespace

text_table::text_table(std::vector<column> columns) : columns_(std::move(columns)) {}

void text_table::add(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  for (auto& cell : cells)
    cell = printable(cell);
  rows_.push_back(std::move(cells));
}

std::vector<std::size_t> text_table::widths(const terminal& out) const {
  std::vector<std::size_t> width;
  for (const auto& c : columns_)
    width.push_back(display_width(c.title));
  for (const auto& row : rows_)
    for (std::size_t i = 0; i < row.size(); ++i)
      width[i] = std::max(width[i], display_width(row[i]));
  if (out.width == 0)
    return width;
  auto total = std::accumulate(width.begin(), width.end(), gap * (width.size() - 1));
  while (total > out.width) {
    std::size_t widest = columns_.size();
    for (std::size_t i = 0; i < columns_.size(); ++i)
      if (columns_[i].shrinks && width[i] > narrowest
          && (widest == columns_.size() || width[i] > width[widest]))
        widest = i;
    if (widest == columns_.size())
      break;
    --width[widest];
    --total;
  }
  return width;
}

std::string text_table::render(const terminal& out) const {
  const auto width = widths(out);
  std::string text;
  const auto line = [&](const auto& cell_of, bool header) {
    std::string row;
    std::size_t owed = 0;  // spaces that are written only when something follows them
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const auto cell = cut_to(cell_of(i), width[i]);
      const auto room = width[i] - std::min(width[i], display_width(cell));
      const bool right = columns_[i].side == align::right;
      owed += right ? room : 0;
      if (!cell.empty()) {
        row.append(owed, ' ');
        owed = 0;
        row += out.paint(header ? style::bold : columns_[i].paint, cell);
      }
      owed += (right ? 0 : room) + gap;
    }
    text += row;
    text += '\n';
  };
  line([&](std::size_t i) -> const std::string& { return columns_[i].title; }, true);
  for (const auto& row : rows_)
    line([&](std::size_t i) -> const std::string& { return row[i]; }, false);
  return text;
}

std::string grouped(std::uint64_t n) {
  auto digits = std::to_string(n);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<std::size_t>(at), 1, ',');
  return digits;
}

std::string human_bytes(std::uint64_t bytes) {
  constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, units[unit]);
}

}  // namespace recalld::cli

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/terminal.hpp"

namespace recalld::cli {

/// Rows for a person. Columns are as wide as their widest cell; where the terminal is narrower, the
/// columns that may shrink give way, widest first, and cut cells end with `…`.
class text_table {
public:
  enum class align { left, right };
  struct column {
    std::string title;
    align side = align::left;
    bool shrinks = false;  ///< May be cut to fit the terminal.
    style paint = style::plain;
  };

  explicit text_table(std::vector<column> columns);

  /// Cells are made printable; missing ones are empty.
  void add(std::vector<std::string> cells);
  bool empty() const noexcept { return rows_.empty(); }
  std::size_t size() const noexcept { return rows_.size(); }

  /// Every line ends with a line feed.
  std::string render(const terminal& out) const;

private:
  std::vector<std::size_t> widths(const terminal& out) const;

  std::vector<column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

/// `1234567` as `1,234,567`.
std::string grouped(std::uint64_t n);
/// Bytes as `1.5 MiB`.
std::string human_bytes(std::uint64_t bytes);

}  // namespace recalld::cli

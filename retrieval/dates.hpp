#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

/// Dates that a text names. Pure; English month names, ISO dates, and Chinese/Japanese 年月日.
namespace recalld::retrieval {

/// Whole days since 1970-01-01, both inclusive.
struct day_range {
  std::int64_t first = 0;
  std::int64_t last = 0;
  friend bool operator==(const day_range&, const day_range&) = default;
};

/// A month or day without its year.
struct yearless {
  int month = 0;
  int day = 0;  ///< 0 = the whole month.
  friend bool operator==(const yearless&, const yearless&) = default;
};

struct named_dates {
  std::vector<day_range> ranges;   ///< A day, month or year that was named in full.
  std::vector<yearless> any_year;  ///< "in July", "on the 4th of July".
  bool empty() const { return ranges.empty() && any_year.empty(); }
};

/// "7 May 2023", "May 7th, 2023", "2023-05-07", "May 2023", "in May", "in 2023".
named_dates dates_in(std::string_view text);

/// Days between `day` and the nearest of the dates; 0 when it lies in one of them.
/// Undefined when `dates.empty()`.
std::int64_t days_from(const named_dates& dates, std::int64_t day);

}  // namespace recalld::retrieval

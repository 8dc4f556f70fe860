#include "retrieval/dates.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <limits>
#include <optional>
#include <string>

#include "retrieval/words.hpp"

namespace recalld::retrieval {

namespace {

using namespace std::chrono;

std::int64_t day_number(int y, int m, int d) {
  return sys_days(year(y) / month(static_cast<unsigned>(m)) / day(static_cast<unsigned>(d)))
    .time_since_epoch()
    .count();
}

bool exists(int y, int m, int d) {
  return (year(y) / month(static_cast<unsigned>(m)) / day(static_cast<unsigned>(d))).ok();
}

int days_in(int y, int m) {
  return static_cast<int>(
    static_cast<unsigned>((year(y) / month(static_cast<unsigned>(m)) / last).day()));
}

/// 1…12; 0 = not the name of a month. `full`: abbreviations do not count.
int month_of(std::string_view word) {
  static constexpr std::array<std::string_view, 12> names = {
    "january", "february", "march",     "april",   "may",      "june",
    "july",    "august",   "september", "october", "november", "december"};
  for (std::size_t i = 0; i < names.size(); ++i)
    if (word == names[i] || (word.size() == 3 && names[i].starts_with(word))
        || (i == 8 && word == "sept"))
      return static_cast<int>(i) + 1;
  return 0;
}

std::optional<int> number_of(std::string_view word) {
  for (std::string_view ending : {"st", "nd", "rd", "th"})
    if (word.size() > 2 && word.ends_with(ending)) {
      word.remove_suffix(2);
      break;
    }
  int n = 0;
  auto [stop, failure] = std::from_chars(word.data(), word.data() + word.size(), n);
  if (failure != std::errc{} || stop != word.data() + word.size())
    return std::nullopt;
  return n;
}

bool is_year(std::optional<int> n, std::string_view word) {
  return n && word.size() == 4 && *n >= 1900 && *n < 2100;
}

struct reading {
  const std::vector<std::string>& words;
  named_dates out;

  std::string_view at(std::size_t i) const {
    return i < words.size() ? std::string_view(words[i]) : std::string_view{};
  }
  std::optional<int> day_at(std::size_t i) const {
    auto n = number_of(at(i));
    return n && *n >= 1 && *n <= 31 ? n : std::nullopt;
  }
  std::optional<int> year_at(std::size_t i) const {
    auto n = number_of(at(i));
    return is_year(n, at(i)) ? n : std::nullopt;
  }

  void add(std::optional<int> y, int m, int d) {
    if (!y)
      out.any_year.push_back({m, d});
    else if (d == 0)
      out.ranges.push_back({day_number(*y, m, 1), day_number(*y, m, days_in(*y, m))});
    else if (exists(*y, m, d))
      out.ranges.push_back({day_number(*y, m, d), day_number(*y, m, d)});
  }

  /// A date around the month's name at `i`; returns how many words behind it belong to it.
  std::size_t around_month(std::size_t i, int m) {
    // "7 may 2023", "7th of may"
    std::optional<int> before;
    if (i > 0)
      before = day_at(at(i - 1) == "of" && i > 1 ? i - 2 : i - 1);
    if (before) {
      auto y = year_at(i + 1);
      add(y, m, *before);
      return y ? 1 : 0;
    }
    // "may 7 2023", "may 2023"
    if (auto y = year_at(i + 1)) {
      add(y, m, 0);
      return 1;
    }
    if (auto d = day_at(i + 1)) {
      auto y = year_at(i + 2);
      add(y, m, *d);
      return y ? 2 : 1;
    }
    // "march" and "may" are words of their own: only behind a word that asks for a time.
    const auto previous = i > 0 ? at(i - 1) : std::string_view{};
    static constexpr std::array<std::string_view, 14> leads = {
      "in",   "during", "since", "until", "by",   "of",     "last",
      "this", "early",  "late",  "mid",   "next", "before", "after"};
    if ((m != 3 && m != 5 && at(i).size() > 3)
        || std::find(leads.begin(), leads.end(), previous) != leads.end())
      add(std::nullopt, m, 0);
    return 0;
  }

  void read() {
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (auto m = month_of(words[i])) {
        i += around_month(i, m);
        continue;
      }
      auto y = year_at(i);
      if (!y)
        continue;
      // 2023-05-07: three numbers in a row.
      auto m = number_of(at(i + 1));
      auto d = day_at(i + 2);
      if (m && *m >= 1 && *m <= 12 && d && at(i + 1).size() <= 2 && at(i + 2).size() <= 2) {
        add(y, *m, *d);
        i += 2;
      } else {
        out.ranges.push_back({day_number(*y, 1, 1), day_number(*y, 12, 31)});
      }
    }
  }
};

std::int64_t gap(const day_range& r, std::int64_t day) {
  return day < r.first ? r.first - day : day > r.last ? day - r.last : 0;
}

}  // namespace

named_dates dates_in(std::string_view text) {
  // Signs between numbers of 年月日 become blanks, so that the numbers stand in a row.
  std::string spaced(text);
  for (std::string_view sign : {"年", "月", "日", "년", "월", "일"})
    for (std::size_t at = 0; (at = spaced.find(sign, at)) != std::string::npos;)
      if (at > 0 && spaced[at - 1] >= '0' && spaced[at - 1] <= '9')
        spaced.replace(at, sign.size(), " ");
      else
        at += sign.size();
  const auto words = plain_words(spaced);
  reading r{words, {}};
  r.read();
  return std::move(r.out);
}

std::int64_t days_from(const named_dates& dates, std::int64_t day) {
  auto least = std::numeric_limits<std::int64_t>::max();
  for (const auto& r : dates.ranges)
    least = std::min(least, gap(r, day));
  const int y = static_cast<int>(year_month_day(sys_days(days(day))).year());
  for (const auto& d : dates.any_year)
    for (int around = y - 1; around <= y + 1; ++around) {
      if (d.day == 0)
        least = std::min(least, gap({day_number(around, d.month, 1),
                                     day_number(around, d.month, days_in(around, d.month))},
                                    day));
      else if (exists(around, d.month, d.day))
        least = std::min(
          least,
          gap({day_number(around, d.month, d.day), day_number(around, d.month, d.day)}, day));
    }
  return least;
}

}  // namespace recalld::retrieval

#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "events/ids.hpp"
#include "events/result.hpp"
#include "events/zones.hpp"

/// When a schedule runs. Pure.
namespace recalld::cron {

/// An expression: five fields (minute, hour, day of month, month, day of week), six with seconds in
/// front, a macro (`@yearly`, `@annually`, `@monthly`, `@weekly`, `@daily`, `@midnight`, `@hourly`),
/// or `@every` with a duration (`90s`, `5m`, `1h30m`, `2d`).
///
/// A field is a list of `*`, `?` (the same in the day fields), numbers, names (`jan`, `mon`, in any
/// case), ranges, and steps behind them (`*/15`, `10-40/5`, `7/10` = from 7 on). Day of week is 0–7,
/// 0 and 7 are Sunday; `5#2` is the second Friday, `5L` the last, `L` in day of month the last day.
/// Both day fields restricted mean OR; a field that begins with `*` or `?` is not restricted
/// (crontab(5)).
///
/// Times of the wall clock: one that the clock leaps over is run once, right behind the leap; one
/// that is shown twice is run the first time only. Expressions for every hour follow elapsed time
/// instead: they run whenever the wall clock shows a matching time.
struct expression {
  std::bitset<60> seconds;
  std::bitset<60> minutes;
  std::bitset<24> hours;
  std::bitset<32> days;     ///< 1–31.
  bool last_day = false;    ///< The last day of the month.
  std::bitset<13> months;   ///< 1–12.
  std::bitset<7> weekdays;  ///< 0 = Sunday.
  std::array<std::uint8_t, 7>
    nth{};                   ///< By weekday: bits 1–5 = the n-th of the month, 6 = the last.
  bool any_day = true;       ///< Day of month is not restricted.
  bool any_weekday = true;   ///< Day of week is not restricted.
  std::int64_t every_s = 0;  ///< > 0: so many seconds after the anchor, again and again.

  bool every_hour() const noexcept { return hours.all(); }
  friend bool operator==(const expression&, const expression&) = default;
};

/// `invalid` with `field` when it is not an expression, has a step of zero, or can never run
/// (30 February).
result<expression> parse(std::string_view text, std::string_view field);

/// The first run after `after`, in microseconds since 1970; nothing when none comes within a
/// hundred years, or the zone is not known. `anchor` is where `@every` counts from.
std::optional<time_us_t> next(const expression& e, std::string_view zone, const zone_rules* zones,
                              time_us_t after, time_us_t anchor);

}  // namespace recalld::cron

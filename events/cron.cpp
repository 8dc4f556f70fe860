#include "events/cron.hpp"

#include <algorithm>
#include <chrono>
#include <limits>

namespace recalld::cron {

namespace {

using std::chrono::day;
using std::chrono::days;
using std::chrono::month;
using std::chrono::sys_days;
using std::chrono::weekday;
using std::chrono::year;
using std::chrono::year_month_day;

constexpr std::int64_t day_s = 86'400;
constexpr time_us_t us_per_s = 1'000'000;
// The calendar repeats after 400 years; the longest wait within it is 40 (a fifth Sunday on the
// 29th of February).
constexpr int search_years = 100;
constexpr std::int64_t every_s_max = 366 * day_s;

constexpr std::string_view month_names[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                            "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::string_view weekday_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

std::string lower(std::string_view text) {
  std::string out(text);
  for (auto& c : out)
    if (c >= 'A' && c <= 'Z')
      c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::vector<std::string_view> split(std::string_view text, std::string_view by) {
  std::vector<std::string_view> parts;
  for (std::size_t at = 0; at <= text.size();) {
    auto stop = std::min(text.find_first_of(by, at), text.size());
    parts.push_back(text.substr(at, stop - at));
    at = stop + 1;
  }
  return parts;
}

std::vector<std::string_view> words_of(std::string_view text) {
  auto words = split(text, " \t");
  std::erase(words, std::string_view());
  return words;
}

std::optional<int> number(std::string_view digits) {
  if (digits.empty() || digits.size() > 9)
    return std::nullopt;
  int n = 0;
  for (char c : digits) {
    if (c < '0' || c > '9')
      return std::nullopt;
    n = n * 10 + (c - '0');
  }
  return n;
}

/// What a field may hold.
struct field_kind {
  std::string_view name;
  int low;
  int high;
  std::span<const std::string_view> names{};
  int first_name = 0;
};
constexpr field_kind kinds[] = {
  {"second", 0, 59},
  {"minute", 0, 59},
  {"hour", 0, 23},
  {"day of month", 1, 31},
  {"month", 1, 12, month_names, 1},
  {"day of week", 0, 7, weekday_names, 0},
};

/// Reads one expression; what is wrong is told with the part of it.
class parser {
public:
  explicit parser(std::string_view field) : field_(field) {}

  result<expression> all(std::string_view text) {
    auto words = words_of(text);
    if (words.size() == 5)
      words.insert(words.begin(), "0");
    if (words.size() != 6)
      return wrong("must have 5 fields, or 6 with seconds, or begin with @");
    expression e;
    for (std::size_t i = 0; i < 6; ++i)
      if (auto read = one(kinds[i], lower(words[i]), e); !read)
        return fail(std::move(read.error()));
    e.any_day = words[3][0] == '*' || words[3][0] == '?';
    e.any_weekday = words[5][0] == '*' || words[5][0] == '?';
    return e;
  }

  result<expression> every(std::string_view duration) const {
    std::int64_t sum = 0;
    std::string_view rest = duration;
    while (!rest.empty()) {
      const auto unit = rest.find_first_not_of("0123456789");
      const auto n = number(rest.substr(0, std::min(unit, rest.size())));
      if (!n || unit == std::string_view::npos)
        return wrong("@every needs a duration such as 90s, 5m or 1h30m");
      std::int64_t scale = 0;
      switch (rest[unit]) {
        case 's': scale = 1; break;
        case 'm': scale = 60; break;
        case 'h': scale = 3'600; break;
        case 'd': scale = day_s; break;
        default: return wrong("@every knows the units s, m, h and d");
      }
      sum += *n * scale;
      rest.remove_prefix(unit + 1);
    }
    if (sum < 1 || sum > every_s_max)
      return wrong("@every must be from 1s to 366d");
    expression e;
    e.every_s = sum;
    return e;
  }

  tl::unexpected<error> wrong(std::string message) const {
    return fail_field(std::string(field_), std::move(message));
  }

private:
  result<int> value(const field_kind& kind, std::string_view word) const {
    for (std::size_t i = 0; i < kind.names.size(); ++i)
      if (kind.names[i] == word)
        return kind.first_name + static_cast<int>(i);
    const auto n = number(word);
    if (!n || *n < kind.low || *n > kind.high)
      return wrong(std::string(kind.name) + ": \"" + std::string(word) + "\" is not from "
                   + std::to_string(kind.low) + " to " + std::to_string(kind.high)
                   + (kind.names.empty() ? "" : " or a name"));
    return *n;
  }

  result<void> one(const field_kind& kind, std::string_view text, expression& e) const {
    for (auto item : split(text, ","))
      if (auto read = part(kind, item, e); !read)
        return read;
    return {};
  }

  result<void> part(const field_kind& kind, std::string_view item, expression& e) const {
    if (item.empty())
      return wrong(std::string(kind.name) + " is empty");
    const bool of_month = &kind == &kinds[3];
    const bool of_week = &kind == &kinds[5];
    if (of_month && item == "l") {
      e.last_day = true;
      return {};
    }
    if (of_week && item == "l") {
      e.weekdays.set(6);
      return {};
    }
    if (of_week && (item.find('#') != item.npos || (item.size() > 1 && item.back() == 'l')))
      return nth(kind, item, e);
    auto halves = split(item, "/");
    int step = 1;
    if (halves.size() > 2)
      return wrong(std::string(kind.name) + " has two steps");
    if (halves.size() == 2) {
      const auto n = number(halves[1]);
      if (!n || *n > kind.high)
        return wrong(std::string(kind.name) + " has a step that is no number, or is too great");
      if (*n == 0)
        return wrong(std::string(kind.name) + " has a step of zero");
      step = *n;
    }
    int from = kind.low;
    int to = of_week ? 6 : kind.high;
    if (halves[0] != "*" && !((of_month || of_week) && halves[0] == "?")) {
      auto ends = split(halves[0], "-");
      if (ends.size() > 2)
        return wrong(std::string(kind.name) + " has a range with three ends");
      auto first = value(kind, ends[0]);
      if (!first)
        return fail(std::move(first.error()));
      from = *first;
      if (ends.size() == 2) {
        auto last = value(kind, ends[1]);
        if (!last)
          return fail(std::move(last.error()));
        to = *last;
        if (of_week && to == 0 && from > 0)
          to = 7;  // fri-sun
      } else if (halves.size() == 1) {
        to = from;
      } else if (of_week && from == 7) {
        to = 7;
      }
      if (to < from)
        return wrong(std::string(kind.name) + ": the range " + std::string(halves[0])
                     + " runs backwards");
    }
    for (int n = from; n <= to; n += step)
      set(kind, n, e);
    return {};
  }

  result<void> nth(const field_kind& kind, std::string_view item, expression& e) const {
    const auto mark = item.find('#');
    const bool last = mark == item.npos;
    auto which = value(kind, last ? item.substr(0, item.size() - 1) : item.substr(0, mark));
    if (!which)
      return fail(std::move(which.error()));
    const auto rest = last ? std::string_view("l") : item.substr(mark + 1);
    const auto n = rest == "l" ? std::optional<int>(6) : number(rest);
    if (!n || *n < 1 || *n > (rest == "l" ? 6 : 5))
      return wrong("day of week: # must be followed by 1 to 5, or L");
    auto& bits = e.nth[static_cast<std::size_t>(*which % 7)];
    bits = static_cast<std::uint8_t>(bits | 1u << *n);
    return {};
  }

  static void set(const field_kind& kind, int n, expression& e) {
    const auto at = static_cast<std::size_t>(n);
    switch (&kind - kinds) {
      case 0: e.seconds.set(at); break;
      case 1: e.minutes.set(at); break;
      case 2: e.hours.set(at); break;
      case 3: e.days.set(at); break;
      case 4: e.months.set(at); break;
      default: e.weekdays.set(at % 7); break;
    }
  }

  std::string_view field_;
};

int days_in(year y, month m) {
  return static_cast<int>(static_cast<unsigned>((y / m / std::chrono::last).day()));
}

bool matches_day(const expression& e, year_month_day date, unsigned of_week) {
  const auto d = static_cast<int>(static_cast<unsigned>(date.day()));
  const auto length = days_in(date.year(), date.month());
  const bool in_month = e.days.test(static_cast<std::size_t>(d)) || (e.last_day && d == length);
  const auto bits = e.nth[of_week];
  const bool in_week =
    e.weekdays.test(of_week) || (bits >> ((d + 6) / 7) & 1) || ((bits >> 6 & 1) && d + 7 > length);
  return e.any_day || e.any_weekday ? in_month && in_week : in_month || in_week;
}

/// The first bit at or behind `from`; the size when there is none.
template <std::size_t N>
std::size_t first_from(const std::bitset<N>& bits, std::size_t from) {
  while (from < N && !bits.test(from))
    ++from;
  return from;
}

/// The first second of a day that matches, at or behind `from`; -1 = none.
std::int64_t first_in_day(const expression& e, std::int64_t from) {
  auto h = static_cast<std::size_t>(from / 3'600);
  auto m = static_cast<std::size_t>(from / 60 % 60);
  auto s = static_cast<std::size_t>(from % 60);
  for (auto hour = first_from(e.hours, h); hour < 24; hour = first_from(e.hours, hour + 1)) {
    if (hour != h)
      m = s = 0;
    for (auto minute = first_from(e.minutes, m); minute < 60;
         minute = first_from(e.minutes, minute + 1)) {
      if (hour != h || minute != static_cast<std::size_t>(from / 60 % 60))
        s = 0;
      if (const auto second = first_from(e.seconds, s); second < 60)
        return static_cast<std::int64_t>(hour * 3'600 + minute * 60 + second);
    }
    m = s = 0;
  }
  return -1;
}

std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

/// The first time of the wall clock at or behind `from` that matches, both as seconds since 1970 on
/// that clock.
std::optional<std::int64_t> next_local(const expression& e, std::int64_t from) {
  auto date = sys_days{days{floor_div(from, day_s)}};
  auto within = from - floor_div(from, day_s) * day_s;
  const auto end_year = year_month_day{date}.year() + std::chrono::years{search_years};
  for (;;) {
    const year_month_day ymd{date};
    if (ymd.year() > end_year)
      return std::nullopt;
    if (!e.months.test(static_cast<unsigned>(ymd.month()))) {
      date = sys_days{ymd.year() / ymd.month() / std::chrono::last} + days{1};
      within = 0;
      continue;
    }
    if (matches_day(e, ymd, weekday{date}.c_encoding()))
      if (const auto s = first_in_day(e, within); s >= 0)
        return std::int64_t{date.time_since_epoch().count()} * day_s + s;
    date += days{1};
    within = 0;
  }
}

/// A zone's clock; UTC needs no rules.
class wall_clock {
public:
  wall_clock(std::string_view zone, const zone_rules* zones) : zone_(zone), zones_(zones) {}

  std::optional<zone_rules::period> at(std::int64_t utc) const {
    if (zone_ == "UTC" || zone_.empty())
      return zone_rules::period{std::numeric_limits<std::int64_t>::min(),
                                std::numeric_limits<std::int64_t>::max(), 0};
    return zones_ == nullptr ? std::nullopt : zones_->find(zone_, utc);
  }

  /// The moment that a time of the wall clock means: the first of two, or the end of the leap that
  /// leaves it out.
  std::optional<std::int64_t> moment(std::int64_t local) const {
    // No clock is a whole day ahead of UTC or behind it.
    auto p = at(local - day_s);
    while (p) {
      if (local - p->offset < p->end)
        return std::max(local - p->offset, p->begin);
      p = at(p->end);
    }
    return std::nullopt;
  }

private:
  std::string_view zone_;
  const zone_rules* zones_;
};

/// Whenever the clock shows a matching time.
std::optional<std::int64_t> next_elapsed(const expression& e, const wall_clock& clock,
                                         std::int64_t after) {
  auto from = after + 1;
  auto p = clock.at(from);
  while (p) {
    const auto local = next_local(e, from + p->offset);
    if (!local)
      return std::nullopt;
    if (*local - p->offset < p->end)
      return *local - p->offset;
    from = p->end;
    p = clock.at(from);
  }
  return std::nullopt;
}

std::optional<std::int64_t> next_shown(const expression& e, const wall_clock& clock,
                                       std::int64_t after) {
  const auto p = clock.at(after);
  if (!p)
    return std::nullopt;
  // The moments of times in order are in order themselves, so the first one behind `after` is it.
  auto local = next_local(e, after + p->offset);
  while (local) {
    const auto moment = clock.moment(*local);
    if (!moment || *moment > after)
      return moment;
    local = next_local(e, *local + 1);
  }
  return std::nullopt;
}

std::optional<std::string_view> macro(std::string_view word) {
  static constexpr std::pair<std::string_view, std::string_view> macros[] = {
    {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
    {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
    {"@hourly", "0 * * * *"},
  };
  for (const auto& [name, means] : macros)
    if (name == word)
      return means;
  return std::nullopt;
}

}  // namespace

result<expression> parse(std::string_view text, std::string_view field) {
  parser read(field);
  if (text.size() > 512)
    return read.wrong("must have at most 512 bytes");
  const auto words = words_of(text);
  if (words.empty())
    return read.wrong("must not be empty");
  const auto first = lower(words[0]);
  if (first == "@every")
    return words.size() == 2 ? read.every(lower(words[1]))
                             : read.wrong("@every needs one duration such as 90s");
  if (first.starts_with('@')) {
    const auto means = words.size() == 1 ? macro(first) : std::nullopt;
    return means ? read.all(*means) : read.wrong("there is no macro \"" + first + "\"");
  }
  auto e = read.all(text);
  // From a year of the last cycle on, every date that there can be is met.
  if (e && !next_local(*e, 0))
    return read.wrong("can never run: there is no such date");
  return e;
}

std::optional<time_us_t> next(const expression& e, std::string_view zone, const zone_rules* zones,
                              time_us_t after, time_us_t anchor) {
  if (e.every_s > 0) {
    const auto step = e.every_s * us_per_s;
    const auto count = after < anchor ? 1 : (after - anchor) / step + 1;
    return anchor + count * step;
  }
  const wall_clock clock(zone, zones);
  const auto from = floor_div(after, us_per_s);
  const auto at = e.every_hour() ? next_elapsed(e, clock, from) : next_shown(e, clock, from);
  if (!at)
    return std::nullopt;
  return *at * us_per_s;
}

}  // namespace recalld::cron

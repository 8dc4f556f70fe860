#include "events/cron.hpp"

#include <chrono>
#include <random>

#include <date/tz.h>

#include "tests/catch.hpp"
#include "tests/events/given_zones.hpp"

namespace recalld {

namespace {

using namespace std::chrono;

const testing::plain_zones zones;

time_us_t at(std::string_view text) { return parse_time(text, "").value(); }

std::string after(std::string_view expression, std::string_view zone, std::string_view when) {
  const auto e = cron::parse(expression, "expression");
  REQUIRE(e.has_value());
  const auto t = cron::next(*e, zone, &zones, at(when), at("2024-01-01T00:00:00Z"));
  return t ? format_time(*t).substr(0, 19) : "never";
}

/// Minute by minute: what the wall clock shows is compared with the fields, slowly and without any
/// of the code above.
class oracle {
public:
  oracle(const cron::expression& e, std::string_view zone)
    : e_(e), zone_(date::locate_zone(std::string(zone))) {}

  std::optional<std::int64_t> next(std::int64_t after, std::int64_t until) const {
    for (auto t = (after / 60 + 1) * 60; t <= until; t += 60) {
      const auto now = info(t);
      const auto local = t + now.offset.count();
      if (e_.hours.all()) {
        if (shows(local))
          return t;
        continue;
      }
      const auto before = info(t - 60);
      const auto shift = (now.offset - before.offset).count();
      if (shift > 0)  // Leapt over: whatever would have been shown runs now.
        for (auto m = local - shift; m < local; m += 60)
          if (shows(m))
            return t;
      if (shows(local) && !shown_before(t, local))
        return t;
    }
    return std::nullopt;
  }

private:
  date::sys_info info(std::int64_t t) const {
    return zone_->get_info(date::sys_seconds{seconds{t}});
  }

  bool shown_before(std::int64_t t, std::int64_t local) const {
    for (auto back = t - 60; back > t - 4 * 3'600; back -= 60)
      if (back + info(back).offset.count() == local)
        return true;
    return false;
  }

  bool shows(std::int64_t local) const {
    const auto day = floor<days>(sys_seconds{seconds{local}});
    const year_month_day d{day};
    const auto of_day = static_cast<std::size_t>(local - day.time_since_epoch().count() * 86'400);
    if (!e_.minutes.test(of_day / 60 % 60) || !e_.hours.test(of_day / 3'600)
        || !e_.months.test(static_cast<unsigned>(d.month())))
      return false;
    const bool m = e_.days.test(static_cast<unsigned>(d.day()));
    const bool w = e_.weekdays.test(weekday{day}.c_encoding());
    return e_.any_day || e_.any_weekday ? m && w : m || w;
  }

  const cron::expression& e_;
  const date::time_zone* zone_;
};

}  // namespace

TEST_CASE("expressions come due when they say", "[cron]") {
  const auto t = "2026-11-21T10:07:30Z";  // A Saturday.
  CHECK(after("* * * * *", "UTC", t) == "2026-11-21T10:08:00");
  CHECK(after("*/15 * * * *", "UTC", t) == "2026-11-21T10:15:00");
  CHECK(after("30 9 * * mon-fri", "UTC", t) == "2026-11-23T09:30:00");
  CHECK(after("*/10 * * * * *", "UTC", t) == "2026-11-21T10:07:40");
  CHECK(after("0 0 L * *", "UTC", t) == "2026-11-30T00:00:00");
  CHECK(after("0 0 * * 5#2", "UTC", t) == "2026-12-11T00:00:00");
  CHECK(after("0 0 * * FRI#L", "UTC", t) == "2026-11-27T00:00:00");
  CHECK(after("0 0 * * 5L", "UTC", t) == "2026-11-27T00:00:00");
  CHECK(after("0 0 29 2 *", "UTC", t) == "2028-02-29T00:00:00");
  CHECK(after("0 0 13 * 5", "UTC", t) == "2026-11-27T00:00:00");  // The 13th, or a Friday.
  CHECK(after("0 0 * * 7", "UTC", t) == "2026-11-22T00:00:00");
  CHECK(after("0 0 * jan,Feb sun", "UTC", t) == "2027-01-03T00:00:00");
  CHECK(after("5/20 8-10 * * *", "UTC", t) == "2026-11-21T10:25:00");
  CHECK(after("@hourly", "UTC", t) == "2026-11-21T11:00:00");
  CHECK(after("@yearly", "UTC", t) == "2027-01-01T00:00:00");
  CHECK(after("@every 90s", "UTC", "2024-01-01T00:00:00Z") == "2024-01-01T00:01:30");
  CHECK(after("@every 90s", "UTC", "2024-01-01T00:01:30Z") == "2024-01-01T00:03:00");
  CHECK(after("@every 1h30m", "UTC", "2024-01-01T04:00:00Z") == "2024-01-01T04:30:00");
  CHECK(after("0 9 * * *", "Asia/Kolkata", t) == "2026-11-22T03:30:00");
}

TEST_CASE("wall clocks leap and repeat", "[cron]") {
  // Berlin: 2026-03-29 02:00 -> 03:00 (01:00 UTC); 2026-10-25 03:00 -> 02:00 (01:00 UTC).
  CHECK(after("30 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z") == "2026-03-29T01:00:00");
  CHECK(after("30 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z") == "2026-03-30T00:30:00");
  CHECK(after("*/10 2 * * *", "Europe/Berlin", "2026-03-29T00:59:00Z") == "2026-03-29T01:00:00");
  CHECK(after("*/10 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z") == "2026-03-30T00:00:00");
  CHECK(after("30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00Z") == "2026-10-25T00:30:00");
  CHECK(after("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z") == "2026-10-26T01:30:00");
  // Every hour is every hour.
  CHECK(after("30 * * * *", "Europe/Berlin", "2026-10-25T00:30:00Z") == "2026-10-25T01:30:00");
  CHECK(after("30 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z") == "2026-03-29T01:30:00");
  // Half an hour: Lord Howe, 2026-04-05 02:00 -> 01:30 (2026-04-04T15:00Z).
  CHECK(after("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T14:00:00Z")
        == "2026-04-04T14:45:00");
  CHECK(after("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T14:45:00Z")
        == "2026-04-05T15:15:00");
}

TEST_CASE("what is no expression is refused with the field", "[cron]") {
  for (auto text : {"",
                    "* * * *",
                    "* * * * * * *",
                    "60 * * * *",
                    "* 24 * * *",
                    "* * 0 * *",
                    "* * 32 * *",
                    "* * * 13 *",
                    "* * * * 8",
                    "*/0 * * * *",
                    "*/x * * * *",
                    "5-1 * * * *",
                    "1-2-3 * * * *",
                    "1,,2 * * * *",
                    "a * * * *",
                    "* * * foo *",
                    "0 0 30 2 *",
                    "0 0 31 4,6,9,11 *",
                    "0 0 * * 1#6",
                    "0 0 * * 1#0",
                    "@never",
                    "@every",
                    "@every 0s",
                    "@every 5",
                    "@every 5x",
                    "@every -5s",
                    "@hourly 1",
                    "*/61 * * * *",
                    "-1 * * * *",
                    "? * * * *",
                    "1/2/3 * * * *"}) {
    INFO(text);
    const auto e = cron::parse(text, "expression");
    REQUIRE_FALSE(e.has_value());
    CHECK(e.error().code == errc::invalid);
    CHECK(e.error().field == "expression");
  }
  const auto e = cron::parse("0 9 * * *", "").value();
  CHECK_FALSE(cron::next(e, "Mars/Olympus", &zones, 0, 0).has_value());
}

TEST_CASE("random expressions come due as a slow walk says, over leaps and repeats", "[cron]") {
  std::mt19937 random(20'261'121);
  const auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  const auto field = [&](int low, int high) -> std::string {
    const auto n = [&] { return low + pick(high - low + 1); };
    switch (pick(5)) {
      case 0: return "*";
      case 1: return "*/" + std::to_string(1 + pick(high / 2 + 1));
      case 2: {
        const auto a = n();
        return std::to_string(a) + "-" + std::to_string(a + pick(high - a + 1));
      }
      case 3: return std::to_string(n()) + "," + std::to_string(n());
      default: return std::to_string(n());
    }
  };
  int compared = 0;
  for (int i = 0; i < 400; ++i) {
    const auto text = field(0, 59) + " " + field(0, 23) + " " + (pick(2) ? "*" : field(1, 28)) + " "
                      + (pick(3) ? "*" : field(1, 12)) + " " + (pick(2) ? "*" : field(0, 6));
    const auto zone = testing::places[pick(12)];
    INFO(text << " in " << zone);
    const auto e = cron::parse(text, "expression");
    REQUIRE(e.has_value());
    const oracle slow(*e, zone);
    // Half of the walks begin shortly before the clock changes.
    auto from = at("2024-01-01T00:00:00Z") / 1'000'000 + pick(7 * 365) * 86'400LL + pick(86'400);
    if (pick(2))
      if (const auto p = zones.find(zone, from);
          p && p->end < at("2031-01-01T00:00:00Z") / 1'000'000)
        from = p->end - pick(7'200);
    const auto until = from + 6 * 86'400;
    for (int run = 0; run < 6; ++run) {
      const auto expected = slow.next(from, until);
      const auto got = cron::next(*e, zone, &zones, from * 1'000'000, 0);
      INFO("behind " << format_time(from * 1'000'000));
      if (!expected) {
        CHECK((!got || *got / 1'000'000 > until));
        break;
      }
      REQUIRE(got.has_value());
      CHECK(format_time(*got) == format_time(*expected * 1'000'000));
      from = *expected;
      ++compared;
    }
  }
  CHECK(compared > 400);
}

}  // namespace recalld

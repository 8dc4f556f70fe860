#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include <unistd.h>

#include "events/cron.hpp"
#include "tests/catch.hpp"
#include "tests/events/given_zones.hpp"

/// Another program's opinion: RECALLD_CRONER names the directory of the npm package croner.
///
/// Not compared is what croner means otherwise by its documentation: a day field that begins with
/// `*` and has a step (for us it is not restricted, as in crontab(5)), `7/10`, `@every`, `5L` (it
/// writes `5#L`), and the days around a change of the clock, where the contract is its own.
namespace recalld {

namespace {

constexpr std::int64_t day_s = 86'400;

class expressions {
public:
  explicit expressions(std::uint32_t seed) : random_(seed) {}

  std::string next() {
    std::string out = pick(4) == 0 ? field(0, 59) + ' ' : "";
    out += field(0, 59) + ' ' + field(0, 23) + ' ' + day() + ' ' + month() + ' ' + weekday();
    return out;
  }
  int pick(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }

private:
  std::string range(int low, int high) {
    const auto a = low + pick(high - low + 1);
    return std::to_string(a) + '-' + std::to_string(a + pick(high - a + 1));
  }
  std::string number(int low, int high) { return std::to_string(low + pick(high - low + 1)); }
  std::string restricted(int low, int high) {
    switch (pick(4)) {
      case 0: return range(low, high);
      case 1: return number(low, high) + ',' + number(low, high) + ',' + range(low, high);
      case 2: return range(low, high) + '/' + std::to_string(1 + pick(4));
      default: return number(low, high);
    }
  }
  std::string field(int low, int high) {
    switch (pick(3)) {
      case 0: return "*";
      case 1: return "*/" + std::to_string(1 + pick(high / 2));
      default: return restricted(low, high);
    }
  }
  std::string day() { return pick(2) == 0 ? "*" : pick(6) == 0 ? "L" : restricted(1, 28); }
  std::string month() {
    constexpr const char* names[] = {"jan", "APR", "Jul", "oct"};
    return pick(3) > 0 ? "*" : pick(3) == 0 ? names[pick(4)] : restricted(1, 12);
  }
  std::string weekday() {
    constexpr const char* names[] = {"mon", "TUE", "sat", "Sun"};
    switch (pick(6)) {
      case 0: return restricted(0, 6);
      case 1: return names[pick(4)];
      case 2: return number(0, 6) + '#' + (pick(4) == 0 ? "L" : number(1, 4));
      default: return "*";
    }
  }

  std::mt19937 random_;
};

}  // namespace

TEST_CASE("croner says the same", "[cron][croner]") {
  const char* package = std::getenv("RECALLD_CRONER");
  if (package == nullptr) {
    WARN("RECALLD_CRONER does not name the directory of the npm package croner");
    return;
  }
  const testing::plain_zones zones;
  const auto begin = parse_time("2024-01-01T00:00:00Z", "").value() / 1'000'000;
  const auto end = parse_time("2031-01-01T00:00:00Z", "").value() / 1'000'000;
  const auto file =
    std::filesystem::temp_directory_path() / ("recalld-croner-" + std::to_string(::getpid()));
  {
    std::ofstream out(file);
    expressions random(2'000);
    for (int i = 0; i < 2'000; ++i) {
      const auto text = random.next();
      INFO(text);
      const auto e = cron::parse(text, "expression");
      REQUIRE(e.has_value());
      for (const auto* zone : testing::places) {
        out << text << '\t' << zone;
        auto from = begin + random.pick(static_cast<int>((end - begin) / day_s)) * day_s
                    + random.pick(static_cast<int>(day_s));
        for (int run = 0; run < 4 && from < end; ++run) {
          const auto due = cron::next(*e, zone, &zones, from * 1'000'000, 0);
          if (!due)
            break;
          const auto at = *due / 1'000'000;
          const auto calm = zones.find(zone, from).value();
          if (from - day_s > calm.begin && at + day_s < calm.end)
            out << '\t' << from << '>' << at;
          from = at;
        }
        out << '\n';
      }
    }
  }
  const auto command = "node '" RECALLD_TEST_SAMPLES "/../events/croner.mjs' '"
                       + std::string(package) + "' '" + file.string() + "'";
  CHECK(std::system(command.c_str()) == 0);
  std::filesystem::remove(file);
}

}  // namespace recalld

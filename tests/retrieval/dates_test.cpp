#include "retrieval/dates.hpp"

#include "tests/catch.hpp"

#include <limits>

using namespace recalld::retrieval;

namespace {
constexpr std::int64_t may_7_2023 = 19484;
}

TEST_CASE("a day is read in its usual forms", "[dates]") {
  for (const auto* text : {"on 7 May 2023", "May 7, 2023", "7th of May 2023", "May 7th 2023",
                           "2023-05-07", "2023/05/07", "1:56 pm on 7 May, 2023", "2023年5月7日"}) {
    INFO(text);
    CHECK(dates_in(text).ranges == std::vector<day_range>{{may_7_2023, may_7_2023}});
  }
}

TEST_CASE("months and years are ranges", "[dates]") {
  CHECK(dates_in("in May 2023").ranges == std::vector<day_range>{{19478, 19508}});
  CHECK(dates_in("in 2023").ranges == std::vector<day_range>{{19358, 19722}});
  CHECK(dates_in("in July").any_year == std::vector<yearless>{{7, 0}});
  CHECK(dates_in("on the 4th of July").any_year == std::vector<yearless>{{7, 4}});
}

TEST_CASE("what is no date is none", "[dates]") {
  for (const auto* text :
       {"may I march on", "31 February 2023", "the 4", "room 1234", "12345", "", "May"}) {
    INFO(text);
    CHECK(dates_in(text).empty());
  }
}

TEST_CASE("distance is counted to the nearest date", "[dates]") {
  CHECK(days_from(dates_in("2023-05-07"), may_7_2023 + 3) == 3);
  CHECK(days_from(dates_in("May 2023"), may_7_2023) == 0);
  CHECK(days_from(dates_in("in May"), may_7_2023) == 0);
  // Over the turn of a year.
  CHECK(days_from(dates_in("on 31 December"), 19358) == 1);
  CHECK(days_from(dates_in("29th of February"), may_7_2023) > 0);
  CHECK(days_from(dates_in("in May"), std::numeric_limits<std::int32_t>::max()) >= 0);
}

// What tests include instead of Catch2 and RapidCheck: one spelling for Catch2 2.13 and 3.
//
// Write `Catch::Approx`, `Catch::Matchers::ContainsSubstring`, `StartsWith` and `EndsWith`, and
// `check_property("sentence", [](std::vector<int> xs) { ... })` for RapidCheck; RC_ASSERT inside
// shrinks, REQUIRE does not. RC_PARAMS="seed=42 max_success=1000" in the environment replays.
#pragma once

#include <sstream>
#include <string>
#include <utility>

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>

namespace Catch {
using Detail::Approx;
namespace Matchers {
inline auto ContainsSubstring(const std::string& part) { return Contains(part); }
} // namespace Matchers
} // namespace Catch
#endif

#include <rapidcheck.h>

/// Checks a property as part of the running test case; a falsified one fails it with RapidCheck's
/// shrunk example and the seed that replays it.
template <class Property>
void check_property(const std::string& sentence, Property&& property) {
  const auto result = rc::detail::checkTestable(std::forward<Property>(property));
  std::ostringstream report;
  rc::detail::printResultMessage(result, report);
  INFO(sentence << "\n" << report.str());
  REQUIRE(result.template is<rc::detail::SuccessResult>());
}

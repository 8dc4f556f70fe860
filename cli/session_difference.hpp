#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "events/session.hpp"

/// What differs between two states of a session, for `replay --diff` and `--step`. Pure.
namespace recalld::cli {

struct difference {
  enum class kind { added, changed, removed };
  kind how = kind::changed;
  std::string what;    ///< `state`, `context`, `metadata`, `status`, `retention`, `entries` …
  std::string key;     ///< Of a state key or context; empty elsewhere.
  std::string before;  ///< Raw JSON; empty when it was added.
  std::string after;   ///< Raw JSON; empty when it was removed.
  friend bool operator==(const difference&, const difference&) = default;
};

std::string_view to_string(difference::kind k) noexcept;

/// Every difference, in a fixed order. Entries are compared by their number.
std::vector<difference> differences(const session::state& before, const session::state& after);

}  // namespace recalld::cli

#pragma once

#include "storage/store.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string_view>

namespace recalld::storage {

/// What goes wrong with one call.
enum class fault : std::uint8_t {
  none,
  refused,            ///< `unavailable`; the log is as it was.
  unknown_committed,  ///< `outcome_unknown`; it happened.
  unknown_lost,       ///< `outcome_unknown`; it did not happen.
  fenced,             ///< `fenced`, as if another node had taken the shard.
};

/// When what goes wrong. The same plan over the same calls gives the same faults.
struct fault_plan {
  std::uint64_t seed = 1;
  /// Chances in a thousand, for each commit.
  unsigned refused = 0;
  unsigned unknown_committed = 0;
  unsigned unknown_lost = 0;
  unsigned fenced = 0;
  /// Chance in a thousand that a call of a reader is `unavailable`.
  unsigned reads_refused = 0;
  /// Faults of certain commits, counted from 1; goes before chance.
  std::map<std::uint64_t, fault> commits{};
  /// Called with `commit`, `committed`, `sweep`, `checkpoint` or `read` where such a call begins
  /// (or ends); may wait, so that a test can look at what happens meanwhile.
  std::function<void(std::string_view)> hook{};
};

/// A store around another one that fails as planned. After an unknown outcome its writer answers
/// that error for ever; open another store on the same disk to go on, as a restarted process would.
std::unique_ptr<store> make_faulty(std::unique_ptr<store> inner, fault_plan plan);

}  // namespace recalld::storage

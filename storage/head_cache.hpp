#pragma once

#include "storage/log_row.hpp"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace recalld::storage {

/// Where streams stand, as the writer left them; forgets the longest unused ones. Not thread-safe.
class head_cache {
public:
  explicit head_cache(std::size_t max) : half_(std::max<std::size_t>(max / 2, 1)) {}

  /// Valid until the next call of `age`.
  stream_row* find(const stream_id& id) {
    if (auto young = young_.find(id); young != young_.end())
      return &young->second;
    if (auto node = old_.extract(id); !node.empty())
      return &young_.insert(std::move(node)).position->second;
    return nullptr;
  }
  stream_row& put(const stream_id& id, const stream_row& row) {
    return young_.insert_or_assign(id, row).first->second;
  }
  /// Lets the older half go when there are too many.
  void age() {
    if (young_.size() < half_)
      return;
    old_ = std::move(young_);
    young_.clear();
  }
  void clear() noexcept {
    young_.clear();
    old_.clear();
  }

private:
  using map = std::unordered_map<stream_id, stream_row>;
  std::size_t half_;
  map young_, old_;
};

}  // namespace recalld::storage

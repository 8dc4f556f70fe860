#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "storage/store.hpp"

namespace recalld::cli {

/// Keeps nodes from serving a log while a command works on it. Where a log can only be opened once
/// there is nothing to keep. Let go at the end, however the command ends; after a kill it lasts for
/// half a minute.
class offline_lease {
public:
  /// `unavailable`: a node serves the log. `what` is the command, for those who ask who has it.
  static result<offline_lease> take(storage::store& store, const std::string& what);
  offline_lease(offline_lease&&) = default;
  offline_lease& operator=(offline_lease&&) = default;
  ~offline_lease();

  /// To be called now and then, at least every few seconds.
  void keep();

private:
  offline_lease() = default;

  std::unique_ptr<storage::log_lease> lease_;
  std::chrono::steady_clock::time_point kept_{};
};

}  // namespace recalld::cli

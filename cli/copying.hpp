#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cli/command.hpp"
#include "cli/offline_lease.hpp"
#include "storage/log_copy.hpp"

/// What the commands that copy whole logs share.
namespace recalld::cli {

/// A log that is read and that no server writes to meanwhile.
class still_log {
public:
  /// `unavailable`: a server runs on it.
  static result<still_log> open(const invocation& call, const std::string& place);

  storage::log_reader& reader() const { return *reader_; }
  /// To be called now and then, so that no server begins meanwhile.
  void keep() { lease_.keep(); }

private:
  still_log(std::unique_ptr<storage::store> store, offline_lease lease,
            std::unique_ptr<storage::log_reader> reader)
    : store_(std::move(store)), lease_(std::move(lease)), reader_(std::move(reader)) {}

  std::unique_ptr<storage::store> store_;
  offline_lease lease_;
  std::unique_ptr<storage::log_reader> reader_;
};

/// A place for a copy. `conflict` comes later, when it is begun.
result<std::unique_ptr<storage::copy_target>> open_target(const invocation& call,
                                                          const std::string& place);

/// A URL without its password, or a directory.
std::string printable_place(const std::string& place);

/// Runs a copy under a progress bar and tells what has become of it.
int tell_copy(
  const invocation& call, const std::string& what, const std::string& where,
  const std::function<result<storage::copy_report>(const storage::copy_progress&)>& copy);

}  // namespace recalld::cli

#pragma once

#include "actors/protocol.hpp"
#include "events/window.hpp"
#include "storage/store.hpp"

/// Where the entries of a session come from: the tail that its actor holds, or the log.
namespace recalld::actors {

/// An entry out of a recorded fact.
result<session::recorded_entry> entry_of(const recorded& r);

/// The newest entries, in memory. Whatever lies further back sets `missed`, and the answer must
/// then be cut from the log instead.
class tail_source final : public session::entry_source {
public:
  explicit tail_source(const stream_view& view) : view_(view) {}
  bool missed() const noexcept { return missed_; }

  result<std::vector<session::recorded_entry>> back(version_t before, std::size_t limit) override;
  result<std::vector<session::recorded_entry>> forth(version_t after, std::size_t limit) override;
  result<version_t> find(std::string_view key) override;
  result<version_t> first_since(time_us_t t) override;

private:
  tl::unexpected<error> miss();
  const stream_view& view_;
  bool missed_ = false;
};

/// The log, as of the view's version, with the past that a fork borrows from other streams.
class log_source final : public session::entry_source {
public:
  /// `corrupt` when a borrowed stream does not exist.
  static result<log_source> over(storage::log_reader& log, const stream_view& view);

  result<std::vector<session::recorded_entry>> back(version_t before, std::size_t limit) override;
  result<std::vector<session::recorded_entry>> forth(version_t after, std::size_t limit) override;
  result<version_t> find(std::string_view key) override;
  result<version_t> first_since(time_us_t t) override;

private:
  /// Versions above the previous stretch and up to `through` live in the stream `no`.
  struct stretch {
    stream_no_t no = 0;
    version_t through = 0;
  };
  explicit log_source(storage::log_reader& log) : log_(&log) {}
  storage::log_reader* log_;
  std::vector<stretch> stretches_;
};

}  // namespace recalld::actors

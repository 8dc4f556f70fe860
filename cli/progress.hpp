#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "cli/terminal.hpp"

namespace recalld::cli {

/// Tells on stderr how far a long command is: a bar with rate and remaining time on a terminal,
/// else a plain line every few seconds. Used by one thread.
class progress {
public:
  /// `total` = 0: nobody knows. `quiet`: say nothing at all.
  progress(terminal err, std::string label, std::string unit, std::uint64_t total, bool quiet);
  ~progress();
  progress(const progress&) = delete;
  progress& operator=(const progress&) = delete;

  void advance(std::uint64_t n) { at(done_ + n); }
  void at(std::uint64_t done);
  void expect(std::uint64_t total) { total_ = total; }
  /// Wipes the bar so that something else may be printed; the next `at` draws it again.
  void clear();
  /// The last word: how much, how long, how fast. Further calls do nothing.
  void finish();

  std::uint64_t done() const noexcept { return done_; }
  double seconds() const;
  /// Units a second so far.
  double rate() const;

private:
  using clock = std::chrono::steady_clock;
  void draw();

  terminal err_;
  std::string label_;
  std::string unit_;
  std::uint64_t total_;
  bool quiet_;
  std::uint64_t done_ = 0;
  clock::time_point begin_ = clock::now();
  clock::time_point drawn_ = begin_;
  bool visible_ = false;
  bool finished_ = false;
};

/// The bar itself, for a terminal of `width` columns.
std::string progress_line(std::string_view label, std::string_view unit, std::uint64_t done,
                          std::uint64_t total, double seconds, std::size_t width);

/// Seconds as `0.4 s`, `12 s`, `3:07` or `1:02:03`.
std::string human_seconds(double s);

}  // namespace recalld::cli

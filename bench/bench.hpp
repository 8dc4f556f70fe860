#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// What every part of the benchmark is made of: a place on the disk, clocks, distributions, and the
/// one form of a figure. What the figures mean is told in docs/performance.md.
namespace recalld::bench {

/// How much is measured.
struct plan {
  std::filesystem::path place;  ///< Directory on the disk that is measured.
  std::string program;          ///< This executable, for parts that begin a process of their own.
  bool quick = false;           ///< Smaller data and shorter rounds: does it run at all?

  std::string only = {};  ///< Which figures; empty: all.
  /// Whether a figure (or a part, by its name alone) is wanted.
  bool wants(std::string_view part, std::string_view figure) const;

  /// Server and reference take turns in many short rounds, so that a disk or a neighbour that has
  /// its moods has them for both.
  std::size_t rounds() const noexcept { return quick ? 1 : 9; }
  /// Of what takes its time by itself.
  std::size_t repetitions() const noexcept { return quick ? 1 : 3; }
  double round_s() const noexcept { return quick ? 0.3 : 0.5; }
};

/// A part of the benchmark. Throws `std::exception` when it cannot go on.
struct part {
  std::string_view name;
  std::string_view measures;  ///< One line.
  void (*run)(const plan&);
};

void append(const plan&);
void reads(const plan&);
void replay(const plan&);
void wake(const plan&);
void memory(const plan&);
void ready(const plan&);
void feed(const plan&);
void postgres(const plan&);
void waiting(const plan&);
void search(const plan&);
void values(const plan&);

/// Bodies of processes that the part `ready` begins: they report on stdout and end.
int ready_node(const std::filesystem::path& log);
int ready_bare(const std::filesystem::path& log);

// -- figures --

/// Prints `NAME VALUE UNIT ref=REFERENCE ratio=RATIO`.
void print(std::string_view name, double value, std::string_view unit, double reference);
/// Prints a line that is no figure.
void note(std::string_view line);

// -- time --

class stopwatch {
public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }
  double us() const { return seconds() * 1e6; }

private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

/// Processor time that this process has taken so far, in microseconds.
double cpu_us();

/// Counts durations in buckets that are 1/32 wide: quantiles are exact to three per cent.
class histogram {
public:
  void add(double us) noexcept;
  void add(const histogram& other) noexcept;
  std::uint64_t count() const noexcept { return count_; }
  /// The duration in microseconds below which the share `q` lies; 0 when nothing was counted.
  double quantile(double q) const noexcept;

private:
  static constexpr std::size_t steps = 32;  ///< Buckets in each power of two.
  std::uint64_t count_ = 0;
  std::vector<std::uint64_t> buckets_ = std::vector<std::uint64_t>(64 * steps);
};

double median(std::vector<double> values);

// -- the disk --

/// A directory below the plan's place that goes with the object, whatever is in it.
class scratch {
public:
  explicit scratch(const plan& p);
  ~scratch();
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;
  const std::filesystem::path& path() const noexcept { return path_; }

private:
  std::filesystem::path path_;
};

/// Median time of overwriting 4 KiB of a file and having them on stable storage, in microseconds.
double sync_us(const std::filesystem::path& directory);

/// Makes the system forget what it read of every file in a directory, so that the next read
/// goes to the disk.
void forget_pages(const std::filesystem::path& directory);

}  // namespace recalld::bench

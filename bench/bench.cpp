#include "bench/bench.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <regex>
#include <stdexcept>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace recalld::bench {

namespace fs = std::filesystem;

namespace {

std::string shortest(double v) {
  char out[48];
  const auto digits = std::fabs(v) >= 100 ? 0 : std::fabs(v) >= 10 ? 1 : 2;
  std::snprintf(out, sizeof out, "%.*f", digits, v);
  return out;
}

}  // namespace

void print(std::string_view name, double value, std::string_view unit, double reference) {
  std::printf("%.*s %s %.*s ref=%s ratio=%.2f\n", static_cast<int>(name.size()), name.data(),
              shortest(value).c_str(), static_cast<int>(unit.size()), unit.data(),
              shortest(reference).c_str(), reference == 0 ? 0.0 : value / reference);
  std::fflush(stdout);
}

void note(std::string_view line) {
  std::printf("# %.*s\n", static_cast<int>(line.size()), line.data());
  std::fflush(stdout);
}

void histogram::add(double us) noexcept {
  // A duration in units of 1/32 µs has its power of two and the five bits behind the first.
  const auto n = static_cast<std::uint64_t>(std::max(us, 0.0) * steps) | steps;
  const auto power = static_cast<std::size_t>(std::bit_width(n)) - 6;
  const auto bucket = power * steps + (static_cast<std::size_t>(n >> power) & (steps - 1));
  ++buckets_[std::min(bucket, buckets_.size() - 1)];
  ++count_;
}

void histogram::add(const histogram& other) noexcept {
  count_ += other.count_;
  for (std::size_t b = 0; b < buckets_.size(); ++b)
    buckets_[b] += other.buckets_[b];
}

double histogram::quantile(double q) const noexcept {
  if (count_ == 0)
    return 0;
  auto left = static_cast<std::uint64_t>(std::ceil(q * static_cast<double>(count_)));
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    if (buckets_[b] < left) {
      left -= buckets_[b];
      continue;
    }
    const auto power = b / steps;
    const auto n = static_cast<double>(steps + b % steps) + 0.5;
    return std::ldexp(n, static_cast<int>(power)) / steps;
  }
  return 0;
}

bool plan::wants(std::string_view part, std::string_view figure) const {
  const std::regex wanted(only);
  return std::regex_search(part.begin(), part.end(), wanted)
         || std::regex_search(figure.begin(), figure.end(), wanted);
}

double cpu_us() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto us = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_usec);
  };
  return us(used.ru_utime) + us(used.ru_stime);
}

double median(std::vector<double> values) {
  if (values.empty())
    return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

scratch::scratch(const plan& p) {
  auto name = (p.place / "recalld-bench-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr)
    throw std::runtime_error("cannot make a directory in " + p.place.string());
  path_ = name;
}

scratch::~scratch() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

double sync_us(const fs::path& directory) {
  const auto file = directory / "sync-probe";
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0)
    throw std::runtime_error("cannot write in " + directory.string());
  const std::string page(4096, 'x');
  std::vector<double> took;
  for (int i = 0; i < 200; ++i) {
    const stopwatch watch;
    if (::pwrite(fd, page.data(), page.size(), 0) < 0 || ::fdatasync(fd) != 0)
      break;
    took.push_back(watch.us());
  }
  ::close(fd);
  fs::remove(file);
  return median(std::move(took));
}

void forget_pages(const fs::path& directory) {
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (!entry.is_regular_file())
      continue;
    const int fd = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
      continue;
    ::fdatasync(fd);  // pages that still have to be written stay
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    ::close(fd);
  }
}

}  // namespace recalld::bench

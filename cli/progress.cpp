#include "cli/progress.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <fmt/format.h>

#include "cli/text_table.hpp"

namespace recalld::cli {

namespace {

constexpr auto redraw_every = std::chrono::milliseconds(80);
constexpr auto line_every = std::chrono::seconds(5);

std::string bar(double share, std::size_t width) {
  static constexpr std::string_view parts[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const auto eighths =
    static_cast<std::size_t>(std::clamp(share, 0.0, 1.0) * static_cast<double>(width) * 8);
  std::string out;
  for (std::size_t i = 0; i < eighths / 8; ++i)
    out += "█";
  out += parts[eighths % 8];
  const auto drawn = eighths / 8 + (eighths % 8 == 0 ? 0 : 1);
  out.append(width - drawn, ' ');
  return out;
}

std::string per_second(double rate) {
  return rate < 10 ? fmt::format("{:.1f}/s", rate)
                   : grouped(static_cast<std::uint64_t>(rate)) + "/s";
}

}  // namespace

std::string human_seconds(double s) {
  if (s < 10)
    return fmt::format("{:.1f} s", s);
  const auto whole = static_cast<std::uint64_t>(std::lround(s));
  if (whole < 60)
    return fmt::format("{} s", whole);
  if (whole < 3600)
    return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string progress_line(std::string_view label, std::string_view unit, std::uint64_t done,
                          std::uint64_t total, double seconds, std::size_t width) {
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  if (total == 0)
    return cut_to(fmt::format("{}  {} {}  {}", label, grouped(done), unit, per_second(rate)),
                  width);
  const double share = static_cast<double>(done) / static_cast<double>(total);
  const auto rest = total > done ? total - done : 0;
  const auto eta = rate > 0 ? human_seconds(static_cast<double>(rest) / rate) : std::string("?");
  const auto tail = fmt::format(" {:3.0f}%  {}/{} {}  {}  ETA {}", share * 100, grouped(done),
                                grouped(total), unit, per_second(rate), eta);
  const auto taken = display_width(label) + display_width(tail) + 2;
  constexpr std::size_t widest = 30;
  if (taken + 5 > width)
    return cut_to(fmt::format("{} {}", label, tail), width);
  return fmt::format("{} ▕{}▏{}", label, bar(share, std::min(widest, width - taken - 2)), tail);
}

progress::progress(terminal err, std::string label, std::string unit, std::uint64_t total,
                   bool quiet)
  : err_(err), label_(std::move(label)), unit_(std::move(unit)), total_(total), quiet_(quiet) {}

progress::~progress() { clear(); }

double progress::seconds() const {
  return std::chrono::duration<double>(clock::now() - begin_).count();
}

double progress::rate() const {
  const auto s = seconds();
  return s > 0 ? static_cast<double>(done_) / s : 0;
}

void progress::at(std::uint64_t done) {
  done_ = done;
  if (quiet_ || finished_)
    return;
  const auto now = clock::now();
  if (now - drawn_ < (err_.tty ? clock::duration(redraw_every) : clock::duration(line_every)))
    return;
  drawn_ = now;
  draw();
}

void progress::draw() {
  if (err_.tty) {
    // One column stays free: a full line would make some terminals wrap.
    const auto line = progress_line(label_, unit_, done_, total_, seconds(), err_.width - 1);
    fmt::print(stderr, "\r\x1b[K{}", line);
    std::fflush(stderr);
    visible_ = true;
  } else {
    const auto of = total_ == 0 ? std::string() : fmt::format(" of {}", grouped(total_));
    fmt::print(stderr, "{}: {}{} {}, {}\n", label_, grouped(done_), of, unit_, per_second(rate()));
  }
}

void progress::clear() {
  if (!visible_)
    return;
  fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
  visible_ = false;
}

void progress::finish() {
  if (finished_)
    return;
  clear();
  finished_ = true;
  if (!quiet_)
    fmt::print(stderr, "{}: {} {} in {}, {}\n", label_, grouped(done_), unit_,
               human_seconds(seconds()), per_second(rate()));
}

}  // namespace recalld::cli

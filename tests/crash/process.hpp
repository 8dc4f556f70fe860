#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace recalld::tests {

/// A program that was started and is waited for; killed when the object goes.
class process {
public:
  /// Standard output is kept for `line` and `rest`; standard error is appended to `errors`.
  process(const std::vector<std::string>& command,
          const std::map<std::string, std::string>& environment,
          const std::filesystem::path& errors);
  ~process();
  process(const process&) = delete;
  process& operator=(const process&) = delete;

  /// The next line of its output; nothing when it ended or took too long.
  std::optional<std::string> line(std::chrono::milliseconds patience);
  /// All output up to its end.
  std::string rest();

  void signal(int number) const;
  /// It has ended by now.
  bool ended();
  /// Waits for its end: the exit status, or minus the signal that ended it; nothing if it goes on.
  std::optional<int> wait(std::chrono::milliseconds patience);

private:
  pid_t pid_ = -1;
  int out_ = -1;
  std::string read_;
  std::optional<int> status_;
};

}  // namespace recalld::tests

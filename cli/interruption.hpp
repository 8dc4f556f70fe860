#pragma once

#include <chrono>

/// The end that a person or an init system asks for.
namespace recalld::cli {

/// Keeps SIGINT and SIGTERM from ending the process: whoever has this looks for them. To be made
/// before any other thread, so that the signal is blocked in all of them.
class interruption {
public:
  interruption();
  /// Whether one came, waiting so long for it.
  bool came(std::chrono::milliseconds patience);
};

}  // namespace recalld::cli

#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>
#include <thread>
#include <vector>

namespace recalld::tests {

/// What becomes of the next request that contains the proxy's marker.
enum class link_fault : std::uint8_t {
  none,
  swallow_answer,  ///< Forwarded; the link is cut when the answer comes.
  cut_before,      ///< Not forwarded; the link is cut.
  cut_within,      ///< A part of it is forwarded, then the link is cut.
  half_close,      ///< Forwarded; then nothing more is sent to the server, whose answer is dropped.
  stall,           ///< Neither side hears anything any more, but the link stays.
  delay,           ///< Forwarded late, but everything arrives.
};

/// Stands between a client and a server on 127.0.0.1 and spoils what goes through, on command.
class tcp_proxy {
public:
  /// Requests that contain `marker` are those that faults strike.
  tcp_proxy(int server_port, std::string_view marker);
  ~tcp_proxy();
  tcp_proxy(const tcp_proxy&) = delete;
  tcp_proxy& operator=(const tcp_proxy&) = delete;

  int port() const noexcept { return port_; }
  /// Strikes once.
  void strike(link_fault f) { next_ = f; }
  /// How many faults have struck.
  int struck() const noexcept { return struck_; }
  /// While closed, links are cut and nobody gets through.
  void close(bool closed);

private:
  void accept_links();
  void carry(int client, int server);

  int server_port_;
  std::string_view marker_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<link_fault> next_{link_fault::none};
  std::atomic<int> struck_{0};
  std::atomic<bool> closed_{false};
  std::atomic<bool> ending_{false};
  std::thread door_;
  std::vector<std::thread> links_;  ///< The door's own until it has ended.
};

}  // namespace recalld::tests

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace recalld::tests {

/// One request as it arrived.
struct http_request {
  std::string head;  ///< Request line and headers, as sent.
  std::string body;
};

/// What a server does with a request.
struct http_reply {
  int status = 200;
  std::string body = "{}";
  std::string headers;           ///< Further lines, each with its `\r\n`.
  std::string raw;               ///< Sent instead of all that, when not empty.
  bool cut = false;              ///< The connection is closed after half of it.
  std::uint32_t delay_ms = 0;    ///< Before anything is sent.
  std::uint32_t trickle_ms = 0;  ///< Between the bytes of the body.
};

/// A small HTTP server on 127.0.0.1, which does what it is told for each request. A thread for each
/// connection; one request a connection.
class http_server {
public:
  using script = std::function<http_reply(const http_request&, std::size_t number)>;

  /// `answer` is called with the number of the request, from 0 on, from any thread.
  explicit http_server(script answer);
  ~http_server();
  http_server(const http_server&) = delete;
  http_server& operator=(const http_server&) = delete;

  int port() const noexcept { return port_; }
  /// `http://127.0.0.1:PORT` + path.
  std::string url(const std::string& path) const;
  /// All that has arrived.
  std::vector<http_request> requests() const;

private:
  void accept_all();
  void serve(int connection);

  script answer_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> ending_{false};
  mutable std::mutex lock_;
  std::vector<http_request> requests_;
  std::vector<std::thread> connections_;
  std::thread accepting_;
};

/// A port of 127.0.0.1 on which nobody listens.
int unused_port();

}  // namespace recalld::tests

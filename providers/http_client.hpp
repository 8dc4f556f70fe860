#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "events/result.hpp"

/// Requests to somebody else's HTTP server: a JSON body goes out, an answer of bounded size comes
/// back within a bounded time, or a typed error. Blocks; belongs in a thread of its own.
namespace recalld::providers {

/// Names and values as they are sent. Values are secrets: no error and no log ever holds one.
using headers = std::vector<std::pair<std::string, std::string>>;

struct limits {
  std::uint32_t connect_ms = 5'000;
  std::uint32_t total_ms = 60'000;  ///< Of one try, connecting included.
  std::size_t answer_bytes_max = 8 << 20;
  std::uint32_t tries = 4;  ///< Altogether; at least one is made.
  /// Before the second try; each further pause is twice as long, up to `pause_ms_max`.
  std::uint32_t pause_ms = 500;
  std::uint32_t pause_ms_max = 30'000;
  /// A server that asks for more patience (`Retry-After`) than this is not waited for.
  std::uint32_t retry_after_ms_max = 60'000;
  /// Ends a request and its pauses soon after it becomes true; null = never.
  const std::atomic<bool>* stop = nullptr;
};

struct answer {
  long status = 0;  ///< 200 to 299.
  std::string body;
  std::uint32_t tries = 1;  ///< How many it took.
};

/// How long to wait before the try after `tries` ones, when the server asked for `retry_after_ms`.
std::uint64_t pause_before_next(const limits& l, std::uint32_t tries,
                                std::uint64_t retry_after_ms) noexcept;

/// Keeps its connection between requests. For one thread at a time.
class http_client {
public:
  http_client();
  ~http_client();
  http_client(const http_client&) = delete;
  http_client& operator=(const http_client&) = delete;

  /// Posts a JSON text to an `http://` or `https://` URL; certificates are checked, redirections
  /// are not followed. Tried again: a refused connection, status 429 and 5xx. What is left then:
  ///
  ///   invalid      `url` cannot be used (another scheme, a password in it)
  ///   overloaded   429; `retry_after_ms` when the server said so
  ///   unavailable  nobody there, too slow, cut off, 5xx, or `stop`
  ///   forbidden    401 and 403: the key is wrong
  ///   rejected     any other status outside of 2xx
  ///   corrupt      not HTTP, or an answer longer than allowed
  ///
  /// `detail` is `{"cause":WORD[,"status":N]}` with the cause `connect`, `timeout`, `cut`, `stopped`,
  /// `status`, `too_large` or `garbage`. Messages hold the beginning of what the server said of an
  /// error, but nothing of what was sent.
  result<answer> post_json(const std::string& url, const headers& more, std::string_view body,
                           const limits& l = {});

private:
  struct connection;
  std::unique_ptr<connection> connection_;
};

/// The same with a connection of its own.
result<answer> post_json(const std::string& url, const headers& more, std::string_view body,
                         const limits& l = {});

}  // namespace recalld::providers

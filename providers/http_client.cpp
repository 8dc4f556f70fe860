#include "providers/http_client.hpp"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <optional>
#include <thread>

#include <curl/curl.h>

#include "events/json.hpp"

namespace recalld::providers {

namespace {

constexpr std::size_t told_bytes_max = 300;  // Of what a server says of its error.

bool stopped(const limits& l) { return l.stop != nullptr && l.stop->load(); }

error failure(errc code, std::string message, std::string_view cause, long status = 0) {
  json::object_writer w;
  w.str("cause", cause);
  if (status != 0)
    w.num("status", static_cast<std::int64_t>(status));
  error e{code, std::move(message)};
  e.detail = std::move(w).done();
  return e;
}

/// What one try may end with.
struct outcome {
  std::optional<answer> good;
  error bad;
  bool again = false;  ///< Worth another try.
  std::uint64_t retry_after_ms = 0;
};

/// What is collected during one try.
struct receiving {
  const limits& l;
  std::string body;
  bool too_large = false;
};

std::size_t receive(char* data, std::size_t size, std::size_t count, void* into) {
  auto& r = *static_cast<receiving*>(into);
  const auto bytes = size * count;
  if (r.body.size() + bytes > r.l.answer_bytes_max) {
    r.too_large = true;
    return 0;
  }
  r.body.append(data, bytes);
  return bytes;
}

int look_for_stop(void* of, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return stopped(static_cast<receiving*>(of)->l) ? 1 : 0;
}

/// The beginning of an error's text, on one line and without what is no text.
std::string told(std::string_view body) {
  std::string out;
  for (const char c : body.substr(0, told_bytes_max))
    out.push_back(static_cast<unsigned char>(c) < 0x20 ? ' ' : c);
  while (!out.empty() && !json::valid_utf8(out))
    out.pop_back();
  return out;
}

outcome of_status(long status, std::string body, std::uint64_t retry_after_ms) {
  if (status >= 200 && status < 300)
    return {answer{status, std::move(body)}, {}, false, 0};
  auto message = "the server answered with status " + std::to_string(status);
  if (const auto says = told(body); !says.empty())
    message += ": " + says;
  const auto code = status == 429                    ? errc::overloaded
                    : status >= 500                  ? errc::unavailable
                    : status == 401 || status == 403 ? errc::forbidden
                                                     : errc::rejected;
  outcome out;
  out.bad = failure(code, std::move(message), "status", status);
  out.again = code == errc::overloaded || code == errc::unavailable;
  out.retry_after_ms = retry_after_ms;
  if (out.again)
    out.bad.retry_after_ms =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(retry_after_ms, 0xffff'ffff));
  return out;
}

outcome of_failure(CURLcode why, const receiving& r) {
  const std::string reason = curl_easy_strerror(why);
  outcome out;
  switch (why) {
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
      out.bad = failure(errc::unavailable, "cannot reach the server: " + reason, "connect");
      out.again = true;
      break;
    case CURLE_OPERATION_TIMEDOUT:
      out.bad =
        failure(errc::unavailable, "no whole answer within " + std::to_string(r.l.total_ms) + " ms",
                "timeout");
      break;
    case CURLE_WRITE_ERROR:
      out.bad =
        failure(errc::corrupt,
                "the answer is longer than " + std::to_string(r.l.answer_bytes_max) + " bytes",
                "too_large");
      break;
    case CURLE_ABORTED_BY_CALLBACK:
      out.bad = failure(errc::unavailable, "the node is ending", "stopped");
      break;
    case CURLE_URL_MALFORMAT: out.bad = invalid("url", "must be an http:// or https:// URL"); break;
    case CURLE_UNSUPPORTED_PROTOCOL:  // Before 8.0 what an answer without a status line gives.
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_HTTP2:
    case CURLE_BAD_CONTENT_ENCODING:
      out.bad = failure(errc::corrupt, "the answer is not HTTP: " + reason, "garbage");
      break;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
      out.bad = failure(errc::unavailable, "no trusted connection: " + reason, "connect");
      break;
    default:  // Cut off while sending or receiving.
      out.bad = failure(errc::unavailable, "the connection was lost: " + reason, "cut");
      break;
  }
  return out;
}

/// Waits; false when it was told to stop.
bool pause(std::uint64_t ms, const limits& l) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
  while (!stopped(l)) {
    const auto left = until - std::chrono::steady_clock::now();
    if (left <= std::chrono::steady_clock::duration::zero())
      return true;
    std::this_thread::sleep_for(
      std::min<std::chrono::steady_clock::duration>(left, std::chrono::milliseconds(50)));
  }
  return false;
}

/// A URL that could tell a secret, or lead elsewhere than to HTTP, is not used.
result<void> check_url(const std::string& url) {
  const auto scheme = url.find("://");
  if (!url.starts_with("http://") && !url.starts_with("https://"))
    return fail_field("url", "must be an http:// or https:// URL");
  const auto host = std::string_view(url).substr(scheme + 3);
  if (host.substr(0, host.find_first_of("/?#")).find('@') != std::string_view::npos)
    return fail_field("url", "must not hold a user or a password");
  return {};
}

}  // namespace

struct http_client::connection {
  connection() {
    static std::once_flag once;
    std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
    handle = curl_easy_init();
  }
  ~connection() {
    if (handle != nullptr)
      curl_easy_cleanup(handle);
  }
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  outcome try_once(const std::string& url, curl_slist* lines, std::string_view body,
                   const limits& l) const {
    receiving got{l, {}, false};
    curl_easy_reset(handle);
    curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(l.connect_ms));
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(l.total_ms));
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, lines);
    curl_easy_setopt(handle, CURLOPT_POST, 1L);
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, body.data());
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &got);
    curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, look_for_stop);
    curl_easy_setopt(handle, CURLOPT_XFERINFODATA, &got);
    if (const auto done = curl_easy_perform(handle); done != CURLE_OK)
      return of_failure(done, got);
    long status = 0;
    curl_off_t retry_after_s = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(handle, CURLINFO_RETRY_AFTER, &retry_after_s);
    return of_status(status, std::move(got.body),
                     static_cast<std::uint64_t>(std::max<curl_off_t>(retry_after_s, 0)) * 1'000);
  }

  CURL* handle = nullptr;
};

std::uint64_t pause_before_next(const limits& l, std::uint32_t tries,
                                std::uint64_t retry_after_ms) noexcept {
  const auto doubled = std::min<std::uint32_t>(tries == 0 ? 0 : tries - 1, 20);
  const auto grown = std::min<std::uint64_t>(std::uint64_t{l.pause_ms} << doubled, l.pause_ms_max);
  return std::max(grown, retry_after_ms);
}

http_client::http_client() : connection_(std::make_unique<connection>()) {}
http_client::~http_client() = default;

result<answer> http_client::post_json(const std::string& url, const headers& more,
                                      std::string_view body, const limits& l) {
  if (auto good = check_url(url); !good)
    return fail(std::move(good.error()));
  if (connection_->handle == nullptr)
    return fail(failure(errc::unavailable, "no connection could be made", "connect"));
  // "Expect:" would cost a round trip for each large body.
  std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> lines(
    curl_slist_append(curl_slist_append(nullptr, "Content-Type: application/json"), "Expect:"),
    curl_slist_free_all);
  for (const auto& [name, value] : more) {
    if ((name + value).find_first_of("\r\n") != std::string::npos)
      return fail_field("headers", "must not hold line breaks: " + told(name));
    lines.reset(curl_slist_append(lines.release(), (name + ": " + value).c_str()));
  }
  for (std::uint32_t tries = 1;; ++tries) {
    auto out = connection_->try_once(url, lines.get(), body, l);
    if (out.good) {
      out.good->tries = tries;
      return std::move(*out.good);
    }
    if (!out.again || tries >= l.tries || out.retry_after_ms > l.retry_after_ms_max)
      return fail(std::move(out.bad));
    if (!pause(pause_before_next(l, tries, out.retry_after_ms), l))
      return fail(failure(errc::unavailable, "the node is ending", "stopped"));
  }
}

result<answer> post_json(const std::string& url, const headers& more, std::string_view body,
                         const limits& l) {
  return http_client().post_json(url, more, body, l);
}

}  // namespace recalld::providers

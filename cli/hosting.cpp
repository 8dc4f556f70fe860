#include "cli/hosting.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <fstream>
#include <thread>

#include <fmt/format.h>
#include <netdb.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/catalogue.hpp"
#include "api/client.hpp"
#include "providers/embeddings.hpp"
#include "providers/scribe.hpp"

namespace recalld::cli {

namespace {

/// Tries `act` on a socket for each address that a name has; the errno of the last failure, or 0.
template <class Act>
result<void> try_addresses(const std::string& host, std::uint16_t port, int flags, Act act,
                           std::string_view what) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* found = nullptr;
  const auto place = fmt::format("{}:{}", host, port);
  if (const int why = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
      why != 0)
    return fail(errc::unavailable, fmt::format("{} {}: {}", what, place, ::gai_strerror(why)));
  int why = EADDRNOTAVAIL;
  for (const auto* a = found; a != nullptr && why != 0; a = a->ai_next) {
    const int fd = ::socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    why = fd >= 0 && act(fd, *a) == 0 ? 0 : errno;
    if (fd >= 0)
      ::close(fd);
  }
  ::freeaddrinfo(found);
  if (why != 0)
    return fail(errc::unavailable, fmt::format("{} {}: {}", what, place, std::strerror(why)));
  return {};
}

}  // namespace

result<void> check_reachable(const host_and_port& at) {
  return try_addresses(
    at.host, at.port, 0,
    [](int fd, const addrinfo& a) {
      const timeval patience{.tv_sec = 2, .tv_usec = 0};
      ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
      return ::connect(fd, a.ai_addr, a.ai_addrlen);
    },
    "cannot reach");
}

result<void> check_listenable(const std::string& address, std::uint16_t port) {
  return try_addresses(
    address, port, AI_PASSIVE,
    [](int fd, const addrinfo& a) {
      const int yes = 1;
      ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
      return ::bind(fd, a.ai_addr, a.ai_addrlen) == 0 ? ::listen(fd, 1) : -1;
    },
    "cannot listen on");
}

actors::node_options node_options_of(const settings& s) {
  actors::node_options o;
  o.cache_bytes = s.number("cache.bytes");
  if (o.cache_bytes > 0)
    o.cache_directory = s.path("cache.directory");
  o.key_file = s.path("data") / "recalld.key";
  o.readers = s.number("readers");
  o.name = s.text("node.name");
  o.operations = api::catalogue();
  auto& l = o.limits;
  l.requests_max = s.number("limits.requests");
  l.requests_per_stream_max = s.number("limits.requests_per_stream");
  l.request_bytes_max = s.number("limits.request_bytes");
  l.requests_bytes_max = s.number("limits.requests_bytes");
  l.memory_bytes = s.number("memory.bytes");
  l.idle_s = static_cast<std::uint32_t>(s.number("idle_s"));
  l.tail_entries = s.number("limits.tail_entries");
  l.tail_bytes = s.number("limits.tail_bytes");
  l.batch_facts = s.number("limits.batch_facts");
  l.batch_bytes = s.number("limits.batch_bytes");
  l.watchers_max = static_cast<std::uint32_t>(s.number("limits.watchers"));
  l.index_bytes = s.number("limits.index_bytes");
  l.receipts_days = static_cast<std::uint32_t>(s.number("limits.receipts_days"));
  return o;
}

namespace {

/// The endpoint that settings under `part.` name; nothing when they name none.
result<std::optional<providers::model_endpoint>> endpoint_of(const settings& s,
                                                             const std::string& part) {
  providers::model_endpoint at;
  at.base = s.text(part + ".endpoint");
  if (at.base.empty())
    return std::nullopt;
  if (!at.base.starts_with("http://") && !at.base.starts_with("https://"))
    return fail_field(part + ".endpoint",
                      fmt::format("{}.endpoint must be an http:// or https:// URL", part));
  at.model = s.text(part + ".model");
  if (at.model.empty())
    return fail_field(part + ".model",
                      fmt::format("{}.model must name the endpoint's model", part));
  if (const auto& file = s.text(part + ".api_key_file"); !file.empty()) {
    std::ifstream in(file);
    if (!std::getline(in, at.api_key) || at.api_key.empty())
      return fail_field(part + ".api_key_file", fmt::format("cannot read a key from {}", file));
    if (at.api_key.back() == '\r')
      at.api_key.pop_back();
  }
  return at;
}

}  // namespace

result<void> add_embeddings(const settings& s, actors::node_options& to) {
  auto at = endpoint_of(s, "embeddings");
  if (!at)
    return fail(at.error());
  if (!*at)
    return {};
  to.embedding_patience = std::chrono::milliseconds(s.number("embeddings.patience_ms"));
  to.embedding_model.name = (*at)->model;
  to.embedding_model.open = [at = **at] {
    return [source = std::make_shared<providers::http_embeddings>(at)](
             std::span<const std::string> texts, std::chrono::milliseconds within,
             const std::atomic<bool>& stop) { return source->embed(texts, within, stop); };
  };
  return {};
}

result<void> add_scribe(const settings& s, actors::node_options& to) {
  auto at = endpoint_of(s, "summaries");
  if (!at)
    return fail(at.error());
  if (!*at)
    return {};
  providers::scribe_options o;
  o.endpoint = std::move(**at);
  o.tenant = s.text("summaries.tenant");
  o.worker = "scribe " + s.text("node.name");
  o.limits.total_ms = static_cast<std::uint32_t>(s.number("summaries.timeout_s") * 1'000);
  to.companions.push_back([o](caf::actor_system& system, const actors::gateway_handle& gateway,
                              const std::atomic<bool>& stop) mutable {
    client node(system, gateway);
    o.limits.stop = &stop;
    providers::scribe worker(o, [&](std::string_view operation, std::string request) {
      return node.call(operation, std::move(request));
    });
    spdlog::info("writing summaries with {} at {}", o.endpoint.model, o.endpoint.base);
    while (!stop) {
      const auto round = worker.work_once();
      if (round && !round->failure.message.empty())
        spdlog::warn("no summary of {}: {}", round->job, round->failure.message);
      else if (round && round->stored)
        spdlog::debug("wrote the summary of {}", round->job);
      if (!round && !stop)  // The node is ending, or has no room now.
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
  });
  return {};
}

result<host_and_port> parse_host_and_port(std::string_view text, std::string_view field) {
  const auto colon = text.rfind(':');
  auto host = text.substr(0, colon == std::string_view::npos ? 0 : colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  const auto digits = colon == std::string_view::npos ? std::string_view{} : text.substr(colon + 1);
  std::uint16_t port = 0;
  const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (host.empty() || failed != std::errc{} || end != digits.data() + digits.size() || port == 0)
    return fail_field(std::string(field),
                      fmt::format("'{}' is not HOST:PORT, such as 127.0.0.1:4711", text));
  return host_and_port{std::string(host), port};
}

bool is_loopback(std::string_view host) noexcept {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

void start_logging(const settings& s, bool colour, std::string_view quietest) {
  const auto mode = colour ? spdlog::color_mode::always : spdlog::color_mode::never;
  auto logger = spdlog::stderr_color_mt("recalld", mode);
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %^%-5l%$ %v", spdlog::pattern_time_type::utc);
  const auto level_of = [](std::string_view word) {
    return word == "warn" ? spdlog::level::warn : spdlog::level::from_str(std::string(word));
  };
  logger->set_level(std::max(level_of(s.text("log.level")), level_of(quietest)));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace recalld::cli

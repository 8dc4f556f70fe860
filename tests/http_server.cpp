#include "tests/http_server.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <stdexcept>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace recalld::tests {

namespace {

int listen_anywhere(int& port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr*>(&at), size) != 0 || ::listen(fd, 64) != 0
      || ::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size) != 0)
    throw std::runtime_error("cannot listen on 127.0.0.1");
  port = ntohs(at.sin_port);
  return fd;
}

bool readable_soon(int fd) {
  pollfd one{fd, POLLIN, 0};
  return ::poll(&one, 1, 20) > 0;
}

void send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0)
      return;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

std::size_t length_in(const std::string& head) {
  const std::string name = "Content-Length:";
  const auto at = head.find(name);
  return at == std::string::npos ? 0 : std::strtoull(head.c_str() + at + name.size(), nullptr, 10);
}

}  // namespace

http_server::http_server(script answer) : answer_(std::move(answer)) {
  listener_ = listen_anywhere(port_);
  accepting_ = std::thread([this] { accept_all(); });
}

http_server::~http_server() {
  ending_ = true;
  accepting_.join();
  for (auto& t : connections_)
    t.join();
  ::close(listener_);
}

std::string http_server::url(const std::string& path) const {
  return "http://127.0.0.1:" + std::to_string(port_) + path;
}

std::vector<http_request> http_server::requests() const {
  std::lock_guard guard{lock_};
  return requests_;
}

void http_server::accept_all() {
  while (!ending_) {
    if (!readable_soon(listener_))
      continue;
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd >= 0)
      connections_.emplace_back([this, fd] {
        serve(fd);
        ::close(fd);
      });
  }
}

void http_server::serve(int fd) {
  std::string got;
  std::size_t head = std::string::npos;
  while (!ending_ && (head == std::string::npos || got.size() < head + length_in(got))) {
    char some[4096];
    if (!readable_soon(fd))
      continue;
    const auto n = ::recv(fd, some, sizeof some, 0);
    if (n <= 0)
      return;
    got.append(some, static_cast<std::size_t>(n));
    if (const auto end = got.find("\r\n\r\n"); end != std::string::npos)
      head = end + 4;
  }
  if (ending_)
    return;
  http_request request{got.substr(0, head), got.substr(head)};
  std::size_t number = 0;
  {
    std::lock_guard guard{lock_};
    number = requests_.size();
    requests_.push_back(request);
  }
  const auto reply = answer_(request, number);
  const auto pause = [&](std::uint32_t ms) {
    for (std::uint32_t waited = 0; waited < ms && !ending_; waited += 5)
      std::this_thread::sleep_for(std::chrono::milliseconds(std::min(ms, 5U)));
  };
  pause(reply.delay_ms);
  if (!reply.raw.empty()) {
    send_all(fd, reply.raw);
    return;
  }
  send_all(fd, "HTTP/1.1 " + std::to_string(reply.status)
                 + " X\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: "
                 + std::to_string(reply.body.size()) + "\r\n" + reply.headers + "\r\n");
  const std::string_view body = reply.body;
  if (reply.cut) {
    send_all(fd, body.substr(0, body.size() / 2));
    return;
  }
  if (reply.trickle_ms == 0) {
    send_all(fd, body);
    return;
  }
  for (std::size_t i = 0; i < body.size() && !ending_; ++i) {
    send_all(fd, body.substr(i, 1));
    pause(reply.trickle_ms);
  }
}

int unused_port() {
  int port = 0;
  ::close(listen_anywhere(port));
  return port;
}

}  // namespace recalld::tests

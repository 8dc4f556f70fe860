#include "tests/tcp_proxy.hpp"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <string>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace recalld::tests {

namespace {

sockaddr_in local(int port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  at.sin_port = htons(static_cast<std::uint16_t>(port));
  return at;
}

bool send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0)
      return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace

tcp_proxy::tcp_proxy(int server_port, std::string_view marker)
  : server_port_(server_port), marker_(marker) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto at = local(0);
  socklen_t size = sizeof at;
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0
      || ::listen(listener_, 64) != 0
      || ::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size) != 0)
    throw std::runtime_error(std::string("proxy: ") + std::strerror(errno));
  port_ = ntohs(at.sin_port);
  door_ = std::thread([this] { accept_links(); });
}

tcp_proxy::~tcp_proxy() {
  ending_ = true;
  door_.join();
  ::close(listener_);
  for (auto& link : links_)
    link.join();
}

void tcp_proxy::close(bool closed) { closed_ = closed; }

void tcp_proxy::accept_links() {
  while (!ending_) {
    pollfd p{listener_, POLLIN, 0};
    if (::poll(&p, 1, 20) <= 0)
      continue;
    const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0)
      continue;
    const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto at = local(server_port_);
    if (closed_
        || ::connect(server, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) {
      ::close(client);
      ::close(server);
      continue;
    }
    links_.emplace_back([this, client, server] { carry(client, server); });
  }
}

void tcp_proxy::carry(int client, int server) {
  std::string bytes(1 << 16, '\0');
  auto state = link_fault::none;
  while (!ending_ && !closed_) {
    pollfd p[2] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
    if (::poll(p, 2, 20) < 0)
      break;
    if (state == link_fault::stall) {
      // The client gives up some day.
      char one = 0;
      if ((p[0].revents & (POLLHUP | POLLERR)) != 0
          || ((p[0].revents & POLLIN) != 0 && ::recv(client, &one, 1, MSG_PEEK) == 0))
        break;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      continue;
    }
    if ((p[0].revents & (POLLIN | POLLHUP)) != 0) {
      const auto n = ::recv(client, bytes.data(), bytes.size(), 0);
      if (n <= 0)
        break;
      std::string_view request(bytes.data(), static_cast<std::size_t>(n));
      if (request.find(marker_) != std::string_view::npos) {
        state = next_.exchange(link_fault::none);
        if (state != link_fault::none)
          ++struck_;
      }
      if (state == link_fault::stall)
        continue;
      if (state == link_fault::cut_before)
        break;
      if (state == link_fault::cut_within)
        request = request.substr(0, request.size() / 2);
      if (state == link_fault::delay)
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
      if (!send_all(server, request) || state == link_fault::cut_within)
        break;
      if (state == link_fault::half_close)
        ::shutdown(server, SHUT_WR);
    }
    if ((p[1].revents & (POLLIN | POLLHUP)) != 0) {
      const auto n = ::recv(server, bytes.data(), bytes.size(), 0);
      if (n <= 0 || state == link_fault::swallow_answer || state == link_fault::half_close)
        break;
      if (!send_all(client, {bytes.data(), static_cast<std::size_t>(n)}))
        break;
    }
  }
  ::close(client);
  ::close(server);
}

}  // namespace recalld::tests

// A client of a Recalld server elsewhere, over mutual TLS.
//
//   recalld certs init DIRECTORY          once, on the server's side
//   remote_client HOST PORT DIRECTORY     uses client.pem, client.key and ca.pem from there
//
// Watches an application while it writes to it. Exits with 0 when everything went as it should.

#include "api/client.hpp"
#include "api/tls.hpp"

#include <caf/all.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>

namespace {

[[noreturn]] void give_up(const recalld::error& e) {
  std::fprintf(stderr, "%s: %s\n", std::string(to_string(e.code)).c_str(), e.message.c_str());
  std::exit(1);
}

template <class T>
T value(recalld::result<T> r) {
  if (!r)
    give_up(r.error());
  return std::move(*r);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: remote_client HOST PORT DIRECTORY\n");
    return 2;
  }
  recalld::api::system_config config;
  if (auto good = config.use_tls(recalld::api::client_files(argv[3])); !good)
    give_up(good.error());
  caf::actor_system system{config};
  const auto port = static_cast<std::uint16_t>(std::atoi(argv[2]));
  auto memory = value(recalld::client::connect(system, argv[1], port));

  // What is committed from now on, whoever writes it. The watch goes on over lost connections.
  recalld::watch_request what;
  what.app = "shop";
  std::promise<std::string> first;
  bool told = false;
  const auto watch = value(memory.watch(what, [&](const recalld::watch_batch& batch) {
    if (!std::exchange(told, true))
      first.set_value(batch.facts);
  }));

  const auto made = value(memory.create({"shop", "ada", ""}));
  const recalld::session_address here{"shop", "ada", made.session};
  // Whatever happens to the network, this is recorded once.
  const auto done = value(memory.append(here, R"({"role":"user","content":"hello"})"));
  std::printf("recorded as version %llu at position %llu\n",
              static_cast<unsigned long long>(done.version),
              static_cast<unsigned long long>(done.position));

  auto seen = first.get_future();
  if (seen.wait_for(std::chrono::seconds(10)) != std::future_status::ready) {
    std::fprintf(stderr, "the watch saw nothing\n");
    return 1;
  }
  std::printf("watched %s\n", seen.get().c_str());
  return 0;
}

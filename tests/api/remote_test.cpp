// A node in one process or actor system, its clients in another.

#include "tests/api/running_node.hpp"
#include "tests/api/scripted_gateway.hpp"

#include <arpa/inet.h>
#include <caf/io/all.hpp>
#include <caf/openssl/all.hpp>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <future>
#include <map>
#include <set>
#include <thread>

extern char** environ;

namespace recalld::test {

using namespace std::chrono_literals;

namespace {

namespace fs = std::filesystem;

std::unique_ptr<api::system_config> tls_config(const api::tls_files& files) {
  auto config = std::make_unique<api::system_config>(2);
  const auto good = config->use_tls(files);
  INFO((good ? "" : good.error().message));
  REQUIRE(good);
  return config;
}

std::unique_ptr<api::system_config> plain_config() {
  auto config = std::make_unique<api::system_config>(2);
  config->use_plain_network();
  return config;
}

/// A scripted gateway behind a TLS port.
struct tls_gateway {
  std::unique_ptr<api::system_config> config;
  caf::actor_system system;
  std::shared_ptr<script> played = std::make_shared<script>();
  actors::gateway_handle gateway;
  std::uint16_t port = 0;

  explicit tls_gateway(const api::tls_files& files) : config(tls_config(files)), system(*config) {
    played->play = [](auto, auto&, auto&) { return script::answer{{0, R"({"status":"ok"})"}}; };
    gateway = system.spawn(scripted_gateway, played);
    auto bound = caf::openssl::publish(gateway, 0, "127.0.0.1", true);
    REQUIRE(bound);
    port = *bound;
  }
  ~tls_gateway() { caf::anon_send_exit(gateway, caf::exit_reason::user_shutdown); }
};

/// A connected TCP socket to a port of this machine.
class connection {
public:
  explicit connection(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    timeval patience{2, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    REQUIRE(::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0);
  }
  ~connection() { ::close(fd_); }
  int fd() const { return fd_; }
  void write(const std::string& bytes) const {
    [[maybe_unused]] const auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }

private:
  int fd_;
};

/// Bytes of the application that a TLS client with these certificates (none when empty) is sent.
int bytes_received(std::uint16_t port, const api::tls_files& files) {
  const connection tcp(port);
  auto* context = SSL_CTX_new(TLS_client_method());
  if (!files.certificate.empty()) {
    SSL_CTX_use_certificate_chain_file(context, files.certificate.c_str());
    SSL_CTX_use_PrivateKey_file(context, files.key.c_str(), SSL_FILETYPE_PEM);
  }
  auto* ssl = SSL_new(context);
  SSL_set_fd(ssl, tcp.fd());
  int received = -1;
  if (SSL_connect(ssl) == 1) {
    char bytes[256];
    received = SSL_read(ssl, bytes, sizeof(bytes));
  }
  SSL_free(ssl);
  SSL_CTX_free(context);
  return received;
}

bool answers(const std::unique_ptr<api::system_config>& config, std::uint16_t port,
             bool tls = true) {
  caf::actor_system system{*config};
  return client::connect(system, "127.0.0.1", port, tls, 1500ms).has_value();
}

/// This program again, as a server of its own process.
class server_process {
public:
  server_process(const fs::path& directory, std::uint16_t port) : directory_(directory) {
    fs::remove(directory_ / "port");
    environment_ = {"RECALLD_TEST_DIRECTORY=" + directory_.string(),
                    "RECALLD_TEST_PORT=" + std::to_string(port)};
    std::vector<char*> env;
    for (auto& line : environment_)
      env.push_back(line.data());
    for (char** line = environ; *line != nullptr; ++line)
      env.push_back(*line);
    env.push_back(nullptr);
    std::string program = "test_api", name = "serve until killed";
    char* args[] = {program.data(), name.data(), nullptr};
    REQUIRE(posix_spawn(&pid_, "/proc/self/exe", nullptr, nullptr, args, env.data()) == 0);
    for (auto waited = 0ms; waited < 30s && !fs::exists(directory_ / "port"); waited += 10ms)
      std::this_thread::sleep_for(10ms);
    std::ifstream(directory_ / "port") >> port_;
    REQUIRE(port_ != 0);
  }
  ~server_process() { kill(SIGKILL); }
  void kill(int signal) {
    if (pid_ <= 0)
      return;
    ::kill(pid_, signal);
    if (signal == SIGKILL) {
      ::waitpid(pid_, nullptr, 0);
      pid_ = 0;
    }
  }
  std::uint16_t port() const { return port_; }

private:
  fs::path directory_;
  std::vector<std::string> environment_;
  pid_t pid_ = 0;
  std::uint16_t port_ = 0;
};

const session_address where{"shop", "ada", "s"};

std::string entry(int i) { return R"({"role":"user","content":")" + std::to_string(i) + "\"}"; }

}  // namespace

/// Not a test: what `server_process` runs.
TEST_CASE("serve until killed", "[.]") {
  const auto* directory = std::getenv("RECALLD_TEST_DIRECTORY");
  const auto* port = std::getenv("RECALLD_TEST_PORT");
  REQUIRE(directory != nullptr);
  REQUIRE(port != nullptr);
  const fs::path base = directory;
  auto config = tls_config(api::node_files(base / "certs"));
  caf::actor_system system{*config};
  storage::sqlite_options options;
  options.directory = base / "log";
  auto store = storage::open_sqlite(options);
  REQUIRE(store);
  actors::node_options wanted;
  wanted.store = std::move(*store);
  wanted.cache_directory = base / "cache";
  wanted.operations = api::catalogue();
  auto node = actors::node::start(system, std::move(wanted));
  REQUIRE(node);
  const auto bound =
    (*node)->publish("127.0.0.1", static_cast<std::uint16_t>(std::atoi(port)), true);
  REQUIRE(bound);
  std::ofstream(base / "port.new") << *bound;
  fs::rename(base / "port.new", base / "port");
  while (true)
    std::this_thread::sleep_for(1h);
}

// -- who may talk to a TLS port --

TEST_CASE("only who has a certificate of the cluster talks to a TLS port") {
  temporary_directory dir;
  REQUIRE(api::init_certificates(dir.path() / "ours"));
  REQUIRE(api::init_certificates(dir.path() / "others"));
  const auto ours = api::client_files(dir.path() / "ours");
  const auto others = api::client_files(dir.path() / "others");
  tls_gateway server(api::node_files(dir.path() / "ours"));

  SECTION("a client of ours is answered") { CHECK(answers(tls_config(ours), server.port)); }
  SECTION("a node of ours is answered") {
    CHECK(answers(tls_config(api::node_files(dir.path() / "ours")), server.port));
  }
  SECTION("a client of another authority is refused") {
    CHECK_FALSE(answers(tls_config(others), server.port));
  }
  SECTION("a client without certificates is refused") {
    auto anonymous = std::make_unique<api::system_config>(2);
    anonymous->load<caf::io::middleman>();
    anonymous->load<caf::openssl::manager>();
    CHECK_FALSE(answers(anonymous, server.port));
  }
  SECTION("a client that trusts us but shows another authority's certificate is refused") {
    CHECK(bytes_received(server.port, ours) > 0);
    CHECK(bytes_received(server.port, others) <= 0);
    CHECK(bytes_received(server.port, {}) <= 0);
  }
  SECTION("a client without TLS gets nowhere") {
    CHECK_FALSE(answers(plain_config(), server.port, false));
  }
  SECTION("plain bytes do no harm") {
    std::vector<std::unique_ptr<connection>> open;
    for (int i = 0; i < 20; ++i) {
      open.push_back(std::make_unique<connection>(server.port));
      if (i % 4 == 1)
        open.back()->write("GET / HTTP/1.1\r\n\r\n");
      if (i % 4 == 2)
        open.back()->write(std::string(1 << 20, '\xff'));
      if (i % 4 == 3)
        open.back()->write(std::string("\x16\x03\x01\xff\xff", 5) + std::string(4096, '\0'));
    }
    CHECK(answers(tls_config(ours), server.port));
    open.clear();
  }
  CHECK(answers(tls_config(ours), server.port));
}

TEST_CASE("peers that go away without a farewell harm no other connection") {
  temporary_directory dir;
  REQUIRE(api::init_certificates(dir.path()));
  const auto ours = api::client_files(dir.path());
  tls_gateway server(api::node_files(dir.path()));
  server.played->play = [](auto, auto& operation, auto&) {
    return operation == "approval.wait" ? script::answer() : script::answer{{0, "{}"}};
  };
  const auto config = tls_config(ours);
  caf::actor_system system{*config};
  auto patient = client::connect(system, "127.0.0.1", server.port, true, 5s);
  REQUIRE(patient);
  const auto before = server.played->seen().size();
  call_options briefly;
  briefly.timeout = 500ms;
  // What the call itself asks the server to wait is no silence: it is not sent again for that.
  auto waiting = std::async(std::launch::async, [&] {
    return patient->call("approval.wait", R"({"wait_ms":4000})", briefly);
  });
  const auto end = std::chrono::steady_clock::now() + 4s;
  int rude = 0;
  while (std::chrono::steady_clock::now() < end) {
    rude += bytes_received(server.port, ours) > 0 ? 1 : 0;
    std::this_thread::sleep_for(10ms);
  }
  CHECK(rude > 10);
  CHECK_FALSE(waiting.get());
  // A machine that stands still for seconds may cost a connection; each of those peers may not.
  CHECK(server.played->seen().size() <= before + 2);
}

TEST_CASE("a client's certificate does not make a node") {
  temporary_directory dir;
  REQUIRE(api::init_certificates(dir.path()));
  tls_gateway impostor(api::client_files(dir.path()));
  CHECK_FALSE(answers(tls_config(api::client_files(dir.path())), impostor.port));
  CHECK(impostor.played->seen().empty());
}

// -- the same client near and far --

TEST_CASE("a remote client does what an embedded one does") {
  running_node n(plain_config());
  const auto port = n.node().publish("127.0.0.1", 0, false);
  REQUIRE(port);
  auto config = plain_config();
  caf::actor_system system{*config};
  auto far = client::connect(system, "127.0.0.1", *port, false);
  REQUIRE(far);

  const auto made = far->create(where, R"({"k":1})");
  REQUIRE(made);
  CHECK(made->created);
  CHECK(made->session == "s");
  const auto returned = far->create(where, "{}", true);
  REQUIRE(returned);
  CHECK_FALSE(returned->created);
  CHECK(far->create(where).error().code == errc::already_exists);
  const auto done =
    far->append(where, R"( [{"role":"user","content":"hi","id":"e1"}] )", R"({"temp:t":1})");
  REQUIRE(done);
  CHECK(done->entries.at(0).id == "e1");
  CHECK(done->state == R"({"temp:t":1})");
  REQUIRE(far->update_state(where, R"({"k":2})"));
  for (auto* c : {&*far, &n.client()}) {
    const auto read = c->get(where, R"({"last":10})");
    REQUIRE(read);
    CHECK(read->state == R"({"k":2})");
    CHECK(read->entries.at(0).entry == R"({"role":"user","content":"hi","id":"e1"})");
    CHECK(read->entries.at(0).version == done->entries.at(0).version);
    CHECK(read->created_at == made->recorded_at);
    const auto page = c->list("shop", "ada");
    REQUIRE(page);
    CHECK(page->sessions.at(0).address.session == "s");
    CHECK(page->sessions.at(0).entries_total == 1);
  }
  call_options stale;
  stale.expected_version = 1;
  const auto conflict = far->append(where, entry(1), "{}", stale);
  REQUIRE_FALSE(conflict);
  CHECK(conflict.error().code == errc::conflict);
  CHECK(conflict.error().current_version == 3);
  const auto forked = far->fork(where);
  REQUIRE(forked);
  CHECK(forked->session.size() == 36);
  REQUIRE(far->close(where));
  CHECK(far->append(where, entry(1)).error().code == errc::closed);
  REQUIRE(far->remove(where));
  CHECK(far->get(where).error().code == errc::not_found);
}

// -- watches --

TEST_CASE("a watch sees every fact in order, and goes on where it was") {
  running_node n;
  REQUIRE(n.client().create(where));
  std::mutex lock;
  std::vector<std::uint64_t> versions;
  const auto see = [&](const watch_batch& batch) {
    std::lock_guard guard{lock};
    for (const auto& fact : json::parse(batch.facts))
      versions.push_back(fact["version"]);
  };
  const auto count = [&] {
    std::lock_guard guard{lock};
    return versions.size();
  };
  const auto wait_for = [&](std::size_t wanted) {
    for (auto waited = 0ms; waited < 20s && count() < wanted; waited += 5ms)
      std::this_thread::sleep_for(5ms);
    CHECK(count() == wanted);
  };
  watch_request what;
  what.app = "shop";
  what.credit = 3;
  std::string cursor;
  {
    auto w = n.client().watch(what, see);
    REQUIRE(w);
    for (int i = 0; i < 100; ++i)
      REQUIRE(n.client().append(where, entry(i)));
    REQUIRE(n.client().append({"other", "u", "s"}, entry(1)).error().code == errc::not_found);
    wait_for(100);
    cursor = w->cursor();
  }
  for (int i = 0; i < 50; ++i)
    REQUIRE(n.client().append(where, entry(i)));
  CHECK(count() == 100);
  n.restart();
  what.after = cursor;
  auto w = n.client().watch(what, see);
  REQUIRE(w);
  REQUIRE(n.client().append(where, entry(0)));
  wait_for(151);
  for (std::size_t i = 0; i < versions.size(); ++i)
    CHECK(versions[i] == i + 2);

  what.after = "1.another-log.1.5";
  const auto refused = n.client().watch(what, see);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().field == "after");
}

// -- a process that dies --

TEST_CASE("over mutual TLS and a killed process every write happens once and every watch goes on") {
  temporary_directory dir;
  REQUIRE(api::init_certificates(dir.path() / "certs"));
  std::optional<server_process> server(std::in_place, dir.path(), 0);
  const auto port = server->port();
  auto config = tls_config(api::client_files(dir.path() / "certs"));
  caf::actor_system system{*config};
  auto connected = client::connect(system, "127.0.0.1", port, true);
  INFO((connected ? "" : connected.error().message));
  REQUIRE(connected);
  auto& memory = *connected;
  REQUIRE(memory.create(where));

  std::mutex lock;
  std::map<int, int> watched;
  watch_request what;
  what.session = "s", what.user = "ada", what.app = "shop";
  auto w = memory.watch(what, [&](const watch_batch& batch) {
    std::lock_guard guard{lock};
    for (const auto& fact : json::parse(batch.facts))
      if (fact["type"] == "session.entry_appended")
        ++watched[static_cast<int>(fact["version"])];
  });
  REQUIRE(w);

  constexpr int writes = 600;
  std::atomic<int> good{0}, bad{0};
  call_options patient;
  patient.timeout = 60s;
  for (int i = 0; i < writes; ++i) {
    memory.call_async("session.append",
                      R"({"app":"shop","user":"ada","session":"s","entry":)" + entry(i) + "}",
                      patient, [&](const result<std::string>& r) { ++(r ? good : bad); });
    if (i == 200 || i == 400) {
      for (auto waited = 0ms; waited < 30s && good < i / 2; waited += 1ms)
        std::this_thread::sleep_for(1ms);
      server.reset();
      server.emplace(dir.path(), port);
    }
  }
  for (auto waited = 0ms; waited < 90s && good + bad < writes; waited += 10ms)
    std::this_thread::sleep_for(10ms);
  CHECK(good == writes);
  CHECK(bad == 0);

  const auto read = memory.get(where, R"({"limit":10000})", patient);
  REQUIRE(read);
  std::multiset<std::string> contents;
  for (const auto& e : read->entries)
    contents.insert(json::parse(e.entry)["content"]);
  CHECK(contents.size() == writes);
  CHECK(std::set(contents.begin(), contents.end()).size() == writes);

  const auto all_watched = [&] {
    std::lock_guard guard{lock};
    return watched.size() == writes;
  };
  for (auto waited = 0ms; waited < 30s && !all_watched(); waited += 10ms)
    std::this_thread::sleep_for(10ms);
  CHECK(all_watched());
}

TEST_CASE("a frozen process is noticed and the calls go on when it thaws") {
  temporary_directory dir;
  REQUIRE(api::init_certificates(dir.path() / "certs"));
  server_process server(dir.path(), 0);
  auto config = tls_config(api::client_files(dir.path() / "certs"));
  caf::actor_system system{*config};
  auto memory = client::connect(system, "127.0.0.1", server.port(), true);
  REQUIRE(memory);
  REQUIRE(memory->create(where));
  server.kill(SIGSTOP);
  call_options hasty;
  hasty.timeout = 1s;
  const auto read = memory->get(where, "{}", hasty);
  REQUIRE_FALSE(read);
  CHECK(read.error().code == errc::unavailable);
  const auto write = memory->append(where, entry(1), "{}", hasty);
  REQUIRE_FALSE(write);
  CHECK(write.error().code == errc::outcome_unknown);
  std::promise<bool> promise;
  call_options patient;
  patient.timeout = 30s;
  patient.command_id = "c2";
  memory->call_async(
    "session.append", R"({"app":"shop","user":"ada","session":"s","entry":)" + entry(2) + "}",
    patient, [&](const result<std::string>& r) { promise.set_value(r.has_value()); });
  std::this_thread::sleep_for(4s);
  server.kill(SIGCONT);
  CHECK(promise.get_future().get());
  const auto after = memory->get(where, R"({"limit":100})");
  REQUIRE(after);
  std::multiset<std::string> contents;
  for (const auto& e : after->entries)
    contents.insert(json::parse(e.entry)["content"]);
  CHECK(contents.count("2") == 1);
  CHECK(contents.count("1") <= 1);
}

TEST_CASE("who accepts a connection and says nothing does not hold up a client for ever") {
  const auto listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::bind(listener, reinterpret_cast<const sockaddr*>(&at), sizeof(at)) == 0);
  REQUIRE(::listen(listener, 16) == 0);
  socklen_t size = sizeof(at);
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size);
  {
    auto config = plain_config();
    caf::actor_system system{*config};
    const auto begun = std::chrono::steady_clock::now();
    const auto none = client::connect(system, "127.0.0.1", ntohs(at.sin_port), false, 1s);
    REQUIRE_FALSE(none);
    CHECK(none.error().code == errc::unavailable);
    CHECK(std::chrono::steady_clock::now() - begun < 3s);
  }
  ::close(listener);
}

}  // namespace recalld::test

#include "cli/connection.hpp"

#include <algorithm>

#include <CLI/App.hpp>
#include <caf/actor_system.hpp>
#include <fmt/format.h>

#include "actors/node.hpp"
#include "api/tls.hpp"
#include "cli/addressing.hpp"
#include "cli/hosting.hpp"

namespace recalld::cli {

constexpr std::chrono::seconds patience_max{5};

struct connection::parts {
  explicit parts(const settings& s)
    : config(s.number("scheduler.threads")),
      tenant(s.text("tenant")),
      timeout(std::chrono::seconds(s.number("timeout_s"))) {}

  // In the order in which they are made; they go in the opposite one.
  api::system_config config;
  std::unique_ptr<caf::actor_system> system;
  std::unique_ptr<actors::node> node;
  std::unique_ptr<recalld::client> client;
  std::string tenant;
  std::chrono::milliseconds timeout;
};

connection::connection(std::unique_ptr<parts> p) : parts_(std::move(p)) {}
connection::~connection() = default;

result<std::unique_ptr<connection>> connection::open(const invocation& call, bool embedded) {
  const auto& s = call.settings;
  if (auto tenant = required_setting(call, "tenant"); !tenant)
    return fail(tenant.error());
  auto p = std::make_unique<parts>(s);
  start_logging(s, call.err.colour, "warn");
  if (embedded) {
    auto store = open_log_to_write(call);
    if (!store)
      return fail(store.error());
    p->system = std::make_unique<caf::actor_system>(p->config);
    auto options = node_options_of(s);
    if (auto usable = add_embeddings(s, options); !usable)
      return recalld::fail(usable.error());
    options.store = std::move(*store);
    auto node = actors::node::start(*p->system, std::move(options));
    if (!node)
      return fail(node.error());
    p->node = std::move(*node);
    p->client = std::make_unique<recalld::client>(*p->system, p->node->gateway());
    return std::unique_ptr<connection>(new connection(std::move(p)));
  }
  const auto server = parse_host_and_port(s.text("server"), "server");
  if (!server)
    return fail(server.error());
  const bool plain = s.flag("tls.insecure_loopback");
  if (plain && !is_loopback(server->host))
    return fail_field("tls.insecure_loopback",
                      "without TLS only a server on this machine is spoken to, not "
                        + server->host);
  if (auto reached = check_reachable(*server); !reached) {
    auto e = reached.error();
    e.message += "; `recalld serve` starts a server, --embedded does without";
    return fail(std::move(e));
  }
  if (plain) {
    p->config.use_plain_network();
  } else if (auto tls = p->config.use_tls(api::client_files(s.path("tls.certs"))); !tls) {
    auto e = tls.error();
    e.message +=
      "; `serve` makes certificates in its data directory, --data or --certs name the place";
    return fail(std::move(e));
  }
  p->system = std::make_unique<caf::actor_system>(p->config);
  auto connected =
    recalld::client::connect(*p->system, server->host, server->port, !plain,
                             std::min<std::chrono::milliseconds>(p->timeout, patience_max));
  if (!connected) {
    auto e = connected.error();
    if (e.code == errc::unavailable)
      e.message +=
        fmt::format("; does it accept the certificates in {}?", s.path("tls.certs").string());
    return fail(std::move(e));
  }
  p->client = std::make_unique<recalld::client>(std::move(*connected));
  return std::unique_ptr<connection>(new connection(std::move(p)));
}

recalld::client& connection::client() { return *parts_->client; }

call_options connection::completed(call_options options) const {
  options.timeout = parts_->timeout;
  if (options.tenant.empty())
    options.tenant = parts_->tenant;
  return options;
}

result<std::string> connection::call(std::string_view operation, std::string request,
                                     call_options options) {
  return parts_->client->call(operation, std::move(request), completed(std::move(options)));
}

void add_embedded_flag(CLI::App& app, bool& embedded) {
  app.add_flag("--embedded", embedded,
               "Open the data directory in this process instead of asking a server.");
}

}  // namespace recalld::cli

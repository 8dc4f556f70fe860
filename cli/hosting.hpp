#pragma once

#include <cstdint>
#include <memory>

#include "actors/node.hpp"
#include "api/tls.hpp"
#include "cli/settings.hpp"
#include "storage/store.hpp"

/// From settings to what runs a node or talks to one.
namespace recalld::cli {

/// Everything but the store and who reports to whom; `on_fatal` keeps its default.
actors::node_options node_options_of(const settings& s);

/// Lets memories be found by what they mean, too, with the model that the settings name; nothing when
/// they name none. As below.
result<void> add_embeddings(const settings& s, actors::node_options& to);

/// Lets due summaries be written through the endpoint that the settings name; nothing when they name
/// none. `invalid` with the setting when it cannot be used. The key is in no message.
result<void> add_scribe(const settings& s, actors::node_options& to);

/// `HOST:PORT`, also `[::1]:4711`. `invalid` with `field` otherwise.
struct host_and_port {
  std::string host;
  std::uint16_t port = 0;
};
result<host_and_port> parse_host_and_port(std::string_view text, std::string_view field);
bool is_loopback(std::string_view host) noexcept;

/// Whether somebody listens there; `unavailable` with the system's reason when nobody does. Far
/// quicker than a whole connection to nobody.
result<void> check_reachable(const host_and_port& at);
/// Whether this process may listen there; `unavailable` with the system's reason, e.g. because the
/// port is in use.
result<void> check_listenable(const std::string& address, std::uint16_t port);

/// Sends the log to stderr, at the level and with the colours that the settings ask for.
void start_logging(const settings& s, bool colour, std::string_view quietest = "trace");

}  // namespace recalld::cli

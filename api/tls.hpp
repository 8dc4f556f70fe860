#pragma once

#include <cstddef>
#include <filesystem>

#include <caf/actor_system_config.hpp>

#include "api/certs.hpp"
#include "events/result.hpp"

/// How an actor system has to be configured to host a node or to talk to one. CAF's own defaults
/// are wrong for both: no heartbeats, and connections without certificates are anonymous.
namespace recalld::api {

/// Who this process is and whom it trusts, as PEM files.
struct tls_files {
  std::filesystem::path certificate;
  std::filesystem::path key;
  std::filesystem::path ca;
};
/// Of a node, resp. of a client, in a directory that `init_certificates` filled.
tls_files node_files(const std::filesystem::path& directory);
tls_files client_files(const std::filesystem::path& directory);

/// Whether a process may start with these: all three are there and readable, the key is nobody
/// else's to read and belongs to the certificate, the certificate is signed by the authority and
/// neither it nor the authority is expired or not valid yet. The error names the file.
result<void> check_tls(const tls_files& files);

/// An actor system's configuration for Recalld: sensible scheduler settings and heartbeats, with
/// the network modules that were asked for. Settings may be changed before the system is made.
class system_config : public caf::actor_system_config {
public:
  /// `threads` = 0: one for each core.
  explicit system_config(std::size_t threads = 0);

  /// Mutual TLS between processes. Checked here: `check_tls`.
  result<void> use_tls(const tls_files& files);
  /// Unencrypted connections. For loopback addresses only: whoever reaches a plain port is trusted.
  void use_plain_network();
};

}  // namespace recalld::api

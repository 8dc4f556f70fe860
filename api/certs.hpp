#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "events/result.hpp"

/// Certificates of one Recalld cluster: an authority of its own that signs nodes and clients, and
/// nothing else trusts or is trusted.
namespace recalld::api {

/// Where `init_certificates` puts things.
struct certificate_paths {
  std::filesystem::path ca;      ///< `ca.pem`: goes to every node and client.
  std::filesystem::path ca_key;  ///< `ca.key`: stays with who issues certificates.
  std::filesystem::path node;    ///< `node.pem`, `node.key`: may serve and may call.
  std::filesystem::path node_key;
  std::filesystem::path client;  ///< `client.pem`, `client.key`: may call only.
  std::filesystem::path client_key;
};
certificate_paths paths_in(const std::filesystem::path& directory);

/// How long certificates hold, from an hour ago on.
struct certificate_lifetimes {
  std::chrono::hours authority{24 * 3650};
  std::chrono::hours leaf{24 * 825};
};

/// Makes an authority, a node's and a client's certificate (EC P-256) in `directory`, which is
/// created when it is missing. The node's certificate is for `localhost`, `127.0.0.1`, `::1` and
/// `names` (host names and addresses). Keys are readable by their owner only. Nothing is ever
/// overwritten: when one of the files exists, `already_exists` names it and nothing is written.
result<certificate_paths> init_certificates(const std::filesystem::path& directory,
                                            const std::vector<std::string>& names = {},
                                            certificate_lifetimes lifetimes = {});

}  // namespace recalld::api

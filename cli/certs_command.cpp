#include <memory>

#include <CLI/App.hpp>
#include <fmt/format.h>

#include "api/certs.hpp"
#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "events/json.hpp"

namespace recalld::cli {

namespace {

struct options {
  std::string directory;
  std::vector<std::string> names;
};

int init(const invocation& call, const options& o) {
  const auto made = api::init_certificates(o.directory, o.names);
  if (!made)
    return call.fail(made.error());
  const std::pair<std::string_view, std::filesystem::path> files[] = {
    {"ca", made->ca},         {"ca_key", made->ca_key},
    {"node", made->node},     {"node_key", made->node_key},
    {"client", made->client}, {"client_key", made->client_key}};
  if (call.json) {
    json::object_writer w;
    for (const auto& [name, path] : files)
      w.str(name, path.string());
    fmt::print("{}\n", std::move(w).done());
    return exit_code::success;
  }
  for (const auto& [name, path] : files)
    fmt::print("{}\n", path.string());
  call.note("Nodes need ca.pem, node.pem and node.key; clients ca.pem, client.pem and client.key. "
            "Keep ca.key away from both.");
  return exit_code::success;
}

}  // namespace

command certs_command() {
  return {
    .name = "certs",
    .summary = "Make the certificates of a cluster.",
    .children = {{
      .name = "init",
      .summary = "Make an authority of its own with certificates for nodes and clients.",
      .details = "Nothing is ever overwritten.",
      .examples = {"recalld certs init certs",
                   "recalld certs init certs --name db1.internal --name 10.0.0.7"},
      .prepare = [](CLI::App& app) -> runner {
        auto o = std::make_shared<options>();
        app.add_option("DIR", o->directory, "Where the files go.")->required();
        app
          .add_option("--name", o->names,
                      "A host name or address of the node; localhost is always one.")
          ->type_name("NAME")
          ->allow_extra_args(false);
        return [o](const invocation& call) { return init(call, *o); };
      },
    }},
    .heading = "Server",
  };
}

}  // namespace recalld::cli

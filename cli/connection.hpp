#pragma once

#include <memory>
#include <string>

#include "api/client.hpp"
#include "cli/command.hpp"

namespace CLI {
class App;
}

namespace recalld::cli {

/// What a command talks to: the server that the settings name or, `embedded`, a node in this
/// process over the data directory. The actor system lives as long as this.
class connection {
public:
  /// `unavailable` when there is no server, or (embedded) while a server has the directory.
  static result<std::unique_ptr<connection>> open(const invocation& call, bool embedded);
  ~connection();

  recalld::client& client();
  /// Runs an operation for the tenant and with the timeout of the settings.
  result<std::string> call(std::string_view operation, std::string request,
                           call_options options = {});
  /// The options that `call` fills in.
  call_options completed(call_options options) const;

private:
  struct parts;
  explicit connection(std::unique_ptr<parts> p);
  std::unique_ptr<parts> parts_;
};

/// `--embedded`, which asks for a node in this process.
void add_embedded_flag(CLI::App& app, bool& embedded);

}  // namespace recalld::cli

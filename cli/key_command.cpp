#include <memory>

#include <CLI/App.hpp>
#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/operation_run.hpp"

namespace recalld::cli {

namespace {

constexpr auto audience = used_by::client | used_by::store;

command rotate_command() {
  return {
    .name = "rotate",
    .summary = "Make a fresh key and seal all credentials under it.",
    .details = "The fresh key becomes the first line of the key file, recalld.key in the data\n"
               "directory; older lines still open what they sealed. Keep a copy of the file.",
    .audience = audience,
    .examples = {"recalld key rotate", "recalld key rotate --embedded --json"},
    .prepare = [](CLI::App& app) -> runner {
      auto embedded = std::make_shared<bool>(false);
      add_embedded_flag(app, *embedded);
      return [embedded](const invocation& call) {
        return run_operation(call, *embedded, "key.rotate", "{}", {}, [](const json_view& a) {
          fmt::print("key {}: {} credentials sealed again, {} that no key opens\n", a.str("key"),
                     a.num("resealed"), a.num("unreadable"));
        });
      };
    },
  };
}

}  // namespace

command key_command() {
  return {
    .name = "key",
    .summary = "Change the keys that credentials are sealed with.",
    .children = {rotate_command()},
    .heading = "Server",
  };
}

}  // namespace recalld::cli

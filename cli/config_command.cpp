#include <memory>

#include <CLI/App.hpp>
#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/copying.hpp"
#include "cli/exit_code.hpp"
#include "cli/text_table.hpp"
#include "events/json.hpp"

namespace recalld::cli {

namespace {

/// A URL is shown without its password.
std::string printable_value(const settings::value& v) {
  return v.what->key == "store" ? printable_place(v.text) : v.text;
}

std::string as_json(const settings& s) {
  json::object_writer all;
  for (const auto& v : s.all()) {
    json::object_writer one;
    one.str("value", printable_value(v))
      .str("from", to_string(v.from))
      .str("environment", environment_name(*v.what));
    all.raw(v.what->key, std::move(one).done());
  }
  json::object_writer out;
  out.str("file", s.file().string()).raw("settings", std::move(all).done());
  return std::move(out).done();
}

void print_table(const invocation& call) {
  text_table table({{.title = "KEY", .paint = style::cyan},
                    {.title = "VALUE", .shrinks = true},
                    {.title = "FROM", .shrinks = true}});
  for (const auto& v : call.settings.all())
    table.add({std::string(v.what->key), printable_value(v), to_string(v.from)});
  fmt::print("{}", table.render(call.out));
  if (call.settings.file().empty())
    call.note("No configuration file was found.");
}

}  // namespace

command config_command() {
  return {
    .name = "config",
    .summary = "Print every setting's effective value and where it came from.",
    .details =
      "A flag wins over the environment, the environment over the file, the file over the default.",
    .audience = used_by::store | used_by::server | used_by::client | used_by::session,
    .examples = {"recalld config", "RECALLD_LISTEN_PORT=9000 recalld config --json",
                 "recalld config --template > recalld.toml"},
    .prepare = [](CLI::App& app) -> runner {
      struct options {
        bool as_template = false;
        bool markdown = false;
      };
      auto o = std::make_shared<options>();
      app.add_flag("--template", o->as_template,
                   "A commented configuration file with every default.");
      app.add_flag("--markdown", o->markdown, "The settings as the manual has them.");
      return [o](const invocation& call) {
        if (o->as_template)
          fmt::print("{}", config_template());
        else if (o->markdown)
          fmt::print("{}", config_markdown());
        else if (call.json)
          fmt::print("{}\n", as_json(call.settings));
        else
          print_table(call);
        return exit_code::success;
      };
    },
    .heading = "Tools",
  };
}

}  // namespace recalld::cli

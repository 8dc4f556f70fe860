#include <memory>

#include <CLI/App.hpp>
#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/operation_run.hpp"

namespace recalld::cli {

namespace {

constexpr auto audience = used_by::client | used_by::store | used_by::session;

struct principal_options : write_options {
  std::string principal;
  bool dry_run = false;
};

std::vector<std::string> usage_cells(const std::string& what, const std::string& name,
                                     const json_view& u) {
  const auto number = [&](std::string_view member) {
    return grouped(static_cast<std::uint64_t>(u.num(member)));
  };
  return {what,
          name,
          number("calls"),
          number("prompt_tokens"),
          number("completion_tokens"),
          number("reasoning_tokens"),
          number("total_tokens"),
          number("duration_ms")};
}

void print_usage(const invocation& call, const json_view& a) {
  constexpr auto right = text_table::align::right;
  text_table table({{.title = "OF"},
                    {.title = "NAME", .shrinks = true, .paint = style::cyan},
                    {.title = "CALLS", .side = right},
                    {.title = "PROMPT", .side = right},
                    {.title = "COMPLETION", .side = right},
                    {.title = "REASONING", .side = right},
                    {.title = "TOTAL", .side = right},
                    {.title = "MS", .side = right}});
  const auto part = [](const json_view& of, std::string_view name) {
    return json_view(of.raw(name).value_or("{}"));
  };
  table.add(usage_cells("last call", "", part(a, "last")));
  table.add(usage_cells("all", "", part(a, "total")));
  for (const auto& s : a.array("sessions"))
    table.add(usage_cells("session", s.str("session"), part(s, "total")));
  for (const auto& m : a.array("models"))
    table.add(usage_cells("model", m.str("model"), part(m, "total")));
  fmt::print("{}", table.render(call.out));
}

command purge_command() {
  return {
    .name = "purge",
    .summary = "Delete everything about a principal, credentials included.",
    .audience = audience,
    .examples = {"recalld principal purge anna --dry-run", "recalld principal purge anna"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<principal_options>();
      app.add_option("PRINCIPAL", o->principal, "The principal's id.")->required();
      app.add_flag("--dry-run", o->dry_run, "Only tell what would go.");
      add_write_options(app, *o);
      return [o](const invocation& call) {
        json::object_writer w;
        w.str("principal", o->principal).boolean("dry_run", o->dry_run);
        return run_operation(call, o->embedded, "principal.purge", std::move(w).done(), o->write(),
                             [](const json_view& a) {
                               if (a.flag("purged"))
                                 print_written(a, "purged");
                               else
                                 fmt::print(
                                   "would go: {} model sessions, {} attachments, {} histories, "
                                   "the usage of {} calls\n",
                                   a.num("sessions"), a.num("collections"), a.num("histories"),
                                   a.num("calls"));
                             });
      };
    },
  };
}

}  // namespace

command principal_command() {
  return {
    .name = "principal",
    .summary = "Delete what is known of somebody who talks with agents.",
    .children = {purge_command()},
    .heading = "Memories",
  };
}

command usage_command() {
  return {
    .name = "usage",
    .summary = "Print what a principal used: tokens and time, per model session and model.",
    .audience = audience,
    .examples = {"recalld usage anna", "recalld usage anna --json"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<principal_options>();
      app.add_option("PRINCIPAL", o->principal, "The principal's id.")->required();
      add_embedded_flag(app, o->embedded);
      return [o](const invocation& call) {
        json::object_writer w;
        w.str("principal", o->principal);
        return run_operation(call, o->embedded, "usage.get", std::move(w).done(), {},
                             [&](const json_view& a) { print_usage(call, a); });
      };
    },
    .heading = "Memories",
  };
}

}  // namespace recalld::cli

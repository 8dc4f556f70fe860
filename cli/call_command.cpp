#include <iostream>
#include <iterator>
#include <memory>

#include <CLI/App.hpp>
#include <fmt/format.h>

#include "api/catalogue.hpp"
#include "cli/commands.hpp"
#include "cli/connection.hpp"
#include "cli/exit_code.hpp"
#include "cli/text_table.hpp"
#include "events/json.hpp"
#include "events/near_word.hpp"

namespace recalld::cli {

namespace {

struct options {
  std::string operation;
  std::string request = "{}";
  std::string command_id;
  std::optional<std::uint64_t> expected_version;
  bool embedded = false;
  bool describe = false;
};

void list_operations(const invocation& call) {
  if (call.json) {
    fmt::print("{}\n", api::catalogue_json());
    return;
  }
  text_table table({{.title = "OPERATION", .paint = style::cyan},
                    {.title = "RIGHT"},
                    {.title = "SUMMARY", .shrinks = true}});
  for (const auto& op : api::catalogue())
    table.add(
      {std::string(op.name), std::string(api::to_string(op.needs)), std::string(op.summary)});
  fmt::print("{}", table.render(call.out));
}

void describe(const invocation& call, const actors::operation& op) {
  fmt::print("{}: {}\n", call.out.paint(style::bold, op.name), op.summary);
  for (const auto& [title, fields] :
       {std::pair("REQUEST", op.request), std::pair("ANSWER", op.answer)}) {
    text_table table({{.title = title, .paint = style::cyan},
                      {.title = "TYPE"},
                      {.title = ""},
                      {.title = "MEANING"}});
    for (const auto& f : fields)
      table.add({std::string(f.name), std::string(api::to_string(f.type)),
                 f.required ? "required" : "", std::string(f.meaning)});
    if (!table.empty())
      fmt::print("\n{}", table.render({.colour = call.out.colour}));
  }
}

int run_call(const invocation& call, const options& o) {
  if (o.operation.empty()) {
    list_operations(call);
    return exit_code::success;
  }
  const auto* op = api::find_operation(o.operation);
  if (op == nullptr) {
    std::vector<std::string_view> known;
    for (const auto& candidate : api::catalogue())
      known.push_back(candidate.name);
    const auto near = nearest(o.operation, known);
    return call.fail(
      invalid("OPERATION", fmt::format("unknown operation '{}'{}", o.operation,
                                       near.empty() ? std::string("; `recalld call` lists them")
                                                    : fmt::format("; did you mean '{}'?", near))));
  }
  if (o.describe) {
    describe(call, *op);
    return exit_code::success;
  }
  auto request = o.request;
  if (request == "-")
    request.assign(std::istreambuf_iterator<char>(std::cin), {});
  if (auto good = json::validate(request, "REQUEST"); !good)
    return call.fail(good.error());
  auto to = connection::open(call, o.embedded);
  if (!to)
    return call.fail(to.error());
  call_options options;
  options.command_id = o.command_id;
  options.expected_version = o.expected_version;
  const auto answer = (*to)->call(o.operation, std::move(request), std::move(options));
  if (!answer)
    return call.fail(answer.error());
  fmt::print("{}\n", *answer);
  return exit_code::success;
}

}  // namespace

command call_command() {
  return {
    .name = "call",
    .summary = "Run any operation with a JSON request; without one, list them.",
    .audience = used_by::client | used_by::store | used_by::session,
    .examples =
      {"recalld call", "recalld call context.add --describe",
       "recalld call context.list '{\"app\":\"demo\",\"user\":\"anna\",\"session\":\"s1\"}'",
       "recalld call session.append - < request.json"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app.add_option("OPERATION", o->operation, "Its name, such as session.append.");
      app.add_option("REQUEST", o->request, "A JSON object; - reads it from stdin. Default: {}.");
      app.add_flag("--describe", o->describe,
                   "Print the operation's fields instead of running it.");
      app
        .add_option("--command-id", o->command_id,
                    "Names a write: repeating it under the same name gives the first answer.")
        ->type_name("ID");
      app
        .add_option("--expected-version", o->expected_version,
                    "Refuse when the stream is at another version.")
        ->type_name("N");
      add_embedded_flag(app, o->embedded);
      return [o](const invocation& call) { return run_call(call, *o); };
    },
    .heading = "Sessions",
  };
}

}  // namespace recalld::cli

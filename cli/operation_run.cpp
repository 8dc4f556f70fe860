#include "cli/operation_run.hpp"

#include <CLI/App.hpp>

#include "cli/addressing.hpp"

namespace recalld::cli {

void add_write_options(CLI::App& app, write_options& o) {
  add_embedded_flag(app, o.embedded);
  app
    .add_option("--command-id", o.command_id,
                "Names the write: repeating it under the same name gives the first answer.")
    ->type_name("ID");
}

void print_written(const json_view& answer, std::string_view what) {
  const bool again = answer.flag("duplicate");
  fmt::print("{}, version {}{}\n", what, answer.num("version"),
             again ? " (repeated: the first answer)" : "");
}

result<void> add_json(json::object_writer& w, std::string_view name, const std::string& raw) {
  if (raw.empty())
    return {};
  if (auto good = json::validate(raw, name); !good)
    return fail_field(fmt::format("--{}", name),
                      fmt::format("is not JSON: {}", good.error().message));
  w.raw(name, raw);
  return {};
}

void add_page_options(CLI::App& app, page_options& o, std::string_view things) {
  app
    .add_option("--limit", o.limit, fmt::format("{} on a page, up to 1000. Default: 100.", things))
    ->type_name("N");
  app.add_option("--cursor", o.cursor, "Go on where the last page ended.")->type_name("CURSOR");
  app.add_flag("--all", o.all, "Every page, one after the other.");
  add_embedded_flag(app, o.embedded);
}

int list_pages(const invocation& call, const page_options& o, listing what) {
  auto to = connection::open(call, o.embedded);
  if (!to)
    return call.fail(to.error());
  auto cursor = o.cursor;
  do {
    json::object_writer w;
    for (const auto& [name, raw] : what.request)
      w.raw(name, raw);
    w.num("limit", o.limit);
    if (!cursor.empty())
      w.str("cursor", cursor);
    const auto answer = (*to)->call(what.operation, std::move(w).done());
    if (!answer)
      return call.fail(answer.error());
    const json_view a(*answer);
    cursor = a.str("next_cursor");
    if (call.json) {
      fmt::print("{}\n", *answer);
      continue;
    }
    for (const auto& one : a.array(what.member))
      what.table.add(what.cells(one));
  } while (o.all && !cursor.empty());
  if (call.json)
    return exit_code::success;
  if (what.table.empty())
    call.note(what.nothing);
  else
    fmt::print("{}", what.table.render(call.out));
  if (!cursor.empty())
    call.note(fmt::format("more: --cursor {}  (or --all)", cursor));
  return exit_code::success;
}

void add_filters(listing& what,
                 std::initializer_list<std::pair<std::string_view, const std::string*>> filters) {
  for (const auto& [name, value] : filters)
    if (!value->empty())
      what.request.emplace_back(name, json::quote(*value));
}

result<std::string> acting(const invocation& call, const std::string& by) {
  return by.empty() ? required_setting(call, "user") : result<std::string>(by);
}

}  // namespace recalld::cli

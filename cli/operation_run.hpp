#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cli/connection.hpp"
#include "cli/exit_code.hpp"
#include "cli/json_view.hpp"
#include "cli/text_table.hpp"

/// What commands share that run one operation and show its answer.
namespace recalld::cli {

/// How a write is told apart from another one.
struct write_options {
  bool embedded = false;
  std::string command_id;

  call_options write() const {
    call_options o;
    o.command_id = command_id;
    return o;
  }
};
/// `--embedded` and `--command-id`.
void add_write_options(CLI::App& app, write_options& o);

/// Opens the connection, runs one operation and shows the answer.
template <class Show>
int run_operation(const invocation& call, bool embedded, std::string_view operation,
                  std::string request, call_options options, Show show) {
  auto to = connection::open(call, embedded);
  if (!to)
    return call.fail(to.error());
  auto answer = (*to)->call(operation, std::move(request), std::move(options));
  if (!answer)
    return call.fail(answer.error());
  if (call.json)
    fmt::print("{}\n", *answer);
  else
    show(json_view(*answer));
  return exit_code::success;
}

/// `WHAT, version N`, and whether it is the answer of an earlier execution.
void print_written(const json_view& answer, std::string_view what);

/// A value from the command line that must be JSON; nothing is added when it is empty.
result<void> add_json(json::object_writer& w, std::string_view name, const std::string& raw);

/// Pages of a list.
struct page_options {
  bool embedded = false;
  std::uint64_t limit = 100;
  std::string cursor;
  bool all = false;
};
/// `--limit`, `--cursor`, `--all` and `--embedded`; `things` begins a sentence.
void add_page_options(CLI::App& app, page_options& o, std::string_view things);

struct listing {
  std::string_view operation;
  std::string_view member;  ///< The array in the answer.
  /// What is asked for; `limit` and `cursor` are added. Values are raw JSON.
  std::vector<std::pair<std::string_view, std::string>> request;
  text_table table;
  std::function<std::vector<std::string>(const json_view&)> cells;
  std::string nothing;  ///< For a person, when the list is empty.
};
/// Asks for one page, or all of them, and prints a table, or each answer as it is with `--json`.
int list_pages(const invocation& call, const page_options& o, listing what);

/// Text filters that were given, as members of a request.
void add_filters(listing& what,
                 std::initializer_list<std::pair<std::string_view, const std::string*>> filters);

/// Who acts: `by`, or whom the setting `user` names; `invalid` when neither does.
result<std::string> acting(const invocation& call, const std::string& by);

}  // namespace recalld::cli

#include "api/catalogue.hpp"
#include "api/families.hpp"
#include "events/json.hpp"
#include "projections/projections.hpp"

/// About the node itself.
namespace recalld::api {

namespace {

using actors::operation;
using actors::right;

constexpr auto figures_answer = std::to_array<field>({
  {"figures", field_type::object, true, "Counters and gauges of the node, by name."},
});
constexpr auto health_answer = std::to_array<field>({
  {"status", field_type::string, true, "`ok`: the node takes requests."},
  {"now", field_type::string, true, "The node's time, UTC."},
  {"protocol", field_type::integer, true, "The version of the gateway's protocol."},
});
constexpr auto list_answer = std::to_array<field>({
  {"operations", field_type::array, true,
   "Sorted by name: `{name, summary, right, method, path, tool, request, answer}`."},
});

void figures(call_ptr call) {
  call->figures([=](const std::string& object) {
    json::object_writer out;
    out.raw("figures", object);
    call->answer(std::move(out).done());
  });
}

void health(call_ptr call) {
  json::object_writer out;
  out.str("status", "ok")
    .str("now", format_time(call->now()))
    .num("protocol", std::uint64_t{actors::protocol_version});
  call->answer(std::move(out).done());
}

void list(call_ptr call) {
  json::object_writer out;
  out.raw("operations", catalogue_json());
  call->answer(std::move(out).done());
}

constexpr auto rebuild_request = std::to_array<field>({
  {"tables", field_type::array, false, "Names of projection tables; all of them when absent."},
});
constexpr auto rebuild_answer = std::to_array<field>({
  {"facts", field_type::integer, true, "How many facts were replayed."},
  {"seconds", field_type::any, true, "How long it took."},
});

/// The tables that a request names; all of them when it names none.
result<std::vector<const projections::table*>> named_tables(const actors::call& call) {
  std::vector<const projections::table*> tables;
  const auto raw = call.raw("tables");
  if (!raw) {
    const auto all = projections::tables();
    return std::vector<const projections::table*>(all.begin(), all.end());
  }
  const auto names = json::elements(*raw, "tables");
  if (!names)
    return fail(names.error());
  for (std::size_t i = 0; i < names->size(); ++i) {
    const auto path = "tables[" + std::to_string(i) + "]";
    const auto name = json::as_string((*names)[i], path);
    if (!name)
      return fail(name.error());
    const auto* table = projections::find_table(*name);
    if (table == nullptr)
      return fail_field(path, "there is no table \"" + *name + "\"");
    tables.push_back(table);
  }
  if (tables.empty())
    return fail_field("tables", "must not be empty");
  return tables;
}

void rebuild(call_ptr call) {
  auto tables = named_tables(*call);
  if (!tables) {
    call->fail(tables.error());
    return;
  }
  call->rebuild(std::move(*tables), call->on<actors::rebuilt>([call](const actors::rebuilt& done) {
    json::object_writer out;
    out.num("facts", done.facts)
      .raw("seconds", std::to_string(static_cast<double>(done.took_us) / 1e6));
    call->answer(std::move(out).done());
  }));
}

constexpr operation operations[] = {
  {"node.figures",
   "Answers figures about the node.",
   right::admin,
   "GET",
   "/v1/node/figures",
   false,
   {},
   figures_answer,
   figures},
  {"node.health",
   "Answers as long as the node takes requests.",
   right::read,
   "GET",
   "/v1/node/health",
   false,
   {},
   health_answer,
   health},
  {"node.rebuild", "Writes the rows of projection tables again from the log, beside the live ones.",
   right::admin, "POST", "/v1/node/rebuild", false, rebuild_request, rebuild_answer, rebuild},
  {"catalogue.list",
   "Answers this catalogue.",
   right::read,
   "GET",
   "/v1/operations",
   false,
   {},
   list_answer,
   list},
};

}  // namespace

std::span<const operation> node_operations() { return operations; }

}  // namespace recalld::api

#include "api/catalogue.hpp"
#include "api/families.hpp"
#include "events/json.hpp"

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

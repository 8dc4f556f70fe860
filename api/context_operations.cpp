#include <algorithm>

#include "api/answers.hpp"
#include "api/steps.hpp"

/// Typed items that travel with a session apart from its messages.
namespace recalld::api {

namespace {

using actors::committed;
using actors::operation;
using actors::right;

constexpr auto add_request = join(
  session_fields, std::to_array<field>({
                    {"id", field_type::string, false,
                     "The item's id; absent: a UUIDv7 is made. An item with this id is replaced."},
                    {"type", field_type::string, true,
                     "A word such as `system`, `user` or `file`; at most 128 bytes."},
                    {"content", field_type::any, true, "Text or structured JSON, at most 256 KiB."},
                  }));
constexpr auto add_answer =
  join(written_fields, std::to_array<field>({
                         {"id", field_type::string, false, "The item's id."},
                       }));
constexpr auto list_request =
  join(session_fields, std::to_array<field>({
                         {"type", field_type::string, false, "Only items of this type."},
                       }));
constexpr auto list_answer = std::to_array<field>({
  {"version", field_type::integer, true, "The session's version."},
  {"contexts", field_type::array, true,
   "Oldest first: `{id, type, content, created_at, version}`."},
});
constexpr auto remove_request =
  join(session_fields, std::to_array<field>({
                         {"id", field_type::string, true, "The item's id."},
                       }));

void add(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_session_key(in, call->tenant());
  session::add_context wish;
  wish.id = in.optional_id("id").value_or("");
  wish.type = in.word("type").value_or("");
  const auto content = in.raw("content");
  if (content && content->size() > session::entry_bytes_max)
    in.refuse("content", "at most " + std::to_string(session::entry_bytes_max) + " bytes");
  if (wish.type.empty())
    in.refuse("type", "is required");
  if (!content)
    in.refuse("content", "is required");
  if (refused(call, in))
    return;
  wish.content = json::minify(*content);
  auto id = wish.id;
  submit_to_session(call, key, std::move(wish), [=](const committed& done) {
    auto shown = id;
    for (const auto& r : done.facts)
      if (const auto added = fact_as<session::context_added>(*r))
        shown = added->id;
    auto out = written(done);
    if (!shown.empty())
      out.str("id", shown);
    call->answer(std::move(out).done());
  });
}

std::string items_json(const session::state& state, const std::optional<std::string>& type) {
  using item = decltype(state.contexts)::value_type;
  std::vector<const item*> items;
  for (const auto& one : state.contexts)
    if (!type || one.second.type == *type)
      items.push_back(&one);
  std::sort(items.begin(), items.end(),
            [](const item* a, const item* b) { return a->second.version < b->second.version; });
  array_writer all;
  for (const auto* one : items) {
    json::object_writer out;
    out.str("id", one->first)
      .str("type", one->second.type)
      .raw("content", one->second.content)
      .str("created_at", format_time(one->second.created_at))
      .num("version", one->second.version);
    all.raw(std::move(out).done());
  }
  return std::move(all).done();
}

void list(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_session_key(in, call->tenant());
  const auto type = in.word("type");
  if (refused(call, in))
    return;
  view_session(call, key, 0, [=](const session_view& seen) {
    json::object_writer out;
    out.num("version", seen.stream.version).raw("contexts", items_json(*seen.state, type));
    call->answer(std::move(out).done());
  });
}

void remove(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_session_key(in, call->tenant());
  session::remove_context wish{in.id("id")};
  if (refused(call, in))
    return;
  submit_to_session(call, key, std::move(wish),
                    [=](const committed& done) { call->answer(written(done).done()); });
}

constexpr operation operations[] = {
  {"context.add", "Adds a context item to a session, or replaces it.", right::write, "POST",
   "/v1/apps/{app}/users/{user}/sessions/{session}/contexts", true, add_request, add_answer, add},
  {"context.list", "Lists the context items of a session.", right::read, "GET",
   "/v1/apps/{app}/users/{user}/sessions/{session}/contexts", true, list_request, list_answer,
   list},
  {"context.remove", "Removes a context item from a session.", right::write, "DELETE",
   "/v1/apps/{app}/users/{user}/sessions/{session}/contexts/{id}", false, remove_request,
   written_fields, remove},
};

}  // namespace

std::span<const operation> context_operations() { return operations; }

}  // namespace recalld::api

#include "api/answers.hpp"
#include "api/steps.hpp"

/// State that sessions share: of an application and of a user in it; and the application's
/// retention rules.
namespace recalld::api {

namespace {

using actors::committed;
using actors::operation;
using actors::right;

constexpr auto set_fields = std::to_array<field>({
  {"state", field_type::object, true,
   "Keys to set; the scope's own prefix may be given and is stripped, another scope's is refused."},
});
constexpr auto key_field = std::to_array<field>({
  {"key", field_type::string, true, "The key, with or without the scope's prefix."},
});
constexpr auto deletion_fields = std::to_array<field>({
  {"key", field_type::string, false, "One key."},
  {"keys", field_type::array, false, "Several keys."},
  {"all", field_type::boolean, false, "Every key there is."},
});
constexpr auto list_answer = std::to_array<field>({
  {"version", field_type::integer, true,
   "The version of the shared state; 0 = nothing was ever set."},
  {"updated_at", field_type::string, false, "When it was last changed, UTC."},
  {"state", field_type::object, true, "Every key without its prefix."},
});
constexpr auto get_answer = std::to_array<field>({
  {"version", field_type::integer, true, "The version of the shared state."},
  {"key", field_type::string, true, "The key without its prefix."},
  {"value", field_type::any, true, "Its value."},
});
constexpr auto retention_fields = std::to_array<field>({
  {"keep_entries", field_type::integer, false,
   "Keep the last so many entries of a session, whole turns; 0 or absent: all."},
  {"ttl_s", field_type::integer, false,
   "A session expires so many seconds after its last write; 0 or absent: never."},
});
constexpr auto retention_answer = std::to_array<field>({
  {"version", field_type::integer, true, "The version of the application's shared state."},
  {"keep_entries", field_type::integer, true, "Entries that are kept of a session; 0 = all."},
  {"ttl_s", field_type::integer, true, "Seconds from the last write to expiry; 0 = never."},
});

constexpr auto app_set = join(app_field, set_fields);
constexpr auto app_delete = join(app_field, deletion_fields);
constexpr auto app_get = join(app_field, key_field);
constexpr auto app_retention = join(app_field, retention_fields);
constexpr auto user_set = join(user_fields, set_fields);
constexpr auto user_delete = join(user_fields, deletion_fields);
constexpr auto user_get = join(user_fields, key_field);

/// Reads whose state it is.
template <scope_kind Kind>
stream_id read_stream(request_reader& in, const std::string& tenant) {
  const auto app = in.id("app");
  if constexpr (Kind == scope_kind::app)
    return app_stream(tenant, app);
  else
    return user_stream(tenant, app, in.id("user"));
}

void submit(const call_ptr& call, const request_reader& in, const stream_id& stream,
            scope::command command) {
  if (refused(call, in))
    return;
  call->submit(
    stream, any_command(std::move(command)), {},
    call->on<committed>([=](const committed& done) { call->answer(written(done).done()); }));
}

template <scope_kind Kind>
void update_state(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto stream = read_stream<Kind>(in, call->tenant());
  submit(call, in, stream, scope::update_state{read_scope_state(in, Kind)});
}

template <scope_kind Kind>
void delete_state(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto stream = read_stream<Kind>(in, call->tenant());
  submit(call, in, stream, read_scope_deletion(in, Kind));
}

template <scope_kind Kind>
void list_state(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto stream = read_stream<Kind>(in, call->tenant());
  if (refused(call, in))
    return;
  call->view(stream, 0, call->on<actors::stream_view>([=](const actors::stream_view& view) {
    const auto& state = scope_of(view);
    json::object_writer out;
    out.num("version", view.version);
    if (state.updated_at != 0)
      out.str("updated_at", format_time(state.updated_at));
    out.raw("state", json::object_of(state.values));
    call->answer(std::move(out).done());
  }));
}

template <scope_kind Kind>
void get_state(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto stream = read_stream<Kind>(in, call->tenant());
  const auto key = scope_key(in.string("key").value_or(""), Kind, "key");
  if (!key)
    in.refuse(key.error());
  if (refused(call, in))
    return;
  call->view(stream, 0, call->on<actors::stream_view>([=](const actors::stream_view& view) {
    const auto& values = scope_of(view).values;
    const auto found = values.find(*key);
    if (found == values.end()) {
      call->fail({errc::not_found, "there is no such key", "key", 0, 0});
      return;
    }
    json::object_writer out;
    out.num("version", view.version).str("key", *key).raw("value", found->second);
    call->answer(std::move(out).done());
  }));
}

void set_retention(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto stream = read_stream<scope_kind::app>(in, call->tenant());
  submit(call, in, stream, scope::set_retention{read_retention(in)});
}

void get_retention(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto stream = read_stream<scope_kind::app>(in, call->tenant());
  if (refused(call, in))
    return;
  call->view(stream, 0, call->on<actors::stream_view>([=](const actors::stream_view& view) {
    const auto& kept = scope_of(view).retention;
    json::object_writer out;
    out.num("version", view.version)
      .num("keep_entries", kept.keep_entries)
      .num("ttl_s", kept.ttl_s);
    call->answer(std::move(out).done());
  }));
}

constexpr std::string_view app_path = "/v1/apps/{app}/state";
constexpr std::string_view app_key_path = "/v1/apps/{app}/state/{key}";
constexpr std::string_view user_path = "/v1/apps/{app}/users/{user}/state";
constexpr std::string_view user_key_path = "/v1/apps/{app}/users/{user}/state/{key}";
constexpr std::string_view retention_path = "/v1/apps/{app}/retention";

constexpr auto app = scope_kind::app;
constexpr auto user = scope_kind::user;

constexpr operation operations[] = {
  {"app.update_state", "Sets keys of an application's shared state.", right::write, "PATCH",
   app_path, false, app_set, written_fields, update_state<app>},
  {"app.delete_state", "Deletes keys of an application's shared state.", right::write, "DELETE",
   app_path, false, app_delete, written_fields, delete_state<app>},
  {"app.list_state", "Answers an application's shared state.", right::read, "GET", app_path, false,
   app_field, list_answer, list_state<app>},
  {"app.get_state", "Answers one key of an application's shared state.", right::read, "GET",
   app_key_path, false, app_get, get_answer, get_state<app>},
  {"app.set_retention", "Sets how much of its sessions an application keeps, and how long.",
   right::admin, "PUT", retention_path, false, app_retention, written_fields, set_retention},
  {"app.get_retention", "Answers an application's retention rules.", right::read, "GET",
   retention_path, false, app_field, retention_answer, get_retention},
  {"user.update_state", "Sets keys of a user's shared state.", right::write, "PATCH", user_path,
   false, user_set, written_fields, update_state<user>},
  {"user.delete_state", "Deletes keys of a user's shared state.", right::write, "DELETE", user_path,
   false, user_delete, written_fields, delete_state<user>},
  {"user.list_state", "Answers a user's shared state.", right::read, "GET", user_path, false,
   user_fields, list_answer, list_state<user>},
  {"user.get_state", "Answers one key of a user's shared state.", right::read, "GET", user_key_path,
   false, user_get, get_answer, get_state<user>},
};

}  // namespace

std::span<const operation> scope_operations() { return operations; }

}  // namespace recalld::api

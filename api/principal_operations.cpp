#include "api/answers.hpp"
#include "api/cursor.hpp"
#include "api/histories.hpp"
#include "api/row_pages.hpp"
#include "api/steps.hpp"

/// Principals: who talks with agents, through which models, and what it used.
namespace recalld::api {

namespace {

using actors::committed;
using actors::operation;
using actors::right;
namespace rows = projections::principals;
using state_ptr = std::shared_ptr<const principal::state>;

// -- fields --

constexpr auto principal_field = std::to_array<field>({
  {"principal", field_type::string, true, "The principal's id; 1 to 512 bytes."},
});
constexpr auto record_fields = std::to_array<field>({
  {"username", field_type::string, false, "What the principal is called."},
  {"status", field_type::string, false, "Of the dialog; a word of the caller's."},
  {"admin", field_type::boolean, false, "Whether this is an administrator."},
  {"network", field_type::string, false, "Where the principal is known from."},
  {"topics", field_type::array, false, "Up to 1000 texts."},
  {"metadata", field_type::object, false, "Opaque."},
});
constexpr auto put_request = join(principal_field, record_fields);
constexpr auto get_answer = std::to_array<field>({
  {"version", field_type::integer, true, "The principal's version."},
  {"principal", field_type::string, true, "The principal's id."},
  {"record", field_type::object, false,
   "`{username, status, admin, network, topics, metadata, created_at, updated_at}`."},
  {"sessions", field_type::array, true,
   "Model sessions: `{session, endpoint, base_url, model, type, has_credential}`."},
  {"collections", field_type::array, true, "What is attached: `{collection, app, user}`."},
});
constexpr auto list_answer = std::to_array<field>({
  {"principals", field_type::array, true,
   "In order of ids: `{principal, username, status, admin, network, topics, metadata, created_at, "
   "updated_at}`."},
  {"next_cursor", field_type::string, false, "To the next page, when there is one."},
});
constexpr auto session_field = std::to_array<field>({
  {"session", field_type::string, true, "The model session's name; 1 to 512 bytes."},
});
constexpr auto one_session = join(principal_field, session_field);
constexpr auto put_session_request =
  join(one_session,
       std::to_array<field>({
         {"endpoint", field_type::string, false, "The provider, or a name for where it is."},
         {"base_url", field_type::string, false, "Where it is."},
         {"model", field_type::string, false, "The model; usage without one counts for it."},
         {"type", field_type::string, false, "What kind of interface it has."},
         {"credential", field_type::string, false,
          "A secret that is sealed before it is stored, at most 4 KiB; absent: as it was."},
       }));
constexpr auto credential_answer = std::to_array<field>({
  {"credential", field_type::string, true, "The secret."},
});
constexpr auto collection_field = std::to_array<field>({
  {"collection", field_type::string, true, "A name for an owner's memories; 1 to 512 bytes."},
});
constexpr auto detach_request = join(principal_field, collection_field);
constexpr auto attach_request =
  join(detach_request, std::to_array<field>({
                         {"app", field_type::string, true, "The owner's application."},
                         {"user", field_type::string, true, "The owner."},
                       }));
constexpr auto record_usage_request =
  join(principal_field,
       std::to_array<field>({
         {"call", field_type::string, true,
          "Id of the call of the model: told twice, it counts once; 1 to 512 bytes."},
         {"session", field_type::string, false, "The model session that it belongs to."},
         {"model", field_type::string, false, "The model; absent: that of the model session."},
         {"prompt_tokens", field_type::integer, false, "0 to 2^53, as all that follow."},
         {"completion_tokens", field_type::integer, false, "Tokens of the answer."},
         {"reasoning_tokens", field_type::integer, false, "Tokens of thinking, if told apart."},
         {"total_tokens", field_type::integer, false, "Absent: the sum of prompt and completion."},
         {"duration_ms", field_type::integer, false, "How long the call took."},
       }));
constexpr auto record_usage_answer =
  join(written_fields,
       std::to_array<field>({
         {"counted", field_type::boolean, true, "False when this call had been counted before."},
       }));
constexpr auto usage_answer = std::to_array<field>({
  {"version", field_type::integer, true, "The principal's version."},
  {"principal", field_type::string, true, "The principal's id."},
  {"last", field_type::object, true,
   "The last call: `{calls, prompt_tokens, completion_tokens, reasoning_tokens, total_tokens, "
   "duration_ms}`."},
  {"total", field_type::object, true, "All calls."},
  {"sessions", field_type::array, true, "Per model session: `{session, last, total}`."},
  {"models", field_type::array, true, "Per model: `{model, last, total}`."},
});
constexpr auto purge_request =
  join(principal_field, std::to_array<field>({
                          {"dry_run", field_type::boolean, false, "Only tell what would go."},
                        }));
constexpr auto purge_answer = std::to_array<field>({
  {"version", field_type::integer, true, "The principal's version."},
  {"position", field_type::integer, true, "Where the purge stands in the log; 0 = nowhere."},
  {"recorded_at", field_type::string, false, "Server time of the purge, UTC."},
  {"duplicate", field_type::boolean, false, "The command id was executed before."},
  {"purged", field_type::boolean, true, "False for a dry run."},
  {"sessions", field_type::integer, false, "Model sessions that go, with their credentials."},
  {"collections", field_type::integer, false, "Attachments that go; the memories stay."},
  {"histories", field_type::integer, false, "Histories that go, or went."},
  {"calls", field_type::integer, false, "Calls whose usage goes."},
});

// -- steps --

struct principal_key {
  std::string tenant;
  std::string id;
  stream_id stream() const { return {stream_kind::principal, {tenant, id}}; }
};

principal_key read_principal(request_reader& in, const call_ptr& call) {
  return {call->tenant(), in.id("principal")};
}

void submit(const call_ptr& call, const request_reader& in, const principal_key& key,
            principal::command command) {
  if (refused(call, in))
    return;
  call->submit(
    key.stream(), any_command(std::move(command)), {},
    call->on<committed>([=](const committed& done) { call->answer(written(done).done()); }));
}

void view_principal(const call_ptr& call, const request_reader& in, const principal_key& key,
                    std::function<void(version_t, const state_ptr&)> then) {
  if (refused(call, in))
    return;
  call->view(key.stream(), 0, call->on<actors::stream_view>([=](const actors::stream_view& view) {
    then(view.version, std::get<state_ptr>(view.state));
  }));
}

/// A principal of whom nothing is known is `not_found`.
bool missing(const call_ptr& call, const state_ptr& state) {
  if (*state != principal::state{})
    return false;
  call->fail({errc::not_found, "there is no such principal", "principal", 0, 0});
  return true;
}

// -- the record --

void put(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_principal(in, call);
  principal::record r;
  r.username = in.string("username").value_or("");
  r.status = in.string("status").value_or("");
  r.admin = in.flag("admin").value_or(false);
  r.network = in.string("network").value_or("");
  r.topics = in.strings("topics", principal::things_max);
  r.metadata = in.object("metadata").value_or("");
  submit(call, in, key, principal::put{std::move(r)});
}

std::string record_json(const principal::state& s) {
  const auto& r = s.record;
  array_writer topics;
  for (const auto& topic : r.topics)
    topics.raw(json::quote(topic));
  json::object_writer w;
  w.str("username", r.username)
    .str("status", r.status)
    .boolean("admin", r.admin)
    .str("network", r.network)
    .raw("topics", std::move(topics).done())
    .raw("metadata", r.metadata.empty() ? "{}" : r.metadata)
    .str("created_at", format_time(s.created_at))
    .str("updated_at", format_time(s.updated_at));
  return std::move(w).done();
}

void get(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_principal(in, call);
  view_principal(call, in, key, [=](version_t version, const state_ptr& s) {
    if (missing(call, s))
      return;
    array_writer sessions;
    for (const auto& [name, m] : s->sessions) {
      json::object_writer one;
      one.str("session", name)
        .str("endpoint", m.endpoint)
        .str("base_url", m.base_url)
        .str("model", m.model)
        .str("type", m.type)
        .boolean("has_credential", !m.sealed.empty());
      sessions.raw(std::move(one).done());
    }
    array_writer collections;
    for (const auto& [name, c] : s->collections) {
      json::object_writer one;
      one.str("collection", name).str("app", c.app).str("user", c.user);
      collections.raw(std::move(one).done());
    }
    json::object_writer out;
    out.num("version", version).str("principal", key.id);
    if (s->created_at != 0)
      out.raw("record", record_json(*s));
    out.raw("sessions", std::move(sessions).done())
      .raw("collections", std::move(collections).done());
    call->answer(std::move(out).done());
  });
}

void list(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  row_page page;
  page.query.table = &rows::spec;
  page.query.index = rows::by_tenant;
  page.query.equals = {call->tenant()};
  page.place = {rows::principal, rows::stream};
  page.list = list_name({"principal.list", call->tenant()});
  page.member = "principals";
  page.render = [](const projections::row& r) {
    json::object_writer w;
    w.str("principal", text_at(r, rows::principal))
      .str("username", text_at(r, rows::username))
      .str("status", text_at(r, rows::status))
      .boolean("admin", number_at(r, rows::admin) != 0)
      .str("network", text_at(r, rows::network))
      .raw("topics", text_at(r, rows::topics))
      .raw("metadata", text_at(r, rows::metadata));
    add_time(w, "created_at", r, rows::created_at);
    add_time(w, "updated_at", r, rows::updated_at);
    return std::move(w).done();
  };
  answer_page(call, in, std::move(page));
}

/// Nobody who gets the id later may do what was granted to this one.
void revoke_grants(const call_ptr& call, const std::string& principal, std::function<void()> then) {
  const auto stream = permission::stream_of(call->tenant());
  call->view(stream, 0, call->on<actors::stream_view>([=](const actors::stream_view& v) {
    if (v.stream_no == 0) {
      then();
      return;
    }
    permission::revoke_all_of wish{principal, std::string(histories_app), "principal.purge"};
    call->submit_as(stream, {}, any_command(permission::command(std::move(wish))), {},
                    call->on<committed>([=](const committed&) { then(); }));
  }));
}

void purge(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_principal(in, call);
  if (!in.flag("dry_run").value_or(false)) {
    if (refused(call, in))
      return;
    // Whoever gets no answer purges again, which drops the histories that the first time left.
    call->submit(key.stream(), any_command(principal::command(principal::purge{})), {},
                 call->on<committed>([=](const committed& done) {
                   drop_histories(call, key.id, [=](std::uint64_t histories) {
                     revoke_grants(call, key.id, [=] {
                       auto out = written(done);
                       out.boolean("purged", true).num("histories", histories);
                       call->answer(std::move(out).done());
                     });
                   });
                 }));
    return;
  }
  view_principal(call, in, key, [=](version_t version, const state_ptr& s) {
    count_histories(call, key.id, [=](std::uint64_t histories) {
      json::object_writer out;
      out.num("version", version)
        .num("position", std::uint64_t{0})
        .boolean("purged", false)
        .num("sessions", static_cast<std::uint64_t>(s->sessions.size()))
        .num("collections", static_cast<std::uint64_t>(s->collections.size()))
        .num("histories", histories)
        .num("calls", s->all.total.calls);
      call->answer(std::move(out).done());
    });
  });
}

// -- model sessions --

void put_session(call_ptr call) {
  constexpr std::size_t credential_bytes_max = 4 * 1024;
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_principal(in, call);
  principal::put_session wish;
  wish.name = in.id("session");
  wish.session.endpoint = in.string("endpoint").value_or("");
  wish.session.base_url = in.string("base_url").value_or("");
  wish.session.model = in.string("model").value_or("");
  wish.session.type = in.string("type").value_or("");
  const auto credential = in.string("credential");
  wish.keep_credential = !credential;
  if (credential && credential->size() > credential_bytes_max)
    in.refuse("credential", "at most " + std::to_string(credential_bytes_max) + " bytes");
  else if (credential && !credential->empty()) {
    auto sealed = call->seal(*credential);
    if (sealed)
      wish.session.sealed = std::move(*sealed);
    else
      in.refuse(sealed.error());
  }
  submit(call, in, key, std::move(wish));
}

void drop_session(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_principal(in, call);
  submit(call, in, key, principal::drop_session{in.id("session")});
}

void credential(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_principal(in, call);
  const auto name = in.id("session");
  view_principal(call, in, key, [=](version_t, const state_ptr& s) {
    const auto found = s->sessions.find(name);
    if (found == s->sessions.end() || found->second.sealed.empty()) {
      call->fail({errc::not_found, "there is no such credential", "session", 0, 0});
      return;
    }
    auto plain = call->unseal(found->second.sealed);
    if (!plain) {
      call->fail(std::move(plain.error()));
      return;
    }
    json::object_writer out;
    out.str("credential", *plain);
    call->answer(std::move(out).done());
  });
}

// -- collections --

void attach(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_principal(in, call);
  submit(call, in, key, principal::attach{in.id("collection"), {in.id("app"), in.id("user")}});
}

void detach(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_principal(in, call);
  submit(call, in, key, principal::detach{in.id("collection")});
}

// -- usage --

void record_usage(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_principal(in, call);
  const auto count = [&](std::string_view name) {
    return in.count(name, 0, principal::number_max);
  };
  principal::record_usage wish;
  wish.call = in.id("call");
  wish.session = in.optional_id("session").value_or("");
  wish.model = in.optional_id("model").value_or("");
  auto& used = wish.used;
  used.calls = 1;
  used.prompt_tokens = count("prompt_tokens").value_or(0);
  used.completion_tokens = count("completion_tokens").value_or(0);
  used.reasoning_tokens = count("reasoning_tokens").value_or(0);
  used.total_tokens = count("total_tokens").value_or(used.prompt_tokens + used.completion_tokens);
  used.duration_ms = count("duration_ms").value_or(0);
  if (refused(call, in))
    return;
  call->submit(key.stream(), any_command(principal::command(std::move(wish))), {},
               call->on<committed>([=](const committed& done) {
                 auto out = written(done);
                 out.boolean("counted", done.first_version != 0);
                 call->answer(std::move(out).done());
               }));
}

std::string usage_json(const principal::usage& u) {
  json::object_writer w;
  w.num("calls", u.calls)
    .num("prompt_tokens", u.prompt_tokens)
    .num("completion_tokens", u.completion_tokens)
    .num("reasoning_tokens", u.reasoning_tokens)
    .num("total_tokens", u.total_tokens)
    .num("duration_ms", u.duration_ms);
  return std::move(w).done();
}

std::string spent_json(std::string_view what,
                       const std::map<std::string, principal::spent, std::less<>>& all) {
  array_writer out;
  for (const auto& [name, s] : all) {
    json::object_writer one;
    one.str(what, name).raw("last", usage_json(s.last)).raw("total", usage_json(s.total));
    out.raw(std::move(one).done());
  }
  return std::move(out).done();
}

void usage(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_principal(in, call);
  view_principal(call, in, key, [=](version_t version, const state_ptr& s) {
    json::object_writer out;
    out.num("version", version)
      .str("principal", key.id)
      .raw("last", usage_json(s->all.last))
      .raw("total", usage_json(s->all.total))
      .raw("sessions", spent_json("session", s->by_session))
      .raw("models", spent_json("model", s->by_model));
    call->answer(std::move(out).done());
  });
}

constexpr std::string_view all_path = "/v1/principals";
constexpr std::string_view one_path = "/v1/principals/{principal}";
constexpr std::string_view session_path = "/v1/principals/{principal}/sessions/{session}";
constexpr std::string_view collection_path = "/v1/principals/{principal}/collections/{collection}";
constexpr std::string_view usage_path = "/v1/principals/{principal}/usage";

constexpr operation operations[] = {
  {"principal.put", "Writes the record of a principal, whole.", right::write, "PUT", one_path,
   false, put_request, written_fields, put},
  {"principal.get", "Answers what is known of a principal; credentials are not told.", right::read,
   "GET", one_path, false, principal_field, get_answer, get},
  {"principal.list", "Lists the principals.", right::read, "GET", all_path, false, page_fields,
   list_answer, list},
  {"principal.purge", "Deletes everything about a principal, credentials included.", right::admin,
   "DELETE", one_path, false, purge_request, purge_answer, purge},
  {"principal.put_session", "Sets through which model a principal is served; seals the credential.",
   right::write, "PUT", session_path, false, put_session_request, written_fields, put_session},
  {"principal.drop_session", "Deletes a model session with its credential.", right::write, "DELETE",
   session_path, false, one_session, written_fields, drop_session},
  {"principal.credential", "Answers the credential of a model session.", right::admin, "GET",
   "/v1/principals/{principal}/sessions/{session}/credential", false, one_session,
   credential_answer, credential},
  {"principal.attach", "Attaches an owner's memories to a principal under a name.", right::write,
   "PUT", collection_path, false, attach_request, written_fields, attach},
  {"principal.detach", "Detaches a collection; its memories stay.", right::write, "DELETE",
   collection_path, false, detach_request, written_fields, detach},
  {"usage.record", "Counts what a call of a model used, once.", right::write, "POST", usage_path,
   false, record_usage_request, record_usage_answer, record_usage},
  {"usage.get", "Answers what a principal used: last call, in all, per session and model.",
   right::read, "GET", usage_path, false, principal_field, usage_answer, usage},
};

}  // namespace

std::span<const operation> principal_operations() { return operations; }

}  // namespace recalld::api

#include <algorithm>

#include "api/answers.hpp"
#include "api/cursor.hpp"
#include "api/row_pages.hpp"
#include "events/canonical.hpp"

/// Requests for approval, the rules and grants that answer them, and questions.
namespace recalld::api {

namespace {

using actors::committed;
using actors::operation;
using actors::right;
using actors::stream_view;
namespace inbox = projections::inbox;
namespace grants = projections::grants;

constexpr time_us_t us_per_s = 1'000'000;
constexpr std::uint64_t expires_s_max = 366ULL * 86'400;

constexpr auto approval_id = std::to_array<field>({
  {"approval", field_type::string, true, "Id of the request."},
});
constexpr auto origin_fields = std::to_array<field>({
  {"run", field_type::string, false, "The run it belongs to; without one nothing is attached."},
  {"app", field_type::string, false, "Application of its session."},
  {"user", field_type::string, false, "User of its session."},
  {"session", field_type::string, false,
   "Session it belongs to, with `app` and `user`; deleting that cancels it."},
  {"sender_context", field_type::any, false, "Opaque JSON that comes back."},
  {"expires_s", field_type::integer, false, "Expires after so many seconds; absent: never."},
});
constexpr auto request_fields = join(
  origin_fields,
  std::to_array<field>({
    {"thread", field_type::string, false, "The thread it belongs to."},
    {"tool", field_type::string, true, "Name of the tool."},
    {"args", field_type::any, false, "The tool's arguments, at most 256 KiB."},
    {"question", field_type::string, false, "For the person who decides; at most 64 KiB."},
    {"created_by", field_type::string, false, "Who may decide besides admins; absent: anybody."},
    {"attended", field_type::boolean, false, "A person is there; default true."},
    {"policy", field_type::string, false,
     "When nobody is there: `reject` (default), `approve` or `wait`."},
  }));
constexpr auto approval_answer = std::to_array<field>({
  {"version", field_type::integer, true, "The version of the call's stream."},
  {"approval", field_type::object, true,
   "id, status, tool, args, args_hash, question, times, who decided and claimed."},
  {"attached", field_type::boolean, false, "A pending request for the same call was there."},
});
constexpr auto approval_written =
  join(written_fields,
       std::to_array<field>({
         {"approval", field_type::object, true, "The request as it is now, as in `approval.get`."},
         {"attached", field_type::boolean, false, "A pending request for the same call was there."},
       }));
constexpr auto resolve_fields = join(
  approval_id,
  std::to_array<field>({
    {"decision", field_type::string, true, "`approved` or `rejected`."},
    {"by", field_type::string, true, "Who decides."},
    {"role", field_type::string, false, "`user` (default), `admin` or `agent`."},
    {"feedback", field_type::string, false, "With an approval: plan again instead of executing."},
    {"grant", field_type::object, false,
     "Allow the like from now on: {for_s, tool?, contains?, principal?, app?, user?, session?}."},
  }));
constexpr auto claim_fields =
  join(approval_id,
       std::to_array<field>({
         {"args_hash", field_type::string, false, "SHA-256 of the canonical arguments."},
         {"args", field_type::any, false, "The arguments, instead of their hash."},
         {"by", field_type::string, false, "Who is going to execute."},
         {"effect", field_type::string, false, "Key of the effect that is going to be begun."},
       }));
constexpr auto cancel_fields = join(approval_id, std::to_array<field>({
                                                   {"by", field_type::string, false, "Who."},
                                                 }));
constexpr auto wait_field = std::to_array<field>({
  {"wait_ms", field_type::integer, false, "Wait so long, 0 to 60000; default 30000."},
});
constexpr auto approval_wait = join(approval_id, wait_field);
constexpr auto list_filters = std::to_array<field>({
  {"status", field_type::string, false, "`pending` (default), another status, or `all`."},
  {"principal", field_type::string, false, "Only requests of this principal."},
  {"run", field_type::string, false, "Only of this run."},
  {"thread", field_type::string, false, "Only of this thread."},
  {"session", field_type::string, false, "Only of this session."},
  {"tool", field_type::string, false, "Only for this tool."},
  {"question", field_type::string, false, "Only with exactly this question."},
});
constexpr auto list_fields = join(list_filters, page_fields);
constexpr auto approval_list = std::to_array<field>({
  {"approvals", field_type::array, true, "Newest first."},
  {"next_cursor", field_type::string, false, "To the next page, when there is one."},
});
constexpr auto rules_fields = std::to_array<field>({
  {"deny", field_type::array, false, "Names, `prefix*` or `*`; asked first."},
  {"allow", field_type::array, false, "Names, `prefix*` or `*`."},
});
constexpr auto rules_answer = std::to_array<field>({
  {"version", field_type::integer, true, "The version of the tenant's permissions."},
  {"deny", field_type::array, true, "Patterns of what is rejected."},
  {"allow", field_type::array, true, "Patterns of what is approved."},
});
constexpr auto grant_fields = std::to_array<field>({
  {"tool", field_type::string, true, "A name, `prefix*` or `*`."},
  {"for_s", field_type::integer, true, "Valid for so many seconds, at most 366 days."},
  {"principal", field_type::string, false, "Whose calls; absent: anybody's."},
  {"app", field_type::string, false, "With `session`."},
  {"user", field_type::string, false, "With `session`."},
  {"session", field_type::string, false, "Only calls of this session."},
  {"contains", field_type::string, false, "Must occur in the canonical arguments."},
  {"by", field_type::string, true, "Who gives it."},
});
constexpr auto grant_answer = join(written_fields, std::to_array<field>({
                                                     {"grant", field_type::string, true, "Its id."},
                                                   }));
constexpr auto revoke_fields = std::to_array<field>({
  {"grant", field_type::string, true, "Id of the grant."},
  {"by", field_type::string, false, "Who."},
});
constexpr auto grant_list_fields =
  join(std::to_array<field>({
         {"principal", field_type::string, false, "Only grants for this principal."},
       }),
       page_fields);
constexpr auto grant_list = std::to_array<field>({
  {"grants", field_type::array, true, "Live grants, newest first."},
  {"next_cursor", field_type::string, false, "To the next page, when there is one."},
});
constexpr auto clarification_id = std::to_array<field>({
  {"clarification", field_type::string, true, "Id of the question."},
});
constexpr auto ask_fields =
  join(origin_fields,
       std::to_array<field>({
         {"question", field_type::string, true, "At most 64 KiB."},
         {"context", field_type::any, false, "Opaque JSON for who answers."},
         {"asked_by", field_type::string, false, "Who may answer besides admins; absent: anybody."},
       }));
constexpr auto clarification_answer = std::to_array<field>({
  {"version", field_type::integer, true, "The version of the question's stream."},
  {"clarification", field_type::object, true, "id, status, question, answer, times, who."},
  {"attached", field_type::boolean, false, "The same question was pending."},
});
constexpr auto clarification_written =
  join(written_fields, std::to_array<field>({
                         {"clarification", field_type::object, true, "The question as it is now."},
                         {"attached", field_type::boolean, false, "The same question was pending."},
                       }));
constexpr auto answer_fields =
  join(clarification_id, std::to_array<field>({
                           {"answer", field_type::string, true, "At most 64 KiB."},
                           {"by", field_type::string, true, "Who answers."},
                           {"role", field_type::string, false, "`user` (default) or `admin`."},
                         }));
constexpr auto clarification_cancel =
  join(clarification_id, std::to_array<field>({
                           {"by", field_type::string, false, "Who."},
                         }));
constexpr auto clarification_wait = join(clarification_id, wait_field);
constexpr auto clarification_list = std::to_array<field>({
  {"clarifications", field_type::array, true, "Newest first."},
  {"next_cursor", field_type::string, false, "To the next page, when there is one."},
});

// -- answers --

void add(json::object_writer& w, std::string_view name, const std::string& value) {
  if (!value.empty())
    w.str(name, value);
}
void add(json::object_writer& w, std::string_view name, time_us_t t) {
  if (t != 0)
    w.str(name, format_time(t));
}

std::string json_of(const approval::round& r, time_us_t now) {
  json::object_writer w;
  w.str("id", r.id).str("status", to_string(r.seen_at(now))).str("tool", r.what.tool);
  if (!r.what.args.empty())
    w.raw("args", r.what.args);
  w.str("args_hash", r.what.args_hash);
  add(w, "question", r.what.text);
  add(w, "thread", r.what.thread);
  add(w, "run", r.what.run);
  add(w, "app", r.what.app);
  add(w, "user", r.what.user);
  add(w, "session", r.what.session);
  add(w, "created_by", r.what.created_by);
  add(w, "policy", r.what.policy);
  if (!r.what.sender_context.empty())
    w.raw("sender_context", r.what.sender_context);
  add(w, "created_at", r.created_at);
  add(w, "expires_at", r.expires_at);
  add(w, "resolved_at", r.resolved_at);
  add(w, "resolved_by", r.resolved_by);
  add(w, "feedback", r.feedback);
  add(w, "claimed_at", r.claimed_at);
  add(w, "claimed_by", r.claimed_by);
  add(w, "effect", r.effect);
  return std::move(w).done();
}

std::string json_of(const clarification::round& r, time_us_t now) {
  json::object_writer w;
  w.str("id", r.id).str("status", to_string(r.seen_at(now)));
  add(w, "question", r.what.text);
  if (!r.what.context.empty())
    w.raw("context", r.what.context);
  add(w, "run", r.what.run);
  add(w, "app", r.what.app);
  add(w, "user", r.what.user);
  add(w, "session", r.what.session);
  add(w, "asked_by", r.what.asked_by);
  if (!r.what.sender_context.empty())
    w.raw("sender_context", r.what.sender_context);
  add(w, "created_at", r.created_at);
  add(w, "expires_at", r.expires_at);
  add(w, "answered_at", r.ended_at);
  add(w, "answered_by", r.ended_by);
  add(w, "answer", r.answer);
  return std::move(w).done();
}

std::string row_json(const projections::row& r) {
  json::object_writer w;
  w.str("id", text_at(r, inbox::id)).str("status", text_at(r, inbox::status));
  const bool approval = text_at(r, inbox::kind) == "approval";
  add_text(w, "tool", r, inbox::tool);
  add_text(w, "question", r, inbox::question);
  add_text(w, "thread", r, inbox::thread);
  add_text(w, "run", r, inbox::run);
  add_text(w, "app", r, inbox::app);
  add_text(w, "user", r, inbox::user);
  add_text(w, "session", r, inbox::session);
  add_text(w, approval ? "created_by" : "asked_by", r, inbox::principal);
  const auto body = text_at(r, inbox::body);
  if (auto more = json::members(body, "body"))
    for (const auto& m : *more)
      w.raw(m.name, m.raw);
  add_time(w, "created_at", r, inbox::created_at);
  add_time(w, "expires_at", r, inbox::expires_at);
  add_time(w, approval ? "resolved_at" : "answered_at", r, inbox::ended_at);
  add_text(w, approval ? "resolved_by" : "answered_by", r, inbox::ended_by);
  add_text(w, approval ? "feedback" : "answer", r, inbox::answer);
  add_time(w, "claimed_at", r, inbox::claimed_at);
  add_text(w, "claimed_by", r, inbox::claimed_by);
  add_text(w, "effect", r, inbox::effect);
  return std::move(w).done();
}

/// Answers with one round as it is now.
template <class State>
void answer_round(const call_ptr& call, const stream_view& v, const std::string& id,
                  std::string_view member, const std::optional<committed>& done = {},
                  std::optional<bool> attached = std::nullopt) {
  const auto& s = state_of<State>(v);
  const auto* r = s.find(id);
  if (r == nullptr) {
    call->fail({errc::not_found, "there is no such " + std::string(member), std::string(member)});
    return;
  }
  auto out = done ? written(*done) : json::object_writer();
  if (!done)
    out.num("version", v.version);
  out.raw(member, json_of(*r, call->now()));
  if (attached)
    out.boolean("attached", *attached);
  call->answer(std::move(out).done());
}

template <class State>
void show(const call_ptr& call, const stream_id& stream, const std::string& id,
          std::string_view member, const std::optional<committed>& done = {}) {
  call->view(stream, 0, call->on<stream_view>([=](const stream_view& v) {
    answer_round<State>(call, v, id, member, done);
  }));
}

/// Answers when the round has ended, or at `until` as it is then.
template <class State>
void wait_for_end(const call_ptr& call, const stream_id& stream, const std::string& id,
                  std::string_view member, time_us_t until) {
  if (until <= call->now()) {
    show<State>(call, stream, id, member);
    return;
  }
  auto seen = std::make_shared<bool>(false);
  call->wait(actors::topic_of(stream), until, [=](bool woken) {
    if (*seen)
      return;
    if (woken)
      wait_for_end<State>(call, stream, id, member, until);
    else
      show<State>(call, stream, id, member);
  });
  call->view(stream, 0, call->on<stream_view>([=](const stream_view& v) {
    const auto* r = state_of<State>(v).find(id);
    if (r != nullptr && to_string(r->seen_at(call->now())) == "pending")
      return;
    *seen = true;
    answer_round<State>(call, v, id, member);
  }));
}

// -- requests --

std::optional<time_us_t> read_expiry(request_reader& in, time_us_t now) {
  const auto s = in.count("expires_s", 1, expires_s_max);
  return s ? std::optional(now + static_cast<time_us_t>(*s) * us_per_s) : std::nullopt;
}

/// A session is known by three names.
void refuse_half_a_session(request_reader& in, const std::string& app, const std::string& user,
                           const std::string& session) {
  if (session.empty())
    return;
  if (app.empty())
    in.refuse("app", "is required with `session`");
  if (user.empty())
    in.refuse("user", "is required with `session`");
}

template <class Question>
void read_origin(request_reader& in, Question& q) {
  q.run = in.optional_id("run").value_or("");
  q.app = in.optional_id("app").value_or("");
  q.user = in.optional_id("user").value_or("");
  q.session = in.optional_id("session").value_or("");
  refuse_half_a_session(in, q.app, q.user, q.session);
  q.sender_context = in.any("sender_context");
}

/// A key that is new; the same for every retry of a command.
std::string fresh_key(const call_ptr& call) {
  return call->command_id().empty() ? uuid_v7(call->now(), call->random())
                                    : hash_of_parts({"command", call->command_id()});
}

template <class Of>
std::optional<stream_id> read_stream(request_reader& in, const std::string& tenant,
                                     const std::string& id, Of of) {
  if (in.wrong() != nullptr)
    return std::nullopt;
  auto stream = of(tenant, id);
  if (!stream) {
    in.refuse(stream.error());
    return std::nullopt;
  }
  return std::move(*stream);
}

/// The id of the round that a command began, or of the pending one.
template <class State, class Begun>
void answer_begun(const call_ptr& call, const stream_id& stream, const committed& done,
                  std::string_view member) {
  std::string id;
  for (const auto& f : done.facts)
    if (auto begun = fact_as<Begun>(*f))
      id = begun->id;
  call->view(stream, 0, call->on<stream_view>([=](const stream_view& v) {
    const auto& rounds = state_of<State>(v).rounds;
    const auto which = id.empty() && !rounds.empty() ? rounds.back().id : id;
    answer_round<State>(call, v, which, member, done, id.empty());
  }));
}

void request_approval(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  approval::request wish;
  auto& q = wish.what;
  read_origin(in, q);
  q.thread = in.optional_id("thread").value_or("");
  q.tool = in.id("tool");
  const auto args = in.raw("args");
  q.args = canonical_json(args.value_or("null"));
  q.args_hash = sha256_hex(q.args);
  q.text = in.string("question").value_or("");
  q.created_by = in.optional_id("created_by").value_or("");
  q.policy = in.choice("policy", {"reject", "approve", "wait"}).value_or("");
  const bool attended = in.flag("attended").value_or(true);
  wish.expires_at = read_expiry(in, call->now()).value_or(0);
  if (refused(call, in))
    return;
  const auto stream = approval::call_stream(call->tenant(), q, fresh_key(call));
  auto shared = std::make_shared<approval::request>(std::move(wish));
  call->view(
    permission::stream_of(call->tenant()), 0, call->on<stream_view>([=](const stream_view& v) {
      const auto& w = shared->what;
      shared->decided =
        permission::judge(state_of<permission::state>(v),
                          {w.created_by, w.app, w.user, w.session, w.tool, w.args}, call->now());
      if (!shared->decided && !attended && w.policy != "wait")
        shared->decided = permission::verdict{w.policy == "approve",
                                              "policy:" + (w.policy.empty() ? "reject" : w.policy)};
      call->submit(stream, any_command(approval::command(*shared)), {},
                   call->on<committed>([=](const committed& done) {
                     const auto& at = done.facts.empty() ? stream : done.facts.front()->at.stream;
                     answer_begun<approval::state, approval::requested>(call, at, done, "approval");
                   }));
    }));
}

std::optional<permission::grant> read_grant(request_reader& in, time_us_t now,
                                            const std::string& otherwise_tool) {
  permission::grant g;
  g.tool = in.optional_id("tool").value_or(otherwise_tool);
  g.principal = in.optional_id("principal").value_or("");
  g.app = in.optional_id("app").value_or("");
  g.user = in.optional_id("user").value_or("");
  g.session = in.optional_id("session").value_or("");
  refuse_half_a_session(in, g.app, g.user, g.session);
  g.contains = in.string("contains").value_or("");
  if (!in.has("for_s"))
    in.refuse("for_s", "is required");
  g.expires_at =
    now + static_cast<time_us_t>(in.count("for_s", 1, expires_s_max).value_or(1)) * us_per_s;
  return g;
}

class object_members : public members {
public:
  explicit object_members(std::vector<json::member> all) : all_(std::move(all)) {}
  std::optional<std::string_view> raw(std::string_view name) const override {
    for (const auto& m : all_)
      if (m.name == name)
        return m.raw;
    return std::nullopt;
  }

private:
  std::vector<json::member> all_;
};

void resolve_approval(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  approval::resolve wish;
  wish.id = in.id("approval");
  wish.decision = in.choice("decision", {"approved", "rejected"}).value_or("");
  wish.by = in.id("by");
  wish.role = in.choice("role", {"user", "admin", "agent"}).value_or("user");
  wish.feedback = in.string("feedback").value_or("");
  if (const auto raw = in.raw("grant")) {
    auto parts = json::members(*raw, "grant");
    if (!parts) {
      in.refuse(parts.error());
    } else {
      const object_members inner(std::move(*parts));
      request_reader of(inner);
      wish.grant = read_grant(of, call->now(), {});
      if (of.wrong() != nullptr) {
        auto e = *of.wrong();
        e.field = "grant." + e.field;
        in.refuse(std::move(e));
      }
    }
  }
  const auto stream = read_stream(in, call->tenant(), wish.id, approval::stream_of);
  if (refused(call, in))
    return;
  const auto id = wish.id;
  const auto go = [=](approval::resolve w) {
    call->submit(*stream, any_command(approval::command(std::move(w))), {},
                 call->on<committed>([=](const committed& done) {
                   show<approval::state>(call, *stream, id, "approval", done);
                 }));
  };
  if (!wish.grant || !wish.grant->tool.empty()) {
    go(std::move(wish));
    return;
  }
  // Without a tool of its own the grant is for the tool that was asked for.
  call->view(*stream, 0, call->on<stream_view>([=](const stream_view& v) {
    auto w = wish;
    if (const auto* r = state_of<approval::state>(v).find(id))
      w.grant->tool = r->what.tool;
    go(std::move(w));
  }));
}

void cancel_approval(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  approval::cancel wish{in.id("approval"), in.optional_id("by").value_or("caller")};
  const auto stream = read_stream(in, call->tenant(), wish.id, approval::stream_of);
  if (refused(call, in))
    return;
  const auto id = wish.id;
  call->submit(*stream, any_command(approval::command(std::move(wish))), {},
               call->on<committed>([=](const committed& done) {
                 show<approval::state>(call, *stream, id, "approval", done);
               }));
}

void claim_approval(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  approval::claim wish;
  wish.id = in.id("approval");
  wish.by = in.optional_id("by").value_or("");
  wish.effect = in.optional_id("effect").value_or("");
  if (in.has("args_hash") == in.has("args"))
    in.refuse("args_hash", "give `args_hash` or `args`");
  wish.args_hash = in.has("args") ? sha256_hex(canonical_json(*in.raw("args")))
                                  : in.string("args_hash").value_or("");
  const auto stream = read_stream(in, call->tenant(), wish.id, approval::stream_of);
  if (refused(call, in))
    return;
  const auto id = wish.id;
  call->submit(*stream, any_command(approval::command(std::move(wish))), {},
               call->on<committed>([=](const committed& done) {
                 show<approval::state>(call, *stream, id, "approval", done);
               }));
}

void get_approval(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto id = in.id("approval");
  const auto stream = read_stream(in, call->tenant(), id, approval::stream_of);
  if (!refused(call, in))
    show<approval::state>(call, *stream, id, "approval");
}

time_us_t read_until(request_reader& in, time_us_t now) {
  const auto wait_ms = in.count("wait_ms", 0, wait_ms_max).value_or(wait_ms_default);
  return now + static_cast<time_us_t>(wait_ms) * 1'000;
}

void wait_approval(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto id = in.id("approval");
  const auto until = read_until(in, call->now());
  const auto stream = read_stream(in, call->tenant(), id, approval::stream_of);
  if (!refused(call, in))
    wait_for_end<approval::state>(call, *stream, id, "approval", until);
}

void list_inbox(const call_ptr& call, const std::string& kind, std::string member) {
  const call_members given(*call);
  request_reader in(given);
  row_page page;
  const auto status = in.string("status").value_or("pending");
  page.query.table = &inbox::spec;
  page.query.descending = true;
  page.query.equals = {call->tenant(), kind};
  if (status == "pending") {
    page.query.index = inbox::by_open;
    page.query.equals.emplace_back(std::int64_t{1});
  } else {
    page.query.index = inbox::by_time;
  }
  page.place = {inbox::created_at, inbox::stream, inbox::id};
  page.list = list_name({kind + ".list", call->tenant(), status});
  page.member = std::move(member);
  std::vector<std::pair<std::size_t, std::string>> filters;
  for (const auto& [name, column] : {std::pair{"principal", inbox::principal},
                                     {"run", inbox::run},
                                     {"thread", inbox::thread},
                                     {"session", inbox::session},
                                     {"tool", inbox::tool},
                                     {"question", inbox::question}})
    if (auto value = in.string(name)) {
      page.list += list_name({name, *value});
      filters.emplace_back(column, std::move(*value));
    }
  if (status != "pending" && status != "all") {
    if (!(kind == "approval" ? approval::status_of(status).has_value()
                             : clarification::status_of(status).has_value()))
      in.refuse("status", "is not a status of this kind, nor `all`");
    filters.emplace_back(inbox::status, status);
  }
  // A deadline counts even if no timer has run yet.
  const bool pending = status == "pending";
  page.wanted = [filters, pending, now = call->now()](const projections::row& r) {
    if (pending && !null_at(r, inbox::expires_at) && number_at(r, inbox::expires_at) <= now)
      return false;
    return std::all_of(filters.begin(), filters.end(),
                       [&](const auto& f) { return text_at(r, f.first) == f.second; });
  };
  page.render = row_json;
  answer_page(call, in, std::move(page));
}

void list_approvals(call_ptr call) { list_inbox(call, "approval", "approvals"); }
void list_clarifications(call_ptr call) { list_inbox(call, "clarification", "clarifications"); }

// -- rules and grants --

void set_rules(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  permission::set_rules wish{in.strings("deny", permission::rules_max),
                             in.strings("allow", permission::rules_max)};
  if (refused(call, in))
    return;
  call->submit(permission::stream_of(call->tenant()),
               any_command(permission::command(std::move(wish))), {},
               call->on<committed>([=](const committed& d) { call->answer(written(d).done()); }));
}

void get_rules(call_ptr call) {
  call->view(permission::stream_of(call->tenant()), 0,
             call->on<stream_view>([=](const stream_view& v) {
               const auto& s = state_of<permission::state>(v);
               const auto list = [](const std::vector<std::string>& words) {
                 array_writer all;
                 for (const auto& word : words)
                   all.raw(json::quote(word));
                 return std::move(all).done();
               };
               json::object_writer out;
               out.num("version", v.version).raw("deny", list(s.deny)).raw("allow", list(s.allow));
               call->answer(std::move(out).done());
             }));
}

void give_grant(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  if (!in.has("tool"))
    in.refuse("tool", "is required");
  permission::give wish{*read_grant(in, call->now(), {})};
  wish.grant.given_by = in.id("by");
  if (refused(call, in))
    return;
  call->submit(permission::stream_of(call->tenant()),
               any_command(permission::command(std::move(wish))), {},
               call->on<committed>([=](const committed& d) {
                 auto out = written(d);
                 for (const auto& f : d.facts)
                   if (auto g = fact_as<permission::granted>(*f))
                     out.str("grant", g->grant.id);
                 call->answer(std::move(out).done());
               }));
}

void revoke_grant(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  permission::revoke wish{in.id("grant"), in.optional_id("by").value_or("")};
  if (refused(call, in))
    return;
  call->submit(permission::stream_of(call->tenant()),
               any_command(permission::command(std::move(wish))), {},
               call->on<committed>([=](const committed& d) { call->answer(written(d).done()); }));
}

void list_grants(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  row_page page;
  const auto principal = in.string("principal");
  page.query.table = &grants::spec;
  page.query.index = grants::by_tenant;
  page.query.descending = true;
  page.query.equals = {call->tenant()};
  page.place = {grants::created_at, grants::stream, grants::id};
  page.list = list_name({"grant.list", call->tenant(), principal.value_or("")});
  page.member = "grants";
  page.wanted = [principal, now = call->now()](const projections::row& r) {
    return number_at(r, grants::expires_at) > now
           && (!principal || text_at(r, grants::principal) == *principal);
  };
  page.render = [](const projections::row& r) {
    json::object_writer w;
    w.str("id", text_at(r, grants::id)).str("tool", text_at(r, grants::tool));
    add_text(w, "principal", r, grants::principal);
    const auto body = text_at(r, grants::body);
    if (auto more = json::members(body, "body"))
      for (const auto& m : *more)
        w.raw(m.name, m.raw);
    add_time(w, "created_at", r, grants::created_at);
    add_time(w, "expires_at", r, grants::expires_at);
    return std::move(w).done();
  };
  answer_page(call, in, std::move(page));
}

// -- questions --

void ask(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  clarification::ask wish;
  read_origin(in, wish.what);
  wish.what.text = in.string("question").value_or("");
  wish.what.context = in.any("context");
  wish.what.asked_by = in.optional_id("asked_by").value_or("");
  wish.expires_at = read_expiry(in, call->now()).value_or(0);
  if (refused(call, in))
    return;
  const auto stream = clarification::question_stream(call->tenant(), wish.what, fresh_key(call));
  call->submit(stream, any_command(clarification::command(std::move(wish))), {},
               call->on<committed>([=](const committed& done) {
                 answer_begun<clarification::state, clarification::asked>(call, stream, done,
                                                                          "clarification");
               }));
}

template <class Command>
void end_question(const call_ptr& call, request_reader& in, Command wish) {
  const auto stream = read_stream(in, call->tenant(), wish.id, clarification::stream_of);
  if (refused(call, in))
    return;
  const auto id = wish.id;
  call->submit(*stream, any_command(clarification::command(std::move(wish))), {},
               call->on<committed>([=](const committed& done) {
                 show<clarification::state>(call, *stream, id, "clarification", done);
               }));
}

void answer_question(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  auto id = in.id("clarification");
  auto text = in.string("answer").value_or("");
  auto by = in.id("by");
  end_question(call, in,
               clarification::answer{std::move(id), std::move(text), std::move(by),
                                     in.choice("role", {"user", "admin"}).value_or("user")});
}

void cancel_question(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  auto id = in.id("clarification");
  end_question(call, in,
               clarification::cancel{std::move(id), in.optional_id("by").value_or("caller")});
}

void get_question(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto id = in.id("clarification");
  const auto stream = read_stream(in, call->tenant(), id, clarification::stream_of);
  if (!refused(call, in))
    show<clarification::state>(call, *stream, id, "clarification");
}

void wait_question(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto id = in.id("clarification");
  const auto until = read_until(in, call->now());
  const auto stream = read_stream(in, call->tenant(), id, clarification::stream_of);
  if (!refused(call, in))
    wait_for_end<clarification::state>(call, *stream, id, "clarification", until);
}

/// Somebody was quicker: it waits no longer, which is all that is wanted.
bool has_ended(const error& e) {
  static constexpr errc ended[] = {errc::already_resolved, errc::already_answered, errc::expired,
                                   errc::not_found};
  return std::find(std::begin(ended), std::end(ended), e.code) != std::end(ended);
}

/// How a row of the inbox is ended.
using make_end = any_command (*)(bool request, const std::string& id);

any_command cancellation(bool request, const std::string& id) {
  constexpr auto by = "session.delete";
  if (request)
    return any_command(approval::command(approval::cancel{id, by}));
  return any_command(clarification::command(clarification::cancel{id, by}));
}

any_command oblivion(bool request, const std::string&) {
  if (request)
    return any_command(approval::command(forget_now{}));
  return any_command(clarification::command(forget_now{}));
}

void end_rows(const call_ptr& call, const std::vector<projections::row>& rows, make_end how,
              std::function<void()> then) {
  const auto one_of_all = all_of(call, rows.size(), std::move(then));
  const auto one = [one_of_all](const result<committed>& done) {
    one_of_all(!done && has_ended(done.error()) ? result<committed>(committed{}) : done);
  };
  for (const auto& r : rows) {
    const auto id = text_at(r, inbox::id);
    const bool request = text_at(r, inbox::kind) == "approval";
    const auto stream = request ? approval::stream_of(call->tenant(), id)
                                : clarification::stream_of(call->tenant(), id);
    if (stream)
      call->submit_as(*stream, {}, how(request, id), {}, one);
    else
      one(fail(stream.error()));
  }
}

/// Ends what a query by session finds, page by page.
void end_from(const call_ptr& call, projections::row_query query, make_end how,
              std::function<void()> then) {
  const auto next = std::make_shared<projections::row_query>(query);
  call->rows(
    std::move(query),
    call->on<std::vector<projections::row>>([=](const std::vector<projections::row>& rows) {
      if (rows.empty()) {
        then();
        return;
      }
      const auto& last = rows.back();
      next->after = {last[inbox::stream], last[inbox::id]};
      if (next->equals.size() == 3)  // Of every session.
        next->after->insert(next->after->begin(), last[inbox::session]);
      end_rows(call, rows, how,
               rows.size() < next->limit ? then : [=] { end_from(call, *next, how, then); });
    }));
}

/// What was asked in a session, or in all of the user's when the key names none.
projections::row_query asked_in(const session_key& key) {
  projections::row_query query;
  query.table = &inbox::spec;
  query.index = inbox::by_session;
  query.equals = {key.tenant, key.app, key.user};
  if (!key.session.empty())
    query.equals.emplace_back(key.session);
  query.limit = 500;
  return query;
}

constexpr operation operations[] = {
  {"approval.request", "Asks whether a tool may be called; rules and grants answer at once.",
   right::write, "POST", "/v1/approvals", true, request_fields, approval_written, request_approval},
  {"approval.resolve", "Decides a pending request, once.", right::write, "POST",
   "/v1/approvals/{approval}/resolve", false, resolve_fields, approval_written, resolve_approval},
  {"approval.cancel", "Withdraws a pending request.", right::write, "POST",
   "/v1/approvals/{approval}/cancel", true, cancel_fields, approval_written, cancel_approval},
  {"approval.claim", "Takes the one right to execute what was approved.", right::write, "POST",
   "/v1/approvals/{approval}/claim", true, claim_fields, approval_written, claim_approval},
  {"approval.get", "Answers a request and what became of it.", right::read, "GET",
   "/v1/approvals/{approval}", true, approval_id, approval_answer, get_approval},
  {"approval.wait", "Answers when the request was decided or has expired, or when time is up.",
   right::read, "GET", "/v1/approvals/{approval}/wait", true, approval_wait, approval_answer,
   wait_approval},
  {"approval.list", "Lists requests, newest first.", right::read, "GET", "/v1/approvals", true,
   list_fields, approval_list, list_approvals},
  {"approval.set_rules", "Sets which tools are denied and allowed without asking.", right::admin,
   "PUT", "/v1/approval-rules", false, rules_fields, written_fields, set_rules},
  {"approval.get_rules",
   "Answers which tools are denied and allowed without asking.",
   right::read,
   "GET",
   "/v1/approval-rules",
   false,
   {},
   rules_answer,
   get_rules},
  {"grant.give", "Allows calls of a tool for a while.", right::admin, "POST", "/v1/grants", false,
   grant_fields, grant_answer, give_grant},
  {"grant.revoke", "Ends a grant.", right::write, "DELETE", "/v1/grants/{grant}", false,
   revoke_fields, written_fields, revoke_grant},
  {"grant.list", "Lists live grants, newest first.", right::read, "GET", "/v1/grants", false,
   grant_list_fields, grant_list, list_grants},
  {"clarification.ask", "Asks a person.", right::write, "POST", "/v1/clarifications", true,
   ask_fields, clarification_written, ask},
  {"clarification.answer", "Answers a question, once.", right::write, "POST",
   "/v1/clarifications/{clarification}/answer", false, answer_fields, clarification_written,
   answer_question},
  {"clarification.cancel", "Withdraws a question.", right::write, "POST",
   "/v1/clarifications/{clarification}/cancel", true, clarification_cancel, clarification_written,
   cancel_question},
  {"clarification.get", "Answers a question and what became of it.", right::read, "GET",
   "/v1/clarifications/{clarification}", true, clarification_id, clarification_answer,
   get_question},
  {"clarification.wait", "Answers when the question has ended, or when time is up.", right::read,
   "GET", "/v1/clarifications/{clarification}/wait", true, clarification_wait, clarification_answer,
   wait_question},
  {"clarification.list", "Lists questions, newest first.", right::read, "GET", "/v1/clarifications",
   true, list_fields, clarification_list, list_clarifications},
};

}  // namespace

std::span<const operation> inbox_operations() { return operations; }

void cancel_waiting(const call_ptr& call, const session_key& key, std::function<void()> then) {
  auto waiting = asked_in(key);
  waiting.where = {{inbox::open, 1, 1, false}};
  end_from(call, std::move(waiting), cancellation, std::move(then));
}

void forget_asked(const call_ptr& call, const session_key& key, std::function<void()> then) {
  end_from(call, asked_in(key), oblivion, std::move(then));
}

}  // namespace recalld::api

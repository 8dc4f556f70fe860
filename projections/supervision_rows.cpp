#include "projections/supervision_rows.hpp"

#include "events/base64.hpp"
#include "events/due.hpp"
#include "events/json.hpp"

namespace recalld::projections {

namespace {

constexpr auto whole = column_type::integer;
constexpr auto words = column_type::text;

}  // namespace

namespace inbox {
const table spec{
  .name = "inbox",
  .version = 2,
  .columns = {{"stream", whole},
              {"id"},
              {"tenant"},
              {"kind"},
              {"status"},
              {"open", whole, true},
              {"created_at", whole},
              {"expires_at", whole, true},
              {"thread"},
              {"run"},
              {"app"},
              {"user"},
              {"session"},
              {"principal"},
              {"tool"},
              {"question"},
              {"body"},
              {"ended_at", whole, true},
              {"ended_by", words, true},
              {"answer", words, true},
              {"claimed_at", whole, true},
              {"claimed_by", words, true},
              {"effect", words, true}},
  .key_columns = 2,
  .indexes = {{"by_time", {tenant, kind, created_at}},
              {"by_open", {tenant, kind, open, created_at}, open},
              {"by_session", {tenant, app, user, session}}},
};
}  // namespace inbox

namespace grants {
const table spec{
  .name = "grants",
  .version = 1,
  .columns = {{"stream", whole},
              {"id"},
              {"tenant"},
              {"principal"},
              {"tool"},
              {"expires_at", whole},
              {"created_at", whole},
              {"body"}},
  .key_columns = 2,
  .indexes = {{"by_tenant", {tenant, created_at}}},
};
}  // namespace grants

namespace schedules {
const table spec{
  .name = "schedules",
  .version = 1,
  .columns = {{"stream", whole},
              {"tenant"},
              {"name"},
              {"enabled", whole},
              {"next_at", whole, true},
              {"updated_at", whole},
              {"body"}},
  .key_columns = 1,
  .indexes = {{"by_name", {tenant, name}}},
};
}  // namespace schedules

namespace runs {
const table spec{
  .name = "runs",
  .version = 1,
  .columns = {{"stream", whole},
              {"day", whole},
              {"run"},
              {"tenant"},
              {"schedule"},
              {"status"},
              {"waiting", whole, true},
              {"due_at", whole},
              {"missed", whole},
              {"triggered_by", words, true},
              {"kind"},
              {"action"},
              {"worker", words, true},
              {"claimed_at", whole, true},
              {"ended_at", whole, true},
              {"outcome", words, true}},
  .key_columns = 3,
  .indexes = {{"by_schedule", {tenant, schedule, due_at}},
              {"by_waiting", {tenant, waiting, due_at}, waiting},
              {"by_status", {tenant, status, due_at}}},
};
}  // namespace runs

namespace effects {
const table spec{
  .name = "effects",
  .version = 1,
  .columns = {{"stream", whole},
              {"tenant"},
              {"key"},
              {"status"},
              {"tool"},
              {"args_hash"},
              {"approval"},
              {"holder"},
              {"fence", whole},
              {"begun_at", whole},
              {"lease_until", whole},
              {"ended_at", whole, true},
              {"ended_by", words, true},
              {"outcome", words, true}},
  .key_columns = 1,
  .indexes = {{"by_status", {tenant, status, begun_at}}},
};
}  // namespace effects

namespace agenda {
const table spec{
  .name = "agenda",
  .version = 2,
  .columns = {{"stream", whole}, {"item"}, {"stream_id"}, {"at", whole}},
  .key_columns = 2,
  .indexes = {{"by_at", {at}}},
};
}  // namespace agenda

namespace {

/// The rows of one stream.
struct rows_of {
  const envelope& at;
  std::vector<change>& out;
  std::int64_t stream = static_cast<std::int64_t>(at.stream_no);

  std::string tenant() const { return std::string(at.stream.parts().at(0)); }
  std::string name() const { return std::string(at.stream.parts().at(1)); }

  /// Arms a deadline, or disarms it when `when` is 0.
  void arm(const std::string& item, time_us_t when) {
    if (when == 0)
      out.push_back(erase{&agenda::spec, {stream, item}});
    else
      out.push_back(put{&agenda::spec, {stream, item, to_base64(at.stream.bytes()), when}});
  }
  static value or_null(time_us_t t) { return t == 0 ? value{} : value{t}; }
  static value or_null(const std::string& s) { return s.empty() ? value{} : value{s}; }
};

struct inbox_rows : rows_of {
  void forget_later() {
    arm({}, 0);
    arm(std::string(forget_item), at.time + ended_kept_us);
  }
  void forget() {
    out.push_back(erase{&inbox::spec, {stream}});
    out.push_back(erase{&agenda::spec, {stream}});
  }
};

struct approval_rows : inbox_rows {
  void operator()(const approval::requested& f) {
    const auto& q = f.what;
    json::object_writer body;
    if (!q.args.empty())
      body.raw("args", q.args);
    body.str("args_hash", q.args_hash);
    if (!q.sender_context.empty())
      body.raw("sender_context", q.sender_context);
    if (!q.policy.empty())
      body.str("policy", q.policy);
    out.push_back(put{&inbox::spec,
                      {stream,
                       f.id,
                       tenant(),
                       "approval",
                       "pending",
                       std::int64_t{1},
                       at.time,
                       or_null(f.expires_at),
                       q.thread,
                       q.run,
                       q.app,
                       q.user,
                       q.session,
                       q.created_by,
                       q.tool,
                       q.text,
                       std::move(body).done(),
                       value{},
                       value{},
                       value{},
                       value{},
                       value{},
                       value{}}});
    arm({}, f.expires_at);
    arm(std::string(forget_item), 0);
  }
  void operator()(const approval::resolved& f) {
    out.push_back(set{&inbox::spec,
                      {stream, f.id},
                      {{inbox::status, std::string(approval::to_string(f.status))},
                       {inbox::open, value{}},
                       {inbox::ended_at, at.time},
                       {inbox::ended_by, f.by},
                       {inbox::answer, or_null(f.feedback)}}});
    forget_later();
  }
  void operator()(const approval::forgotten&) { forget(); }
  void operator()(const approval::claimed& f) {
    out.push_back(set{&inbox::spec,
                      {stream, f.id},
                      {{inbox::claimed_at, at.time},
                       {inbox::claimed_by, f.by},
                       {inbox::effect, or_null(f.effect)}}});
  }
};

struct clarification_rows : inbox_rows {
  void operator()(const clarification::asked& f) {
    const auto& q = f.what;
    json::object_writer body;
    if (!q.context.empty())
      body.raw("context", q.context);
    if (!q.sender_context.empty())
      body.raw("sender_context", q.sender_context);
    out.push_back(put{&inbox::spec,
                      {stream,
                       f.id,
                       tenant(),
                       "clarification",
                       "pending",
                       std::int64_t{1},
                       at.time,
                       or_null(f.expires_at),
                       "",
                       q.run,
                       q.app,
                       q.user,
                       q.session,
                       q.asked_by,
                       "",
                       q.text,
                       std::move(body).done(),
                       value{},
                       value{},
                       value{},
                       value{},
                       value{},
                       value{}}});
    arm({}, f.expires_at);
    arm(std::string(forget_item), 0);
  }
  void operator()(const clarification::ended& f) {
    out.push_back(set{&inbox::spec,
                      {stream, f.id},
                      {{inbox::status, std::string(clarification::to_string(f.status))},
                       {inbox::open, value{}},
                       {inbox::ended_at, at.time},
                       {inbox::ended_by, f.by},
                       {inbox::answer, or_null(f.answer)}}});
    forget_later();
  }
  void operator()(const clarification::forgotten&) { forget(); }
};

struct permission_rows : rows_of {
  void operator()(const permission::rules_set&) {}
  void operator()(const permission::granted& f) {
    const auto& g = f.grant;
    json::object_writer body;
    if (!g.session.empty())
      body.str("app", g.app).str("user", g.user).str("session", g.session);
    if (!g.contains.empty())
      body.str("contains", g.contains);
    body.str("given_by", g.given_by);
    if (!g.approval.empty())
      body.str("approval", g.approval);
    out.push_back(put{&grants::spec,
                      {stream, g.id, tenant(), g.principal, g.tool, g.expires_at, at.time,
                       std::move(body).done()}});
    arm(item(g.id), g.expires_at);
  }
  static std::string item(const std::string& grant) { return "grant " + grant; }
  void operator()(const permission::revoked& f) {
    out.push_back(erase{&grants::spec, {stream, f.id}});
    arm(item(f.id), 0);
  }
};

struct schedule_rows : rows_of {
  static std::string body_of(const schedule::definition& d) {
    json::object_writer w;
    w.str("expression", d.expression).str("zone", d.zone).str("kind", d.kind);
    w.raw("action", d.action.empty() ? "null" : d.action).str("source", d.source);
    w.str("misfire", to_string(d.misfire)).num("catch_up", d.catch_up);
    w.str("overlap", to_string(d.overlap)).num("attempts", d.attempts);
    w.num("deadline_s", d.deadline_s).num("keep_days", d.keep_days);
    return std::move(w).done();
  }
  void next(time_us_t when) {
    out.push_back(set{&schedules::spec, {stream}, {{schedules::next_at, or_null(when)}}});
    arm({}, when);
  }
  void run(const std::string& id, time_us_t due_at,
           std::vector<std::pair<std::size_t, value>> cells) {
    out.push_back(set{&runs::spec, {stream, due_at / schedule::day_us, id}, std::move(cells)});
  }
  /// Items of runs cannot be that of the schedule, which is empty.
  static std::string item(const std::string& run) { return "run " + run; }

  void operator()(const schedule::defined& f) {
    out.push_back(put{&schedules::spec,
                      {stream, tenant(), name(), std::int64_t{f.enabled}, or_null(f.next_at),
                       at.time, body_of(f.definition)}});
    arm({}, f.next_at);
    arm(std::string(forget_item), 0);
  }
  void operator()(const schedule::paused& f) {
    out.push_back(set{&schedules::spec, {stream}, {{schedules::enabled, std::int64_t{0}}}});
    next(0);
    arm(std::string(forget_item), f.forget_at);
  }
  void operator()(const schedule::resumed& f) {
    out.push_back(set{&schedules::spec, {stream}, {{schedules::enabled, std::int64_t{1}}}});
    next(f.next_at);
    arm(std::string(forget_item), 0);
  }
  void operator()(const schedule::deleted& f) {
    out.push_back(erase{&schedules::spec, {stream}});
    arm({}, 0);
    arm(std::string(forget_item), f.forget_at);
  }
  void operator()(const schedule::run_due& f) {
    const auto status = f.queued ? schedule::run_status::queued : schedule::run_status::due;
    out.push_back(put{&runs::spec,
                      {stream, f.due_at / schedule::day_us, f.id, tenant(), name(),
                       std::string(to_string(status)), f.queued ? value{} : value{std::int64_t{1}},
                       f.due_at, static_cast<std::int64_t>(f.missed), or_null(f.by), f.kind,
                       f.action, value{}, value{}, value{}, value{}}});
  }
  void operator()(const schedule::runs_skipped&) {}
  void operator()(const schedule::advanced& f) { next(f.next_at); }
  void operator()(const schedule::run_claimed& f) {
    run(f.id, f.due_at,
        {{runs::status, std::string("claimed")},
         {runs::waiting, value{}},
         {runs::worker, f.worker},
         {runs::claimed_at, at.time}});
    arm_run(f.id, f.lease_until, f.deadline);
  }
  void operator()(const schedule::run_extended& f) { arm_run(f.id, f.lease_until, f.deadline); }
  void operator()(const schedule::run_ended& f) {
    const auto status = f.again ? schedule::run_status::due : f.status;
    run(f.id, f.due_at,
        {{runs::status, std::string(to_string(status))},
         {runs::waiting, f.again ? value{std::int64_t{1}} : value{}},
         {runs::ended_at, f.again ? value{} : value{at.time}},
         {runs::outcome, or_null(f.outcome)}});
    arm(item(f.id), 0);
  }
  void operator()(const schedule::run_released& f) {
    run(f.id, f.due_at, {{runs::status, std::string("due")}, {runs::waiting, std::int64_t{1}}});
  }
  void operator()(const schedule::runs_forgotten& f) {
    for (auto day = f.first_day; day <= f.last_day; ++day)
      out.push_back(erase{&runs::spec, {stream, day}});
    if (f.all)
      arm(std::string(forget_item), 0);
  }
  void arm_run(const std::string& id, time_us_t lease_until, time_us_t deadline) {
    arm(item(id), deadline == 0 ? lease_until : std::min(lease_until, deadline));
  }
};

struct effect_rows : rows_of {
  void operator()(const effect::begun& f) {
    out.push_back(put{&effects::spec,
                      {stream, tenant(), name(), "begun", f.tool, f.args_hash, f.approval, f.holder,
                       static_cast<std::int64_t>(at.version), at.time, f.lease_until, value{},
                       value{}, value{}}});
    arm({}, f.lease_until);
  }
  void operator()(const effect::extended& f) {
    out.push_back(set{&effects::spec, {stream}, {{effects::lease_until, f.lease_until}}});
    arm({}, f.lease_until);
  }
  void operator()(const effect::ended& f) {
    out.push_back(set{&effects::spec,
                      {stream},
                      {{effects::status, std::string(effect::to_string(f.status))},
                       {effects::ended_at, at.time},
                       {effects::ended_by, or_null(f.by)},
                       {effects::outcome, or_null(f.outcome)}}});
    arm({}, 0);
  }
  void operator()(const effect::doubted&) {
    out.push_back(set{&effects::spec, {stream}, {{effects::status, std::string("in_doubt")}}});
    arm({}, 0);
  }
};

}  // namespace

void project_approval(const envelope& at, const approval::fact& f, std::vector<change>& out) {
  std::visit(approval_rows{{{at, out}}}, f);
}
void project_clarification(const envelope& at, const clarification::fact& f,
                           std::vector<change>& out) {
  std::visit(clarification_rows{{{at, out}}}, f);
}
void project_permission(const envelope& at, const permission::fact& f, std::vector<change>& out) {
  std::visit(permission_rows{{at, out}}, f);
}
void project_schedule(const envelope& at, const schedule::fact& f, std::vector<change>& out) {
  std::visit(schedule_rows{{at, out}}, f);
}
void project_effect(const envelope& at, const effect::fact& f, std::vector<change>& out) {
  std::visit(effect_rows{{at, out}}, f);
}

}  // namespace recalld::projections

#include <algorithm>

#include "api/answers.hpp"
#include "api/claims.hpp"
#include "api/cursor.hpp"
#include "api/row_pages.hpp"
#include "events/canonical.hpp"

/// Schedules, their runs, and the ledger of effects.
namespace recalld::api {

namespace {

using actors::committed;
using actors::operation;
using actors::right;
using actors::stream_view;
namespace schedules = projections::schedules;
namespace runs = projections::runs;
namespace effects = projections::effects;

constexpr time_us_t us_per_s = 1'000'000;
constexpr std::uint64_t lease_s_max = 86'400;

constexpr auto name_field = std::to_array<field>({
  {"schedule", field_type::string, true, "Its name, unique in the tenant."},
});
constexpr auto define_fields = join(
  name_field,
  std::to_array<field>({
    {"expression", field_type::string, true,
     "5 fields, or 6 with seconds in front, `@hourly` …, or `@every 90s`."},
    {"zone", field_type::string, false, "Time zone such as `Europe/Berlin`; default `UTC`."},
    {"kind", field_type::string, true, "What workers understand it as."},
    {"action", field_type::any, false, "Opaque JSON for the worker, at most 256 KiB."},
    {"source", field_type::string, false, "`tool` (default) or `config`."},
    {"enabled", field_type::boolean, false, "Of a new schedule; default true."},
    {"misfire", field_type::string, false, "`once` (default), `skip` or `catch_up`."},
    {"catch_up", field_type::integer, false, "With `catch_up`: at most so many runs, 1 to 1000."},
    {"overlap", field_type::string, false, "`allow` (default), `skip` or `queue_one`."},
    {"attempts", field_type::integer, false, "Attempts of a run, 1 to 100; default 1."},
    {"deadline_s", field_type::integer, false,
     "An attempt must end so many seconds after its claim."},
    {"keep_days", field_type::integer, false, "Ended runs are listed so long; default 30."},
  }));
constexpr auto define_answer =
  join(written_fields, std::to_array<field>({
                         {"next_at", field_type::string, false, "The next due time, UTC."},
                       }));
constexpr auto trigger_fields = join(name_field, std::to_array<field>({
                                                   {"by", field_type::string, false, "Who."},
                                                 }));
constexpr auto trigger_answer =
  join(written_fields, std::to_array<field>({
                         {"run", field_type::string, false,
                          "Id of the run; absent when the overlap policy let it fall through."},
                       }));
constexpr auto schedule_list = std::to_array<field>({
  {"schedules", field_type::array, true, "By name."},
  {"next_cursor", field_type::string, false, "To the next page, when there is one."},
});
constexpr auto next_fields = std::to_array<field>({
  {"schedule", field_type::string, false, "Its name; or give `expression`."},
  {"expression", field_type::string, false, "An expression to try out."},
  {"zone", field_type::string, false, "With `expression`; default `UTC`."},
  {"after", field_type::string, false, "Due times behind this one; default now."},
  {"count", field_type::integer, false, "How many, 1 to 100; default 5."},
});
constexpr auto next_answer = std::to_array<field>({
  {"next", field_type::array, true, "Due times, UTC."},
});
constexpr auto runs_fields =
  join(std::to_array<field>({
         {"schedule", field_type::string, false, "Only runs of this schedule."},
         {"status", field_type::string, false,
          "Only `due`, `queued`, `claimed`, `succeeded`, `failed` or `abandoned` ones."},
         {"since", field_type::string, false, "Only runs that were due then or later."},
       }),
       page_fields);
constexpr auto runs_answer = std::to_array<field>({
  {"runs", field_type::array, true, "Newest first."},
  {"next_cursor", field_type::string, false, "To the next page, when there is one."},
});
constexpr auto claim_fields = std::to_array<field>({
  {"worker", field_type::string, true, "Who is going to do it."},
  {"lease_s", field_type::integer, false, "Heartbeats must come so often; 1 to 86400, default 60."},
  {"schedule", field_type::string, false, "Only runs of this schedule."},
  {"kind", field_type::string, false, "Only runs of this kind."},
  {"wait_ms", field_type::integer, false, "Wait so long for a due run, 0 to 60000; default 0."},
});
constexpr auto claim_answer =
  join(written_fields, std::to_array<field>({
                         {"run", field_type::object, false,
                          "schedule, run, kind, action, due_at, missed, fence, lease_until; absent "
                          "when nothing is due."},
                       }));
constexpr auto held_fields =
  join(name_field, std::to_array<field>({
                     {"run", field_type::string, true, "Id of the run."},
                     {"fence", field_type::integer, true, "The token that the claim gave."},
                   }));
constexpr auto heartbeat_fields =
  join(held_fields, std::to_array<field>({
                      {"lease_s", field_type::integer, false, "From now on; default 60."},
                    }));
constexpr auto complete_fields =
  join(held_fields, std::to_array<field>({
                      {"result", field_type::any, false, "Opaque JSON."},
                    }));
constexpr auto fail_fields = join(held_fields, std::to_array<field>({
                                                 {"error", field_type::any, false, "Opaque JSON."},
                                               }));
constexpr auto key_field = std::to_array<field>({
  {"key", field_type::string, true, "What makes the effect the same one, e.g. run and call id."},
});
constexpr auto begin_fields =
  join(key_field,
       std::to_array<field>({
         {"args", field_type::any, false, "The arguments; or their hash."},
         {"args_hash", field_type::string, false, "SHA-256 of the canonical arguments."},
         {"tool", field_type::string, false, "Name of the tool."},
         {"approval", field_type::string, false, "Executes this request, which must be claimed."},
         {"holder", field_type::string, true, "Who does it."},
         {"lease_s", field_type::integer, false, "1 to 86400; default 60."},
       }));
constexpr auto effect_answer = std::to_array<field>({
  {"version", field_type::integer, true, "The version of the effect's stream."},
  {"effect", field_type::object, true,
   "key, status, fence, args_hash, tool, approval, holder, times, outcome."},
  {"begun", field_type::boolean, false, "It is the caller who must do it now."},
});
constexpr auto effect_written = join(
  written_fields, std::to_array<field>({
                    {"effect", field_type::object, true, "The effect as it is now."},
                    {"begun", field_type::boolean, false, "It is the caller who must do it now."},
                  }));
constexpr auto fence_fields =
  join(key_field, std::to_array<field>({
                    {"fence", field_type::integer, true, "The token that `effect.begin` gave."},
                  }));
constexpr auto effect_heartbeat =
  join(fence_fields, std::to_array<field>({
                       {"lease_s", field_type::integer, false, "From now on; default 60."},
                     }));
constexpr auto effect_complete =
  join(fence_fields, std::to_array<field>({
                       {"result", field_type::any, false, "Opaque JSON; later begins get it."},
                     }));
constexpr auto effect_fail = join(fence_fields, std::to_array<field>({
                                                  {"error", field_type::any, false, "Opaque JSON."},
                                                }));
constexpr auto reconcile_fields =
  join(key_field, std::to_array<field>({
                    {"outcome", field_type::string, true,
                     "`completed`: it happened; `failed`: it did not, and may be begun again."},
                    {"result", field_type::any, false, "Opaque JSON; later begins get it."},
                    {"by", field_type::string, true, "Who found out."},
                  }));
constexpr auto effect_list_fields =
  join(std::to_array<field>({
         {"status", field_type::string, false,
          "`in_doubt` (default), `begun`, `completed` or `failed`."},
       }),
       page_fields);
constexpr auto effect_list = std::to_array<field>({
  {"effects", field_type::array, true, "Newest first."},
  {"next_cursor", field_type::string, false, "To the next page, when there is one."},
});

time_us_t read_lease(request_reader& in) {
  return static_cast<time_us_t>(in.count("lease_s", 1, lease_s_max).value_or(60)) * us_per_s;
}

version_t read_fence(request_reader& in) { return in.count("fence", 0, 1ULL << 53).value_or(0); }

void submit(const call_ptr& call, const std::string& name, schedule::command wish,
            std::function<void(const committed&)> then) {
  call->submit(schedule::stream_of(call->tenant(), name), any_command(std::move(wish)), {},
               call->on<committed>(std::move(then)));
}

void answer_written(const call_ptr& call, const committed& done) {
  call->answer(written(done).done());
}

// -- schedules --

void define(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto name = in.id("schedule");
  schedule::define wish;
  auto& d = wish.definition;
  d.expression = in.string("expression").value_or("");
  d.zone = in.string("zone").value_or("UTC");
  d.kind = in.id("kind");
  d.action = in.any("action");
  d.source = in.choice("source", {"tool", "config"}).value_or("tool");
  wish.enabled = in.flag("enabled").value_or(true);
  d.misfire =
    *schedule::misfire_of(in.choice("misfire", {"once", "skip", "catch_up"}).value_or("once"));
  d.catch_up =
    in.count("catch_up", 1, 1'000).value_or(d.misfire == schedule::misfire::catch_up ? 1 : 0);
  d.overlap =
    *schedule::overlap_of(in.choice("overlap", {"allow", "skip", "queue_one"}).value_or("allow"));
  d.attempts = in.count("attempts", 1, 100).value_or(1);
  d.deadline_s = in.count("deadline_s", 1, 366 * 86'400).value_or(0);
  d.keep_days = in.count("keep_days", 1, 3'660).value_or(30);
  if (refused(call, in))
    return;
  submit(call, name, std::move(wish), [=](const committed& done) {
    auto out = written(done);
    for (const auto& f : done.facts)
      if (auto is = fact_as<schedule::defined>(*f); is && is->next_at != 0)
        out.str("next_at", format_time(is->next_at));
    call->answer(std::move(out).done());
  });
}

template <class Command>
void simply(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto name = in.id("schedule");
  if (refused(call, in))
    return;
  submit(call, name, Command{}, [=](const committed& done) { answer_written(call, done); });
}

void trigger(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto name = in.id("schedule");
  schedule::trigger wish{in.optional_id("by").value_or("")};
  if (refused(call, in))
    return;
  submit(call, name, std::move(wish), [=](const committed& done) {
    auto out = written(done);
    for (const auto& f : done.facts)
      if (auto run = fact_as<schedule::run_due>(*f))
        out.str("run", run->id);
    call->answer(std::move(out).done());
  });
}

void list_schedules(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  row_page page;
  page.query.table = &schedules::spec;
  page.query.index = schedules::by_name;
  page.query.equals = {call->tenant()};
  page.place = {schedules::name, schedules::stream};
  page.list = list_name({"schedule.list", call->tenant()});
  page.member = "schedules";
  page.render = [](const projections::row& r) {
    json::object_writer w;
    w.str("schedule", text_at(r, schedules::name));
    w.boolean("enabled", number_at(r, schedules::enabled) != 0);
    add_time(w, "next_at", r, schedules::next_at);
    const auto body = text_at(r, schedules::body);
    if (auto more = json::members(body, "body"))
      for (const auto& m : *more)
        w.raw(m.name, m.raw);
    add_time(w, "updated_at", r, schedules::updated_at);
    return std::move(w).done();
  };
  answer_page(call, in, std::move(page));
}

void answer_next(const call_ptr& call, const schedule::definition& d, time_us_t after,
                 time_us_t anchor, std::size_t count) {
  array_writer all;
  for (const auto at : schedule::preview(d, call->zones(), after, anchor, count))
    all.raw(json::quote(format_time(at)));
  json::object_writer out;
  out.raw("next", std::move(all).done());
  call->answer(std::move(out).done());
}

void next(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto name = in.optional_id("schedule");
  const auto expression = in.string("expression");
  if (name.has_value() == expression.has_value())
    in.refuse("schedule", "give `schedule` or `expression`");
  const auto after = in.time("after").value_or(call->now());
  const auto count = in.count("count", 1, 100).value_or(5);
  schedule::definition d;
  d.expression = expression.value_or("");
  d.zone = in.string("zone").value_or("UTC");
  if (expression && in.wrong() == nullptr)
    if (auto good = schedule::check(d, call->zones(), call->now()); !good)
      in.refuse(good.error());
  if (refused(call, in))
    return;
  if (expression) {
    answer_next(call, d, after, call->now(), count);
    return;
  }
  call->view(schedule::stream_of(call->tenant(), *name), 0,
             call->on<stream_view>([=](const stream_view& v) {
               const auto& s = state_of<schedule::state>(v);
               if (s.defined)
                 answer_next(call, s.definition, after, s.created_at, count);
               else
                 call->fail({errc::not_found, "there is no such schedule", "schedule"});
             }));
}

std::string run_json(const projections::row& r) {
  json::object_writer w;
  w.str("schedule", text_at(r, runs::schedule)).str("run", text_at(r, runs::run));
  w.str("status", text_at(r, runs::status));
  add_time(w, "due_at", r, runs::due_at);
  w.num("missed", number_at(r, runs::missed)).str("kind", text_at(r, runs::kind));
  add_text(w, "triggered_by", r, runs::triggered_by);
  add_text(w, "worker", r, runs::worker);
  add_time(w, "claimed_at", r, runs::claimed_at);
  add_time(w, "ended_at", r, runs::ended_at);
  if (auto outcome = text_at(r, runs::outcome); !outcome.empty())
    w.raw("outcome", outcome);
  return std::move(w).done();
}

void list_runs(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  row_page page;
  const auto name = in.optional_id("schedule");
  const auto status =
    in.choice("status", {"queued", "due", "claimed", "succeeded", "failed", "abandoned"});
  const auto since = in.time("since");
  page.query.table = &runs::spec;
  page.query.descending = true;
  page.query.equals = {call->tenant()};
  if (name) {
    page.query.index = runs::by_schedule;
    page.query.equals.emplace_back(*name);
    page.place = {runs::due_at, runs::stream, runs::day, runs::run};
  } else if (status) {
    page.query.index = runs::by_status;
    page.query.equals.emplace_back(*status);
    page.place = {runs::due_at, runs::stream, runs::day, runs::run};
  } else {
    page.query.index = runs::by_schedule;
    page.place = {runs::schedule, runs::due_at, runs::stream, runs::day, runs::run};
  }
  page.list = list_name({"schedule.runs", call->tenant(), name.value_or(""), status.value_or(""),
                         std::to_string(since.value_or(0))});
  page.member = "runs";
  page.wanted = [status, since](const projections::row& r) {
    return (!status || text_at(r, runs::status) == *status)
           && (!since || number_at(r, runs::due_at) >= *since);
  };
  page.render = run_json;
  answer_page(call, in, std::move(page));
}

// -- runs --

class run_claim final : public waiting_claim {
public:
  struct wish {
    std::string worker;
    std::string schedule;  ///< Empty: any.
    std::string kind;      ///< Empty: any.
    time_us_t lease_us = 0;
  };
  run_claim(call_ptr call, wish w, time_us_t until)
    : waiting_claim(std::move(call), stream_kind::schedule, until), wish_(std::move(w)) {}

private:
  void look() override;
  void read_rows();
  void claim_next();
  void claim_again(void (run_claim::*otherwise)());
  void hand_out(const projections::row& row, const committed& done);
  std::shared_ptr<run_claim> self() {
    return std::static_pointer_cast<run_claim>(shared_from_this());
  }

  wish wish_;
  std::vector<projections::row> rows_;  ///< What waits.
  std::size_t at_ = 0;                  ///< The next one to try.
};

/// What this very call was given before, when it is repeated; otherwise goes on.
void run_claim::claim_again(void (run_claim::*otherwise)()) {
  find_claim(call(), {&runs::spec, runs::tenant, runs::worker, runs::claimed_at}, wish_.worker,
             [self = self(), otherwise](const std::optional<claimed_before>& before) {
               if (before)
                 self->hand_out(before->row, before->done);
               else
                 (*self.*otherwise)();
             });
}

void run_claim::look() {
  rows_.clear();
  at_ = 0;
  claim_again(&run_claim::read_rows);
}

void run_claim::read_rows() {
  projections::row_query query;
  query.table = &runs::spec;
  query.index = runs::by_waiting;
  query.equals = {call()->tenant(), std::int64_t{1}};
  query.limit = 1'000;
  call()->rows(std::move(query), call()->on<std::vector<projections::row>>(
                                   [self = self()](std::vector<projections::row> rows) {
                                     self->rows_ = std::move(rows);
                                     self->claim_next();
                                   }));
}

/// Claims the next row that somebody else has not claimed meanwhile.
void run_claim::claim_next() {
  while (at_ < rows_.size()
         && ((!wish_.schedule.empty() && text_at(rows_[at_], runs::schedule) != wish_.schedule)
             || (!wish_.kind.empty() && text_at(rows_[at_], runs::kind) != wish_.kind)))
    ++at_;
  if (at_ >= rows_.size()) {
    found_nothing();
    return;
  }
  const auto& row = rows_[at_++];
  schedule::claim_run claim{text_at(row, runs::run), wish_.worker, wish_.lease_us};
  call()->submit_as(schedule::stream_of(call()->tenant(), text_at(row, runs::schedule)),
                    call()->command_id(), any_command(schedule::command(std::move(claim))), {},
                    [self = self()](result<committed> done) {
                      // This call has claimed something of this schedule before, perhaps another run.
                      if (done && done->duplicate)
                        self->claim_again(&run_claim::claim_next);
                      else if (done)
                        self->hand_out(self->rows_[self->at_ - 1], *done);
                      else if (done.error().code == errc::already_claimed
                               || done.error().code == errc::not_found)
                        self->claim_next();
                      else
                        self->call()->fail(std::move(done.error()));
                    });
}

void run_claim::hand_out(const projections::row& row, const committed& done) {
  json::object_writer w;
  w.str("schedule", text_at(row, runs::schedule)).str("run", text_at(row, runs::run));
  w.str("kind", text_at(row, runs::kind));
  if (auto action = text_at(row, runs::action); !action.empty())
    w.raw("action", action);
  add_time(w, "due_at", row, runs::due_at);
  w.num("missed", number_at(row, runs::missed)).num("fence", done.version);
  w.str("lease_until", format_time(done.time + wish_.lease_us));
  auto out = written(done);
  out.raw("run", std::move(w).done());
  call()->answer(std::move(out).done());
}

void claim(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  run_claim::wish wish;
  wish.worker = in.id("worker");
  wish.schedule = in.optional_id("schedule").value_or("");
  wish.kind = in.optional_id("kind").value_or("");
  wish.lease_us = read_lease(in);
  const auto wait_ms = in.count("wait_ms", 0, wait_ms_max).value_or(0);
  const auto until = call->now() + static_cast<time_us_t>(wait_ms) * 1'000;
  if (!refused(call, in))
    std::make_shared<run_claim>(call, std::move(wish), until)->begin();
}

void heartbeat(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto name = in.id("schedule");
  schedule::extend_run wish{in.id("run"), read_fence(in), read_lease(in)};
  if (!refused(call, in))
    submit(call, name, std::move(wish), [=](const committed& d) { answer_written(call, d); });
}

template <bool Succeeded>
void end_run(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto name = in.id("schedule");
  schedule::end_run wish{in.id("run"), read_fence(in), Succeeded,
                         in.any(Succeeded ? "result" : "error")};
  if (!refused(call, in))
    submit(call, name, std::move(wish), [=](const committed& d) { answer_written(call, d); });
}

// -- effects --

std::string json_of(const std::string& key, const effect::state& s, time_us_t now) {
  json::object_writer w;
  w.str("key", key).str("status", to_string(s.seen_at(now))).num("fence", s.fence);
  w.str("args_hash", s.args_hash).str("tool", s.tool).str("approval", s.approval);
  w.str("holder", s.holder).str("begun_at", format_time(s.begun_at));
  w.str("lease_until", format_time(s.lease_until));
  if (s.ended_at != 0)
    w.str("ended_at", format_time(s.ended_at));
  if (!s.ended_by.empty())
    w.str("ended_by", s.ended_by);
  if (!s.outcome.empty())
    w.raw("outcome", s.outcome);
  return std::move(w).done();
}

void show_effect(const call_ptr& call, const std::string& key,
                 const std::optional<committed>& done = {}, std::optional<bool> begun = {}) {
  call->view(effect::stream_of(call->tenant(), key), 0,
             call->on<stream_view>([=](const stream_view& v) {
               const auto& s = state_of<effect::state>(v);
               if (s.status == effect::status::absent) {
                 call->fail({errc::not_found, "there is no such effect", "key"});
                 return;
               }
               auto out = done ? written(*done) : json::object_writer();
               if (!done)
                 out.num("version", v.version);
               out.raw("effect", json_of(key, s, call->now()));
               if (begun)
                 out.boolean("begun", *begun);
               call->answer(std::move(out).done());
             }));
}

void submit_effect(const call_ptr& call, const std::string& key, effect::command wish,
                   std::function<void(const committed&)> then) {
  call->submit(effect::stream_of(call->tenant(), key), any_command(std::move(wish)), {},
               call->on<committed>(std::move(then)));
}

/// The effect is what its approval was claimed for.
result<void> check_claim(const approval::state& s, const std::string& key,
                         const effect::begin& wish) {
  const auto* r = s.find(wish.approval);
  if (r == nullptr)
    return fail({errc::not_found, "there is no such approval request", "approval"});
  if (r->claimed_at == 0)
    return fail({errc::rejected, "it was not claimed", "approval"});
  if (r->what.args_hash != wish.args_hash)
    return fail({errc::rejected, "the arguments are not those that were approved", "args_hash"});
  if (!r->effect.empty() && r->effect != key)
    return fail({errc::rejected, "it was claimed for another effect: " + r->effect, "key"});
  return {};
}

void begin_effect(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = in.id("key");
  effect::begin wish;
  if (in.has("args_hash") && in.has("args"))
    in.refuse("args_hash", "give `args_hash` or `args`");
  wish.args_hash = in.has("args_hash")
                     ? in.string("args_hash").value_or("")
                     : sha256_hex(canonical_json(in.raw("args").value_or("null")));
  wish.tool = in.optional_id("tool").value_or("");
  wish.approval = in.optional_id("approval").value_or("");
  wish.holder = in.id("holder");
  wish.lease_us = read_lease(in);
  const auto stream = approval::stream_of(call->tenant(), wish.approval);
  if (!wish.approval.empty() && !stream)
    in.refuse(stream.error());
  if (refused(call, in))
    return;
  const auto go = [=] {
    submit_effect(call, key, wish, [=](const committed& done) {
      show_effect(call, key, done, !done.facts.empty());
    });
  };
  if (wish.approval.empty()) {
    go();
    return;
  }
  // A claim is final, so that what is seen here still holds when the effect is begun.
  call->view(*stream, 0, call->on<stream_view>([=](const stream_view& v) {
    if (auto good = check_claim(state_of<approval::state>(v), key, wish); good)
      go();
    else
      call->fail(std::move(good.error()));
  }));
}

template <class Command>
void end_effect(const call_ptr& call, request_reader& in, const std::string& key, Command wish) {
  if (!refused(call, in))
    submit_effect(call, key, std::move(wish),
                  [=](const committed& done) { show_effect(call, key, done); });
}

void extend_effect(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = in.id("key");
  end_effect(call, in, key, effect::extend{read_fence(in), read_lease(in)});
}
void complete_effect(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = in.id("key");
  end_effect(call, in, key, effect::complete{read_fence(in), in.any("result")});
}
void fail_effect(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = in.id("key");
  end_effect(call, in, key, effect::give_up{read_fence(in), in.any("error")});
}
void reconcile_effect(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = in.id("key");
  effect::reconcile wish;
  wish.found = effect::status_of(in.choice("outcome", {"completed", "failed"}).value_or("failed"))
                 .value_or(effect::status::failed);
  wish.outcome = in.any("result");
  wish.by = in.id("by");
  end_effect(call, in, key, std::move(wish));
}
void get_effect(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = in.id("key");
  if (!refused(call, in))
    show_effect(call, key);
}

void list_effects(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  row_page page;
  const auto status =
    in.choice("status", {"in_doubt", "begun", "completed", "failed"}).value_or("in_doubt");
  page.query.table = &effects::spec;
  page.query.index = effects::by_status;
  page.query.descending = true;
  page.query.equals = {call->tenant(), status};
  page.place = {effects::begun_at, effects::stream};
  page.list = list_name({"effect.list", call->tenant(), status});
  page.member = "effects";
  page.render = [](const projections::row& r) {
    json::object_writer w;
    w.str("key", text_at(r, effects::key)).str("status", text_at(r, effects::status));
    w.num("fence", number_at(r, effects::fence)).str("args_hash", text_at(r, effects::args_hash));
    add_text(w, "tool", r, effects::tool);
    add_text(w, "approval", r, effects::approval);
    add_text(w, "holder", r, effects::holder);
    add_time(w, "begun_at", r, effects::begun_at);
    add_time(w, "lease_until", r, effects::lease_until);
    add_time(w, "ended_at", r, effects::ended_at);
    add_text(w, "ended_by", r, effects::ended_by);
    if (auto outcome = text_at(r, effects::outcome); !outcome.empty())
      w.raw("outcome", outcome);
    return std::move(w).done();
  };
  answer_page(call, in, std::move(page));
}

constexpr std::string_view one = "/v1/schedules/{schedule}";

constexpr operation operations[] = {
  {"schedule.define", "Defines a schedule, or defines it again.", right::write, "PUT", one, true,
   define_fields, define_answer, define},
  {"schedule.pause", "Lets no more runs come due.", right::write, "POST",
   "/v1/schedules/{schedule}/pause", true, name_field, written_fields, simply<schedule::pause>},
  {"schedule.resume", "Lets runs come due again, from now on.", right::write, "POST",
   "/v1/schedules/{schedule}/resume", true, name_field, written_fields, simply<schedule::resume>},
  {"schedule.trigger", "Makes a run due now; the next due time stays.", right::write, "POST",
   "/v1/schedules/{schedule}/trigger", true, trigger_fields, trigger_answer, trigger},
  {"schedule.delete", "Deletes a schedule; its history stays.", right::write, "DELETE", one, true,
   name_field, written_fields, simply<schedule::remove>},
  {"schedule.list", "Lists schedules by name.", right::read, "GET", "/v1/schedules", true,
   page_fields, schedule_list, list_schedules},
  {"schedule.next", "Answers the next due times of a schedule or an expression.", right::read,
   "GET", "/v1/schedule-preview", true, next_fields, next_answer, next},
  {"schedule.runs", "Lists runs, newest first.", right::read, "GET", "/v1/runs", true, runs_fields,
   runs_answer, list_runs},
  {"run.claim", "Takes a due run under a lease, waiting for one if asked to.", right::write, "POST",
   "/v1/runs/claim", false, claim_fields, claim_answer, claim},
  {"run.heartbeat", "Extends the lease of a run.", right::write, "POST", "/v1/runs/heartbeat",
   false, heartbeat_fields, written_fields, heartbeat},
  {"run.complete", "Says that a run has succeeded.", right::write, "POST", "/v1/runs/complete",
   false, complete_fields, written_fields, end_run<true>},
  {"run.fail", "Says that an attempt has failed.", right::write, "POST", "/v1/runs/fail", false,
   fail_fields, written_fields, end_run<false>},
  {"effect.begin", "Begins an effect once; answers the recorded result when it was done.",
   right::write, "POST", "/v1/effects/begin", false, begin_fields, effect_written, begin_effect},
  {"effect.heartbeat", "Extends the lease of an effect.", right::write, "POST",
   "/v1/effects/heartbeat", false, effect_heartbeat, effect_written, extend_effect},
  {"effect.complete", "Records an effect's result.", right::write, "POST", "/v1/effects/complete",
   false, effect_complete, effect_written, complete_effect},
  {"effect.fail", "Records that an effect did not happen; it may be begun again.", right::write,
   "POST", "/v1/effects/fail", false, effect_fail, effect_written, fail_effect},
  {"effect.reconcile", "Says what became of an effect in doubt.", right::write, "POST",
   "/v1/effects/reconcile", false, reconcile_fields, effect_written, reconcile_effect},
  {"effect.get", "Answers an effect.", right::read, "GET", "/v1/effects/get", false, key_field,
   effect_answer, get_effect},
  {"effect.list", "Lists effects, newest first.", right::read, "GET", "/v1/effects", false,
   effect_list_fields, effect_list, list_effects},
};

}  // namespace

std::span<const operation> schedule_operations() { return operations; }

}  // namespace recalld::api

#include "projections/summary_rows.hpp"

#include "events/base64.hpp"
#include "events/payload.hpp"
#include "projections/supervision_rows.hpp"

namespace recalld::projections {

namespace {

constexpr auto whole = column_type::integer;
constexpr auto words = column_type::text;

}  // namespace

namespace summaries {
const table spec{
  .name = "summaries",
  .version = 1,
  .columns = {{"stream", whole},
              {"filter_key"},
              {"tenant"},
              {"app"},
              {"user"},
              {"session"},
              {"life", whole},
              {"through", whole},
              {"ordinal", whole},
              {"entry", words, true},
              {"text"},
              {"topics"},
              {"made_by", words, true},
              {"stored_at", whole},
              {"version", whole}},
  .key_columns = 2,
  .indexes = {{"by_session", {tenant, app, user, session}}},
};
}  // namespace summaries

namespace summary_jobs {
const table spec{
  .name = "summary_jobs",
  .version = 1,
  .columns = {{"stream", whole},
              {"filter_key"},
              {"tenant"},
              {"app"},
              {"user"},
              {"session"},
              {"status"},
              {"waiting", whole, true},
              {"why"},
              {"until", whole},
              {"due_at", whole},
              {"attempt", whole},
              {"worker", words, true},
              {"claimed_at", whole, true},
              {"ends_at", whole, true},
              {"ended_at", whole, true},
              {"failure", words, true}},
  .key_columns = 2,
  .indexes = {{"by_waiting", {tenant, waiting, due_at}, waiting},
              {"by_time", {tenant, due_at}},
              {"by_session", {tenant, app, user, session}}},
};
}  // namespace summary_jobs

namespace summary_triggers {
const table spec{
  .name = "summary_triggers",
  .version = 1,
  .columns = {{"stream", whole},
              {"tenant"},
              {"app"},
              {"entries", whole},
              {"tokens", whole},
              {"idle_s", whole}},
  .key_columns = 1,
};
}  // namespace summary_triggers

namespace {

std::int64_t number(std::uint64_t n) { return static_cast<std::int64_t>(n); }
value or_null(const std::string& s) { return s.empty() ? value{} : value{s}; }

struct summary_rows {
  const envelope& at;
  std::vector<change>& out;
  std::int64_t stream = number(at.stream_no);

  std::string part(std::size_t i) const { return std::string(at.stream.parts().at(i)); }

  /// Arms the deadline of a job, or disarms it when `when` is 0.
  void arm(const std::string& filter_key, time_us_t when) {
    auto item = "job " + filter_key;
    if (when == 0)
      out.push_back(erase{&agenda::spec, {stream, std::move(item)}});
    else
      out.push_back(put{&agenda::spec, {stream, std::move(item), to_base64(at.stream.bytes()), when}});
  }
  void change_job(const std::string& filter_key, summary::job_status status,
                  std::vector<std::pair<std::size_t, value>> cells) {
    const bool due = status == summary::job_status::due;
    cells.emplace_back(summary_jobs::status, std::string(to_string(status)));
    cells.emplace_back(summary_jobs::waiting, due ? value{std::int64_t{1}} : value{});
    out.push_back(set{&summary_jobs::spec, {stream, filter_key}, std::move(cells)});
  }

  void operator()(const summary::stored& f) {
    const auto& c = f.content;
    out.push_back(put{&summaries::spec,
                      {stream, f.filter_key, part(0), part(1), part(2), part(3), number(f.life),
                       number(c.through), number(c.ordinal), or_null(c.entry), c.text,
                       codec::payload_writer::strings(c.topics), or_null(c.made_by), at.time,
                       number(at.version)}});
  }
  void operator()(const summary::cleared&) {
    for (const auto* t : {&summaries::spec, &summary_jobs::spec, &agenda::spec})
      out.push_back(erase{t, {stream}});
  }
  void operator()(const summary::configured& f) {
    const auto& t = f.triggers;
    if (t.any())
      out.push_back(
        put{&summary_triggers::spec,
            {stream, part(0), part(1), number(t.entries), number(t.tokens), number(t.idle_s)}});
    else
      out.push_back(erase{&summary_triggers::spec, {stream}});
  }
  void operator()(const summary::job_due& f) {
    out.push_back(put{&summary_jobs::spec,
                      {stream, f.filter_key, part(0), part(1), part(2), part(3), "due",
                       std::int64_t{1}, f.why, number(f.until), at.time, std::int64_t{0}, value{},
                       value{}, value{}, value{}, value{}}});
  }
  void operator()(const summary::job_raised& f) {
    out.push_back(
      set{&summary_jobs::spec, {stream, f.filter_key}, {{summary_jobs::until, number(f.until)}}});
  }
  void operator()(const summary::job_claimed& f) {
    change_job(f.filter_key, summary::job_status::claimed,
               {{summary_jobs::worker, f.worker},
                {summary_jobs::attempt, number(f.attempt)},
                {summary_jobs::claimed_at, at.time},
                {summary_jobs::ends_at, f.lease_until}});
    arm(f.filter_key, f.lease_until);
  }
  void operator()(const summary::job_extended& f) {
    out.push_back(
      set{&summary_jobs::spec, {stream, f.filter_key}, {{summary_jobs::ends_at, f.lease_until}}});
    arm(f.filter_key, f.lease_until);
  }
  void operator()(const summary::job_failed& f) {
    const bool over = f.status == summary::job_status::failed;
    change_job(f.filter_key, f.status,
               {{summary_jobs::failure, or_null(f.failure)},
                {summary_jobs::ends_at, f.again_at == 0 ? value{} : value{f.again_at}},
                {summary_jobs::ended_at, over ? value{at.time} : value{}}});
    arm(f.filter_key, f.again_at);
  }
  void operator()(const summary::job_released& f) {
    change_job(f.filter_key, summary::job_status::due, {{summary_jobs::ends_at, value{}}});
    arm(f.filter_key, 0);
  }
  void operator()(const summary::job_done& f) {
    change_job(f.filter_key, summary::job_status::done,
               {{summary_jobs::ends_at, value{}}, {summary_jobs::ended_at, at.time}});
    arm(f.filter_key, 0);
  }
};

}  // namespace

void project_summary(const envelope& at, const summary::fact& f, std::vector<change>& out) {
  std::visit(summary_rows{at, out}, f);
}

}  // namespace recalld::projections

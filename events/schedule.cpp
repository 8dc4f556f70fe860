#include "events/schedule.hpp"

#include <algorithm>

#include "events/aggregates.hpp"
#include "events/envelope.hpp"

namespace recalld::schedule {

namespace {

using outcome = result<aggregate::decision>;

constexpr std::string_view status_words[] = {"queued",    "due",    "claimed",
                                             "succeeded", "failed", "abandoned"};
constexpr std::string_view misfire_words[] = {"skip", "once", "catch_up"};
constexpr std::string_view overlap_words[] = {"allow", "skip", "queue_one"};

template <class Enum, std::size_t N>
std::optional<Enum> word_in(const std::string_view (&words)[N], std::string_view word) noexcept {
  for (std::size_t i = 0; i < N; ++i)
    if (words[i] == word)
      return static_cast<Enum>(i);
  return std::nullopt;
}

time_us_t next_after(const definition& d, const context& ctx, time_us_t after, time_us_t anchor) {
  const auto e = cron::parse(d.expression, "expression");
  return e ? cron::next(*e, d.zone, ctx.zones, after, anchor).value_or(0) : 0;
}

tl::unexpected<error> unknown() {
  return fail({errc::not_found, "there is no such schedule", "schedule"});
}

/// Collects facts together with the state that they lead to.
class story {
public:
  story(const state& s, const context& ctx) : s_(s), ctx_(ctx) {}

  void tell(fact f) {
    envelope at;
    at.time = ctx_.now;
    at.version = ctx_.version + out_.facts.size() + 1;
    aggregate::evolve(s_, f, at);
    out_.facts.push_back(std::move(f));
  }
  const state& present() const { return s_; }

  /// One more run, as the overlap policy has it.
  void add_run(std::string id, time_us_t due_at, std::uint64_t missed, std::string by) {
    const auto& d = s_.definition;
    const bool crowded = s_.runs.size() >= open_runs_max;
    const bool waits = std::any_of(s_.runs.begin(), s_.runs.end(), [](const auto& r) {
      return r.second.status == run_status::queued;
    });
    const bool busy = !s_.runs.empty() && d.overlap != overlap::allow;
    if (crowded || (busy && (d.overlap == overlap::skip || waits)))
      tell(runs_skipped{due_at, missed + 1, "overlap"});
    else
      tell(run_due{std::move(id), due_at, busy, missed, std::move(by), d.kind, d.action});
  }

  /// A queued run may go on when it is alone.
  void release() {
    if (s_.runs.size() == 1 && s_.runs.begin()->second.status == run_status::queued)
      tell(run_released{s_.runs.begin()->first, s_.runs.begin()->second.due_at});
  }

  /// An attempt is over.
  void end(const std::string& id, run_status how, std::string result) {
    const auto& r = s_.runs.at(id);
    const bool again =
      how != run_status::succeeded && r.attempt < s_.definition.attempts && s_.defined;
    tell(run_ended{id, r.due_at, how, again, std::move(result)});
    release();
  }

  void forget(bool all = false) {
    const auto last = ctx_.now / day_us - static_cast<std::int64_t>(s_.definition.keep_days) - 1;
    if (s_.first_day > 0 && s_.first_day <= last)
      tell(runs_forgotten{s_.first_day, last, all});
  }

  aggregate::decision done() && { return std::move(out_); }

private:
  state s_;
  const context& ctx_;
  aggregate::decision out_;
};

/// When every run that exists now has been kept for long enough; 0 = there is none. While due times
/// come each of them forgets a little; this is for schedules that have none any more.
time_us_t forget_at(const state& s, time_us_t now) {
  constexpr std::int64_t kept_days_max = 36'500;
  const auto days = std::min<std::int64_t>(static_cast<std::int64_t>(s.definition.keep_days), kept_days_max);
  return s.first_day == 0 ? 0 : (now / day_us + days + 1) * day_us;
}

std::string id_of(time_us_t due_at) { return std::to_string(due_at); }

outcome decide_on(const state& s, const define& c, const context& ctx) {
  const auto& d = c.definition;
  if (auto good = check(d, ctx.zones, ctx.now); !good)
    return fail(std::move(good.error()));
  if (auto good = check_id(d.kind, "kind"); !good)
    return fail(std::move(good.error()));
  if (d.action.size() > action_bytes_max)
    return fail_field("action", "must have at most 262144 bytes");
  if (s.defined && s.definition == d)
    return aggregate::decision{};
  const bool moved =
    !s.defined || s.definition.expression != d.expression || s.definition.zone != d.zone;
  const auto enabled = s.defined ? s.enabled : c.enabled;
  const auto anchor = s.defined ? s.created_at : ctx.now;
  const auto next = !enabled ? 0 : moved ? next_after(d, ctx, ctx.now, anchor) : s.next_at;
  return aggregate::decision{{defined{d, enabled, next}}, {}};
}

outcome decide_on(const state& s, const pause&, const context& ctx) {
  if (!s.defined)
    return unknown();
  if (!s.enabled)
    return aggregate::decision{};
  return aggregate::decision{{paused{forget_at(s, ctx.now)}}, {}};
}

outcome decide_on(const state& s, const resume&, const context& ctx) {
  if (!s.defined)
    return unknown();
  if (s.enabled)
    return aggregate::decision{};
  return aggregate::decision{{resumed{next_after(s.definition, ctx, ctx.now, s.created_at)}}, {}};
}

outcome decide_on(const state& s, const trigger& c, const context& ctx) {
  if (!s.defined)
    return unknown();
  story told(s, ctx);
  told.forget();
  told.add_run("t" + std::to_string(ctx.version + 1), ctx.now, 0, c.by.empty() ? "caller" : c.by);
  return std::move(told).done();
}

outcome decide_on(const state& s, const remove&, const context& ctx) {
  if (!s.defined)
    return aggregate::decision{};
  story told(s, ctx);
  for (const auto& [id, r] : s.runs)
    if (r.status != run_status::claimed)
      told.tell(run_ended{id, r.due_at, run_status::abandoned, false, {}});
  told.tell(deleted{forget_at(s, ctx.now)});
  return std::move(told).done();
}

/// The run, if `fence` is that of its present claim.
result<const run*> held(const state& s, std::string_view id, version_t fence, time_us_t now) {
  const auto found = s.runs.find(id);
  if (found == s.runs.end())
    return fail({errc::not_found, "there is no such open run", "run"});
  const auto& r = found->second;
  if (r.status != run_status::claimed || r.fence != fence)
    return fail(
      {errc::already_claimed, "the token is stale: the run was taken from this worker", "fence"});
  if (r.ends_at() <= now)
    return fail({errc::expired, "the lease is over", "fence"});
  return &r;
}

outcome decide_on(const state& s, const claim_run& c, const context& ctx) {
  const auto found = s.runs.find(c.id);
  if (found == s.runs.end())
    return fail({errc::not_found, "there is no such open run", "run"});
  if (found->second.status != run_status::due)
    return fail({errc::already_claimed, "the run is not due any more", "run"});
  const auto deadline = s.definition.deadline_s == 0
                          ? 0
                          : ctx.now + static_cast<time_us_t>(s.definition.deadline_s) * 1'000'000;
  return aggregate::decision{
    {run_claimed{c.id, found->second.due_at, c.worker, ctx.now + c.lease_us, deadline}}, {}};
}

outcome decide_on(const state& s, const extend_run& c, const context& ctx) {
  const auto r = held(s, c.id, c.fence, ctx.now);
  if (!r)
    return fail(r.error());
  return aggregate::decision{{run_extended{c.id, ctx.now + c.lease_us, (*r)->deadline}}, {}};
}

outcome decide_on(const state& s, const end_run& c, const context& ctx) {
  if (c.outcome.size() > action_bytes_max)
    return fail_field(c.succeeded ? "result" : "error", "must have at most 262144 bytes");
  if (const auto r = held(s, c.id, c.fence, ctx.now); !r)
    return fail(r.error());
  story told(s, ctx);
  told.end(c.id, c.succeeded ? run_status::succeeded : run_status::failed, c.outcome);
  return std::move(told).done();
}

/// Due times from `first` to `now`, oldest first, no more than the newest `keep`; and how many there
/// were before those.
struct due_times {
  std::vector<time_us_t> newest;
  std::uint64_t before = 0;
  time_us_t next = 0;
};
due_times times_until(const state& s, const context& ctx, std::size_t keep) {
  due_times out;
  const auto e = cron::parse(s.definition.expression, "expression");
  std::size_t met = 0;
  auto at = s.next_at;
  while (at != 0 && at <= ctx.now) {
    out.newest.push_back(at);
    if (out.newest.size() > 2 * keep + 64) {
      const auto gone = out.newest.size() - keep;
      out.before += gone;
      out.newest.erase(out.newest.begin(), out.newest.begin() + static_cast<std::ptrdiff_t>(gone));
    }
    // After a very long time only the newest ones are looked at.
    if (++met == counted_max)
      at = std::max(at, ctx.now - 600 * std::int64_t{1'000'000});
    at = e ? cron::next(*e, s.definition.zone, ctx.zones, at, s.created_at).value_or(0) : 0;
  }
  out.next = at;
  return out;
}

void fall(story& told, const context& ctx) {
  const auto d = told.present().definition;
  const auto keep = std::max<std::uint64_t>(d.catch_up, 64);
  auto times = times_until(told.present(), ctx, keep);
  const auto split = std::find_if(times.newest.begin(), times.newest.end(),
                                  [&](time_us_t t) { return ctx.now - t <= misfire_after_us; });
  const auto late = static_cast<std::uint64_t>(split - times.newest.begin());
  auto missed = times.before + late;
  auto begin = split;
  std::uint64_t carried = 0;
  if (missed > 0 && d.misfire == misfire::once) {
    begin = times.newest.end() - 1;
    carried = times.before + times.newest.size() - 1;
    missed = 0;
  } else if (missed > 0 && d.misfire == misfire::catch_up) {
    const auto made_up = std::min<std::uint64_t>(late, d.catch_up);
    begin = split - static_cast<std::ptrdiff_t>(made_up);
    missed -= made_up;
  }
  if (missed > 0)
    told.tell(runs_skipped{begin == times.newest.begin() ? told.present().next_at : *(begin - 1),
                           missed, "misfire"});
  for (auto t = begin; t != times.newest.end(); ++t)
    told.add_run(id_of(*t), *t, std::exchange(carried, 0), {});
  told.tell(advanced{times.next});
}

outcome decide_on(const state& s, const fall_due& c, const context& ctx) {
  story told(s, ctx);
  if (c.item == forget_item) {
    if (!s.defined || !s.enabled)
      told.forget(true);
    return std::move(told).done();
  }
  std::vector<std::string> over;
  for (const auto& [id, r] : s.runs)
    if (r.ends_at() != 0 && r.ends_at() <= ctx.now)
      over.push_back(id);
  for (const auto& id : over)
    told.end(id, run_status::abandoned, {});
  if (s.defined && s.enabled && s.next_at != 0 && s.next_at <= ctx.now) {
    fall(told, ctx);
    told.forget();
  }
  return std::move(told).done();
}

struct folding {
  state& s;
  const envelope& at;

  void operator()(const defined& f) const {
    if (!s.defined)
      s.created_at = at.time;
    s.defined = true;
    s.definition = f.definition;
    s.enabled = f.enabled;
    s.next_at = f.next_at;
  }
  void operator()(const paused&) const {
    s.enabled = false;
    s.next_at = 0;
  }
  void operator()(const resumed& f) const {
    s.enabled = true;
    s.next_at = f.next_at;
  }
  void operator()(const deleted&) const {
    s.defined = false;
    s.next_at = 0;
  }
  void operator()(const run_due& f) const {
    run r;
    r.status = f.queued ? run_status::queued : run_status::due;
    r.due_at = f.due_at;
    s.runs.insert_or_assign(f.id, r);
    if (s.first_day == 0)
      s.first_day = f.due_at / day_us;
  }
  void operator()(const runs_skipped&) const {}
  void operator()(const advanced& f) const { s.next_at = f.next_at; }
  void operator()(const run_claimed& f) const {
    auto& r = s.runs[f.id];
    r.status = run_status::claimed;
    r.worker = f.worker;
    r.fence = at.version;
    r.lease_until = f.lease_until;
    r.deadline = f.deadline;
  }
  void operator()(const run_extended& f) const { s.runs[f.id].lease_until = f.lease_until; }
  void operator()(const run_ended& f) const {
    if (!f.again) {
      s.runs.erase(f.id);
      return;
    }
    auto& r = s.runs[f.id];
    r.status = run_status::due;
    r.attempt += 1;
    r.worker.clear();
    r.lease_until = r.deadline = 0;
  }
  void operator()(const run_released& f) const { s.runs[f.id].status = run_status::due; }
  void operator()(const runs_forgotten& f) const { s.first_day = f.last_day + 1; }
};

}  // namespace

std::string_view to_string(run_status s) noexcept {
  return status_words[static_cast<std::size_t>(s)];
}
std::string_view to_string(misfire m) noexcept {
  return misfire_words[static_cast<std::size_t>(m)];
}
std::string_view to_string(overlap o) noexcept {
  return overlap_words[static_cast<std::size_t>(o)];
}
std::optional<run_status> run_status_of(std::string_view word) noexcept {
  return word_in<run_status>(status_words, word);
}
std::optional<misfire> misfire_of(std::string_view word) noexcept {
  return word_in<misfire>(misfire_words, word);
}
std::optional<overlap> overlap_of(std::string_view word) noexcept {
  return word_in<overlap>(overlap_words, word);
}

time_us_t run::ends_at() const noexcept {
  if (status != run_status::claimed)
    return 0;
  return deadline == 0 ? lease_until : std::min(lease_until, deadline);
}

outcome aggregate::decide(const state& s, const command& c, const context& ctx, const stream_id&) {
  return std::visit([&](const auto& wish) { return decide_on(s, wish, ctx); }, c);
}

void aggregate::evolve(state& s, const fact& f, const envelope& at) {
  std::visit(folding{s, at}, f);
}

std::size_t aggregate::footprint(const state& s) noexcept {
  return sizeof(state) + s.definition.action.size() + s.runs.size() * 256;
}

stream_id stream_of(std::string_view tenant, std::string_view name) {
  return {stream_kind::schedule, {tenant, name}};
}

std::vector<time_us_t> preview(const definition& d, const zone_rules* zones, time_us_t after,
                               time_us_t anchor, std::size_t count) {
  std::vector<time_us_t> out;
  const auto e = cron::parse(d.expression, "expression");
  while (e && out.size() < count) {
    const auto at = cron::next(*e, d.zone, zones, after, anchor);
    if (!at)
      break;
    out.push_back(after = *at);
  }
  return out;
}

result<void> check(const definition& d, const zone_rules* zones, time_us_t at) {
  if (auto e = cron::parse(d.expression, "expression"); !e)
    return fail(std::move(e.error()));
  if (d.zone != "UTC" && (zones == nullptr || !zones->find(d.zone, at / 1'000'000)))
    return fail_field("zone", "there is no time zone \"" + d.zone + "\"");
  if (d.attempts < 1 || d.attempts > 100)
    return fail_field("attempts", "must be from 1 to 100");
  if (d.catch_up > 1'000)
    return fail_field("catch_up", "must be at most 1000");
  return {};
}

}  // namespace recalld::schedule

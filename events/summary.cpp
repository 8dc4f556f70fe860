#include "events/summary.hpp"

#include <algorithm>

#include "events/aggregates.hpp"
#include "events/envelope.hpp"
#include "events/json.hpp"

namespace recalld::summary {

namespace {

using outcome = result<aggregate::decision>;

constexpr std::string_view status_words[] = {"due", "claimed", "resting", "done", "failed"};
constexpr std::size_t failure_bytes_max = 16 * 1024;
constexpr std::string_view lease_over = R"({"cause":"lease","message":"the lease was over"})";

tl::unexpected<error> gone() {
  return fail({errc::not_found, "there is no such session any more", "session"});
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

  /// Nothing of the lives before `ended` is left.
  void clear(version_t ended) {
    // Whoever arms deadlines hears of every single one that is lifted.
    const auto jobs = s_.jobs;
    for (const auto& [key, j] : jobs)
      tell(job_done{key});
    tell(cleared{ended});
  }
  /// A life that follows on another one begins without what that one left.
  void begin(version_t life) {
    if (s_.life != 0 && s_.life != life)
      clear(life);
  }
  void want(version_t life, const std::string& key, std::string why, std::uint64_t until) {
    const auto open = s_.jobs.find(key);
    if (open == s_.jobs.end())
      tell(job_due{life, key, std::move(why), until});
    else if (open->second.until < until)
      tell(job_raised{key, until});
  }
  void fail(const std::string& key, std::string failure, time_us_t wait_us) {
    const auto attempt = s_.jobs.at(key).attempt;
    if (attempt >= attempts_max)
      tell(job_failed{key, job_status::failed, 0, std::move(failure)});
    else if (wait_us == 0)
      tell(job_failed{key, job_status::due, 0, std::move(failure)});
    else
      tell(job_failed{key, job_status::resting, ctx_.now + wait_us, std::move(failure)});
  }

  aggregate::decision done() && { return std::move(out_); }

private:
  state s_;
  const context& ctx_;
  aggregate::decision out_;
};

/// Commands of a life that is over, or was never there, change nothing.
result<void> check_life(const state& s, version_t life) {
  if (life == 0 || life < s.ended || life < s.life)
    return gone();
  return {};
}

/// The job, if `fence` is that of its present claim.
result<const job*> held(const state& s, std::string_view key, version_t fence, time_us_t now) {
  const auto found = s.jobs.find(key);
  if (found == s.jobs.end())
    return fail({errc::not_found, "there is no such open job", "filter_key"});
  const auto& j = found->second;
  if (j.status != job_status::claimed || j.fence != fence)
    return fail(
      {errc::already_claimed, "the token is stale: the job was taken from this worker", "fence"});
  if (j.ends_at <= now)
    return fail({errc::expired, "the lease is over", "fence"});
  return &j;
}

result<void> check(const content& c) {
  if (c.text.empty())
    return fail_field("text", "must not be empty");
  if (c.text.size() > text_bytes_max)
    return fail_field("text", "must have at most 262144 bytes");
  if (c.topics.size() > topics_max)
    return fail_field("topics", "must be at most 100");
  for (std::size_t i = 0; i < c.topics.size(); ++i)
    if (auto good = check_id(c.topics[i], "topics[" + std::to_string(i) + "]"); !good)
      return good;
  return {};
}

/// `stale` when what is there covers more.
result<void> check_newer(const state& s, const store& c) {
  const auto old = s.summaries.find(c.filter_key);
  if (s.life != c.life || old == s.summaries.end()
      || old->second.content.through <= c.content.through)
    return {};
  const auto& covered = old->second.content.through;
  error e{errc::stale, "the summary that is there covers up to version " + std::to_string(covered),
          "through_version"};
  json::object_writer w;
  w.num("through_version", covered);
  e.detail = std::move(w).done();
  return fail(std::move(e));
}

outcome decide_on(const state& s, const store& c, const context& ctx) {
  if (auto good = check_filter_key(c.filter_key, "filter_key"); !good)
    return fail(std::move(good.error()));
  if (auto good = check(c.content); !good)
    return fail(std::move(good.error()));
  if (auto good = check_life(s, c.life); !good)
    return fail(std::move(good.error()));
  if (c.fence != 0) {
    if (c.life != s.life)
      return fail({errc::not_found, "there is no such open job", "filter_key"});
    if (auto j = held(s, c.filter_key, c.fence, ctx.now); !j)
      return fail(std::move(j.error()));
  }
  if (auto good = check_newer(s, c); !good)
    return fail(std::move(good.error()));
  const bool known = s.life == c.life && s.summaries.contains(c.filter_key);
  if (!known && s.life == c.life && s.summaries.size() >= filter_keys_max)
    return fail({errc::rejected, "a session has at most 256 filter keys", "filter_key"});
  story told(s, ctx);
  told.begin(c.life);
  if (!known || s.summaries.at(c.filter_key).content != c.content)
    told.tell(stored{c.life, c.filter_key, c.content});
  if (c.fence != 0) {
    const auto until = s.jobs.at(c.filter_key).until;
    told.tell(job_done{c.filter_key});
    if (c.content.ordinal < until)
      told.want(c.life, c.filter_key, "rest", until);
    else if (!c.filter_key.empty())
      told.want(c.life, "", "branch", c.content.ordinal);
  }
  return std::move(told).done();
}

outcome decide_on(const state& s, const want& c, const context& ctx) {
  if (auto good = check_filter_key(c.filter_key, "filter_key"); !good)
    return fail(std::move(good.error()));
  if (auto good = check_life(s, c.life); !good)
    return fail(std::move(good.error()));
  if (s.life == c.life) {
    const auto old = s.summaries.find(c.filter_key);
    if (old != s.summaries.end() && old->second.content.ordinal >= c.until)
      return aggregate::decision{};
    if (!s.jobs.contains(c.filter_key) && s.jobs.size() >= filter_keys_max)
      return fail({errc::rejected, "a session has at most 256 filter keys", "filter_key"});
  }
  story told(s, ctx);
  told.begin(c.life);
  told.want(c.life, c.filter_key, c.why, c.until);
  const auto& j = told.present().jobs.at(c.filter_key);
  if (c.why == "forced" && j.status == job_status::resting)
    told.tell(job_released{c.filter_key});
  return std::move(told).done();
}

outcome decide_on(const state& s, const claim& c, const context& ctx) {
  const auto found = s.jobs.find(c.filter_key);
  if (found == s.jobs.end())
    return fail({errc::not_found, "there is no such open job", "filter_key"});
  if (found->second.status != job_status::due)
    return fail({errc::already_claimed, "the job is not due any more", "filter_key"});
  return aggregate::decision{
    {job_claimed{c.filter_key, c.worker, found->second.attempt + 1, ctx.now + c.lease_us}}, {}};
}

outcome decide_on(const state& s, const extend& c, const context& ctx) {
  if (auto j = held(s, c.filter_key, c.fence, ctx.now); !j)
    return fail(std::move(j.error()));
  return aggregate::decision{{job_extended{c.filter_key, ctx.now + c.lease_us}}, {}};
}

outcome decide_on(const state& s, const give_up& c, const context& ctx) {
  if (c.failure.size() > failure_bytes_max)
    return fail_field("error", "must have at most 16384 bytes");
  const auto j = held(s, c.filter_key, c.fence, ctx.now);
  if (!j)
    return fail(j.error());
  const auto doubled = std::min<std::uint64_t>((*j)->attempt - 1, 20);
  const auto pause = std::clamp(pause_us << doubled, pause_us, pause_us_max);
  story told(s, ctx);
  told.fail(c.filter_key, c.failure, std::max(pause, c.wait_us));
  return std::move(told).done();
}

outcome decide_on(const state& s, const settle& c, const context& ctx) {
  const auto j = held(s, c.filter_key, c.fence, ctx.now);
  if (!j)
    return fail(j.error());
  story told(s, ctx);
  const auto until = (*j)->until;
  told.tell(job_done{c.filter_key});
  // What the branch had to cover may still be news to the whole session.
  if (const auto whole = s.summaries.find("");
      !c.filter_key.empty()
      && (whole == s.summaries.end() || whole->second.content.ordinal < until))
    told.want(s.life, "", "branch", until);
  return std::move(told).done();
}

outcome decide_on(const state& s, const clear& c, const context& ctx) {
  // A stream that holds nothing of those lives needs no fact; commands that come late fail by their
  // session.
  if (s.life == 0 || s.life >= c.ended)
    return aggregate::decision{};
  story told(s, ctx);
  told.clear(c.ended);
  return std::move(told).done();
}

outcome decide_on(const state& s, const configure& c, const context&) {
  if (s.triggers == c.triggers)
    return aggregate::decision{};
  return aggregate::decision{{configured{c.triggers}}, {}};
}

outcome decide_on(const state& s, const fall_due&, const context& ctx) {
  story told(s, ctx);
  for (const auto& [key, j] : s.jobs) {
    if (j.ends_at == 0 || j.ends_at > ctx.now)
      continue;
    if (j.status == job_status::claimed)
      told.fail(key, std::string(lease_over), 0);
    else
      told.tell(job_released{key});
  }
  return std::move(told).done();
}

struct folding {
  state& s;
  const envelope& at;

  void operator()(const stored& f) const {
    s.life = f.life;
    s.summaries.insert_or_assign(f.filter_key, kept{f.content, at.time, at.version});
  }
  void operator()(const cleared& f) const {
    s = {};
    s.ended = f.ended;
  }
  void operator()(const configured& f) const { s.triggers = f.triggers; }
  void operator()(const job_due& f) const {
    s.life = f.life;
    job j;
    j.why = f.why;
    j.until = f.until;
    s.jobs.insert_or_assign(f.filter_key, std::move(j));
  }
  void operator()(const job_raised& f) const { s.jobs[f.filter_key].until = f.until; }
  void operator()(const job_claimed& f) const {
    auto& j = s.jobs[f.filter_key];
    j.status = job_status::claimed;
    j.worker = f.worker;
    j.attempt = f.attempt;
    j.fence = at.version;
    j.ends_at = f.lease_until;
  }
  void operator()(const job_extended& f) const { s.jobs[f.filter_key].ends_at = f.lease_until; }
  void operator()(const job_failed& f) const {
    if (f.status == job_status::failed) {
      s.jobs.erase(f.filter_key);
      return;
    }
    auto& j = s.jobs[f.filter_key];
    j.status = f.status;
    j.worker.clear();
    j.ends_at = f.again_at;
  }
  void operator()(const job_released& f) const {
    auto& j = s.jobs[f.filter_key];
    j.status = job_status::due;
    j.ends_at = 0;
  }
  void operator()(const job_done& f) const { s.jobs.erase(f.filter_key); }
};

}  // namespace

std::string_view to_string(job_status s) noexcept {
  return status_words[static_cast<std::size_t>(s)];
}

std::optional<job_status> job_status_of(std::string_view word) noexcept {
  for (std::size_t i = 0; i < std::size(status_words); ++i)
    if (status_words[i] == word)
      return static_cast<job_status>(i);
  return std::nullopt;
}

bool matches(std::string_view a, std::string_view b) noexcept {
  if (a.size() > b.size())
    std::swap(a, b);
  return b.starts_with(a) && (a.empty() || a.size() == b.size() || b[a.size()] == '/');
}

result<void> check_filter_key(std::string_view key, std::string_view field) {
  return key.empty() ? result<void>{} : check_id(key, field);
}

std::string_view why_due(const triggers& t, std::uint64_t pending, std::uint64_t tokens,
                         time_us_t idle_us) noexcept {
  if (pending == 0)
    return {};
  if (t.entries != 0 && pending > t.entries)
    return "entries";
  if (t.tokens != 0 && tokens > t.tokens)
    return "tokens";
  if (t.idle_s != 0 && idle_us >= static_cast<time_us_t>(t.idle_s) * 1'000'000)
    return "idle";
  return {};
}

outcome aggregate::decide(const state& s, const command& c, const context& ctx, const stream_id&) {
  return std::visit([&](const auto& wish) { return decide_on(s, wish, ctx); }, c);
}

void aggregate::evolve(state& s, const fact& f, const envelope& at) {
  std::visit(folding{s, at}, f);
}

std::optional<base_mark> aggregate::base_of(const fact& f, version_t version) {
  if (!std::holds_alternative<cleared>(f))
    return std::nullopt;
  return base_mark{.through = version - 1, .carries_state = false};
}

std::size_t aggregate::footprint(const state& s) noexcept {
  auto sum = sizeof(state);
  for (const auto& [key, k] : s.summaries) {
    sum += 2 * key.size() + sizeof(kept) + k.content.text.size() + k.content.made_by.size() + 64;
    for (const auto& topic : k.content.topics)
      sum += sizeof(std::string) + topic.size();
  }
  return sum + s.jobs.size() * (sizeof(job) + 256);
}

stream_id stream_of(std::string_view tenant, std::string_view app, std::string_view user,
                    std::string_view session) {
  return {stream_kind::summary, {tenant, app, user, session}};
}
stream_id stream_of(std::string_view tenant, std::string_view app) {
  return {stream_kind::summary, {tenant, app}};
}

}  // namespace recalld::summary

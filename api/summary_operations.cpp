#include <algorithm>

#include "api/answers.hpp"
#include "api/claims.hpp"
#include "api/cursor.hpp"
#include "api/row_pages.hpp"

/// Summaries of sessions, and the jobs of writing them.
namespace recalld::api {

namespace {

using actors::committed;
using actors::operation;
using actors::right;
using actors::stream_view;
namespace summaries = projections::summaries;
namespace jobs = projections::summary_jobs;

constexpr time_us_t us_per_s = 1'000'000;
constexpr std::uint64_t lease_s_max = 86'400;
constexpr std::uint64_t handed_max = 2'000;
constexpr std::uint64_t handed_bytes_max = 8ULL << 20;
constexpr std::uint64_t read_at_once = 100;  // Entries, each of at most 256 KiB.

constexpr auto key_field = std::to_array<field>({
  {"filter_key", field_type::string, false,
   "A branch such as `root/search`; absent or empty: the whole session."},
});
constexpr auto keyed_fields = join(session_fields, key_field);
constexpr auto store_fields = join(
  keyed_fields,
  std::to_array<field>({
    {"text", field_type::string, true, "The summary, 1 byte to 256 KiB."},
    {"topics", field_type::array, false, "What it is about; at most 100 strings."},
    {"through_version", field_type::integer, false,
     "It covers the entries up to this version of the session; or give `through_entry`."},
    {"through_entry", field_type::string, false, "Id of the last entry that it covers."},
    {"made_by", field_type::string, false, "The worker or model that wrote it."},
    {"fence", field_type::integer, false, "The token that `summary.claim` gave: ends that job."},
  }));
constexpr auto summary_answer = std::to_array<field>({
  {"version", field_type::integer, true, "The version of the session's summaries."},
  {"summary", field_type::object, true,
   "filter_key, text, topics, through_version, entries, entry, made_by, stored_at."},
  {"entries_since", field_type::integer, true, "Entries of the session that it does not cover."},
});
constexpr auto store_answer =
  join(written_fields, std::to_array<field>({
                         {"through_version", field_type::integer, true,
                          "The version of the session up to which it covers the entries."},
                       }));
constexpr auto list_fields =
  join(session_fields, std::to_array<field>({
                         {"filter_key", field_type::string, false,
                          "Only this one, its ancestors and its descendants by `/` parts."},
                       }));
constexpr auto list_answer = std::to_array<field>({
  {"version", field_type::integer, true, "The version of the session's summaries."},
  {"summaries", field_type::array, true, "By filter key."},
  {"jobs", field_type::array, true, "Open jobs, by filter key."},
});
constexpr auto force_answer =
  join(written_fields, std::to_array<field>({
                         {"open", field_type::boolean, true,
                          "A job is open; false: there is nothing that the summary lacks."},
                       }));
constexpr auto claim_fields = std::to_array<field>({
  {"worker", field_type::string, true, "Who is going to write it."},
  {"lease_s", field_type::integer, false, "Heartbeats must come so often; 1 to 86400, default 60."},
  {"app", field_type::string, false, "Only sessions of this application."},
  {"max_entries", field_type::integer, false, "Hand out so many entries, 1 to 2000; default 500."},
  {"max_bytes", field_type::integer, false,
   "Hand out so many bytes of entries, at least one entry; 1 to 8 MiB, default 512 KiB."},
  {"wait_ms", field_type::integer, false, "Wait so long for a due job, 0 to 60000; default 0."},
});
constexpr auto claim_answer = join(
  written_fields,
  std::to_array<field>({
    {"job", field_type::object, false,
     "app, user, session, filter_key, why, attempt, fence, lease_until, previous (text, topics, "
     "through_version, …), entries behind it (version, recorded_at, entry), tokens (an estimate), "
     "through_version, more; absent when nothing is due."},
  }));
constexpr auto held_fields =
  join(keyed_fields, std::to_array<field>({
                       {"fence", field_type::integer, true, "The token that the claim gave."},
                     }));
constexpr auto heartbeat_fields =
  join(held_fields, std::to_array<field>({
                      {"lease_s", field_type::integer, false, "From now on; default 60."},
                    }));
constexpr auto fail_fields =
  join(held_fields, std::to_array<field>({
                      {"error", field_type::any, false, "Opaque JSON, at most 16 KiB."},
                      {"retry_after_s", field_type::integer, false,
                       "Not before so long; there is a pause at any rate. At most 86400."},
                    }));
constexpr auto jobs_fields = join(std::to_array<field>({
                                    {"status", field_type::string, false,
                                     "Only `due`, `claimed`, `resting`, `done` or `failed` ones."},
                                    {"app", field_type::string, false, "Only of this application."},
                                  }),
                                  page_fields);
constexpr auto jobs_answer = std::to_array<field>({
  {"jobs", field_type::array, true, "The last job of each filter key, newest first."},
  {"next_cursor", field_type::string, false, "To the next page, when there is one."},
});
constexpr auto trigger_fields = std::to_array<field>({
  {"entries", field_type::integer, false, "More new entries than this; 0 or absent: never."},
  {"tokens", field_type::integer, false,
   "More tokens of new entries than this, at four bytes of JSON each; 0 or absent: never."},
  {"idle_s", field_type::integer, false,
   "New entries, and nothing was written for so long; 0 or absent: never."},
});
constexpr auto set_triggers_fields = join(app_field, trigger_fields);
constexpr auto triggers_answer =
  join(std::to_array<field>({
         {"version", field_type::integer, true, "The version of the application's triggers."},
       }),
       trigger_fields);

// -- reading requests --

std::string read_filter_key(request_reader& in) {
  auto key = in.string("filter_key").value_or("");
  if (auto good = summary::check_filter_key(key, "filter_key"); !good)
    in.refuse(good.error());
  return key;
}
time_us_t read_lease(request_reader& in) {
  return static_cast<time_us_t>(in.count("lease_s", 1, lease_s_max).value_or(60)) * us_per_s;
}
version_t read_fence(request_reader& in) { return in.count("fence", 0, 1ULL << 53).value_or(0); }

stream_id stream_of(const session_key& key) {
  return summary::stream_of(key.tenant, key.app, key.user, key.session);
}

void submit(const call_ptr& call, const stream_id& stream, summary::command wish,
            std::function<void(const committed&)> then) {
  call->submit(stream, any_command(std::move(wish)), {}, call->on<committed>(std::move(then)));
}

// -- what can be read of a session's summaries --

/// Those that belong to the session as it is now: nothing of an earlier life, nothing older.
bool belongs(const summary::state& all, const summary::kept& one, const session::state& s) {
  return all.life == s.created_version && one.stored_at >= s.created_at;
}

/// The summary of a filter key, or else of the whole session; null when there is neither.
const std::pair<const std::string, summary::kept>* find_summary(const summary::state& all,
                                                                const std::string& key,
                                                                const session::state& s) {
  for (const auto& wanted : {key, std::string()})
    if (const auto found = all.summaries.find(wanted);
        found != all.summaries.end() && belongs(all, found->second, s))
      return &*found;
  return nullptr;
}

std::string summary_json(const std::string& key, const summary::kept& k) {
  const auto& c = k.content;
  array_writer topics;
  for (const auto& topic : c.topics)
    topics.raw(json::quote(topic));
  json::object_writer w;
  w.str("filter_key", key).str("text", c.text).raw("topics", std::move(topics).done());
  w.num("through_version", c.through).num("entries", c.ordinal);
  if (!c.entry.empty())
    w.str("entry", c.entry);
  if (!c.made_by.empty())
    w.str("made_by", c.made_by);
  w.str("stored_at", format_time(k.stored_at));
  return std::move(w).done();
}

/// A session that can be read, with its summaries.
void view_both(const call_ptr& call, const session_key& key,
               std::function<void(session_view, stream_view)> then) {
  view_session(call, key, 0, [=](const session_view& seen) {
    call->view(stream_of(key), 0,
               call->on<stream_view>([=](stream_view v) { then(seen, std::move(v)); }));
  });
}

void get(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_session_key(in, call->tenant());
  const auto filter_key = read_filter_key(in);
  if (refused(call, in))
    return;
  view_both(call, key, [=](const session_view& seen, const stream_view& v) {
    const auto* found = find_summary(state_of<summary::state>(v), filter_key, *seen.state);
    if (found == nullptr) {
      call->fail({errc::not_found, "there is no summary yet", "filter_key"});
      return;
    }
    const auto covered = found->second.content.ordinal;
    json::object_writer out;
    out.num("version", v.version).raw("summary", summary_json(found->first, found->second));
    out.num("entries_since", seen.state->entries - std::min(seen.state->entries, covered));
    call->answer(std::move(out).done());
  });
}

std::string job_json(const std::string& key, const summary::job& j) {
  json::object_writer w;
  w.str("filter_key", key).str("status", to_string(j.status)).str("why", j.why);
  w.num("attempt", j.attempt);
  if (!j.worker.empty())
    w.str("worker", j.worker);
  if (j.ends_at != 0)
    w.str(j.status == summary::job_status::claimed ? "lease_until" : "again_at",
          format_time(j.ends_at));
  return std::move(w).done();
}

void list(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_session_key(in, call->tenant());
  const auto filter_key = read_filter_key(in);
  if (refused(call, in))
    return;
  view_both(call, key, [=](const session_view& seen, const stream_view& v) {
    const auto& all = state_of<summary::state>(v);
    array_writer texts;
    for (const auto& [k, one] : all.summaries)
      if (belongs(all, one, *seen.state) && summary::matches(k, filter_key))
        texts.raw(summary_json(k, one));
    array_writer open;
    if (all.life == seen.state->created_version)
      for (const auto& [k, j] : all.jobs)
        if (summary::matches(k, filter_key))
          open.raw(job_json(k, j));
    json::object_writer out;
    out.num("version", v.version).raw("summaries", std::move(texts).done());
    out.raw("jobs", std::move(open).done());
    call->answer(std::move(out).done());
  });
}

// -- store --

struct storing {
  session_key key;
  summary::store wish;
  std::optional<std::string> through_entry;
};

/// `otherwise` answers what is refused, when there is a better reason than the summaries' own.
void submit_store(const call_ptr& call, const std::shared_ptr<storing>& s,
                  std::optional<error> otherwise = {}) {
  const auto through = s->wish.content.through;
  const auto then = [=](result<committed> done) {
    if (!done) {
      call->fail(otherwise && done.error().code == errc::not_found ? *otherwise
                                                                   : std::move(done.error()));
      return;
    }
    auto covers = through;
    for (const auto& f : done->facts)
      if (auto is = fact_as<summary::stored>(*f))
        covers = is->content.through;
    auto out = written(*done);
    out.num("through_version", covers);
    call->answer(std::move(out).done());
  };
  call->submit(stream_of(s->key), any_command(summary::command(std::move(s->wish))), {}, then);
}

/// Counts the entries up to the version that it covers.
void count_covered(const call_ptr& call, const std::shared_ptr<storing>& s,
                   const session_view& seen) {
  auto& c = s->wish.content;
  if (c.through < seen.state->created_version || c.through > seen.stream.version) {
    call->fail(invalid("through_version", "must be from "
                                            + std::to_string(seen.state->created_version) + " to "
                                            + std::to_string(seen.stream.version)));
    return;
  }
  if (c.through == seen.stream.version) {
    c.ordinal = seen.state->entries;
    submit_store(call, s);
    return;
  }
  call->view_at(s->key.stream(), c.through, [=](const result<stream_view>& past) {
    auto& covered = s->wish.content.ordinal;
    if (past && state_of<session::state>(*past).created_version == s->wish.life)
      covered = state_of<session::state>(*past).entries;
    else if (!past && past.error().code == errc::not_found)
      covered =
        seen.state->floor_ordinal;  // Its entries were trimmed away meanwhile, or are shared.
    else {
      call->fail(past ? invalid("through_version", "the session did not exist at that version")
                      : past.error());
      return;
    }
    submit_store(call, s);
  });
}

void find_covered(const call_ptr& call, const std::shared_ptr<storing>& s,
                  const session_view& seen) {
  s->wish.life = seen.state->created_version;
  if (!s->through_entry) {
    count_covered(call, s, seen);
    return;
  }
  session::window around;
  around.anchor = s->through_entry;
  call->cut(around, seen.stream, [=](const result<session::page>& page) {
    if (!page || page->entries.empty()) {
      call->fail(page ? error{errc::not_found, "there is no such entry", "through_entry"}
                      : error{page.error().code, page.error().message, "through_entry"});
      return;
    }
    const auto& last = page->entries.front();
    s->wish.content.through = last.version;
    s->wish.content.ordinal = last.fact.ordinal;
    s->wish.content.entry = last.fact.id;
    submit_store(call, s);
  });
}

void store(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  auto s = std::make_shared<storing>();
  s->key = read_session_key(in, call->tenant());
  s->wish.filter_key = read_filter_key(in);
  auto& c = s->wish.content;
  c.text = in.string("text").value_or("");
  if (c.text.empty())
    in.refuse("text", "must not be empty");
  c.topics = in.strings("topics", summary::topics_max);
  c.made_by = in.optional_id("made_by").value_or("");
  s->through_entry = in.optional_id("through_entry");
  if (in.has("through_version") == s->through_entry.has_value())
    in.refuse("through_version", "give `through_version` or `through_entry`");
  c.through = in.count("through_version", 1, 1ULL << 53).value_or(0);
  if (in.has("fence"))
    s->wish.fence = in.count("fence", 1, 1ULL << 53).value_or(0);
  if (refused(call, in))
    return;
  call->view(s->key.stream(), 0, call->on<stream_view>([=](stream_view v) {
    auto state = readable(v, call->now());
    if (state)
      find_covered(call, s, {std::move(v), std::move(*state)});
    else if (call->command_id().empty())
      call->fail(std::move(state.error()));
    else
      submit_store(call, s, state.error());  // Without a life: unless it was executed before.
  }));
}

// -- jobs --

void force(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_session_key(in, call->tenant());
  const auto filter_key = read_filter_key(in);
  if (refused(call, in))
    return;
  view_session(call, key, 0, [=](const session_view& seen) {
    if (seen.state->entries == 0) {
      call->fail({errc::rejected, "the session has no entries", "session"});
      return;
    }
    const summary::want wish{seen.state->created_version, filter_key, "forced",
                             seen.state->entries};
    submit(call, stream_of(key), wish, [=](const committed& done) {
      call->view(stream_of(key), 0, call->on<stream_view>([=](const stream_view& v) {
        auto out = written(done);
        out.boolean("open", state_of<summary::state>(v).jobs.contains(filter_key));
        call->answer(std::move(out).done());
      }));
    });
  });
}

class job_claim final : public waiting_claim {
public:
  struct wish {
    std::string worker;
    std::string app;  ///< Empty: any.
    time_us_t lease_us = 0;
    std::uint64_t max_entries = 0;
    std::uint64_t max_bytes = 0;
  };
  job_claim(call_ptr call, wish w, time_us_t until)
    : waiting_claim(std::move(call), stream_kind::summary, until), wish_(std::move(w)) {}

  using waiting_claim::call;
  const wish& wished() const noexcept { return wish_; }
  /// Claims the next row that somebody else has not claimed meanwhile.
  void claim_next();

private:
  void look() override;
  void read_rows();
  void claim_again(void (job_claim::*otherwise)());
  std::shared_ptr<job_claim> self() {
    return std::static_pointer_cast<job_claim>(shared_from_this());
  }

  wish wish_;
  std::vector<projections::row> rows_;  ///< What waits.
  std::size_t at_ = 0;                  ///< The next one to try.
};
using claiming_ptr = std::shared_ptr<job_claim>;

/// What is handed out for one job.
struct handout {
  session_key key;
  std::string filter_key;
  std::string why;
  committed claimed;
  session_view seen;
  std::optional<std::pair<std::string, summary::kept>> previous;
  array_writer entries;
  std::uint64_t count = 0;
  std::uint64_t bytes = 0;
  version_t after = 0;  ///< Entries up to here were looked at.
  std::uint64_t attempt = 0;
  bool more = false;
};
using handout_ptr = std::shared_ptr<handout>;

void hand_out(const call_ptr& call, const claiming_ptr& wish, handout& h) {
  json::object_writer w;
  w.str("app", h.key.app).str("user", h.key.user).str("session", h.key.session);
  w.str("filter_key", h.filter_key).str("why", h.why).num("attempt", h.attempt);
  w.num("fence", h.claimed.version);
  w.str("lease_until", format_time(h.claimed.time + wish->wished().lease_us));
  if (h.previous)
    w.raw("previous", summary_json(h.previous->first, h.previous->second));
  w.raw("entries", std::move(h.entries).done());
  w.num("tokens", summary::tokens_in(h.bytes)).num("through_version", h.after);
  w.boolean("more", h.more);
  auto out = written(h.claimed);
  out.raw("job", std::move(w).done());
  call->answer(std::move(out).done());
}

/// The job has nothing to write about: it ends, and the next one is looked at.
void settle(const call_ptr& call, const claiming_ptr& wish, const handout_ptr& h,
            summary::command end) {
  call->submit_as(stream_of(h->key), {}, any_command(std::move(end)), {},
                  [=](const result<committed>&) { wish->claim_next(); });
}

/// Whether an entry lies under the filter key.
bool is_under(const std::string& filter_key, const session::recorded_entry& e) {
  if (filter_key.empty())
    return true;
  const auto members = json::members(e.fact.raw.view(), {});
  if (members)
    for (const auto& m : *members)
      if (m.name == "filter_key")
        return summary::matches(filter_key, json::as_string(m.raw, m.name).value_or(""));
  return true;  // Of the whole session: an ancestor of every branch.
}

void collect(const call_ptr& call, const claiming_ptr& wish, const handout_ptr& h) {
  session::window next;
  next.after_version = h->after;
  next.limit = read_at_once;
  call->cut(next, h->seen.stream, call->on<session::page>([=](const session::page& page) {
    bool full = false;
    for (const auto& e : page.entries) {
      const bool wanted = is_under(h->filter_key, e);
      const auto bytes = wanted ? e.fact.raw.size() : 0;
      full = wanted && h->count > 0
             && (h->count >= wish->wished().max_entries
                 || h->bytes + bytes > wish->wished().max_bytes);
      if (full)
        break;
      h->after = e.version;
      if (!wanted)
        continue;
      h->entries.raw(entry_json(e));
      h->count += 1;
      h->bytes += bytes;
    }
    h->more = full || page.more_after;
    if (page.more_after && !full)
      collect(call, wish, h);
    else if (h->count == 0)
      settle(call, wish, h, summary::settle{h->filter_key, h->claimed.version});
    else
      hand_out(call, wish, *h);
  }));
}

/// The claim was granted: what is there to be summarised?
void prepare(const call_ptr& call, const claiming_ptr& wish, const handout_ptr& h) {
  call->view(h->key.stream(), 0, call->on<stream_view>([=](stream_view v) {
    auto state = readable(v, call->now());
    if (!state) {  // It is gone, and so is all that belongs to it.
      settle(call, wish, h, summary::clear{v.version + 1});
      return;
    }
    h->seen = {std::move(v), std::move(*state)};
    call->view(stream_of(h->key), 0, call->on<stream_view>([=](const stream_view& mine) {
      const auto& all = state_of<summary::state>(mine);
      h->after = h->seen.state->created_version - 1;
      if (const auto found = all.summaries.find(h->filter_key);
          found != all.summaries.end() && belongs(all, found->second, *h->seen.state)) {
        h->previous.emplace(found->first, found->second);
        h->after = std::max(h->after, found->second.content.through);
      }
      if (const auto j = all.jobs.find(h->filter_key); j != all.jobs.end())
        h->attempt = j->second.attempt;
      collect(call, wish, h);
    }));
  }));
}

handout_ptr handout_of(const projections::row& row) {
  auto h = std::make_shared<handout>();
  h->key = {text_at(row, jobs::tenant), text_at(row, jobs::app), text_at(row, jobs::user),
            text_at(row, jobs::session)};
  h->filter_key = text_at(row, jobs::filter_key);
  h->why = text_at(row, jobs::why);
  return h;
}

/// What this very call was given before, when it is repeated; otherwise goes on.
void job_claim::claim_again(void (job_claim::*otherwise)()) {
  find_claim(call(), {&jobs::spec, jobs::tenant, jobs::worker, jobs::claimed_at}, wish_.worker,
             [self = self(), otherwise](const std::optional<claimed_before>& before) {
               if (!before) {
                 (*self.*otherwise)();
                 return;
               }
               auto h = handout_of(before->row);
               h->claimed = before->done;
               prepare(self->call(), self, h);
             });
}

void job_claim::look() {
  rows_.clear();
  at_ = 0;
  claim_again(&job_claim::read_rows);
}

void job_claim::read_rows() {
  projections::row_query query;
  query.table = &jobs::spec;
  query.index = jobs::by_waiting;
  query.equals = {call()->tenant(), std::int64_t{1}};
  query.limit = 1'000;
  call()->rows(std::move(query), call()->on<std::vector<projections::row>>(
                                   [self = self()](std::vector<projections::row> rows) {
                                     self->rows_ = std::move(rows);
                                     self->claim_next();
                                   }));
}

void job_claim::claim_next() {
  while (at_ < rows_.size() && !wish_.app.empty() && text_at(rows_[at_], jobs::app) != wish_.app)
    ++at_;
  if (at_ >= rows_.size()) {
    found_nothing();
    return;
  }
  const auto h = handout_of(rows_[at_++]);
  call()->submit_as(
    stream_of(h->key), call()->command_id(),
    any_command(summary::command(summary::claim{h->filter_key, wish_.worker, wish_.lease_us})), {},
    [self = self(), h](result<committed> done) {
      if (done && done->duplicate) {
        // This call has claimed something of this session before, perhaps another branch.
        self->claim_again(&job_claim::claim_next);
      } else if (done) {
        h->claimed = std::move(*done);
        prepare(self->call(), self, h);
      } else if (done.error().code == errc::already_claimed
                 || done.error().code == errc::not_found) {
        self->claim_next();
      } else {
        self->call()->fail(std::move(done.error()));
      }
    });
}

void claim(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  job_claim::wish wish;
  wish.worker = in.id("worker");
  wish.app = in.optional_id("app").value_or("");
  wish.lease_us = read_lease(in);
  wish.max_entries = in.count("max_entries", 1, handed_max).value_or(500);
  wish.max_bytes = in.count("max_bytes", 1, handed_bytes_max).value_or(512 * 1024);
  const auto wait_ms = in.count("wait_ms", 0, wait_ms_max).value_or(0);
  const auto until = call->now() + static_cast<time_us_t>(wait_ms) * 1'000;
  if (!refused(call, in))
    std::make_shared<job_claim>(call, std::move(wish), until)->begin();
}

void submit_held(const call_ptr& call, const request_reader& in, const session_key& key,
                 summary::command wish) {
  if (!refused(call, in))
    submit(call, stream_of(key), std::move(wish),
           [=](const committed& done) { call->answer(written(done).done()); });
}

void heartbeat(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_session_key(in, call->tenant());
  submit_held(call, in, key, summary::extend{read_filter_key(in), read_fence(in), read_lease(in)});
}

void give_up(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_session_key(in, call->tenant());
  summary::give_up wish{read_filter_key(in), read_fence(in), in.any("error"), 0};
  wish.wait_us =
    static_cast<time_us_t>(in.count("retry_after_s", 0, 86'400).value_or(0)) * us_per_s;
  submit_held(call, in, key, std::move(wish));
}

void list_jobs(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  row_page page;
  const auto status = in.choice("status", {"due", "claimed", "resting", "done", "failed"});
  const auto app = in.optional_id("app");
  page.query.table = &jobs::spec;
  page.query.index = jobs::by_time;
  page.query.descending = true;
  page.query.equals = {call->tenant()};
  page.place = {jobs::due_at, jobs::stream, jobs::filter_key};
  page.list = list_name({"summary.jobs", call->tenant(), status.value_or(""), app.value_or("")});
  page.member = "jobs";
  page.wanted = [status, app](const projections::row& r) {
    return (!status || text_at(r, jobs::status) == *status)
           && (!app || text_at(r, jobs::app) == *app);
  };
  page.render = [](const projections::row& r) {
    json::object_writer w;
    w.str("app", text_at(r, jobs::app)).str("user", text_at(r, jobs::user));
    w.str("session", text_at(r, jobs::session)).str("filter_key", text_at(r, jobs::filter_key));
    w.str("status", text_at(r, jobs::status)).str("why", text_at(r, jobs::why));
    add_time(w, "due_at", r, jobs::due_at);
    w.num("attempt", number_at(r, jobs::attempt));
    add_text(w, "worker", r, jobs::worker);
    add_time(w, "claimed_at", r, jobs::claimed_at);
    add_time(w, text_at(r, jobs::status) == "claimed" ? "lease_until" : "again_at", r,
             jobs::ends_at);
    add_time(w, "ended_at", r, jobs::ended_at);
    if (auto failure = text_at(r, jobs::failure); !failure.empty())
      w.raw("error", failure);
    return std::move(w).done();
  };
  answer_page(call, in, std::move(page));
}

// -- triggers --

void set_triggers(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto app = in.id("app");
  summary::triggers t;
  t.entries = in.count("entries", 0, 1'000'000'000).value_or(0);
  t.tokens = in.count("tokens", 0, 1'000'000'000).value_or(0);
  t.idle_s = in.count("idle_s", 0, ttl_s_max).value_or(0);
  if (!refused(call, in))
    submit(call, summary::stream_of(call->tenant(), app), summary::configure{t},
           [=](const committed& done) { call->answer(written(done).done()); });
}

void get_triggers(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto app = in.id("app");
  if (refused(call, in))
    return;
  call->view(summary::stream_of(call->tenant(), app), 0,
             call->on<stream_view>([=](const stream_view& v) {
               const auto& t = state_of<summary::state>(v).triggers;
               json::object_writer out;
               out.num("version", v.version).num("entries", t.entries).num("tokens", t.tokens);
               out.num("idle_s", t.idle_s);
               call->answer(std::move(out).done());
             }));
}

constexpr std::string_view one = "/v1/apps/{app}/users/{user}/sessions/{session}/summary";
constexpr std::string_view rules = "/v1/apps/{app}/summary-triggers";

constexpr operation operations[] = {
  {"summary.store", "Stores a summary of a session; refused as `stale` when one covers more.",
   right::write, "PUT", one, true, store_fields, store_answer, store},
  {"summary.get", "Answers the summary of a branch, or else of the whole session.", right::read,
   "GET", one, true, keyed_fields, summary_answer, get},
  {"summary.list", "Lists a session's summaries and open jobs by filter key.", right::read, "GET",
   "/v1/apps/{app}/users/{user}/sessions/{session}/summaries", true, list_fields, list_answer,
   list},
  {"summary.force", "Makes a summary due now, whatever the triggers say.", right::write, "POST",
   "/v1/apps/{app}/users/{user}/sessions/{session}/summary/force", true, keyed_fields, force_answer,
   force},
  {"summary.claim", "Takes a due job under a lease, waiting for one if asked to.", right::write,
   "POST", "/v1/summary-jobs/claim", false, claim_fields, claim_answer, claim},
  {"summary.heartbeat", "Extends the lease of a job.", right::write, "POST",
   "/v1/summary-jobs/heartbeat", false, heartbeat_fields, written_fields, heartbeat},
  {"summary.fail", "Says that an attempt has failed; it is made again after a pause.", right::write,
   "POST", "/v1/summary-jobs/fail", false, fail_fields, written_fields, give_up},
  {"summary.jobs", "Lists jobs, newest first.", right::read, "GET", "/v1/summary-jobs", false,
   jobs_fields, jobs_answer, list_jobs},
  {"summary.set_triggers", "Sets when sessions of an application are due for a summary.",
   right::admin, "PUT", rules, false, set_triggers_fields, written_fields, set_triggers},
  {"summary.get_triggers", "Answers when sessions of an application are due for a summary.",
   right::read, "GET", rules, false, app_field, triggers_answer, get_triggers},
};

}  // namespace

std::span<const operation> summary_operations() { return operations; }

void clear_summaries(const call_ptr& call, const session_key& key, version_t ended,
                     std::function<void()> then) {
  const auto stream = stream_of(key);
  call->view(stream, 0, call->on<stream_view>([=](const stream_view& v) {
    if (v.stream_no == 0) {  // There never was one; a question leaves no stream.
      then();
      return;
    }
    call->submit_as(stream, {}, any_command(summary::command(summary::clear{ended})), {},
                    call->on<committed>([=](const committed&) { then(); }));
  }));
}

}  // namespace recalld::api

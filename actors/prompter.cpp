#include "actors/prompter.hpp"

#include "events/codec.hpp"
#include "projections/projections.hpp"

#include <caf/all.hpp>

#include <algorithm>
#include <chrono>
#include <utility>

namespace recalld::actors {

using namespace std::chrono_literals;

namespace sessions = projections::sessions;
namespace summaries = projections::summaries;
namespace summary_triggers = projections::summary_triggers;

namespace {

constexpr std::size_t page = 500;
constexpr std::size_t checks_max = 8;  // At once: looking around must not crowd out requests.
constexpr std::size_t known_max = 100'000;
constexpr std::uint64_t counted_at_once = 200;  // Entries.

stream_id summaries_of(const stream_id& session) {
  const auto key = session.parts();
  return summary::stream_of(key.at(0), key.at(1), key.at(2), key.at(3));
}
stream_id session_of(const stream_id& summaries) {
  const auto key = summaries.parts();
  return session_stream(key.at(0), key.at(1), key.at(2), key.at(3));
}
std::int64_t number(const projections::row& r, std::size_t column) {
  const auto* n = std::get_if<std::int64_t>(&r[column]);
  return n == nullptr ? 0 : *n;
}
std::string word(const projections::row& r, std::size_t column) {
  const auto* s = std::get_if<std::string>(&r[column]);
  return s == nullptr ? std::string() : *s;
}
stream_id session_of(const projections::row& r, std::size_t tenant) {
  return session_stream(word(r, tenant), word(r, tenant + 1), word(r, tenant + 2),
                        word(r, tenant + 3));
}
const session::state* session_in(const any_state& s) {
  const auto* held = std::get_if<std::shared_ptr<const session::state>>(&s);
  return held == nullptr ? nullptr : held->get();
}

}  // namespace

void prompter_state::start(caf::stateful_actor<prompter_state>* self, surroundings_ptr around) {
  self_ = self;
  around_ = std::move(around);
  asked_.start(self);
  // First the news, then what was before: nothing falls in between.
  self_->send(around_->feed, follow_feed{caf::actor_cast<caf::actor>(self_)});
  load_triggers({});
  sweep({});
  self_->delayed_send(self_, 1s, tick_atom::value);
}

void prompter_state::ask_rows(projections::row_query query,
                              std::function<void(const rows_t&)> then) {
  asked_.ask<rows_t>(around_->readers.back(), read_rows{std::move(query)},
                     [this, then = std::move(then)](result<rows_t> rows) {
                       if (rows)
                         then(*rows);
                       else  // Another one begins again, a moment later: the database may be away.
                         self_->delayed_send(self_, 1s, facts_missed{});
                     });
}

// -- applications --

void prompter_state::load_triggers(std::vector<projections::value> after) {
  projections::row_query query;
  query.table = &summary_triggers::spec;
  if (!after.empty())
    query.after = std::move(after);
  query.limit = page;
  ask_rows(std::move(query), [this](const rows_t& rows) {
    for (const auto& r : rows) {
      const auto of_app =
        summary::stream_of(word(r, summary_triggers::tenant), word(r, summary_triggers::app));
      // What was published meanwhile is newer.
      if (!applications_.contains(of_app))
        configured(of_app, {static_cast<std::uint64_t>(number(r, summary_triggers::entries)),
                            static_cast<std::uint64_t>(number(r, summary_triggers::tokens)),
                            static_cast<std::uint64_t>(number(r, summary_triggers::idle_s))});
    }
    if (rows.size() == page)
      load_triggers({rows.back()[summary_triggers::stream]});
  });
}

void prompter_state::configured(const stream_id& of_app, const summary::triggers& t) {
  // An application without triggers stays, so that an older row does not bring them back.
  auto& one = applications_[of_app];
  one.triggers = t;
  one.again = one.scanning;
  if (!t.any() || one.scanning)
    return;
  one.scanning = true;
  one.scanned = around_->clock() - static_cast<time_us_t>(t.idle_s) * 1'000'000;
  scan(of_app, 0, around_->clock() + 1'000'000, {});
}

const summary::triggers* prompter_state::triggers_of(const stream_id& session) const {
  const auto key = session.parts();
  if (applications_.empty() || key.size() != 4)
    return nullptr;
  const auto found = applications_.find(summary::stream_of(key[0], key[1]));
  return found == applications_.end() || !found->second.triggers.any() ? nullptr
                                                                       : &found->second.triggers;
}

void prompter_state::scan(const stream_id& of_app, time_us_t since, time_us_t until,
                          std::vector<projections::value> after) {
  const auto key = of_app.parts();
  projections::row_query query;
  query.table = &sessions::spec;
  query.index = sessions::by_app;
  query.equals = {std::string(key.at(0)), std::string(key.at(1))};
  // Behind everything that was written to later: no name sorts above the empty one from behind.
  query.after = after.empty() ? std::vector<projections::value>{sessions::slot_of(until), until,
                                                                std::string(), std::int64_t{0}}
                              : std::move(after);
  query.descending = true;
  query.limit = page;
  ask_rows(std::move(query), [this, of_app, since, until](const rows_t& rows) {
    bool more = rows.size() == page;
    for (const auto& r : rows) {
      if (number(r, sessions::updated_at) < since) {
        more = false;
        break;
      }
      if (number(r, sessions::entries) > 0)
        look_at(session_of(r, sessions::tenant), true);
    }
    if (more) {
      const auto& last = rows.back();
      scan(of_app, since, until,
           {last[sessions::updated_slot], last[sessions::updated_at], last[sessions::session],
            last[sessions::stream]});
    } else {
      auto& one = applications_[of_app];
      one.scanning = false;
      if (std::exchange(one.again, false))
        configured(of_app, summary::triggers(one.triggers));
    }
  });
}

void prompter_state::tick() {
  const auto now = around_->clock();
  for (auto& [of_app, one] : applications_) {
    if (one.triggers.idle_s == 0 || one.scanning)
      continue;
    const auto until = now - static_cast<time_us_t>(one.triggers.idle_s) * 1'000'000;
    if (until <= one.scanned)
      continue;
    one.scanning = true;
    // A second more: a commit may be later than the time it was decided at.
    scan(of_app, one.scanned - 1'000'000, until, {});
    one.scanned = until;
  }
  self_->delayed_send(self_, 1s, tick_atom::value);
}

// -- what is published --

void prompter_state::follow(const batch& committed) {
  for (const auto& f : committed.facts) {
    if (f->blanked)
      continue;
    const auto& stream = f->at.stream;
    if (stream.kind() == stream_kind::session) {
      if (f->type == "session.entry_appended")
        entry(*f);
      else if (f->type == "session.deleted" || f->type == "session.expired")
        ended(stream, f->at.version);
    } else if (stream.kind() == stream_kind::summary) {
      const auto any = codec::decode(*f);
      const auto* fact = any ? std::get_if<summary::fact>(&*any) : nullptr;
      if (fact == nullptr)
        continue;
      if (const auto* c = std::get_if<summary::configured>(fact))
        configured(stream, c->triggers);
      else if (std::holds_alternative<summary::stored>(*fact)
               || std::holds_alternative<summary::job_done>(*fact)) {
        known_.erase(session_of(stream));
        look_at(session_of(stream), false);
      } else if (const auto* j = std::get_if<summary::job_failed>(fact);
                 j != nullptr && j->status == summary::job_status::failed) {
        known_.erase(session_of(stream));  // The next entry begins anew.
      }
    }
  }
  work();
}

void prompter_state::entry(const recorded& r) {
  const auto* t = triggers_of(r.at.stream);
  if (t == nullptr)
    return;
  const auto known = known_.find(r.at.stream);
  if (known == known_.end()) {
    look_at(r.at.stream, false);
    return;
  }
  auto& seen = known->second;
  if (seen.asked || r.at.version <= seen.version)
    return;
  const auto any = codec::decode(r);
  const auto* fact = any ? std::get_if<session::fact>(&*any) : nullptr;
  const auto* e = fact == nullptr ? nullptr : std::get_if<session::entry_appended>(fact);
  if (e == nullptr || e->life != seen.life) {
    known_.erase(known);
    look_at(r.at.stream, false);
    return;
  }
  seen.version = r.at.version;
  seen.entries = e->ordinal;
  seen.tokens += summary::tokens_in(e->raw.size());
  if (const auto why = summary::why_due(*t, seen.entries - seen.covered, seen.tokens, 0);
      !why.empty()) {
    const auto due = seen;
    prompt(r.at.stream, due, why);
  }
}

// -- one session --

void prompter_state::look_at(const stream_id& session, bool idle) {
  if (const auto busy = checking_.find(session); busy != checking_.end()) {
    busy->second = busy->second.value_or(false) || idle;
    return;
  }
  const auto [queued, fresh] = queued_.emplace(session, idle);
  queued->second = queued->second || idle;
  if (fresh)
    waiting_.push_back(session);
  work();
}

void prompter_state::work() {
  while (!waiting_.empty() && checking_.size() < checks_max) {
    auto c = std::make_shared<check>();
    c->session = std::move(waiting_.front());
    waiting_.pop_front();
    const auto queued = queued_.find(c->session);
    c->idle = queued->second;
    queued_.erase(queued);
    if (const auto* t = triggers_of(c->session))
      c->triggers = *t;
    checking_.emplace(c->session, std::nullopt);
    begin(c);
  }
}

void prompter_state::begin(const check_ptr& c) {
  // From the log, not from the session's actor: nobody is to be woken by this.
  asked_.ask<woken>(
    around_->reader_for(c->session), wake{c->session, 0}, [this, c](result<woken> w) {
      const auto* s = w ? session_in(w->state) : nullptr;
      if (s == nullptr || !s->readable(around_->clock())) {
        if (w)
          ended(c->session, w->version + 1);
        end(c);
        return;
      }
      if (!c->triggers.any()) {
        end(c);
        return;
      }
      c->view = {c->session, w->stream_no, w->version, w->time, w->state, {}, w->version};
      c->counted = {s->created_version, w->version, 0, s->entries, 0};
      c->after = s->created_version - 1;
      const auto key = c->session.parts();
      projections::row_query query;
      query.table = &summaries::spec;
      query.index = summaries::by_session;
      query.equals = {std::string(key[0]), std::string(key[1]), std::string(key[2]),
                      std::string(key[3])};
      query.limit = 1;  // That of the whole session is the first.
      ask_rows(std::move(query), [this, c](const rows_t& rows) { covered(c, rows); });
    });
}

void prompter_state::covered(const check_ptr& c, const rows_t& rows) {
  if (!rows.empty() && word(rows[0], summaries::filter_key).empty()
      && number(rows[0], summaries::life) == static_cast<std::int64_t>(c->counted.life)) {
    c->counted.covered = static_cast<std::uint64_t>(number(rows[0], summaries::ordinal));
    c->after = std::max(c->after, static_cast<version_t>(number(rows[0], summaries::through)));
  }
  c->counted.covered = std::min(c->counted.covered, c->counted.entries);
  if (c->triggers.tokens != 0 && c->counted.covered < c->counted.entries)
    count_tokens(c);
  else
    judge(c);
}

void prompter_state::count_tokens(const check_ptr& c) {
  session::window next;
  next.after_version = c->after;
  next.limit = counted_at_once;
  asked_.ask<session::page>(around_->reader_for(c->session), cut_window{std::move(next), c->view},
                            [this, c](result<session::page> p) {
                              if (!p) {
                                end(c);
                                return;
                              }
                              for (const auto& e : p->entries) {
                                c->counted.tokens += summary::tokens_in(e.fact.raw.size());
                                c->after = e.version;
                              }
                              if (p->more_after && !p->entries.empty()
                                  && c->counted.tokens <= c->triggers.tokens)
                                count_tokens(c);
                              else
                                judge(c);
                            });
}

void prompter_state::judge(const check_ptr& c) {
  const auto* s = session_in(c->view.state);
  const auto idle_us = c->idle ? around_->clock() - s->updated_at : 0;
  const auto& t = c->counted;
  const auto why = summary::why_due(c->triggers, t.entries - t.covered, t.tokens, idle_us);
  if (!why.empty()) {
    prompt(c->session, t, why);
  } else {
    if (known_.size() >= known_max)
      known_.clear();
    known_[c->session] = t;
  }
  end(c);
}

void prompter_state::end(const check_ptr& c) {
  const auto busy = checking_.find(c->session);
  const auto again = busy->second;
  checking_.erase(busy);
  if (again) {
    known_.erase(c->session);
    look_at(c->session, *again);
  }
  work();
}

void prompter_state::prompt(const stream_id& session, const tally& t, std::string_view why) {
  if (known_.size() >= known_max)
    known_.clear();
  auto& asked = known_[session] = t;
  asked.asked = true;
  submit wish;
  wish.stream = summaries_of(session);
  wish.command = std::make_shared<const any_command>(
    std::in_place_type<summary::command>, summary::want{t.life, "", std::string(why), t.entries});
  wish.now = around_->clock();
  asked_.ask<committed>(around_->directory, std::move(wish), [this, session](result<committed> r) {
    // It failed, or a summary came in between: the next entry, the next second of idleness or the next
    // start looks again.
    if (!r || r->first_version == 0)
      known_.erase(session);
  });
}

// -- sessions that have ended --

void prompter_state::sweep(std::vector<projections::value> after) {
  projections::row_query query;
  query.table = &summaries::spec;
  if (!after.empty())
    query.after = std::move(after);
  query.limit = page;
  ask_rows(std::move(query), [this](const rows_t& rows) {
    for (const auto& r : rows)
      look_at(session_of(r, summaries::tenant), false);
    if (rows.size() == page)
      sweep({rows.back()[summaries::stream], rows.back()[summaries::filter_key]});
  });
}

void prompter_state::ended(const stream_id& session, version_t at) {
  known_.erase(session);
  const auto clear = [this, session, at] {
    submit wish;
    wish.stream = summaries_of(session);
    wish.command =
      std::make_shared<const any_command>(std::in_place_type<summary::command>, summary::clear{at});
    wish.now = around_->clock();
    // What fails is done by the next start, and can be read by nobody.
    asked_.ask<committed>(around_->directory, std::move(wish), [](const result<committed>&) {});
  };
  const auto look_in = [this, session](const projections::table& table, int index,
                                       std::function<void(bool)> then) {
    const auto key = session.parts();
    projections::row_query query;
    query.table = &table;
    query.index = index;
    query.equals = {std::string(key[0]), std::string(key[1]), std::string(key[2]),
                    std::string(key[3])};
    query.limit = 1;
    ask_rows(std::move(query),
             [then = std::move(then)](const rows_t& rows) { then(!rows.empty()); });
  };
  // Most sessions never had one: their end costs two looks and no stream.
  look_in(summaries::spec, summaries::by_session, [clear, look_in](bool has) {
    if (has)
      clear();
    else
      look_in(projections::summary_jobs::spec, projections::summary_jobs::by_session,
              [clear](bool had) {
                if (had)
                  clear();
              });
  });
}

caf::behavior prompter(caf::stateful_actor<prompter_state>* self, surroundings_ptr around) {
  self->state.start(self, std::move(around));
  return {
    [self](published& p) { self->state.follow(*p.committed); },
    // Another one begins again from the rows.
    [self](const facts_missed&) { self->quit(caf::exit_reason::user_shutdown); },
    [self](tick_atom) { self->state.tick(); },
  };
}

}  // namespace recalld::actors

#include "events/payload.hpp"
#include "events/schedule.hpp"

/// Grammar of the payloads, all schema version 1; the words are those of `session_codec.cpp`.
///
///   schedule.defined         {DEFINITION,"enabled":BOOL[,"next_at":T]}
///   schedule.paused          {["forget_at":T]}
///   schedule.resumed         {["next_at":T]}
///   schedule.deleted         {["forget_at":T]}
///   schedule.run_due         {"id":STRING,"due_at":T,"queued":BOOL[,"missed":N][,"by":STRING],
///                             "kind":STRING[,"action":VALUE]}
///   schedule.runs_skipped    {"due_at":T,"count":N,"why":WORD}
///   schedule.advanced        {["next_at":T]}
///   schedule.run_claimed     {"id":STRING,"due_at":T,"worker":STRING,"lease_until":T[,"deadline":T]}
///   schedule.run_extended    {"id":STRING,"lease_until":T[,"deadline":T]}
///   schedule.run_ended       {"id":STRING,"due_at":T,"status":WORD,"again":BOOL[,"outcome":VALUE]}
///   schedule.run_released    {"id":STRING,"due_at":T}
///   schedule.runs_forgotten  {"first_day":N,"last_day":N[,"all":true]}
///
///   DEFINITION  "expression":STRING,"zone":STRING,"kind":STRING[,"action":VALUE],"source":WORD,
///               "misfire":WORD[,"catch_up":N],"overlap":WORD,"attempts":N[,"deadline_s":N],"keep_days":N
///   STATE       {"defined":BOOL,"enabled":BOOL,DEFINITION,"created_at":T[,"next_at":T],
///               "first_day":N[,"runs":[{"id":STRING,"status":WORD,"due_at":T,"attempt":N
///               [,"worker":STRING][,"fence":N][,"lease_until":T][,"deadline":T]},…]]}

namespace recalld::schedule {

namespace {

using codec::payload_reader;
using codec::payload_writer;

void add(payload_writer& w, const definition& d) {
  w.str("expression", d.expression).str("zone", d.zone).str("kind", d.kind);
  w.value("action", d.action);
  w.str("source", d.source).str("misfire", to_string(d.misfire));
  w.count("catch_up", d.catch_up);
  w.str("overlap", to_string(d.overlap)).num("attempts", d.attempts);
  w.count("deadline_s", d.deadline_s);
  w.num("keep_days", d.keep_days);
}

definition read_definition(payload_reader& r) {
  definition d;
  d.expression = r.str("expression");
  d.zone = r.str("zone");
  d.kind = r.str("kind");
  d.action = r.value("action");
  d.source = r.str("source");
  d.misfire = r.choice<misfire>("misfire", [](auto word) { return misfire_of(word); });
  d.catch_up = r.count("catch_up");
  d.overlap = r.choice<overlap>("overlap", [](auto word) { return overlap_of(word); });
  d.attempts = r.num<std::uint64_t>("attempts");
  d.deadline_s = r.count("deadline_s");
  d.keep_days = r.num<std::uint64_t>("keep_days");
  return d;
}

run_status read_status(payload_reader& r) {
  return r.choice<run_status>("status", [](auto word) { return run_status_of(word); });
}

std::string payload(const defined& f) {
  payload_writer w;
  add(w, f.definition);
  w.boolean("enabled", f.enabled);
  w.time("next_at", f.next_at);
  return std::move(w).done();
}
/// Of a fact that ends or interrupts a schedule.
std::string forgetting(time_us_t at) {
  payload_writer w;
  w.time("forget_at", at);
  return std::move(w).done();
}
std::string payload(const paused& f) { return forgetting(f.forget_at); }
std::string payload(const resumed& f) {
  payload_writer w;
  w.time("next_at", f.next_at);
  return std::move(w).done();
}
std::string payload(const deleted& f) { return forgetting(f.forget_at); }
std::string payload(const run_due& f) {
  payload_writer w;
  w.str("id", f.id).num("due_at", f.due_at).boolean("queued", f.queued);
  w.count("missed", f.missed);
  w.word("by", f.by);
  w.str("kind", f.kind);
  w.value("action", f.action);
  return std::move(w).done();
}
std::string payload(const runs_skipped& f) {
  payload_writer w;
  w.num("due_at", f.due_at).num("count", f.count).str("why", f.why);
  return std::move(w).done();
}
std::string payload(const advanced& f) {
  payload_writer w;
  w.time("next_at", f.next_at);
  return std::move(w).done();
}
std::string payload(const run_claimed& f) {
  payload_writer w;
  w.str("id", f.id)
    .num("due_at", f.due_at)
    .str("worker", f.worker)
    .num("lease_until", f.lease_until);
  w.time("deadline", f.deadline);
  return std::move(w).done();
}
std::string payload(const run_extended& f) {
  payload_writer w;
  w.str("id", f.id).num("lease_until", f.lease_until);
  w.time("deadline", f.deadline);
  return std::move(w).done();
}
std::string payload(const run_ended& f) {
  payload_writer w;
  w.str("id", f.id).num("due_at", f.due_at).str("status", to_string(f.status));
  w.boolean("again", f.again);
  w.value("outcome", f.outcome);
  return std::move(w).done();
}
std::string payload(const run_released& f) {
  payload_writer w;
  w.str("id", f.id).num("due_at", f.due_at);
  return std::move(w).done();
}
std::string payload(const runs_forgotten& f) {
  payload_writer w;
  w.num("first_day", f.first_day).num("last_day", f.last_day);
  if (f.all)
    w.boolean("all", true);
  return std::move(w).done();
}

std::string run_text(const std::string& id, const run& r) {
  payload_writer w;
  w.str("id", id).str("status", to_string(r.status)).num("due_at", r.due_at);
  w.num("attempt", r.attempt);
  w.word("worker", r.worker);
  w.count("fence", r.fence);
  w.time("lease_until", r.lease_until);
  w.time("deadline", r.deadline);
  return std::move(w).done();
}

std::string write_state(const state& s) {
  payload_writer w;
  w.boolean("defined", s.defined).boolean("enabled", s.enabled);
  add(w, s.definition);
  w.num("created_at", s.created_at);
  w.time("next_at", s.next_at);
  w.num("first_day", s.first_day);
  std::vector<std::string> runs;
  for (const auto& [id, r] : s.runs)
    runs.push_back(run_text(id, r));
  if (!runs.empty())
    w.raw("runs", codec::array_text(runs));
  return std::move(w).done();
}

state read_state(payload_reader& r) {
  state s;
  s.defined = r.flag("defined");
  s.enabled = r.flag("enabled");
  s.definition = read_definition(r);
  s.created_at = r.num<time_us_t>("created_at");
  s.next_at = r.time("next_at");
  s.first_day = r.num<std::int64_t>("first_day");
  r.each("runs", [&](payload_reader& in) {
    run one;
    one.status = read_status(in);
    one.due_at = in.num<time_us_t>("due_at");
    one.attempt = in.num<std::uint64_t>("attempt");
    one.worker = in.word("worker");
    one.fence = in.count("fence");
    one.lease_until = in.time("lease_until");
    one.deadline = in.time("deadline");
    s.runs.emplace(in.str("id"), std::move(one));
  });
  return s;
}

// The initialisers of each entry are evaluated in the order in which they are written.
constexpr codec::format<aggregate>::type fact_types[] = {
  {"schedule.defined", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{defined{read_definition(r), r.flag("enabled"), r.time("next_at")}};
   }},
  {"schedule.paused", lane::folded,
   [](payload_reader& r, const text&) -> fact { return fact{paused{r.time("forget_at")}}; }},
  {"schedule.resumed", lane::folded,
   [](payload_reader& r, const text&) -> fact { return fact{resumed{r.time("next_at")}}; }},
  {"schedule.deleted", lane::folded,
   [](payload_reader& r, const text&) -> fact { return fact{deleted{r.time("forget_at")}}; }},
  {"schedule.run_due", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{run_due{r.str("id"), r.num<time_us_t>("due_at"), r.flag("queued"),
                         r.count("missed"), r.word("by"), r.str("kind"), r.value("action")}};
   }},
  {"schedule.runs_skipped", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{
       runs_skipped{r.num<time_us_t>("due_at"), r.num<std::uint64_t>("count"), r.str("why")}};
   }},
  {"schedule.advanced", lane::folded,
   [](payload_reader& r, const text&) -> fact { return fact{advanced{r.time("next_at")}}; }},
  {"schedule.run_claimed", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{run_claimed{r.str("id"), r.num<time_us_t>("due_at"), r.str("worker"),
                             r.num<time_us_t>("lease_until"), r.time("deadline")}};
   }},
  {"schedule.run_extended", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{run_extended{r.str("id"), r.num<time_us_t>("lease_until"), r.time("deadline")}};
   }},
  {"schedule.run_ended", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{run_ended{r.str("id"), r.num<time_us_t>("due_at"), read_status(r), r.flag("again"),
                           r.value("outcome")}};
   }},
  {"schedule.run_released", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{run_released{r.str("id"), r.num<time_us_t>("due_at")}};
   }},
  {"schedule.runs_forgotten", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{runs_forgotten{r.num<std::int64_t>("first_day"), r.num<std::int64_t>("last_day"),
                               r.flag("all")}};
   }},
};
static_assert(std::size(fact_types) == std::variant_size_v<fact>);

std::string write(const fact& f) {
  return std::visit([](const auto& one) { return payload(one); }, f);
}

}  // namespace

const codec::format<aggregate>& aggregate::stored_as() {
  static constexpr codec::format<aggregate> all{fact_types, write, nullptr, write_state,
                                                read_state};
  return all;
}

}  // namespace recalld::schedule

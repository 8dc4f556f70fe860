#include "events/payload.hpp"
#include "events/summary.hpp"

/// Grammar of the payloads, all schema version 1; the words are those of `session_codec.cpp`.
///
///   summary.stored        {"life":N,"filter_key":STRING,CONTENT}
///   summary.cleared       {"ended":N}
///   summary.configured    {["entries":N][,"tokens":N][,"idle_s":N]}
///   summary.job_due       {"life":N,"filter_key":STRING,"why":WORD,"until":N}
///   summary.job_raised    {"filter_key":STRING,"until":N}
///   summary.job_claimed   {"filter_key":STRING,"worker":STRING,"attempt":N,"lease_until":T}
///   summary.job_extended  {"filter_key":STRING,"lease_until":T}
///   summary.job_failed    {"filter_key":STRING,"status":WORD[,"again_at":T][,"failure":VALUE]}
///   summary.job_released  {"filter_key":STRING}
///   summary.job_done      {"filter_key":STRING}
///
///   CONTENT  "text":STRING[,"topics":[STRING,…]],"through":N,"ordinal":N[,"entry":STRING]
///            [,"made_by":STRING]
///   STATE    {["life":N][,"ended":N][,"entries":N][,"tokens":N][,"idle_s":N]
///            [,"summaries":[{"filter_key":STRING,CONTENT,"stored_at":T,"version":N},…]]
///            [,"jobs":[{"filter_key":STRING,"status":WORD,"why":WORD,"until":N[,"attempt":N]
///            [,"worker":STRING][,"fence":N][,"ends_at":T]},…]]}

namespace recalld::summary {

namespace {

using codec::payload_reader;
using codec::payload_writer;

void add(payload_writer& w, const content& c) {
  w.str("text", c.text);
  if (!c.topics.empty())
    w.raw("topics", payload_writer::strings(c.topics));
  w.num("through", c.through).num("ordinal", c.ordinal);
  w.word("entry", c.entry);
  w.word("made_by", c.made_by);
}
content read_content(payload_reader& r) {
  content c;
  c.text = r.str("text");
  c.topics = r.optional_strings("topics");
  c.through = r.num<version_t>("through");
  c.ordinal = r.num<std::uint64_t>("ordinal");
  c.entry = r.word("entry");
  c.made_by = r.word("made_by");
  return c;
}

void add(payload_writer& w, const triggers& t) {
  w.count("entries", t.entries);
  w.count("tokens", t.tokens);
  w.count("idle_s", t.idle_s);
}
triggers read_triggers(payload_reader& r) {
  return {r.count("entries"), r.count("tokens"), r.count("idle_s")};
}

job_status read_status(payload_reader& r) {
  return r.choice<job_status>("status", [](auto word) { return job_status_of(word); });
}

std::string payload(const stored& f) {
  payload_writer w;
  w.num("life", f.life).str("filter_key", f.filter_key);
  add(w, f.content);
  return std::move(w).done();
}
std::string payload(const cleared& f) {
  payload_writer w;
  w.num("ended", f.ended);
  return std::move(w).done();
}
std::string payload(const configured& f) {
  payload_writer w;
  add(w, f.triggers);
  return std::move(w).done();
}
std::string payload(const job_due& f) {
  payload_writer w;
  w.num("life", f.life).str("filter_key", f.filter_key).str("why", f.why).num("until", f.until);
  return std::move(w).done();
}
std::string payload(const job_raised& f) {
  payload_writer w;
  w.str("filter_key", f.filter_key).num("until", f.until);
  return std::move(w).done();
}
std::string payload(const job_claimed& f) {
  payload_writer w;
  w.str("filter_key", f.filter_key).str("worker", f.worker).num("attempt", f.attempt);
  w.num("lease_until", f.lease_until);
  return std::move(w).done();
}
std::string payload(const job_extended& f) {
  payload_writer w;
  w.str("filter_key", f.filter_key).num("lease_until", f.lease_until);
  return std::move(w).done();
}
std::string payload(const job_failed& f) {
  payload_writer w;
  w.str("filter_key", f.filter_key).str("status", to_string(f.status));
  w.time("again_at", f.again_at);
  w.value("failure", f.failure);
  return std::move(w).done();
}
std::string payload(const job_released& f) {
  payload_writer w;
  w.str("filter_key", f.filter_key);
  return std::move(w).done();
}
std::string payload(const job_done& f) {
  payload_writer w;
  w.str("filter_key", f.filter_key);
  return std::move(w).done();
}

std::string kept_text(const std::string& key, const kept& k) {
  payload_writer w;
  w.str("filter_key", key);
  add(w, k.content);
  w.num("stored_at", k.stored_at).num("version", k.version);
  return std::move(w).done();
}
std::string job_text(const std::string& key, const job& j) {
  payload_writer w;
  w.str("filter_key", key).str("status", to_string(j.status)).str("why", j.why);
  w.num("until", j.until);
  w.count("attempt", j.attempt);
  w.word("worker", j.worker);
  w.count("fence", j.fence);
  w.time("ends_at", j.ends_at);
  return std::move(w).done();
}

std::string write_state(const state& s) {
  payload_writer w;
  w.count("life", s.life);
  w.count("ended", s.ended);
  add(w, s.triggers);
  std::vector<std::string> summaries;
  for (const auto& [key, k] : s.summaries)
    summaries.push_back(kept_text(key, k));
  if (!summaries.empty())
    w.raw("summaries", codec::array_text(summaries));
  std::vector<std::string> jobs;
  for (const auto& [key, j] : s.jobs)
    jobs.push_back(job_text(key, j));
  if (!jobs.empty())
    w.raw("jobs", codec::array_text(jobs));
  return std::move(w).done();
}

state read_state(payload_reader& r) {
  state s;
  s.life = r.count("life");
  s.ended = r.count("ended");
  s.triggers = read_triggers(r);
  r.each("summaries", [&](payload_reader& in) {
    auto key = in.str("filter_key");
    auto one = read_content(in);
    s.summaries.emplace(std::move(key), kept{std::move(one), in.num<time_us_t>("stored_at"),
                                             in.num<version_t>("version")});
  });
  r.each("jobs", [&](payload_reader& in) {
    job one;
    one.status = read_status(in);
    one.why = in.str("why");
    one.until = in.num<std::uint64_t>("until");
    one.attempt = in.count("attempt");
    one.worker = in.word("worker");
    one.fence = in.count("fence");
    one.ends_at = in.time("ends_at");
    s.jobs.emplace(in.str("filter_key"), std::move(one));
  });
  return s;
}

// The initialisers of each entry are evaluated in the order in which they are written.
constexpr codec::format<aggregate>::type fact_types[] = {
  {"summary.stored", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{stored{r.num<version_t>("life"), r.str("filter_key"), read_content(r)}};
   }},
  {"summary.cleared", lane::folded,
   [](payload_reader& r, const text&) -> fact { return fact{cleared{r.num<version_t>("ended")}}; }},
  {"summary.configured", lane::folded,
   [](payload_reader& r, const text&) -> fact { return fact{configured{read_triggers(r)}}; }},
  {"summary.job_due", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{job_due{r.num<version_t>("life"), r.str("filter_key"), r.str("why"),
                         r.num<std::uint64_t>("until")}};
   }},
  {"summary.job_raised", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{job_raised{r.str("filter_key"), r.num<std::uint64_t>("until")}};
   }},
  {"summary.job_claimed", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{job_claimed{r.str("filter_key"), r.str("worker"), r.num<std::uint64_t>("attempt"),
                             r.num<time_us_t>("lease_until")}};
   }},
  {"summary.job_extended", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{job_extended{r.str("filter_key"), r.num<time_us_t>("lease_until")}};
   }},
  {"summary.job_failed", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{
       job_failed{r.str("filter_key"), read_status(r), r.time("again_at"), r.value("failure")}};
   }},
  {"summary.job_released", lane::folded,
   [](payload_reader& r, const text&) -> fact { return fact{job_released{r.str("filter_key")}}; }},
  {"summary.job_done", lane::folded,
   [](payload_reader& r, const text&) -> fact { return fact{job_done{r.str("filter_key")}}; }},
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

}  // namespace recalld::summary

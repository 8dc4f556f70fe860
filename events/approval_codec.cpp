#include "events/approval.hpp"
#include "events/payload.hpp"

/// Grammar of the payloads, all schema version 1; the words are those of `session_codec.cpp`.
///
///   approval.requested  {"id":STRING,QUESTION[,"expires_at":T]}
///   approval.resolved   {"id":STRING,"status":WORD,"by":STRING[,"feedback":STRING]}
///   approval.claimed    {"id":STRING[,"by":STRING][,"effect":STRING]}
///   approval.forgotten  {}
///
///   QUESTION  [,"thread":STRING][,"run":STRING][,"app":STRING][,"user":STRING][,"session":STRING],
///             "tool":STRING[,"args":VALUE],"args_hash":STRING[,"question":STRING]
///             [,"created_by":STRING][,"sender_context":VALUE][,"policy":WORD]
///   STATE     {"rounds":[{"id":STRING,QUESTION,"status":WORD,"created_at":T[,"expires_at":T]
///             [,"resolved_at":T][,"resolved_by":STRING][,"feedback":STRING][,"claimed_at":T]
///             [,"claimed_by":STRING][,"effect":STRING]},…]}

namespace recalld::approval {

namespace {

using codec::payload_reader;
using codec::payload_writer;

void add(payload_writer& w, const question& q) {
  w.word("thread", q.thread);
  w.word("run", q.run);
  w.word("app", q.app);
  w.word("user", q.user);
  w.word("session", q.session);
  w.str("tool", q.tool);
  w.value("args", q.args);
  w.str("args_hash", q.args_hash);
  w.word("question", q.text);
  w.word("created_by", q.created_by);
  w.value("sender_context", q.sender_context);
  w.word("policy", q.policy);
}

question read_question(payload_reader& r) {
  question q;
  q.thread = r.word("thread");
  q.run = r.word("run");
  q.app = r.word("app");
  q.user = r.word("user");
  q.session = r.word("session");
  q.tool = r.str("tool");
  q.args = r.value("args");
  q.args_hash = r.str("args_hash");
  q.text = r.word("question");
  q.created_by = r.word("created_by");
  q.sender_context = r.value("sender_context");
  q.policy = r.word("policy");
  return q;
}

std::string payload(const requested& f) {
  payload_writer w;
  w.str("id", f.id);
  add(w, f.what);
  w.time("expires_at", f.expires_at);
  return std::move(w).done();
}
std::string payload(const resolved& f) {
  payload_writer w;
  w.str("id", f.id).str("status", to_string(f.status)).str("by", f.by);
  w.word("feedback", f.feedback);
  return std::move(w).done();
}
std::string payload(const claimed& f) {
  payload_writer w;
  w.str("id", f.id);
  w.word("by", f.by);
  w.word("effect", f.effect);
  return std::move(w).done();
}

std::string payload(const forgotten&) { return "{}"; }

std::string write_state(const state& s) {
  std::vector<std::string> rounds;
  for (const auto& one : s.rounds) {
    payload_writer w;
    w.str("id", one.id);
    add(w, one.what);
    w.str("status", to_string(one.status)).num("created_at", one.created_at);
    w.time("expires_at", one.expires_at);
    w.time("resolved_at", one.resolved_at);
    w.word("resolved_by", one.resolved_by);
    w.word("feedback", one.feedback);
    w.time("claimed_at", one.claimed_at);
    w.word("claimed_by", one.claimed_by);
    w.word("effect", one.effect);
    rounds.push_back(std::move(w).done());
  }
  payload_writer w;
  w.raw("rounds", codec::array_text(rounds));
  return std::move(w).done();
}

state read_state(payload_reader& r) {
  state s;
  r.raw("rounds");
  r.each("rounds", [&](payload_reader& in) {
    round one;
    one.id = in.str("id");
    one.what = read_question(in);
    one.status = in.choice<status>("status", [](auto word) { return status_of(word); });
    one.created_at = in.num<time_us_t>("created_at");
    one.expires_at = in.time("expires_at");
    one.resolved_at = in.time("resolved_at");
    one.resolved_by = in.word("resolved_by");
    one.feedback = in.word("feedback");
    one.claimed_at = in.time("claimed_at");
    one.claimed_by = in.word("claimed_by");
    one.effect = in.word("effect");
    s.rounds.push_back(std::move(one));
  });
  return s;
}

// The initialisers of each entry are evaluated in the order in which they are written.
constexpr codec::format<aggregate>::type fact_types[] = {
  {"approval.requested", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{requested{r.str("id"), read_question(r), r.time("expires_at")}};
   }},
  {"approval.resolved", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{resolved{r.str("id"),
                          r.choice<status>("status", [](auto word) { return status_of(word); }),
                          r.str("by"), r.word("feedback")}};
   }},
  {"approval.claimed", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{claimed{r.str("id"), r.word("by"), r.word("effect")}};
   }},
  {"approval.forgotten", lane::folded,
   [](payload_reader&, const text&) -> fact { return fact{forgotten{}}; }},
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

}  // namespace recalld::approval

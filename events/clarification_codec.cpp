#include "events/clarification.hpp"
#include "events/payload.hpp"

/// Grammar of the payloads, all schema version 1; the words are those of `session_codec.cpp`.
///
///   clarification.asked  {"id":STRING,QUESTION[,"expires_at":T]}
///   clarification.ended  {"id":STRING,"status":WORD[,"answer":STRING][,"by":STRING]}
///   clarification.forgotten  {}
///
///   QUESTION  [,"run":STRING][,"app":STRING][,"user":STRING][,"session":STRING][,"question":STRING]
///             [,"context":VALUE][,"asked_by":STRING][,"sender_context":VALUE]
///   STATE     {"rounds":[{"id":STRING,QUESTION,"status":WORD,"created_at":T[,"expires_at":T]
///             [,"ended_at":T][,"ended_by":STRING][,"answer":STRING]},…]}

namespace recalld::clarification {

namespace {

using codec::payload_reader;
using codec::payload_writer;

void add(payload_writer& w, const question& q) {
  w.word("run", q.run);
  w.word("app", q.app);
  w.word("user", q.user);
  w.word("session", q.session);
  w.word("question", q.text);
  w.value("context", q.context);
  w.word("asked_by", q.asked_by);
  w.value("sender_context", q.sender_context);
}

question read_question(payload_reader& r) {
  question q;
  q.run = r.word("run");
  q.app = r.word("app");
  q.user = r.word("user");
  q.session = r.word("session");
  q.text = r.word("question");
  q.context = r.value("context");
  q.asked_by = r.word("asked_by");
  q.sender_context = r.value("sender_context");
  return q;
}

std::string payload(const asked& f) {
  payload_writer w;
  w.str("id", f.id);
  add(w, f.what);
  w.time("expires_at", f.expires_at);
  return std::move(w).done();
}
std::string payload(const ended& f) {
  payload_writer w;
  w.str("id", f.id).str("status", to_string(f.status));
  w.word("answer", f.answer);
  w.word("by", f.by);
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
    w.time("ended_at", one.ended_at);
    w.word("ended_by", one.ended_by);
    w.word("answer", one.answer);
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
    one.ended_at = in.time("ended_at");
    one.ended_by = in.word("ended_by");
    one.answer = in.word("answer");
    s.rounds.push_back(std::move(one));
  });
  return s;
}

// The initialisers of each entry are evaluated in the order in which they are written.
constexpr codec::format<aggregate>::type fact_types[] = {
  {"clarification.asked", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{asked{r.str("id"), read_question(r), r.time("expires_at")}};
   }},
  {"clarification.ended", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{ended{r.str("id"),
                       r.choice<status>("status", [](auto word) { return status_of(word); }),
                       r.word("answer"), r.word("by")}};
   }},
  {"clarification.forgotten", lane::folded,
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

}  // namespace recalld::clarification

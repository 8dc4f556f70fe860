#include "events/effect.hpp"
#include "events/payload.hpp"

/// Grammar of the payloads, all schema version 1; the words are those of `session_codec.cpp`.
///
///   effect.begun     {"args_hash":STRING[,"tool":STRING][,"approval":STRING][,"holder":STRING],
///                     "lease_until":T}
///   effect.extended  {"lease_until":T}
///   effect.ended     {"status":WORD[,"outcome":VALUE][,"by":STRING]}
///   effect.doubted   {}
///
///   STATE  {"status":WORD,"args_hash":STRING[,"tool":STRING][,"approval":STRING][,"holder":STRING],
///           "fence":N,"begun_at":T,"lease_until":T[,"ended_at":T][,"outcome":VALUE][,"ended_by":STRING]}

namespace recalld::effect {

namespace {

using codec::payload_reader;
using codec::payload_writer;

std::string payload(const begun& f) {
  payload_writer w;
  w.str("args_hash", f.args_hash);
  w.word("tool", f.tool);
  w.word("approval", f.approval);
  w.word("holder", f.holder);
  w.num("lease_until", f.lease_until);
  return std::move(w).done();
}
std::string payload(const extended& f) {
  payload_writer w;
  w.num("lease_until", f.lease_until);
  return std::move(w).done();
}
std::string payload(const ended& f) {
  payload_writer w;
  w.str("status", to_string(f.status));
  w.value("outcome", f.outcome);
  w.word("by", f.by);
  return std::move(w).done();
}
std::string payload(const doubted&) { return "{}"; }

std::string write_state(const state& s) {
  payload_writer w;
  w.str("status", to_string(s.status)).str("args_hash", s.args_hash);
  w.word("tool", s.tool);
  w.word("approval", s.approval);
  w.word("holder", s.holder);
  w.num("fence", s.fence).num("begun_at", s.begun_at).num("lease_until", s.lease_until);
  w.time("ended_at", s.ended_at);
  w.value("outcome", s.outcome);
  w.word("ended_by", s.ended_by);
  return std::move(w).done();
}

state read_state(payload_reader& r) {
  state s;
  s.status = r.choice<status>("status", [](auto word) { return status_of(word); });
  s.args_hash = r.str("args_hash");
  s.tool = r.word("tool");
  s.approval = r.word("approval");
  s.holder = r.word("holder");
  s.fence = r.num<version_t>("fence");
  s.begun_at = r.num<time_us_t>("begun_at");
  s.lease_until = r.num<time_us_t>("lease_until");
  s.ended_at = r.time("ended_at");
  s.outcome = r.value("outcome");
  s.ended_by = r.word("ended_by");
  return s;
}

// The initialisers of each entry are evaluated in the order in which they are written.
constexpr codec::format<aggregate>::type fact_types[] = {
  {"effect.begun", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{begun{r.str("args_hash"), r.word("tool"), r.word("approval"), r.word("holder"),
                       r.num<time_us_t>("lease_until")}};
   }},
  {"effect.extended", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{extended{r.num<time_us_t>("lease_until")}};
   }},
  {"effect.ended", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{ended{r.choice<status>("status", [](auto word) { return status_of(word); }),
                       r.value("outcome"), r.word("by")}};
   }},
  {"effect.doubted", lane::folded,
   [](payload_reader&, const text&) -> fact { return fact{doubted{}}; }},
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

}  // namespace recalld::effect

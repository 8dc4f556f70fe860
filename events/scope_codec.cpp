#include "events/payload.hpp"
#include "events/scope.hpp"

/// Grammar of the payloads, all schema version 1. Every payload is one JSON object without white
/// space of ours; VALUE is the caller's JSON as it came, KEYS an object of VALUEs, N a whole number
/// (unsigned, 64 bits), T microseconds since 1970 (signed), STREAM `["kind","part",…]`. Members in
/// brackets are left out when zero, empty or absent. Unknown members are skipped.
///
///   scope.state_changed        {["set":KEYS][,"deleted":[STRING,…]]}
///   scope.retention_changed    {["keep_entries":N][,"ttl_s":N]}
///   scope.id_reserved          {"id":STRING}
///   scope.cleared              {}
///
///   SCOPE    {"facts":N[,"cleared_at":N],"updated_at":T,"values":KEYS[,"keep_entries":N][,"ttl_s":N]}
namespace recalld::scope {

namespace {

using codec::payload_reader;
using codec::payload_writer;

std::string payload(const state_changed& f) {
  payload_writer w;
  w.keys(f.set, f.deleted);
  return std::move(w).done();
}
std::string payload(const retention_changed& f) {
  payload_writer w;
  w.kept(f.value);
  return std::move(w).done();
}
std::string payload(const id_reserved& f) {
  payload_writer w;
  w.str("id", f.id);
  return std::move(w).done();
}

std::string payload(const cleared&) { return "{}"; }

std::string write_state(const state& s) {
  payload_writer w;
  w.num("facts", s.facts);
  w.count("cleared_at", s.cleared_at);
  w.num("updated_at", s.updated_at);
  w.raw("values", json::object_of(s.values));
  w.kept(s.retention);
  return std::move(w).done();
}

state read_state(payload_reader& r) {
  state s;
  s.facts = r.num<version_t>("facts");
  s.cleared_at = r.count("cleared_at");
  s.updated_at = r.num<time_us_t>("updated_at");
  s.values = r.keys("values");
  s.retention = r.kept();
  return s;
}

constexpr codec::format<aggregate>::type fact_types[] = {
  {"scope.state_changed", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{state_changed{r.optional_keys("set"), r.optional_strings("deleted")}};
   }},
  {"scope.retention_changed", lane::folded,
   [](payload_reader& r, const text&) -> fact { return fact{retention_changed{r.kept()}}; }},
  // No state remembers these ids, so they lie where waking an aggregate does not meet them.
  {"scope.id_reserved", lane::tracks,
   [](payload_reader& r, const text&) -> fact { return fact{id_reserved{r.str("id")}}; }},
  {"scope.cleared", lane::folded,
   [](payload_reader&, const text&) -> fact { return fact{cleared{}}; }},
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

}  // namespace recalld::scope

#include "events/payload.hpp"
#include "events/value_space.hpp"

/// Grammar of the payloads, all schema version 1; conventions as in `scope_codec.cpp`.
///
///   value.set         {"key":STRING,"value":VALUE,"created_at":T,"updated_at":T,"expires_at":T}
///   value.ended       {"key":STRING}
///   value.begun_anew  {}
///
///   VALUES  {"base":N,"values":{KEY:{"value":VALUE,"created_at":T,"updated_at":T,"expires_at":T,
///            "version":N},…}}
namespace recalld::value_space {

namespace {

using codec::payload_reader;
using codec::payload_writer;

std::string payload(const value_set& f) {
  payload_writer w;
  w.str("key", f.key).raw("value", f.json).num("created_at", f.created_at);
  w.num("updated_at", f.updated_at).num("expires_at", f.expires_at);
  return std::move(w).done();
}
std::string payload(const value_ended& f) {
  payload_writer w;
  w.str("key", f.key);
  return std::move(w).done();
}
std::string payload(const begun_anew&) { return "{}"; }

std::string write(const fact& f) {
  return std::visit([](const auto& one) { return payload(one); }, f);
}

std::string key_of(const fact& f, version_t version) {
  const auto* set = std::get_if<value_set>(&f);
  return set == nullptr ? std::string() : key_prefix(set->key) + std::to_string(version);
}

std::string write_state(const state& s) {
  payload_writer all;
  for (const auto& [key, v] : s.values) {
    payload_writer w;
    w.raw("value", v.json).num("created_at", v.created_at).num("updated_at", v.updated_at);
    w.num("expires_at", v.expires_at).num("version", v.version);
    all.raw(key, std::move(w).done());
  }
  payload_writer w;
  w.num("base", s.base).raw("values", std::move(all).done());
  return std::move(w).done();
}

state read_state(payload_reader& r) {
  state s;
  s.base = r.num<version_t>("base");
  for (const auto& [key, raw] : r.keys("values")) {
    payload_reader one(raw);
    held v{std::string(one.raw("value")), one.num<time_us_t>("created_at"),
           one.num<time_us_t>("updated_at"), one.num<time_us_t>("expires_at"),
           one.num<version_t>("version")};
    r.join(one, "values");
    s.bytes += key.size() + v.json.size();
    s.by_expiry.emplace(v.expires_at, key);
    s.values.emplace(key, std::move(v));
  }
  return s;
}

constexpr codec::format<aggregate>::type fact_types[] = {
  {"value.set", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return value_set{r.str("key"), std::string(r.raw("value")), r.num<time_us_t>("created_at"),
                      r.num<time_us_t>("updated_at"), r.num<time_us_t>("expires_at")};
   }},
  {"value.ended", lane::folded,
   [](payload_reader& r, const text&) -> fact { return value_ended{r.str("key")}; }},
  {"value.begun_anew", lane::folded,
   [](payload_reader&, const text&) -> fact { return begun_anew{}; }},
};
static_assert(std::size(fact_types) == std::variant_size_v<fact>);

}  // namespace

const codec::format<aggregate>& aggregate::stored_as() {
  static constexpr codec::format<aggregate> all{fact_types, write, key_of, write_state, read_state};
  return all;
}

}  // namespace recalld::value_space

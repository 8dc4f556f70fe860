#include "events/payload.hpp"
#include "events/permission.hpp"

/// Grammar of the payloads, all schema version 1; the words are those of `session_codec.cpp`.
///
///   permission.rules_set  {"deny":[STRING,…],"allow":[STRING,…]}
///   permission.granted    GRANT
///   permission.revoked    {"id":STRING[,"by":STRING]}
///
///   GRANT  {"id":STRING[,"principal":STRING][,"app":STRING][,"user":STRING][,"session":STRING],
///           "tool":STRING[,"contains":STRING],"expires_at":T[,"given_by":STRING][,"approval":STRING]}
///   STATE  {"deny":[STRING,…],"allow":[STRING,…][,"grants":[GRANT,…]]}

namespace recalld::permission {

namespace {

using codec::payload_reader;
using codec::payload_writer;

std::string grant_text(const grant& g) {
  payload_writer w;
  w.str("id", g.id);
  w.word("principal", g.principal);
  w.word("app", g.app);
  w.word("user", g.user);
  w.word("session", g.session);
  w.str("tool", g.tool);
  w.word("contains", g.contains);
  w.num("expires_at", g.expires_at);
  w.word("given_by", g.given_by);
  w.word("approval", g.approval);
  return std::move(w).done();
}

grant read_grant(payload_reader& r) {
  grant g;
  g.id = r.str("id");
  g.principal = r.word("principal");
  g.app = r.word("app");
  g.user = r.word("user");
  g.session = r.word("session");
  g.tool = r.str("tool");
  g.contains = r.word("contains");
  g.expires_at = r.num<time_us_t>("expires_at");
  g.given_by = r.word("given_by");
  g.approval = r.word("approval");
  return g;
}

std::string payload(const rules_set& f) {
  payload_writer w;
  w.raw("deny", payload_writer::strings(f.deny));
  w.raw("allow", payload_writer::strings(f.allow));
  return std::move(w).done();
}
std::string payload(const granted& f) { return grant_text(f.grant); }
std::string payload(const revoked& f) {
  payload_writer w;
  w.str("id", f.id);
  w.word("by", f.by);
  return std::move(w).done();
}

std::string write_state(const state& s) {
  payload_writer w;
  w.raw("deny", payload_writer::strings(s.deny)).raw("allow", payload_writer::strings(s.allow));
  std::vector<std::string> grants;
  for (const auto& [id, g] : s.grants)
    grants.push_back(grant_text(g));
  if (!grants.empty())
    w.raw("grants", codec::array_text(grants));
  return std::move(w).done();
}

state read_state(payload_reader& r) {
  state s;
  s.deny = r.optional_strings("deny");
  s.allow = r.optional_strings("allow");
  r.each("grants", [&](payload_reader& one) {
    auto g = read_grant(one);
    s.grants.emplace(g.id, g);
  });
  return s;
}

// The initialisers of each entry are evaluated in the order in which they are written.
constexpr codec::format<aggregate>::type fact_types[] = {
  {"permission.rules_set", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{rules_set{r.optional_strings("deny"), r.optional_strings("allow")}};
   }},
  {"permission.granted", lane::folded,
   [](payload_reader& r, const text&) -> fact { return fact{granted{read_grant(r)}}; }},
  {"permission.revoked", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{revoked{r.str("id"), r.word("by")}};
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

}  // namespace recalld::permission

#include "events/payload.hpp"
#include "events/session.hpp"

/// Grammar of the payloads, all schema version 1. Every payload is one JSON object without white
/// space of ours; VALUE is the caller's JSON as it came, KEYS an object of VALUEs, N a whole number
/// (unsigned, 64 bits), T microseconds since 1970 (signed), STREAM `["kind","part",…]`. Members in
/// brackets are left out when zero, empty or absent. Unknown members are skipped.
///
///   session.created            {["metadata":VALUE,]"values":KEYS[,"keep_entries":N][,"ttl_s":N]}
///   session.entry_appended     {"id":STRING,"role":STRING,"ordinal":N,"turn_version":N,
///                               "turn_ordinal":N,"life":N[,"ttl_s":N],"entry":VALUE}
///                              exactly this order: `entry` is last, so that it is cut out unread
///   session.state_changed      {["set":KEYS][,"deleted":[STRING,…]][,"ttl_s":N]}
///   session.context_added      {"id":STRING,"type":STRING,"content":VALUE[,"ttl_s":N]}
///   session.context_removed    {"id":STRING[,"ttl_s":N]}
///   session.track_appended     {"track":STRING,"item":VALUE[,"ttl_s":N]}
///   session.retention_changed  {["keep_entries":N][,"ttl_s":N]}
///   session.closed             {["ttl_s":N]}
///   session.deleted            {}
///   session.expired            {}
///   session.forked             {"source":STREAM,"through":N,"state":SESSION}
///   session.trimmed            {"through":N,"state":SESSION}
///
///   SESSION  {"status":WORD,"created_at":T,"updated_at":T,["closed_at":T,]"created_version":N,
///             ["metadata":VALUE,]"values":KEYS,["contexts":{ID:{"type":STRING,"content":VALUE,
///             "created_at":T,"version":N},…},]"entries":N,"turn_version":N,"turn_ordinal":N,
///             "floor":N,"floor_ordinal":N[,"keep_entries":N][,"ttl_s":N]
///             [,"borrowed":[RANGE,…]][,"forked_from":RANGE]}
///   RANGE    {"stream":STREAM,"through":N}
namespace recalld::session {

namespace {

using codec::payload_reader;
using codec::payload_writer;

// -- writing --

std::string contexts_text(const session::state& s) {
  payload_writer all;
  for (const auto& [id, item] : s.contexts) {
    payload_writer w;
    w.str("type", item.type).raw("content", item.content);
    w.num("created_at", item.created_at).num("version", item.version);
    all.raw(id, std::move(w).done());
  }
  return std::move(all).done();
}

std::string write_state(const state& s) {
  payload_writer w;
  w.str("status", to_string(s.status));
  w.num("created_at", s.created_at).num("updated_at", s.updated_at);
  if (s.closed_at != 0)
    w.num("closed_at", s.closed_at);
  w.num("created_version", s.created_version);
  if (!s.metadata.empty())
    w.raw("metadata", s.metadata);
  w.raw("values", json::object_of(s.values));
  if (!s.contexts.empty())
    w.raw("contexts", contexts_text(s));
  w.num("entries", s.entries).num("turn_version", s.turn_version);
  w.num("turn_ordinal", s.turn_ordinal);
  w.num("floor", s.floor).num("floor_ordinal", s.floor_ordinal);
  w.kept(s.retention);
  if (!s.borrowed.empty())
    w.raw("borrowed", codec::ranges_text(s.borrowed));
  if (s.forked_from)
    w.raw("forked_from", codec::range_text(*s.forked_from));
  return std::move(w).done();
}

void append_number(std::string& out, std::string_view name, std::uint64_t n) {
  char digits[24];
  auto end = std::to_chars(digits, digits + sizeof digits, n).ptr;
  out.append(name).append(digits, end);
}

std::string payload(const entry_appended& f) {
  std::string out;
  out.reserve(f.raw.size() + f.id.size() + f.role.size() + 160);
  out.append(R"({"id":)");
  json::append_quoted(out, f.id);
  out.append(R"(,"role":)");
  json::append_quoted(out, f.role);
  append_number(out, R"(,"ordinal":)", f.ordinal);
  append_number(out, R"(,"turn_version":)", f.turn_version);
  append_number(out, R"(,"turn_ordinal":)", f.turn_ordinal);
  append_number(out, R"(,"life":)", f.life);
  if (f.ttl_s != 0)
    append_number(out, R"(,"ttl_s":)", f.ttl_s);
  out.append(R"(,"entry":)").append(f.raw.view()).append("}");
  return out;
}

std::string payload(const created& f) {
  payload_writer w;
  if (!f.metadata.empty())
    w.raw("metadata", f.metadata);
  w.raw("values", json::object_of(f.values));
  w.kept(f.retention);
  return std::move(w).done();
}
std::string payload(const state_changed& f) {
  payload_writer w;
  w.keys(f.set, f.deleted);
  w.count("ttl_s", f.ttl_s);
  return std::move(w).done();
}
std::string payload(const context_added& f) {
  payload_writer w;
  w.str("id", f.id).str("type", f.type).raw("content", f.content);
  w.count("ttl_s", f.ttl_s);
  return std::move(w).done();
}
std::string payload(const context_removed& f) {
  payload_writer w;
  w.str("id", f.id);
  w.count("ttl_s", f.ttl_s);
  return std::move(w).done();
}
std::string payload(const track_appended& f) {
  payload_writer w;
  w.str("track", f.track).raw("item", f.item.view());
  w.count("ttl_s", f.ttl_s);
  return std::move(w).done();
}
std::string payload(const retention_changed& f) {
  payload_writer w;
  w.kept(f.value);
  return std::move(w).done();
}
std::string payload(const closed& f) {
  payload_writer w;
  w.count("ttl_s", f.ttl_s);
  return std::move(w).done();
}
std::string payload(const deleted&) { return "{}"; }
std::string payload(const expired&) { return "{}"; }
std::string payload(const forked& f) {
  payload_writer w;
  w.stream("source", f.source);
  w.num("through", f.through).raw("state", write_state(f.at));
  return std::move(w).done();
}
std::string payload(const trimmed& f) {
  payload_writer w;
  w.num("through", f.through).raw("state", write_state(f.at));
  return std::move(w).done();
}
// -- reading --

std::map<std::string, context_item, std::less<>> optional_contexts(payload_reader& r,
                                                                   std::string_view name) {
  std::map<std::string, session::context_item, std::less<>> items;
  for (const auto& [id, value] : r.optional_keys(name)) {
    payload_reader one(value);
    items.emplace(id, session::context_item{one.str("type"), std::string(one.raw("content")),
                                            one.num<time_us_t>("created_at"),
                                            one.num<version_t>("version")});
    r.join(one, name);
  }
  return items;
}

session::status read_status(payload_reader& r, std::string_view name) {
  using enum session::status;
  auto word = r.str(name);
  for (auto s :
       {absent, open, session::status::closed, session::status::deleted, session::status::expired})
    if (word == to_string(s))
      return s;
  r.miss(name);
  return absent;
}

session::state read_session(payload_reader& r) {
  session::state s;
  s.status = read_status(r, "status");
  s.created_at = r.num<time_us_t>("created_at");
  s.updated_at = r.num<time_us_t>("updated_at");
  if (!r.optional("closed_at").empty())
    s.closed_at = r.num<time_us_t>("closed_at");
  s.created_version = r.num<version_t>("created_version");
  s.metadata = r.optional("metadata");
  s.values = r.keys("values");
  s.contexts = optional_contexts(r, "contexts");
  s.entries = r.num<std::uint64_t>("entries");
  s.turn_version = r.num<version_t>("turn_version");
  s.turn_ordinal = r.num<std::uint64_t>("turn_ordinal");
  s.floor = r.num<version_t>("floor");
  s.floor_ordinal = r.num<std::uint64_t>("floor_ordinal");
  s.retention = r.kept();
  s.borrowed = r.optional_ranges("borrowed");
  if (auto from = r.optional("forked_from"); !from.empty())
    s.forked_from = r.range(from, "forked_from");
  return s;
}

state session_state(payload_reader& outer, std::string_view name) {
  payload_reader r(outer.raw(name));
  auto s = read_session(r);
  outer.join(r, name);
  return s;
}

// -- an entry, without reading it --

/// Takes `expected` off the front of `in`.
bool take(std::string_view& in, std::string_view expected) {
  if (!in.starts_with(expected))
    return false;
  in.remove_prefix(expected.size());
  return true;
}

/// Takes a string that needs no unescaping, and its closing quote.
bool take_plain(std::string_view& in, std::string& out) {
  std::size_t stop = 0;
  while (stop < in.size() && in[stop] != '"' && in[stop] != '\\')
    ++stop;
  if (stop == in.size() || in[stop] != '"')
    return false;
  out = in.substr(0, stop);
  in.remove_prefix(stop + 1);
  return true;
}

bool take_number(std::string_view& in, std::uint64_t& n) {
  auto [stop, failure] = std::from_chars(in.data(), in.data() + in.size(), n);
  if (failure != std::errc{})
    return false;
  in.remove_prefix(stop - in.data());
  return true;
}

/// Reads a payload in exactly the form that is written above, if no string in it has an escape. The
/// entry was validated when it came in and is not looked at again.
bool read_entry(const text& payload, entry_appended& f) {
  auto in = payload.view();
  if (!take(in, R"({"id":")") || !take_plain(in, f.id) || !take(in, R"(,"role":")")
      || !take_plain(in, f.role) || !take(in, R"(,"ordinal":)") || !take_number(in, f.ordinal)
      || !take(in, R"(,"turn_version":)") || !take_number(in, f.turn_version)
      || !take(in, R"(,"turn_ordinal":)") || !take_number(in, f.turn_ordinal)
      || !take(in, R"(,"life":)") || !take_number(in, f.life))
    return false;
  if (take(in, R"(,"ttl_s":)") && !take_number(in, f.ttl_s))
    return false;
  if (!take(in, R"(,"entry":{)") || !in.ends_with("}}"))
    return false;
  auto begin = in.data() - 1;
  f.raw = payload.slice({begin, static_cast<std::size_t>(in.data() + in.size() - 1 - begin)});
  return true;
}

entry_appended read_entry(payload_reader& r, const text& payload) {
  entry_appended f;
  f.id = r.str("id");
  f.role = r.str("role");
  f.ordinal = r.num<std::uint64_t>("ordinal");
  f.turn_version = r.num<version_t>("turn_version");
  f.turn_ordinal = r.num<std::uint64_t>("turn_ordinal");
  f.life = r.num<version_t>("life");
  f.ttl_s = r.count("ttl_s");
  f.raw = payload.slice(r.raw("entry"));
  return f;
}

// -- the list of facts --

// The initialisers of each entry are evaluated in the order in which they are written.
constexpr codec::format<aggregate>::type fact_types[] = {
  {"session.created", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     created f;
     f.metadata = r.optional("metadata");
     f.values = r.keys("values");
     f.retention = r.kept();
     return fact{std::move(f)};
   }},
  {"session.entry_appended", lane::entries,
   [](payload_reader& r, const text& payload) -> fact { return fact{read_entry(r, payload)}; },
   [](const text& payload, fact& into) {
     return read_entry(payload, into.emplace<entry_appended>());
   }},
  {"session.state_changed", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{
       state_changed{r.optional_keys("set"), r.optional_strings("deleted"), r.count("ttl_s")}};
   }},
  {"session.context_added", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{
       context_added{r.str("id"), r.str("type"), std::string(r.raw("content")), r.count("ttl_s")}};
   }},
  {"session.context_removed", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{context_removed{r.str("id"), r.count("ttl_s")}};
   }},
  {"session.track_appended", lane::tracks,
   [](payload_reader& r, const text& payload) -> fact {
     return fact{track_appended{r.str("track"), payload.slice(r.raw("item")), r.count("ttl_s")}};
   }},
  {"session.retention_changed", lane::folded,
   [](payload_reader& r, const text&) -> fact { return fact{retention_changed{r.kept()}}; }},
  {"session.closed", lane::folded,
   [](payload_reader& r, const text&) -> fact { return fact{closed{r.count("ttl_s")}}; }},
  {"session.deleted", lane::folded,
   [](payload_reader&, const text&) -> fact { return fact{deleted{}}; }},
  {"session.expired", lane::folded,
   [](payload_reader&, const text&) -> fact { return fact{expired{}}; }},
  {"session.forked", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{
       forked{r.stream("source"), session_state(r, "state"), r.num<version_t>("through")}};
   }},
  {"session.trimmed", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return fact{trimmed{r.num<version_t>("through"), session_state(r, "state")}};
   }},
};
static_assert(std::size(fact_types) == std::variant_size_v<fact>);

std::string write(const fact& f) {
  return std::visit([](const auto& one) { return payload(one); }, f);
}

std::string key_of(const fact& f, version_t version) {
  if (auto* entry = std::get_if<entry_appended>(&f))
    return fact_key::entry(entry->life, entry->id);
  if (auto* item = std::get_if<track_appended>(&f))
    return fact_key::track_item(item->track, version);
  return {};
}

}  // namespace

const codec::format<aggregate>& aggregate::stored_as() {
  static constexpr codec::format<aggregate> all{fact_types, write, key_of, write_state,
                                                read_session};
  return all;
}

}  // namespace recalld::session

#include "events/payload.hpp"
#include "events/principal.hpp"

/// Grammar of the payloads, all schema version 1; conventions as in `scope_codec.cpp`.
///
///   principal.record_put             {"record":RECORD,"created_at":T}
///   principal.session_put            {"name":STRING,"session":SESSION}
///   principal.session_dropped        {"name":STRING}
///   principal.collection_attached    {"name":STRING,"app":STRING,"user":STRING}
///   principal.collection_detached    {"name":STRING}
///   principal.usage_recorded         {"call":STRING[,"session":STRING][,"model":STRING],"used":USAGE}
///   principal.purged                 {}
///
///   RECORD   {["username":STRING][,"status":STRING][,"admin":true][,"network":STRING]
///             [,"topics":[STRING,…]][,"metadata":OBJECT]}
///   SESSION  {["endpoint":STRING][,"base_url":STRING][,"model":STRING][,"type":STRING]
///             [,"sealed":STRING]}
///   USAGE    {["calls":N][,"prompt_tokens":N][,"completion_tokens":N][,"reasoning_tokens":N]
///             [,"total_tokens":N][,"duration_ms":N]}
///   SPENT    {"last":USAGE,"total":USAGE}
///   PRINCIPAL  {"created_at":T,"updated_at":T,"record":RECORD,"sessions":{NAME:SESSION,…},
///               "collections":{NAME:{"app":STRING,"user":STRING},…},"all":SPENT,
///               "by_session":{NAME:SPENT,…},"by_model":{NAME:SPENT,…}}
namespace recalld::principal {

namespace {

using codec::payload_reader;

struct writer : codec::payload_writer {
  void text(std::string_view name, std::string_view value) {
    if (!value.empty())
      str(name, value);
  }
};

std::string word(payload_reader& r, std::string_view name) {
  return r.optional_str(name).value_or("");
}

std::string text_of(const record& one) {
  writer w;
  w.text("username", one.username);
  w.text("status", one.status);
  if (one.admin)
    w.boolean("admin", true);
  w.text("network", one.network);
  if (!one.topics.empty())
    w.raw("topics", writer::strings(one.topics));
  if (!one.metadata.empty())
    w.raw("metadata", one.metadata);
  return std::move(w).done();
}
record record_of(payload_reader& r) {
  return {word(r, "username"),
          word(r, "status"),
          r.flag("admin"),
          word(r, "network"),
          r.optional_strings("topics"),
          std::string(r.optional("metadata"))};
}

std::string text_of(const model_session& s) {
  writer w;
  w.text("endpoint", s.endpoint);
  w.text("base_url", s.base_url);
  w.text("model", s.model);
  w.text("type", s.type);
  w.text("sealed", s.sealed);
  return std::move(w).done();
}
model_session session_of(payload_reader& r) {
  return {word(r, "endpoint"), word(r, "base_url"), word(r, "model"), word(r, "type"),
          word(r, "sealed")};
}

std::string text_of(const usage& u) {
  writer w;
  w.count("calls", u.calls);
  w.count("prompt_tokens", u.prompt_tokens);
  w.count("completion_tokens", u.completion_tokens);
  w.count("reasoning_tokens", u.reasoning_tokens);
  w.count("total_tokens", u.total_tokens);
  w.count("duration_ms", u.duration_ms);
  return std::move(w).done();
}
usage usage_of(payload_reader& r) {
  return {r.count("calls"),
          r.count("prompt_tokens"),
          r.count("completion_tokens"),
          r.count("reasoning_tokens"),
          r.count("total_tokens"),
          r.count("duration_ms")};
}

std::string text_of(const collection& c) {
  writer w;
  w.str("app", c.app).str("user", c.user);
  return std::move(w).done();
}
collection collection_of(payload_reader& r) { return {r.str("app"), r.str("user")}; }

std::string text_of(const spent& s) {
  writer w;
  w.raw("last", text_of(s.last)).raw("total", text_of(s.total));
  return std::move(w).done();
}

/// Reads a member that is an object.
template <class T>
T inner(payload_reader& r, std::string_view name, T (*read)(payload_reader&)) {
  payload_reader one(r.raw(name));
  auto out = read(one);
  r.join(one, name);
  return out;
}
spent spent_of(payload_reader& r) {
  return {inner(r, "last", usage_of), inner(r, "total", usage_of)};
}

template <class T>
std::string text_of_all(const std::map<std::string, T, std::less<>>& all) {
  writer w;
  for (const auto& [name, one] : all)
    w.raw(name, text_of(one));
  return std::move(w).done();
}
template <class T>
std::map<std::string, T, std::less<>> all_of(payload_reader& r, std::string_view name,
                                             T (*read)(payload_reader&)) {
  std::map<std::string, T, std::less<>> out;
  for (const auto& [key, raw] : r.keys(name)) {
    payload_reader one(raw);
    out.emplace(key, read(one));
    r.join(one, name);
  }
  return out;
}

std::string payload(const record_put& f) {
  writer w;
  w.raw("record", text_of(f.record)).num("created_at", f.created_at);
  return std::move(w).done();
}
std::string payload(const session_put& f) {
  writer w;
  w.str("name", f.name).raw("session", text_of(f.session));
  return std::move(w).done();
}
std::string payload(const session_dropped& f) {
  writer w;
  w.str("name", f.name);
  return std::move(w).done();
}
std::string payload(const collection_attached& f) {
  writer w;
  w.str("name", f.name).str("app", f.what.app).str("user", f.what.user);
  return std::move(w).done();
}
std::string payload(const collection_detached& f) {
  writer w;
  w.str("name", f.name);
  return std::move(w).done();
}
std::string payload(const usage_recorded& f) {
  writer w;
  w.str("call", f.call);
  w.text("session", f.session);
  w.text("model", f.model);
  w.raw("used", text_of(f.used));
  return std::move(w).done();
}
std::string payload(const purged&) { return "{}"; }

std::string write(const fact& f) {
  return std::visit([](const auto& one) { return payload(one); }, f);
}

std::string key_of(const fact& f, version_t version) {
  if (const auto* used = std::get_if<usage_recorded>(&f))
    return usage_key(used->call);
  if (const auto* put = std::get_if<session_put>(&f))
    return session_prefix(put->name) + std::to_string(version);
  return {};
}

std::string write_state(const state& s) {
  writer w;
  w.num("created_at", s.created_at).num("updated_at", s.updated_at);
  w.raw("record", text_of(s.record)).raw("sessions", text_of_all(s.sessions));
  w.raw("collections", text_of_all(s.collections)).raw("all", text_of(s.all));
  w.raw("by_session", text_of_all(s.by_session)).raw("by_model", text_of_all(s.by_model));
  return std::move(w).done();
}

state read_state(payload_reader& r) {
  state s;
  s.created_at = r.num<time_us_t>("created_at");
  s.updated_at = r.num<time_us_t>("updated_at");
  s.record = inner(r, "record", record_of);
  s.sessions = all_of(r, "sessions", session_of);
  s.collections = all_of(r, "collections", collection_of);
  s.all = inner(r, "all", spent_of);
  s.by_session = all_of(r, "by_session", spent_of);
  s.by_model = all_of(r, "by_model", spent_of);
  return s;
}

// The initialisers of each fact are evaluated in the order in which they are written.
constexpr codec::format<aggregate>::type fact_types[] = {
  {"principal.record_put", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return record_put{inner(r, "record", record_of), r.num<time_us_t>("created_at")};
   }},
  {"principal.session_put", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return session_put{r.str("name"), inner(r, "session", session_of)};
   }},
  {"principal.session_dropped", lane::folded,
   [](payload_reader& r, const text&) -> fact { return session_dropped{r.str("name")}; }},
  {"principal.collection_attached", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return collection_attached{r.str("name"), collection_of(r)};
   }},
  {"principal.collection_detached", lane::folded,
   [](payload_reader& r, const text&) -> fact { return collection_detached{r.str("name")}; }},
  {"principal.usage_recorded", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return usage_recorded{r.str("call"), word(r, "session"), word(r, "model"),
                           inner(r, "used", usage_of)};
   }},
  {"principal.purged", lane::folded, [](payload_reader&, const text&) -> fact { return purged{}; }},
};
static_assert(std::size(fact_types) == std::variant_size_v<fact>);

}  // namespace

const codec::format<aggregate>& aggregate::stored_as() {
  static constexpr codec::format<aggregate> all{fact_types, write, key_of, write_state, read_state};
  return all;
}

}  // namespace recalld::principal

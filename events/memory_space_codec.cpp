#include "events/base64.hpp"
#include "events/memory_space.hpp"
#include "events/payload.hpp"

/// Grammar of the payloads, all schema version 1; conventions as in `scope_codec.cpp`. STRINGS is
/// an array of strings, OBJECT a caller's JSON object as it came.
///
///   memory_space.added           {"id":STRING,"hash":STRING,"content":CONTENT[,"by":STRING]
///                                 [,"source":OBJECT]}
///   memory_space.retold          {"id":STRING,"revision":N[,"topics":STRINGS]
///                                 [,"metadata":OBJECT][,"by":STRING][,"source":OBJECT]}
///   memory_space.updated         {"id":STRING,"revision":N,"hash":STRING,"content":CONTENT
///                                 [,"reason":STRING][,"by":STRING][,"source":OBJECT]}
///   memory_space.status_changed  {"id":STRING,"revision":N,"to":WORD[,"replaced_by":STRING]
///                                 [,"reason":STRING][,"by":STRING][,"source":OBJECT]}
///   memory_space.removed         {"id":STRING[,"evicted":true]}
///   memory_space.cleared         {["most":N][,"evict":true]}
///   memory_space.limit_changed   {["most":N][,"evict":true]}
///   memory_space.embedded        {"id":STRING,"hash":STRING,"model":STRING,"vector":BASE64}
///
///   CONTENT       {"text":STRING,"kind":WORD[,"topics":STRINGS][,"event_time":T]
///                  [,"participants":STRINGS][,"location":STRING][,"importance":NUMBER]
///                  [,"metadata":OBJECT]}
///   MEMORY_SPACE  {"memories":{ID:{"hash":STRING,"status":WORD,"revision":N,"changed":N},…}
///                  [,"most":N][,"evict":true]}
namespace recalld::memory_space {

namespace {

using codec::payload_reader;

struct writer : codec::payload_writer {
  void text(std::string_view name, std::string_view value) {
    if (!value.empty())
      str(name, value);
  }
  void value(std::string_view name, std::string_view json) {
    if (!json.empty())
      raw(name, json);
  }
  void words(std::string_view name, const std::vector<std::string>& all) {
    if (!all.empty())
      raw(name, strings(all));
  }
  void from(const origin& o) {
    text("by", o.by);
    value("source", o.source);
  }
  void kept(const limit& l) {
    count("most", l.most);
    if (l.evict)
      boolean("evict", true);
  }
};

std::string content_text(const content& c) {
  writer w;
  w.str("text", c.text).str("kind", to_string(c.kind));
  w.words("topics", c.topics);
  if (c.event_time)
    w.num("event_time", *c.event_time);
  w.words("participants", c.participants);
  w.text("location", c.location);
  w.value("importance", c.importance);
  w.value("metadata", c.metadata);
  return std::move(w).done();
}

std::string payload(const added& f) {
  writer w;
  w.str("id", f.id).str("hash", f.hash).raw("content", content_text(f.content));
  w.from(f.origin);
  return std::move(w).done();
}
std::string payload(const retold& f) {
  writer w;
  w.str("id", f.id).num("revision", f.revision);
  w.words("topics", f.topics);
  w.value("metadata", f.metadata);
  w.from(f.origin);
  return std::move(w).done();
}
std::string payload(const updated& f) {
  writer w;
  w.str("id", f.id).num("revision", f.revision).str("hash", f.hash);
  w.raw("content", content_text(f.content));
  w.text("reason", f.reason);
  w.from(f.origin);
  return std::move(w).done();
}
std::string payload(const status_changed& f) {
  writer w;
  w.str("id", f.id).num("revision", f.revision).str("to", to_string(f.to));
  w.text("replaced_by", f.replaced_by);
  w.text("reason", f.reason);
  w.from(f.origin);
  return std::move(w).done();
}
std::string payload(const removed& f) {
  writer w;
  w.str("id", f.id);
  if (f.evicted)
    w.boolean("evicted", true);
  return std::move(w).done();
}
std::string payload(const cleared& f) {
  writer w;
  w.kept(f.kept);
  return std::move(w).done();
}
std::string payload(const limit_changed& f) {
  writer w;
  w.kept(f.value);
  return std::move(w).done();
}

std::string payload(const embedded& f) {
  writer w;
  w.str("id", f.what.id).str("hash", f.what.hash).str("model", f.what.model);
  w.str("vector", to_base64(f.what.vector));
  return std::move(w).done();
}

std::string write(const fact& f) {
  return std::visit([](const auto& one) { return payload(one); }, f);
}

/// `id/revision` of what tells about a memory.
struct told_key {
  std::string operator()(const added& f) const { return key_prefix(f.id) + "1"; }
  std::string operator()(const retold& f) const { return of(f.id, f.revision); }
  std::string operator()(const updated& f) const { return of(f.id, f.revision); }
  std::string operator()(const status_changed& f) const { return of(f.id, f.revision); }
  template <class Fact>
  std::string operator()(const Fact&) const {
    return {};
  }
  static std::string of(const std::string& id, std::uint64_t revision) {
    return key_prefix(id) + std::to_string(revision);
  }
};

std::string key_of(const fact& f, version_t version) {
  // A model may be asked again about the same revision.
  if (const auto* e = std::get_if<embedded>(&f))
    return key_prefix(e->what.id) + "embedded/" + std::to_string(version);
  return std::visit(told_key{}, f);
}

std::string word(payload_reader& r, std::string_view name) {
  return r.optional_str(name).value_or("");
}
origin origin_of(payload_reader& r) { return {word(r, "by"), std::string(r.optional("source"))}; }

status status_of(payload_reader& r, std::string_view name) {
  const auto told = r.str(name);
  for (auto s : {status::active, status::superseded, status::invalidated})
    if (told == to_string(s))
      return s;
  r.miss(name);
  return status::active;
}

content content_of(payload_reader& outer) {
  payload_reader r(outer.raw("content"));
  content c;
  c.text = r.str("text");
  const auto kind = r.str("kind");
  c.kind = kind == to_string(memory_kind::episode) ? memory_kind::episode : memory_kind::fact;
  if (kind != to_string(c.kind))
    r.miss("kind");
  c.topics = r.optional_strings("topics");
  if (!r.optional("event_time").empty())
    c.event_time = r.num<time_us_t>("event_time");
  c.participants = r.optional_strings("participants");
  c.location = word(r, "location");
  c.importance = r.optional("importance");
  c.metadata = r.optional("metadata");
  outer.join(r, "content");
  return c;
}

embedding embedding_of(payload_reader& r) {
  embedding e{r.str("id"), r.str("hash"), r.str("model"), {}};
  if (auto bytes = from_base64(r.str("vector")))
    e.vector = std::move(*bytes);
  else
    r.miss("vector");
  return e;
}

limit limit_of(payload_reader& r) { return {r.count("most"), r.flag("evict")}; }

std::string write_state(const state& s) {
  writer all;
  for (const auto& [id, m] : s.memories) {
    writer w;
    w.str("hash", m.hash).str("status", to_string(m.status));
    w.num("revision", m.revision).num("changed", m.changed);
    all.raw(id, std::move(w).done());
  }
  writer w;
  w.raw("memories", std::move(all).done());
  w.kept(s.limit);
  return std::move(w).done();
}

state read_state(payload_reader& r) {
  state s;
  s.limit = limit_of(r);
  for (const auto& [id, raw] : r.keys("memories")) {
    payload_reader one(raw);
    known m{one.str("hash"), status_of(one, "status"), one.num<std::uint64_t>("revision"),
            one.num<version_t>("changed")};
    r.join(one, "memories");
    if (m.status == status::active) {
      s.by_hash.emplace(m.hash, id);
      s.by_change.emplace(m.changed, id);
    }
    s.memories.emplace(id, std::move(m));
  }
  return s;
}

// The initialisers of each fact are evaluated in the order in which they are written.
constexpr codec::format<aggregate>::type fact_types[] = {
  {"memory_space.added", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return added{r.str("id"), r.str("hash"), content_of(r), origin_of(r)};
   }},
  {"memory_space.retold", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return retold{r.str("id"), r.num<std::uint64_t>("revision"), r.optional_strings("topics"),
                   std::string(r.optional("metadata")), origin_of(r)};
   }},
  {"memory_space.updated", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return updated{r.str("id"),       r.num<std::uint64_t>("revision"),
                    r.str("hash"),     content_of(r),
                    word(r, "reason"), origin_of(r)};
   }},
  {"memory_space.status_changed", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return status_changed{r.str("id"),        r.num<std::uint64_t>("revision"),
                           status_of(r, "to"), word(r, "replaced_by"),
                           word(r, "reason"),  origin_of(r)};
   }},
  {"memory_space.removed", lane::folded,
   [](payload_reader& r, const text&) -> fact {
     return removed{r.str("id"), r.flag("evicted")};
   }},
  {"memory_space.cleared", lane::folded,
   [](payload_reader& r, const text&) -> fact { return cleared{limit_of(r)}; }},
  {"memory_space.limit_changed", lane::folded,
   [](payload_reader& r, const text&) -> fact { return limit_changed{limit_of(r)}; }},
  {"memory_space.embedded", lane::tracks,
   [](payload_reader& r, const text&) -> fact { return embedded{embedding_of(r)}; }},
};
static_assert(std::size(fact_types) == std::variant_size_v<fact>);

}  // namespace

const codec::format<aggregate>& aggregate::stored_as() {
  static constexpr codec::format<aggregate> all{fact_types, write, key_of, write_state, read_state};
  return all;
}

}  // namespace recalld::memory_space

#include "events/codec.hpp"

#include <algorithm>
#include <charconv>
#include <span>

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
///   scope.state_changed        {["set":KEYS][,"deleted":[STRING,…]]}
///   scope.retention_changed    {["keep_entries":N][,"ttl_s":N]}
///   scope.id_reserved          {"id":STRING}
///
///   SESSION  {"status":WORD,"created_at":T,"updated_at":T,["closed_at":T,]"created_version":N,
///             ["metadata":VALUE,]"values":KEYS,["contexts":{ID:{"type":STRING,"content":VALUE,
///             "created_at":T,"version":N},…},]"entries":N,"turn_version":N,"turn_ordinal":N,
///             "floor":N,"floor_ordinal":N[,"keep_entries":N][,"ttl_s":N]
///             [,"borrowed":[RANGE,…]][,"forked_from":RANGE]}
///   SCOPE    {"facts":N,"updated_at":T,"values":KEYS[,"keep_entries":N][,"ttl_s":N]}
///   RANGE    {"stream":STREAM,"through":N}
namespace recalld::codec {

namespace {

using json::object_writer;

constexpr std::uint16_t newest_schema = 1;

// -- writing --

/// The writer with our habit of leaving out what says nothing.
struct payload_writer : object_writer {
  void count(std::string_view name, std::uint64_t n) {
    if (n != 0)
      num(name, n);
  }
  void kept(const retention& r) {
    count("keep_entries", r.keep_entries);
    count("ttl_s", r.ttl_s);
  }
  void keys(const json::raw_map& set, const std::vector<std::string>& deleted) {
    if (!set.empty())
      raw("set", json::object_of(set));
    if (!deleted.empty())
      raw("deleted", strings(deleted));
  }
  void stream(std::string_view name, const stream_id& id) {
    std::vector<std::string> words{std::string(to_string(id.kind()))};
    for (auto part : id.parts())
      words.emplace_back(part);
    raw(name, strings(words));
  }

  static std::string strings(const std::vector<std::string>& words) {
    std::string out = "[";
    for (const auto& word : words) {
      if (out.size() > 1)
        out.push_back(',');
      json::append_quoted(out, word);
    }
    out.push_back(']');
    return out;
  }
};

std::string range_text(const borrowed_range& r) {
  payload_writer w;
  w.stream("stream", r.stream);
  w.num("through", r.through);
  return std::move(w).done();
}

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

std::string ranges_text(const std::vector<borrowed_range>& ranges) {
  std::string out = "[";
  for (const auto& r : ranges)
    out.append(out.size() > 1 ? "," : "").append(range_text(r));
  return out.append("]");
}

void append_number(std::string& out, std::string_view name, std::uint64_t n) {
  char digits[24];
  auto end = std::to_chars(digits, digits + sizeof digits, n).ptr;
  out.append(name).append(digits, end);
}

std::string payload(const session::entry_appended& f) {
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

std::string payload(const session::created& f) {
  payload_writer w;
  if (!f.metadata.empty())
    w.raw("metadata", f.metadata);
  w.raw("values", json::object_of(f.values));
  w.kept(f.retention);
  return std::move(w).done();
}
std::string payload(const session::state_changed& f) {
  payload_writer w;
  w.keys(f.set, f.deleted);
  w.count("ttl_s", f.ttl_s);
  return std::move(w).done();
}
std::string payload(const session::context_added& f) {
  payload_writer w;
  w.str("id", f.id).str("type", f.type).raw("content", f.content);
  w.count("ttl_s", f.ttl_s);
  return std::move(w).done();
}
std::string payload(const session::context_removed& f) {
  payload_writer w;
  w.str("id", f.id);
  w.count("ttl_s", f.ttl_s);
  return std::move(w).done();
}
std::string payload(const session::track_appended& f) {
  payload_writer w;
  w.str("track", f.track).raw("item", f.item.view());
  w.count("ttl_s", f.ttl_s);
  return std::move(w).done();
}
std::string payload(const session::retention_changed& f) {
  payload_writer w;
  w.kept(f.value);
  return std::move(w).done();
}
std::string payload(const session::closed& f) {
  payload_writer w;
  w.count("ttl_s", f.ttl_s);
  return std::move(w).done();
}
std::string payload(const session::deleted&) { return "{}"; }
std::string payload(const session::expired&) { return "{}"; }
std::string payload(const session::forked& f) {
  payload_writer w;
  w.stream("source", f.source);
  w.num("through", f.through).raw("state", encode_state(f.at));
  return std::move(w).done();
}
std::string payload(const session::trimmed& f) {
  payload_writer w;
  w.num("through", f.through).raw("state", encode_state(f.at));
  return std::move(w).done();
}
std::string payload(const scope::state_changed& f) {
  payload_writer w;
  w.keys(f.set, f.deleted);
  return std::move(w).done();
}
std::string payload(const scope::retention_changed& f) {
  payload_writer w;
  w.kept(f.value);
  return std::move(w).done();
}
std::string payload(const scope::id_reserved& f) {
  payload_writer w;
  w.str("id", f.id);
  return std::move(w).done();
}

// -- reading --

/// Reads the members of one object; what is missing or of another type is remembered by name.
class payload_reader {
public:
  explicit payload_reader(std::string_view valid) {
    auto members = json::members(valid, "payload");
    if (members)
      members_ = std::move(*members);
    else
      wrong_ = members.error().message;
  }

  bool good() const noexcept { return wrong_.empty(); }
  const std::string& wrong() const noexcept { return wrong_; }

  /// The raw value; empty when there is none.
  std::string_view optional(std::string_view name) const {
    auto m = std::find_if(members_.begin(), members_.end(),
                          [&](const auto& one) { return one.name == name; });
    return m == members_.end() ? std::string_view{} : m->raw;
  }
  std::string_view raw(std::string_view name) {
    auto value = optional(name);
    if (value.empty())
      miss(name);
    return value;
  }
  std::string str(std::string_view name) {
    auto value = json::as_string(raw(name), name);
    if (!value)
      miss(name);
    return value.value_or("");
  }
  template <class Number>
  Number num(std::string_view name) {
    return number<Number>(raw(name), name);
  }
  std::uint64_t count(std::string_view name) {
    auto value = optional(name);
    return value.empty() ? 0 : number<std::uint64_t>(value, name);
  }
  retention kept() { return {count("keep_entries"), count("ttl_s")}; }
  json::raw_map keys(std::string_view name) { return keys_of(raw(name), name); }
  json::raw_map optional_keys(std::string_view name) {
    auto value = optional(name);
    return value.empty() ? json::raw_map{} : keys_of(value, name);
  }
  std::vector<std::string> optional_strings(std::string_view name) {
    auto value = optional(name);
    return value.empty() ? std::vector<std::string>{} : strings_of(value, name);
  }
  stream_id stream(std::string_view name);
  borrowed_range range(std::string_view raw, std::string_view name);
  std::vector<borrowed_range> optional_ranges(std::string_view name);
  std::map<std::string, session::context_item, std::less<>> optional_contexts(
    std::string_view name);
  session::status status(std::string_view name);
  session::state session_state(std::string_view name);

private:
  void miss(std::string_view name) {
    if (good())
      wrong_ = "member `" + std::string(name) + "` is missing or wrong";
  }
  template <class Number>
  Number number(std::string_view raw, std::string_view name) {
    Number n = 0;
    auto [stop, failure] = std::from_chars(raw.data(), raw.data() + raw.size(), n);
    if (failure != std::errc{} || stop != raw.data() + raw.size())
      miss(name);
    return n;
  }
  json::raw_map keys_of(std::string_view raw, std::string_view name) {
    json::raw_map map;
    auto members = json::members(raw, name);
    if (!members) {
      miss(name);
      return map;
    }
    for (auto& m : *members)
      map.emplace(std::move(m.name), m.raw);
    return map;
  }
  std::vector<std::string> strings_of(std::string_view raw, std::string_view name) {
    std::vector<std::string> words;
    auto elements = json::elements(raw, name);
    if (!elements)
      miss(name);
    else
      for (auto element : *elements)
        if (auto word = json::as_string(element, name))
          words.push_back(std::move(*word));
        else
          miss(name);
    return words;
  }
  /// Takes over what went wrong further inside.
  void join(const payload_reader& inner, std::string_view name) {
    if (!inner.good())
      miss(name);
  }

  std::vector<json::member> members_;
  std::string wrong_;
};

stream_id payload_reader::stream(std::string_view name) {
  auto words = strings_of(raw(name), name);
  for (auto kind : {stream_kind::session, stream_kind::scope}) {
    if (words.empty() || words.front() != to_string(kind))
      continue;
    return stream_id(kind, std::vector<std::string_view>(words.begin() + 1, words.end()));
  }
  miss(name);
  return {};
}

borrowed_range payload_reader::range(std::string_view raw, std::string_view name) {
  payload_reader r(raw);
  borrowed_range range{r.stream("stream"), r.num<version_t>("through")};
  join(r, name);
  return range;
}

std::vector<borrowed_range> payload_reader::optional_ranges(std::string_view name) {
  std::vector<borrowed_range> ranges;
  auto value = optional(name);
  if (value.empty())
    return ranges;
  auto elements = json::elements(value, name);
  if (!elements)
    miss(name);
  else
    for (auto element : *elements)
      ranges.push_back(range(element, name));
  return ranges;
}

std::map<std::string, session::context_item, std::less<>> payload_reader::optional_contexts(
  std::string_view name) {
  std::map<std::string, session::context_item, std::less<>> items;
  for (const auto& [id, value] : optional_keys(name)) {
    payload_reader r(value);
    items.emplace(id, session::context_item{r.str("type"), std::string(r.raw("content")),
                                            r.num<time_us_t>("created_at"),
                                            r.num<version_t>("version")});
    join(r, name);
  }
  return items;
}

session::status payload_reader::status(std::string_view name) {
  using session::status;
  auto word = str(name);
  for (auto s : {status::absent, status::open, status::closed, status::deleted, status::expired})
    if (word == to_string(s))
      return s;
  miss(name);
  return status::absent;
}

session::state read_session(payload_reader& r) {
  session::state s;
  s.status = r.status("status");
  s.created_at = r.num<time_us_t>("created_at");
  s.updated_at = r.num<time_us_t>("updated_at");
  if (!r.optional("closed_at").empty())
    s.closed_at = r.num<time_us_t>("closed_at");
  s.created_version = r.num<version_t>("created_version");
  s.metadata = r.optional("metadata");
  s.values = r.keys("values");
  s.contexts = r.optional_contexts("contexts");
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

session::state payload_reader::session_state(std::string_view name) {
  payload_reader r(raw(name));
  auto s = read_session(r);
  join(r, name);
  return s;
}

tl::unexpected<error> unreadable(std::string_view what, std::string_view why) {
  return fail(errc::corrupt, std::string(what).append(": ").append(why));
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
  auto stop = in.find_first_of("\"\\");
  if (stop == std::string_view::npos || in[stop] != '"')
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
bool read_entry(const text& payload, session::entry_appended& f) {
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

session::entry_appended read_entry(payload_reader& r, const text& payload) {
  session::entry_appended f;
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

struct fact_type {
  std::string_view name;
  recalld::lane lane;
  any_fact (*read)(payload_reader& r, const text& payload);
};

// The initialisers of each entry are evaluated in the order in which they are written.
constexpr fact_type session_facts[] = {
  {"session.created", lane::folded,
   [](payload_reader& r, const text&) -> any_fact {
     session::created f;
     f.metadata = r.optional("metadata");
     f.values = r.keys("values");
     f.retention = r.kept();
     return session::fact{std::move(f)};
   }},
  {"session.entry_appended", lane::entries,
   [](payload_reader& r, const text& payload) -> any_fact {
     return session::fact{read_entry(r, payload)};
   }},
  {"session.state_changed", lane::folded,
   [](payload_reader& r, const text&) -> any_fact {
     return session::fact{session::state_changed{r.optional_keys("set"),
                                                 r.optional_strings("deleted"), r.count("ttl_s")}};
   }},
  {"session.context_added", lane::folded,
   [](payload_reader& r, const text&) -> any_fact {
     return session::fact{session::context_added{r.str("id"), r.str("type"),
                                                 std::string(r.raw("content")), r.count("ttl_s")}};
   }},
  {"session.context_removed", lane::folded,
   [](payload_reader& r, const text&) -> any_fact {
     return session::fact{session::context_removed{r.str("id"), r.count("ttl_s")}};
   }},
  {"session.track_appended", lane::tracks,
   [](payload_reader& r, const text& payload) -> any_fact {
     return session::fact{
       session::track_appended{r.str("track"), payload.slice(r.raw("item")), r.count("ttl_s")}};
   }},
  {"session.retention_changed", lane::folded,
   [](payload_reader& r, const text&) -> any_fact {
     return session::fact{session::retention_changed{r.kept()}};
   }},
  {"session.closed", lane::folded,
   [](payload_reader& r, const text&) -> any_fact {
     return session::fact{session::closed{r.count("ttl_s")}};
   }},
  {"session.deleted", lane::folded,
   [](payload_reader&, const text&) -> any_fact { return session::fact{session::deleted{}}; }},
  {"session.expired", lane::folded,
   [](payload_reader&, const text&) -> any_fact { return session::fact{session::expired{}}; }},
  {"session.forked", lane::folded,
   [](payload_reader& r, const text&) -> any_fact {
     return session::fact{
       session::forked{r.stream("source"), r.session_state("state"), r.num<version_t>("through")}};
   }},
  {"session.trimmed", lane::folded,
   [](payload_reader& r, const text&) -> any_fact {
     return session::fact{session::trimmed{r.num<version_t>("through"), r.session_state("state")}};
   }},
};
static_assert(std::size(session_facts) == std::variant_size_v<session::fact>);

constexpr fact_type scope_facts[] = {
  {"scope.state_changed", lane::folded,
   [](payload_reader& r, const text&) -> any_fact {
     return scope::fact{
       scope::state_changed{r.optional_keys("set"), r.optional_strings("deleted")}};
   }},
  {"scope.retention_changed", lane::folded,
   [](payload_reader& r, const text&) -> any_fact {
     return scope::fact{scope::retention_changed{r.kept()}};
   }},
  // No state remembers these ids, so they lie where waking an aggregate does not meet them.
  {"scope.id_reserved", lane::tracks,
   [](payload_reader& r, const text&) -> any_fact {
     return scope::fact{scope::id_reserved{r.str("id")}};
   }},
};
static_assert(std::size(scope_facts) == std::variant_size_v<scope::fact>);

constexpr const fact_type& entry_type = session_facts[1];

const fact_type* find_type(std::string_view name) {
  for (std::span<const fact_type> list :
       {std::span<const fact_type>(session_facts), std::span<const fact_type>(scope_facts)})
    for (const auto& type : list)
      if (type.name == name)
        return &type;
  return nullptr;
}

const fact_type& type_of(const session::fact& f) { return session_facts[f.index()]; }
const fact_type& type_of(const scope::fact& f) { return scope_facts[f.index()]; }

/// The key under which a fact is found, empty for most.
std::string key_of(const session::fact& f, version_t version) {
  if (auto* entry = std::get_if<session::entry_appended>(&f))
    return fact_key::entry(entry->life, entry->id);
  if (auto* item = std::get_if<session::track_appended>(&f))
    return fact_key::track_item(item->track, version);
  return {};
}
std::string key_of(const scope::fact&, version_t) { return {}; }

}  // namespace

encoded encode(const any_fact& fact, version_t version) {
  return std::visit(
    [version](const auto& f) {
      const auto& type = type_of(f);
      return encoded{type.name, newest_schema, type.lane, key_of(f, version),
                     std::visit([](const auto& one) { return payload(one); }, f)};
    },
    fact);
}

result<any_fact> decode(std::string_view type, std::uint16_t schema, const text& payload) {
  if (type == entry_type.name && schema == newest_schema) {
    session::entry_appended f;
    if (read_entry(payload, f))
      return session::fact{std::move(f)};
  }
  auto* known = find_type(type);
  if (known == nullptr || schema > newest_schema)
    return fail(errc::unavailable, "fact " + std::string(type) + " of schema "
                                     + std::to_string(schema) + " is newer than this program");
  if (schema == 0)
    return unreadable(type, "there is no schema 0");
  if (auto valid = json::validate(payload.view(), "payload"); !valid)
    return unreadable(type, valid.error().message);
  payload_reader r(payload.view());
  auto fact = r.good() ? known->read(r, payload) : any_fact{};
  if (!r.good())
    return unreadable(type, r.wrong());
  return fact;
}

std::string encode_state(const session::state& s) {
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
    w.raw("borrowed", ranges_text(s.borrowed));
  if (s.forked_from)
    w.raw("forked_from", range_text(*s.forked_from));
  return std::move(w).done();
}

std::string encode_state(const scope::state& s) {
  payload_writer w;
  w.num("facts", s.facts).num("updated_at", s.updated_at);
  w.raw("values", json::object_of(s.values));
  w.kept(s.retention);
  return std::move(w).done();
}

result<session::state> decode_session_state(std::string_view text) {
  if (auto valid = json::validate(text, "state"); !valid)
    return unreadable("session state", valid.error().message);
  payload_reader r(text);
  auto s = read_session(r);
  if (!r.good())
    return unreadable("session state", r.wrong());
  return s;
}

result<scope::state> decode_scope_state(std::string_view text) {
  if (auto valid = json::validate(text, "state"); !valid)
    return unreadable("scope state", valid.error().message);
  payload_reader r(text);
  scope::state s;
  s.facts = r.num<version_t>("facts");
  s.updated_at = r.num<time_us_t>("updated_at");
  s.values = r.keys("values");
  s.retention = r.kept();
  if (!r.good())
    return unreadable("scope state", r.wrong());
  return s;
}

std::vector<std::string_view> fact_types() {
  std::vector<std::string_view> names;
  for (const auto& type : session_facts)
    names.push_back(type.name);
  for (const auto& type : scope_facts)
    names.push_back(type.name);
  return names;
}

}  // namespace recalld::codec

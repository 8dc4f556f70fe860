#include "events/session.hpp"

#include <algorithm>
#include <set>

#include "events/aggregates.hpp"
#include "events/envelope.hpp"

namespace recalld::session {

namespace {

constexpr time_us_t us_per_s = 1'000'000;

template <class... Fs>
struct overloaded : Fs... {
  using Fs::operator()...;
};

std::string path(std::string_view list, std::size_t index, std::string_view member = {}) {
  std::string out(list);
  out.append("[").append(std::to_string(index)).append("]");
  if (!member.empty())
    out.append(".").append(member);
  return out;
}

/// Checks a role, a type or a track name.
result<void> check_word(std::string_view word, std::string_view field) {
  if (word.size() > word_bytes_max)
    return fail_field(std::string(field), "must have at most 128 bytes");
  return check_id(word, field);
}

std::size_t bytes_of(const json::raw_map& map) {
  std::size_t sum = 0;
  for (const auto& [key, value] : map)
    sum += key.size() + value.size();
  return sum;
}

/// Bytes that a session's keys and values take once `delta` is merged.
std::size_t merged_bytes(const json::raw_map& map, const json::raw_map& delta) {
  auto sum = bytes_of(map) + bytes_of(delta);
  for (const auto& [key, value] : delta)
    if (auto old = map.find(key); old != map.end())
      sum -= key.size() + old->second.size();
  return sum;
}

std::size_t bytes_of(std::string_view id, const context_item& item) {
  return id.size() + item.type.size() + item.content.size();
}

/// `raw` (an object without white space around it) with this `id` as its first member, in place of
/// any that it has. The rest is looked at only where there may be one.
text with_id(const text& raw, std::string_view id) {
  auto whole = raw.view();
  std::string out;
  out.reserve(whole.size() + id.size() + 16);
  out.append(R"({"id":)");
  json::append_quoted(out, id);
  if (whole.find(R"("id")") == std::string_view::npos
      && whole.find(R"(\u)") == std::string_view::npos) {
    auto rest = whole.substr(1);
    if (rest.find_first_not_of(" \t\r\n") != rest.find('}'))
      out.push_back(',');
    return out.append(rest);
  }
  if (auto members = json::members(whole, {}))
    for (const auto& m : *members)
      if (m.name != "id") {
        out.push_back(',');
        json::append_quoted(out, m.name);
        out.append(":").append(m.raw);
      }
  return out.append("}");
}

std::vector<borrowed_range> above(std::vector<borrowed_range> ranges, version_t floor) {
  std::erase_if(ranges, [floor](const borrowed_range& r) { return r.through <= floor; });
  return ranges;
}

/// One decision in the making.
class deliberation {
public:
  deliberation(const state& s, const context& ctx, const stream_id& self)
    : s_(s), ctx_(ctx), self_(self) {}

  using outcome = result<aggregate::decision>;

  outcome operator()(const create& c) {
    if (s_.readable(ctx_.now)) {
      if (c.return_existing)
        return done();
      return fail(errc::already_exists, "the session exists");
    }
    auto metadata = json::trim(c.metadata);
    if (!metadata.empty() && json::kind_of(metadata) != json::kind::object)
      return fail_field("metadata", "must be an object");
    if (metadata.size() > entry_bytes_max)
      return fail_field("metadata", "must have at most 262144 bytes");
    if (auto fits = check_state(c.state, {}); !fits)
      return fail(std::move(fits.error()));
    if (alive())
      add(expired{});
    add(created{std::string(metadata), c.state.session, ctx_.policy});
    add_foreign(c.state);
    return done();
  }

  outcome operator()(const append& c) {
    if (c.entries.empty() && c.delta.empty() && c.delta.temp.empty())
      return fail_field("entries", "must not be empty unless there is a state delta");
    if (c.entries.size() > entries_per_append_max)
      return fail_field("entries", "must be at most 500");
    for (std::size_t i = 0; i < c.entries.size(); ++i)
      if (auto good = check_entry(c.entries[i], i); !good)
        return fail(std::move(good.error()));
    if (auto open = writable(); !open)
      return fail(std::move(open.error()));
    if (auto fits = check_state(c.delta, s_.values); !fits)
      return fail(std::move(fits.error()));
    add_entries(c.entries);
    add_delta(c.delta);
    return done();
  }

  outcome operator()(const update_state& c) {
    if (auto open = writable(); !open)
      return fail(std::move(open.error()));
    if (auto fits = check_state(c.delta, s_.values); !fits)
      return fail(std::move(fits.error()));
    add_delta(c.delta);
    return done();
  }

  outcome operator()(const delete_state_keys& c) {
    for (std::size_t i = 0; i < c.keys.size(); ++i)
      for (auto prefix : {"app:", "user:", "temp:"})
        if (c.keys[i].starts_with(prefix))
          return fail_field(path("keys", i), "must be a key of the session itself");
    if (auto open = writable(); !open)
      return fail(std::move(open.error()));
    std::set<std::string> known;
    for (const auto& key : c.keys)
      if (s_.values.contains(key))
        known.insert(key);
    if (!known.empty())
      add_write(state_changed{{}, {known.begin(), known.end()}, ctx_.policy.ttl_s});
    return done();
  }

  outcome operator()(const add_context& c) {
    auto id = c.id.empty() ? uuid_v7(ctx_.now, ctx_.random) : c.id;
    if (auto good = check_id(id, "id"); !good)
      return fail(std::move(good.error()));
    if (auto good = check_word(c.type, "type"); !good)
      return fail(std::move(good.error()));
    auto content = json::trim(c.content);
    if (content.empty())
      return fail_field("content", "must not be empty");
    if (auto open = writable(); !open)
      return fail(std::move(open.error()));
    auto old = s_.contexts.find(id);
    if (old != s_.contexts.end() && old->second.type == c.type && old->second.content == content)
      return done();
    auto bytes = id.size() + c.type.size() + content.size();
    for (const auto& [other, item] : s_.contexts)
      bytes += other == id ? 0 : bytes_of(other, item);
    if (bytes > contexts_bytes_max)
      return fail_field("content", "would take the session's contexts over 4 MiB");
    add_write(context_added{std::move(id), c.type, std::string(content), ctx_.policy.ttl_s});
    return done();
  }

  outcome operator()(const remove_context& c) {
    if (auto good = check_id(c.id, "id"); !good)
      return fail(std::move(good.error()));
    if (auto open = writable(); !open)
      return fail(std::move(open.error()));
    if (s_.contexts.contains(c.id))
      add_write(context_removed{c.id, ctx_.policy.ttl_s});
    return done();
  }

  outcome operator()(const append_track& c) {
    if (auto good = check_word(c.track, "track"); !good)
      return fail(std::move(good.error()));
    if (c.items.empty())
      return fail_field("items", "must not be empty");
    if (c.items.size() > entries_per_append_max)
      return fail_field("items", "must be at most 500");
    for (std::size_t i = 0; i < c.items.size(); ++i) {
      if (c.items[i].empty())
        return fail_field(path("items", i), "must be a JSON value");
      if (c.items[i].size() > entry_bytes_max)
        return fail_field(path("items", i), "must have at most 262144 bytes");
    }
    if (auto open = writable(); !open)
      return fail(std::move(open.error()));
    for (const auto& item : c.items)
      add_write(track_appended{c.track, std::string(json::trim(item)), ctx_.policy.ttl_s});
    return done();
  }

  outcome operator()(const close&) {
    auto open = writable();
    if (!open && open.error().code == errc::closed)
      return done();
    if (!open)
      return fail(std::move(open.error()));
    add_write(closed{ctx_.policy.ttl_s});
    return done();
  }

  outcome operator()(const remove&) {
    if (alive() || s_.status == status::expired)
      add(deleted{});
    return done();
  }

  outcome operator()(const expire&) {
    if (alive() && !s_.readable(ctx_.now))
      add(expired{});
    return done();
  }

  outcome operator()(const begin_fork& c) {
    if (s_.readable(ctx_.now))
      return fail(errc::already_exists, "the session exists");
    if (ctx_.version != 0)
      return fail(errc::rejected, "a fork needs an id that was never used before");
    if (c.source.empty() || c.source == self_ || c.source.kind() != stream_kind::session
        || c.source.parts().front() != self_.parts().front())
      return fail_field("source", "must be another session of the same tenant");
    if (c.at == 0 || c.at < c.origin.floor)
      return fail_field("version", "must be one that the original still remembers");
    if (c.origin.status == status::expired)
      return fail(errc::expired, "the original's time to live was over");
    if (c.origin.status != status::open && c.origin.status != status::closed)
      return fail(errc::not_found, "the original did not exist at that version");
    forked f{c.source, c.origin, c.at};
    f.at.status = status::open;
    f.at.closed_at = 0;
    f.at.retention = ctx_.policy;
    f.at.floor_ordinal = c.origin.entries;
    f.at.forked_from = borrowed_range{c.source, c.at};
    f.at.borrowed = above(std::move(f.at.borrowed), c.origin.floor);
    if (c.at > c.origin.floor)
      f.at.borrowed.push_back({c.source, c.at});
    add(std::move(f));
    return done();
  }

  outcome operator()(const trim& c) {
    auto shared = s_.borrowed.empty() ? 0 : s_.borrowed.back().through;
    if (!alive() || c.through > ctx_.version || c.through <= s_.floor || c.through < shared
        || c.through < s_.created_version)
      return done();
    if (c.at.created_version != s_.created_version)
      return fail_field("at", "must be a state of the session's present life");
    add(trimmed{c.through, c.at});
    return done();
  }

private:
  outcome done() { return std::move(out_); }

  /// It exists as far as the log says; its time may be over.
  bool alive() const { return s_.status == status::open || s_.status == status::closed; }

  result<void> writable() const {
    if (s_.status == status::absent || s_.status == status::deleted)
      return fail(errc::not_found, "there is no such session");
    if (!s_.readable(ctx_.now))
      return fail(errc::expired, "the session's time to live is over");
    if (s_.status == status::closed)
      return fail(errc::closed, "the session is closed");
    return {};
  }

  static result<void> check_entry(const entry& e, std::size_t i) {
    if (e.partial)
      return {};
    if (e.raw.size() > entry_bytes_max)
      return fail_field(path("entries", i), "must have at most 262144 bytes");
    if (e.raw.empty() || json::kind_of(e.raw.view()) != json::kind::object)
      return fail_field(path("entries", i), "must be an object");
    if (auto good = check_word(e.role, "role"); !good)
      return fail_field(path("entries", i, "role"), std::move(good.error().message));
    if (e.id.empty())
      return {};
    if (auto good = check_id(e.id, "id"); !good)
      return fail_field(path("entries", i, "id"), std::move(good.error().message));
    return {};
  }

  static result<void> check_state(const state_delta& delta, const json::raw_map& present) {
    if (!delta.session.empty() && merged_bytes(present, delta.session) > state_bytes_max)
      return fail_field("state", "would take the session's state over 4 MiB");
    if (bytes_of(delta.app) > state_bytes_max || bytes_of(delta.user) > state_bytes_max)
      return fail_field("state", "must have at most 4 MiB");
    return {};
  }

  void add(fact f) { out_.facts.push_back(std::move(f)); }

  /// Adds a fact that refreshes the time to live: under the present retention.
  void add_write(fact f) {
    follow_policy();
    add(std::move(f));
  }

  void follow_policy() {
    if (out_.facts.empty() && s_.retention != ctx_.policy)
      add(retention_changed{ctx_.policy});
  }

  version_t next_version() const { return ctx_.version + out_.facts.size() + 1; }

  bool seen_before(const std::string& id) const {
    return !ctx_.known.empty() && ctx_.known.contains(fact_key::entry(s_.created_version, id));
  }

  void add_entries(const std::vector<entry>& entries) {
    std::set<std::string_view> ids;
    auto ordinal = s_.entries;
    auto turn_version = s_.turn_version;
    auto turn_ordinal = s_.turn_ordinal;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const auto& e = entries[i];
      if (e.partial)
        continue;
      if (!e.id.empty() && (seen_before(e.id) || (entries.size() > 1 && !ids.insert(e.id).second)))
        continue;
      follow_policy();
      ++ordinal;
      if (e.role == "user") {
        turn_version = next_version();
        turn_ordinal = ordinal;
      }
      auto id = e.id.empty() ? uuid_v7(ctx_.now, ctx_.random, static_cast<std::uint32_t>(i)) : e.id;
      auto raw = e.raw.slice(json::trim(e.raw.view()));
      if (e.id.empty())
        raw = with_id(raw, id);
      add(entry_appended{std::move(id), e.role, ordinal, turn_version, turn_ordinal, std::move(raw),
                         s_.created_version, ctx_.policy.ttl_s});
    }
  }

  void add_delta(const state_delta& delta) {
    // Keys of other scopes alone leave an empty fact here, too: it holds the command's receipt and
    // refreshes the time to live.
    bool elsewhere = !delta.app.empty() || !delta.user.empty();
    if (!delta.session.empty() || (elsewhere && out_.facts.empty()))
      add_write(state_changed{delta.session, {}, ctx_.policy.ttl_s});
    add_foreign(delta);
  }

  void add_foreign(const state_delta& delta) {
    auto key = self_.parts();
    if (key.size() < 3)
      return;
    if (!delta.app.empty())
      out_.foreign.push_back(
        {app_stream(key[0], key[1]), {scope::fact{scope::state_changed{delta.app, {}}}}});
    if (!delta.user.empty())
      out_.foreign.push_back(
        {user_stream(key[0], key[1], key[2]), {scope::fact{scope::state_changed{delta.user, {}}}}});
  }

  const state& s_;
  const context& ctx_;
  const stream_id& self_;
  aggregate::decision out_;
};

/// A life ends: nothing of it is left, the fact itself is all there is to know.
void end(state& s, status how, const envelope& at) {
  s = state{};
  s.status = how;
  s.updated_at = at.time;
  s.floor = at.version - 1;
}

/// What a fact does to the state.
struct folding {
  state& s;
  const envelope& at;

  void operator()(const created& f) const {
    s = state{};
    s.status = status::open;
    s.created_at = s.updated_at = at.time;
    s.created_version = at.version;
    s.floor = at.version - 1;
    s.metadata = f.metadata;
    s.values = f.values;
    s.retention = f.retention;
  }
  void operator()(const entry_appended& f) const {
    s.entries = f.ordinal;
    s.turn_version = f.turn_version;
    s.turn_ordinal = f.turn_ordinal;
    s.updated_at = at.time;
  }
  void operator()(const state_changed& f) const {
    for (const auto& key : f.deleted)
      s.values.erase(key);
    for (const auto& [key, value] : f.set)
      s.values.insert_or_assign(key, value);
    s.updated_at = at.time;
  }
  void operator()(const context_added& f) const {
    s.contexts.insert_or_assign(f.id, context_item{f.type, f.content, at.time, at.version});
    s.updated_at = at.time;
  }
  void operator()(const context_removed& f) const {
    s.contexts.erase(f.id);
    s.updated_at = at.time;
  }
  void operator()(const track_appended&) const { s.updated_at = at.time; }
  void operator()(const retention_changed& f) const {
    s.retention = f.value;
    s.updated_at = at.time;
  }
  void operator()(const closed&) const {
    s.status = status::closed;
    s.closed_at = s.updated_at = at.time;
  }
  void operator()(const deleted&) const { end(s, status::deleted, at); }
  void operator()(const expired&) const { end(s, status::expired, at); }
  void operator()(const forked& f) const {
    s = f.at;
    s.created_at = s.updated_at = at.time;
  }
  void operator()(const trimmed& f) const {
    s.floor = f.through;
    s.floor_ordinal = f.at.entries;
    s.borrowed = above(std::move(s.borrowed), f.through);
  }
};

// -- base64 --

bool is_base64_digit(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+'
         || c == '/';
}

/// RFC 4648 with padding; unused bits of the last digit are not looked at.
bool is_base64(std::string_view s) {
  if (s.size() % 4 != 0)
    return false;
  for (int padding = 0; padding < 2 && s.ends_with('='); ++padding)
    s.remove_suffix(1);
  return std::all_of(s.begin(), s.end(), is_base64_digit);
}

/// Cheap: an object is looked into only where its first name may be `$bytes`.
bool may_be_bytes(std::string_view raw) {
  if (json::kind_of(raw) != json::kind::object)
    return false;
  auto name = raw.find('"');
  return name != std::string_view::npos
         && (raw.substr(name + 1).starts_with('$') || raw.substr(name + 1).starts_with('\\'));
}

bool is_value(std::string_view raw) {
  if (!may_be_bytes(raw))
    return true;
  auto members = json::members(raw, {});
  if (!members || members->size() != 1 || members->front().name != "$bytes")
    return members.has_value();
  auto digits = json::as_string(members->front().raw, {});
  return digits && is_base64(*digits);
}

}  // namespace

std::string_view to_string(status s) noexcept {
  switch (s) {
    case status::absent: return "absent";
    case status::open: return "open";
    case status::closed: return "closed";
    case status::deleted: return "deleted";
    case status::expired: return "expired";
  }
  return "unknown";
}

time_us_t state::expires_at() const noexcept {
  if (retention.ttl_s == 0)
    return 0;
  return updated_at + static_cast<time_us_t>(std::min(retention.ttl_s, ttl_s_max)) * us_per_s;
}

bool state::readable(time_us_t now) const noexcept {
  if (status != status::open && status != status::closed)
    return false;
  return retention.ttl_s == 0 || now < expires_at();
}

bool visible(const state& s, const entry_appended& e) noexcept {
  auto keep = s.retention.keep_entries;
  if (keep == 0 || s.entries <= keep)
    return true;
  auto hidden = s.entries - keep;
  if (e.turn_ordinal == 0)
    return e.ordinal > hidden;
  return e.turn_ordinal > hidden || e.turn_ordinal == s.turn_ordinal;
}

std::uint64_t trim_due(const state& s) noexcept {
  auto keep = s.retention.keep_entries;
  if (keep == 0 || s.entries <= s.floor_ordinal)
    return 0;
  return (s.entries - s.floor_ordinal) / 2 > keep ? keep : 0;
}

result<state_delta> split_scopes(json::raw_map delta, std::string_view field) {
  state_delta out;
  const std::pair<std::string_view, json::raw_map*> scopes[] = {
    {"app:", &out.app}, {"user:", &out.user}, {"temp:", &out.temp}, {"", &out.session}};
  for (auto& [key, value] : delta) {
    auto name = std::string(field).append(".").append(key.substr(0, id_bytes_max));
    auto scope = std::find_if(std::begin(scopes), std::end(scopes),
                              [&](const auto& one) { return key.starts_with(one.first); });
    auto plain = key.substr(scope->first.size());
    if (auto good = check_id(plain, name); !good)
      return fail(std::move(good.error()));
    if (!is_value(value))
      return fail_field(std::move(name), "must hold base64 where it says `$bytes`");
    scope->second->emplace(std::move(plain), std::move(value));
  }
  return out;
}

// -- the aggregate --

result<aggregate::decision> aggregate::decide(const state& s, const command& c, const context& ctx,
                                              const stream_id& self) {
  return std::visit(deliberation(s, ctx, self), c);
}

void aggregate::evolve(state& s, const fact& f, const envelope& at) {
  std::visit(folding{s, at}, f);
}

std::vector<std::string> aggregate::lookups(const state& s, const command& c) {
  std::vector<std::string> keys;
  auto* wish = std::get_if<append>(&c);
  if (wish == nullptr || s.borrowed.empty())
    return keys;
  for (const auto& e : wish->entries)
    if (!e.id.empty() && !e.partial)
      keys.push_back(fact_key::entry(s.created_version, e.id));
  return keys;
}

std::optional<base_mark> aggregate::base_of(const fact& f, version_t version) {
  using base = std::optional<base_mark>;
  return std::visit(overloaded{
                      [&](const deleted&) {
                        return base({version - 1, false, {}});
                      },
                      [&](const expired&) {
                        return base({version - 1, false, {}});
                      },
                      [&](const forked& fork) {
                        return base({fork.through, true, fork.at.borrowed});
                      },
                      [&](const trimmed& cut) {
                        return base({cut.through, true, above(cut.at.borrowed, cut.through)});
                      },
                      [](const auto&) { return base(); },
                    },
                    f);
}

state aggregate::carried_state(const fact& f) {
  if (auto* fork = std::get_if<forked>(&f))
    return fork->at;
  state s;
  if (auto* cut = std::get_if<trimmed>(&f)) {
    s = cut->at;
    s.floor = cut->through;
    s.floor_ordinal = cut->at.entries;
    s.borrowed = above(std::move(s.borrowed), cut->through);
  }
  return s;
}

std::size_t aggregate::footprint(const state& s) noexcept {
  constexpr std::size_t node = 96;  // What a map spends on a node with two strings, roughly.
  auto sum = sizeof(state) + s.metadata.size() + bytes_of(s.values) + s.values.size() * node;
  for (const auto& [id, item] : s.contexts)
    sum += bytes_of(id, item) + node + sizeof(context_item);
  for (const auto& range : s.borrowed)
    sum += range.stream.bytes().size() + sizeof(range);
  return sum;
}

}  // namespace recalld::session

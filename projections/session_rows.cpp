#include "projections/projections.hpp"

/// The rows of a session: one in `sessions`, one a key, one a context item.
namespace recalld::projections {

namespace sessions {

const table spec{
  .name = "sessions",
  .version = 2,
  .columns = {{"stream", column_type::integer},
              {"tenant"},
              {"app"},
              {"user"},
              {"session"},
              {"status"},
              {"created_at", column_type::integer},
              {"updated_at", column_type::integer},
              {"closed_at", column_type::integer, true},
              {"expires_at", column_type::integer, true},
              {"version", column_type::integer},
              {"entries", column_type::integer},
              {"floor", column_type::integer},
              {"metadata"},
              {"forked_from", column_type::text, true},
              {"updated_slot", column_type::integer},
              {"expires_slot", column_type::integer, true}},
  .key_columns = 1,
  .indexes =
    {{.name = "by_app", .columns = {tenant, app, updated_slot, updated_at, session}, .kept = 3},
     {.name = "by_user",
      .columns = {tenant, app, user, updated_slot, updated_at, session},
      .kept = 4},
     {.name = "by_expiry",
      .columns = {expires_slot, expires_at},
      .only_where_set = expires_slot,
      .kept = 1}},
};

}  // namespace sessions

namespace session_state {

const table spec{
  .name = "session_state",
  .version = 1,
  .columns = {{"stream", column_type::integer}, {"key"}, {"value"}},
  .key_columns = 2,
};

}  // namespace session_state

namespace contexts {

const table spec{
  .name = "contexts",
  .version = 1,
  .columns = {{"stream", column_type::integer},
              {"id"},
              {"type"},
              {"content"},
              {"created_at", column_type::integer},
              {"version", column_type::integer}},
  .key_columns = 2,
};

}  // namespace contexts

namespace {

std::int64_t whole(std::uint64_t n) { return static_cast<std::int64_t>(n); }

using cells = std::vector<std::pair<std::size_t, value>>;

/// Adds when the session expires.
void add_expiry(cells& to, const envelope& at, std::uint64_t ttl_s) {
  session::state s;
  s.updated_at = at.time;
  s.retention.ttl_s = ttl_s;
  to.emplace_back(sessions::expires_at, ttl_s == 0 ? value{} : value{s.expires_at()});
  to.emplace_back(sessions::expires_slot,
                  ttl_s == 0 ? value{} : value{sessions::slot_of(s.expires_at())});
}

/// `{"app":…,"user":…,"session":…,"version":N}`
value origin_text(const std::optional<borrowed_range>& from) {
  if (!from)
    return {};
  auto key = from->stream.parts();
  key.resize(4);
  json::object_writer w;
  w.str("app", key[1]).str("user", key[2]).str("session", key[3]).num("version", from->through);
  return std::move(w).done();
}

row session_row(const envelope& at, const session::state& s) {
  auto key = at.stream.parts();
  key.resize(4);
  return {whole(at.stream_no),
          std::string(key[0]),
          std::string(key[1]),
          std::string(key[2]),
          std::string(key[3]),
          std::string(to_string(s.status)),
          s.created_at,
          s.updated_at,
          s.status == session::status::closed ? value{s.closed_at} : value{},
          s.retention.ttl_s == 0 ? value{} : value{s.expires_at()},
          whole(at.version),
          whole(s.entries),
          whole(s.floor),
          s.metadata.empty() ? "{}" : s.metadata,
          origin_text(s.forked_from),
          sessions::slot_of(s.updated_at),
          s.retention.ttl_s == 0 ? value{} : value{sessions::slot_of(s.expires_at())}};
}

/// What one fact of a session does to its rows.
struct session_projection {
  const envelope& at;
  std::vector<change>& out;
  std::int64_t stream = whole(at.stream_no);

  /// The session was written to: once for every fact, so nothing here may cost more.
  void touch(std::uint64_t ttl_s, cells more = {}) {
    more.reserve(more.size() + 5);
    more.emplace_back(sessions::updated_at, at.time);
    more.emplace_back(sessions::updated_slot, sessions::slot_of(at.time));
    more.emplace_back(sessions::version, whole(at.version));
    if (ttl_s != 0)
      add_expiry(more, at, ttl_s);
    out.push_back(set{&sessions::spec, {stream}, std::move(more)});
  }
  void erase_all() {
    for (auto* t : {&sessions::spec, &session_state::spec, &contexts::spec})
      out.push_back(erase{t, {stream}});
  }
  void evolve_from_nothing(const session::fact& f) {
    session::state s;
    session::aggregate::evolve(s, f, at);
    project_state(at, s, out);
  }

  void operator()(const session::created& f) { evolve_from_nothing(f); }
  void operator()(const session::entry_appended& f) {
    touch(f.ttl_s, {{sessions::entries, whole(f.ordinal)}});
  }
  void operator()(const session::state_changed& f) {
    for (const auto& key : f.deleted)
      out.push_back(erase{&session_state::spec, {stream, key}});
    for (const auto& [key, raw] : f.set)
      out.push_back(put{&session_state::spec, {stream, key, raw}});
    touch(f.ttl_s);
  }
  void operator()(const session::context_added& f) {
    out.push_back(
      put{&contexts::spec, {stream, f.id, f.type, f.content, at.time, whole(at.version)}});
    touch(f.ttl_s);
  }
  void operator()(const session::context_removed& f) {
    out.push_back(erase{&contexts::spec, {stream, f.id}});
    touch(f.ttl_s);
  }
  void operator()(const session::track_appended& f) { touch(f.ttl_s); }
  void operator()(const session::retention_changed& f) {
    cells changed;
    add_expiry(changed, at, f.value.ttl_s);
    touch(0, std::move(changed));
  }
  void operator()(const session::closed& f) {
    touch(f.ttl_s, {{sessions::status, std::string(to_string(session::status::closed))},
                    {sessions::closed_at, at.time}});
  }
  void operator()(const session::deleted&) { erase_all(); }
  void operator()(const session::expired&) { erase_all(); }
  void operator()(const session::forked& f) { evolve_from_nothing(f); }
  void operator()(const session::trimmed& f) {
    out.push_back(
      set{&sessions::spec,
          {stream},
          {{sessions::version, whole(at.version)}, {sessions::floor, whole(f.through)}}});
  }
};

}  // namespace

namespace sessions {

void project(const envelope& at, const session::fact& fact, std::vector<change>& out) {
  std::visit(session_projection{at, out}, fact);
}

}  // namespace sessions

void project_state(const envelope& at, const session::state& s, std::vector<change>& out) {
  if (s.status != session::status::open && s.status != session::status::closed)
    return;
  auto stream = whole(at.stream_no);
  out.push_back(put{&sessions::spec, session_row(at, s)});
  for (const auto& [key, raw] : s.values)
    out.push_back(put{&session_state::spec, {stream, key, raw}});
  for (const auto& [id, item] : s.contexts)
    out.push_back(put{&contexts::spec,
                      {stream, id, item.type, item.content, item.created_at, whole(item.version)}});
}

}  // namespace recalld::projections

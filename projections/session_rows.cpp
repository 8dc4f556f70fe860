#include "projections/projections.hpp"

/// The rows of a session: one in `sessions`, one a key, one a context item.
namespace recalld::projections {

namespace sessions {

const table spec{
  .name = "sessions",
  .version = 1,
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
              {"forked_from", column_type::text, true}},
  .key_columns = 1,
  .indexes = {{"by_app", {tenant, app, updated_at, session}},
              {"by_user", {tenant, app, user, updated_at, session}},
              {"by_expiry", {expires_at}, expires_at}},
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

value expiry(const envelope& at, std::uint64_t ttl_s) {
  session::state s;
  s.updated_at = at.time;
  s.retention.ttl_s = ttl_s;
  return ttl_s == 0 ? value{} : value{s.expires_at()};
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
          origin_text(s.forked_from)};
}

/// What one fact of a session does to its rows.
struct session_projection {
  const envelope& at;
  std::vector<change>& out;
  std::int64_t stream = whole(at.stream_no);

  using cells = std::vector<std::pair<std::size_t, value>>;

  /// The session was written to: once for every fact, so nothing here may cost more.
  void touch(std::uint64_t ttl_s, cells more = {}) {
    more.emplace_back(sessions::updated_at, at.time);
    more.emplace_back(sessions::version, whole(at.version));
    if (ttl_s != 0)
      more.emplace_back(sessions::expires_at, expiry(at, ttl_s));
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
    touch(0, {{sessions::expires_at, expiry(at, f.value.ttl_s)}});
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

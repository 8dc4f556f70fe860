#include "api/answers.hpp"

#include <algorithm>
#include <map>
#include <set>

namespace recalld::api {

json::object_writer written(const actors::committed& done) {
  json::object_writer out;
  out.num("version", done.version)
    .num("position", done.position)
    .str("recorded_at", format_time(done.time))
    .boolean("duplicate", done.duplicate);
  return out;
}

result<std::shared_ptr<const session::state>> readable(const actors::stream_view& view,
                                                       time_us_t now) {
  const auto* held = std::get_if<std::shared_ptr<const session::state>>(&view.state);
  if (held == nullptr || *held == nullptr)
    return fail(errc::not_found, "there is no such session");
  const auto& state = *held;
  if (state->readable(now))
    return state;
  if (state->status == session::status::absent || state->status == session::status::deleted)
    return fail(errc::not_found, "there is no such session");
  return fail(errc::expired, "the session's time to live is over");
}

const scope::state& scope_of(const actors::stream_view& view) {
  static const scope::state nothing;
  const auto* held = std::get_if<std::shared_ptr<const scope::state>>(&view.state);
  return held == nullptr || *held == nullptr ? nothing : **held;
}

void add_session(json::object_writer& out, const session_key& key, const session::state& s,
                 version_t version) {
  out.str("app", key.app)
    .str("user", key.user)
    .str("session", key.session)
    .num("version", version)
    .str("status", session::to_string(s.status))
    .str("created_at", format_time(s.created_at))
    .str("updated_at", format_time(s.updated_at));
  if (s.closed_at != 0)
    out.str("closed_at", format_time(s.closed_at));
  if (const auto expires = s.expires_at(); expires != 0)
    out.str("expires_at", format_time(expires));
  out.num("entries_total", s.entries).raw("metadata", s.metadata.empty() ? "{}" : s.metadata);
  if (s.forked_from) {
    auto of = s.forked_from->stream.parts();
    of.resize(4);
    json::object_writer from;
    from.str("app", of[1]).str("user", of[2]).str("session", of[3]);
    out.raw("forked_from", std::move(from.num("version", s.forked_from->through)).done());
  }
}

std::string merged_state(const session::state& s, const scope::state& app,
                         const scope::state& user) {
  json::raw_map merged = s.values;
  for (const auto& [key, value] : app.values)
    merged.insert_or_assign("app:" + key, value);
  for (const auto& [key, value] : user.values)
    merged.insert_or_assign("user:" + key, value);
  return json::object_of(merged);
}

std::string entry_json(const session::recorded_entry& e) {
  json::object_writer out;
  out.num("version", e.version)
    .num("position", e.position)
    .str("recorded_at", format_time(e.time))
    .raw("entry", e.fact.raw.view());
  return std::move(out).done();
}

result<std::string> message_json(const session::recorded_entry& e) {
  const auto members = json::members(e.fact.raw.view(), "entry");
  if (!members)
    return fail(errc::corrupt,
                "entry " + e.fact.id + " cannot be read: " + members.error().message);
  const auto raw = [&](std::string_view name, std::string_view otherwise) {
    const auto found = std::find_if(members->begin(), members->end(),
                                    [&](const json::member& m) { return m.name == name; });
    return found == members->end() ? otherwise : found->raw;
  };
  json::object_writer out;
  out.num("version", e.version)
    .str("id", e.fact.id)
    .str("role", e.fact.role)
    .raw("content", raw("content", "null"))
    .str("timestamp", format_time(e.time))
    .raw("metadata", raw("metadata", "{}"));
  return std::move(out).done();
}

void add_paging(json::object_writer& out, const window_request& wanted, const session::page& page) {
  out.boolean("more_before", page.more_before).boolean("more_after", page.more_after);
  const auto cursors = cursors_of(wanted, page);
  if (!cursors.next.empty())
    out.str("next_cursor", cursors.next);
  if (!cursors.previous.empty())
    out.str("previous_cursor", cursors.previous);
}

array_writer& array_writer::raw(std::string_view value) {
  if (out_.size() > 1)
    out_.push_back(',');
  out_ += value;
  return *this;
}

std::string array_writer::done() && {
  out_.push_back(']');
  return std::move(out_);
}

std::vector<entry_outcome> outcomes_of(const std::vector<session::entry>& entries,
                                       const actors::committed& done) {
  std::set<std::string_view> named;
  for (const auto& entry : entries)
    if (!entry.id.empty())
      named.insert(entry.id);
  // Entries that came without an id got a fresh one each, in order.
  std::map<std::string_view, version_t> recorded_under;
  std::vector<std::pair<std::string_view, version_t>> fresh;
  for (const auto& r : done.facts)
    if (r->lane == lane::entries) {
      const auto id = fact_key::entry_id(r->key);
      if (named.contains(id))
        recorded_under.emplace(id, r->at.version);
      else
        fresh.emplace_back(id, r->at.version);
    }
  std::map<std::string_view, version_t> before;
  for (const auto& [key, version] : done.known)
    before.emplace(fact_key::entry_id(key), version);
  std::vector<entry_outcome> outcomes;
  outcomes.reserve(entries.size());
  std::set<std::string_view> seen;
  std::size_t next_fresh = 0;
  for (const auto& entry : entries) {
    auto& outcome = outcomes.emplace_back();
    outcome.id = entry.id;
    outcome.partial = entry.partial;
    if (entry.partial)
      continue;
    if (entry.id.empty()) {
      if (next_fresh < fresh.size())
        std::tie(outcome.id, outcome.version) = fresh[next_fresh++];
      continue;
    }
    if (const auto found = recorded_under.find(entry.id); found != recorded_under.end()) {
      outcome.version = found->second;
      outcome.duplicate = !seen.insert(entry.id).second;
      continue;
    }
    outcome.duplicate = true;
    if (const auto known = before.find(entry.id); known != before.end())
      outcome.version = known->second;
  }
  return outcomes;
}

std::string outcomes_json(const std::vector<entry_outcome>& outcomes) {
  array_writer all;
  for (const auto& outcome : outcomes) {
    json::object_writer one;
    if (!outcome.id.empty())
      one.str("id", outcome.id);
    if (outcome.version != 0)
      one.num("version", outcome.version);
    one.boolean("duplicate", outcome.duplicate);
    if (outcome.partial)
      one.boolean("partial", true);
    all.raw(std::move(one).done());
  }
  return std::move(all).done();
}

}  // namespace recalld::api

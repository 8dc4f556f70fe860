#include "cli/export_lines.hpp"

#include <algorithm>

namespace recalld::cli {

namespace {

std::string session_line(const stream_id& stream, const session::state& s) {
  const auto parts = stream.parts();
  json::object_writer w;
  w.str("tenant", parts[0]).str("app", parts[1]).str("user", parts[2]).str("id", parts[3]);
  if (!s.values.empty())
    w.raw("state", json::object_of(s.values));
  if (!s.metadata.empty() && s.metadata != "{}")
    w.raw("metadata", s.metadata);
  if (!s.contexts.empty()) {
    // Oldest first: adding them again in this order keeps it.
    std::vector<std::pair<version_t, std::string>> items;
    for (const auto& [id, item] : s.contexts) {
      json::object_writer c;
      c.str("id", id).str("type", item.type).raw("content", item.content);
      items.emplace_back(item.version, std::move(c).done());
    }
    std::sort(items.begin(), items.end());
    std::string array = "[";
    for (const auto& [version, item] : items)
      array += (array.size() > 1 ? "," : "") + item;
    w.raw("contexts", array + "]");
  }
  if (s.status == session::status::closed)
    w.boolean("closed", true);
  json::object_writer line;
  line.raw("session", std::move(w).done());
  return std::move(line).done();
}

}  // namespace

result<std::uint64_t> export_session(session_past& past,
                                     const std::function<void(const std::string&)>& line) {
  auto m = past.at(past.head());
  if (!m)
    return fail(m.error());
  line(session_line(past.stream(), m->state));
  std::uint64_t count = 0;
  auto done = past.each_entry(*m, [&](const session::recorded_entry& e) {
    json::object_writer w;
    w.raw("entry", e.fact.raw.view());
    line(std::move(w).done());
    ++count;
  });
  if (!done)
    return fail(done.error());
  auto tracks = past.tracks(*m);
  if (!tracks)
    return fail(tracks.error());
  for (const auto& [name, item] : *tracks) {
    json::object_writer w;
    w.str("track", name).raw("item", item);
    line(std::move(w).done());
  }
  return count;
}

std::string export_scope(const stream_id& scope, const json::raw_map& values) {
  const auto parts = scope.parts();
  json::object_writer w;
  w.str("tenant", parts[0]).str("app", parts[1]);
  if (parts.size() > 2)
    w.str("user", parts[2]);
  w.raw("values", json::object_of(values));
  json::object_writer line;
  line.raw("scope", std::move(w).done());
  return std::move(line).done();
}

}  // namespace recalld::cli

#include "cli/session_difference.hpp"

namespace recalld::cli {

namespace {

using kind = difference::kind;

void compare(std::vector<difference>& out, std::string_view what, std::string_view key,
             std::string before, std::string after) {
  if (before == after)
    return;
  const auto how = before.empty() ? kind::added : after.empty() ? kind::removed : kind::changed;
  out.push_back({how, std::string(what), std::string(key), std::move(before), std::move(after)});
}

/// Walks two sorted maps side by side.
template <class Map, class Render>
void compare_maps(std::vector<difference>& out, std::string_view what, const Map& before,
                  const Map& after, Render render) {
  auto b = before.begin();
  auto a = after.begin();
  while (b != before.end() || a != after.end()) {
    const bool only_before = a == after.end() || (b != before.end() && b->first < a->first);
    const bool only_after = b == before.end() || (a != after.end() && a->first < b->first);
    if (only_before) {
      compare(out, what, b->first, render(b->second), {});
      ++b;
    } else if (only_after) {
      compare(out, what, a->first, {}, render(a->second));
      ++a;
    } else {
      compare(out, what, b->first, render(b->second), render(a->second));
      ++b;
      ++a;
    }
  }
}

std::string rendered(const session::context_item& item) {
  json::object_writer w;
  w.str("type", item.type)
    .raw("content", item.content)
    .str("created_at", format_time(item.created_at));
  return std::move(w).done();
}

std::string rendered(const retention& r) {
  json::object_writer w;
  w.num("keep_entries", r.keep_entries).num("ttl_s", r.ttl_s);
  return std::move(w).done();
}

std::string quoted(session::status s) { return json::quote(session::to_string(s)); }

std::string object_or_empty(const std::string& raw) { return raw.empty() ? "{}" : raw; }

}  // namespace

std::string_view to_string(difference::kind k) noexcept {
  switch (k) {
    case kind::added: return "added";
    case kind::changed: return "changed";
    case kind::removed: return "removed";
  }
  return "changed";
}

std::vector<difference> differences(const session::state& before, const session::state& after) {
  std::vector<difference> out;
  compare(out, "status", "", quoted(before.status), quoted(after.status));
  compare(out, "metadata", "", object_or_empty(before.metadata), object_or_empty(after.metadata));
  compare(out, "retention", "", rendered(before.retention), rendered(after.retention));
  compare(out, "entries", "", std::to_string(before.entries), std::to_string(after.entries));
  compare(out, "forgotten_through", "", std::to_string(before.floor), std::to_string(after.floor));
  compare_maps(out, "state", before.values, after.values,
               [](const std::string& raw) { return raw; });
  compare_maps(out, "context", before.contexts, after.contexts,
               [](const session::context_item& item) { return rendered(item); });
  return out;
}

}  // namespace recalld::cli

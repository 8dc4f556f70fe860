#include "actors/searchable_entries.hpp"

#include "actors/entry_sources.hpp"
#include "events/json.hpp"
#include "retrieval/ranking.hpp"
#include "retrieval/words.hpp"

#include <algorithm>

namespace recalld::actors {

namespace {

constexpr std::size_t entries_at_once = 1'000;
// Entries in which so many objects lie in each other are not talk.
constexpr int depth_max = 16;

/// Every text of a JSON value but names of types and ids, in order.
void gather_text(std::string_view raw, int depth, std::string& into) {
  if (depth > depth_max)
    return;
  switch (json::kind_of(raw)) {
    case json::kind::string:
      if (auto s = json::as_string(raw, ""); s && !s->empty())
        (into += into.empty() ? "" : "\n") += *s;
      return;
    case json::kind::array:
      if (const auto all = json::elements(raw, ""))
        for (const auto one : *all)
          gather_text(one, depth + 1, into);
      return;
    case json::kind::object:
      if (const auto all = json::members(raw, ""))
        for (const auto& m : *all)
          if (m.name != "type" && m.name != "id")
            gather_text(m.raw, depth + 1, into);
      return;
    default: return;
  }
}

retrieval::indexed_memory indexed(const session::recorded_entry& e, const std::string& id,
                                  const std::string& session) {
  retrieval::indexed_memory out;
  out.id = id;
  out.session = session;
  out.time = e.time;
  out.speakers.push_back(retrieval::folded(e.fact.role));
  std::string said;
  if (const auto members = json::members(e.fact.raw.view(), ""))
    for (const auto& m : *members) {
      if (m.name == "content")
        gather_text(m.raw, 0, said);
      else if (m.name == "name" && json::kind_of(m.raw) == json::kind::string)
        out.speakers.push_back(retrieval::folded(json::as_string(m.raw, "").value_or("")));
    }
  out.passages = retrieval::passages_of(said);
  return out;
}

/// Ids of the index sort as versions do.
std::string id_of(version_t version) {
  auto digits = std::to_string(version);
  return std::string(20 - digits.size(), '0') + digits;
}

const session::state& state_of(const stream_view& view) {
  static const session::state none;
  const auto* s = std::get_if<std::shared_ptr<const session::state>>(&view.state);
  return s == nullptr ? none : **s;
}

}  // namespace

result<void> searchable_entries::refresh(storage::log_reader& log, const stream_view& view) {
  const auto& s = state_of(view);
  if (life_ != s.created_version) {
    *this = searchable_entries();
    life_ = s.created_version;
  }
  if (through_ >= view.version)
    return {};  // Overtaken by a later view: what is newer is left out of the answer.
  auto source = log_source::over(log, view);
  if (!source)
    return fail(source.error());
  const auto bottom = std::max({through_, s.floor, s.created_version});
  const auto session = to_string(view.stream);
  for (auto after = bottom; after < view.version;) {
    const auto some = source->forth(after, entries_at_once);
    if (!some)
      return fail(some.error());
    for (const auto& e : *some) {
      const auto id = id_of(e.version);
      index_.put(indexed(e, id, session));
      places_.insert_or_assign(id, place{e.version, e.time, e.fact.ordinal, e.fact.turn_ordinal});
    }
    if (some->size() < entries_at_once)
      break;
    after = some->back().version;
  }
  through_ = view.version;
  return {};
}

result<found_entries> searchable_entries::search(storage::log_reader& log,
                                                 const search_entries& wish) const {
  const auto& s = state_of(wish.view);
  const auto bottom = std::max(s.floor, s.created_version);
  const auto& all = index_.memories();
  const auto wanted = [&](retrieval::memory_index::slot_t slot) {
    const auto& at = places_.at(all[slot].id);
    session::entry_appended e;
    e.ordinal = at.ordinal;
    e.turn_ordinal = at.turn_ordinal;
    return at.version > bottom && at.version <= wish.view.version && session::visible(s, e) && (!wish.since || at.time >= *wish.since)
           && (!wish.until || at.time <= *wish.until);
  };
  found_entries out;
  out.version = wish.view.version;
  auto hits = retrieval::rank(index_, wish.query, retrieval::parameters{}, wanted, wish.skip,
                              wish.limit + 1);
  std::erase_if(hits, [&](const retrieval::hit& h) { return h.score < wish.min_score; });
  out.more = hits.size() > wish.limit;
  if (out.more)
    hits.pop_back();
  auto source = log_source::over(log, wish.view);
  if (!source)
    return fail(source.error());
  for (const auto& hit : hits) {
    const auto version = places_.at(all[hit.slot].id).version;
    auto entry = source->back(version + 1, 1);
    if (!entry)
      return fail(entry.error());
    // Forgotten a moment ago.
    if (!entry->empty() && entry->front().version == version)
      out.hits.push_back({hit.score, std::move(entry->front())});
  }
  return out;
}

std::size_t searchable_entries::footprint() const {
  return index_.footprint() + places_.size() * (sizeof(place) + 96);
}

}  // namespace recalld::actors

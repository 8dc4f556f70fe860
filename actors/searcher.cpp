#include "actors/searcher.hpp"

#include "events/base64.hpp"
#include "projections/memory_words.hpp"
#include "projections/projections.hpp"
#include "retrieval/ranking.hpp"
#include "storage/replay.hpp"

#include <caf/all.hpp>

#include <algorithm>
#include <unordered_set>

namespace recalld::actors {

namespace {

namespace words = projections::memory_words;
namespace vectors = projections::memory_vectors;

constexpr std::size_t rows_at_once = 1'000;
// From so many facts on, reading all rows in order costs less than reading those that changed.
constexpr version_t facts_at_most = 4'096;

/// The id of the memory that a fact is about; empty: of none, or of all.
struct memory_of {
  std::string operator()(const memory_space::embedded& f) const { return f.what.id; }
  std::string operator()(const memory_space::cleared&) const { return {}; }
  std::string operator()(const memory_space::limit_changed&) const { return {}; }
  template <class Fact>
  std::string operator()(const Fact& f) const {
    return f.id;
  }
};

result<std::vector<projections::row>> row_of(storage::log_reader& log,
                                             const projections::table& table, stream_no_t stream,
                                             const std::string& id) {
  projections::row_query query;
  query.table = &table;
  query.equals = {static_cast<std::int64_t>(stream), id};
  query.limit = 1;
  return log.rows(query);
}

}  // namespace

// -- searchable_memories --

const memory_space::traits& searchable_memories::traits_of(
  retrieval::memory_index::slot_t slot) const {
  static const memory_space::traits none;
  const auto found = traits_.find(index_.memories()[slot].id);
  return found == traits_.end() ? none : found->second;
}

std::size_t searchable_memories::footprint() const {
  constexpr std::size_t of_one = sizeof(memory_space::traits) + 96;
  return index_.footprint() + vectors_.footprint() + traits_bytes_ + traits_.size() * of_one;
}

void searchable_memories::put(const projections::row& row) {
  auto m = words::indexed(row);
  auto traits = words::traits_of(row);
  if (auto known = traits_.find(m.id); known != traits_.end())
    traits_bytes_ -= known->second.metadata.size();
  traits_bytes_ += traits.metadata.size();
  index_.put(m);
  newest_created_ = std::max(newest_created_, words::first_told(row));
  traits_.insert_or_assign(std::move(m.id), std::move(traits));
}

void searchable_memories::drop(const std::string& id) {
  index_.erase(id);
  vectors_.erase(id);
  if (auto known = traits_.find(id); known != traits_.end()) {
    traits_bytes_ -= known->second.metadata.size();
    traits_.erase(known);
  }
}

void searchable_memories::put_vector(const projections::row& row, const std::string& model) {
  const auto text_at = [&](std::size_t c) -> const std::string& {
    return std::get<std::string>(row[c]);
  };
  const auto& id = text_at(vectors::id);
  vectors_.erase(id);
  if (text_at(vectors::model) == model && index_.contains(id))
    if (const auto vector = from_base64(text_at(vectors::vector)))
      vectors_.put(id, *vector);
}

result<void> searchable_memories::load_vectors(storage::log_reader& log, stream_no_t stream,
                                               const std::string& model) {
  projections::row_query query;
  query.table = &vectors::spec;
  query.equals = {static_cast<std::int64_t>(stream)};
  query.limit = rows_at_once;
  for (;;) {
    auto rows = log.rows(query);
    if (!rows)
      return fail(rows.error());
    for (const auto& row : *rows)
      put_vector(row, model);
    if (rows->size() < rows_at_once)
      return {};
    query.after = {rows->back()[vectors::id]};
  }
}

result<void> searchable_memories::load(storage::log_reader& log, stream_no_t stream,
                                       const std::string& model) {
  *this = searchable_memories();
  projections::row_query query;
  query.table = &words::spec;
  query.index = words::by_creation;
  query.equals = {static_cast<std::int64_t>(stream)};
  query.limit = rows_at_once;
  query.where.push_back({words::active, 1, 1, false});
  for (;;) {
    auto rows = log.rows(query);
    if (!rows)
      return fail(rows.error());
    for (const auto& row : *rows)
      put(row);
    if (rows->size() < rows_at_once)
      return model.empty() ? result<void>() : load_vectors(log, stream, model);
    const auto& last = rows->back();
    query.after = {last[words::created_version], last[words::stream], last[words::id]};
  }
}

result<std::optional<std::vector<std::string>>> searchable_memories::touched(
  storage::log_reader& log, stream_no_t stream, version_t head) {
  std::vector<std::string> ids;
  std::unordered_set<std::string> seen;
  for (auto after = version_; after < head;) {
    auto facts = log.stream_forth(stream, after, rows_at_once);
    if (!facts)
      return fail(facts.error());
    if (facts->empty())
      return fail(errc::corrupt, "facts of a stream are missing");
    after = facts->back().at.version;
    for (const auto& f : *facts) {
      // What is forgotten by now is named by the fact that made it so.
      if (f.blanked)
        continue;
      auto any = codec::decode(f);
      if (!any)
        return fail(any.error());
      const auto* fact = std::get_if<memory_space::fact>(&*any);
      if (fact == nullptr)
        return fail(errc::corrupt, "a fact of another kind among memories");
      if (std::holds_alternative<memory_space::cleared>(*fact))
        return std::optional<std::vector<std::string>>();
      auto id = std::visit(memory_of{}, *fact);
      if (!id.empty() && seen.insert(id).second)
        ids.push_back(std::move(id));
    }
  }
  return std::optional(std::move(ids));
}

result<bool> searchable_memories::renew(storage::log_reader& log, stream_no_t stream,
                                        const std::string& id, const std::string& model) {
  auto rows = row_of(log, words::spec, stream, id);
  if (!rows)
    return fail(rows.error());
  if (rows->empty() || !words::is_active(rows->front())) {
    drop(id);
    return true;
  }
  const auto& row = rows->front();
  if (index_.find(id) == retrieval::memory_index::none && words::first_told(row) < newest_created_)
    return false;  // It was restored, and belongs between others.
  put(row);
  if (model.empty())
    return true;
  rows = row_of(log, vectors::spec, stream, id);
  if (!rows)
    return fail(rows.error());
  for (const auto& of_it : *rows)
    put_vector(of_it, model);
  return true;
}

result<void> searchable_memories::refresh(storage::log_reader& log,
                                          const storage::stream_position& at,
                                          const std::string& model) {
  if (version_ == at.head)
    return {};
  bool whole = version_ == 0 || version_ < at.base || at.head - version_ > facts_at_most;
  if (!whole) {
    const auto ids = touched(log, at.stream_no, at.head);
    if (!ids)
      return fail(ids.error());
    whole = !*ids;
    if (!whole)
      for (const auto& id : **ids) {
        const auto kept_order = renew(log, at.stream_no, id, model);
        if (!kept_order)
          return fail(kept_order.error());
        if (whole = !*kept_order; whole)
          break;
      }
  }
  if (whole)
    if (auto loaded = load(log, at.stream_no, model); !loaded)
      return loaded;
  version_ = at.head;
  return {};
}

// -- searcher_state --

void searcher_state::start(surroundings_ptr around, std::shared_ptr<storage::log_reader> log) {
  around_ = std::move(around);
  log_ = std::move(log);
}

result<const searchable_memories*> searcher_state::fresh(const stream_id& stream,
                                                         const storage::stream_position& at) {
  auto& memories = owners_.of(stream);
  if (auto done = memories.refresh(*log_, at, around_->embedding_model); !done) {
    owners_.forget();
    return fail(done.error());
  }
  owners_.weigh(around_->limits.index_bytes / 2);
  return &memories;
}

result<found_entries> searcher_state::search(const search_entries& wish) {
  const storage::frozen_view view(*log_);
  if (!view.frozen())
    return fail(view.frozen().error());
  auto& entries = sessions_.of(wish.view.stream);
  if (auto done = entries.refresh(*log_, wish.view); !done) {
    sessions_.forget();
    return fail(done.error());
  }
  sessions_.weigh(around_->limits.index_bytes / 2);
  return entries.search(*log_, wish);
}

result<found_memories> searcher_state::search(const search_memories& wish) {
  const storage::frozen_view view(*log_);
  if (!view.frozen())
    return fail(view.frozen().error());
  return search_frozen(wish);
}

result<found_memories> searcher_state::search_frozen(const search_memories& wish) {
  found_memories out;
  const auto at = log_->find_stream(wish.owner);
  if (!at) {
    if (at.error().code == errc::not_found)
      return out;
    return fail(at.error());
  }
  const auto memories = fresh(wish.owner, *at);
  if (!memories)
    return fail(memories.error());
  const auto& all = **memories;
  out.version = all.version();
  const auto wanted = [&](retrieval::memory_index::slot_t slot) {
    return wish.filter.empty() || wish.filter.wants(all.traits_of(slot));
  };
  const retrieval::parameters by;
  std::vector<retrieval::outside_signal> outside;
  if (!wish.vector.empty()) {
    auto& closeness = outside.emplace_back();
    closeness.weight = by.closeness;
    const auto near = all.vectors().nearest(
      wish.vector, by.nearest, [&](const std::string& id) { return wanted(all.index().find(id)); });
    for (const auto& [id, cosine] : near)
      closeness.values.emplace_back(all.index().find(id), cosine);
  }
  // One more tells whether there is another page.
  auto hits =
    retrieval::rank(all.index(), wish.query, by, wanted, wish.skip, wish.limit + 1, outside);
  std::erase_if(hits, [&](const retrieval::hit& h) { return h.score < wish.min_score; });
  out.more = hits.size() > wish.limit;
  if (out.more)
    hits.pop_back();
  for (const auto& hit : hits) {
    auto row = row_of(*log_, projections::memories::spec, at->stream_no,
                      all.index().memories()[hit.slot].id);
    if (!row)
      return fail(row.error());
    if (row->empty())
      return fail(errc::corrupt, "a memory that is indexed has no row");
    out.hits.push_back({hit.score, std::move(row->front())});
  }
  return out;
}

caf::behavior searcher(caf::stateful_actor<searcher_state>* self, surroundings_ptr around,
                       std::shared_ptr<storage::log_reader> log) {
  self->state.start(std::move(around), std::move(log));
  return {
    [self](const search_memories& wish) { return reply<found_memories>{self->state.search(wish)}; },
    [self](const search_entries& wish) { return reply<found_entries>{self->state.search(wish)}; },
  };
}

}  // namespace recalld::actors

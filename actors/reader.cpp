#include "actors/reader.hpp"

#include "actors/entry_sources.hpp"
#include "events/fold.hpp"
#include "projections/projections.hpp"

#include <caf/all.hpp>

#include <algorithm>
#include <unordered_map>

namespace recalld::actors {

namespace {

constexpr std::size_t chunk = 512;

std::vector<shared_fact> share(std::vector<recorded> facts) {
  std::vector<shared_fact> out;
  out.reserve(facts.size());
  for (auto& f : facts)
    out.push_back(std::make_shared<const recorded>(std::move(f)));
  return out;
}

/// The last facts of the paged lanes in (`after`, `through`], in version order.
result<std::vector<recorded>> last_of_paged_lanes(storage::log_reader& log, stream_no_t stream,
                                                  version_t after, version_t through) {
  std::vector<recorded> out;
  for (std::uint8_t l = 1; l < lane_count; ++l) {
    auto last = log.lane_back(stream, static_cast<lane>(l), through + 1, 1);
    if (!last)
      return fail(last.error());
    if (!last->empty() && last->front().at.version > after)
      out.push_back(std::move(last->front()));
  }
  std::sort(out.begin(), out.end(),
            [](const recorded& a, const recorded& b) { return a.at.version < b.at.version; });
  return out;
}

/// Folds what lies in (`into.version`, `through`]: every folded fact, and of each paged lane only
/// the last, which carries the running counts.
template <class Aggregate>
result<void> fold_stretch(storage::log_reader& log, stream_no_t stream, versioned<Aggregate>& into,
                          version_t through) {
  auto paged = last_of_paged_lanes(log, stream, into.version, through);
  if (!paged)
    return fail(paged.error());
  auto next_paged = paged->begin();
  const auto fold_paged_below = [&](version_t version) -> result<void> {
    for (; next_paged != paged->end() && next_paged->at.version < version; ++next_paged)
      if (auto r = fold(into, *next_paged); !r)
        return r;
    return {};
  };
  auto after = into.version;
  for (;;) {
    auto facts = log.lane_forth(stream, lane::folded, after, chunk);
    if (!facts)
      return fail(facts.error());
    for (const auto& f : *facts) {
      if (f.at.version > through)
        break;
      if (auto r = fold_paged_below(f.at.version); !r)
        return r;
      if (auto r = fold(into, f); !r)
        return r;
    }
    if (facts->size() < chunk || facts->back().at.version > through)
      break;
    after = facts->back().at.version;
  }
  return fold_paged_below(through + 1);
}

}  // namespace

void reader_state::start(surroundings_ptr around, std::shared_ptr<storage::log_reader> log) {
  around_ = std::move(around);
  log_ = std::move(log);
}

template <class Aggregate>
result<woken> reader_state::load(const wake& wish) {
  versioned<Aggregate> state;
  woken out;
  const auto found = log_->find_stream(wish.stream);
  if (!found && found.error().code != errc::not_found)
    return fail(found.error());
  if (!found) {
    if (wish.at > 0)
      return fail(errc::not_found, "there is no such version");
    out.state = std::make_shared<const typename Aggregate::state>();
    return out;
  }
  const auto through = wish.at == 0 ? found->head : wish.at;
  if (through > found->head)
    return fail(errc::not_found, "the newest version is " + std::to_string(found->head));

  std::optional<storage::snapshot> snapshot;
  if (around_->cache)
    snapshot = around_->cache->get(wish.stream);
  if (snapshot && snapshot->version <= through && snapshot->version >= found->base) {
    if (auto s = codec::decode_state<Aggregate>(snapshot->state)) {
      state.state = std::move(*s);
      state.version = snapshot->version;
      state.time = snapshot->time;
    }
  }
  if (state.version == 0 && found->base > 0) {
    if (through < found->base)
      return fail(errc::not_found,
                  "history up to version " + std::to_string(found->base) + " is forgotten");
    if (found->base_fact > 0) {
      auto fact = log_->stream_forth(found->stream_no, found->base_fact - 1, 1);
      if (!fact)
        return fail(fact.error());
      if (fact->empty() || fact->front().at.version != found->base_fact)
        return fail(errc::corrupt, "the base of " + to_string(wish.stream) + " is missing");
      auto any = codec::decode(fact->front());
      if (!any)
        return fail(any.error());
      const auto* f = std::get_if<typename Aggregate::fact>(&*any);
      if (f == nullptr)
        return fail(errc::corrupt, "the base of " + to_string(wish.stream) + " is of another kind");
      state.state = Aggregate::carried_state(*f);
      state.time = fact->front().at.time;
    }
    state.version = found->base;
  }
  const auto from = state.version;
  if (auto r = fold_stretch(*log_, found->stream_no, state, through); !r)
    return fail(r.error());
  out.stream_no = found->stream_no;
  out.version = through;
  out.time = state.time;
  out.since_snapshot = static_cast<std::size_t>(through - from);
  out.state = std::make_shared<const typename Aggregate::state>(std::move(state.state));
  return out;
}

template <class... As>
result<woken> reader_state::load_any(aggregate_list<As...>, const wake& wish) {
  result<woken> out = fail(errc::corrupt, "a stream of an unknown kind");
  (void)((wish.stream.kind() == As::kind && (out = load<As>(wish), true)) || ...);
  return out;
}

result<woken> reader_state::wake_stream(const wake& wish) { return load_any(aggregates{}, wish); }

result<found_receipt> reader_state::receipt(const find_receipt& wish) {
  namespace receipts = projections::receipts;
  found_receipt out;
  auto at = log_->find_stream(wish.stream);
  if (!at) {
    if (at.error().code == errc::not_found)
      return out;
    return fail(at.error());
  }
  projections::row_query query;
  query.table = &receipts::spec;
  query.equals = {wish.command_id, static_cast<std::int64_t>(at->stream_no)};
  query.limit = 1;
  auto rows = log_->rows(query);
  if (!rows)
    return fail(rows.error());
  if (rows->empty())
    return out;
  out.row = std::move(rows->front());
  const auto first =
    static_cast<version_t>(std::get<std::int64_t>(out.row[receipts::first_version]));
  const auto last = static_cast<version_t>(std::get<std::int64_t>(out.row[receipts::last_version]));
  auto facts =
    log_->stream_forth(at->stream_no, first - 1, static_cast<std::size_t>(last - first + 1));
  if (!facts)
    return fail(facts.error());
  for (auto& f : *facts)
    if (!f.blanked && f.at.version > at->base && f.at.version <= last)
      out.facts.push_back(std::make_shared<const recorded>(std::move(f)));
  return out;
}

result<found_keys> reader_state::keys(const find_keys& wish) {
  found_keys out;
  auto at = log_->find_stream(wish.stream);
  if (!at) {
    if (at.error().code == errc::not_found)
      return out;
    return fail(at.error());
  }
  stream_view view;
  view.stream_no = at->stream_no;
  view.version = at->head;
  auto borrowing = std::make_shared<session::state>();
  borrowing->borrowed = wish.borrowed;
  view.state = std::shared_ptr<const session::state>(std::move(borrowing));
  auto source = log_source::over(*log_, view);
  if (!source)
    return fail(source.error());
  for (const auto& key : wish.keys) {
    auto version = source->find(key);
    if (!version)
      return fail(version.error());
    if (*version > 0)
      out.emplace(key, *version);
  }
  return out;
}

result<session::page> reader_state::window(const cut_window& wish) {
  auto source = log_source::over(*log_, wish.view);
  if (!source)
    return fail(source.error());
  const auto& state = *std::get<std::shared_ptr<const session::state>>(wish.view.state);
  return session::cut(wish.window, state, wish.view.version, *source);
}

result<std::vector<shared_fact>> reader_state::tail(const read_tail& wish) {
  auto facts =
    log_->lane_back(wish.view.stream_no, lane::entries, wish.view.version + 1, wish.limit);
  if (!facts)
    return fail(facts.error());
  std::reverse(facts->begin(), facts->end());
  return share(std::move(*facts));
}

result<std::vector<shared_fact>> reader_state::key_range(const read_keys& wish) {
  auto source = std::vector<std::pair<stream_no_t, version_t>>{};
  if (const auto* s = std::get_if<std::shared_ptr<const session::state>>(&wish.view.state))
    for (const auto& range : (*s)->borrowed) {
      auto at = log_->find_stream(range.stream);
      if (!at)
        return fail(at.error());
      source.emplace_back(at->stream_no, range.through);
    }
  source.emplace_back(wish.view.stream_no, wish.view.version);
  std::vector<recorded> out;
  for (const auto& [no, through] : source) {
    if (out.size() >= wish.limit)
      break;
    auto facts = log_->by_key_prefix(no, wish.prefix, wish.after, wish.limit - out.size());
    if (!facts)
      return fail(facts.error());
    for (auto& f : *facts)
      if (f.at.version <= through)
        out.push_back(std::move(f));
  }
  return share(std::move(out));
}

result<std::vector<projections::row>> reader_state::rows(const read_rows& wish) {
  return log_->rows(wish.query);
}

result<read_log_answer> reader_state::log_stretch(const read_log& wish) {
  auto page = log_->scan(wish.shard, wish.after, wish.limit);
  if (!page)
    return fail(page.error());
  auto head = log_->head(wish.shard);
  if (!head)
    return fail(head.error());
  read_log_answer out;
  out.through = page->through;
  out.head = *head;
  // What is forgotten is gone at once, even where its bytes still wait to be blanked.
  std::unordered_map<stream_no_t, version_t> bases;
  for (auto& f : page->facts) {
    if (f.blanked)
      continue;
    auto [base, fresh] = bases.try_emplace(f.at.stream_no, 0);
    if (fresh) {
      auto at = log_->find_stream(f.at.stream);
      if (!at)
        return fail(at.error());
      base->second = at->base;
    }
    if (f.at.version > base->second)
      out.facts.push_back(std::make_shared<const recorded>(std::move(f)));
  }
  return out;
}

result<found_trim> reader_state::trim(const find_trim& wish) {
  const auto& state = *std::get<std::shared_ptr<const session::state>>(wish.view.state);
  auto source = log_source::over(*log_, wish.view);
  if (!source)
    return fail(source.error());
  const auto first = session::first_visible(state, wish.view.version, *source);
  if (!first)
    return fail(first.error());
  found_trim out;
  const auto at = log_->find_stream(wish.view.stream);
  if (!at)
    return fail(at.error());
  if (*first <= at->base + 1)
    return out;
  auto then = wake_stream({wish.view.stream, *first - 1});
  if (!then)
    return fail(then.error());
  out.through = *first - 1;
  out.at = std::move(then->state);
  return out;
}

caf::behavior reader(caf::stateful_actor<reader_state>* self, surroundings_ptr around,
                     std::shared_ptr<storage::log_reader> log) {
  self->state.start(std::move(around), std::move(log));
  auto& s = self->state;
  return {
    [&s](const wake& w) { return reply<woken>{s.wake_stream(w)}; },
    [&s](const find_receipt& w) { return reply<found_receipt>{s.receipt(w)}; },
    [&s](const find_keys& w) { return reply<found_keys>{s.keys(w)}; },
    [&s](const cut_window& w) { return reply<session::page>{s.window(w)}; },
    [&s](const read_tail& w) { return reply<std::vector<shared_fact>>{s.tail(w)}; },
    [&s](const read_keys& w) { return reply<std::vector<shared_fact>>{s.key_range(w)}; },
    [&s](const read_rows& w) { return reply<std::vector<projections::row>>{s.rows(w)}; },
    [&s](const read_log& w) { return reply<read_log_answer>{s.log_stretch(w)}; },
    [&s](const find_trim& w) { return reply<found_trim>{s.trim(w)}; },
  };
}

}  // namespace recalld::actors

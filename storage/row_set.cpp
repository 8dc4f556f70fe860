#include "storage/row_set.hpp"

#include "events/checksum.hpp"

#include <algorithm>

namespace recalld::storage {

using projections::row;
using projections::row_query;
using projections::table;
using projections::value;

namespace {

/// The chain that rows with such a key are in; null for tables whose rows are in none.
const std::int64_t* chain_of(std::span<const value> key) {
  return std::get_if<std::int64_t>(&key.front());
}

std::uint64_t hash_of(std::span<const value> key) {
  std::uint64_t hash = 0;
  for (const auto& cell : key) {
    if (const auto* s = std::get_if<std::string>(&cell))
      hash = checksum(*s, hash);
    else if (const auto* n = std::get_if<std::int64_t>(&cell))
      hash = (hash ^ static_cast<std::uint64_t>(*n)) * 0x9e3779b97f4a7c15ull;
  }
  return hash ^ (hash >> 29);
}

}  // namespace

const row_set::table_rows* row_set::rows_of(const table& t) const noexcept {
  for (const auto& rows : tables_)
    if (rows.spec == &t)
      return &rows;
  return nullptr;
}

row_set::table_rows& row_set::made(const table& t) {
  if (const auto* rows = rows_of(t))
    return const_cast<table_rows&>(*rows);
  auto& rows = tables_.emplace_back();
  rows.spec = &t;
  return rows;
}

std::uint32_t row_set::slot_of(const table_rows& rows, std::span<const value> key,
                               std::uint64_t hash) {
  if (rows.buckets.empty())
    return none;
  const auto mask = rows.buckets.size() - 1;
  const auto tag = static_cast<std::uint32_t>(hash >> 32);
  for (auto at = hash & mask;; at = (at + 1) & mask) {
    const auto found = rows.buckets[at];
    if (found.at == none)
      return none;
    if (found.tag == tag && order(key_of(*rows.spec, rows.slots[found.at].cells), key) == 0)
      return found.at;
  }
}

/// Puts a slot into the buckets.
void row_set::file(table_rows& rows, std::uint32_t at) {
  const auto hash = rows.slots[at].hash;
  const auto mask = rows.buckets.size() - 1;
  auto free = hash & mask;
  while (rows.buckets[free].at != none)
    free = (free + 1) & mask;
  rows.buckets[free] = {at, static_cast<std::uint32_t>(hash >> 32)};
}

/// Puts a slot into the buckets and at the head of its chain.
void row_set::link(table_rows& rows, std::uint32_t at) {
  file(rows, at);
  auto& s = rows.slots[at];
  if (const auto* chain = chain_of(s.cells)) {
    auto& head = rows.chains.try_emplace(*chain, none).first->second;
    s.next = head;
    head = at;
  }
}

/// Calls `f(slot)` for every living row whose key may begin with `key`, and for some others.
template <class Rows, class F>
void row_set::each_near(Rows& rows, std::span<const value> key, F&& f) {
  if (key.size() == rows.spec->key_columns) {
    if (const auto at = slot_of(rows, key, hash_of(key)); at != none && rows.slots[at].alive)
      f(rows.slots[at]);
  } else if (const auto* number = chain_of(key)) {
    const auto chain = rows.chains.find(*number);
    for (auto at = chain == rows.chains.end() ? none : chain->second; at != none;
         at = rows.slots[at].next)
      if (rows.slots[at].alive)
        f(rows.slots[at]);
  } else {
    for (auto& s : rows.slots)
      if (s.alive)
        f(s);
  }
}

void row_set::grow(table_rows& rows) {
  if (rows.slots.size() > 1000 && rows.alive < rows.slots.size() / 2) {
    compact(rows);
    return;
  }
  rows.buckets.assign(std::max<std::size_t>(rows.buckets.size() * 2, 64), {});
  for (std::uint32_t at = 0; at < rows.slots.size(); ++at)
    file(rows, at);
}

/// Lets the places of erased rows go.
void row_set::compact(table_rows& rows) {
  std::erase_if(rows.slots, [](const slot& s) { return !s.alive; });
  std::fill(rows.buckets.begin(), rows.buckets.end(), bucket{});
  rows.chains.clear();
  for (std::uint32_t at = 0; at < rows.slots.size(); ++at)
    link(rows, at);
}

void row_set::apply(const projections::change& c) { apply(projections::change(c)); }

void row_set::apply(projections::change&& c) {
  if (auto* p = std::get_if<projections::put>(&c))
    put(*p->table, std::move(p->row));
  else if (auto* n = std::get_if<projections::put_new>(&c))
    put(*n->table, std::move(n->row));
  else if (auto* s = std::get_if<projections::set>(&c)) {
    if (const auto* found = find(*s->table, s->key))
      for (auto& [column, v] : s->cells)
        const_cast<row&>(*found)[column] = std::move(v);
  } else if (auto* e = std::get_if<projections::erase>(&c))
    erase(*e->table, e->key);
}

void row_set::put(const table& t, row&& r) {
  auto& rows = made(t);
  const auto hash = hash_of(key_of(t, r));
  if (const auto found = slot_of(rows, key_of(t, r), hash); found != none) {
    auto& s = rows.slots[found];
    rows.alive += s.alive ? 0 : 1;
    s.alive = true;
    s.cells = std::move(r);
    return;
  }
  if ((rows.slots.size() + 1) * 2 > rows.buckets.size())
    grow(rows);
  const auto at = static_cast<std::uint32_t>(rows.slots.size());
  rows.slots.push_back({std::move(r), hash, none, true});
  link(rows, at);
  ++rows.alive;
}

void row_set::erase(const table& t, const row& key) {
  if (key.empty()) {
    clear(t);
    return;
  }
  auto& rows = made(t);
  each_near(rows, key, [&](slot& s) {
    if (!begins_with(s.cells, key))
      return;
    --rows.alive;
    s.alive = false;
    s.cells.resize(t.key_columns);
  });
}

const row* row_set::find(const table& t, std::span<const value> key) const {
  const auto* rows = rows_of(t);
  const auto at = rows == nullptr ? none : slot_of(*rows, key, hash_of(key));
  return at == none || !rows->slots[at].alive ? nullptr : &rows->slots[at].cells;
}

std::size_t row_set::count(const table& t) const {
  const auto* rows = rows_of(t);
  return rows == nullptr ? 0 : rows->alive;
}

void row_set::clear(const table& t) {
  std::erase_if(tables_, [&](const table_rows& rows) { return rows.spec == &t; });
}

void row_set::take(const table& t, row_set& from) {
  clear(t);
  for (auto& rows : from.tables_)
    if (rows.spec == &t)
      tables_.push_back(std::move(rows));
  from.clear(t);
}

std::vector<row> row_set::rows(const row_query& q) const {
  const auto& t = *q.table;
  const auto path = access_path_of(q);
  const auto& columns = path.order;
  const auto only_where_set = path.only_where_set;

  auto compare = [&](const row& a, const row& b) {
    for (const auto c : columns)
      if (const auto o = order(a[c], b[c]); o != 0)
        return q.descending ? 0 <=> o : o;
    return std::strong_ordering::equal;
  };
  auto wanted = [&](const row& r) {
    if (only_where_set >= 0
        && std::holds_alternative<std::monostate>(r[static_cast<std::size_t>(only_where_set)]))
      return false;
    for (std::size_t i = 0; i < q.equals.size(); ++i)
      if (order(r[columns[i]], q.equals[i]) != 0)
        return false;
    for (const auto& b : q.where) {
      const auto* n = std::get_if<std::int64_t>(&r[b.column]);
      const bool within =
        n != nullptr && (!b.at_least || *n >= *b.at_least) && (!b.at_most || *n <= *b.at_most);
      if (!within && !(b.or_null && std::holds_alternative<std::monostate>(r[b.column])))
        return false;
    }
    if (q.after)
      for (std::size_t i = 0; i < q.after->size(); ++i) {
        const auto o = order(r[columns[q.equals.size() + i]], (*q.after)[i]);
        if (o != 0)
          return q.descending ? o < 0 : o > 0;
        if (i + 1 == q.after->size())
          return false;
      }
    return true;
  };
  std::vector<const row*> found;
  auto consider = [&](const row& r) {
    if (wanted(r))
      found.push_back(&r);
  };
  if (q.index < 0 && !q.equals.empty()) {
    if (const auto* rows = rows_of(t))
      each_near(*rows, q.equals, [&](const slot& s) { consider(s.cells); });
  } else {
    each(t, consider);
  }
  const auto n = std::min(q.limit, found.size());
  std::partial_sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(n), found.end(),
                    [&](const row* a, const row* b) { return compare(*a, *b) < 0; });
  std::vector<row> out;
  for (std::size_t i = 0; i < n; ++i)
    out.push_back(*found[i]);
  return out;
}

}  // namespace recalld::storage

#include "storage/row_set.hpp"

#include <algorithm>

namespace recalld::storage {

using projections::row;
using projections::row_query;
using projections::table;
using projections::value;

namespace {

std::int64_t stream_of(std::span<const value> key) {
  return std::get<std::int64_t>(key.front());
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

const row_set::group* row_set::group_of(const table_rows& rows, std::span<const value> key) {
  const auto found = rows.groups.find(stream_of(key));
  return found == rows.groups.end() ? nullptr : &found->second;
}

void row_set::apply(const projections::change& c) {
  apply(projections::change(c));
}

void row_set::apply(projections::change&& c) {
  if (auto* p = std::get_if<projections::put>(&c))
    put(*p->table, std::move(p->row));
  else if (auto* n = std::get_if<projections::put_new>(&c))
    put(*n->table, std::move(n->row));
  else if (auto* s = std::get_if<projections::set>(&c))
    set(*s->table, s->key, std::move(s->cells));
  else if (auto* e = std::get_if<projections::erase>(&c))
    erase(*e->table, e->key);
}

void row_set::put(const table& t, row&& r) {
  auto& rows = made(t);
  auto& g = rows.groups.try_emplace(stream_of(r), key_less{t.key_columns}).first->second;
  // Keys mostly grow (ids contain the time), so the end is a good guess.
  auto at = g.empty() || g.key_comp()(*g.rbegin(), r) ? g.end() : g.lower_bound(r);
  if (at != g.end() && !g.key_comp()(r, *at)) {
    const_cast<row&>(*at) = std::move(r);  // the same key: its place stays right
    return;
  }
  g.emplace_hint(at, std::move(r));
  ++rows.count;
}

void row_set::set(const table& t, const row& key,
                  std::vector<std::pair<std::size_t, value>>&& cells) {
  if (const auto* found = find(t, key))
    for (auto& [column, v] : cells)
      const_cast<row&>(*found)[column] = std::move(v);
}

void row_set::erase(const table& t, const row& key) {
  auto& rows = made(t);
  if (key.empty()) {
    rows.groups.clear();
    rows.count = 0;
    return;
  }
  const auto found = rows.groups.find(stream_of(key));
  if (found == rows.groups.end())
    return;
  auto& g = found->second;
  auto at = g.lower_bound(std::span<const value>(key));
  while (at != g.end() && begins_with(*at, key)) {
    at = g.erase(at);
    --rows.count;
  }
  if (g.empty())
    rows.groups.erase(found);
}

const row* row_set::find(const table& t, std::span<const value> key) const {
  const auto* rows = rows_of(t);
  const auto* g = rows == nullptr ? nullptr : group_of(*rows, key);
  if (g == nullptr)
    return nullptr;
  const auto at = g->find(key);
  return at == g->end() ? nullptr : &*at;
}

std::size_t row_set::count(const table& t) const {
  const auto* rows = rows_of(t);
  return rows == nullptr ? 0 : rows->count;
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
  std::vector<std::size_t> columns;
  int only_where_set = -1;
  if (q.index >= 0) {
    columns = t.indexes.at(static_cast<std::size_t>(q.index)).columns;
    only_where_set = t.indexes[static_cast<std::size_t>(q.index)].only_where_set;
  }
  for (std::size_t i = 0; i < t.key_columns; ++i)
    columns.push_back(i);

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
      const bool within = n != nullptr && (!b.at_least || *n >= *b.at_least)
                          && (!b.at_most || *n <= *b.at_most);
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
    const auto* rows = rows_of(t);
    if (const auto* g = rows == nullptr ? nullptr : group_of(*rows, q.equals))
      std::for_each(g->begin(), g->end(), consider);
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

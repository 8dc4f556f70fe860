#include "storage/sqlite_rows.hpp"

namespace recalld::storage::sqlite {

using projections::row;
using projections::table;
using projections::value;

void bind_value(statement& s, int at, const value& v) {
  if (const auto* n = std::get_if<std::int64_t>(&v))
    s.integer(at, *n);
  else if (const auto* t = std::get_if<std::string>(&v))
    s.text(at, *t);
  else
    s.null(at);
}

value value_at(const statement& s, int column) {
  switch (s.type_at(column)) {
    case SQLITE_NULL: return {};
    case SQLITE_INTEGER: return s.int_at(column);
    default: return std::string(s.view_at(column));
  }
}

row row_at(const statement& s, const table& t) {
  row out;
  out.reserve(t.columns.size());
  for (std::size_t i = 0; i < t.columns.size(); ++i)
    out.push_back(value_at(s, static_cast<int>(i)));
  return out;
}

namespace {

void bind_all(statement& s, std::span<const value> values, int first = 1) {
  for (const auto& v : values)
    bind_value(s, first++, v);
}

std::string columns_of(const table& t) {
  std::string out;
  for (const auto& c : t.columns)
    out += (out.empty() ? "" : ", ") + sql_name(c.name);
  return out;
}

std::string key_condition(const table& t, std::size_t columns) {
  std::string out;
  for (std::size_t i = 0; i < columns; ++i)
    out += (i ? " AND " : "") + sql_name(t.columns[i].name) + " = ?";
  return columns == 0 ? "1" : out;
}

std::string insert_sql(const table& t, const std::string& name) {
  std::string out = "INSERT INTO " + sql_name(name) + " VALUES(";
  for (std::size_t i = 0; i < t.columns.size(); ++i)
    out += i ? ", ?" : "?";
  return out + ") ON CONFLICT";
}

std::string upsert_sql(const table& t, const std::string& name) {
  if (t.columns.size() == t.key_columns)
    return insert_sql(t, name) + " DO NOTHING";
  std::string key;
  for (std::size_t i = 0; i < t.key_columns; ++i)
    key += (i ? ", " : "") + sql_name(t.columns[i].name);
  std::string cells;
  for (std::size_t i = t.key_columns; i < t.columns.size(); ++i)
    cells += (cells.empty() ? "" : ", ") + sql_name(t.columns[i].name) + " = excluded."
             + sql_name(t.columns[i].name);
  return insert_sql(t, name) + "(" + key + ") DO UPDATE SET " + cells;
}

}  // namespace

// -- row_writer --

void row_writer::know(const table& t) {
  if (knows(t))
    return;
  const auto name = prefix_ + std::string(t.name);
  auto& r = tables_.emplace_back();
  r.spec = &t;
  r.upsert = db_->prepare(upsert_sql(t, name));
  r.insert_new = db_->prepare(insert_sql(t, name) + " DO NOTHING");
  r.select = db_->prepare("SELECT " + columns_of(t) + " FROM " + sql_name(name) + " WHERE "
                          + key_condition(t, t.key_columns));
  for (std::size_t n = 0; n <= t.key_columns; ++n)
    r.erase.push_back(
      db_->prepare("DELETE FROM " + sql_name(name) + " WHERE " + key_condition(t, n)));
}

row_writer::table_rows* row_writer::rows_of(const table& t) noexcept {
  for (auto& r : tables_)
    if (r.spec == &t)
      return &r;
  return nullptr;
}

bool row_writer::knows(const table& t) const noexcept {
  return const_cast<row_writer*>(this)->rows_of(t) != nullptr;
}

bool row_writer::put_new(const table& t, const row& r) {
  auto* rows = rows_of(t);
  if (rows == nullptr)
    return true;
  flush_fresh(*rows);
  if (auto found = rows->gathered.find(key_of(t, r)); found != rows->gathered.end()) {
    if (found->second.what == pending::kind::whole)
      return false;
    write(*rows, found->first, found->second);
    rows->gathered.erase(found);
    --gathered_;
  }
  bind_all(rows->insert_new, r);
  rows->insert_new.run();
  return db_->changes() != 0;
}

void row_writer::undo_put_new(const table& t, const row& r) {
  if (auto* rows = rows_of(t))
    erase_now(*rows, key_of(t, r));
}

void row_writer::erase_now(table_rows& t, std::span<const value> key) {
  auto& s = t.erase[key.size()];
  bind_all(s, key);
  s.run();
}

void row_writer::flush_fresh(table_rows& t) {
  std::stable_sort(t.fresh.begin(), t.fresh.end(), [&](const row& a, const row& b) {
    return row_less{}(key_of(*t.spec, a), key_of(*t.spec, b));
  });
  for (const auto& r : t.fresh) {
    bind_all(t.upsert, r);
    t.upsert.run();
  }
  gathered_ -= t.fresh.size();
  t.fresh.clear();
}

void row_writer::add(projections::change&& c) {
  using kind = pending::kind;
  auto whole = [&](const table& t, row&& r) {
    auto* rows = rows_of(t);
    if (rows == nullptr)
      return;
    flush_fresh(*rows);
    const auto key = key_of(t, r);
    auto at = rows->gathered.lower_bound(key);
    if (at == rows->gathered.end() || row_less{}(key, at->first)) {
      at = rows->gathered.emplace_hint(at, row(key.begin(), key.end()), pending{});
      ++gathered_;
    }
    at->second.what = kind::whole;
    at->second.row = std::move(r);
  };
  if (auto* put = std::get_if<projections::put>(&c)) {
    whole(*put->table, std::move(put->row));
  } else if (auto* fresh = std::get_if<projections::put_new>(&c)) {
    auto* rows = rows_of(*fresh->table);
    if (rows != nullptr && rows->gathered.empty()) {
      rows->fresh.push_back(std::move(fresh->row));
      ++gathered_;
      return;
    }
    whole(*fresh->table, std::move(fresh->row));
  } else if (auto* set = std::get_if<projections::set>(&c)) {
    auto* rows = rows_of(*set->table);
    if (rows == nullptr)
      return;
    flush_fresh(*rows);
    auto at = rows->gathered.lower_bound(set->key);
    if (at == rows->gathered.end() || row_less{}(set->key, at->first)) {
      at = rows->gathered.emplace_hint(at, std::move(set->key), pending{});
      at->second.what = kind::cells;
      at->second.row.resize(set->table->columns.size());
      ++gathered_;
    }
    auto& p = at->second;
    if (p.what == kind::gone)
      return;
    for (auto& [column, v] : set->cells) {
      p.mask |= std::uint64_t{1} << column;
      p.row[column] = std::move(v);
    }
  } else if (auto* erase = std::get_if<projections::erase>(&c)) {
    auto* rows = rows_of(*erase->table);
    if (rows == nullptr)
      return;
    flush_fresh(*rows);
    if (erase->key.size() == erase->table->key_columns) {
      auto [at, added] = rows->gathered.try_emplace(std::move(erase->key));
      gathered_ += added ? 1 : 0;
      at->second = pending{kind::gone, {}, 0};
      return;
    }
    // Nothing that was gathered for these rows matters any more; what follows is gathered anew.
    auto at = rows->gathered.lower_bound(erase->key);
    while (at != rows->gathered.end() && begins_with(at->first, erase->key)) {
      at = rows->gathered.erase(at);
      --gathered_;
    }
    erase_now(*rows, erase->key);
  }
}

statement& row_writer::update_of(table_rows& t, std::uint64_t mask) {
  auto& s = t.update[mask];
  if (!s) {
    std::string cells;
    for (std::size_t i = 0; i < t.spec->columns.size(); ++i)
      if ((mask >> i & 1) != 0)
        cells += (cells.empty() ? "" : ", ") + sql_name(t.spec->columns[i].name) + " = ?";
    s = db_->prepare("UPDATE " + sql_name(prefix_ + std::string(t.spec->name)) + " SET " + cells
                     + " WHERE " + key_condition(*t.spec, t.spec->key_columns));
  }
  return s;
}

void row_writer::write(table_rows& t, std::span<const value> key, pending& p) {
  switch (p.what) {
    case pending::kind::whole:
      bind_all(t.upsert, p.row);
      t.upsert.run();
      return;
    case pending::kind::gone: erase_now(t, key); return;
    case pending::kind::cells:
      if (p.mask == 0)
        return;
      auto& s = update_of(t, p.mask);
      int at = 1;
      for (std::size_t i = 0; i < p.row.size(); ++i)
        if ((p.mask >> i & 1) != 0)
          bind_value(s, at++, p.row[i]);
      bind_all(s, key, at);
      s.run();
      return;
  }
}

std::optional<row> row_writer::find(const table& t, std::span<const value> key) {
  auto* rows = rows_of(t);
  if (rows == nullptr)
    return {};
  flush_fresh(*rows);
  if (auto found = rows->gathered.find(key); found != rows->gathered.end()) {
    write(*rows, found->first, found->second);
    rows->gathered.erase(found);
    --gathered_;
  }
  bind_all(rows->select, key);
  const reset_on_exit done(rows->select);
  if (!rows->select.step())
    return {};
  return row_at(rows->select, t);
}

void row_writer::flush() {
  for (auto& t : tables_) {
    flush_fresh(t);
    for (auto& [key, p] : t.gathered)
      write(t, key, p);
    t.gathered.clear();
  }
  gathered_ = 0;
}

void row_writer::forget() noexcept {
  for (auto& t : tables_) {
    t.gathered.clear();
    t.fresh.clear();
  }
  gathered_ = 0;
}

// -- row_finder --

namespace {

/// What a query binds, in the order of the statement's marks.
using bindings = std::vector<const value*>;

/// `columns` lie strictly behind `after` in the query's direction. Null sorts first.
std::string behind(const table& t, std::span<const std::size_t> columns,
                   std::span<const value> after, bool descending, bindings& bound) {
  const char* sign = descending ? " < " : " > ";
  bool nullable = false;
  for (auto c : columns)
    nullable |= t.columns[c].nullable;
  if (!nullable) {
    std::string names;
    std::string marks;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      names += (i ? ", " : "") + sql_name(t.columns[columns[i]].name);
      marks += i ? ", ?" : "?";
      bound.push_back(&after[i]);
    }
    return "(" + names + ")" + sign + "(" + marks + ")";
  }
  std::string out;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    out += i ? " OR (" : "(";
    for (std::size_t j = 0; j < i; ++j) {
      out += sql_name(t.columns[columns[j]].name) + " IS ? AND ";
      bound.push_back(&after[j]);
    }
    const auto name = sql_name(t.columns[columns[i]].name);
    if (std::holds_alternative<std::monostate>(after[i])) {
      out += descending ? "0" : name + " IS NOT NULL";
    } else {
      out += descending ? "(" + name + " < ? OR " + name + " IS NULL)" : name + " > ?";
      bound.push_back(&after[i]);
    }
    out += ")";
  }
  return "(" + out + ")";
}

}  // namespace

std::vector<row> row_finder::rows(const row_query& q) {
  const auto& t = *q.table;
  const auto [order, only_where_set, wrong] = access_path_of(q);
  if (!wrong.empty())
    refuse(errc::invalid, std::string(wrong));
  const std::span rest = std::span(order).subspan(q.equals.size());

  std::string where;
  bindings bound;
  std::vector<value> limits;  // keeps bound limits alive
  limits.reserve(2 * q.where.size() + 1);
  auto also = [&](const std::string& condition) {
    where += (where.empty() ? " WHERE " : " AND ") + condition;
  };
  for (std::size_t i = 0; i < q.equals.size(); ++i) {
    const auto& c = t.columns[order[i]];
    also(sql_name(c.name) + (c.nullable ? " IS ?" : " = ?"));
    bound.push_back(&q.equals[i]);
  }
  if (only_where_set >= 0)
    also(sql_name(t.columns[static_cast<std::size_t>(only_where_set)].name) + " IS NOT NULL");
  if (q.after && !rest.empty())
    also(behind(t, rest, *q.after, q.descending, bound));
  for (const auto& b : q.where) {
    const auto name = sql_name(t.columns.at(b.column).name);
    std::string condition;
    auto limit = [&](const std::optional<std::int64_t>& v, const char* sign) {
      if (!v)
        return;
      condition += (condition.empty() ? "" : " AND ") + name + sign + "?";
      bound.push_back(&limits.emplace_back(*v));
    };
    limit(b.at_least, " >= ");
    limit(b.at_most, " <= ");
    if (condition.empty())
      condition = name + " IS NOT NULL";
    also(b.or_null ? "((" + condition + ") OR " + name + " IS NULL)" : "(" + condition + ")");
  }
  std::string sql = "SELECT " + columns_of(t) + " FROM " + sql_name(t.name) + where;
  for (std::size_t i = 0; i < order.size(); ++i)
    sql += (i ? ", " : " ORDER BY ") + sql_name(t.columns[order[i]].name)
           + (q.descending ? " DESC" : "");
  sql += " LIMIT ?";
  bound.push_back(&limits.emplace_back(static_cast<std::int64_t>(q.limit)));

  if (statements_.size() > 200)
    statements_.clear();
  auto& s = statements_[sql];
  if (!s)
    s = db_->prepare(sql);
  int at = 1;
  for (const auto* v : bound)
    bind_value(s, at++, *v);
  std::vector<row> out;
  while (s.step())
    out.push_back(row_at(s, t));
  return out;
}

}  // namespace recalld::storage::sqlite

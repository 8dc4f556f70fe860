#include "storage/postgres_rows.hpp"

#include <algorithm>
#include <limits>

namespace recalld::storage::postgres {

using projections::column_type;
using projections::row;
using projections::table;
using projections::value;

row row_at(const answer& a, std::size_t at, const table& t) {
  row out;
  out.reserve(t.columns.size());
  for (std::size_t i = 0; i < t.columns.size(); ++i) {
    const int c = static_cast<int>(i);
    if (a.null_at(at, c))
      out.emplace_back();
    else if (t.columns[i].type == column_type::integer)
      out.emplace_back(a.int_at(at, c));
    else
      out.emplace_back(std::string(a.view_at(at, c)));
  }
  return out;
}

namespace {

type element_of(const projections::column& c) noexcept {
  return c.type == column_type::integer ? type::int8 : type::text;
}

void add_value(array& to, const value& v) {
  if (const auto* n = std::get_if<std::int64_t>(&v))
    to.integer(*n);
  else if (const auto* s = std::get_if<std::string>(&v))
    to.bytes(*s);
  else
    to.null();
}

using cells = std::span<const value>;

}  // namespace

parameters columns_of(const table& t, std::size_t columns, std::span<const cells> rows) {
  parameters out;
  for (std::size_t c = 0; c < columns; ++c) {
    array a(element_of(t.columns[c]));
    for (const auto& r : rows)
      add_value(a, r[c]);
    out.column(std::move(a));
  }
  return out;
}

namespace {

std::string array_mark(const projections::column& c, std::size_t number) {
  return "$" + std::to_string(number)
         + (c.type == column_type::integer ? "::int8[]" : "::text[]");
}

}  // namespace

std::string array_marks(const table& t, std::size_t columns) {
  std::string out;
  for (std::size_t i = 0; i < columns; ++i)
    out += (i ? ", " : "") + array_mark(t.columns[i], i + 1);
  return out;
}

std::string column_names(const table& t, std::size_t from, std::size_t to,
                         std::string_view before) {
  std::string out;
  for (std::size_t i = from; i < to; ++i)
    out += (i > from ? ", " : "") + std::string(before) + sql_name(t.columns[i].name);
  return out;
}

namespace {

/// The first columns of `name` equal those of `u`.
std::string key_join(const table& t, const std::string& name, std::size_t columns) {
  std::string out;
  for (std::size_t i = 0; i < columns; ++i) {
    const auto c = "." + sql_name(t.columns[i].name);
    out += (i ? " AND " : "") + name + c + " = u" + c;
  }
  return columns == 0 ? "true" : out;
}

std::string insert_sql(const table& t, const std::string& name) {
  // Arrays that are unfolded in the select list are read side by side; in the FROM clause each of
  // them would be written into a heap of rows of its own first.
  std::string list;
  for (std::size_t i = 0; i < t.columns.size(); ++i)
    list += (i ? ", unnest(" : "unnest(") + array_mark(t.columns[i], i + 1) + ")";
  return "INSERT INTO " + name + " SELECT " + list;
}

std::string upsert_sql(const table& t, const std::string& name) {
  std::string out = insert_sql(t, name) + " ON CONFLICT (" + column_names(t, 0, t.key_columns) + ")";
  if (t.columns.size() == t.key_columns)
    return out + " DO NOTHING";
  out += " DO UPDATE SET ";
  for (std::size_t i = t.key_columns; i < t.columns.size(); ++i) {
    const auto c = sql_name(t.columns[i].name);
    out += (i > t.key_columns ? ", " : "") + c + " = excluded." + c;
  }
  return out;
}

}  // namespace

// -- row_gather --

void row_gather::know(const table& t) {
  if (knows(t))
    return;
  auto& r = tables_.emplace_back();
  r.spec = &t;
  r.upsert = statement(upsert_sql(t, name_of(t)));
  r.insert = statement(insert_sql(t, name_of(t)));
}

row_gather::table_rows* row_gather::rows_of(const table& t) noexcept {
  for (auto& r : tables_)
    if (r.spec == &t)
      return &r;
  return nullptr;
}

const row_gather::table_rows* row_gather::rows_of(const table& t) const noexcept {
  return const_cast<row_gather*>(this)->rows_of(t);
}

bool row_gather::knows(const table& t) const noexcept { return rows_of(t) != nullptr; }

const row* row_gather::find_new(const table& t, std::span<const value> key) const {
  const auto* rows = rows_of(t);
  if (rows == nullptr)
    return nullptr;
  const auto found = rows->gathered.find(key);
  return found != rows->gathered.end() && found->second.what == pending::kind::fresh
           ? &found->second.row
           : nullptr;
}

std::uint64_t row_gather::pending::mask() const noexcept {
  std::uint64_t out = 0;
  for (const auto& [column, v] : cells)
    out |= std::uint64_t{1} << column;
  return out;
}

void row_gather::pending::set(std::size_t column, value v) {
  if (what != kind::cells) {
    row[column] = std::move(v);
    return;
  }
  for (auto& [known, old] : cells)
    if (known == column) {
      old = std::move(v);
      return;
    }
  cells.emplace_back(column, std::move(v));
}

void row_gather::replace(table_rows& rows, pending_rows::iterator at, pending p) {
  const auto key = std::span<const value>(p.row).first(rows.spec->key_columns);
  if (at != rows.gathered.end() && !row_less{}(key, at->first))
    at = rows.gathered.erase(at);
  rows.gathered.emplace_hint(at, key, std::move(p));  // A row that is moved keeps its cells' place.
}

void row_gather::add(projections::change&& c, bool strict) {
  using kind = pending::kind;
  auto* rows = rows_of(*std::visit([](const auto& one) { return one.table; }, c));
  if (rows == nullptr)
    return;
  const auto& t = *rows->spec;
  auto& gathered = rows->gathered;
  auto known = [&](pending_rows::iterator at, std::span<const value> key) {
    return at != gathered.end() && !row_less{}(key, at->first);
  };
  auto whole = [&](row&& r, bool fresh) {
    const auto key = key_of(t, r);
    const auto at = gathered.lower_bound(key);
    fresh = fresh && !known(at, key) && rows->prefixes.empty();
    replace(*rows, at, pending{fresh ? kind::fresh : kind::whole, std::move(r)});
  };
  if (auto* put = std::get_if<projections::put>(&c)) {
    whole(std::move(put->row), false);
  } else if (auto* fresh = std::get_if<projections::put_new>(&c)) {
    whole(std::move(fresh->row), strict);
  } else if (auto* set = std::get_if<projections::set>(&c)) {
    const auto at = gathered.lower_bound(set->key);
    if (known(at, set->key)) {
      if (at->second.what != kind::gone)
        for (auto& [column, v] : set->cells)
          at->second.set(column, std::move(v));
      return;
    }
    pending p{kind::cells, std::move(set->key)};
    p.cells.reserve(set->cells.size());
    for (auto& [column, v] : set->cells)
      p.set(column, std::move(v));
    replace(*rows, at, std::move(p));
  } else if (auto* erase = std::get_if<projections::erase>(&c)) {
    auto at = gathered.lower_bound(erase->key);
    if (erase->key.size() == t.key_columns) {
      replace(*rows, at, pending{kind::gone, std::move(erase->key)});
      return;
    }
    // Nothing that was gathered for these rows matters any more; what follows is gathered anew.
    while (at != gathered.end() && begins_with(at->first, erase->key))
      at = gathered.erase(at);
    rows->prefixes.insert(std::move(erase->key));
  }
}

std::size_t row_gather::gathered() const noexcept {
  std::size_t n = 0;
  for (const auto& t : tables_)
    n += t.gathered.size() + t.prefixes.size();
  return n;
}

statement& row_gather::erase_of(table_rows& t, std::size_t columns) {
  auto& s = t.erase_prefix[columns];
  if (!s) {
    const auto name = name_of(*t.spec);
    if (columns == 0)
      s = statement("DELETE FROM " + name);
    else
      s = statement("DELETE FROM " + name + " USING unnest(" + array_marks(*t.spec, columns)
                    + ") AS u(" + column_names(*t.spec, 0, columns) + ") WHERE "
                    + key_join(*t.spec, name, columns));
  }
  return s;
}

statement& row_gather::update_of(table_rows& t, std::uint64_t mask) {
  auto& s = t.update[mask];
  if (!s) {
    const auto& spec = *t.spec;
    const auto name = name_of(spec);
    std::string list, set;
    const auto take = [&](std::size_t column, std::size_t number, const std::string& as) {
      list += (list.empty() ? "unnest(" : ", unnest(") + array_mark(spec.columns[column], number)
              + ") AS " + as;
    };
    for (std::size_t i = 0; i < spec.key_columns; ++i)
      take(i, i + 1, sql_name(spec.columns[i].name));
    auto at = spec.key_columns;
    for (std::size_t i = 0; i < spec.columns.size(); ++i) {
      if ((mask >> i & 1) == 0)
        continue;
      const auto fresh = sql_name("new " + std::string(spec.columns[i].name));
      take(i, ++at, fresh);
      set += (set.empty() ? "" : ", ") + sql_name(spec.columns[i].name) + " = u." + fresh;
    }
    s = statement("UPDATE " + name + " SET " + set + " FROM (SELECT " + list + ") AS u WHERE "
                  + key_join(spec, name, spec.key_columns));
  }
  return s;
}

void row_gather::write(std::vector<request>& out) {
  using kind = pending::kind;
  for (auto& t : tables_) {
    const auto& spec = *t.spec;
    std::map<std::size_t, std::vector<cells>> prefixes;
    for (const auto& p : t.prefixes)
      prefixes[p.size()].push_back(p);
    for (const auto& [columns, keys] : prefixes)
      out.push_back({&erase_of(t, columns), columns_of(spec, columns, keys)});

    std::vector<cells> whole, fresh, gone;
    std::map<std::uint64_t, std::vector<const pending*>> changed;
    for (const auto& [key, p] : t.gathered) {
      switch (p.what) {
        case kind::whole: whole.push_back(p.row); break;
        case kind::fresh: fresh.push_back(p.row); break;
        case kind::gone: gone.push_back(key); break;
        case kind::cells:
          if (const auto mask = p.mask(); mask != 0)
            changed[mask].push_back(&p);
          break;
      }
    }
    if (!gone.empty())
      out.push_back({&erase_of(t, spec.key_columns), columns_of(spec, spec.key_columns, gone)});
    for (const auto& [mask, rows] : changed) {
      std::vector<cells> keys;
      for (const auto* r : rows)
        keys.push_back(r->row);
      auto p = columns_of(spec, spec.key_columns, keys);
      for (std::size_t c = 0; c < spec.columns.size(); ++c) {
        if ((mask >> c & 1) == 0)
          continue;
        array a(element_of(spec.columns[c]));
        for (const auto* r : rows)
          for (const auto& [column, v] : r->cells)
            if (column == c)
              add_value(a, v);
        p.column(std::move(a));
      }
      out.push_back({&update_of(t, mask), std::move(p)});
    }
    if (!whole.empty())
      out.push_back({&t.upsert, columns_of(spec, spec.columns.size(), whole)});
    if (!fresh.empty())
      out.push_back({&t.insert, columns_of(spec, spec.columns.size(), fresh)});
  }
}

void row_gather::forget() noexcept {
  for (auto& t : tables_) {
    t.gathered.clear();
    t.prefixes.clear();
  }
}

// -- row_select --

std::string row_select::mark(const value& v) {
  bound_.push_back(&v);
  return "$" + std::to_string(bound_.size());
}

/// `columns` lie strictly behind `after` in the query's direction. Null sorts first.
std::string row_select::behind(const table& t, std::span<const std::size_t> columns,
                               std::span<const value> after, bool descending) {
  const char* sign = descending ? " < " : " > ";
  bool nullable = false;
  for (const auto c : columns)
    nullable |= t.columns[c].nullable;
  if (!nullable) {
    std::string names;
    std::string marks;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      names += (i ? ", " : "") + sql_name(t.columns[columns[i]].name);
      marks += (i ? ", " : "") + mark(after[i]);
    }
    return "(" + names + ")" + sign + "(" + marks + ")";
  }
  auto is = [&](std::size_t column, const value& v) {
    const auto name = sql_name(t.columns[column].name);
    return std::holds_alternative<std::monostate>(v) ? name + " IS NULL" : name + " = " + mark(v);
  };
  std::string out;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    out += i ? " OR (" : "(";
    for (std::size_t j = 0; j < i; ++j)
      out += is(columns[j], after[j]) + " AND ";
    const auto name = sql_name(t.columns[columns[i]].name);
    if (std::holds_alternative<std::monostate>(after[i]))
      out += descending ? "false" : name + " IS NOT NULL";
    else if (descending)
      out += "(" + name + " < " + mark(after[i]) + " OR " + name + " IS NULL)";
    else
      out += name + " > " + mark(after[i]);
    out += ")";
  }
  return "(" + out + ")";
}

row_select::row_select(const row_query& q) {
  const auto& t = *q.table;
  const auto [order, only_where_set, wrong] = access_path_of(q);
  if (!wrong.empty())
    refuse(errc::invalid, std::string(wrong));
  const std::span rest = std::span(order).subspan(q.equals.size());

  std::string where;
  auto also = [&](const std::string& condition) {
    where += (where.empty() ? " WHERE " : " AND ") + condition;
  };
  for (std::size_t i = 0; i < q.equals.size(); ++i) {
    const auto name = sql_name(t.columns[order[i]].name);
    also(std::holds_alternative<std::monostate>(q.equals[i]) ? name + " IS NULL"
                                                             : name + " = " + mark(q.equals[i]));
  }
  if (only_where_set >= 0)
    also(sql_name(t.columns[static_cast<std::size_t>(only_where_set)].name) + " IS NOT NULL");
  if (q.after && !rest.empty())
    also(behind(t, rest, *q.after, q.descending));
  for (const auto& b : q.where) {
    const auto name = sql_name(t.columns.at(b.column).name);
    std::string condition;
    auto limit = [&](const std::optional<std::int64_t>& v, const char* sign) {
      if (v)
        condition += (condition.empty() ? "" : " AND ") + name + sign
                     + mark(limits_.emplace_back(*v));
    };
    limit(b.at_least, " >= ");
    limit(b.at_most, " <= ");
    if (condition.empty())
      condition = name + " IS NOT NULL";
    also(b.or_null ? "((" + condition + ") OR " + name + " IS NULL)" : "(" + condition + ")");
  }
  std::string sql = "SELECT " + column_names(t, 0, t.columns.size()) + " FROM " + sql_name(t.name)
                    + where;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto& c = t.columns[order[i]];
    sql += (i ? ", " : " ORDER BY ") + sql_name(c.name) + (q.descending ? " DESC" : "");
    if (c.nullable)
      sql += q.descending ? " NULLS LAST" : " NULLS FIRST";
  }
  sql += " LIMIT "
         + mark(limits_.emplace_back(static_cast<std::int64_t>(
           std::min<std::size_t>(q.limit, std::numeric_limits<std::int64_t>::max()))));
  sql_ = statement(std::move(sql));
}

parameters row_select::values() const {
  parameters out;
  for (const auto* v : bound_) {
    if (const auto* n = std::get_if<std::int64_t>(v))
      out.integer(*n);
    else
      out.text(std::get<std::string>(*v));
  }
  return out;
}

}  // namespace recalld::storage::postgres

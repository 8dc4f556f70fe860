#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

/// Projection tables as data: any store can create, write, read, drop and compare them without
/// knowing what they are about.
namespace recalld::projections {

/// A cell: null, a whole number, or text: valid UTF-8 without zero bytes, as all databases keep it.
using value = std::variant<std::monostate, std::int64_t, std::string>;
using row = std::vector<value>;

enum class column_type : std::uint8_t { integer, text };

struct column {
  std::string_view name;
  column_type type = column_type::text;
  bool nullable = false;
};

/// An ordered access path. Columns are positions in `table::columns`; the table's key follows them
/// implicitly, so that every index order is total.
struct index {
  std::string_view name;
  std::vector<std::size_t> columns;
  /// Only rows where this column is not null are in the index; -1 = all rows.
  int only_where_set = -1;
  /// So many leading columns a store keeps in order, without the key; rows that agree in these are
  /// sorted when they are read. For an order whose last columns change with every write: an index
  /// that held them would cost each write an entry. 0 = all columns and the key.
  std::size_t kept = 0;
  std::span<const std::size_t> kept_columns() const {
    return std::span(columns).first(kept == 0 ? columns.size() : kept);
  }
};

struct table {
  std::string_view name;
  int version = 1;  ///< Raised when `project` gives other rows: the table is rebuilt.
  std::vector<column>
    columns;  ///< The first `key_columns` are the key; `stream` is one of it.
  std::size_t key_columns = 1;
  std::vector<index> indexes{};
};

/// What a fact does to rows. Changes are applied in order; each names its table.
struct put {  ///< The row is written whole, whether it existed or not.
  const projections::table* table;
  projections::row row;
};
struct put_new {  ///< As `put`, but a row that exists refuses the whole append as a duplicate.
  const projections::table* table;
  projections::row row;
};
struct set {  ///< Some columns of an existing row; no such row: nothing happens.
  const projections::table* table;
  projections::row key;
  std::vector<std::pair<std::size_t, value>> cells;
};
struct erase {  ///< Every row whose key begins with `key` (a whole key or leading columns).
  const projections::table* table;
  projections::row key;
};
using change = std::variant<put, put_new, set, erase>;

/// Where a row query starts and ends. Order: the index's columns, then the table's key.
struct row_query {
  const projections::table* table = nullptr;
  int index = -1;             ///< Position in `table->indexes`; -1 = the key itself.
  std::vector<value> equals;  ///< Leading columns of the index fixed to these.
  /// Continue strictly behind this: the remaining index columns followed by the key columns.
  std::optional<std::vector<value>> after;
  bool descending = false;
  std::size_t limit = 100;
  /// Besides: column >= / <= value, or null; checked on each row that is met.
  struct bound {
    std::size_t column = 0;
    std::optional<std::int64_t> at_least;
    std::optional<std::int64_t> at_most;
    bool or_null = false;
  };
  std::vector<bound> where;
};

}  // namespace recalld::projections

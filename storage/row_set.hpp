#pragma once

#include "projections/table.hpp"
#include "storage/row_order.hpp"

#include <cstdint>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

namespace recalld::storage {

/// Rows of projection tables in memory: what row changes come to, and row queries over them.
/// Not thread-safe; copying copies the rows.
class row_set {
public:
  /// Applies one change; `put_new` counts as `put`.
  void apply(const projections::change& c);
  void apply(projections::change&& c);

  /// The row with this key; null when there is none. Valid until the next change.
  const projections::row* find(const projections::table& t,
                               std::span<const projections::value> key) const;
  std::size_t count(const projections::table& t) const;
  /// Calls `f(row)` for every row of a table, in no particular order of streams.
  template <class F>
  void each(const projections::table& t, F&& f) const {
    if (const auto* rows = rows_of(t))
      for (const auto& [stream, of_stream] : rows->groups)
        for (const auto& r : of_stream)
          f(r);
  }
  std::vector<projections::row> rows(const projections::row_query& q) const;

  /// Drops all rows of a table, or takes those of another set in their place.
  void clear(const projections::table& t);
  void take(const projections::table& t, row_set& from);

private:
  /// Orders rows of one stream by the rest of their key.
  struct key_less {
    using is_transparent = void;
    std::size_t key_columns = 1;
    bool operator()(std::span<const projections::value> a,
                    std::span<const projections::value> b) const noexcept {
      for (std::size_t i = 1; i < key_columns && i < a.size() && i < b.size(); ++i)
        if (const auto c = order(a[i], b[i]); c != 0)
          return c < 0;
      // A shorter key stands before all rows that begin with it.
      return std::min(a.size(), key_columns) < std::min(b.size(), key_columns);
    }
  };
  using group = std::set<projections::row, key_less>;
  struct table_rows {
    const projections::table* spec = nullptr;
    std::unordered_map<std::int64_t, group> groups;  ///< By stream.
    std::size_t count = 0;
  };

  const table_rows* rows_of(const projections::table& t) const noexcept;
  table_rows& made(const projections::table& t);
  static const group* group_of(const table_rows& rows, std::span<const projections::value> key);
  void put(const projections::table& t, projections::row&& r);
  void set(const projections::table& t, const projections::row& key,
           std::vector<std::pair<std::size_t, projections::value>>&& cells);
  void erase(const projections::table& t, const projections::row& key);

  std::vector<table_rows> tables_;
};

}  // namespace recalld::storage

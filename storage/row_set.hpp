#pragma once

#include "projections/table.hpp"
#include "storage/row_order.hpp"

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace recalld::storage {

/// Rows of projection tables in memory: what row changes come to, and row queries over them.
/// Rows are found by a hash of their key; where keys begin with a number (a stream's), all rows of
/// that number by a chain through them.
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
  /// Calls `f(row)` for every row of a table, in no particular order.
  template <class F>
  void each(const projections::table& t, F&& f) const {
    if (const auto* rows = rows_of(t))
      for (const auto& s : rows->slots)
        if (s.alive)
          f(s.cells);
  }
  std::vector<projections::row> rows(const projections::row_query& q) const;

  /// Drops all rows of a table, or takes those of another set in their place.
  void clear(const projections::table& t);
  void take(const projections::table& t, row_set& from);

private:
  static constexpr std::uint32_t none = ~std::uint32_t{0};
  /// A row, or the place of one that was erased; it keeps its key, and serves it again.
  struct slot {
    projections::row cells;
    std::uint64_t hash = 0;
    std::uint32_t next = none;  ///< Of the same chain.
    bool alive = false;
  };
  /// Where a slot is, and the upper half of its hash, so that others are passed over unseen.
  struct bucket {
    std::uint32_t at = none;
    std::uint32_t tag = 0;
  };
  struct table_rows {
    const projections::table* spec = nullptr;
    std::vector<slot> slots;
    std::vector<bucket> buckets;                             ///< Open addressing, a power of two.
    std::unordered_map<std::int64_t, std::uint32_t> chains;  ///< First slot by number.
    std::size_t alive = 0;
  };

  const table_rows* rows_of(const projections::table& t) const noexcept;
  table_rows& made(const projections::table& t);
  static std::uint32_t slot_of(const table_rows& rows, std::span<const projections::value> key,
                               std::uint64_t hash);
  static void grow(table_rows& rows);
  static void compact(table_rows& rows);
  static void link(table_rows& rows, std::uint32_t at);
  template <class Rows, class F>
  static void each_near(Rows& rows, std::span<const projections::value> key, F&& f);
  static void file(table_rows& rows, std::uint32_t at);
  void put(const projections::table& t, projections::row&& r);
  void erase(const projections::table& t, const projections::row& key);

  std::vector<table_rows> tables_;
};

}  // namespace recalld::storage

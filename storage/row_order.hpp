#pragma once

#include "projections/table.hpp"

#include <algorithm>
#include <compare>
#include <span>
#include <string_view>
#include <vector>

/// Inside `storage/` only: the order of cells and rows that every store keeps: null, then whole
/// numbers, then text by its bytes.
namespace recalld::storage {

inline std::strong_ordering order(const projections::value& a,
                                  const projections::value& b) noexcept {
  if (a.index() != b.index())
    return a.index() <=> b.index();
  if (const auto* n = std::get_if<std::int64_t>(&a))
    return *n <=> *std::get_if<std::int64_t>(&b);
  if (const auto* s = std::get_if<std::string>(&a))
    return s->compare(*std::get_if<std::string>(&b)) <=> 0;
  return std::strong_ordering::equal;
}

inline std::strong_ordering order(std::span<const projections::value> a,
                                  std::span<const projections::value> b) noexcept {
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i)
    if (const auto c = order(a[i], b[i]); c != 0)
      return c;
  return a.size() <=> b.size();
}

inline bool begins_with(std::span<const projections::value> whole,
                        std::span<const projections::value> part) noexcept {
  return whole.size() >= part.size() && order(whole.first(part.size()), part) == 0;
}

/// For ordered containers; compares with any stretch of cells.
struct row_less {
  using is_transparent = void;
  bool operator()(std::span<const projections::value> a,
                  std::span<const projections::value> b) const noexcept {
    return order(a, b) < 0;
  }
};

/// By which columns a query is ordered: its index's, then the table's key.
struct access_path {
  std::vector<std::size_t> order;
  int only_where_set = -1;    ///< As in `projections::index`.
  std::string_view wrong{};  ///< Why the query does not fit it; empty = it does.
};

inline access_path access_path_of(const projections::row_query& q) {
  access_path out;
  if (q.index >= 0) {
    const auto& ix = q.table->indexes.at(static_cast<std::size_t>(q.index));
    out.order = ix.columns;
    out.only_where_set = ix.only_where_set;
  }
  for (std::size_t i = 0; i < q.table->key_columns; ++i)
    out.order.push_back(i);
  if (q.equals.size() > out.order.size())
    out.wrong = "more fixed columns than the index has";
  else if (q.after && q.after->size() != out.order.size() - q.equals.size())
    out.wrong = "the cursor does not fit the index";
  return out;
}

/// The cells of a row that are its key.
inline std::span<const projections::value> key_of(const projections::table& t,
                                                  const projections::row& r) noexcept {
  return {r.data(), std::min(t.key_columns, r.size())};
}

}  // namespace recalld::storage

#pragma once

#include "projections/table.hpp"
#include "storage/postgres_connection.hpp"
#include "storage/row_order.hpp"
#include "storage/store.hpp"

#include <list>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

/// Inside `storage/` only: rows of projection tables in Postgres.
namespace recalld::storage::postgres {

projections::row row_at(const answer& a, std::size_t row, const projections::table& t);

/// Columns of many rows as parameters, one array each.
parameters columns_of(const projections::table& t, std::size_t columns,
                      std::span<const std::span<const projections::value>> rows);

/// `$1::int8[], $2::text[], …` for the first columns of a table.
std::string array_marks(const projections::table& t, std::size_t columns);
/// `"stream", "key", …`, each behind `before`.
std::string column_names(const projections::table& t, std::size_t from, std::size_t to,
                         std::string_view before = "");

/// Gathers row changes, by table and key, so that a row that many facts change is written once and
/// all rows of a kind go in one statement. The order of changes is kept in what they come to.
class row_gather {
public:
  /// Knows no table yet. `prefix` stands before the table names in the database.
  explicit row_gather(std::string prefix) : prefix_(std::move(prefix)) {}

  /// Makes changes of `t` count from now on. Changes of unknown tables are ignored.
  void know(const projections::table& t);
  bool knows(const projections::table& t) const noexcept;
  void know_nothing() noexcept { tables_.clear(); }

  /// Gathers a change. With `strict`, a row of `put_new` makes the write fail (`23505`) when the
  /// table has one with its key; otherwise `put_new` counts as `put`.
  void add(projections::change&& c, bool strict);
  /// The row that `put_new` gathered under this key; null when there is none.
  const projections::row* find_new(const projections::table& t,
                                   std::span<const projections::value> key) const;
  /// Number of gathered row changes.
  std::size_t gathered() const noexcept;
  /// Appends what writes all that was gathered, for one transaction; what was gathered must live,
  /// and stay unchanged, until it was sent. `forget` afterwards.
  void write(std::vector<request>& out);
  void forget() noexcept;

private:
  struct pending {
    enum class kind : std::uint8_t { whole, fresh, cells, gone };
    kind what = kind::whole;
    projections::row row;  ///< whole, fresh: every column; cells, gone: the key alone.
    std::vector<std::pair<std::size_t, projections::value>> cells{};  ///< cells: what is written.
    std::uint64_t mask() const noexcept;  ///< Bit n = column n is among `cells`.
    void set(std::size_t column, projections::value v);
  };
  /// By key; keys are views into the rows.
  using pending_rows = std::map<std::span<const projections::value>, pending, row_less>;
  struct table_rows {
    const projections::table* spec = nullptr;
    statement upsert, insert, erase;
    std::map<std::size_t, statement> erase_prefix;  ///< By number of key columns.
    std::map<std::uint64_t, statement> update;      ///< By mask.
    pending_rows gathered;
    /// Rows that begin with these go before anything of `gathered` is written.
    std::set<projections::row, row_less> prefixes;
  };

  /// Takes the place of what was gathered under the same key, if anything was.
  static void replace(table_rows& rows, pending_rows::iterator at, pending p);
  table_rows* rows_of(const projections::table& t) noexcept;
  const table_rows* rows_of(const projections::table& t) const noexcept;
  std::string name_of(const projections::table& t) const {
    return sql_name(prefix_ + std::string(t.name));
  }
  statement& erase_of(table_rows& t, std::size_t columns);
  statement& update_of(table_rows& t, std::uint64_t mask);

  std::string prefix_;
  std::list<table_rows> tables_;
};

/// A row query as SQL with its values.
class row_select {
public:
  /// Throws `invalid` when the query does not fit the table.
  explicit row_select(const row_query& q);
  const statement& sql() const noexcept { return sql_; }
  /// Views into the query.
  parameters values() const;

private:
  std::string mark(const projections::value& v);
  std::string behind(const projections::table& t, std::span<const std::size_t> columns,
                     std::span<const projections::value> after, bool descending);

  statement sql_;
  std::vector<const projections::value*> bound_;
  std::list<projections::value> limits_;
};

}  // namespace recalld::storage::postgres

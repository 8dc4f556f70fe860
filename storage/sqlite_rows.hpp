#pragma once

#include "projections/table.hpp"
#include "storage/row_order.hpp"
#include "storage/sqlite_connection.hpp"
#include "storage/store.hpp"

#include <list>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

/// Inside `storage/` only: rows of projection tables in SQLite.
namespace recalld::storage::sqlite {

void bind_value(statement& s, int at, const projections::value& v);
projections::value value_at(const statement& s, int column);
projections::row row_at(const statement& s, const projections::table& t);

/// Writes row changes inside the caller's transaction. Changes are gathered by table and key, so
/// that a row that many facts change is written once, in key order, at `flush`. What is gathered
/// counts for `put_new`, so the order of changes is kept.
class row_writer {
public:
  /// Knows no table yet. `prefix` stands before the table names in the database.
  row_writer(const connection& db, std::string prefix) : db_(&db), prefix_(std::move(prefix)) {}

  /// Makes changes of `t` count from now on. Changes of unknown tables are ignored.
  void know(const projections::table& t);
  bool knows(const projections::table& t) const noexcept;

  /// Writes the row at once if there is none with its key; otherwise says false.
  bool put_new(const projections::table& t, const projections::row& r);
  /// Takes back what `put_new` did.
  void undo_put_new(const projections::table& t, const projections::row& r);
  /// Gathers a change; `put_new` counts as `put` here.
  void add(projections::change&& c);
  /// The row as of now, gathered changes included; absent when there is none.
  std::optional<projections::row> find(const projections::table& t,
                                       std::span<const projections::value> key);
  /// Number of gathered row changes.
  std::size_t gathered() const noexcept { return gathered_; }
  void flush();
  /// Drops what was gathered.
  void forget() noexcept;

private:
  struct pending {
    enum class kind : std::uint8_t { whole, cells, gone };
    kind what = kind::whole;
    projections::row row;    ///< whole: every column; cells: as many columns, see `mask`.
    std::uint64_t mask = 0;  ///< cells: bit n = column n is written.
  };
  struct table_rows {
    const projections::table* spec = nullptr;
    statement upsert, insert_new, select;
    std::vector<statement> erase;               ///< By number of key columns.
    std::map<std::uint64_t, statement> update;  ///< By mask.
    std::map<projections::row, pending, row_less> gathered;
    std::vector<projections::row> fresh;  ///< Rows of `put_new` while nothing else is gathered.
  };

  table_rows* rows_of(const projections::table& t) noexcept;
  void erase_now(table_rows& t, std::span<const projections::value> key);
  statement& update_of(table_rows& t, std::uint64_t mask);
  void write(table_rows& t, std::span<const projections::value> key, pending& p);
  void flush_fresh(table_rows& t);

  const connection* db_;
  std::string prefix_;
  std::list<table_rows> tables_;
  std::size_t gathered_ = 0;
};

/// Answers row queries; keeps the statements it made.
class row_finder {
public:
  explicit row_finder(const connection& db) : db_(&db) {}
  std::vector<projections::row> rows(const row_query& q);

private:
  const connection* db_;
  std::unordered_map<std::string, statement> statements_;
};

}  // namespace recalld::storage::sqlite

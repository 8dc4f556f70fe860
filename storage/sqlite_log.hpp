#pragma once

#include "storage/log_row.hpp"
#include "storage/sqlite_connection.hpp"
#include "storage/store.hpp"

#include <optional>
#include <string>
#include <string_view>

/// Inside `storage/` only: rows of `log` and `streams` in SQLite.
namespace recalld::storage::sqlite {

/// Columns of `log` in the order in which all statements here give and take them.
inline constexpr const char* log_columns =
  "position, stream, version, lane, type, schema, time, key, command, body_hash, command_facts, "
  "sum, payload";

/// The fact in the statement's current row, payload apart; `stream` is the id to put into it.
/// Throws `corrupt` when the row's sum is wrong. The payload's bytes are valid until the next step.
std::string_view read_fact(const statement& s, const stream_id& stream, recorded& out);

/// Inserts a fact; its values are put in with `bind_fact`, and must live until the statement was run.
std::string insert_fact_sql();
void bind_fact(statement& insert, const recorded& fact);

/// The id in a row of `streams`. Throws `corrupt` when it is not what was written.
stream_id checked_id(stream_no_t no, std::string_view bytes, std::int64_t sum);

/// Finds streams. One per connection.
class stream_finder {
public:
  explicit stream_finder(const connection& db);
  std::optional<stream_row> find(const stream_id& id);
  /// Nothing is known by that number: absent.
  std::optional<stream_id> id_of(stream_no_t no);

private:
  statement by_id_;
  statement by_no_;
  statement last_;
};

}  // namespace recalld::storage::sqlite

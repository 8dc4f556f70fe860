#pragma once

#include "storage/log_row.hpp"
#include "storage/postgres_connection.hpp"
#include "storage/store.hpp"

#include <string>
#include <string_view>
#include <vector>

/// Inside `storage/` only: rows of `log` and `streams` in Postgres.
namespace recalld::storage::postgres {

/// Columns of `log` in the order in which all queries here give them.
inline constexpr const char* log_columns =
  "position, stream, version, lane, type, schema, time, key, command, body_hash, command_facts, "
  "sum, payload";

/// The fact in a row of an answer, payload apart; `stream` is the id to put into it. Throws
/// `corrupt` when the row's sum is wrong. The payload's bytes are valid as long as the answer.
std::string_view read_fact(const answer& a, std::size_t row, const stream_id& stream,
                           recorded& out);

/// Rows of `log` to be inserted, one array a column.
class fact_rows {
public:
  fact_rows();
  /// The fact's bytes are copied; not its payload when it is `blanked`.
  void add(const recorded& fact, shard_t shard, bool blanked);
  bool empty() const noexcept { return columns_.front().empty(); }
  /// Values of `insert_facts()`.
  parameters take();

private:
  std::vector<array> columns_;
};
const statement& insert_facts();

/// The id in a row of `streams`. Throws `corrupt` when it is not what was written.
stream_id checked_id(stream_no_t no, std::string_view bytes, std::int64_t sum);

/// Gives where streams stand, as `read_stream_row` takes it. `from` is a FROM clause with a table
/// `s` of streams in it and all that follows it.
std::string stream_rows_sql(const std::string& from);

/// A row of such a query, with the stream's id.
std::pair<stream_id, stream_row> read_stream_row(const answer& a, std::size_t row);

}  // namespace recalld::storage::postgres

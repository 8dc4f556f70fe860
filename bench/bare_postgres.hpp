#pragma once

#include "bench/bare_sqlite.hpp"

#include <memory>
#include <string>

namespace recalld::bench {

/// What Postgres gives when nothing is around it: libpqxx, one connection, the very rows that the server
/// writes for an append, many of them in each statement, and a whole transaction in one round trip.
class bare_postgres {
public:
  /// Makes a log with the server's own tables in a schema of its own, and `sessions` sessions in it.
  bare_postgres(const std::string& url, std::size_t sessions);
  ~bare_postgres();

  /// An entry's row as a server has written it in the schema `recalld`.
  model_row newest_entry();
  /// As `bare_sqlite::append`, in commands of so many rows each.
  bare_sqlite::written append(const model_row& row, std::size_t batch, double seconds,
                              std::size_t rows_of_command = 1);

private:
  struct connection;
  std::unique_ptr<connection> c_;
};

}  // namespace recalld::bench

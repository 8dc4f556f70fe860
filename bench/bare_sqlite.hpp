#pragma once

#include "bench/bench.hpp"

#include <memory>

/// What the disk and SQLite give when nothing is around them: the C interface, one thread, prepared
/// statements, and the very rows that the server writes for an append. No actors, no JSON, no
/// decisions. This is the reference of most figures.
namespace recalld::bench {

/// A row of the log that a server wrote for an appended entry; the loop repeats it.
struct model_row {
  std::string type;
  std::int64_t schema = 0;
  std::int64_t lane = 0;
  std::string key;
  std::string payload;
};

class bare_sqlite {
public:
  /// Makes a log with the server's own schema in `directory` and `sessions` sessions in it.
  bare_sqlite(const std::filesystem::path& directory, std::size_t sessions);
  /// Opens what is there.
  static bare_sqlite open(const std::filesystem::path& directory, bool write = false);
  ~bare_sqlite();
  bare_sqlite(bare_sqlite&&) noexcept;
  bare_sqlite& operator=(bare_sqlite&&) = delete;

  // -- writing --

  /// The newest entry of this log as a row to repeat.
  model_row newest_entry();

  struct written {
    std::uint64_t rows = 0;
    double rows_per_s = 0;
    histogram commit_us;
  };
  /// Appends `row` to the sessions in turn, `batch` of them in each transaction, for `seconds`.
  /// `receipts`: each append carries a command id.
  written append(const model_row& row, std::size_t batch, bool receipts, double seconds);
  /// Writes the write-ahead log to its place, outside of what is measured.
  void checkpoint();

  // -- reading --

  /// Number of the session's stream.
  std::int64_t stream_no(const std::string& stream_id);
  /// Reads the last `limit` rows of the entries lane; gives their payload bytes.
  std::size_t last_entries(std::int64_t stream, std::size_t limit);
  /// Reads every row of a stream in one lane; gives how many there were.
  std::size_t lane(std::int64_t stream, int lane);
  /// Reads the whole log in order; gives the number of rows.
  std::size_t scan();
  std::int64_t head();

  /// Writes all rows of the projection tables into new tables of the same shape, in one transaction
  /// which is taken back; gives the number of rows.
  std::size_t copy_projections();

private:
  struct connection;
  explicit bare_sqlite(std::unique_ptr<connection> c);
  std::unique_ptr<connection> c_;
};

}  // namespace recalld::bench

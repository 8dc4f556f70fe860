#pragma once

#include "events/result.hpp"

#include <sqlite3.h>
#include <SQLiteCpp/Database.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

/// Inside `storage/` only. SQLiteCpp opens and owns the database; statements on the hot path go
/// through its handle with the C interface, since binding by reference and reusing statements is
/// what the speed of a commit consists of.
namespace recalld::storage::sqlite {

/// What SQLite answered. Thrown inside this folder, never over its border: public calls turn it
/// into an `error` with `to_error`.
struct failure {
  int code = 0;  ///< Extended result code; 0 = `typed` says it all.
  std::string message;
  std::optional<error> typed{};
};

/// Stops the present call with an error of our own.
[[noreturn]] void refuse(errc code, std::string message);

/// What just failed on a connection.
failure failure_of(sqlite3* db);
/// Disk full, read-only, I/O error, busy: `unavailable`; damaged: `corrupt`.
error to_error(const failure& f);

/// One prepared statement. Bound text must live until the statement was run.
class statement {
public:
  statement() = default;
  statement(sqlite3* db, const std::string& sql);
  statement(statement&& other) noexcept : stmt_(std::exchange(other.stmt_, nullptr)) {}
  statement& operator=(statement&& other) noexcept {
    std::swap(stmt_, other.stmt_);
    return *this;
  }
  ~statement() { sqlite3_finalize(stmt_); }

  explicit operator bool() const noexcept { return stmt_ != nullptr; }

  statement& integer(int at, std::int64_t v) {
    sqlite3_bind_int64(stmt_, at, v);
    return *this;
  }
  statement& integer(int at, std::uint64_t v) { return integer(at, static_cast<std::int64_t>(v)); }
  statement& integer(int at, std::uint32_t v) { return integer(at, static_cast<std::int64_t>(v)); }
  statement& integer(int at, int v) { return integer(at, static_cast<std::int64_t>(v)); }
  statement& text(int at, std::string_view v) {
    sqlite3_bind_text(stmt_, at, v.data() ? v.data() : "", static_cast<int>(v.size()),
                      SQLITE_STATIC);
    return *this;
  }
  statement& blob(int at, std::string_view v) {
    sqlite3_bind_blob(stmt_, at, v.data() ? v.data() : "", static_cast<int>(v.size()),
                      SQLITE_STATIC);
    return *this;
  }
  statement& null(int at) {
    sqlite3_bind_null(stmt_, at);
    return *this;
  }

  /// The next row; false at the end, after which the statement is ready for new values.
  bool step() {
    const int rc = sqlite3_step(stmt_);
    if (rc == SQLITE_ROW)
      return true;
    if (rc == SQLITE_DONE) {
      sqlite3_reset(stmt_);
      return false;
    }
    raise();
  }
  /// Runs a statement that gives no rows.
  void run() {
    if (step())
      reset();
  }
  void reset() noexcept { sqlite3_reset(stmt_); }

  std::int64_t int_at(int column) const { return sqlite3_column_int64(stmt_, column); }
  std::uint64_t uint_at(int column) const { return static_cast<std::uint64_t>(int_at(column)); }
  bool null_at(int column) const { return sqlite3_column_type(stmt_, column) == SQLITE_NULL; }
  int type_at(int column) const { return sqlite3_column_type(stmt_, column); }
  /// Valid until the next step.
  std::string_view view_at(int column) const {
    // The blob accessor never converts, so it is the cheap way to the bytes of a text as well.
    const auto* data = static_cast<const char*>(sqlite3_column_blob(stmt_, column));
    return {data, static_cast<std::size_t>(sqlite3_column_bytes(stmt_, column))};
  }

private:
  [[noreturn]] void raise();
  sqlite3_stmt* stmt_ = nullptr;
};

/// Resets a statement that was left before its last row.
class reset_on_exit {
public:
  explicit reset_on_exit(statement& s) noexcept : statement_(s) {}
  ~reset_on_exit() { statement_.reset(); }
  reset_on_exit(const reset_on_exit&) = delete;
  reset_on_exit& operator=(const reset_on_exit&) = delete;

private:
  statement& statement_;
};

/// One connection.
class connection {
public:
  enum class mode : std::uint8_t { write, read, read_immutable };

  /// Throws `failure`.
  connection(const std::filesystem::path& file, mode m, int busy_ms, std::uint64_t cache_bytes);

  sqlite3* handle() const noexcept { return db_->getHandle(); }
  statement prepare(const std::string& sql) const { return statement(handle(), sql); }
  /// Runs SQL without values.
  void exec(const std::string& sql) const;
  /// The integer that a query gives.
  std::int64_t number(const std::string& sql) const;
  std::int64_t changes() const noexcept { return sqlite3_changes(handle()); }
  bool in_transaction() const noexcept { return sqlite3_get_autocommit(handle()) == 0; }

private:
  std::unique_ptr<SQLite::Database> db_;
};

/// A write transaction that is undone unless committed.
class transaction {
public:
  explicit transaction(const connection& db) : db_(db) { db_.exec("BEGIN IMMEDIATE"); }
  ~transaction() {
    if (!done_ && db_.in_transaction())
      sqlite3_exec(db_.handle(), "ROLLBACK", nullptr, nullptr, nullptr);
  }
  transaction(const transaction&) = delete;
  transaction& operator=(const transaction&) = delete;

  /// Makes it durable. Throws `unavailable` when it certainly did not happen (the disk is full, the
  /// log is busy), `outcome_unknown` when nobody can tell (the sync failed).
  void commit();

private:
  const connection& db_;
  bool done_ = false;
};

/// Quoted for SQL.
std::string sql_name(std::string_view name);

/// Calls `body` and turns what SQLite throws into an error.
template <class F>
auto guarded(F&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const failure& f) {
    return fail(to_error(f));
  }
}

}  // namespace recalld::storage::sqlite

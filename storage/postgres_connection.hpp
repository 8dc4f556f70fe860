#pragma once

#include "events/result.hpp"
#include "storage/postgres_store.hpp"

#include <chrono>
#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

struct pg_conn;
struct pg_result;

/// Inside `storage/` only. libpq with its pipeline mode: what goes to the server together costs one
/// round trip. Values travel in binary form, many rows as one array a column.
namespace recalld::storage::postgres {

/// What the server answered, or that it did not. Thrown inside this folder, never over its border:
/// public calls turn it into an `error` with `to_error`.
struct failure {
  std::string state;  ///< SQLSTATE; empty = the server said nothing.
  std::string message;
  bool lost = false;             ///< The connection is gone, and with it the answer.
  std::optional<error> typed{};  ///< An error of our own: says it all.
};

/// Stops the present call with an error of our own.
[[noreturn]] void refuse(errc code, std::string message);

error to_error(const failure& f);

/// Calls `body` and turns what is thrown into an error.
template <class F>
auto guarded(F&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const failure& f) {
    return fail(to_error(f));
  }
}

/// Type numbers of the server (`pg_type.oid`), which are fixed.
enum class type : std::uint32_t {
  bytea = 17,
  int8 = 20,
  int2 = 21,
  int4 = 23,
  text = 25,
  bytea_array = 1001,
  int2_array = 1005,
  int4_array = 1007,
  text_array = 1009,
  int8_array = 1016,
};

/// One column of many rows, as a parameter.
class array {
public:
  explicit array(type element);

  array& integer(std::integral auto v) { return put(static_cast<std::int64_t>(v)); }
  array& bytes(std::string_view v);
  array& null();

  std::size_t size() const noexcept { return count_; }
  bool empty() const noexcept { return count_ == 0; }
  type array_type() const noexcept;
  /// The binary form; ends the building.
  std::string take();

private:
  array& put(std::int64_t v);

  type element_;
  std::uint32_t count_ = 0;
  bool nulls_ = false;
  std::string out_;
};

/// Values of `$1`, `$2`, … of one statement. What is bound by view must live until it was sent.
class parameters {
public:
  parameters& integer(std::integral auto v) { return put(static_cast<std::int64_t>(v)); }
  parameters& text(std::string_view v);
  parameters& bytes(std::string_view v);
  parameters& null(type t);
  parameters& column(array a);

private:
  friend class connection;
  parameters& put(std::int64_t v);
  struct bound {
    type what;
    bool null = false;
    std::string owned;
    std::string_view view;
    bool is_view = false;
  };
  std::vector<bound> values_;
};

/// The rows of an answer.
class answer {
public:
  explicit answer(pg_result* r) : result_(r) {}
  answer(answer&& other) noexcept : result_(std::exchange(other.result_, nullptr)) {}
  answer& operator=(answer&& other) noexcept {
    std::swap(result_, other.result_);
    return *this;
  }
  ~answer();

  std::size_t rows() const noexcept;
  /// How many rows a writing statement has touched.
  std::uint64_t touched() const;
  /// The command's tag: `COMMIT`, or `ROLLBACK` for a commit of what had failed.
  std::string_view tag() const;

  bool null_at(std::size_t row, int column) const noexcept;
  /// Of an integer column of any width.
  std::int64_t int_at(std::size_t row, int column) const;
  std::uint64_t uint_at(std::size_t row, int column) const {
    return static_cast<std::uint64_t>(int_at(row, column));
  }
  /// Bytes of a text or bytea column; valid as long as the answer.
  std::string_view view_at(std::size_t row, int column) const noexcept;

private:
  pg_result* result_;
};

/// A statement that connections prepare when they first meet it. The text is its identity.
class statement {
public:
  statement() = default;
  explicit statement(std::string sql)
    : sql_(std::move(sql)), name_("s" + std::to_string(std::hash<std::string>{}(sql_))) {}
  const std::string& sql() const noexcept { return sql_; }
  const std::string& name() const noexcept { return name_; }
  explicit operator bool() const noexcept { return !sql_.empty(); }

private:
  std::string sql_;
  std::string name_;
};

/// Statements that go to the server together; the first failure skips the rest.
struct request {
  const statement* what;
  parameters values;
};

/// One connection. After a `failure` that says `lost` every call fails the same way until
/// `reconnect`. Not thread-safe.
class connection {
public:
  enum class mode : std::uint8_t { write, read };

  /// Throws `failure`.
  connection(const postgres_options& options, mode m);
  ~connection();
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  /// Closes what is left and connects anew. Throws `failure`.
  void reconnect();
  bool alive() const noexcept { return db_ != nullptr; }
  /// Lets the connection go without a word.
  void drop() noexcept;
  /// The server's process that serves this connection, or served it.
  int server_process() const noexcept { return server_process_; }
  /// In a transaction, also in a failed one.
  bool in_transaction() const noexcept;

  /// Runs SQL without values, also several statements.
  void exec(const std::string& sql);
  answer query(const statement& s, parameters values = {});
  answer query(const std::string& sql, parameters values = {}) {
    return query(statement(sql), std::move(values));
  }
  /// The integer that a query gives; 0 when it gives none.
  std::int64_t number(const std::string& sql, parameters values = {});

  /// Runs all in one round trip, in the order given; as one transaction only if they say so.
  std::vector<answer> run(std::span<request> requests);

  /// The server warned that what it committed may not be where it should be (a standby).
  bool take_warning() noexcept { return std::exchange(warned_, false); }

private:
  using clock = std::chrono::steady_clock;
  [[noreturn]] void lose(const std::string& why);
  [[noreturn]] void raise(pg_result* r);
  void prepare_missing(std::span<request> requests);
  void send(const statement& s, const parameters& values);
  void flush(clock::time_point until);
  /// Null: nothing more to come for the statement.
  pg_result* next(clock::time_point until);
  void wait(short events, clock::time_point until);
  clock::time_point deadline() const;
  bool is_lost() const;

  postgres_options options_;
  mode mode_;
  pg_conn* db_ = nullptr;
  int server_process_ = 0;
  bool warned_ = false;
  std::unordered_set<std::string> prepared_;  ///< Names of statements.
};

/// A transaction that is undone unless committed.
class transaction {
public:
  explicit transaction(connection& db) : db_(db) { db_.exec("BEGIN"); }
  ~transaction();
  transaction(const transaction&) = delete;
  transaction& operator=(const transaction&) = delete;
  void commit();

private:
  connection& db_;
  bool done_ = false;
};

/// Quoted for SQL.
std::string sql_name(std::string_view name);
std::string sql_text(std::string_view text);

}  // namespace recalld::storage::postgres

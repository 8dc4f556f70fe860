#include "storage/sqlite_connection.hpp"

#include "storage/sqlite_vfs.hpp"

#include <SQLiteCpp/Exception.h>

#include <system_error>

namespace recalld::storage::sqlite {

failure failure_of(sqlite3* db) {
  failure f{sqlite3_extended_errcode(db), sqlite3_errmsg(db)};
  // "disk I/O error" says little; the system knows whether the disk is full.
  if ((f.code & 0xff) == SQLITE_IOERR)
    if (const int why = sqlite3_system_errno(db); why != 0)
      f.message += ": " + std::generic_category().message(why);
  return f;
}

namespace {

[[noreturn]] void raise_from(sqlite3* db) {
  throw failure_of(db);
}

int open_flags(connection::mode m) {
  // One thread uses a connection at a time, so SQLite need not lock it.
  int flags = SQLITE_OPEN_NOMUTEX;
  switch (m) {
    case connection::mode::write: return flags | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    case connection::mode::read: return flags | SQLITE_OPEN_READONLY;
    case connection::mode::read_immutable: return flags | SQLITE_OPEN_READONLY | SQLITE_OPEN_URI;
  }
  return flags;
}

std::string file_name(const std::filesystem::path& file, connection::mode m) {
  if (m != connection::mode::read_immutable)
    return file.string();
  std::string uri = "file:";
  for (const unsigned char c : std::filesystem::absolute(file).string()) {
    if (c == '?' || c == '#' || c == '%') {
      constexpr char digits[] = "0123456789abcdef";
      uri += {'%', digits[c >> 4], digits[c & 15]};
    } else {
      uri += static_cast<char>(c);
    }
  }
  return uri + "?immutable=1";
}

}  // namespace

void refuse(errc code, std::string message) {
  throw failure{0, {}, error{code, std::move(message)}};
}

error to_error(const failure& f) {
  if (f.typed)
    return *f.typed;
  switch (f.code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return {errc::corrupt, "the log's database is damaged: " + f.message};
    case SQLITE_FULL: return {errc::unavailable, "no room left on the log's disk: " + f.message};
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH: return {errc::unavailable, "the log cannot be written: " + f.message};
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {errc::unavailable, "the log is locked by another process: " + f.message};
    case SQLITE_CANTOPEN: return {errc::unavailable, "the log cannot be opened: " + f.message};
    default: return {errc::unavailable, "the log cannot be reached: " + f.message};
  }
}

statement::statement(sqlite3* db, const std::string& sql) {
  if (sqlite3_prepare_v3(db, sql.c_str(), static_cast<int>(sql.size()) + 1,
                         SQLITE_PREPARE_PERSISTENT, &stmt_, nullptr)
      != SQLITE_OK)
    raise_from(db);
}

void statement::raise() {
  auto* db = sqlite3_db_handle(stmt_);
  const auto f = failure_of(db);
  sqlite3_reset(stmt_);
  throw f;
}

connection::connection(const std::filesystem::path& file, mode m, int busy_ms,
                       std::uint64_t cache_bytes) {
  // Nobody reads SQLite's statistics of memory, which cost a lock for each allocation. Refused,
  // and harmless, when something else has started SQLite before.
  [[maybe_unused]] static const int quiet = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  try {
    db_ = std::make_unique<SQLite::Database>(file_name(file, m), open_flags(m), busy_ms,
                                             vfs_name());
  } catch (const SQLite::Exception& e) {
    throw failure{e.getExtendedErrorCode(), file.string() + ": " + e.what()};
  }
  sqlite3_extended_result_codes(handle(), 1);
  exec("PRAGMA cache_size=-" + std::to_string(cache_bytes / 1024));
  exec("PRAGMA temp_store=MEMORY");
  if (m != mode::write)
    return;
  exec("PRAGMA journal_mode=WAL");
  exec("PRAGMA synchronous=FULL");
  exec("PRAGMA secure_delete=ON");
  // Checkpoints are made by hand, so that a failure in one is seen.
  exec("PRAGMA wal_autocheckpoint=0");
  exec("PRAGMA journal_size_limit=67108864");
}

void connection::exec(const std::string& sql) const {
  if (db_->tryExec(sql) != SQLITE_OK)
    raise_from(handle());
}

std::int64_t connection::number(const std::string& sql) const {
  auto s = prepare(sql);
  return s.step() ? s.int_at(0) : 0;
}

void transaction::commit() {
  const int rc = sqlite3_exec(db_.handle(), "COMMIT", nullptr, nullptr, nullptr);
  if (rc == SQLITE_OK) {
    done_ = true;
    return;
  }
  const auto f = failure_of(db_.handle());
  // SQLITE_FULL: a page of the write-ahead log could not be written, so the frame that carries the
  // commit mark was not either, and recovery will never see it.
  if ((rc & 0xff) == SQLITE_FULL || (rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_READONLY)
    throw f;
  done_ = true;
  refuse(errc::outcome_unknown, "the commit may or may not be on disk: " + f.message);
}

std::string sql_name(std::string_view name) { return '"' + std::string(name) + '"'; }

}  // namespace recalld::storage::sqlite

#include "bench/bare_sqlite.hpp"

#include "events/ids.hpp"
#include "projections/projections.hpp"
#include "storage/sqlite_store.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <stdexcept>

namespace recalld::bench {

namespace {

/// A prepared statement; values are bound without a copy.
class query {
public:
  query(sqlite3* db, const char* sql) : db_(db) {
    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt_, nullptr) != SQLITE_OK)
      throw std::runtime_error(std::string(sqlite3_errmsg(db)) + " in: " + sql);
  }
  ~query() { sqlite3_finalize(stmt_); }
  query(const query&) = delete;
  query& operator=(const query&) = delete;

  query& put(int at, std::int64_t v) {
    sqlite3_bind_int64(stmt_, at, v);
    return *this;
  }
  query& put(int at, std::string_view v) {
    sqlite3_bind_text(stmt_, at, v.data(), static_cast<int>(v.size()), SQLITE_STATIC);
    return *this;
  }
  query& put_bytes(int at, std::string_view v) {
    sqlite3_bind_blob(stmt_, at, v.data(), static_cast<int>(v.size()), SQLITE_STATIC);
    return *this;
  }
  query& put_nothing(int at) {
    sqlite3_bind_null(stmt_, at);
    return *this;
  }
  bool step() {
    const int rc = sqlite3_step(stmt_);
    if (rc == SQLITE_ROW)
      return true;
    sqlite3_reset(stmt_);
    if (rc != SQLITE_DONE)
      throw std::runtime_error(sqlite3_errmsg(db_));
    return false;
  }
  void run() {
    while (step()) {
    }
  }
  query& put_same(int column, const query& from) {
    sqlite3_bind_value(stmt_, column + 1, sqlite3_column_value(from.stmt_, column));
    return *this;
  }
  std::int64_t number(int column) const { return sqlite3_column_int64(stmt_, column); }
  std::string_view words(int column) const {
    const auto* p = static_cast<const char*>(sqlite3_column_blob(stmt_, column));
    return {p, static_cast<std::size_t>(sqlite3_column_bytes(stmt_, column))};
  }

private:
  sqlite3* db_;
  sqlite3_stmt* stmt_ = nullptr;
};

/// Writes `n` in hexadecimal over the end of `text`: ids that grow, as those of the server do.
void number_into(std::string& text, std::uint64_t n) {
  for (auto at = text.size(); at > 0 && at + 16 > text.size(); n >>= 4)
    text[--at] = "0123456789abcdef"[n & 15];
}

}  // namespace

struct bare_sqlite::connection {
  sqlite3* db = nullptr;
  std::size_t sessions = 0;
  std::uint64_t next = 0;  ///< Session of the next append; counts on.
  std::int64_t position = 0;
  std::vector<std::int64_t> versions;  ///< By session.
  const int checkpoint_pages = storage::sqlite_options{}.checkpoint_pages;
  int pages = 0;  ///< In the write-ahead log.

  connection(const std::filesystem::path& file, bool write) {
    const int flags = SQLITE_OPEN_NOMUTEX | (write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY);
    if (sqlite3_open_v2(file.c_str(), &db, flags, nullptr) != SQLITE_OK)
      throw std::runtime_error("cannot open " + file.string());
    // The settings of the store's own connections.
    const storage::sqlite_options same;
    exec("PRAGMA cache_size=-"
         + std::to_string((write ? same.writer_cache_bytes : same.reader_cache_bytes) / 1024));
    exec("PRAGMA temp_store=MEMORY");
    if (!write)
      return;
    exec("PRAGMA journal_mode=WAL");
    exec("PRAGMA synchronous=FULL");
    exec("PRAGMA secure_delete=ON");
    exec("PRAGMA wal_autocheckpoint=0");
    exec("PRAGMA journal_size_limit=67108864");
    sqlite3_wal_hook(
      db,
      [](void* self, sqlite3*, const char*, int in_log) {
        static_cast<connection*>(self)->pages = in_log;
        return SQLITE_OK;
      },
      this);
  }
  ~connection() { sqlite3_close(db); }
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  void exec(const std::string& sql) {
    if (sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
      throw std::runtime_error(sqlite3_errmsg(db));
  }
  void checkpoint() {
    sqlite3_wal_checkpoint_v2(db, "main", SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
    pages = 0;
  }
};

bare_sqlite::bare_sqlite(std::unique_ptr<connection> c) : c_(std::move(c)) {}
bare_sqlite::~bare_sqlite() = default;
bare_sqlite::bare_sqlite(bare_sqlite&&) noexcept = default;

bare_sqlite bare_sqlite::open(const std::filesystem::path& directory, bool write) {
  return bare_sqlite(std::make_unique<connection>(directory / "recalld.db", write));
}

bare_sqlite::bare_sqlite(const std::filesystem::path& directory, std::size_t sessions) {
  {
    storage::sqlite_options options;
    options.directory = directory;
    if (auto made = storage::open_sqlite(options); !made)
      throw std::runtime_error(made.error().message);
  }
  c_ = std::make_unique<connection>(directory / "recalld.db", true);
  c_->sessions = sessions;
  c_->versions.assign(sessions, 0);
  c_->exec("BEGIN IMMEDIATE");
  query stream(c_->db, "INSERT INTO streams(no, shard, id, sum) VALUES(?, 0, ?, 0)");
  query session(c_->db,
                "INSERT INTO sessions(stream, tenant, app, user, session, status, created_at, "
                "updated_at, version, entries, floor, metadata, updated_slot) "
                "VALUES(?, 'default', 'bench', ?, ?, 'open', 1, 1, 0, 0, 0, '{}', 0)");
  for (std::size_t i = 0; i < sessions; ++i) {
    const auto no = static_cast<std::int64_t>(i) + 1;
    const auto user = "u" + std::to_string(i);
    const auto name = "s" + std::to_string(i);
    const auto id = session_stream("default", "bench", user, name);
    stream.put(1, no).put_bytes(2, id.bytes()).run();
    session.put(1, no).put(2, user).put(3, name).run();
  }
  c_->exec("COMMIT");
  checkpoint();
}

void bare_sqlite::checkpoint() { c_->checkpoint(); }

model_row bare_sqlite::newest_entry() {
  query newest(c_->db, "SELECT type, schema, lane, key, payload FROM log WHERE lane = 1 "
                       "ORDER BY position DESC LIMIT 1");
  if (!newest.step())
    throw std::runtime_error("there is no entry in the log");
  return {std::string(newest.words(0)), newest.number(1), newest.number(2),
          std::string(newest.words(3)), std::string(newest.words(4))};
}

bare_sqlite::written bare_sqlite::append(const model_row& row, std::size_t batch, bool receipts,
                                         double seconds) {
  auto& c = *c_;
  query begin(c.db, "BEGIN IMMEDIATE");
  query commit(c.db, "COMMIT");
  query head(c.db, "SELECT epoch, head FROM shards WHERE shard = 0");
  query set_head(c.db, "UPDATE shards SET head = ? WHERE shard = 0");
  query fact(c.db, "INSERT INTO log(position, stream, version, lane, type, schema, time, key, "
                   "command, body_hash, command_facts, sum, payload) "
                   "VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)");
  query receipt(c.db, "INSERT INTO receipts(stream, command, body_hash, first_version, "
                      "last_version, position, time) VALUES(?,?,?,?,?,?,?)");
  query session(c.db, "UPDATE sessions SET updated_at = ?1, updated_slot = ?1 >> 24, version = ?2, "
                      "entries = ?3 WHERE stream = ?4");
  auto key = row.key;
  std::string command(36, '0');
  std::vector<std::size_t> touched;
  written out;
  const stopwatch watch;
  do {
    const stopwatch one;
    const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
    touched.clear();
    begin.run();
    head.run();
    for (std::size_t i = 0; i < batch; ++i) {
      const auto at = static_cast<std::size_t>(c.next++ % c.sessions);
      const auto stream = static_cast<std::int64_t>(at) + 1;
      const auto version = ++c.versions[at];
      ++c.position;
      number_into(key, static_cast<std::uint64_t>(c.position));
      if (receipts) {
        number_into(command, static_cast<std::uint64_t>(c.position));
        receipt.put(1, stream).put(2, command).put(3, c.position).put(4, version).put(5, version);
        receipt.put(6, c.position).put(7, now).run();
        fact.put(9, command).put(10, c.position).put(11, std::int64_t{1});
      } else {
        fact.put_nothing(9).put_nothing(10).put_nothing(11);
      }
      fact.put(1, c.position).put(2, stream).put(3, version).put(4, row.lane).put(5, row.type);
      fact.put(6, row.schema).put(7, now).put_bytes(8, key).put(12, c.position);
      fact.put(13, row.payload).run();
      touched.push_back(at);
    }
    // A session that was appended to twice has its row written once.
    std::sort(touched.begin(), touched.end());
    touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
    for (const auto at : touched)
      session.put(1, now)
        .put(2, c.versions[at])
        .put(3, c.versions[at])
        .put(4, static_cast<std::int64_t>(at) + 1)
        .run();
    set_head.put(1, c.position).run();
    commit.run();
    out.commit_us.add(one.us());
    out.rows += batch;
    if (c.pages >= c.checkpoint_pages)
      c.checkpoint();
  } while (watch.seconds() < seconds);
  out.rows_per_s = static_cast<double>(out.rows) / watch.seconds();
  return out;
}

std::int64_t bare_sqlite::stream_no(const std::string& stream_id) {
  query find(c_->db, "SELECT no FROM streams WHERE id = ?");
  find.put_bytes(1, stream_id);
  return find.step() ? find.number(0) : 0;
}

std::size_t bare_sqlite::last_entries(std::int64_t stream, std::size_t limit) {
  query last(c_->db, "SELECT position, version, time, payload FROM log "
                     "WHERE stream = ? AND lane = 1 ORDER BY version DESC LIMIT ?");
  last.put(1, stream).put(2, static_cast<std::int64_t>(limit));
  std::size_t bytes = 0;
  while (last.step())
    bytes += last.words(3).size();
  return bytes;
}

std::size_t bare_sqlite::lane(std::int64_t stream, int lane) {
  query all(c_->db, "SELECT position, version, time, type, payload FROM log "
                    "WHERE stream = ? AND lane = ? ORDER BY version");
  all.put(1, stream).put(2, std::int64_t{lane});
  std::size_t rows = 0;
  while (all.step())
    rows += all.words(4).empty() ? 0 : 1;
  return rows;
}

std::size_t bare_sqlite::scan() {
  query all(c_->db, "SELECT position, stream, version, lane, type, schema, time, key, command, "
                    "body_hash, command_facts, sum, payload FROM log ORDER BY position");
  std::size_t rows = 0;
  while (all.step())
    rows += all.words(12).empty() ? 0 : 1;
  return rows;
}

std::int64_t bare_sqlite::head() {
  query head(c_->db, "SELECT head FROM shards WHERE shard = 0");
  return head.step() ? head.number(0) : 0;
}

std::size_t bare_sqlite::copy_projections() {
  std::size_t rows = 0;
  c_->exec("BEGIN IMMEDIATE");
  for (const auto* t : projections::tables()) {
    const std::string name(t->name);
    std::vector<std::string> shapes;
    query shape(c_->db,
                "SELECT sql, name FROM sqlite_master WHERE tbl_name = ? AND sql IS NOT NULL "
                "ORDER BY type = 'index'");
    shape.put(1, name);
    while (shape.step()) {
      auto sql = std::string(shape.words(0));
      for (const auto& known : {name, std::string(shape.words(1))}) {
        const auto quoted = '"' + known + '"';
        if (const auto at = sql.find(quoted); at != std::string::npos)
          sql.replace(at, quoted.size(), "\"bare_" + known + '"');
      }
      shapes.push_back(std::move(sql));
    }
    for (const auto& sql : shapes)
      c_->exec(sql);
    // Row by row, as a program that computes them has to.
    std::string marks = "?";
    for (std::size_t i = 1; i < t->columns.size(); ++i)
      marks += ", ?";
    query from(c_->db, ("SELECT * FROM \"" + name + '"').c_str());
    query into(c_->db, ("INSERT INTO \"bare_" + name + "\" VALUES(" + marks + ")").c_str());
    while (from.step()) {
      for (std::size_t i = 0; i < t->columns.size(); ++i)
        into.put_same(static_cast<int>(i), from);
      into.run();
      ++rows;
    }
  }
  c_->exec("ROLLBACK");
  return rows;
}

}  // namespace recalld::bench

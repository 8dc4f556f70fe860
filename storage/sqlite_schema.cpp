#include "storage/sqlite_schema.hpp"

#include "projections/projections.hpp"
#include "storage/log_copy.hpp"
#include "storage/log_row.hpp"

#include <array>
#include <chrono>

namespace recalld::storage::sqlite {

namespace {

constexpr const char* schema_1 = R"sql(
CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE shards(shard INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, head INTEGER NOT NULL);
CREATE TABLE streams(
  no INTEGER PRIMARY KEY,
  shard INTEGER NOT NULL,
  id BLOB NOT NULL UNIQUE,
  sum INTEGER NOT NULL,
  base INTEGER NOT NULL DEFAULT 0,
  base_fact INTEGER NOT NULL DEFAULT 0,
  merged INTEGER NOT NULL DEFAULT 0,
  merged_time INTEGER NOT NULL DEFAULT 0);
CREATE INDEX streams_based ON streams(no) WHERE base > 0;
CREATE TABLE log(
  position INTEGER PRIMARY KEY,
  stream INTEGER NOT NULL,
  version INTEGER NOT NULL,
  lane INTEGER NOT NULL,
  type TEXT NOT NULL,
  schema INTEGER NOT NULL,
  time INTEGER NOT NULL,
  key BLOB,
  command TEXT,
  body_hash INTEGER,
  command_facts INTEGER,
  sum INTEGER NOT NULL,
  payload TEXT);
CREATE UNIQUE INDEX log_lane ON log(stream, lane, version);
CREATE UNIQUE INDEX log_key ON log(stream, key) WHERE key IS NOT NULL AND lane <> 1;
CREATE UNIQUE INDEX log_entry ON log(key, stream) WHERE key IS NOT NULL AND lane = 1;
CREATE TABLE blanks(first INTEGER PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE borrows(
  stream INTEGER NOT NULL, source INTEGER NOT NULL, through INTEGER NOT NULL,
  PRIMARY KEY(stream, source)) WITHOUT ROWID;
CREATE INDEX borrows_source ON borrows(source, through);
CREATE TABLE sweep_debt(stream INTEGER PRIMARY KEY, due INTEGER NOT NULL);
CREATE INDEX sweep_debt_due ON sweep_debt(due);
CREATE TABLE table_versions(name TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO shards VALUES(0, 0, 0);
)sql";

/// `migrations[n]` turns schema n + 1 into n + 2.
constexpr std::array<const char*, schema_version - 1> migrations{};

int read_schema_version(const connection& db) {
  if (db.number("SELECT count(*) FROM sqlite_master WHERE name = 'meta'") == 0) {
    if (db.number("SELECT count(*) FROM sqlite_master") != 0)
      refuse(errc::invalid, "the database belongs to another program");
    return 0;
  }
  const auto version = db.number("SELECT value FROM meta WHERE name = 'schema'");
  if (version < 1)
    refuse(errc::corrupt, "the log's database does not say its schema version");
  if (version > schema_version)
    refuse(errc::unavailable, "the log was written by a newer program: its schema version is "
                                + std::to_string(version) + ", this program knows up to "
                                + std::to_string(schema_version));
  return static_cast<int>(version);
}

}  // namespace

void create_or_migrate(const connection& db) {
  transaction change(db);
  const int found = read_schema_version(db);
  if (found == schema_version
      && db.number("SELECT count(*) FROM meta WHERE name = 'cursor_key'") != 0)
    return;
  if (found == 0) {
    db.exec(schema_1);
    const auto id = fresh_log_id();
    auto insert = db.prepare("INSERT INTO meta VALUES(?, ?)");
    insert.text(1, "log_id").text(2, id).run();
    insert.text(1, "generation").integer(2, 1).run();
    insert.text(1, "shadows").integer(2, 0).run();
    insert.text(1, "created")
      .integer(2, std::chrono::duration_cast<std::chrono::microseconds>(
                    std::chrono::system_clock::now().time_since_epoch())
                    .count())
      .run();
    insert.text(1, "schema").integer(2, schema_version).run();
    for (const auto* t : projections::tables()) {
      db.exec(create_table_sql(*t, t->name, ""));
      auto version = db.prepare("INSERT INTO table_versions VALUES(?, ?)");
      version.text(1, t->name).integer(2, t->version).run();
    }
  } else if (found < schema_version) {
    for (int v = found; v < schema_version; ++v)
      db.exec(migrations.at(static_cast<std::size_t>(v - 1)));
    db.exec("UPDATE meta SET value = " + std::to_string(schema_version) + " WHERE name = 'schema'");
  }
  // Logs of the first program had none.
  db.prepare("INSERT OR IGNORE INTO meta VALUES('cursor_key', ?)").text(1, fresh_key()).run();
  change.commit();
}

void check_readable(const connection& db) {
  const int found = read_schema_version(db);
  if (found == 0)
    refuse(errc::not_found, "there is no log here");
  if (found < schema_version)
    refuse(errc::unavailable, "the log was written by an older program (schema version "
                                + std::to_string(found) + "); open it for writing once");
}

log_identity read_identity(const connection& db, bool unfinished_is_welcome) {
  log_identity out;
  if (!unfinished_is_welcome
      && db.number("SELECT count(*) FROM meta WHERE name = 'copying'") != 0)
    refuse(errc::unavailable, unfinished_copy);
  auto s = db.prepare("SELECT value FROM meta WHERE name = ?");
  s.text(1, "log_id");
  if (!s.step())
    refuse(errc::corrupt, "the log's database does not say which log it is");
  out.log_id = s.view_at(0);
  s.reset();
  s.text(1, "generation");
  if (!s.step())
    refuse(errc::corrupt, "the log's database does not say its generation");
  out.generation = s.uint_at(0);
  s.reset();
  s.text(1, "cursor_key");
  if (s.step())
    out.cursor_key = s.view_at(0);
  s.reset();
  return out;
}

std::string create_table_sql(const projections::table& t, std::string_view name,
                             std::string_view index_suffix) {
  const bool by_stream_alone =
    t.key_columns == 1 && t.columns.front().type == projections::column_type::integer;
  std::string sql = "CREATE TABLE " + sql_name(name) + "(";
  for (const auto& c : t.columns) {
    sql += sql_name(c.name);
    // Text columns have no declared type, so that SQLite never converts what is put into them.
    sql += c.type == projections::column_type::integer ? " INTEGER" : "";
    if (by_stream_alone && &c == &t.columns.front())
      sql += " PRIMARY KEY";
    sql += c.nullable ? ", " : " NOT NULL, ";
  }
  if (by_stream_alone) {
    sql.resize(sql.size() - 2);
    sql += ");";
  } else {
    sql += "PRIMARY KEY(";
    for (std::size_t i = 0; i < t.key_columns; ++i)
      sql += (i ? ", " : "") + sql_name(t.columns[i].name);
    sql += ")) WITHOUT ROWID;";
  }
  for (const auto& ix : t.indexes) {
    sql += "CREATE INDEX "
           + sql_name(std::string(t.name) + "_" + std::string(ix.name) + std::string(index_suffix))
           + " ON " + sql_name(name) + "(";
    const auto kept = ix.kept_columns();
    for (std::size_t i = 0; i < kept.size(); ++i)
      sql += (i ? ", " : "") + sql_name(t.columns[kept[i]].name);
    sql += ")";
    if (ix.only_where_set >= 0)
      sql += " WHERE " + sql_name(t.columns[static_cast<std::size_t>(ix.only_where_set)].name)
             + " IS NOT NULL";
    sql += ";";
  }
  return sql;
}

int stored_version(const connection& db, const projections::table& t) {
  auto s = db.prepare("SELECT version FROM table_versions WHERE name = ?");
  s.text(1, t.name);
  const reset_on_exit done(s);
  return s.step() ? static_cast<int>(s.int_at(0)) : 0;
}

}  // namespace recalld::storage::sqlite

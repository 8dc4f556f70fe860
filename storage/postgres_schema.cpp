#include "storage/postgres_schema.hpp"

#include "projections/projections.hpp"
#include "storage/log_copy.hpp"
#include "storage/log_row.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

namespace recalld::storage::postgres {

namespace {

constexpr const char* schema_1 = R"sql(
CREATE TABLE meta(name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE shards(
  shard int4 PRIMARY KEY,
  epoch int8 NOT NULL DEFAULT 0,
  head int8 NOT NULL DEFAULT 0 CONSTRAINT shards_fence CHECK(head >= 0),
  streams int8 NOT NULL DEFAULT 0,
  owner text NOT NULL DEFAULT '') WITH (fillfactor = 10);
CREATE TABLE streams(
  no int8 PRIMARY KEY,
  shard int4 NOT NULL,
  sum int4 NOT NULL,
  base int8 NOT NULL DEFAULT 0,
  base_fact int8 NOT NULL DEFAULT 0,
  merged int8 NOT NULL DEFAULT 0,
  merged_time int8 NOT NULL DEFAULT 0,
  id bytea NOT NULL UNIQUE);
CREATE INDEX streams_based ON streams(shard, no) WHERE base > 0;
CREATE TABLE log(
  position int8 NOT NULL,
  stream int8 NOT NULL,
  version int8 NOT NULL,
  time int8 NOT NULL,
  body_hash int8,
  shard int4 NOT NULL,
  sum int4 NOT NULL,
  command_facts int4,
  lane int2 NOT NULL,
  schema int2 NOT NULL,
  type text COLLATE "C" NOT NULL,
  key bytea,
  command text COLLATE "C",
  payload text,
  PRIMARY KEY(shard, position));
CREATE UNIQUE INDEX log_lane ON log(stream, lane, version);
CREATE UNIQUE INDEX log_key ON log(stream, key) WHERE key IS NOT NULL AND lane <> 1;
CREATE UNIQUE INDEX log_entry ON log(key, stream) WHERE key IS NOT NULL AND lane = 1;
CREATE TABLE blanks(
  shard int4 NOT NULL, first int8 NOT NULL, last int8 NOT NULL, PRIMARY KEY(shard, first));
CREATE TABLE borrows(
  stream int8 NOT NULL, source int8 NOT NULL, through int8 NOT NULL, PRIMARY KEY(stream, source));
CREATE INDEX borrows_source ON borrows(source, through);
CREATE TABLE sweep_debt(stream int8 PRIMARY KEY, shard int4 NOT NULL, due int8 NOT NULL);
CREATE INDEX sweep_debt_due ON sweep_debt(shard, due);
CREATE TABLE lease(
  one boolean PRIMARY KEY DEFAULT true CHECK(one),
  holder text NOT NULL, node text NOT NULL, until timestamptz NOT NULL);
INSERT INTO lease(holder, node, until) VALUES ('', '', '-infinity');
CREATE TABLE table_versions(name text PRIMARY KEY, version int4 NOT NULL);
DO $$ BEGIN
  ALTER TABLE log ALTER COLUMN payload SET COMPRESSION lz4;
EXCEPTION WHEN OTHERS THEN
  NULL;  -- a server without lz4 keeps its own compression
END $$;
)sql";

/// `migrations[n]` turns schema n + 1 into n + 2.
constexpr std::array<const char*, schema_version - 1> migrations{};

std::optional<std::string> read_meta(connection& db, std::string_view name) {
  parameters p;
  p.text(name);
  const auto out = db.query("SELECT value FROM meta WHERE name = $1", std::move(p));
  if (out.rows() == 0)
    return {};
  return std::string(out.view_at(0, 0));
}

std::uint64_t whole_meta(connection& db, std::string_view name) {
  const auto text = read_meta(db, name);
  std::uint64_t n = 0;
  if (text) {
    const auto [end, bad] = std::from_chars(text->data(), text->data() + text->size(), n);
    if (bad == std::errc{} && end == text->data() + text->size())
      return n;
  }
  refuse(errc::corrupt, "the log does not say its " + std::string(name));
}

/// 0 = there is no log yet.
int read_schema_version(connection& db, const postgres_options& options) {
  auto tables = [&](const char* condition) {
    return db.number("SELECT count(*) FROM pg_tables WHERE schemaname = "
                     + sql_text(options.schema) + condition);
  };
  if (tables(" AND tablename = 'meta'") == 0) {
    if (tables("") != 0)
      refuse(errc::invalid, "the schema " + options.schema + " belongs to another program");
    return 0;
  }
  const auto version = whole_meta(db, "schema");
  if (version > schema_version)
    refuse(errc::unavailable, "the log was written by a newer program: its schema version is "
                                + std::to_string(version) + ", this program knows up to "
                                + std::to_string(schema_version));
  return static_cast<int>(version);
}

std::string setting(connection& db, const char* name) {
  const auto out = db.query("SELECT current_setting(" + sql_text(name) + ")");
  return std::string(out.view_at(0, 0));
}

/// In which database cluster, and on which of its timelines, this connection writes.
std::string read_place(connection& db) {
  std::string out = "?";
  if (db.number("SELECT has_function_privilege('pg_control_system()', 'EXECUTE')::int::int8") != 0)
    out = db.query("SELECT system_identifier::text FROM pg_control_system()").view_at(0, 0);
  if (db.number("SELECT pg_is_in_recovery()::int::int8") == 0)
    out += '/'
           + std::string(
             db.query("SELECT left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)").view_at(0, 0));
  return out;
}

time_us_t now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
           std::chrono::system_clock::now().time_since_epoch())
    .count();
}

/// In a place where it was not written before, a log may lack the newest of what was there: cursors
/// and caches of the generation before are worthless.
void settle_place(connection& db) {
  const auto now = read_place(db);
  const auto before = read_meta(db, "place");
  if (before == now)
    return;
  db.exec("INSERT INTO meta VALUES('place', " + sql_text(now)
          + ") ON CONFLICT (name) DO UPDATE SET value = excluded.value");
  const auto generation = std::max<std::uint64_t>(
    whole_meta(db, "generation") + 1, static_cast<std::uint64_t>(now_us() / 1'000'000));
  if (before)
    db.exec("UPDATE meta SET value = " + sql_text(std::to_string(generation))
            + " WHERE name = 'generation'");
}

void create(connection& db, const postgres_options& options) {
  db.exec(schema_1);
  auto note = [&](const char* name, const std::string& value) {
    db.exec("INSERT INTO meta VALUES(" + sql_text(name) + ", " + sql_text(value) + ")");
  };
  note("log_id", fresh_log_id());
  note("cursor_key", fresh_key());
  note("generation", "1");
  note("shadows", "0");
  note("created", std::to_string(now_us()));
  note("shards", std::to_string(options.shards));
  note("schema", std::to_string(schema_version));
  db.exec("INSERT INTO shards(shard) SELECT generate_series(0, "
          + std::to_string(options.shards - 1) + ")");
  for (const auto* t : projections::tables()) {
    db.exec(create_table_sql(*t, t->name, ""));
    db.exec("INSERT INTO table_versions VALUES(" + sql_text(t->name) + ", "
            + std::to_string(t->version) + ")");
  }
}

}  // namespace

void create_or_migrate(connection& db, const postgres_options& options) {
  if (options.shards == 0 || options.shards > 1024)
    refuse(errc::invalid, "a log has 1 to 1024 shards");
  transaction change(db);
  // Whoever comes second finds what the first has made.
  db.exec("SELECT pg_advisory_xact_lock(hashtext(" + sql_text("recalld " + options.schema) + "))");
  if (db.number("SELECT count(*) FROM pg_namespace WHERE nspname = " + sql_text(options.schema))
      == 0)
    db.exec("CREATE SCHEMA " + sql_name(options.schema));
  const int found = read_schema_version(db, options);
  if (found == 0) {
    if (setting(db, "server_encoding") != "UTF8")
      refuse(errc::unavailable, "the database's encoding is " + setting(db, "server_encoding")
                                  + "; a log needs one with UTF8");
    create(db, options);
  } else {
    for (int v = found; v < schema_version; ++v)
      db.exec(migrations.at(static_cast<std::size_t>(v - 1)));
    db.exec("UPDATE meta SET value = " + sql_text(std::to_string(schema_version))
            + " WHERE name = 'schema'");
  }
  settle_place(db);
  change.commit();
}

log_facts read_log_facts(connection& db, const postgres_options& options) {
  const int found = read_schema_version(db, options);
  if (found == 0)
    refuse(errc::not_found, "there is no log in the schema " + options.schema);
  if (found < schema_version)
    refuse(errc::unavailable, "the log was written by an older program (schema version "
                                + std::to_string(found) + "); open it for writing once");
  log_facts out;
  const auto id = read_meta(db, "log_id");
  if (!id)
    refuse(errc::corrupt, "the log does not say which log it is");
  out.identity = {*id, whole_meta(db, "generation"),
                  read_meta(db, "cursor_key").value_or(std::string())};
  out.shards = static_cast<std::uint32_t>(whole_meta(db, "shards"));
  if (out.shards == 0)
    refuse(errc::corrupt, "the log says that it has no shards");
  if (!options.unfinished && read_meta(db, "copying"))
    refuse(errc::unavailable, unfinished_copy);
  out.place = read_place(db);
  return out;
}

void check_same(const log_facts& before, const log_facts& now) {
  if (!(before.identity == now.identity))
    refuse(errc::corrupt, "the database holds another log than before, or an earlier state of it");
  if (before.place != now.place)
    refuse(errc::corrupt, "the database was restored, or a standby took over (system and timeline "
                            + now.place + " instead of " + before.place
                            + "): what is in memory may be ahead of it");
}

std::vector<std::string> unsafe_settings(connection& db) {
  std::vector<std::string> out;
  if (setting(db, "fsync") != "on")
    out.emplace_back("fsync is off: a power cut may destroy the whole database");
  if (setting(db, "full_page_writes") != "on")
    out.emplace_back("full_page_writes is off: a power cut may tear pages");
  if (setting(db, "synchronous_commit") == "off")
    out.emplace_back("synchronous_commit is off: acknowledged writes are lost in a crash");
  return out;
}

void check_durability(connection& db, const postgres_options& options) {
  constexpr int oldest = 140'000;
  if (db.number("SELECT current_setting('server_version_num')::int8") < oldest)
    refuse(errc::unavailable, "the server is older than Postgres 14");
  if (db.number("SELECT pg_is_in_recovery()::int::int8") != 0)
    refuse(errc::unavailable, "the server is a standby or still recovering: it cannot be written");
  if (options.allow_unsafe)
    return;
  std::string why;
  for (const auto& one : unsafe_settings(db))
    why += (why.empty() ? "" : "; ") + one;
  if (!why.empty())
    refuse(errc::unavailable, "the server's settings are unsafe (" + why
                                + "). Change them, or accept the loss with --allow-unsafe");
}

std::string create_table_sql(const projections::table& t, std::string_view name,
                             std::string_view index_suffix) {
  std::string sql = "CREATE TABLE " + sql_name(name) + "(";
  for (const auto& c : t.columns) {
    sql += sql_name(c.name);
    sql += c.type == projections::column_type::integer ? " int8" : " text COLLATE \"C\"";
    sql += c.nullable ? ", " : " NOT NULL, ";
  }
  sql += "CONSTRAINT " + sql_name(std::string(t.name) + "_key" + std::string(index_suffix))
         + " PRIMARY KEY(";
  for (std::size_t i = 0; i < t.key_columns; ++i)
    sql += (i ? ", " : "") + sql_name(t.columns[i].name);
  sql += "));";
  for (const auto& ix : t.indexes) {
    sql += "CREATE INDEX "
           + sql_name(std::string(t.name) + "_" + std::string(ix.name) + std::string(index_suffix))
           + " ON " + sql_name(name) + "(";
    // Null comes first in every order of ours, last in the server's.
    auto column = [&](std::size_t c) {
      return sql_name(t.columns[c].name) + (t.columns[c].nullable ? " NULLS FIRST" : "");
    };
    const auto kept = ix.kept_columns();
    for (std::size_t i = 0; i < kept.size(); ++i)
      sql += (i ? ", " : "") + column(kept[i]);
    for (std::size_t i = 0; ix.kept == 0 && i < t.key_columns; ++i)
      sql += ", " + column(i);
    sql += ")";
    if (ix.only_where_set >= 0)
      sql += " WHERE " + sql_name(t.columns[static_cast<std::size_t>(ix.only_where_set)].name)
             + " IS NOT NULL";
    sql += ";";
  }
  return sql;
}

int stored_version(connection& db, const projections::table& t) {
  parameters p;
  p.text(t.name);
  return static_cast<int>(
    db.number("SELECT version FROM table_versions WHERE name = $1", std::move(p)));
}

}  // namespace recalld::storage::postgres

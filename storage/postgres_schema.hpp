#pragma once

#include "projections/table.hpp"
#include "storage/postgres_connection.hpp"
#include "storage/store.hpp"

#include <string>
#include <string_view>

/// Inside `storage/` only. The log in a schema of a Postgres database, schema version 1. Tables and
/// columns are those of `sqlite_schema.hpp`, with these differences:
///
///   meta(name, value)         values are text; besides `shards`, the number of shards, and `place`,
///                             the database cluster and timeline that was last written under
///   shards(shard, epoch, head, streams, owner)
///                             one row a shard: fence, sequencer and lock of its commits at once.
///                             owner: who took it last, a UUID made with each writer
///                             streams: how many streams it has; stream number n of shard s of S
///                             is n * S + s, so that numbers are given without asking anybody else
///   log(shard, position, …)   positions count by shard
///   blanks(shard, first, last)
///   sweep_debt(stream, shard, due)
///   lease(holder, node, until)
///                             one row: which incarnation of which node serves the log, until when
///
/// Ids, keys: bytea. Other text: text with the collation "C", so that order is that of bytes. Whole
/// numbers that have 64 bits without a sign are stored as their bits.
namespace recalld::storage::postgres {

inline constexpr int schema_version = 1;

/// What a log says about itself.
struct log_facts {
  log_identity identity;
  std::uint32_t shards = 1;
  /// The cluster's system identifier and its timeline, which is another one after a standby was
  /// promoted or an earlier state was restored.
  std::string place;
};

/// Creates what is missing in a new database, or brings an older log up to date. A newer one is
/// `unavailable`. Several processes may do so at the same time.
void create_or_migrate(connection& db, const postgres_options& options);

/// Checks, without writing, that this program can read the log, and says which it is.
log_facts read_log_facts(connection& db, const postgres_options& options);

/// `corrupt` when the database is not in the state any more that `before` was read from: what is in
/// memory may be ahead of it.
void check_same(const log_facts& before, const log_facts& now);

/// Refuses a server that may lose what it acknowledged, or that is no primary. What is unsafe is
/// allowed by the options; a standby never is.
void check_durability(connection& db, const postgres_options& options);

/// What speaks against a server's settings, one sentence each; empty = nothing.
std::vector<std::string> unsafe_settings(connection& db);

/// `CREATE TABLE` and `CREATE INDEX` of a projection table under a name of its own.
std::string create_table_sql(const projections::table& t, std::string_view name,
                             std::string_view index_suffix);

/// The stored version of a projection table; 0 = the log does not have it.
int stored_version(connection& db, const projections::table& t);

}  // namespace recalld::storage::postgres

#pragma once

#include "projections/table.hpp"
#include "storage/sqlite_connection.hpp"
#include "storage/store.hpp"

#include <string>
#include <string_view>

/// Inside `storage/` only. The file `recalld.db`, schema version 1.
///
///   meta(name, value)         `schema`      version of this schema
///                             `log_id`      UUID of the log, made with it
///                             `generation`  raised when an earlier state was restored
///                             `created`     microseconds since 1970
///                             `shadows`     counts rebuilds, part of index names
///   shards(shard, epoch, head)
///                             who may write, and the position of the last fact
///   streams(no, shard, id, sum, base, base_fact, merged, merged_time)
///                             one row per stream that ever had a fact; `id` = stream_id::bytes(),
///                             sum: lower 32 bits of the checksum of no and id.
///                             base, base_fact: as in stream_position.
///                             merged, merged_time: version and time of the newest fact of it that
///                             became part of a blank range (it may have been the last one)
///   log(position, stream, version, lane, type, schema, time, key, command, body_hash,
///       command_facts, sum, payload)
///                             one row per fact. `key`, `command` are null when empty; body_hash
///                             and command_facts are null without a command; body_hash is the
///                             unsigned number's bits. Blanked: payload and key are null and `lane`
///                             is -1 - lane, which takes the fact out of its lane's index range.
///                             sum: lower 32 bits of the checksum of all other columns
///   blanks(first, last)       positions whose facts are gone; ranges neither touch nor overlap
///   borrows(stream, source, through)
///                             `stream` reads facts of `source` up to version `through`
///   sweep_debt(stream, due)   streams with facts to forget: at once (due = 0), or when receipts
///                             older than `due` (a time) are let go
///   meta's `copying`          only in the unfinished copy of another log, see `log_copy.hpp`
///   table_versions(name, version)
///                             which version of each projection table the file holds
///   … and the projection tables themselves, made from `projections::tables()`.
namespace recalld::storage::sqlite {

inline constexpr int schema_version = 1;

/// Creates what is missing in a new file, or brings an older one up to date. A newer one is
/// `unavailable`.
void create_or_migrate(const connection& db);

/// Checks, without writing, that this program can read the file.
void check_readable(const connection& db);

/// `unavailable` when the log is the unfinished copy of another one, unless that is `welcome`.
log_identity read_identity(const connection& db, bool unfinished_is_welcome = false);

/// `CREATE TABLE` and `CREATE INDEX` of a projection table under a name of its own.
std::string create_table_sql(const projections::table& t, std::string_view name,
                             std::string_view index_suffix);

/// The stored version of a projection table; 0 = the file does not have it.
int stored_version(const connection& db, const projections::table& t);

}  // namespace recalld::storage::sqlite

#pragma once

#include "storage/store.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace recalld::storage {

struct postgres_options {
  /// `postgres://user:password@host:port/database?…` or libpq's `key=value …`.
  std::string url;
  /// The schema inside the database that holds the log; made if it does not exist.
  std::string schema = "recalld";
  /// Only `open_reader` and the writer's `identity`, `shards` and `shard_of` work; nothing is
  /// written; a server may be running on the same log.
  bool read_only = false;
  /// Opens also what is the unfinished copy of another log.
  bool unfinished = false;
  /// Starts even where the server's settings may lose acknowledged writes.
  bool allow_unsafe = false;
  /// How many shards a log gets that is made now; an existing one keeps its number. 1 to 1024.
  std::uint32_t shards = 64;
  /// Connections that write, each for a part of the shards.
  std::size_t writers = 2;
  /// Seen by the server's administrator: `recalld/<node>/<incarnation>`.
  std::string application_name = "recalld";
  /// How many streams the writer remembers the heads of.
  std::size_t heads_max = 200'000;
  /// How long the server may take for one answer before the link counts as dead.
  int answer_ms_max = 10'000;
  /// How long a write waits for a lock that another connection holds.
  int lock_ms_max = 4'000;
  /// How long a commit whose answer got lost goes on asking what became of it.
  int resolve_ms_max = 3'000;
};

/// Opens, creates or migrates a log in Postgres 14 or newer: a writer with one connection, readers
/// with connections of their own, which are made anew when they break.
///
/// A commit whose answer is lost is resolved inside the call: the shard's epoch is raised on a new
/// connection, which ends the right of the old one, then the log says whether the commit is there;
/// if not, it runs again. Whoever took the shard keeps his epoch over that. Only when that
/// cannot be found out in `resolve_ms_max` the answer is `outcome_unknown`; the writer then goes on
/// finding out with every later call, see `log_writer::resolves_unknown`.
///
/// `unavailable`: the server cannot be reached, does not let us in, is a standby, has a setting that
/// loses acknowledged writes (unless `allow_unsafe`), or the log is a newer program's. `corrupt`:
/// the log is damaged. `not_found`: read-only and there is no log. `invalid`: the URL.
result<std::unique_ptr<store>> open_postgres(const postgres_options& options);

/// What of a server's settings may lose acknowledged writes, one sentence each; empty: nothing.
result<std::vector<std::string>> postgres_risks(const std::string& url);

/// Whether a store is named by a URL of Postgres and not by a directory.
bool is_postgres_url(std::string_view store) noexcept;
/// The URL without its password, for people.
std::string printable_postgres_url(std::string_view url);

}  // namespace recalld::storage

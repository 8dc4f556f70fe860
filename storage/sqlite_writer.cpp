#include "storage/sqlite_writer.hpp"

#include "projections/projections.hpp"
#include "storage/failpoint.hpp"
#include "storage/one_shard.hpp"
#include "storage/sqlite_schema.hpp"

#include <algorithm>

namespace recalld::storage::sqlite {

using projections::table;

// -- writer --

struct writer::touched {
  const stream_id* id = nullptr;
  stream_row row;
  bool fresh = false;  ///< The stream has no row in `streams` yet.
  struct base {
    base_mark mark;
    version_t fact = 0;
  };
  std::vector<base> bases;
};

struct writer::unit_work {
  std::vector<touched> streams;
  std::vector<projections::change> changes;
  struct receipt {
    const table* spec;
    projections::row row;
  };
  std::vector<receipt> receipts;  ///< Written by `put_new`.
  position_t head = 0;            ///< Before the unit.
  position_t next = 0;            ///< Position of the next fact.
  stream_no_t next_stream = 0;

  void clear() {
    streams.clear();
    changes.clear();
    receipts.clear();
  }
};

struct writer::batch {
  unit_work work;  ///< Reused from unit to unit.
  position_t head = 0;
};

writer::writer(connection db, const sqlite_options& options)
  : db_(std::move(db)),
    options_(options),
    identity_(read_identity(db_, options.unfinished)),
    streams_(db_),
    heads_(options.heads_max),
    next_stream_(static_cast<stream_no_t>(db_.number("SELECT coalesce(max(no), 0) FROM streams"))
                 + 1),
    live_(db_, ""),
    shard_(db_.prepare("SELECT epoch, head FROM shards WHERE shard = 0")),
    set_head_(db_.prepare("UPDATE shards SET head = ? WHERE shard = 0")),
    take_(db_.prepare("UPDATE shards SET epoch = epoch + 1 WHERE shard = 0")),
    insert_fact_(db_.prepare(insert_fact_sql() + " ON CONFLICT DO NOTHING")),
    insert_stream_(db_.prepare("INSERT INTO streams(no, shard, id, sum) VALUES(?, 0, ?, ?)")),
    fact_by_key_(
      db_.prepare("SELECT 1 FROM log WHERE stream = ?1 AND key = ?2 AND lane = 1 UNION ALL "
                  "SELECT 1 FROM log WHERE stream = ?1 AND key = ?2 AND lane <> 1")),
    unappend_(db_.prepare("DELETE FROM log WHERE position > ?")),
    set_base_(db_.prepare("UPDATE streams SET base = ?, base_fact = ? WHERE no = ?")),
    borrows_of_(db_.prepare("SELECT source FROM borrows WHERE stream = ?")),
    unborrow_(db_.prepare("DELETE FROM borrows WHERE stream = ?")),
    borrow_(db_.prepare("INSERT INTO borrows VALUES(?, ?, ?) ON CONFLICT(stream, source) "
                        "DO UPDATE SET through = max(through, excluded.through)")),
    borrowers_(db_.prepare("SELECT max(through) FROM borrows WHERE source = ?")),
    owe_(db_.prepare("INSERT INTO sweep_debt VALUES(?, ?) ON CONFLICT(stream) "
                     "DO UPDATE SET due = min(due, excluded.due)")),
    debts_(db_.prepare("SELECT stream FROM sweep_debt WHERE due < ? ORDER BY due LIMIT ?")),
    settle_(db_.prepare("DELETE FROM sweep_debt WHERE stream = ?")),
    postpone_(db_.prepare("UPDATE sweep_debt SET due = ? WHERE stream = ?")),
    sweepable_(db_.prepare(
      "SELECT position, version, time, command, type, schema, body_hash, command_facts FROM log "
      "WHERE stream = ? AND lane = ? AND version > ? AND version <= ? ORDER BY version LIMIT ?")),
    mergeable_(db_.prepare(
      "SELECT position, version, time, command, type, schema, body_hash, command_facts FROM log "
      "WHERE stream = ? AND lane = ? AND version <= ? AND (command IS NULL OR time < ?) "
      "ORDER BY version LIMIT ?")),
    kept_(db_.prepare("SELECT time FROM log WHERE stream = ? AND lane = ? AND version <= ? "
                      "AND command IS NOT NULL AND time >= ? ORDER BY version LIMIT 1")),
    blank_(db_.prepare(
      "UPDATE log SET payload = NULL, key = NULL, lane = ?, sum = ? WHERE position = ?")),
    forget_(db_.prepare("DELETE FROM log WHERE position = ?")),
    merged_(db_.prepare("UPDATE streams SET merged = ?2, merged_time = ?3 "
                        "WHERE no = ?1 AND merged < ?2")),
    blank_before_(
      db_.prepare("SELECT first, last FROM blanks WHERE first < ? ORDER BY first DESC LIMIT 1")),
    blank_after_(db_.prepare("SELECT last FROM blanks WHERE first = ?")),
    unblank_(db_.prepare("DELETE FROM blanks WHERE first = ?")),
    widen_(db_.prepare("UPDATE blanks SET last = ? WHERE first = ?")),
    new_blank_(db_.prepare("INSERT INTO blanks VALUES(?, ?)")),
    base_of_stream_(db_.prepare("SELECT base, id FROM streams WHERE no = ?")),
    told_under_(db_.prepare(
      "SELECT position, version, time, command, type, schema, body_hash, command_facts, lane "
      "FROM log WHERE stream = ? AND key >= ? AND key < ? AND version < ? AND key IS NOT NULL "
      "AND lane <> 1")) {
  for (const auto* t : projections::tables())
    if (stored_version(db_, *t) == t->version)
      live_.know(*t);
  sqlite3_wal_hook(
    db_.handle(),
    [](void* self, sqlite3*, const char*, int pages) {
      auto& w = *static_cast<writer*>(self);
      if (pages < w.wal_pages_)
        w.wal_written_ = 0;  // it began anew from its start
      w.wal_pages_ = pages;
      return SQLITE_OK;
    },
    this);
  if (options_.pages_max != 0)
    db_.exec("PRAGMA max_page_count=" + std::to_string(options_.pages_max));
}

writer::~writer() { sqlite3_wal_hook(db_.handle(), nullptr, nullptr); }

position_t writer::locked_head(epoch_t epoch) {
  const reset_on_exit done(shard_);
  if (!shard_.step())
    refuse(errc::corrupt, "the log has lost its shard");
  if (shard_.uint_at(0) != epoch)
    refuse(errc::fenced, "shard 0 is written under epoch " + std::to_string(shard_.uint_at(0))
                           + ", not " + std::to_string(epoch));
  return shard_.uint_at(1);
}

result<shard_rights> writer::take(std::span<const shard_t> shards) {
  return writing([&]() -> result<shard_rights> {
    transaction change(db_);
    auto taken = take_only(shards, [&] {
      take_.run();
      const reset_on_exit done(shard_);
      return shard_.step() ? shard_.uint_at(0) : 0;
    });
    if (taken)
      change.commit();
    return taken;
  });
}

// -- commit --

result<std::vector<unit_outcome>> writer::commit(const shard_rights& rights,
                                                 std::span<const append_unit> units) {
  return writing([&]() -> result<std::vector<unit_outcome>> {
    const auto epoch = only_epoch(rights);
    if (!epoch)
      return fail(epoch.error());
    heads_.age();
    const auto next_stream = next_stream_;
    std::vector<unit_outcome> out(units.size());
    try {
      transaction change(db_);
      batch b;
      b.head = locked_head(*epoch);
      if (!live_.knows(projections::receipts::spec))
        refuse(errc::unavailable, "the receipts are being rebuilt");
      const auto before = b.head;
      for (std::size_t i = 0; i < units.size(); ++i)
        append(units[i], b, out[i]);
      if (b.head == before)
        return out;
      live_.flush();
      set_head_.integer(1, b.head).run();
      failpoint("sqlite.commit.before");
      change.commit();
      failpoint("sqlite.commit.after");
    } catch (...) {
      next_stream_ = next_stream;
      throw;
    }
    checkpoint_if_due(2 * options_.checkpoint_pages);
    return out;
  });
}

void writer::append(const append_unit& unit, batch& b, unit_outcome& out) {
  auto& w = b.work;
  w.clear();
  w.head = b.head;
  w.next = b.head + 1;
  w.next_stream = next_stream_;
  for (std::size_t part = 0; part < unit.parts.size() && !out.refused; ++part)
    plan_part(w, unit, part, out);
  if (!out.refused)
    out.refused = insert(w, unit, out);
  if (!out.refused) {
    accept(w);
    for (const auto& what : forgets_of(unit, out))
      forget(what);
    b.head = w.next - 1;
    return;
  }
  if (out.refused->why != refusal::reason::duplicate_command && !unit.command.empty()
      && !w.streams.empty()) {
    // A repeated command is told its receipt, whatever else has changed since.
    const projections::row key = {unit.command,
                                  static_cast<std::int64_t>(w.streams.front().row.at.stream_no)};
    if (auto receipt = live_.find(projections::receipts::spec, key)) {
      const auto part = out.refused->part;
      out.refused = refusal{refusal::reason::duplicate_command, part, 0, std::move(*receipt), {}};
    }
  }
  out.parts.clear();
  out.facts.clear();
}

writer::touched& writer::touch(unit_work& w, const stream_id& id, const any_fact* first) {
  for (auto& t : w.streams)
    if (*t.id == id)
      return t;
  auto& t = w.streams.emplace_back();
  t.id = &id;
  if (const auto* known = heads_.find(id)) {
    t.row = *known;
    return t;
  }
  if (auto found = streams_.find(id)) {
    t.row = heads_.put(id, *found);
    return t;
  }
  t.fresh = true;
  if (first != nullptr) {
    t.row.at.stream_no = w.next_stream++;
    t.row.at.head = initial_version(*first);
  }
  return t;
}

void writer::plan_part(unit_work& w, const append_unit& unit, std::size_t part, unit_outcome& out) {
  const auto& in = unit.parts[part];
  auto& t = touch(w, in.stream, in.facts.empty() ? nullptr : &in.facts.front());
  auto& at = t.row.at;
  if (in.expected && *in.expected != at.head) {
    // A fresh stream is at 0 for everybody whose fact does not fit right behind a base.
    out.refused = refusal{refusal::reason::wrong_version, part, t.fresh ? 0 : at.head, {}, {}};
    return;
  }
  t.row.time = t.fresh ? unit.time : std::max(t.row.time, unit.time);
  auto& committed = out.parts.emplace_back();
  committed = {at.stream_no, at.head + 1, at.head + in.facts.size(), 0, t.row.time};
  for (std::size_t i = 0; i < in.facts.size(); ++i) {
    auto& fact = out.facts.emplace_back(fact_of(unit, part, i, ++at.head));
    fact.at.position = w.next++;
    fact.at.stream_no = at.stream_no;
    fact.at.time = t.row.time;
    if (auto mark = base_of(in.facts[i], fact.at.version)) {
      at.base = mark->through;
      at.base_fact = mark->carries_state ? fact.at.version : 0;
      t.bases.push_back({std::move(*mark), fact.at.version});
    }
    projections::project(fact.at, in.facts[i], w.changes);
  }
  if (!in.facts.empty())
    committed.position = w.next - 1;
}

std::optional<refusal> writer::insert(unit_work& w, const append_unit& unit, unit_outcome& out) {
  for (auto& c : w.changes) {
    auto* fresh = std::get_if<projections::put_new>(&c);
    if (fresh == nullptr)
      continue;
    if (live_.put_new(*fresh->table, fresh->row)) {
      w.receipts.push_back({fresh->table, std::move(fresh->row)});
      continue;
    }
    refusal no{refusal::reason::duplicate_command, 0, 0, {}, {}};
    if (auto row = live_.find(*fresh->table, key_of(*fresh->table, fresh->row)))
      no.receipt = std::move(*row);
    undo(w, out);
    return no;
  }
  std::size_t part = 0;
  std::size_t left = unit.parts.empty() ? 0 : unit.parts.front().facts.size();
  for (const auto& fact : out.facts) {
    while (left == 0)
      left = unit.parts[++part].facts.size();
    --left;
    if (insert_fact(fact))
      continue;
    if (!key_exists(fact))
      refuse(errc::corrupt, "the log holds a fact at version " + std::to_string(fact.at.version)
                              + " of stream " + std::to_string(fact.at.stream_no) + " already");
    undo(w, out);
    refusal no{refusal::reason::key_taken, part, 0, {}, fact.key};
    for (const auto& t : w.streams)
      if (t.row.at.stream_no == fact.at.stream_no)
        no.current_version = out.parts[part].first_version - 1;
    return no;
  }
  return {};
}

bool writer::insert_fact(const recorded& fact) {
  bind_fact(insert_fact_, fact);
  insert_fact_.run();
  return db_.changes() != 0;
}

bool writer::key_exists(const recorded& fact) {
  fact_by_key_.integer(1, fact.at.stream_no).blob(2, fact.key);
  const reset_on_exit done(fact_by_key_);
  return !fact.key.empty() && fact_by_key_.step();
}

void writer::undo(unit_work& w, const unit_outcome& out) {
  if (!out.facts.empty())
    unappend_.integer(1, w.head).run();
  for (const auto& r : w.receipts)
    live_.undo_put_new(*r.spec, r.row);
}

void writer::accept(unit_work& w) {
  for (auto& t : w.streams) {
    if (t.row.at.stream_no == 0)
      continue;  // named, but not written to
    if (t.fresh) {
      insert_stream_.integer(1, t.row.at.stream_no)
        .blob(2, t.id->bytes())
        .integer(3, stream_sum(t.row.at.stream_no, t.id->bytes()))
        .run();
      next_stream_ = std::max(next_stream_, t.row.at.stream_no + 1);
    }
    for (const auto& b : t.bases)
      set_base(t.row.at.stream_no, b.mark, b.fact);
    heads_.put(*t.id, t.row);
  }
  for (auto& c : w.changes)
    if (!std::holds_alternative<projections::put_new>(c))
      live_.add(std::move(c));
}

version_t writer::borrowed_through(stream_no_t source) {
  borrowers_.integer(1, source);
  const reset_on_exit done(borrowers_);
  return borrowers_.step() ? borrowers_.uint_at(0) : 0;
}

void writer::owe(stream_no_t stream, time_us_t due) {
  owe_.integer(1, stream).integer(2, due).run();
}

void writer::set_base(stream_no_t stream, const base_mark& mark, version_t fact) {
  set_base_.integer(1, mark.through)
    .integer(2, mark.carries_state ? fact : 0)
    .integer(3, stream)
    .run();
  owe(stream, 0);
  // Sources that were borrowed from may have something to forget now.
  std::vector<stream_no_t> sources;
  borrows_of_.integer(1, stream);
  while (borrows_of_.step())
    sources.push_back(borrows_of_.uint_at(0));
  if (!sources.empty())
    unborrow_.integer(1, stream).run();
  for (const auto source : sources)
    owe(source, 0);
  for (const auto& range : mark.borrows) {
    const auto* known = heads_.find(range.stream);
    const auto found = known != nullptr ? std::optional(*known) : streams_.find(range.stream);
    if (found)
      borrow_.integer(1, stream).integer(2, found->at.stream_no).integer(3, range.through).run();
  }
}

// -- checkpoints --

void writer::checkpoint_if_due(int pages) {
  if (wal_pages_ - wal_written_ < pages)
    return;
  // The commit before this was good and its outcome must be told; a failure is told next time.
  if (auto done = checkpoint(SQLITE_CHECKPOINT_PASSIVE);
      !done && done.error().code != errc::unavailable)
    deferred_ = done.error();
}

result<void> writer::checkpoint() {
  // Old pages with what is forgotten by now stay in the write-ahead log until it is cut.
  return checkpoint(forgot_ ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE);
}

result<void> writer::checkpoint(int mode) {
  return writing([&]() -> result<void> {
    if (wal_pages_ == wal_written_ && mode == SQLITE_CHECKPOINT_PASSIVE)
      return {};
    failpoint("sqlite.checkpoint.before");
    int in_log = 0;
    int written = 0;
    sqlite3_busy_timeout(db_.handle(), 0);  // No commit waits for a reader.
    const int rc = sqlite3_wal_checkpoint_v2(db_.handle(), "main", mode, &in_log, &written);
    const auto f = failure_of(db_.handle());
    sqlite3_busy_timeout(db_.handle(), options_.busy_ms);
    failpoint("sqlite.checkpoint.after");
    // Readers may hold the end of the write-ahead log back; then the rest waits for the next time.
    if (rc == SQLITE_OK || (rc & 0xff) == SQLITE_BUSY) {
      wal_pages_ = std::max(in_log, 0);
      wal_written_ = std::max(written, 0);
      if (mode == SQLITE_CHECKPOINT_PASSIVE)
        return {};
      if (rc != SQLITE_OK)
        return fail(errc::unavailable, "the write-ahead log is being read");
      forgot_ = false;
      return {};
    }
    // A sync that failed may have dropped pages which a later one would report as written.
    if (f.code == SQLITE_IOERR_FSYNC || f.code == SQLITE_IOERR_DIR_FSYNC)
      return fail(errc::outcome_unknown, "a checkpoint could not be synced: " + f.message);
    throw f;
  });
}

}  // namespace recalld::storage::sqlite

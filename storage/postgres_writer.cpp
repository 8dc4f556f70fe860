#include "storage/postgres_writer.hpp"

#include "events/checksum.hpp"
#include "projections/projections.hpp"
#include "storage/failpoint.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>
#include <unordered_set>

namespace recalld::storage::postgres {

using projections::table;
using std::chrono::steady_clock;

/// What a commit comes to, before any of it is written.
class writer::plan {
public:
  struct base {
    base_mark mark;
    version_t fact = 0;
  };
  /// A stream as the commit leaves it.
  struct touched {
    stream_row row;
    bool fresh = false;  ///< The stream has no row in `streams` yet.
    std::vector<base> bases;
  };
  /// A fact's key in its stream.
  struct key {
    stream_no_t stream = 0;
    std::string bytes;
    friend bool operator==(const key&, const key&) = default;
  };
  struct key_hash {
    std::size_t operator()(const key& k) const noexcept {
      return static_cast<std::size_t>(checksum(k.bytes, k.stream));
    }
  };
  using keys = std::unordered_set<key, key_hash>;
  using command = std::pair<std::string, stream_no_t>;
  /// Where a shard stands before and after.
  struct standing {
    shard_t shard = 0;
    position_t before = 0, head = 0;
    std::uint64_t streams = 0;
  };

  plan(writer& w, std::span<const shard_t> held) : shards(held.size()), writer_(w) {
    for (std::size_t i = 0; i < held.size(); ++i)
      shards[i].shard = held[i];
  }

  /// Plans all units anew, from where the shards stand.
  void make(std::span<const append_unit> units) {
    writer_.live_.forget();
    out.assign(units.size(), {});
    streams.clear();
    forgets.clear();
    taken_now.clear();
    undecided = false;
    for (auto& s : shards) {
      const auto& r = (*writer_.ledger_)[s.shard].mine;
      s.before = s.head = r.head;
      s.streams = r.streams;
    }
    for (std::size_t i = 0; i < units.size(); ++i)
      append(units[i], out[i]);
  }

  /// Whether it comes to any fact at all.
  bool writes() const {
    return std::any_of(shards.begin(), shards.end(),
                       [](const standing& s) { return s.head != s.before; });
  }

  std::vector<unit_outcome> out;
  std::unordered_map<stream_id, touched> streams;  ///< That were written to.
  std::vector<standing> shards;                    ///< That are held, ascending.
  std::vector<forgetting> forgets;
  /// A refused unit may have a receipt, which nobody has looked for yet.
  bool undecided = false;
  bool looked_up = false;
  keys taken_now;  ///< By this commit: they must be free.
  /// What exists in the log, as far as it was looked up.
  std::map<command, projections::row> receipts;
  keys taken;

private:
  struct unit_stream {
    const stream_id* id = nullptr;
    touched now;
  };

  standing& shard_in(std::vector<standing>& all, shard_t shard) const {
    return *std::lower_bound(all.begin(), all.end(), shard,
                             [](const standing& s, shard_t n) { return s.shard < n; });
  }
  /// A shard as the unit in hand leaves it.
  standing& shard_now(shard_t shard) {
    for (auto& s : unit_shards_)
      if (s.shard == shard)
        return s;
    return unit_shards_.emplace_back(shard_in(shards, shard));
  }

  touched& touch(const stream_id& id, const any_fact* first) {
    for (auto& s : unit_streams_)
      if (*s.id == id)
        return s.now;
    auto& s = unit_streams_.emplace_back();
    s.id = &id;
    if (const auto known = streams.find(id); known != streams.end()) {
      s.now = known->second;
    } else if (const auto* row = writer_.find_head(id)) {
      s.now.row = *row;
    } else {
      s.now.fresh = true;
      if (first != nullptr) {
        const auto shard = writer_.shard_of(id);
        s.now.row.at.stream_no = ++shard_now(shard).streams * writer_.facts_.shards + shard;
        s.now.row.at.head = initial_version(*first);
      }
    }
    return s.now;
  }

  void append(const append_unit& unit, unit_outcome& o) {
    unit_streams_.clear();
    unit_keys_.clear();
    unit_shards_.clear();
    changes_.clear();
    for (std::size_t part = 0; part < unit.parts.size() && !o.refused; ++part)
      add_part(unit, part, o);
    if (!unit.command.empty() && !unit_streams_.empty())
      find_receipt(unit, o);
    if (o.refused) {
      o.parts.clear();
      o.facts.clear();
      for (const auto* k : unit_keys_)
        taken_now.erase(*k);
      return;
    }
    for (auto& s : unit_streams_)
      if (s.now.row.at.stream_no != 0)
        streams.insert_or_assign(*s.id, std::move(s.now));
    for (auto& c : changes_)
      writer_.live_.add(std::move(c), true);
    for (auto& f : forgets_of(unit, o))
      forgets.push_back(std::move(f));
    for (const auto& s : unit_shards_)
      shard_in(shards, s.shard) = s;
  }

  void add_part(const append_unit& unit, std::size_t part, unit_outcome& o) {
    const auto& in = unit.parts[part];
    auto& t = touch(in.stream, in.facts.empty() ? nullptr : &in.facts.front());
    auto& at = t.row.at;
    if (in.expected && *in.expected != at.head) {
      // A fresh stream is at 0 for everybody whose fact does not fit right behind a base.
      const bool none = t.fresh && !streams.contains(in.stream);
      o.refused = refusal{refusal::reason::wrong_version, part, none ? 0 : at.head, {}, {}};
      return;
    }
    t.row.time = std::max(t.row.time, unit.time);
    auto& shard = shard_now(writer_.shard_of(in.stream));
    auto& committed = o.parts.emplace_back();
    committed = {at.stream_no, at.head + 1, at.head + in.facts.size(), 0, t.row.time};
    for (std::size_t i = 0; i < in.facts.size(); ++i) {
      auto& fact = o.facts.emplace_back(fact_of(unit, part, i, ++at.head));
      fact.at.position = ++shard.head;
      fact.at.stream_no = at.stream_no;
      fact.at.time = t.row.time;
      if (!fact.key.empty()) {
        const auto [k, fresh] = taken_now.insert({at.stream_no, fact.key});
        if (fresh)
          unit_keys_.push_back(&*k);
        if (!fresh || taken.contains(*k)) {
          o.refused =
            refusal{refusal::reason::key_taken, part, committed.first_version - 1, {}, fact.key};
          return;
        }
      }
      if (auto mark = base_of(in.facts[i], fact.at.version)) {
        at.base = mark->through;
        at.base_fact = mark->carries_state ? fact.at.version : 0;
        t.bases.push_back({std::move(*mark), fact.at.version});
      }
      projections::project(fact.at, in.facts[i], changes_);
    }
    if (!in.facts.empty())
      committed.position = shard.head;
  }

  /// A repeated command is told its receipt, whatever else has changed since.
  void find_receipt(const append_unit& unit, unit_outcome& o) {
    const auto& first = unit_streams_.front().now;
    const auto no = first.row.at.stream_no;
    const std::array<projections::value, 2> k{unit.command, static_cast<std::int64_t>(no)};
    const auto part = o.refused ? o.refused->part : 0;
    const auto* receipt = writer_.live_.find_new(projections::receipts::spec, k);
    if (receipt == nullptr && !receipts.empty())
      if (const auto found = receipts.find({unit.command, no}); found != receipts.end())
        receipt = &found->second;
    if (receipt != nullptr)
      o.refused = refusal{refusal::reason::duplicate_command, part, 0, *receipt, {}};
    else if (o.refused && !looked_up && !first.fresh)
      undecided = true;
  }

  writer& writer_;
  // The unit in hand.
  std::vector<unit_stream> unit_streams_;
  std::vector<standing> unit_shards_;
  std::vector<const key*> unit_keys_;  ///< Among `taken_now`.
  std::vector<projections::change> changes_;
};

// -- writer --

writer::writer(const postgres_options& options) : writer(options, nullptr) {
  const auto wrong = db_.query(
    "SELECT shard, head, greatest((SELECT max(position) FROM log WHERE log.shard = shards.shard), "
    "(SELECT max(last) FROM blanks WHERE blanks.shard = shards.shard), 0) AS last FROM shards "
    "WHERE head <> greatest((SELECT max(position) FROM log WHERE log.shard = shards.shard), "
    "(SELECT max(last) FROM blanks WHERE blanks.shard = shards.shard), 0) LIMIT 1");
  if (wrong.rows() != 0)
    refuse(errc::corrupt, "shard " + std::to_string(wrong.int_at(0, 0))
                            + " of the log ends at position " + std::to_string(wrong.int_at(0, 2))
                            + " instead of " + std::to_string(wrong.int_at(0, 1)));
}

writer::writer(const postgres_options& options, std::shared_ptr<ledger> shared)
  : options_(options),
    db_(options, connection::mode::write),
    ledger_(std::move(shared)),
    live_(""),
    begin_("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"),
    end_("COMMIT"),
    // In one order, so that no two commits ever wait for each other.
    lock_("SELECT FROM shards WHERE shard = ANY($1) ORDER BY shard FOR UPDATE"),
    // Fence, sequencer and lock at once: a head below 0 breaks the table's rule `shards_fence`.
    advance_("UPDATE shards SET head = CASE WHEN shards.epoch = u.epoch AND shards.head = u.before "
             "THEN u.after ELSE -1 END, streams = u.streams FROM unnest($1::int4[], $2::int8[], "
             "$3::int8[], $4::int8[], $5::int8[]) AS u(shard, epoch, before, after, streams) "
             "WHERE shards.shard = u.shard"),
    insert_stream_("INSERT INTO streams(shard, no, sum, base, base_fact, id) SELECT * FROM "
                   "unnest($1::int4[], $2::int8[], $3::int4[], $4::int8[], $5::int8[], "
                   "$6::bytea[])"),
    find_streams_(stream_rows_sql("streams AS s") + " WHERE s.id = ANY($1)"),
    receipts_of_("SELECT r.* FROM unnest($1::text[], $2::int8[]) AS k(command, stream) "
                 "JOIN receipts AS r ON r.command = k.command AND r.stream = k.stream"),
    keys_of_("SELECT k.stream, k.key FROM unnest($1::int8[], $2::bytea[]) AS k(stream, key) "
             "WHERE EXISTS(SELECT FROM log AS l WHERE l.key = k.key AND l.stream = k.stream AND "
             "l.key IS NOT NULL AND l.lane = 1) OR EXISTS(SELECT FROM log AS l WHERE "
             "l.stream = k.stream AND l.key = k.key AND l.key IS NOT NULL AND l.lane <> 1)"),
    set_bases_("UPDATE streams SET base = u.base, base_fact = u.fact FROM "
               "unnest($1::int8[], $2::int8[], $3::int8[]) AS u(no, base, fact) "
               "WHERE streams.no = u.no"),
    owe_("INSERT INTO sweep_debt(stream, shard, due) SELECT DISTINCT s.no, s.shard, 0 "
         "FROM streams AS s WHERE s.no = ANY($1) ON CONFLICT (stream) DO UPDATE SET due = 0"),
    owe_sources_("INSERT INTO sweep_debt(stream, shard, due) SELECT DISTINCT s.no, s.shard, 0 "
                 "FROM borrows AS b JOIN streams AS s ON s.no = b.source WHERE b.stream = ANY($1) "
                 "ON CONFLICT (stream) DO UPDATE SET due = 0"),
    unborrow_("DELETE FROM borrows WHERE stream = ANY($1)"),
    borrow_("INSERT INTO borrows(stream, source, through) "
            "SELECT * FROM unnest($1::int8[], $2::int8[], $3::int8[])"),
    rights_("SELECT shard, epoch, head, streams FROM shards WHERE shard = ANY($1)"),
    take_(
      "UPDATE shards SET epoch = epoch + 1, owner = $2 WHERE shard IN (SELECT shard FROM shards "
      "WHERE shard = ANY($1) ORDER BY shard FOR UPDATE) "
      "RETURNING shard, epoch, head, streams"),
    fence_("UPDATE shards SET epoch = epoch + 1 WHERE shard IN (SELECT shard FROM shards WHERE "
           "shard = ANY($1) ORDER BY shard FOR UPDATE) AND owner = $2 "
           "RETURNING shard, epoch, head, streams"),
    sum_at_("SELECT sum FROM log WHERE shard = $1 AND position = $2") {
  check_durability(db_, options_);
  if (ledger_ == nullptr)
    create_or_migrate(db_, options_);
  facts_ = read_log_facts(db_, options_);
  if (ledger_ == nullptr)
    ledger_ = std::make_shared<ledger>(facts_.shards, options_.heads_max);
  know_tables();
}

std::vector<shard_t> writer::shards() const { return ledger_->all(); }

shard_t writer::shard_of(const stream_id& stream) const {
  return storage::shard_of(stream, facts_.shards);
}

// -- the connection --

void writer::know_tables() {
  swaps_ = ledger_->swaps;
  live_.know_nothing();
  for (const auto* t : projections::tables())
    if (stored_version(db_, *t) == t->version)
      live_.know(*t);
}

/// What is known of the shards stays known: every commit proves it again.
void writer::connect_again() {
  if (shadow_)
    ledger_->rebuilding = false;
  shadow_.reset();
  shadow_tables_.clear();
  db_.reconnect();
  try {
    check_durability(db_, options_);
    check_same(facts_, read_log_facts(db_, options_));
    know_tables();
  } catch (...) {
    db_.drop();
    throw;
  }
}

void writer::ready() {
  if (!db_.alive())
    connect_again();
  else if (db_.in_transaction())
    db_.exec("ROLLBACK");
  if (swaps_ != ledger_->swaps)
    know_tables();
  if (!unresolved_)
    return;
  std::vector<shard_t> moved;
  for (const auto& a : unresolved_->shards)
    moved.push_back(a.shard);
  const ledger::hold held(*ledger_, std::move(moved));
  resolve(*unresolved_);
  for (const auto& a : unresolved_->shards)
    (*ledger_)[a.shard].in_doubt = false;
  unresolved_.reset();
}

// -- rights --

array numbers_of(std::span<const shard_t> shards) {
  array out(type::int4);
  for (const auto s : shards)
    out.integer(s);
  return out;
}

void writer::check_shards(const shard_rights& rights) const {
  for (const auto& [shard, epoch] : rights)
    if (shard >= facts_.shards)
      refuse(errc::invalid, "no such shard: " + std::to_string(shard));
}

void writer::know_rights(std::span<const shard_t> shards, const shard_rights& rights) {
  std::vector<shard_t> unknown;
  for (const auto s : shards) {
    const auto given = rights.find(s);
    if (given == rights.end())
      refuse(errc::invalid, "shard " + std::to_string(s) + " is written to without a right");
    auto& one = (*ledger_)[s];
    if (one.in_doubt)
      refuse(errc::unavailable,
             "nobody knows yet what became of a commit to shard " + std::to_string(s));
    if (one.mine.granted != given->second)
      one.mine = {given->second, given->second, 0, 0, false};
    if (!one.mine.known)
      unknown.push_back(s);
  }
  if (unknown.empty())
    return;
  parameters p;
  p.column(numbers_of(unknown));
  const auto found = db_.query(rights_, std::move(p));
  for (std::size_t i = 0; i < found.rows(); ++i) {
    const auto s = static_cast<shard_t>(found.int_at(i, 0));
    auto& one = (*ledger_)[s];
    if (const auto epoch = found.uint_at(i, 1); epoch != one.mine.epoch)
      refuse(errc::fenced, "shard " + std::to_string(s) + " is written under epoch "
                             + std::to_string(epoch) + ", not " + std::to_string(one.mine.epoch));
    one.heads.clear();
    one.mine.head = found.uint_at(i, 2);
    one.mine.streams = found.uint_at(i, 3);
    one.mine.known = true;
  }
}

bool writer::unmoved(std::span<const shard_t> shards) {
  parameters p;
  p.column(numbers_of(shards));
  const auto found = db_.query(rights_, std::move(p));
  bool same = true;
  for (std::size_t i = 0; i < found.rows(); ++i) {
    auto& one = (*ledger_)[static_cast<shard_t>(found.int_at(i, 0))].mine;
    if (found.uint_at(i, 1) != one.epoch || found.uint_at(i, 2) != one.head)
      same = one.known = false;
  }
  return same;
}

result<shard_rights> writer::take(std::span<const shard_t> shards) {
  return writing([&]() -> result<shard_rights> {
    std::vector<shard_t> sorted(shards.begin(), shards.end());
    std::sort(sorted.begin(), sorted.end());
    sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
    shard_rights out;
    for (const auto s : sorted)
      out[s] = 0;
    check_shards(out);
    const ledger::hold held(*ledger_, sorted);
    auto take = [&] {
      transaction change(db_);
      // A commit takes milliseconds: who holds a row for longer will not end by itself.
      db_.exec("SET LOCAL lock_timeout = 500");
      parameters p;
      p.column(numbers_of(sorted)).text(ledger_->incarnation);
      auto rows = db_.query(take_, std::move(p));
      change.commit();
      return rows;
    };
    std::optional<answer> taken;
    try {
      taken.emplace(take());
    } catch (const failure& f) {
      if (f.state != "55P03")
        throw;
      // A server process whose client is gone, or frozen. To take the shard means to end his
      // right; if he lives, he finds out what became of his commit.
      static_cast<void>(
        db_.query("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = "
                  "'shards'::regclass AND mode IN ('RowExclusiveLock', 'RowShareLock') AND "
                  "pid <> pg_backend_pid()"));
      taken.emplace(take());
    }
    for (std::size_t i = 0; i < taken->rows(); ++i) {
      const auto s = static_cast<shard_t>(taken->int_at(i, 0));
      const auto epoch = taken->uint_at(i, 1);
      (*ledger_)[s].mine = {epoch, epoch, taken->uint_at(i, 2), taken->uint_at(i, 3), true};
      out[s] = epoch;
    }
    return out;
  });
}

// -- commit --

/// Where the streams of units, and those that they borrow from, stand.
void writer::load_heads(std::span<const append_unit> units, std::span<const stream_id> sources) {
  std::set<std::string_view> unknown;
  auto want = [&](const stream_id& id) {
    if (find_head(id) == nullptr)
      unknown.insert(id.bytes());
  };
  for (const auto& unit : units)
    for (const auto& part : unit.parts)
      want(part.stream);
  for (const auto& source : sources)
    want(source);
  if (unknown.empty())
    return;
  array ids(type::bytea);
  for (const auto id : unknown)
    ids.bytes(id);
  parameters p;
  p.column(std::move(ids));
  const auto found = db_.query(find_streams_, std::move(p));
  for (std::size_t i = 0; i < found.rows(); ++i) {
    auto [id, row] = read_stream_row(found, i);
    put_head(id, row);
  }
}

void writer::look_up(std::span<const append_unit> units, plan& p) {
  array commands(type::text), streams(type::int8);
  for (const auto& unit : units) {
    if (unit.command.empty() || unit.parts.empty())
      continue;
    if (const auto* row = find_head(unit.parts.front().stream)) {
      commands.bytes(unit.command);
      streams.integer(row->at.stream_no);
    }
  }
  array key_streams(type::int8), keys(type::bytea);
  for (const auto& k : p.taken_now) {
    key_streams.integer(k.stream);
    keys.bytes(k.bytes);
  }
  std::vector<request> both(2);
  both[0].what = &receipts_of_;
  both[0].values.column(std::move(commands)).column(std::move(streams));
  both[1].what = &keys_of_;
  both[1].values.column(std::move(key_streams)).column(std::move(keys));
  const auto found = db_.run(both);
  const auto& spec = projections::receipts::spec;
  for (std::size_t i = 0; i < found[0].rows(); ++i) {
    auto row = row_at(found[0], i, spec);
    const auto command = std::get<std::string>(row[projections::receipts::command]);
    const auto no =
      static_cast<stream_no_t>(std::get<std::int64_t>(row[projections::receipts::stream]));
    p.receipts.insert_or_assign({command, no}, std::move(row));
  }
  for (std::size_t i = 0; i < found[1].rows(); ++i)
    p.taken.insert({found[1].uint_at(i, 0), std::string(found[1].view_at(i, 1))});
  p.looked_up = true;
}

std::vector<request> writer::requests_of(plan& p) {
  std::vector<request> out;
  out.push_back({&begin_, {}});
  auto send = [&](const statement& s, auto... columns) {
    parameters values;
    (values.column(std::move(columns)), ...);
    out.push_back({&s, std::move(values)});
  };
  // Those too that nothing is written to: what was refused there was refused under a right.
  array locked(type::int4), held(type::int4), epoch(type::int8), before(type::int8),
    after(type::int8), count(type::int8);
  for (const auto& s : p.shards) {
    locked.integer(s.shard);
    held.integer(s.shard);
    epoch.integer((*ledger_)[s.shard].mine.epoch);
    before.integer(s.before);
    after.integer(s.head);
    count.integer(s.streams);
  }
  if (p.shards.size() > 1)
    send(lock_, std::move(locked));
  send(advance_, std::move(held), std::move(epoch), std::move(before), std::move(after),
       std::move(count));

  // Streams, and where they begin now.
  array new_shard(type::int4), new_no(type::int8), new_sum(type::int4), new_base(type::int8),
    new_fact(type::int8), new_id(type::bytea);
  array old_no(type::int8), old_base(type::int8), old_fact(type::int8);
  array based(type::int8), owing(type::int8), borrower(type::int8), source(type::int8),
    through(type::int8);
  for (const auto& [id, t] : p.streams) {
    const auto& at = t.row.at;
    if (t.fresh) {
      new_shard.integer(at.stream_no % facts_.shards);
      new_no.integer(at.stream_no);
      new_sum.integer(static_cast<std::int32_t>(stream_sum(at.stream_no, id.bytes())));
      new_base.integer(at.base);
      new_fact.integer(at.base_fact);
      new_id.bytes(id.bytes());
    }
    if (t.bases.empty())
      continue;
    if (!t.fresh) {
      old_no.integer(at.stream_no);
      old_base.integer(at.base);
      old_fact.integer(at.base_fact);
    }
    based.integer(at.stream_no);
    owing.integer(at.stream_no);
    std::map<stream_no_t, version_t> sources;
    for (const auto& b : t.bases)
      for (const auto& range : b.mark.borrows) {
        const auto in_batch = p.streams.find(range.stream);
        const auto* known = find_head(range.stream);
        const auto no = in_batch != p.streams.end() ? in_batch->second.row.at.stream_no
                        : known != nullptr          ? known->at.stream_no
                                                    : 0;
        if (no == 0)
          continue;
        if (&b == &t.bases.back())
          sources[no] = std::max(sources[no], range.through);
        else
          owing.integer(no);
      }
    for (const auto& [no, version] : sources) {
      borrower.integer(at.stream_no);
      source.integer(no);
      through.integer(version);
    }
  }
  if (!new_no.empty())
    send(insert_stream_, std::move(new_shard), std::move(new_no), std::move(new_sum),
         std::move(new_base), std::move(new_fact), std::move(new_id));
  if (!based.empty()) {
    if (!old_no.empty())
      send(set_bases_, std::move(old_no), std::move(old_base), std::move(old_fact));
    // Sources that were borrowed from may have something to forget now.
    send(owe_sources_, based);
    send(owe_, std::move(owing));
    send(unborrow_, std::move(based));
    if (!borrower.empty())
      send(borrow_, std::move(borrower), std::move(source), std::move(through));
  }

  // A fact that is forgotten in the commit that records it is told to whoever listens, not stored.
  const auto is_forgotten = [&](const recorded& f) {
    return f.lane != lane::entries && !f.key.empty()
           && std::any_of(p.forgets.begin(), p.forgets.end(), [&](const forgetting& what) {
                return what.takes(f.at.stream_no, f.at.version, f.key);
              });
  };
  fact_rows rows;
  for (const auto& unit : p.out)
    for (const auto& f : unit.facts)
      rows.add(f, static_cast<shard_t>(f.at.stream_no % facts_.shards), is_forgotten(f));
  out.push_back({&insert_facts(), rows.take()});
  if (auto blanking = blanking_of(p.forgets))
    out.push_back(std::move(*blanking));
  live_.write(out);
  out.push_back({&end_, {}});
  return out;
}

result<std::vector<unit_outcome>> writer::commit(const shard_rights& rights,
                                                 std::span<const append_unit> units) {
  return writing([&]() -> result<std::vector<unit_outcome>> {
    check_shards(rights);
    if (!live_.knows(projections::receipts::spec))
      refuse(errc::unavailable, "the receipts are being rebuilt");
    std::set<shard_t> touched;
    std::vector<stream_id> sources;
    for (const auto& unit : units)
      for (const auto& part : unit.parts) {
        touched.insert(shard_of(part.stream));
        for (const auto& fact : part.facts)
          if (const auto mark = base_of(fact, 1))
            for (const auto& range : mark->borrows) {
              // Held too, so that nothing of it is forgotten meanwhile.
              touched.insert(shard_of(range.stream));
              sources.push_back(range.stream);
            }
      }
    if (touched.empty())
      return std::vector<unit_outcome>(units.size());
    ledger::hold held(*ledger_, {touched.begin(), touched.end()});
    for (const auto s : held.shards())
      (*ledger_)[s].heads.age();
    plan p(*this, held.shards());
    constexpr int rounds_max = 8;
    for (int round = 0; round < rounds_max; ++round) {
      know_rights(held.shards(), rights);
      load_heads(units, sources);
      p.make(units);
      if (p.undecided) {
        look_up(units, p);
        p.make(units);
      }
      if (!p.writes()) {
        // Nothing to write; but what was refused was refused under rights that we still have.
        live_.forget();
        if (unmoved(held.shards())) {
          held.done();
          return std::move(p.out);
        }
        continue;
      }
      auto requests = requests_of(p);
      try {
        failpoint("postgres.commit.before");
        db_.run(requests);
        failpoint("postgres.commit.after");
        // Committed here, but not confirmed where it should be, too: as if no answer had come.
        if (db_.take_warning())
          throw failure{{}, "a standby did not confirm the commit", true};
      } catch (const failure& f) {
        if (!f.lost) {
          if (db_.in_transaction())
            db_.exec("ROLLBACK");
          if (f.state == "23514") {
            // Somebody else has taken a shard, which `know_rights` is going to say.
            for (const auto s : held.shards())
              (*ledger_)[s].mine.known = false;
            continue;
          }
          if (f.state != "23505")
            throw;
          // A command or a key exists. Which one?
          const bool known = p.looked_up;
          look_up(units, p);
          if (known && round > 2)
            refuse(errc::corrupt,
                   "the log holds a fact already that is to be written: " + f.message);
          continue;
        }
        unresolved lost{.server_process = db_.server_process()};
        for (const auto& s : p.shards)
          if (s.head != s.before)
            lost.shards.push_back({s.shard, s.before, s.head});
        const auto& first = lost.shards.front();
        for (const auto& o : p.out)
          for (const auto& fact : o.facts)
            if (fact.at.position == first.after && fact.at.stream_no % facts_.shards == first.shard)
              lost.last_sum = row_sum(fact);
        if (resolve_in_time(lost) == fate::absent) {
          held.forget();
          continue;
        }
      }
      for (const auto& s : p.shards) {
        auto& r = (*ledger_)[s.shard].mine;
        r.head = s.head;
        r.streams = s.streams;
      }
      live_.forget();
      for (auto& [id, t] : p.streams)
        put_head(id, t.row);
      held.done();
      return std::move(p.out);
    }
    refuse(errc::unavailable, "the commit found its shards changed again and again");
  });
}

// -- unknown commits --

/// Ends the right of the old connection, then asks the log. The shards are held.
writer::fate writer::resolve(const unresolved& lost) {
  if (!db_.alive())
    connect_again();
  // The old server process may still hold the shards' rows, or be about to commit.
  parameters process;
  process.integer(lost.server_process).text(options_.application_name);
  static_cast<void>(
    db_.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND pid <> "
              "pg_backend_pid() AND application_name = $2 AND usename = current_user",
              std::move(process)));
  array moved(type::int4);
  for (const auto& a : lost.shards)
    moved.integer(a.shard);
  parameters p;
  p.column(std::move(moved)).text(ledger_->incarnation);
  const auto fenced = db_.query(fence_, std::move(p));
  for (std::size_t i = 0; i < fenced.rows(); ++i) {
    auto& r = (*ledger_)[static_cast<shard_t>(fenced.int_at(i, 0))].mine;
    r.epoch = fenced.uint_at(i, 1);
    r.head = fenced.uint_at(i, 2);
    r.streams = fenced.uint_at(i, 3);
    r.known = true;
  }
  // From here on the commit is there, or will never be: all of its shards have another epoch now.
  const auto& first = lost.shards.front();
  parameters at;
  at.integer(first.shard).integer(first.after);
  const auto sum = db_.query(sum_at_, std::move(at));
  const bool ours =
    sum.rows() != 0 && static_cast<std::uint32_t>(sum.int_at(0, 0)) == lost.last_sum;
  if (fenced.rows() < lost.shards.size()) {
    if (ours)
      return fate::committed;
    refuse(errc::fenced, "shard " + std::to_string(first.shard) + " was taken by another node");
  }
  for (const auto& a : lost.shards)
    if (const auto head = (*ledger_)[a.shard].mine.head; head != (ours ? a.after : a.before))
      refuse(errc::corrupt, "shard " + std::to_string(a.shard) + " stands at position "
                              + std::to_string(head) + ", where no commit of ours has left it");
  return ours ? fate::committed : fate::absent;
}

writer::fate writer::resolve_in_time(const unresolved& lost) {
  db_.drop();
  const auto doubt = [&](bool is) {
    for (const auto& a : lost.shards)
      (*ledger_)[a.shard].in_doubt = is;
  };
  unresolved_ = lost;
  doubt(true);
  const auto until = steady_clock::now() + std::chrono::milliseconds(options_.resolve_ms_max);
  auto pause = std::chrono::milliseconds(10);
  for (;;) {
    try {
      const auto out = resolve(lost);
      unresolved_.reset();
      doubt(false);
      return out;
    } catch (const failure& f) {
      const auto e = to_error(f);
      if (e.code != errc::unavailable)
        throw;
      if (steady_clock::now() + pause > until)
        throw failure{{},
                      {},
                      false,
                      error{errc::outcome_unknown,
                            "the connection was lost in a commit, and nobody can be asked yet "
                            "whether it happened: "
                              + e.message,
                            {},
                            0,
                            e.retry_after_ms}};
    }
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::milliseconds(500));
  }
}

}  // namespace recalld::storage::postgres

#include "storage/postgres_writer.hpp"

#include "projections/projections.hpp"
#include "storage/base_marks.hpp"
#include "storage/checksum.hpp"
#include "storage/failpoint.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

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
  using key = std::pair<stream_no_t, std::string>;
  using command = std::pair<std::string, stream_no_t>;

  plan(writer& w, shard_t shard) : writer_(w), shard_(shard) {}

  /// Plans all units anew, from where the shard stands.
  void make(std::span<const append_unit> units, const right& from) {
    writer_.live_.forget();
    out.assign(units.size(), {});
    streams.clear();
    keys_.clear();
    wanted_keys.clear();
    undecided = false;
    before = head = from.head;
    stream_count = from.streams;
    for (std::size_t i = 0; i < units.size(); ++i)
      append(units[i], out[i]);
  }

  std::vector<unit_outcome> out;
  std::unordered_map<stream_id, touched> streams;  ///< That were written to.
  position_t before = 0, head = 0;
  std::uint64_t stream_count = 0;
  /// A refused unit may have a receipt, which nobody has looked for yet.
  bool undecided = false;
  bool looked_up = false;
  std::set<key> wanted_keys;  ///< That must be free.
  /// What exists in the log, as far as it was looked up.
  std::map<command, projections::row> receipts;
  std::set<key> taken;

private:
  struct unit_stream {
    const stream_id* id = nullptr;
    touched now;
  };

  touched& touch(const stream_id& id, const any_fact* first) {
    for (auto& s : unit_streams_)
      if (*s.id == id)
        return s.now;
    auto& s = unit_streams_.emplace_back();
    s.id = &id;
    if (const auto known = streams.find(id); known != streams.end()) {
      s.now = known->second;
    } else if (const auto* row = writer_.heads_.find(id)) {
      s.now.row = *row;
    } else {
      s.now.fresh = true;
      if (first != nullptr) {
        s.now.row.at.stream_no = ++unit_stream_count_ * writer_.facts_.shards + shard_;
        s.now.row.at.head = initial_version(*first);
      }
    }
    return s.now;
  }

  void append(const append_unit& unit, unit_outcome& o) {
    unit_streams_.clear();
    unit_keys_.clear();
    changes_.clear();
    unit_stream_count_ = stream_count;
    next_ = head + 1;
    for (std::size_t part = 0; part < unit.parts.size() && !o.refused; ++part)
      add_part(unit, part, o);
    if (!unit.command.empty() && !unit_streams_.empty())
      find_receipt(unit, o);
    if (o.refused) {
      o.parts.clear();
      o.facts.clear();
      return;
    }
    for (auto& s : unit_streams_)
      if (s.now.row.at.stream_no != 0)
        streams.insert_or_assign(*s.id, std::move(s.now));
    keys_.insert(std::make_move_iterator(unit_keys_.begin()),
                 std::make_move_iterator(unit_keys_.end()));
    for (auto& c : changes_)
      writer_.live_.add(std::move(c), true);
    stream_count = unit_stream_count_;
    head = next_ - 1;
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
    auto& committed = o.parts.emplace_back();
    committed = {at.stream_no, at.head + 1, at.head + in.facts.size(), 0, t.row.time};
    const bool made = in.encoded.size() == in.facts.size();
    for (std::size_t i = 0; i < in.facts.size(); ++i) {
      auto& fact = o.facts.emplace_back();
      fact.at.position = next_++;
      fact.at.stream_no = at.stream_no;
      fact.at.stream = in.stream;
      fact.at.version = ++at.head;
      fact.at.time = t.row.time;
      if (part == 0 && i == 0 && !unit.command.empty()) {
        fact.at.command = unit.command;
        fact.at.body_hash = unit.body_hash;
        fact.at.command_facts = static_cast<std::uint32_t>(in.facts.size());
      }
      auto take = [&](auto&& e) {
        fact.type = e.type;
        fact.schema = e.schema;
        fact.lane = e.lane;
        fact.key = std::forward<decltype(e)>(e).key;
        fact.payload = std::forward<decltype(e)>(e).payload;
      };
      if (made)
        take(in.encoded[i]);
      else
        take(codec::encode(in.facts[i], fact.at.version));
      if (!fact.key.empty()) {
        key k{at.stream_no, fact.key};
        const bool used = keys_.contains(k) || taken.contains(k) || !unit_keys_.insert(k).second;
        if (!t.fresh)
          wanted_keys.insert(std::move(k));
        if (used) {
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
      committed.position = next_ - 1;
  }

  /// A repeated command is told its receipt, whatever else has changed since.
  void find_receipt(const append_unit& unit, unit_outcome& o) {
    const auto& first = unit_streams_.front().now;
    const auto no = first.row.at.stream_no;
    const projections::row k = {unit.command, static_cast<std::int64_t>(no)};
    const auto part = o.refused ? o.refused->part : 0;
    const auto* receipt = writer_.live_.find_new(projections::receipts::spec, k);
    if (receipt == nullptr)
      if (const auto found = receipts.find({unit.command, no}); found != receipts.end())
        receipt = &found->second;
    if (receipt != nullptr)
      o.refused = refusal{refusal::reason::duplicate_command, part, 0, *receipt, {}};
    else if (o.refused && !looked_up && !first.fresh)
      undecided = true;
  }

  writer& writer_;
  shard_t shard_;
  std::set<key> keys_;
  // The unit in hand.
  std::vector<unit_stream> unit_streams_;
  std::set<key> unit_keys_;
  std::vector<projections::change> changes_;
  std::uint64_t unit_stream_count_ = 0;
  position_t next_ = 0;
};

// -- writer --

writer::writer(const postgres_options& options)
  : options_(options),
    db_(options, connection::mode::write),
    incarnation_(fresh_log_id()),
    heads_(options.heads_max),
    live_(""),
    begin_("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"),
    end_("COMMIT"),
    // Fence, sequencer and lock at once: a head below 0 breaks the table's rule `shards_fence`.
    advance_("UPDATE shards SET head = CASE WHEN epoch = $2 AND head = $3 THEN $4 ELSE -1 END, "
             "streams = $5 WHERE shard = $1"),
    insert_stream_("INSERT INTO streams(shard, no, sum, base, base_fact, id) "
                   "SELECT $1, * FROM unnest($2::int8[], $3::int4[], $4::int8[], $5::int8[], "
                   "$6::bytea[])"),
    insert_fact_("INSERT INTO log(shard, position, stream, version, lane, type, schema, time, key, "
                 "command, body_hash, command_facts, sum, payload) SELECT $1, * FROM "
                 "unnest($2::int8[], $3::int8[], $4::int8[], $5::int2[], $6::text[], $7::int2[], "
                 "$8::int8[], $9::bytea[], $10::text[], $11::int8[], $12::int4[], $13::int4[], "
                 "$14::text[])"),
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
    right_("SELECT epoch, head, streams FROM shards WHERE shard = $1"),
    take_("UPDATE shards SET epoch = epoch + 1, owner = $2 WHERE shard = $1 "
          "RETURNING epoch, head, streams"),
    fence_("UPDATE shards SET epoch = epoch + 1 WHERE shard = $1 AND owner = $2 "
           "RETURNING epoch, head, streams"),
    sum_at_("SELECT sum FROM log WHERE shard = $1 AND position = $2") {
  check_durability(db_, options_);
  create_or_migrate(db_, options_);
  facts_ = read_log_facts(db_, options_);
  know_tables();
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

std::vector<shard_t> writer::shards() const {
  std::vector<shard_t> out;
  for (shard_t s = 0; s < facts_.shards; ++s)
    out.push_back(s);
  return out;
}

shard_t writer::shard_of(const stream_id& stream) const {
  return static_cast<shard_t>(checksum(stream.bytes(), 0) % facts_.shards);
}

// -- the connection --

void writer::know_tables() {
  live_.know_nothing();
  for (const auto* t : projections::tables())
    if (stored_version(db_, *t) == t->version)
      live_.know(*t);
}

/// After this nothing in memory is taken for granted but the rights that were told.
void writer::connect_again() {
  heads_.clear();
  for (auto& [shard, r] : rights_)
    r.head = r.streams = ~std::uint64_t{0};
  shadow_.reset();
  shadow_tables_.clear();
  db_.reconnect();
  try {
    check_durability(db_, options_);
    const auto now = read_log_facts(db_, options_);
    if (!(now.identity == facts_.identity))
      refuse(errc::corrupt, "the database holds another log than before, or an earlier state of it");
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
  if (!unresolved_)
    return;
  auto& r = rights_[unresolved_->shard];
  resolve(*unresolved_, r);
  unresolved_.reset();
}

// -- rights --

void writer::read_right(shard_t shard, right& r) {
  parameters p;
  p.integer(shard);
  const auto row = db_.query(right_, std::move(p));
  if (row.rows() == 0)
    refuse(errc::invalid, "no such shard: " + std::to_string(shard));
  const auto epoch = row.uint_at(0, 0);
  if (epoch != r.epoch)
    refuse(errc::fenced, "shard " + std::to_string(shard) + " is written under epoch "
                           + std::to_string(epoch) + ", not " + std::to_string(r.epoch));
  r.head = row.uint_at(0, 1);
  r.streams = row.uint_at(0, 2);
}

writer::right& writer::right_of(shard_t shard, epoch_t epoch) {
  auto found = rights_.find(shard);
  if (found == rights_.end() || found->second.granted != epoch) {
    right r{epoch, epoch, 0, 0};
    read_right(shard, r);
    heads_.clear();
    return rights_.insert_or_assign(shard, r).first->second;
  }
  if (found->second.head == ~std::uint64_t{0})
    read_right(shard, found->second);
  return found->second;
}

result<epoch_t> writer::take_shard(shard_t shard) {
  return writing([&]() -> result<epoch_t> {
    auto take = [&] {
      parameters p;
      p.integer(shard).text(incarnation_);
      return db_.query(take_, std::move(p));
    };
    std::optional<answer> taken;
    try {
      taken.emplace(take());
    } catch (const failure& f) {
      if (f.state != "55P03")
        throw;
      // Somebody has held the row for long: a server process whose client is gone, or frozen. To
      // take the shard means to end his right; if he lives, he finds out what became of his commit.
      static_cast<void>(
        db_.query("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = "
                  "'shards'::regclass AND mode = 'RowExclusiveLock' AND pid <> pg_backend_pid()"));
      taken.emplace(take());
    }
    if (taken->rows() == 0)
      return fail(errc::invalid, "no such shard: " + std::to_string(shard));
    const auto epoch = taken->uint_at(0, 0);
    heads_.clear();
    rights_.insert_or_assign(shard,
                             right{epoch, epoch, taken->uint_at(0, 1), taken->uint_at(0, 2)});
    return epoch;
  });
}

// -- commit --

void writer::load_heads(std::span<const append_unit> units) {
  std::set<std::string_view> unknown;
  auto want = [&](const stream_id& id) {
    if (heads_.find(id) == nullptr)
      unknown.insert(id.bytes());
  };
  for (const auto& unit : units)
    for (const auto& part : unit.parts) {
      want(part.stream);
      for (const auto& fact : part.facts)
        if (const auto mark = base_of(fact, 1))
          for (const auto& range : mark->borrows)
            if (heads_.find(range.stream) == nullptr) {
              array one(type::bytea);
              one.bytes(range.stream.bytes());
              parameters p;
              p.column(std::move(one));
              const auto found = db_.query(find_streams_, std::move(p));
              if (found.rows() != 0) {
                auto [id, row] = read_stream_row(found, 0);
                heads_.put(id, row);
              }
            }
    }
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
    heads_.put(id, row);
  }
}

void writer::look_up(std::span<const append_unit> units, plan& p) {
  array commands(type::text), streams(type::int8);
  for (const auto& unit : units) {
    if (unit.command.empty() || unit.parts.empty())
      continue;
    if (const auto* row = heads_.find(unit.parts.front().stream)) {
      commands.bytes(unit.command);
      streams.integer(row->at.stream_no);
    }
  }
  array key_streams(type::int8), keys(type::bytea);
  for (const auto& [stream, key] : p.wanted_keys) {
    key_streams.integer(stream);
    keys.bytes(key);
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
    const auto no = static_cast<stream_no_t>(
      std::get<std::int64_t>(row[projections::receipts::stream]));
    p.receipts.insert_or_assign({command, no}, std::move(row));
  }
  for (std::size_t i = 0; i < found[1].rows(); ++i)
    p.taken.emplace(found[1].uint_at(i, 0), std::string(found[1].view_at(i, 1)));
  p.looked_up = true;
}

std::vector<request> writer::requests_of(shard_t shard, const right& r, plan& p) {
  std::vector<request> out;
  out.push_back({&begin_, {}});
  parameters advance;
  advance.integer(shard).integer(r.epoch).integer(p.before).integer(p.head).integer(p.stream_count);
  out.push_back({&advance_, std::move(advance)});

  // Streams, and where they begin now.
  array new_no(type::int8), new_sum(type::int4), new_base(type::int8), new_fact(type::int8),
    new_id(type::bytea);
  array old_no(type::int8), old_base(type::int8), old_fact(type::int8);
  array based(type::int8), owing(type::int8), borrower(type::int8), source(type::int8),
    through(type::int8);
  for (const auto& [id, t] : p.streams) {
    const auto& at = t.row.at;
    if (t.fresh) {
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
        const auto* known = heads_.find(range.stream);
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
  auto send = [&](const statement& s, auto... columns) {
    parameters values;
    (values.column(std::move(columns)), ...);
    out.push_back({&s, std::move(values)});
  };
  if (!new_no.empty()) {
    parameters values;
    values.integer(shard)
      .column(std::move(new_no))
      .column(std::move(new_sum))
      .column(std::move(new_base))
      .column(std::move(new_fact))
      .column(std::move(new_id));
    out.push_back({&insert_stream_, std::move(values)});
  }
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

  array position(type::int8), stream(type::int8), version(type::int8), stored_lane(type::int2),
    kind(type::text), schema(type::int2), time(type::int8), key(type::bytea), command(type::text),
    body_hash(type::int8), command_facts(type::int4), sum(type::int4), payload(type::text);
  for (const auto& unit : p.out)
    for (const auto& f : unit.facts) {
      position.integer(f.at.position);
      stream.integer(f.at.stream_no);
      version.integer(f.at.version);
      stored_lane.integer(static_cast<std::int64_t>(f.lane));
      kind.bytes(f.type);
      schema.integer(static_cast<std::int64_t>(f.schema));
      time.integer(f.at.time);
      f.key.empty() ? key.null() : key.bytes(f.key);
      if (f.at.command.empty()) {
        command.null();
        body_hash.null();
        command_facts.null();
      } else {
        command.bytes(f.at.command);
        body_hash.integer(f.at.body_hash);
        command_facts.integer(static_cast<std::int64_t>(f.at.command_facts));
      }
      sum.integer(static_cast<std::int32_t>(row_sum(f)));
      payload.bytes(f.payload.view());
    }
  parameters facts;
  facts.integer(shard);
  for (auto* column : {&position, &stream, &version, &stored_lane, &kind, &schema, &time, &key,
                       &command, &body_hash, &command_facts, &sum, &payload})
    facts.column(std::move(*column));
  out.push_back({&insert_fact_, std::move(facts)});
  live_.write(out);
  out.push_back({&end_, {}});
  return out;
}

result<std::vector<unit_outcome>> writer::commit(shard_t shard, epoch_t epoch,
                                                 std::span<const append_unit> units) {
  return writing([&]() -> result<std::vector<unit_outcome>> {
    if (shard >= facts_.shards)
      refuse(errc::invalid, "no such shard: " + std::to_string(shard));
    if (!live_.knows(projections::receipts::spec))
      refuse(errc::unavailable, "the receipts are being rebuilt");
    heads_.age();
    plan p(*this, shard);
    constexpr int rounds_max = 8;
    for (int round = 0; round < rounds_max; ++round) {
      auto& r = right_of(shard, epoch);
      load_heads(units);
      p.make(units, r);
      if (p.undecided) {
        look_up(units, p);
        p.make(units, r);
      }
      if (p.head == p.before) {
        // Nothing to write; but what was refused was refused under a right that we still have.
        read_right(shard, r);
        live_.forget();
        if (r.head == p.before)
          return std::move(p.out);
        heads_.clear();
        continue;
      }
      auto requests = requests_of(shard, r, p);
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
            // Somebody else has taken the shard, which `right_of` is going to say.
            r.head = ~std::uint64_t{0};
            heads_.clear();
            continue;
          }
          if (f.state != "23505")
            throw;
          // A command or a key exists. Which one?
          const bool known = p.looked_up;
          look_up(units, p);
          if (known && round > 2)
            refuse(errc::corrupt, "the log holds a fact already that is to be written: " + f.message);
          continue;
        }
        const auto last = std::find_if(p.out.rbegin(), p.out.rend(),
                                       [](const unit_outcome& o) { return !o.facts.empty(); });
        const unresolved lost{shard, p.before, p.head, row_sum(last->facts.back()),
                              db_.server_process()};
        if (resolve_in_time(lost, r) == fate::absent) {
          heads_.clear();
          continue;
        }
      }
      r.head = p.head;
      r.streams = p.stream_count;
      live_.forget();
      for (auto& [id, t] : p.streams)
        heads_.put(id, t.row);
      return std::move(p.out);
    }
    refuse(errc::unavailable, "the commit found the shard changed again and again");
  });
}

// -- unknown commits --

/// Ends the right of the old connection, then asks the log.
writer::fate writer::resolve(const unresolved& lost, right& r) {
  if (!db_.alive())
    connect_again();
  // The old server process may still hold the shard's row, or be about to commit.
  parameters process;
  process.integer(lost.server_process).text(options_.application_name);
  static_cast<void>(db_.query(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND pid <> "
    "pg_backend_pid() AND application_name = $2 AND usename = current_user",
    std::move(process)));
  parameters p;
  p.integer(lost.shard).text(incarnation_);
  const auto fenced = db_.query(fence_, std::move(p));
  if (fenced.rows() != 0) {
    r.epoch = fenced.uint_at(0, 0);
    r.head = fenced.uint_at(0, 1);
    r.streams = fenced.uint_at(0, 2);
    if (r.head == lost.before)
      return fate::absent;
  }
  parameters at;
  at.integer(lost.shard).integer(lost.after);
  const auto sum = db_.query(sum_at_, std::move(at));
  const bool ours = sum.rows() != 0
                    && static_cast<std::uint32_t>(sum.int_at(0, 0)) == lost.last_sum;
  if (fenced.rows() == 0) {
    // Another node has the shard: what is not there now will never be.
    if (ours)
      return fate::committed;
    refuse(errc::fenced, "shard " + std::to_string(lost.shard) + " was taken by another node");
  }
  if (r.head == lost.after && ours)
    return fate::committed;
  refuse(errc::corrupt, "shard " + std::to_string(lost.shard) + " stands at position "
                          + std::to_string(r.head) + ", where no commit of ours has left it");
}

writer::fate writer::resolve_in_time(const unresolved& lost, right& r) {
  db_.drop();
  unresolved_ = lost;
  const auto until = steady_clock::now() + std::chrono::milliseconds(options_.resolve_ms_max);
  auto pause = std::chrono::milliseconds(10);
  for (;;) {
    try {
      const auto out = resolve(lost, r);
      unresolved_.reset();
      return out;
    } catch (const failure& f) {
      const auto e = to_error(f);
      if (e.code != errc::unavailable)
        throw;
      if (steady_clock::now() + pause > until)
        throw failure{{}, {}, false,
                      error{errc::outcome_unknown,
                            "the connection was lost in a commit, and nobody can be asked yet "
                            "whether it happened: " + e.message,
                            {}, 0, e.retry_after_ms}};
    }
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::milliseconds(500));
  }
}

}  // namespace recalld::storage::postgres

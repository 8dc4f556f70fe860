#include "projections/projections.hpp"
#include "storage/failpoint.hpp"
#include "storage/postgres_writer.hpp"

#include <algorithm>
#include <limits>

/// Forgetting what lies at or below the bases of streams, as `sqlite_sweep.cpp` does it. When the
/// answer to a sweep's commit is lost, nothing has to be found out: the next one sees what is left.
///
/// What a fact makes forgotten by key is read before that fact's commit and blanked in it; should
/// another writer come between, the commit fails on its head.
namespace recalld::storage::postgres {

namespace {

/// Facts per transaction: a commit that waits for the sweep waits for a few milliseconds.
constexpr std::size_t facts_per_transaction = 1000;

const statement sweepable(
  "SELECT position, version, time, command, type, schema, body_hash, command_facts FROM log "
  "WHERE stream = $1 AND lane = $2 AND version > $3 AND version <= $4 ORDER BY version LIMIT $5");
const statement mergeable(
  "SELECT position, version, time, command, type, schema, body_hash, command_facts FROM log "
  "WHERE stream = $1 AND lane = $2 AND version <= $3 AND (command IS NULL OR time < $4) "
  "ORDER BY version LIMIT $5");
const statement kept("SELECT time FROM log WHERE stream = $1 AND lane = $2 AND version <= $3 "
                     "AND command IS NOT NULL AND time >= $4 ORDER BY version LIMIT 1");
const statement debtors("SELECT DISTINCT shard FROM sweep_debt WHERE shard = ANY($1) AND due < $2 "
                        "ORDER BY shard");
const statement told_under(
  "SELECT l.position, l.version, l.time, l.command, l.type, l.schema, l.body_hash, "
  "l.command_facts, l.lane, l.stream FROM unnest($1::int8[], $2::bytea[], $3::bytea[], $4::int8[]) "
  "AS k(stream, first, behind, below) JOIN log AS l ON l.stream = k.stream AND l.key >= k.first "
  "AND l.key < k.behind AND l.version < k.below AND l.key IS NOT NULL AND l.lane <> 1");
const statement debts("SELECT stream FROM sweep_debt WHERE shard = $1 AND due < $2 "
                      "ORDER BY due, stream LIMIT $3");
const statement standing("SELECT base, (SELECT max(through) FROM borrows WHERE source = $1), "
                         "get_byte(id, 0)::int8 FROM streams WHERE no = $1");
const statement blank(
  "UPDATE log SET payload = NULL, key = NULL, lane = u.lane, sum = u.sum FROM "
  "unnest($1::int4[], $2::int8[], $3::int2[], $4::int4[]) AS u(shard, position, lane, sum) "
  "WHERE log.shard = u.shard AND log.position = u.position");
const statement forget("DELETE FROM log WHERE shard = $1 AND position = ANY($2)");
const statement merged("UPDATE streams SET merged = $2, merged_time = $3 "
                       "WHERE no = $1 AND merged < $2");
const statement settle("DELETE FROM sweep_debt WHERE stream = $1");
const statement postpone("UPDATE sweep_debt SET due = $2 WHERE stream = $1");
const statement blank_before("SELECT first, last FROM blanks WHERE shard = $1 AND first < $2 "
                             "ORDER BY first DESC LIMIT 1");
const statement blank_after("DELETE FROM blanks WHERE shard = $1 AND first = $2 RETURNING last");
const statement put_blank("INSERT INTO blanks VALUES($1, $2, $3) "
                          "ON CONFLICT (shard, first) DO UPDATE SET last = excluded.last");
const statement lock_row("SELECT epoch FROM shards WHERE shard = $1 FOR UPDATE");

template <class... Ns>
parameters numbers(Ns... n) {
  parameters p;
  (p.integer(n), ...);
  return p;
}

/// What of a fact stays when it is blanked.
recorded envelope_at(const answer& found, std::size_t i, stream_no_t stream, lane l) {
  recorded f;
  f.at.position = found.uint_at(i, 0);
  f.at.stream_no = stream;
  f.at.version = found.uint_at(i, 1);
  f.at.time = found.int_at(i, 2);
  f.at.command = found.view_at(i, 3);
  f.type = found.view_at(i, 4);
  f.schema = static_cast<std::uint16_t>(found.int_at(i, 5));
  f.at.body_hash = found.uint_at(i, 6);
  f.at.command_facts = static_cast<std::uint32_t>(found.int_at(i, 7));
  f.lane = l;
  return f;
}

/// Facts of one lane in `(after, through]`, oldest first.
std::vector<recorded> facts_of(connection& db, stream_no_t stream, int stored_lane, version_t after,
                               version_t through, std::size_t limit) {
  const auto found = db.query(
    sweepable, numbers(stream, stored_lane, after, through, static_cast<std::uint64_t>(limit)));
  std::vector<recorded> out;
  for (std::size_t i = 0; i < found.rows(); ++i)
    out.push_back(envelope_at(found, i, stream, lane_of(stored_lane)));
  return out;
}

/// Facts that are to be blanked.
class blanking {
public:
  void add(shard_t shard, const recorded& f) {
    shard_.integer(std::int64_t{shard});
    position_.integer(f.at.position);
    lane_.integer(std::int64_t{blanked_lane(f.lane)});
    sum_.integer(static_cast<std::int32_t>(blanked_sum(f)));
  }
  bool empty() const { return position_.empty(); }
  request done() && {
    parameters p;
    p.column(std::move(shard_))
      .column(std::move(position_))
      .column(std::move(lane_))
      .column(std::move(sum_));
    return {&blank, std::move(p)};
  }

private:
  array shard_{type::int4}, position_{type::int8}, lane_{type::int2}, sum_{type::int4};
};

}  // namespace

void writer::lock_shard(shard_t shard) {
  const auto epoch = (*ledger_)[shard].mine.epoch;
  const auto row = db_.query(lock_row, numbers(shard));
  if (row.rows() == 0 || row.uint_at(0, 0) != epoch)
    refuse(errc::fenced, "shard " + std::to_string(shard) + " is not written under epoch "
                           + std::to_string(epoch) + " any more");
}

result<sweep_report> writer::sweep(const shard_rights& rights, const receipt_age& receipts,
                                   std::size_t budget) {
  return writing([&]() -> result<sweep_report> {
    sweep_report out;
    check_shards(rights);
    // A rebuild that is under way reads the log as it was when it began.
    if (ledger_->rebuilding)
      return out;
    if (!live_.knows(projections::receipts::spec))
      refuse(errc::unavailable, "the receipts are being rebuilt");
    std::vector<shard_t> named;
    for (const auto& [shard, epoch] : rights)
      named.push_back(shard);
    ledger::hold held(*ledger_, named);
    know_rights(named, rights);
    // An idle node learns here that another one has its shards.
    if (!unmoved(named))
      know_rights(named, rights);
    parameters p;
    // Debts that are due at once have 0 there, whatever the age of receipts.
    p.column(numbers_of(named)).integer(std::max<time_us_t>(receipts.before, 1));
    const auto due = db_.query(debtors, std::move(p));
    std::size_t used = 0;
    for (std::size_t i = 0; i < due.rows() && used < budget; ++i) {
      const auto shard = static_cast<shard_t>(due.int_at(i, 0));
      bool left = true;
      while (left && used < budget) {
        const auto facts =
          sweep_some(shard, receipts, std::min(budget - used, facts_per_transaction), out);
        left = facts != 0;
        used += facts;
      }
    }
    held.done();
    out.more = out.more || used >= budget;
    return out;
  });
}

/// One transaction. Gives what it cost; 0 = there was nothing to do.
std::size_t writer::sweep_some(shard_t shard, const receipt_age& receipts, std::size_t budget,
                               sweep_report& report) {
  transaction change(db_);
  lock_shard(shard);
  const auto streams = db_.query(debts, numbers(shard, std::max<time_us_t>(receipts.before, 1),
                                                static_cast<std::uint64_t>(budget) + 1));
  std::size_t used = 0;
  std::size_t next = 0;
  for (; next < streams.rows() && used < budget; ++next)
    used += std::max<std::size_t>(
      1, sweep_stream(shard, streams.uint_at(next, 0), receipts, budget - used, report));
  report.more = next < streams.rows() || used >= budget;
  if (used == 0)
    return 0;
  std::vector<request> rows;
  live_.write(rows);
  if (!rows.empty())
    db_.run(rows);
  live_.forget();
  failpoint("postgres.sweep.before");
  change.commit();
  failpoint("postgres.sweep.after");
  return used;
}

std::size_t writer::sweep_stream(shard_t shard, stream_no_t stream, const receipt_age& receipts,
                                 std::size_t budget, sweep_report& report) {
  version_t base = 0;
  version_t borrowed = 0;
  bool by_key = false;
  bool brief = false;
  if (const auto at = db_.query(standing, numbers(stream)); at.rows() != 0) {
    base = at.uint_at(0, 0);
    by_key = forgets_by_key(static_cast<stream_kind>(at.int_at(0, 2)));
    brief = has_brief_receipts(static_cast<stream_kind>(at.int_at(0, 2)));
    borrowed = at.null_at(0, 1) ? 0 : std::min(at.uint_at(0, 1), base);
  }
  const auto receipts_before = receipts.before_in(brief);

  std::size_t used = 0;
  std::vector<position_t> gone;
  version_t newest_gone = 0;
  time_us_t newest_gone_time = 0;
  blanking fresh;
  auto merge = [&](const recorded& f) {
    if (!f.at.command.empty())
      live_.add(projections::erase{&projections::receipts::spec,
                                   {f.at.command, static_cast<std::int64_t>(stream)}},
                true);
    gone.push_back(f.at.position);
    if (f.at.version > newest_gone) {
      newest_gone = f.at.version;
      newest_gone_time = f.at.time;
    }
  };

  // Facts that nobody reads any more.
  auto due = std::numeric_limits<time_us_t>::max();
  for (int l = 0; l < lane_count; ++l) {
    const auto stored = blanked_lane(static_cast<lane>(l));
    // Blanked before: by their keys, or kept for their receipts until now. Times grow with versions,
    // and where nothing is forgotten by its key, all that were blanked have a receipt.
    std::vector<recorded> over;
    if (by_key) {
      const auto found = db_.query(mergeable, numbers(stream, stored, base, receipts_before,
                                                      static_cast<std::uint64_t>(budget - used)));
      for (std::size_t i = 0; i < found.rows(); ++i)
        over.push_back(envelope_at(found, i, stream, lane_of(stored)));
      const auto still = db_.query(kept, numbers(stream, stored, base, receipts_before));
      if (still.rows() != 0)
        due = std::min(due, still.int_at(0, 0));
    } else {
      over = facts_of(db_, stream, stored, 0, base, budget - used);
      const auto first_kept = std::find_if(
        over.begin(), over.end(), [&](const recorded& f) { return f.at.time >= receipts_before; });
      if (first_kept != over.end())
        due = std::min(due, first_kept->at.time);
      over.erase(first_kept, over.end());
    }
    for (const auto& f : facts_of(db_, stream, l, borrowed, base, budget - used)) {
      ++used;
      ++report.blanked;
      if (f.at.command.empty() || f.at.time < receipts_before) {
        merge(f);
        continue;
      }
      due = std::min(due, f.at.time);
      fresh.add(shard, f);
    }
    for (std::size_t i = 0; i < over.size() && used < budget; ++i) {
      ++used;
      merge(over[i]);
    }
  }
  report.merged += gone.size();
  if (!fresh.empty()) {
    auto blanked = std::move(fresh).done();
    db_.query(*blanked.what, std::move(blanked.values));
  }
  if (!gone.empty()) {
    array positions(type::int8);
    for (const auto at : gone)
      positions.integer(at);
    parameters p;
    p.integer(shard).column(std::move(positions));
    db_.query(forget, std::move(p));
    add_blanks(shard, gone);
    db_.query(merged, numbers(stream, newest_gone, newest_gone_time));
  }
  if (used >= budget)
    return used;  // perhaps not all
  if (due == std::numeric_limits<time_us_t>::max())
    db_.query(settle, numbers(stream));
  else
    db_.query(postpone, numbers(stream, receipts.debt_due(due, brief)));
  return used;
}

std::optional<request> writer::blanking_of(std::span<const forgetting> forgets) {
  if (forgets.empty())
    return std::nullopt;
  array stream(type::int8), first(type::bytea), behind(type::bytea), below(type::int8);
  for (const auto& what : forgets) {
    stream.integer(what.stream);
    first.bytes(what.prefix);
    behind.bytes(behind_prefix(what.prefix));
    below.integer(what.below);
  }
  parameters p;
  p.column(std::move(stream))
    .column(std::move(first))
    .column(std::move(behind))
    .column(std::move(below));
  const auto found = db_.query(told_under, std::move(p));
  blanking all;
  for (std::size_t i = 0; i < found.rows(); ++i) {
    const auto no = found.uint_at(i, 9);
    all.add(static_cast<shard_t>(no % facts_.shards),
            envelope_at(found, i, no, static_cast<lane>(found.int_at(i, 8))));
  }
  if (all.empty())
    return std::nullopt;
  return std::move(all).done();
}

void writer::add_blanks(shard_t shard, std::vector<position_t>& positions) {
  std::sort(positions.begin(), positions.end());
  for (std::size_t i = 0; i < positions.size();) {
    auto first = positions[i];
    auto last = first;
    while (++i < positions.size() && positions[i] == last + 1)
      ++last;
    if (const auto before = db_.query(blank_before, numbers(shard, first));
        before.rows() != 0 && before.uint_at(0, 1) + 1 == first)
      first = before.uint_at(0, 0);
    if (const auto after = db_.query(blank_after, numbers(shard, last + 1)); after.rows() != 0)
      last = after.uint_at(0, 0);
    db_.query(put_blank, numbers(shard, first, last));
  }
}

}  // namespace recalld::storage::postgres

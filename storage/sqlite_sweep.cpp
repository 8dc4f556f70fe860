#include "projections/projections.hpp"
#include "storage/failpoint.hpp"
#include "storage/one_shard.hpp"
#include "storage/sqlite_schema.hpp"
#include "storage/sqlite_writer.hpp"

#include <algorithm>
#include <limits>

/// Forgetting what lies at or below the bases of streams.
///
/// A fact there is blanked: payload and key go, the envelope stays, so that its receipt can be
/// told and replayed. A blanked fact without a command, or with one whose receipt is old enough,
/// leaves the log altogether; its position becomes part of a range in `blanks`. Facts that another
/// stream borrows are passed over until the borrower lets go, which puts the stream into debt again.
///
/// What a fact makes forgotten by key is blanked in that fact's own commit, and stays so until the
/// stream's base has passed it.
namespace recalld::storage::sqlite {

namespace {

/// Facts per transaction: a commit that waits for the sweep waits for a few milliseconds.
constexpr std::size_t facts_per_transaction = 1000;

/// What of a fact stays when it is blanked.
recorded envelope_at(statement& s, stream_no_t stream, lane l) {
  recorded f;
  f.at.position = s.uint_at(0);
  f.at.stream_no = stream;
  f.at.version = s.uint_at(1);
  f.at.time = s.int_at(2);
  f.at.command = s.view_at(3);
  f.type = s.view_at(4);
  f.schema = static_cast<std::uint16_t>(s.int_at(5));
  f.at.body_hash = s.uint_at(6);
  f.at.command_facts = static_cast<std::uint32_t>(s.int_at(7));
  f.lane = l;
  return f;
}

/// Facts of one lane in `(after, through]`, oldest first. They are read before any is changed, for
/// the change moves them within the index that is read.
std::vector<recorded> facts_of(statement& s, stream_no_t stream, int stored_lane, version_t after,
                               version_t through, std::size_t limit) {
  std::vector<recorded> out;
  s.integer(1, stream)
    .integer(2, stored_lane)
    .integer(3, after)
    .integer(4, through)
    .integer(5, static_cast<std::uint64_t>(limit));
  while (s.step())
    out.push_back(envelope_at(s, stream, lane_of(stored_lane)));
  return out;
}

}  // namespace

result<sweep_report> writer::sweep(const shard_rights& rights, const receipt_age& receipts,
                                   std::size_t budget) {
  return writing([&]() -> result<sweep_report> {
    const auto epoch = only_epoch(rights);
    if (!epoch)
      return fail(epoch.error());
    sweep_report out;
    // A rebuild that is under way reads the log as it was when it began.
    if (shadow_)
      return out;
    if (!live_.knows(projections::receipts::spec))
      refuse(errc::unavailable, "the receipts are being rebuilt");
    std::size_t used = 0;
    do {
      const auto now = std::min(budget - used, facts_per_transaction);
      const auto facts = sweep_some(*epoch, receipts, now, out);
      if (facts == 0)
        break;
      used += facts;
    } while (used < budget);
    return out;
  });
}

/// One transaction. Gives what it cost; 0 = there was nothing to do.
std::size_t writer::sweep_some(epoch_t epoch, const receipt_age& receipts, std::size_t budget,
                               sweep_report& report) {
  transaction change(db_);
  locked_head(epoch);
  std::vector<stream_no_t> streams;
  // Debts that are due at once have 0 there, whatever the age of receipts.
  debts_.integer(1, std::max<time_us_t>(receipts.before, 1))
    .integer(2, static_cast<std::uint64_t>(budget) + 1);
  while (debts_.step())
    streams.push_back(debts_.uint_at(0));
  std::size_t used = 0;
  auto next = streams.begin();
  for (; next != streams.end() && used < budget; ++next)
    used += std::max<std::size_t>(1, sweep_stream(*next, receipts, budget - used, report));
  report.more = next != streams.end() || used >= budget;
  if (used == 0)
    return 0;
  live_.flush();
  failpoint("sqlite.sweep.before");
  change.commit();
  failpoint("sqlite.sweep.after");
  return used;
}

std::size_t writer::sweep_stream(stream_no_t stream, const receipt_age& receipts, std::size_t budget,
                                 sweep_report& report) {
  version_t base = 0;
  bool by_key = false;
  bool brief = false;
  base_of_stream_.integer(1, stream);
  if (base_of_stream_.step()) {
    base = base_of_stream_.uint_at(0);
    const auto id = base_of_stream_.view_at(1);
    by_key = !id.empty() && forgets_by_key(static_cast<stream_kind>(id.front()));
    brief = !id.empty() && has_brief_receipts(static_cast<stream_kind>(id.front()));
  }
  base_of_stream_.reset();
  const auto receipts_before = receipts.before_in(brief);
  const auto borrowed = std::min(borrowed_through(stream), base);

  std::size_t used = 0;
  std::vector<position_t> gone;
  version_t newest_gone = 0;
  time_us_t newest_gone_time = 0;
  auto merge = [&](const recorded& f) {
    forget_.integer(1, f.at.position).run();
    forgot_ = true;
    if (!f.at.command.empty())
      live_.add(projections::erase{&projections::receipts::spec,
                                   {f.at.command, static_cast<std::int64_t>(stream)}});
    gone.push_back(f.at.position);
    if (f.at.version > newest_gone) {
      newest_gone = f.at.version;
      newest_gone_time = f.at.time;
    }
  };

  // Facts that nobody reads any more.
  for (int l = 0; l < lane_count; ++l) {
    for (const auto& f : facts_of(sweepable_, stream, l, borrowed, base, budget - used)) {
      ++used;
      ++report.blanked;
      if (f.at.command.empty() || f.at.time < receipts_before)
        merge(f);
      else
        blank(f);
    }
  }
  // Facts that were blanked before: by their keys, or kept for their receipts until now.
  auto due = std::numeric_limits<time_us_t>::max();
  for (int l = 0; l < lane_count && used < budget; ++l) {
    const auto stored = blanked_lane(static_cast<lane>(l));
    if (!by_key) {
      // All of them are kept for a receipt. Times grow with versions.
      for (const auto& f : facts_of(sweepable_, stream, stored, 0, base, budget - used)) {
        if (f.at.time >= receipts_before) {
          due = std::min(due, f.at.time);
          break;
        }
        ++used;
        merge(f);
      }
      continue;
    }
    mergeable_.integer(1, stream).integer(2, stored).integer(3, base).integer(4, receipts_before);
    mergeable_.integer(5, static_cast<std::uint64_t>(budget - used));
    std::vector<recorded> over;
    while (mergeable_.step())
      over.push_back(envelope_at(mergeable_, stream, lane_of(stored)));
    for (const auto& f : over) {
      ++used;
      merge(f);
    }
    // Times grow with versions.
    kept_.integer(1, stream).integer(2, stored).integer(3, base).integer(4, receipts_before);
    const reset_on_exit done(kept_);
    if (kept_.step())
      due = std::min<time_us_t>(due, kept_.int_at(0));
  }
  report.merged += gone.size();
  if (!gone.empty()) {
    add_blanks(gone);
    merged_.integer(1, stream).integer(2, newest_gone).integer(3, newest_gone_time).run();
  }
  if (used >= budget)
    return used;  // perhaps not all
  if (due == std::numeric_limits<time_us_t>::max())
    settle_.integer(1, stream).run();
  else
    postpone_.integer(1, receipts.debt_due(due, brief)).integer(2, stream).run();
  return used;
}

void writer::blank(const recorded& f) {
  blank_.integer(1, blanked_lane(f.lane))
    .integer(2, blanked_sum(f))
    .integer(3, f.at.position)
    .run();
  forgot_ = true;
}

void writer::forget(const forgetting& what) {
  std::vector<recorded> told;
  const auto behind = behind_prefix(what.prefix);
  told_under_.integer(1, what.stream).blob(2, what.prefix).blob(3, behind).integer(4, what.below);
  while (told_under_.step())
    told.push_back(envelope_at(told_under_, what.stream, static_cast<lane>(told_under_.int_at(8))));
  for (const auto& f : told)
    blank(f);
}

void writer::add_blanks(std::vector<position_t>& positions) {
  std::sort(positions.begin(), positions.end());
  for (std::size_t i = 0; i < positions.size();) {
    auto first = positions[i];
    auto last = first;
    while (++i < positions.size() && positions[i] == last + 1)
      ++last;
    bool widens = false;
    blank_before_.integer(1, first);
    if (blank_before_.step() && blank_before_.uint_at(1) + 1 == first) {
      first = blank_before_.uint_at(0);
      widens = true;
    }
    blank_before_.reset();
    blank_after_.integer(1, last + 1);
    if (blank_after_.step()) {
      unblank_.integer(1, last + 1);
      last = blank_after_.uint_at(0);
      blank_after_.reset();
      unblank_.run();
    }
    if (widens)
      widen_.integer(1, last).integer(2, first).run();
    else
      new_blank_.integer(1, first).integer(2, last).run();
  }
}

}  // namespace recalld::storage::sqlite

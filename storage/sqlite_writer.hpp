#pragma once

#include "storage/base_marks.hpp"
#include "storage/head_cache.hpp"
#include "storage/sqlite_log.hpp"
#include "storage/sqlite_rows.hpp"
#include "storage/sqlite_store.hpp"

#include <algorithm>
#include <unordered_map>
#include <utility>

/// Inside `storage/` only.
namespace recalld::storage::sqlite {

/// The one connection that writes.
class writer final : public log_writer {
public:
  /// Throws `failure`. The file exists and has the present schema.
  writer(connection db, const sqlite_options& options);
  ~writer() override;

  log_identity identity() const override { return identity_; }
  std::vector<shard_t> shards() const override { return {0}; }
  shard_t shard_of(const stream_id&) const override { return 0; }
  result<shard_rights> take(std::span<const shard_t> shards) override;
  using log_writer::commit;
  result<std::vector<unit_outcome>> commit(const shard_rights& rights,
                                           std::span<const append_unit> units) override;
  using log_writer::sweep;
  result<sweep_report> sweep(const shard_rights& rights, const receipt_age& receipts,
                             std::size_t budget) override;
  void relieve() override { checkpoint_if_due(options_.checkpoint_pages); }
  result<void> checkpoint() override;
  result<std::vector<const projections::table*>> outdated_tables() override;
  result<void> begin_shadow(std::span<const projections::table* const> tables) override;
  result<void> apply_to_shadow(std::vector<projections::change> changes) override;
  result<void> swap_shadow() override;

private:
  struct touched;    ///< A stream as the unit in hand leaves it.
  struct unit_work;  ///< What the unit in hand came to so far.
  struct batch;      ///< What the commit in hand came to so far.

  /// Runs a writing call: refuses when the object was spoiled, and spoils it after an outcome that
  /// nobody knows. On any failure nothing of the call is left in memory.
  template <class F>
  auto writing(F&& body) -> decltype(body()) {
    if (!spoiled_)
      spoiled_ = std::exchange(deferred_, std::nullopt);
    if (spoiled_)
      return fail(*spoiled_);
    auto out = guarded(std::forward<F>(body));
    if (!out) {
      live_.forget();
      heads_.clear();
      const auto code = out.error().code;
      if (code == errc::outcome_unknown || code == errc::corrupt)
        spoiled_ = out.error();
    }
    return out;
  }

  position_t locked_head(epoch_t epoch);
  void append(const append_unit& unit, batch& b, unit_outcome& out);
  touched& touch(unit_work& w, const stream_id& id, const any_fact* first);
  void plan_part(unit_work& w, const append_unit& unit, std::size_t part, unit_outcome& out);
  std::optional<refusal> insert(unit_work& w, const append_unit& unit, unit_outcome& out);
  bool insert_fact(const recorded& fact);
  bool key_exists(const recorded& fact);
  void undo(unit_work& w, const unit_outcome& out);
  void accept(unit_work& w);
  void blank(const recorded& f);
  void forget(const forgetting& what);
  void set_base(stream_no_t stream, const base_mark& mark, version_t fact);
  version_t borrowed_through(stream_no_t source);
  void owe(stream_no_t stream, time_us_t due);
  /// When that many pages are not in their place.
  void checkpoint_if_due(int pages);
  result<void> checkpoint(int mode);

  std::size_t sweep_some(epoch_t epoch, const receipt_age& receipts,
                         std::size_t budget, sweep_report& report);
  std::size_t sweep_stream(stream_no_t stream, const receipt_age& receipts, std::size_t budget,
                           sweep_report& report);
  void forget_fact(stream_no_t stream, position_t position, std::string_view command);
  void add_blanks(std::vector<position_t>& positions);

  connection db_;
  sqlite_options options_;
  log_identity identity_;
  stream_finder streams_;
  head_cache heads_;
  stream_no_t next_stream_ = 1;
  row_writer live_;
  std::optional<row_writer> shadow_;
  std::vector<const projections::table*> shadow_tables_;
  std::optional<error> spoiled_;
  std::optional<error> deferred_;  ///< A failure behind a commit that was good.
  int wal_pages_ = 0;              ///< In the write-ahead log.
  int wal_written_ = 0;            ///< Of these, those that a checkpoint has put into their place.
  /// The write-ahead log may hold what is forgotten by now; it may from before a kill.
  bool forgot_ = true;

  statement shard_, set_head_, take_, insert_fact_, insert_stream_, fact_by_key_, unappend_,
    set_base_, borrows_of_, unborrow_, borrow_, borrowers_, owe_, debts_, settle_, postpone_,
    sweepable_, mergeable_, kept_, blank_, forget_, merged_, blank_before_, blank_after_, unblank_, widen_, new_blank_,
    base_of_stream_, told_under_;
};

}  // namespace recalld::storage::sqlite

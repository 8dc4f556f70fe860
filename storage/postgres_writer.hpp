#pragma once

#include "storage/base_marks.hpp"
#include "storage/postgres_ledger.hpp"
#include "storage/postgres_log.hpp"
#include "storage/postgres_rows.hpp"
#include "storage/postgres_schema.hpp"

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

/// Inside `storage/` only.
namespace recalld::storage::postgres {

/// As one parameter.
array numbers_of(std::span<const shard_t> shards);

/// One connection of a node that writes.
///
/// A commit is planned in memory against what is known under the shards' epochs, then sent in one
/// round trip whose first statements lock the shards and prove that epochs and heads are still those
/// (`shards_fence`). A key or command that exists already makes it fail as a whole; then they are
/// looked up, and the commit is planned again.
class writer final : public log_writer {
public:
  /// Creates or migrates the log and checks it whole. Throws `failure`.
  explicit writer(const postgres_options& options);
  /// One more for the same store, over a connection of its own.
  writer(const postgres_options& options, std::shared_ptr<ledger> shared);

  const std::shared_ptr<ledger>& shared() const noexcept { return ledger_; }

  log_identity identity() const override { return facts_.identity; }
  std::vector<shard_t> shards() const override;
  shard_t shard_of(const stream_id& stream) const override;
  result<shard_rights> take(std::span<const shard_t> shards) override;
  using log_writer::commit;
  result<std::vector<unit_outcome>> commit(const shard_rights& rights,
                                           std::span<const append_unit> units) override;
  using log_writer::sweep;
  result<sweep_report> sweep(const shard_rights& rights, const receipt_age& receipts,
                             std::size_t budget) override;
  result<void> checkpoint() override { return {}; }
  bool resolves_unknown() const noexcept override { return !spoiled_; }
  std::shared_ptr<void> quiet() override;
  result<std::vector<const projections::table*>> outdated_tables() override;
  result<void> begin_shadow(std::span<const projections::table* const> tables) override;
  result<void> apply_to_shadow(std::vector<projections::change> changes) override;
  result<void> swap_shadow() override;

private:
  class plan;


  /// How far a commit moves a shard.
  struct advance {
    shard_t shard = 0;
    position_t before = 0;
    position_t after = 0;
  };
  /// A commit of which nobody knows whether it happened.
  struct unresolved {
    std::vector<advance> shards;  ///< That it moves; at least one.
    std::uint32_t last_sum = 0;   ///< Of the fact at `after` of the first.
    int server_process = 0;       ///< That may still be at work on it.
  };
  enum class fate : std::uint8_t { committed, absent };

  /// Runs a writing call over a live connection: refuses when the object was spoiled, and spoils it
  /// when the log is damaged.
  template <class F>
  auto writing(F&& body) -> decltype(body()) {
    if (spoiled_)
      return fail(*spoiled_);
    auto out = guarded([&]() -> decltype(body()) {
      ready();
      return body();
    });
    if (!out) {
      live_.forget();
      const auto code = out.error().code;
      if (code == errc::corrupt)
        spoiled_ = out.error();
    }
    return out;
  }

  void ready();
  void connect_again();
  void know_tables();
  stream_row* find_head(const stream_id& id) { return (*ledger_)[shard_of(id)].heads.find(id); }
  void put_head(const stream_id& id, const stream_row& row) {
    (*ledger_)[shard_of(id)].heads.put(id, row);
  }
  void check_shards(const shard_rights& rights) const;
  /// Makes sure of the rights to some shards that are held.
  void know_rights(std::span<const shard_t> shards, const shard_rights& rights);
  /// Whether some shards that are held stand where they are known to.
  bool unmoved(std::span<const shard_t> shards);
  void load_heads(std::span<const append_unit> units, std::span<const stream_id> sources);
  void look_up(std::span<const append_unit> units, plan& p);
  /// Blanks what of the log is forgotten; nothing when there is nothing.
  std::optional<request> blanking_of(std::span<const forgetting> forgets);
  std::vector<request> requests_of(plan& p);
  fate resolve(const unresolved& lost);
  fate resolve_in_time(const unresolved& lost);
  void lock_shard(shard_t shard);

  std::size_t sweep_some(shard_t shard, const receipt_age& receipts, std::size_t budget,
                         sweep_report& report);
  std::size_t sweep_stream(shard_t shard, stream_no_t stream, const receipt_age& receipts,
                           std::size_t budget, sweep_report& report);
  void add_blanks(shard_t shard, std::vector<position_t>& positions);

  postgres_options options_;
  connection db_;
  log_facts facts_;
  std::shared_ptr<ledger> ledger_;
  std::uint64_t swaps_ = 0;  ///< Of the ledger, when `live_` learnt the tables.
  row_gather live_;
  std::optional<row_gather> shadow_;
  std::vector<const projections::table*> shadow_tables_;
  std::optional<error> spoiled_;
  std::optional<unresolved> unresolved_;

  const statement begin_, end_, lock_, advance_, insert_stream_, find_streams_, receipts_of_,
    keys_of_, set_bases_, owe_, owe_sources_, unborrow_, borrow_, rights_, take_, fence_, sum_at_;
};

}  // namespace recalld::storage::postgres

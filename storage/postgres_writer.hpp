#pragma once

#include "storage/head_cache.hpp"
#include "storage/postgres_log.hpp"
#include "storage/postgres_rows.hpp"
#include "storage/postgres_schema.hpp"

#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

/// Inside `storage/` only.
namespace recalld::storage::postgres {

/// The one connection of a node that writes.
///
/// A commit is planned in memory against what is known under the shard's epoch, then sent in one
/// round trip whose first statement proves that epoch and head are still those (`shards_fence`). A
/// key or command that exists already makes it fail as a whole; then they are looked up, and the
/// commit is planned again.
class writer final : public log_writer {
public:
  /// Throws `failure`. The log exists and has the present schema.
  explicit writer(const postgres_options& options);

  log_identity identity() const override { return facts_.identity; }
  std::vector<shard_t> shards() const override;
  shard_t shard_of(const stream_id& stream) const override;
  result<epoch_t> take_shard(shard_t shard) override;
  result<std::vector<unit_outcome>> commit(shard_t shard, epoch_t epoch,
                                           std::span<const append_unit> units) override;
  result<sweep_report> sweep(shard_t shard, epoch_t epoch, time_us_t receipts_before,
                             std::size_t budget) override;
  result<void> checkpoint() override { return {}; }
  bool resolves_unknown() const noexcept override { return !spoiled_; }
  result<std::vector<const projections::table*>> outdated_tables() override;
  result<void> begin_shadow(std::span<const projections::table* const> tables) override;
  result<void> apply_to_shadow(std::vector<projections::change> changes) override;
  result<void> swap_shadow() override;

private:
  class plan;

  /// The right to write a shard, and where the log stands under it.
  struct right {
    epoch_t granted = 0;  ///< What `take_shard` told; an unknown commit raises `epoch` above it.
    epoch_t epoch = 0;
    position_t head = 0;
    std::uint64_t streams = 0;
  };
  /// A commit of which nobody knows whether it happened.
  struct unresolved {
    shard_t shard = 0;
    position_t before = 0;
    position_t after = 0;
    std::uint32_t last_sum = 0;  ///< Of the fact at `after`.
    int server_process = 0;      ///< That may still be at work on it.
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
      heads_.clear();
      const auto code = out.error().code;
      if (code == errc::corrupt)
        spoiled_ = out.error();
    }
    return out;
  }

  void ready();
  void connect_again();
  void know_tables();
  right& right_of(shard_t shard, epoch_t epoch);
  void read_right(shard_t shard, right& r);
  void load_heads(std::span<const append_unit> units);
  void look_up(std::span<const append_unit> units, plan& p);
  std::vector<request> requests_of(shard_t shard, const right& r, plan& p);
  fate resolve(const unresolved& lost, right& r);
  fate resolve_in_time(const unresolved& lost, right& r);
  void lock_shard(shard_t shard, epoch_t epoch);

  std::size_t sweep_some(shard_t shard, epoch_t epoch, time_us_t receipts_before,
                         std::size_t budget, sweep_report& report);
  std::size_t sweep_stream(shard_t shard, stream_no_t stream, time_us_t receipts_before,
                           std::size_t budget, sweep_report& report);
  void add_blanks(shard_t shard, std::vector<position_t>& positions);

  postgres_options options_;
  connection db_;
  log_facts facts_;
  /// Tells this object from all others that ever took a shard.
  const std::string incarnation_;
  head_cache heads_;
  std::map<shard_t, right> rights_;
  row_gather live_;
  std::optional<row_gather> shadow_;
  std::vector<const projections::table*> shadow_tables_;
  std::optional<error> spoiled_;
  std::optional<unresolved> unresolved_;

  const statement begin_, end_, advance_, insert_stream_, insert_fact_, find_streams_, receipts_of_,
    keys_of_, set_bases_, owe_, owe_sources_, unborrow_, borrow_, right_, take_, fence_, sum_at_;
};

}  // namespace recalld::storage::postgres

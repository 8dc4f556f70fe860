#pragma once

#include "storage/store.hpp"

#include <utility>

namespace recalld::storage {

/// Stands in for the writer of a log that was opened for reading.
class refusing_writer final : public log_writer {
public:
  explicit refusing_writer(log_identity identity, shard_t shards = 1)
    : identity_(std::move(identity)) {
    for (shard_t s = 0; s < shards; ++s)
      shards_.push_back(s);
  }

  log_identity identity() const override { return identity_; }
  std::vector<shard_t> shards() const override { return shards_; }
  shard_t shard_of(const stream_id&) const override { return 0; }
  result<shard_rights> take(std::span<const shard_t>) override { return refuse(); }
  result<std::vector<unit_outcome>> commit(const shard_rights&,
                                           std::span<const append_unit>) override {
    return refuse();
  }
  result<sweep_report> sweep(const shard_rights&, const receipt_age&, std::size_t) override {
    return refuse();
  }
  result<void> checkpoint() override { return refuse(); }
  result<std::vector<const projections::table*>> outdated_tables() override { return refuse(); }
  result<void> begin_shadow(std::span<const projections::table* const>) override {
    return refuse();
  }
  result<void> apply_to_shadow(std::vector<projections::change>) override { return refuse(); }
  result<void> swap_shadow() override { return refuse(); }

private:
  static tl::unexpected<error> refuse() {
    return fail(errc::unavailable, "the log was opened for reading only");
  }
  log_identity identity_;
  std::vector<shard_t> shards_;
};

}  // namespace recalld::storage

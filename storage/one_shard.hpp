#pragma once

#include "storage/store.hpp"

/// Inside `storage/` only: for stores whose logs have shard 0 alone.
namespace recalld::storage {

inline error no_such_shard(shard_t shard) {
  return {errc::invalid, "no such shard: " + std::to_string(shard)};
}

/// The epoch of shard 0; `invalid` when another shard is named, or none.
inline result<epoch_t> only_epoch(const shard_rights& rights) {
  for (const auto& [shard, epoch] : rights)
    if (shard != 0)
      return fail(no_such_shard(shard));
  if (rights.empty())
    return fail(errc::invalid, "no shard is named");
  return rights.begin()->second;
}

/// What `log_writer::take` gives when `next` makes the next epoch of shard 0.
template <class F>
result<shard_rights> take_only(std::span<const shard_t> shards, F&& next) {
  shard_rights out;
  for (const auto shard : shards) {
    if (shard != 0)
      return fail(no_such_shard(shard));
    out[shard] = next();
  }
  return out;
}

}  // namespace recalld::storage

#pragma once

#include "events/aggregates.hpp"
#include "projections/projections.hpp"
#include "storage/store.hpp"

#include <optional>
#include <vector>

/// What the storage of any aggregate must know about a fact, read off the list of aggregates.
namespace recalld::storage {

/// The base that a fact sets, if it does.
std::optional<base_mark> base_of(const any_fact& fact, version_t version);

/// Facts of a stream that a fact makes forgotten: those with a version below, and this key prefix.
struct forgetting {
  stream_no_t stream = 0;
  version_t below = 0;
  std::string prefix;
  bool takes(stream_no_t of, version_t version, std::string_view key) const {
    return of == stream && version < below && key.starts_with(prefix);
  }
};
/// What the facts of a unit that was accepted make forgotten.
std::vector<forgetting> forgets_of(const append_unit& unit, const unit_outcome& accepted);

/// Whether facts of streams of this kind may be forgotten by their keys, before any base passes them.
bool forgets_by_key(stream_kind kind);

/// Whether commands to streams of this kind are repeated within a minute or never.
bool has_brief_receipts(stream_kind kind);

/// The past that a stream with a base reads in other streams.
result<std::vector<borrowed_range>> borrows_of(log_reader& log, const stream_position& at);

/// The version at which a stream stands before its very first fact, if that is this one: the base
/// that the fact sets, usually 0.
version_t initial_version(const any_fact& first);

/// Appends the rows that the state inside a base fact amounts to.
void project_base(const envelope& at, const any_fact& fact, std::vector<projections::change>& out);

}  // namespace recalld::storage

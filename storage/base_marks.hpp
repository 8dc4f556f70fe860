#pragma once

#include "events/aggregates.hpp"
#include "projections/projections.hpp"

#include <optional>
#include <vector>

/// What the storage of any aggregate must know about a fact, read off the list of aggregates.
namespace recalld::storage {

/// The base that a fact sets, if it does.
std::optional<base_mark> base_of(const any_fact& fact, version_t version);

/// The version at which a stream stands before its very first fact, if that is this one: the base
/// that the fact sets, usually 0.
version_t initial_version(const any_fact& first);

/// Appends the rows that the state inside a base fact amounts to.
void project_base(const envelope& at, const any_fact& fact, std::vector<projections::change>& out);

}  // namespace recalld::storage

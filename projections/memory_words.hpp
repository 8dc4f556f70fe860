#pragma once

#include "events/memory_filter.hpp"
#include "projections/table.hpp"
#include "retrieval/index.hpp"

/// From rows of `memory_words` back to what a search works on. Pure.
namespace recalld::projections::memory_words {

/// The version of the fact that first told the memory; its place among the others.
version_t first_told(const row& r);
/// Whether it can be found at all: superseded and invalidated ones cannot.
bool is_active(const row& r);
retrieval::indexed_memory indexed(const row& r);
memory_space::traits traits_of(const row& r);

}  // namespace recalld::projections::memory_words

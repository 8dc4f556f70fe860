#pragma once

#include <string>

#include "cli/command.hpp"
#include "storage/store.hpp"

/// `replay` over a whole log. Each gives the exit status.
namespace recalld::cli {

/// Folds the whole log and compares every row of every table with the live ones.
int verify_rows(const invocation& call, storage::log_reader& log);

/// Writes the rows of a table, or of all, again from the log.
int rebuild_rows(const invocation& call, storage::store& store, const std::string& table);

/// What is in an exported log: facts, rows and sessions, folded in memory.
int summarise_log(const invocation& call, storage::log_reader& log);

}  // namespace recalld::cli

#pragma once

#include "storage/store.hpp"

#include <functional>
#include <iosfwd>
#include <memory>

/// A log as JSON Lines: to look at, to mail, to replay elsewhere. The grammar is in `dump.cpp`.
namespace recalld::storage {

/// Writes every stream, fact and blank range of a log, in one frozen view of the reader. What bases
/// allow to forget is written as forgotten, swept or not. A dump has one
/// shard: positions of a second one count on behind the first. `progress` is called now and then
/// with the position that was reached.
result<void> write_dump(log_reader& reader, std::ostream& out,
                        const std::function<void(position_t)>& progress = {});

/// Reads a dump into a log in memory; its projection tables are empty. `invalid` names the line
/// that cannot be read.
result<std::unique_ptr<store>> read_dump(std::istream& in);

}  // namespace recalld::storage

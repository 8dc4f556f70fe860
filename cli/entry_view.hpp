#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cli/command.hpp"
#include "cli/text_table.hpp"

/// How entries and values look to a person.
namespace recalld::cli {

/// What an entry says in one line: its text, the tools it calls, or its results.
std::string entry_gist(std::string_view raw);
/// A member of an entry that is a string; empty when it is none.
std::string entry_text(std::string_view raw, std::string_view member);

/// `2026-11-21 03:45:00` of `2026-11-21T03:45:00.000001Z`: what a person reads in a table.
std::string short_time(std::string_view rfc3339);
std::string short_time(std::int64_t time_us);

/// The columns version, time, role, author and text.
text_table entry_table();
void add_entry_row(text_table& table, std::uint64_t version, std::string_view time,
                   std::string_view raw);

}  // namespace recalld::cli

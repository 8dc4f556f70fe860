#pragma once

#include <cstddef>
#include <span>
#include <string_view>

/// What a mistyped name was probably meant to be: errors that name an unknown word add it.
namespace recalld {

/// Characters to insert, delete or replace to make one word of the other (Levenshtein, 1966).
std::size_t edit_distance(std::string_view a, std::string_view b);

/// The known word that is nearest to `word`; empty when none is near (a third of its length, at
/// least two characters). In dotted names a missing section costs one: `port` means `listen.port`.
std::string_view nearest(std::string_view word, std::span<const std::string_view> known);

}  // namespace recalld

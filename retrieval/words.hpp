#pragma once

#include <string>
#include <string_view>
#include <vector>

/// From text to the terms that are indexed and looked up. The same function reads memories and
/// questions, so whatever it does wrong it does on both sides.
///
///   fold       Unicode NFKC case folding; accents of Latin, Greek and Cyrillic letters are dropped
///   split      letters and digits make words; scripts that are written without spaces (Chinese,
///              Japanese, Korean, Thai, …) give single characters and pairs of neighbours
///   stem       Snowball, by script: English for Latin letters, Russian for Cyrillic, Greek, Arabic;
///              irregular English forms are led back to their base first ("went" -> "go")
///
/// All functions are pure and may be called from any thread. Invalid UTF-8 reads as U+FFFD, which
/// separates words.
namespace recalld::retrieval {

/// Last term of a text that ends with a question mark; never a word, since words have no marks.
inline constexpr std::string_view question_mark = "?";

/// The terms of a text, in order, words of no content left out. `question_mark` is last where
/// the text ends as a question.
std::vector<std::string> terms_of(std::string_view text);

/// As `terms_of`, for something that is looked up: pairs instead of single characters where the
/// script has no spaces, no `question_mark`. Where every word is one of no content these are kept.
std::vector<std::string> query_terms(std::string_view text);

/// Folded and split, neither stemmed nor filtered: names, dates.
std::vector<std::string> plain_words(std::string_view text);

/// Folded, one blank between words; equal for texts that differ in case, accents and marks only.
std::string folded(std::string_view text);

/// Whether `a` becomes `b` by at most `limit` (1 or 2) insertions, removals, replacements or swaps
/// of neighbouring bytes.
bool within_edits(std::string_view a, std::string_view b, int limit);

}  // namespace recalld::retrieval

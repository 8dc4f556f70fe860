#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "retrieval/index.hpp"

/// Which memories answer a question, best first: a pure function over an index, a question and
/// numbers.
///
/// A memory's score is a weighted sum of signals, each divided by its largest value among the
/// candidates (dates and speakers are between 0 and 1 by nature). `parameters` lists them. Nothing
/// in here was learned from a collection; docs/retrieval.md says what each one brings.
namespace recalld::retrieval {

/// Every number that the ranking depends on. A weight of 0 switches its signal off.
struct parameters {
  /// Okapi BM25 (Robertson, Walker et al. 1994) over passages; a memory counts as its best one.
  double k1 = 1.2;
  double b = 0.75;
  /// BM25 of the memories said just before and after in the same session, added to the memory's own.
  double previous = 0.2;
  double next = 0.2;
  double second = 0.1;  ///< Those two places away, on both sides.
  /// Added to `previous` where that memory ends as a question: this one is likely its answer.
  double answers = 0.4;
  /// BM25 of the whole session as one text.
  double session = 0.5;
  /// Memories of a longer session, or of none, stand for themselves in this signal.
  std::size_t session_memories_max = 500;
  /// exp(-gap / scale) for the days between the memory and the nearest date in the question.
  double date = 0.7;
  double date_scale_days = 10;
  double speaker = 0.2;  ///< One of the memory's speakers is named in the question.
  double when = 0.1;     ///< The question asks when, the memory says "yesterday", "in June", ….
  /// BM25 of words that the best memories have in common and the question lacks (pseudo-relevance
  /// feedback after Rocchio 1971, weights as in Lavrenko and Croft 2001).
  double feedback = 0.2;
  std::size_t feedback_memories = 5;
  std::size_t feedback_terms = 10;
  /// Weight of a known word that stands in for an unknown one, spelt within one edit of it (two
  /// from `long_word_bytes` on).
  double misspelt = 0.7;
  std::size_t short_word_bytes = 4;  ///< Shorter unknown words have no stand-ins.
  std::size_t long_word_bytes = 8;
  /// So many of the best by BM25 are looked at closely, with their neighbours.
  std::size_t candidates = 500;
  /// Closeness of embeddings, of so many memories that lie nearest to the question.
  double closeness = 0.5;
  std::size_t nearest = 200;
};

/// A signal from outside, e.g. closeness of embeddings: what it says of some memories. They
/// become candidates even when no word matches. Values are >= 0.
struct outside_signal {
  double weight = 0;
  std::vector<std::pair<memory_index::slot_t, double>> values;
};

struct hit {
  memory_index::slot_t slot = 0;
  /// 0 < score <= 1; comparable between the hits of one answer, not between questions.
  double score = 0;
};

/// Whether a memory may be in the answer. Memories that may not still speak for their neighbours.
using wanted = std::function<bool(memory_index::slot_t)>;

/// The best `limit` memories behind the first `skip`; equal scores in order of their ids. A question
/// without any known word finds nothing but what `outside` brings.
std::vector<hit> rank(const memory_index& index, std::string_view question, const parameters& by,
                      const wanted& may_be, std::size_t skip, std::size_t limit,
                      std::span<const outside_signal> outside = {});

}  // namespace recalld::retrieval

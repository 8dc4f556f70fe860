#pragma once

#include <cstddef>
#include <set>
#include <span>
#include <string>

/// How good a ranked answer is, given which memories are evidence.
namespace recalld::retrieval {

/// Means over the questions that were counted. Recall@k: the share of a question's evidence among the
/// first k hits. MRR: one over the place of the first evidence within 20. nDCG@10: after Järvelin and
/// Kekäläinen 2002 with gains of 0 and 1 and logarithms to base 2.
struct measures {
  std::size_t questions = 0;
  double recall5 = 0;
  double recall10 = 0;
  double recall20 = 0;
  double mrr = 0;
  double ndcg10 = 0;

  /// Counts one more question. `evidence` must not be empty; of `hits` the first 20 matter.
  void add(std::span<const std::string> hits, const std::set<std::string>& evidence);
};

}  // namespace recalld::retrieval

#include "retrieval/evaluation.hpp"

#include <algorithm>
#include <cmath>

namespace recalld::retrieval {

void measures::add(std::span<const std::string> hits, const std::set<std::string>& evidence) {
  const auto gain = [](std::size_t place) { return 1 / std::log2(static_cast<double>(place) + 1); };
  hits = hits.first(std::min<std::size_t>(hits.size(), 20));
  double found5 = 0;
  double found10 = 0;
  double found20 = 0;
  double first = 0;
  double gained = 0;
  for (std::size_t place = 1; place <= hits.size(); ++place) {
    if (!evidence.contains(hits[place - 1]))
      continue;
    found20 += 1;
    if (first == 0)
      first = 1 / static_cast<double>(place);
    if (place <= 5)
      found5 += 1;
    if (place <= 10) {
      found10 += 1;
      gained += gain(place);
    }
  }
  double ideal = 0;
  for (std::size_t place = 1; place <= std::min<std::size_t>(evidence.size(), 10); ++place)
    ideal += gain(place);
  const auto all = static_cast<double>(evidence.size());
  const auto before = static_cast<double>(questions);
  const auto mix = [&](double& mean, double value) {
    mean = (mean * before + value) / (before + 1);
  };
  mix(recall5, found5 / all);
  mix(recall10, found10 / all);
  mix(recall20, found20 / all);
  mix(mrr, first);
  mix(ndcg10, gained / ideal);
  ++questions;
}

}  // namespace recalld::retrieval

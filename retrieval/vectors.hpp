#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

/// Embeddings of memories, and which of them lie nearest to a question's. Pure.
///
/// Kept are directions with a byte for each dimension (scalar quantisation): a quarter of the size
/// of single-precision numbers. All of them are looked at, no approximate index is needed for what
/// one owner has.
namespace recalld::retrieval {

/// The direction of a vector: each dimension from -127 to 127, the largest one at the end of that
/// range. Empty when it has none: no dimension, only zeros, or a number that is not finite.
std::string quantised(std::span<const float> vector);

class vector_index {
public:
  /// Replaces what was known of the memory. Vectors with another number of dimensions than the first
  /// one had are left out.
  void put(std::string_view id, std::string_view quantised);
  /// Unknown ids are fine.
  void erase(std::string_view id);

  /// Ids with the cosine of the angle between their vectors and the question's, the largest first,
  /// none below 0. Only those that `may_be`; it is asked about no more than it takes.
  std::vector<std::pair<std::string, double>> nearest(
    std::string_view quantised_question, std::size_t most,
    const std::function<bool(const std::string& id)>& may_be) const;

  std::size_t size() const { return ids_.size(); }
  /// Bytes, about.
  std::size_t footprint() const;

private:
  struct hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
  };

  std::size_t dimensions_ = 0;
  std::vector<std::string> ids_;
  std::vector<std::int8_t> all_;  ///< `dimensions_` for each id.
  std::vector<float> lengths_;
  std::unordered_map<std::string, std::size_t, hash, std::equal_to<>> places_;
};

}  // namespace recalld::retrieval

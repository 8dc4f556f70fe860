#include "retrieval/vectors.hpp"

#include <algorithm>
#include <cmath>

namespace recalld::retrieval {

namespace {

const std::int8_t* signed_bytes(std::string_view bytes) {
  return reinterpret_cast<const std::int8_t*>(bytes.data());
}

std::int32_t product(const std::int8_t* a, const std::int8_t* b, std::size_t n) {
  std::int32_t sum = 0;
  for (std::size_t i = 0; i < n; ++i)
    sum += std::int32_t{a[i]} * std::int32_t{b[i]};
  return sum;
}

float length_of(const std::int8_t* v, std::size_t n) {
  return std::sqrt(static_cast<float>(product(v, v, n)));
}

}  // namespace

std::string quantised(std::span<const float> vector) {
  float most = 0;
  for (const float x : vector) {
    if (!std::isfinite(x))
      return {};
    most = std::max(most, std::abs(x));
  }
  if (most == 0)
    return {};
  std::string out;
  out.reserve(vector.size());
  for (const float x : vector)
    out.push_back(static_cast<char>(static_cast<std::int8_t>(std::lround(x / most * 127))));
  return out;
}

void vector_index::put(std::string_view id, std::string_view quantised) {
  erase(id);
  if (ids_.empty())
    dimensions_ = quantised.size();
  const auto length = length_of(signed_bytes(quantised), quantised.size());
  if (quantised.size() != dimensions_ || length == 0)
    return;
  places_.emplace(id, ids_.size());
  ids_.emplace_back(id);
  all_.insert(all_.end(), signed_bytes(quantised), signed_bytes(quantised) + dimensions_);
  lengths_.push_back(length);
}

void vector_index::erase(std::string_view id) {
  const auto found = places_.find(id);
  if (found == places_.end())
    return;
  // The last one takes its place.
  const auto place = found->second;
  const auto last = ids_.size() - 1;
  places_.erase(found);
  if (place != last) {
    places_.find(ids_[last])->second = place;
    ids_[place] = std::move(ids_[last]);
    lengths_[place] = lengths_[last];
    std::copy_n(all_.begin() + static_cast<std::ptrdiff_t>(last * dimensions_), dimensions_,
                all_.begin() + static_cast<std::ptrdiff_t>(place * dimensions_));
  }
  ids_.pop_back();
  lengths_.pop_back();
  all_.resize(last * dimensions_);
}

std::vector<std::pair<std::string, double>> vector_index::nearest(
  std::string_view quantised_question, std::size_t most,
  const std::function<bool(const std::string& id)>& may_be) const {
  std::vector<std::pair<std::string, double>> out;
  if (quantised_question.size() != dimensions_ || ids_.empty())
    return out;
  const auto* question = signed_bytes(quantised_question);
  const auto length = length_of(question, dimensions_);
  if (length == 0)
    return out;
  std::vector<std::pair<float, std::size_t>> near;
  near.reserve(ids_.size());
  for (std::size_t i = 0; i < ids_.size(); ++i) {
    const auto cosine =
      static_cast<float>(product(question, all_.data() + i * dimensions_, dimensions_))
      / (length * lengths_[i]);
    if (cosine > 0)
      near.emplace_back(cosine, i);
  }
  const auto worse = [&](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : ids_[a.second] > ids_[b.second];
  };
  std::make_heap(near.begin(), near.end(), worse);
  while (!near.empty() && out.size() < most) {
    std::pop_heap(near.begin(), near.end(), worse);
    const auto& [cosine, place] = near.back();
    if (!may_be || may_be(ids_[place]))
      out.emplace_back(ids_[place], cosine);
    near.pop_back();
  }
  return out;
}

std::size_t vector_index::footprint() const {
  return all_.capacity() + ids_.size() * (sizeof(float) + 160);
}

}  // namespace recalld::retrieval

#include "retrieval/vectors.hpp"

#include "tests/catch.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace recalld::retrieval {

namespace {

std::string q(std::vector<float> v) { return quantised(v); }

std::vector<std::string> ids(const std::vector<std::pair<std::string, double>>& found) {
  std::vector<std::string> out;
  for (const auto& [id, cosine] : found)
    out.push_back(id);
  return out;
}

using names = std::vector<std::string>;

}  // namespace

TEST_CASE("a vector's direction fits into bytes", "[vectors]") {
  CHECK(q({1, -1, 0.5F, 0}) == std::string("\x7f\x81\x40\0", 4));
  CHECK(q({100, -100, 50, 0}) == q({1, -1, 0.5F, 0}));
  CHECK(q({}).empty());
  CHECK(q({0, 0}).empty());
  CHECK(q({1, std::numeric_limits<float>::quiet_NaN()}).empty());
  CHECK(q({1, std::numeric_limits<float>::infinity()}).empty());
}

TEST_CASE("the nearest vectors are found, the nearest first", "[vectors]") {
  vector_index index;
  CHECK(index.nearest(q({1, 0}), 5, {}).empty());
  index.put("east", q({1, 0}));
  index.put("north", q({0, 1}));
  index.put("northeast", q({1, 1}));
  index.put("west", q({-1, 0}));
  const auto found = index.nearest(q({2, 0.1F}), 5, {});
  CHECK(ids(found) == names{"east", "northeast", "north"});  // What points away is not near.
  CHECK(std::abs(found.front().second - 1) < 0.01);
  CHECK(std::abs(found[1].second - std::cos(0.785)) < 0.05);
  CHECK(ids(index.nearest(q({1, 0}), 1, {})) == names{"east"});
  const auto not_east = [](const std::string& id) { return id != "east"; };
  CHECK(ids(index.nearest(q({1, 0.1F}), 1, not_east)) == names{"northeast"});
  // Equal ones come in the order of their ids; another space is never compared.
  index.put("also east", q({3, 0}));
  CHECK(ids(index.nearest(q({1, 0}), 2, {})) == names{"also east", "east"});
  CHECK(index.nearest(q({1, 0, 0}), 5, {}).empty());
  index.put("cube", q({1, 0, 0}));
  CHECK(index.size() == 5);
}

TEST_CASE("vectors are replaced and leave", "[vectors]") {
  vector_index index;
  for (const auto* id : {"a", "b", "c"})
    index.put(id, q({1, 0}));
  index.put("a", q({0, 1}));
  CHECK(ids(index.nearest(q({0, 1}), 5, {})) == names{"a"});
  index.erase("a");
  index.erase("nobody");
  CHECK(ids(index.nearest(q({1, 0}), 5, {})) == names{"b", "c"});
  index.erase("c");
  index.erase("b");
  CHECK(index.size() == 0);
  index.put("d", q({1, 0, 0}));  // Empty again, it takes vectors of any length.
  CHECK(ids(index.nearest(q({1, 0, 0}), 5, {})) == names{"d"});
}

TEST_CASE("bytes find what exact numbers find", "[vectors]") {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  const auto any = [&] {
    std::vector<float> v(64);
    for (auto& x : v)
      x = normal(random);
    return v;
  };
  std::vector<std::vector<float>> all;
  vector_index index;
  for (int i = 0; i < 500; ++i) {
    all.push_back(any());
    index.put(std::to_string(i), q(all.back()));
  }
  const auto cosine = [](const std::vector<float>& a, const std::vector<float>& b) {
    double ab = 0, aa = 0, bb = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      ab += a[i] * b[i];
      aa += a[i] * a[i];
      bb += b[i] * b[i];
    }
    return ab / std::sqrt(aa * bb);
  };
  for (int question = 0; question < 50; ++question) {
    const auto asked = any();
    for (const auto& [id, told] : index.nearest(q(asked), 10, {}))
      CHECK(std::abs(told - cosine(asked, all[std::stoul(id)])) < 0.02);
    double best = -1;
    for (const auto& v : all)
      best = std::max(best, cosine(asked, v));
    CHECK(index.nearest(q(asked), 1, {}).front().second > best - 0.02);
  }
}

}  // namespace recalld::retrieval

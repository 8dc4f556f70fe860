#pragma once

#include <chrono>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "providers/model_endpoint.hpp"

/// Vectors of texts by a model behind an OpenAI-compatible endpoint (`POST {base}/v1/embeddings`).
namespace recalld::providers {

/// Reads an answer to a request with so many texts. `corrupt` (cause `garbage`) when it is no JSON of
/// that shape, or when vectors are missing, empty, or of several lengths.
result<std::vector<std::vector<float>>> parse_embeddings(std::string_view body, std::size_t texts);

/// Asks once; errors are those of `http_client::post_json` and `parse_embeddings`.
class http_embeddings {
public:
  explicit http_embeddings(model_endpoint at) : at_(std::move(at)) {}

  result<std::vector<std::vector<float>>> embed(std::span<const std::string> texts,
                                                std::chrono::milliseconds within,
                                                const std::atomic<bool>& stop);

private:
  model_endpoint at_;
  http_client http_;
};

}  // namespace recalld::providers

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "providers/model_endpoint.hpp"

/// One question to a model behind an OpenAI-compatible endpoint (`POST {base}/v1/chat/completions`).
namespace recalld::providers {

struct chat_message {
  std::string role;  ///< `system`, `user` or `assistant`.
  std::string content;
};
struct chat_answer {
  std::string text;
  std::string model;  ///< That answered, as the endpoint calls it; may be empty.
  std::uint64_t prompt_tokens = 0;
  std::uint64_t completion_tokens = 0;
};

/// What is asked, as the endpoint expects it.
std::string completions_request(std::string_view model, const std::vector<chat_message>& messages);
/// Reads an answer. `corrupt` (cause `garbage`) when it is no JSON of that shape, has no text in it, or
/// was cut off at the model's limit (cause `length`).
result<chat_answer> parse_completions(std::string_view body);

/// Asks and reads. Errors are those of `http_client::post_json` and `parse_completions`.
result<chat_answer> complete(http_client& http, const model_endpoint& at,
                             const std::vector<chat_message>& messages, const limits& l = {});

}  // namespace recalld::providers

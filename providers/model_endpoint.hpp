#pragma once

#include <string>
#include <string_view>

#include "providers/http_client.hpp"

/// What endpoints that speak OpenAI's HTTP API have in common.
namespace recalld::providers {

struct model_endpoint {
  std::string base;  ///< E.g. `http://127.0.0.1:8080`; may end in `/` or `/v1`.
  std::string model;
  std::string api_key;  ///< Secret; empty: none is sent.
};

/// Where requests of a kind go, such as `chat/completions`.
std::string url_of(std::string_view base, std::string_view kind);

/// Sends a request; errors are those of `http_client::post_json`.
result<answer> ask(http_client& http, const model_endpoint& at, std::string_view kind,
                   std::string_view body, const limits& l);

/// That an answer is not what it should be: `corrupt`, with the cause.
tl::unexpected<error> unreadable(std::string what, std::string_view cause = "garbage");

/// The raw member of a raw object; empty when there is none, or it is no object.
std::string_view member_of(std::string_view raw, std::string_view name);

}  // namespace recalld::providers

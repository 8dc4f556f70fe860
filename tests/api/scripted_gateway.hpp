#pragma once

#include "actors/gateway_protocol.hpp"

#include <caf/all.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace recalld::test {

/// What came to a scripted gateway, and what it does about it.
struct script {
  using answer = std::optional<std::pair<std::uint16_t, std::string>>;

  /// Gives the answer to the n-th call (from 1); nothing: none is ever given.
  std::function<answer(std::size_t n, const std::string& operation, const std::string& request)>
    play;

  std::mutex lock;
  std::vector<std::string> requests;

  std::vector<std::string> seen() {
    std::lock_guard guard{lock};
    return requests;
  }
};

/// A gateway that does as its script says.
inline actors::gateway_handle::behavior_type scripted_gateway(actors::gateway_handle::pointer self,
                                                              std::shared_ptr<script> s) {
  using result_promise = caf::typed_response_promise<std::uint16_t, std::string>;
  auto kept = std::make_shared<std::vector<result_promise>>();
  return {
    [self, s, kept](std::uint16_t, const std::string& operation,
                    const std::string& request) -> result_promise {
      std::size_t n = 0;
      {
        std::lock_guard guard{s->lock};
        s->requests.push_back(request);
        n = s->requests.size();
      }
      auto promise = self->make_response_promise<std::uint16_t, std::string>();
      if (auto answer = s->play(n, operation, request))
        promise.deliver(answer->first, std::move(answer->second));
      else
        kept->push_back(promise);
      return promise;
    },
    [self](std::uint16_t, const std::string&, const caf::actor&) -> result_promise {
      auto promise = self->make_response_promise<std::uint16_t, std::string>();
      promise.deliver(std::uint16_t{0}, std::string(R"({"watch":"w","cursor":"c"})"));
      return promise;
    },
    [self](std::uint16_t, const std::string&, const std::string&, const caf::actor&,
           std::uint32_t) -> result_promise {
      auto promise = self->make_response_promise<std::uint16_t, std::string>();
      promise.deliver(std::uint16_t{0}, std::string(R"({"delivery":"d"})"));
      return promise;
    },
    [](const std::string&, std::uint32_t) {},
  };
}

}  // namespace recalld::test

#pragma once

#include "api/requests.hpp"
#include "events/json.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace recalld::test {

/// The members of a JSON text, as a call would give them.
class given : public api::members {
public:
  explicit given(std::string json) : text_(std::move(json)) {
    if (json::validate(text_.view(), ""))
      members_ = json::members(text_.view(), "").value_or(std::vector<json::member>{});
  }
  std::optional<std::string_view> raw(std::string_view name) const override {
    const auto found = std::find_if(members_.begin(), members_.end(),
                                    [&](const json::member& m) { return m.name == name; });
    return found == members_.end() ? std::nullopt : std::optional(found->raw);
  }
  const text& whole() const { return text_; }

private:
  text text_;
  std::vector<json::member> members_;
};

}  // namespace recalld::test

#include "cli/json_view.hpp"

#include <algorithm>

namespace recalld::cli {

json_view::json_view(std::string_view valid) : text_(valid) {
  if (valid.empty() || json::kind_of(valid) != json::kind::object)
    return;
  if (auto all = json::members(valid, ""))
    members_ = std::move(*all);
}

std::optional<std::string_view> json_view::raw(std::string_view name) const {
  const auto found = std::find_if(members_.begin(), members_.end(),
                                  [&](const json::member& m) { return m.name == name; });
  return found == members_.end() ? std::nullopt : std::optional(found->raw);
}

std::string json_view::str(std::string_view name) const {
  const auto value = raw(name);
  return value ? json::as_string(*value, name).value_or("") : std::string();
}

std::int64_t json_view::num(std::string_view name) const {
  const auto value = raw(name);
  return value ? json::as_integer(*value, name).value_or(0) : 0;
}

bool json_view::flag(std::string_view name) const {
  const auto value = raw(name);
  return value && json::as_bool(*value, name).value_or(false);
}

std::vector<json::member> json_view::object(std::string_view name) const {
  const auto value = raw(name);
  if (!value || json::kind_of(*value) != json::kind::object)
    return {};
  return json::members(*value, name).value_or(std::vector<json::member>{});
}

std::vector<json_view> json_view::array(std::string_view name) const {
  std::vector<json_view> out;
  const auto value = raw(name);
  if (!value || json::kind_of(*value) != json::kind::array)
    return out;
  for (const auto element : json::elements(*value, name).value_or(std::vector<std::string_view>{}))
    out.emplace_back(element);
  return out;
}

}  // namespace recalld::cli

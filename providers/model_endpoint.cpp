#include "providers/model_endpoint.hpp"

#include "events/json.hpp"

namespace recalld::providers {

std::string url_of(std::string_view base, std::string_view kind) {
  while (base.ends_with('/'))
    base.remove_suffix(1);
  if (base.ends_with("/v1"))
    base.remove_suffix(3);
  return std::string(base).append("/v1/").append(kind);
}

result<answer> ask(http_client& http, const model_endpoint& at, std::string_view kind,
                   std::string_view body, const limits& l) {
  headers more;
  if (!at.api_key.empty())
    more.emplace_back("Authorization", "Bearer " + at.api_key);
  return http.post_json(url_of(at.base, kind), more, body, l);
}

tl::unexpected<error> unreadable(std::string what, std::string_view cause) {
  error e{errc::corrupt, "the model's answer " + std::move(what)};
  json::object_writer w;
  w.str("cause", cause);
  e.detail = std::move(w).done();
  return fail(std::move(e));
}

std::string_view member_of(std::string_view raw, std::string_view name) {
  if (raw.empty() || json::kind_of(raw) != json::kind::object)
    return {};
  if (const auto members = json::members(raw, {}))
    for (const auto& m : *members)
      if (m.name == name)
        return m.raw;
  return {};
}

}  // namespace recalld::providers

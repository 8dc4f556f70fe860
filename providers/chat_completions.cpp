#include "providers/chat_completions.hpp"

#include "events/json.hpp"

namespace recalld::providers {

namespace {

tl::unexpected<error> unreadable(std::string what, std::string_view cause = "garbage") {
  error e{errc::corrupt, "the model's answer " + std::move(what)};
  json::object_writer w;
  w.str("cause", cause);
  e.detail = std::move(w).done();
  return fail(std::move(e));
}

/// The raw member of a raw object; empty when there is none, or it is no object.
std::string_view member_of(std::string_view raw, std::string_view name) {
  if (raw.empty() || json::kind_of(raw) != json::kind::object)
    return {};
  if (const auto members = json::members(raw, {}))
    for (const auto& m : *members)
      if (m.name == name)
        return m.raw;
  return {};
}
std::string text_of(std::string_view raw) {
  return raw.empty() ? std::string() : json::as_string(raw, {}).value_or("");
}
std::uint64_t count_of(std::string_view raw) {
  const auto n = raw.empty() ? 0 : json::as_integer(raw, {}).value_or(0);
  return n < 0 ? 0 : static_cast<std::uint64_t>(n);
}

}  // namespace

std::string completions_url(std::string_view base) {
  while (base.ends_with('/'))
    base.remove_suffix(1);
  if (base.ends_with("/v1"))
    base.remove_suffix(3);
  return std::string(base) + "/v1/chat/completions";
}

std::string completions_request(std::string_view model, const std::vector<chat_message>& messages) {
  std::string all = "[";
  for (const auto& m : messages) {
    json::object_writer one;
    one.str("role", m.role).str("content", m.content);
    all.append(all.size() > 1 ? "," : "").append(std::move(one).done());
  }
  json::object_writer w;
  w.str("model", model).raw("messages", all + "]");
  return std::move(w).done();
}

result<chat_answer> parse_completions(std::string_view body) {
  if (!json::validate(body, {}))
    return unreadable("is no JSON");
  const auto choices = member_of(body, "choices");
  if (choices.empty() || json::kind_of(choices) != json::kind::array)
    return unreadable("has no choices");
  const auto each = json::elements(choices, {});
  if (!each || each->empty())
    return unreadable("has no choices");
  const auto first = each->front();
  chat_answer out;
  out.text = text_of(member_of(member_of(first, "message"), "content"));
  if (out.text.find_first_not_of(" \t\r\n") == std::string::npos)
    return unreadable("has no text");
  if (text_of(member_of(first, "finish_reason")) == "length")
    return unreadable("was cut off at its limit", "length");
  out.model = text_of(member_of(body, "model"));
  const auto usage = member_of(body, "usage");
  out.prompt_tokens = count_of(member_of(usage, "prompt_tokens"));
  out.completion_tokens = count_of(member_of(usage, "completion_tokens"));
  return out;
}

result<chat_answer> complete(http_client& http, const chat_endpoint& at,
                             const std::vector<chat_message>& messages, const limits& l) {
  headers more;
  if (!at.api_key.empty())
    more.emplace_back("Authorization", "Bearer " + at.api_key);
  auto got =
    http.post_json(completions_url(at.base), more, completions_request(at.model, messages), l);
  if (!got)
    return fail(std::move(got.error()));
  return parse_completions(got->body);
}

}  // namespace recalld::providers

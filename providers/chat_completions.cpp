#include "providers/chat_completions.hpp"

#include "events/json.hpp"

namespace recalld::providers {

namespace {

std::string text_of(std::string_view raw) {
  return raw.empty() ? std::string() : json::as_string(raw, {}).value_or("");
}
std::uint64_t count_of(std::string_view raw) {
  const auto n = raw.empty() ? 0 : json::as_integer(raw, {}).value_or(0);
  return n < 0 ? 0 : static_cast<std::uint64_t>(n);
}

}  // namespace

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

result<chat_answer> complete(http_client& http, const model_endpoint& at,
                             const std::vector<chat_message>& messages, const limits& l) {
  auto got = ask(http, at, "chat/completions", completions_request(at.model, messages), l);
  if (!got)
    return fail(std::move(got.error()));
  return parse_completions(got->body);
}

}  // namespace recalld::providers

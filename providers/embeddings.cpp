#include "providers/embeddings.hpp"

#include <charconv>

#include "events/json.hpp"

namespace recalld::providers {

namespace {

// 4,096 numbers of 20 characters for each of 128 texts.
constexpr std::size_t answer_bytes_max = 12 << 20;

result<std::vector<float>> vector_in(std::string_view raw) {
  if (raw.empty() || json::kind_of(raw) != json::kind::array)
    return unreadable("has no vector");
  const auto numbers = json::elements(raw, {});
  if (!numbers || numbers->empty())
    return unreadable("has an empty vector");
  std::vector<float> out;
  out.reserve(numbers->size());
  for (const auto text : *numbers) {
    // A double first: what is too small for a float is zero, not an error.
    double x = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), x);
    if (failed != std::errc{} || end != text.data() + text.size())
      return unreadable("has something else than numbers in a vector");
    out.push_back(static_cast<float>(x));
  }
  return out;
}

}  // namespace

result<std::vector<std::vector<float>>> parse_embeddings(std::string_view body, std::size_t texts) {
  if (!json::validate(body, {}))
    return unreadable("is no JSON");
  const auto data = member_of(body, "data");
  if (data.empty() || json::kind_of(data) != json::kind::array)
    return unreadable("has no data");
  const auto each = json::elements(data, {});
  if (!each || each->size() != texts)
    return unreadable("has not as many vectors as texts were sent");
  std::vector<std::vector<float>> out(texts);
  for (std::size_t i = 0; i < texts; ++i) {
    auto place = static_cast<std::int64_t>(i);
    if (const auto told = member_of((*each)[i], "index"); !told.empty())
      place = json::as_integer(told, {}).value_or(-1);
    if (place < 0 || place >= static_cast<std::int64_t>(texts))
      return unreadable("has a vector of no text");
    auto vector = vector_in(member_of((*each)[i], "embedding"));
    if (!vector)
      return fail(std::move(vector.error()));
    out[static_cast<std::size_t>(place)] = std::move(*vector);
  }
  for (const auto& one : out)
    if (one.size() != out.front().size() || one.empty())
      return unreadable("has vectors of several lengths");
  return out;
}

result<std::vector<std::vector<float>>> http_embeddings::embed(std::span<const std::string> texts,
                                                               std::chrono::milliseconds within,
                                                               const std::atomic<bool>& stop) {
  std::string all = "[";
  for (const auto& text : texts) {
    if (all.size() > 1)
      all.push_back(',');
    json::append_quoted(all, text);
  }
  json::object_writer w;
  w.str("model", at_.model).raw("input", all + "]").str("encoding_format", "float");
  limits l;
  l.total_ms = static_cast<std::uint32_t>(within.count());
  l.connect_ms = std::min(l.connect_ms, l.total_ms);
  l.answer_bytes_max = answer_bytes_max;
  l.tries = 1;  // Who asks knows whether it is worth a second one.
  l.stop = &stop;
  auto got = ask(http_, at_, "embeddings", std::move(w).done(), l);
  if (!got)
    return fail(std::move(got.error()));
  return parse_embeddings(got->body, texts.size());
}

}  // namespace recalld::providers

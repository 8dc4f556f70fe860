#include "events/payload.hpp"

namespace recalld::codec {

std::string array_text(const std::vector<std::string>& items) {
  std::string out = "[";
  for (const auto& item : items)
    out.append(out.size() > 1 ? "," : "").append(item);
  return out.append("]");
}

std::string range_text(const borrowed_range& r) {
  payload_writer w;
  w.stream("stream", r.stream);
  w.num("through", r.through);
  return std::move(w).done();
}

std::string ranges_text(const std::vector<borrowed_range>& ranges) {
  std::string out = "[";
  for (const auto& r : ranges)
    out.append(out.size() > 1 ? "," : "").append(range_text(r));
  return out.append("]");
}

stream_id payload_reader::stream(std::string_view name) {
  auto words = strings_of(raw(name), name);
  if (auto kind = words.empty() ? std::nullopt : stream_kind_of(words.front()))
    return stream_id(*kind, std::vector<std::string_view>(words.begin() + 1, words.end()));
  miss(name);
  return {};
}

std::optional<std::string> payload_reader::optional_str(std::string_view name) {
  if (optional(name).empty())
    return std::nullopt;
  return str(name);
}

borrowed_range payload_reader::range(std::string_view raw, std::string_view name) {
  payload_reader r(raw);
  borrowed_range range{r.stream("stream"), r.num<version_t>("through")};
  join(r, name);
  return range;
}

std::vector<borrowed_range> payload_reader::optional_ranges(std::string_view name) {
  std::vector<borrowed_range> ranges;
  auto value = optional(name);
  if (value.empty())
    return ranges;
  auto elements = json::elements(value, name);
  if (!elements)
    miss(name);
  else
    for (auto element : *elements)
      ranges.push_back(range(element, name));
  return ranges;
}

}  // namespace recalld::codec

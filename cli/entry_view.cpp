#include "cli/entry_view.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "events/json.hpp"

namespace recalld::cli {

namespace {

std::optional<std::string_view> member_of(std::string_view object, std::string_view name) {
  if (json::kind_of(object) != json::kind::object)
    return std::nullopt;
  const auto all = json::members(object, "");
  if (!all)
    return std::nullopt;
  const auto found =
    std::find_if(all->begin(), all->end(), [&](const auto& m) { return m.name == name; });
  return found == all->end() ? std::nullopt : std::optional(found->raw);
}

std::string text_of(std::string_view raw) {
  if (json::kind_of(raw) == json::kind::string)
    return json::as_string(raw, "").value_or("");
  if (json::kind_of(raw) != json::kind::array)
    return json::minify(raw);
  // Structured content is a list of parts; the text in them is what a person looks for.
  std::string out;
  const auto parts = json::elements(raw, "");
  for (const auto part : parts ? *parts : std::vector<std::string_view>{}) {
    const auto text = member_of(part, "text");
    out +=
      (out.empty() ? "" : " ")
      + (text && json::kind_of(*text) == json::kind::string ? text_of(*text) : json::minify(part));
  }
  return out;
}

std::string tool_call(std::string_view raw) {
  auto call = raw;
  if (const auto function = member_of(raw, "function"))
    call = *function;
  auto name = member_of(call, "name");
  auto arguments = member_of(call, "arguments");
  if (!arguments)
    arguments = member_of(call, "args");
  if (!name)
    return json::minify(raw);
  return fmt::format("{}({})", text_of(*name), arguments ? text_of(*arguments) : "");
}

}  // namespace

std::string entry_text(std::string_view raw, std::string_view member) {
  const auto value = member_of(raw, member);
  return value && json::kind_of(*value) == json::kind::string ? text_of(*value) : std::string();
}

std::string entry_gist(std::string_view raw) {
  std::string out;
  if (const auto content = member_of(raw, "content");
      content && json::kind_of(*content) != json::kind::null)
    out = text_of(*content);
  if (const auto calls = member_of(raw, "tool_calls"))
    if (const auto all = json::elements(*calls, ""))
      for (const auto call : *all)
        out += (out.empty() ? "→ " : " → ") + tool_call(call);
  if (const auto results = member_of(raw, "tool_results"))
    out += (out.empty() ? "← " : " ← ") + text_of(*results);
  return out;
}

std::string short_time(std::string_view rfc3339) {
  if (rfc3339.size() < 19)
    return std::string(rfc3339);
  auto out = std::string(rfc3339.substr(0, 19));
  out[10] = ' ';
  return out;
}

std::string short_time(std::int64_t time_us) {
  return time_us == 0 ? std::string() : short_time(format_time(time_us));
}

text_table entry_table() {
  return text_table({{.title = "VERSION", .side = text_table::align::right, .paint = style::dim},
                     {.title = "RECORDED", .paint = style::dim},
                     {.title = "ROLE", .paint = style::cyan},
                     {.title = "AUTHOR", .shrinks = true},
                     {.title = "TEXT", .shrinks = true}});
}

void add_entry_row(text_table& table, std::uint64_t version, std::string_view time,
                   std::string_view raw) {
  auto author = entry_text(raw, "author");
  auto role = entry_text(raw, "role");
  table.add({std::to_string(version), short_time(time), role.empty() ? author : role, author,
             entry_gist(raw)});
}

}  // namespace recalld::cli

#include "cli/inbox_view.hpp"

#include "cli/entry_view.hpp"

namespace recalld::cli {

std::string asked_gist(const json_view& one) {
  std::string out = one.str("tool");
  if (const auto args = one.raw("args"); args && *args != "null")
    out += (out.empty() ? "" : " ") + std::string(*args);
  if (const auto question = one.str("question"); !question.empty())
    out += (out.empty() ? "" : ": ") + question;
  return out;
}

text_table approval_table() {
  return text_table({{.title = "APPROVAL", .paint = style::cyan},
                     {.title = "STATUS"},
                     {.title = "TOOL", .shrinks = true},
                     {.title = "ARGUMENTS", .shrinks = true},
                     {.title = "QUESTION", .shrinks = true},
                     {.title = "BY", .shrinks = true},
                     {.title = "CREATED"},
                     {.title = "EXPIRES"}});
}

std::vector<std::string> approval_cells(const json_view& one) {
  const auto args = one.raw("args").value_or("null");
  return {one.str("id"),
          one.str("status"),
          one.str("tool"),
          args == "null" ? "" : std::string(args),
          one.str("question"),
          one.str("created_by"),
          short_time(one.str("created_at")),
          short_time(one.str("expires_at"))};
}

text_table clarification_table() {
  return text_table({{.title = "QUESTION", .paint = style::cyan},
                     {.title = "STATUS"},
                     {.title = "TEXT", .shrinks = true},
                     {.title = "ANSWER", .shrinks = true},
                     {.title = "BY", .shrinks = true},
                     {.title = "CREATED"},
                     {.title = "EXPIRES"}});
}

std::vector<std::string> clarification_cells(const json_view& one) {
  return {one.str("id"),
          one.str("status"),
          one.str("question"),
          one.str("answer"),
          one.str("asked_by"),
          short_time(one.str("created_at")),
          short_time(one.str("expires_at"))};
}

void print_members(const invocation& call, const json_view& one) {
  text_table table({{.title = "FIELD", .paint = style::cyan}, {.title = "VALUE"}});
  for (const auto& m : json::members(one.text(), "answer").value_or(std::vector<json::member>{}))
    table.add(
      {m.name, json::kind_of(m.raw) == json::kind::string ? one.str(m.name) : std::string(m.raw)});
  fmt::print("{}", table.render(call.out));
}

}  // namespace recalld::cli

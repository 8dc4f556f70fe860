#include "api/catalogue.hpp"

#include <algorithm>
#include <vector>

#include "api/answers.hpp"
#include "api/families.hpp"

namespace recalld::api {

namespace {

using actors::operation;

std::vector<operation> all_families() {
  std::vector<operation> all;
  for (auto family :
       {session_operations(), transcript_operations(), context_operations(), track_operations(),
        scope_operations(), memory_operations(), value_operations(), principal_operations(),
        history_operations(), key_operations(), inbox_operations(), schedule_operations(),
        summary_operations(), node_operations()})
    all.insert(all.end(), family.begin(), family.end());
  std::sort(all.begin(), all.end(),
            [](const operation& a, const operation& b) { return a.name < b.name; });
  return all;
}

std::string fields_json(std::span<const actors::field> fields) {
  array_writer all;
  for (const auto& f : fields) {
    json::object_writer one;
    one.str("name", f.name)
      .str("type", to_string(f.type))
      .boolean("required", f.required)
      .str("meaning", f.meaning);
    all.raw(std::move(one).done());
  }
  return std::move(all).done();
}

std::string render_catalogue() {
  array_writer all;
  for (const auto& op : catalogue()) {
    json::object_writer one;
    one.str("name", op.name)
      .str("summary", op.summary)
      .str("right", to_string(op.needs))
      .str("method", op.method)
      .str("path", op.path)
      .boolean("tool", op.tool)
      .raw("request", fields_json(op.request))
      .raw("answer", fields_json(op.answer));
    all.raw(std::move(one).done());
  }
  return std::move(all).done();
}

}  // namespace

std::span<const operation> catalogue() {
  static const std::vector<operation> all = all_families();
  return all;
}

const operation* find_operation(std::string_view name) noexcept {
  const auto all = catalogue();
  const auto found =
    std::lower_bound(all.begin(), all.end(), name,
                     [](const operation& op, std::string_view n) { return op.name < n; });
  return found == all.end() || found->name != name ? nullptr : &*found;
}

const std::string& catalogue_json() {
  static const std::string rendered = render_catalogue();
  return rendered;
}

std::string_view to_string(actors::field_type type) noexcept {
  switch (type) {
    case actors::field_type::string: return "string";
    case actors::field_type::integer: return "integer";
    case actors::field_type::boolean: return "boolean";
    case actors::field_type::object: return "object";
    case actors::field_type::array: return "array";
    case actors::field_type::any: return "any";
  }
  return "any";
}

std::string_view to_string(actors::right right) noexcept {
  switch (right) {
    case actors::right::read: return "read";
    case actors::right::write: return "write";
    case actors::right::admin: return "admin";
  }
  return "admin";
}

}  // namespace recalld::api

#include "projections/projections.hpp"

namespace recalld::projections::scope_state {

const table spec{
  .name = "scope_state",
  .version = 1,
  .columns = {{"stream", column_type::integer}, {"key"}, {"value"}},
  .key_columns = 2,
};

void project(const envelope& at, const scope::fact& fact, std::vector<change>& out) {
  auto stream = static_cast<std::int64_t>(at.stream_no);
  if (std::holds_alternative<scope::cleared>(fact))
    out.push_back(erase{&spec, {stream}});
  auto* changed = std::get_if<scope::state_changed>(&fact);
  if (changed == nullptr)
    return;
  for (const auto& key : changed->deleted)
    out.push_back(erase{&spec, {stream, key}});
  for (const auto& [key, raw] : changed->set)
    out.push_back(put{&spec, {stream, key, raw}});
}

}  // namespace recalld::projections::scope_state

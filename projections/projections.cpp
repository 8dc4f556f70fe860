#include "projections/projections.hpp"

#include <algorithm>

namespace recalld::projections {

namespace {

/// The receipt of the command that a fact begins; first of all, since it may refuse the append.
void project_receipt(const envelope& at, std::vector<change>& out) {
  if (at.command.empty())
    return;
  // A fact that begins a command stands for all facts that follow from it here.
  auto more = static_cast<std::int64_t>(std::max<std::uint32_t>(at.command_facts, 1)) - 1;
  auto version = static_cast<std::int64_t>(at.version);
  row r;
  r.reserve(receipts::spec.columns.size());
  r.emplace_back(at.command);
  for (const auto n : {static_cast<std::int64_t>(at.stream_no),
                       static_cast<std::int64_t>(at.body_hash), version, version + more,
                       static_cast<std::int64_t>(at.position) + more, at.time})
    r.emplace_back(n);
  out.push_back(put_new{&receipts::spec, std::move(r)});
}

/// Each aggregate's rows: a line for each.
struct projecting {
  const envelope& at;
  std::vector<change>& out;
  void operator()(const session::fact& f) const { sessions::project(at, f, out); }
  void operator()(const scope::fact& f) const { scope_state::project(at, f, out); }
  void operator()(const memory_space::fact& f) const { memories::project(at, f, out); }
  void operator()(const approval::fact& f) const { project_approval(at, f, out); }
  void operator()(const clarification::fact& f) const { project_clarification(at, f, out); }
  void operator()(const permission::fact& f) const { project_permission(at, f, out); }
  void operator()(const schedule::fact& f) const { project_schedule(at, f, out); }
  void operator()(const effect::fact& f) const { project_effect(at, f, out); }
  void operator()(const value_space::fact& f) const { short_values::project(at, f, out); }
  void operator()(const principal::fact& f) const { principals::project(at, f, out); }
  void operator()(const summary::fact& f) const { project_summary(at, f, out); }
};

}  // namespace

std::span<const table* const> tables() {
  static constexpr const table* all[] = {
    &sessions::spec,        &session_state::spec, &contexts::spec,
    &scope_state::spec,     &memories::spec,      &memory_revisions::spec,
    &memory_topics::spec,   &memory_words::spec,  &memory_vectors::spec,
    &short_values::spec,    &principals::spec,    &model_sessions::spec,
    &receipts::spec,        &inbox::spec,         &grants::spec,
    &schedules::spec,       &runs::spec,          &effects::spec,
    &agenda::spec,          &summaries::spec,     &summary_jobs::spec,
    &summary_triggers::spec};
  return all;
}

const table* find_table(std::string_view name) {
  auto all = tables();
  auto found = std::find_if(all.begin(), all.end(), [&](auto* t) { return t->name == name; });
  return found == all.end() ? nullptr : *found;
}

void project(const envelope& at, const any_fact& fact, std::vector<change>& out) {
  project_receipt(at, out);
  std::visit(projecting{at, out}, fact);
}

void project_blanked(const envelope& at, std::vector<change>& out) { project_receipt(at, out); }

namespace receipts {

const table spec{
  .name = "receipts",
  .version = 1,
  // Command ids grow with time wherever clients make them as ours do, and streams take turns: with
  // the id first, the receipts of one commit lie side by side instead of one a page.
  .columns = {{"command"},
              {"stream", column_type::integer},
              {"body_hash", column_type::integer},
              {"first_version", column_type::integer},
              {"last_version", column_type::integer},
              {"position", column_type::integer},
              {"time", column_type::integer}},
  .key_columns = 2,
};

}  // namespace receipts

}  // namespace recalld::projections

#pragma once

#include "events/aggregates.hpp"
#include "projections/table.hpp"

/// The rows of everything that waits for a person or the clock.
namespace recalld::projections {

/// Every request for approval and every question, also those that have ended.
namespace inbox {
enum column : std::size_t {
  stream,
  id,
  tenant,
  kind,  ///< `approval` or `clarification`.
  status,
  open,  ///< 1 while pending, null afterwards.
  created_at,
  expires_at,
  thread,
  run,
  app,
  user,
  session,
  principal,  ///< Who asked.
  tool,
  question,
  body,  ///< JSON: what else was asked, e.g. the arguments.
  ended_at,
  ended_by,
  answer,  ///< The answer, or the feedback of a decision.
  claimed_at,
  claimed_by,
  effect  ///< The key that the claim named.
};
extern const table spec;
enum index : std::size_t { by_time, by_open, by_session };
}  // namespace inbox

namespace grants {
enum column : std::size_t { stream, id, tenant, principal, tool, expires_at, created_at, body };
extern const table spec;
enum index : std::size_t { by_tenant };
}  // namespace grants

namespace schedules {
enum column : std::size_t { stream, tenant, name, enabled, next_at, updated_at, body };
extern const table spec;
enum index : std::size_t { by_name };
}  // namespace schedules

namespace runs {
enum column : std::size_t {
  stream,
  day,  ///< Since 1970, of `due_at`: what is forgotten at once.
  run,
  tenant,
  schedule,
  status,
  waiting,  ///< 1 while due, null otherwise.
  due_at,
  missed,
  triggered_by,
  kind,
  action,
  worker,
  claimed_at,
  ended_at,
  outcome
};
extern const table spec;
enum index : std::size_t { by_schedule, by_waiting, by_status };
}  // namespace runs

namespace effects {
enum column : std::size_t {
  stream,
  tenant,
  key,
  status,
  tool,
  args_hash,
  approval,
  holder,
  fence,
  begun_at,
  lease_until,
  ended_at,
  ended_by,
  outcome
};
extern const table spec;
enum index : std::size_t { by_status };
}  // namespace effects

/// Deadlines of streams: what the supervisor arms. A stream may have several, told apart by `item`;
/// `stream_id` is the stream's address in base64.
namespace agenda {
enum column : std::size_t { stream, item, stream_id, at };
extern const table spec;
enum index : std::size_t { by_at };
}  // namespace agenda

void project_approval(const envelope& at, const approval::fact& f, std::vector<change>& out);
void project_clarification(const envelope& at, const clarification::fact& f,
                           std::vector<change>& out);
void project_permission(const envelope& at, const permission::fact& f, std::vector<change>& out);
void project_schedule(const envelope& at, const schedule::fact& f, std::vector<change>& out);
void project_effect(const envelope& at, const effect::fact& f, std::vector<change>& out);

}  // namespace recalld::projections

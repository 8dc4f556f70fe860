#pragma once

#include "events/aggregates.hpp"
#include "projections/table.hpp"

/// The rows of summaries, of the work of writing them, and of when it is due.
namespace recalld::projections {

/// The newest summary of each filter key of a session.
namespace summaries {
enum column : std::size_t {
  stream,
  filter_key,
  tenant,
  app,
  user,
  session,
  life,  ///< The session's `created_version`.
  through,
  ordinal,
  entry,
  text,
  topics,  ///< JSON array of strings.
  made_by,
  stored_at,
  version
};
extern const table spec;
enum index : std::size_t { by_session };
}  // namespace summaries

/// The last job of each filter key of a session, open or ended.
namespace summary_jobs {
enum column : std::size_t {
  stream,
  filter_key,
  tenant,
  app,
  user,
  session,
  status,
  waiting,  ///< 1 while due, null otherwise.
  why,
  until,
  due_at,
  attempt,
  worker,
  claimed_at,
  ends_at,  ///< Of the lease, or of the pause.
  ended_at,
  failure  ///< Of the last attempt that failed; JSON.
};
extern const table spec;
enum index : std::size_t { by_waiting, by_time, by_session };
}  // namespace summary_jobs

/// Applications whose sessions come due by themselves.
namespace summary_triggers {
enum column : std::size_t { stream, tenant, app, entries, tokens, idle_s };
extern const table spec;
}  // namespace summary_triggers

void project_summary(const envelope& at, const summary::fact& f, std::vector<change>& out);

}  // namespace recalld::projections

#pragma once

#include "events/aggregates.hpp"
#include "projections/summary_rows.hpp"
#include "projections/supervision_rows.hpp"
#include "projections/table.hpp"

/// The rows that facts lead to. Pure: the same facts in the same order give the same rows, whether
/// they are applied inside the commit that records them or replayed years later.
namespace recalld::projections {

/// Every projection table, in the order of creation.
std::span<const table* const> tables();
/// By name; null when there is none.
const table* find_table(std::string_view name);

/// Appends what `fact` does to the rows. Also projects the envelope (receipts).
void project(const envelope& at, const any_fact& fact, std::vector<change>& out);
/// Appends what is left of a fact whose payload was forgotten: its receipt.
void project_blanked(const envelope& at, std::vector<change>& out);
/// Appends all rows that a state amounts to: where a stream starts at a base that carries it.
void project_state(const envelope& at, const session::state& state, std::vector<change>& out);

namespace sessions {
/// Columns of `sessions`, in table order.
enum column : std::size_t {
  stream,
  tenant,
  app,
  user,
  session,
  status,
  created_at,
  updated_at,
  closed_at,
  expires_at,
  version,
  entries,
  floor,
  metadata,
  forked_from,
  updated_slot,  ///< `slot_of(updated_at)`
  expires_slot   ///< `slot_of(expires_at)`
};
/// About 17 s of time: what indexes hold of times that change with every write.
constexpr std::int64_t slot_of(time_us_t at) noexcept { return at >> 24; }
extern const table spec;  ///< One row for each session that can be read: open or closed.
/// Positions in `spec.indexes`.
enum index : std::size_t { by_app, by_user, by_expiry };
/// The part of `project` that sessions, their state and their contexts take.
void project(const envelope& at, const session::fact& fact, std::vector<change>& out);
}  // namespace sessions
namespace session_state {
enum column : std::size_t { stream, key, value };
extern const table spec;
}  // namespace session_state
namespace scope_state {
enum column : std::size_t { stream, key, value };
extern const table spec;
void project(const envelope& at, const scope::fact& fact, std::vector<change>& out);
}  // namespace scope_state
namespace contexts {
enum column : std::size_t { stream, id, type, content, created_at, version };
extern const table spec;
}  // namespace contexts
namespace memories {
enum column : std::size_t {
  stream,
  id,
  hash,
  status,
  kind,
  text,
  topics,
  event_time,
  participants,
  location,
  importance,
  metadata,
  source,
  made_by,
  revision,
  created_at,
  updated_at,
  created_version,
  replaced_by
};
extern const table spec;  ///< One row a memory that was not deleted; lists are JSON arrays.
/// Positions in `spec.indexes`.
enum index : std::size_t { by_update };
/// The rows of memories, their topics, revisions and words.
void project(const envelope& at, const memory_space::fact& fact, std::vector<change>& out);
}  // namespace memories
namespace memory_revisions {
enum column : std::size_t {
  stream,
  id,
  revision,
  what,
  time,
  version,
  content,
  reason,
  made_by,
  source
};
/// All that ever happened to a memory: `added`, `retold`, `updated`, `superseded`, `invalidated`,
/// `restored`.
extern const table spec;
}  // namespace memory_revisions
namespace memory_topics {
enum column : std::size_t { stream, id, topic };
extern const table spec;
/// Positions in `spec.indexes`.
enum index : std::size_t { by_topic };
}  // namespace memory_topics
namespace memory_words {
enum column : std::size_t {
  stream,
  id,
  passages,
  topic_words,
  speakers,
  session,
  time,
  created_version,
  active,
  kind,
  topics,
  metadata
};
/// What a memory is found by, ready for `retrieval::memory_index`: terms with a blank between them, one
/// line a passage; folded names, one a line. And what filters look at. See `memory_words.hpp`.
extern const table spec;
/// Positions in `spec.indexes`.
enum index : std::size_t { by_creation };
}  // namespace memory_words
namespace memory_vectors {
enum column : std::size_t { stream, id, tenant, app, user, hash, model, vector };
/// What an embedding model made of a memory, in base64; `model` and `vector` are empty while it made
/// nothing of what the memory says now.
extern const table spec;
/// Positions in `spec.indexes`.
enum index : std::size_t { by_model };
}  // namespace memory_vectors
namespace short_values {
enum column : std::size_t {
  stream,
  key,
  tenant,
  app,
  type,
  json,
  created_at,
  updated_at,
  expires_at
};
extern const table spec;  ///< One row a value that lives for a time, until it has been taken out.
/// Positions in `spec.indexes`.
enum index : std::size_t { by_type, by_expiry };
void project(const envelope& at, const value_space::fact& fact, std::vector<change>& out);
}  // namespace short_values
namespace principals {
enum column : std::size_t {
  stream,
  tenant,
  principal,
  username,
  status,
  admin,
  network,
  topics,
  metadata,
  created_at,
  updated_at
};
extern const table spec;  ///< One row a principal with a record.
/// Positions in `spec.indexes`.
enum index : std::size_t { by_tenant };
void project(const envelope& at, const recalld::principal::fact& fact, std::vector<change>& out);
}  // namespace principals
namespace model_sessions {
enum column : std::size_t { stream, session, tenant, principal, sealed_by };
extern const table spec;  ///< One row a model session; `sealed_by` names a key, empty = no credential.
/// Positions in `spec.indexes`.
enum index : std::size_t { by_key };
/// The name of the key that sealed a credential; see `key_ring.hpp`.
std::string_view key_of(std::string_view sealed);
}  // namespace model_sessions
namespace receipts {
enum column : std::size_t {
  command,
  stream,
  body_hash,
  first_version,
  last_version,
  position,
  time
};
extern const table spec;
}  // namespace receipts

}  // namespace recalld::projections

#pragma once

#include "actors/surroundings.hpp"

#include <caf/stateful_actor.hpp>

#include <span>

namespace recalld::actors {

/// Rebuilds projection tables from the log beside the live ones and swaps them in, before the node
/// takes its first request.
result<void> rebuild_now(storage::store& store, std::span<const projections::table* const> tables);

/// The same while the node is at work: one stretch of the log between two commits, on the journal's
/// turn, until the rows have caught up. One rebuild at a time.
class projector_state {
public:
  static constexpr const char* name = "projector";
  using promise_type = caf::typed_response_promise<reply<rebuilt>>;

  void start(caf::stateful_actor<projector_state>* self, surroundings_ptr around,
             storage::log_writer* writer, std::shared_ptr<storage::log_reader> log);
  void begin(const rebuild_tables& wish, promise_type promise);

private:
  void step();
  void finish(result<rebuilt> outcome);

  caf::stateful_actor<projector_state>* self_ = nullptr;
  surroundings_ptr around_;
  storage::log_writer* writer_ = nullptr;  ///< Only touched on the first journal's turn.
  std::shared_ptr<storage::log_reader> log_;
  std::shared_ptr<storage::rebuild> work_;
  promise_type promise_;
  time_us_t began_ = 0;
};

caf::behavior projector(caf::stateful_actor<projector_state>* self, surroundings_ptr around,
                        storage::log_writer* writer, std::shared_ptr<storage::log_reader> log);

}  // namespace recalld::actors

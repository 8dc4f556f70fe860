#pragma once

#include "actors/surroundings.hpp"

#include <caf/stateful_actor.hpp>

#include <vector>

namespace recalld::actors {

/// The one writer of a log. Appends gather while a commit runs and form the next batch: a lone
/// writer pays no delay, a crowd shares one durable write.
///
/// Answers `append` with `reply<appended>`, each of them, whatever happens. Then it publishes.
/// After an outcome that nobody knows it declares the node fatal: only the log can tell.
class journal_state {
public:
  static constexpr const char* name = "journal";

  void start(caf::stateful_actor<journal_state>* self, surroundings_ptr around,
             storage::log_writer& writer, storage::shard_t shard, epoch_t epoch);
  void add(append& wish, caf::typed_response_promise<reply<appended>> promise);
  void flush();
  /// One stretch of a rebuild; false when it is over.
  result<bool> rebuild(storage::rebuild& work);
  /// Idle work: checkpoint and forgetting, a little at a time.
  void tidy();

private:
  struct waiting {
    storage::append_unit unit;
    caf::typed_response_promise<reply<appended>> promise;
  };
  void commit(std::vector<waiting> batch);
  void schedule_flush();

  caf::stateful_actor<journal_state>* self_ = nullptr;
  surroundings_ptr around_;
  storage::log_writer* writer_ = nullptr;
  storage::shard_t shard_ = 0;
  epoch_t epoch_ = 0;
  std::vector<waiting> waiting_;
  bool flush_sent_ = false;
  bool ended_ = false;
  std::uint64_t commits_at_last_tidy_ = 0;
  bool checkpointed_ = true;
};

caf::behavior journal(caf::stateful_actor<journal_state>* self, surroundings_ptr around,
                      storage::log_writer* writer, storage::shard_t shard, epoch_t epoch);

}  // namespace recalld::actors

#pragma once

#include "actors/surroundings.hpp"

#include <caf/stateful_actor.hpp>

#include <vector>

namespace recalld::actors {

/// Writes to a log; where there are several, each for the streams of its own shards. Appends gather while a commit runs and form the next batch: a lone
/// writer pays no delay, a crowd shares one durable write.
///
/// Answers `append` with `reply<appended>`, each of them, whatever happens. Then it publishes.
/// After an outcome that nobody knows it declares the node fatal: only the log can tell.
class journal_state {
public:
  static constexpr const char* name = "journal";

  void start(caf::stateful_actor<journal_state>* self, surroundings_ptr around,
             storage::log_writer& writer, storage::shard_rights rights, storage::shard_rights own);
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
  storage::shard_rights rights_;  ///< Of the node: a unit may reach into another journal's shards.
  storage::shard_rights own_;     ///< Whose streams come here.
  std::vector<waiting> waiting_;
  bool flush_sent_ = false;
  bool ended_ = false;
  bool unknown_ = false;  ///< A commit since the last good one may have happened or not.
  std::uint64_t commits_at_last_tidy_ = 0;
  bool checkpointed_ = false;  ///< What a killed process left is to be put into its place, too.
  std::uint64_t tidied_since_checkpoint_ = 0;
};

caf::behavior journal(caf::stateful_actor<journal_state>* self, surroundings_ptr around,
                      storage::log_writer* writer, storage::shard_rights rights,
                      storage::shard_rights own);

/// The rights to the shards whose streams the journal with this number writes.
storage::shard_rights rights_of_journal(const storage::shard_rights& all, std::size_t number,
                                        std::size_t journals);

}  // namespace recalld::actors

#pragma once

#include "actors/surroundings.hpp"

#include <caf/stateful_actor.hpp>

namespace recalld::actors {

/// Answers from the log and the rows, over a connection that only reads. Detached: it may wait for
/// the disk. Several run; the requests about one stream go to the same one.
class reader_state {
public:
  static constexpr const char* name = "reader";

  void start(surroundings_ptr around, std::shared_ptr<storage::log_reader> log);

  result<woken> wake_stream(const wake& wish);
  result<found_receipt> receipt(const find_receipt& wish);
  result<found_keys> keys(const find_keys& wish);
  result<session::page> window(const cut_window& wish);
  result<std::vector<shared_fact>> tail(const read_tail& wish);
  result<std::vector<shared_fact>> key_range(const read_keys& wish);
  result<std::vector<projections::row>> rows(const read_rows& wish);
  result<read_log_answer> log_stretch(const read_log& wish);
  result<found_trim> trim(const find_trim& wish);

private:
  template <class Aggregate>
  result<woken> load(const wake& wish);
  template <class... As>
  result<woken> load_any(aggregate_list<As...>, const wake& wish);

  surroundings_ptr around_;
  std::shared_ptr<storage::log_reader> log_;
};

caf::behavior reader(caf::stateful_actor<reader_state>* self, surroundings_ptr around,
                     std::shared_ptr<storage::log_reader> log);

}  // namespace recalld::actors

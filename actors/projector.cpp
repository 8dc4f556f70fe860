#include "actors/projector.hpp"

#include <caf/all.hpp>

namespace recalld::actors {

result<void> rebuild_now(storage::store& store, std::span<const projections::table* const> tables) {
  auto log = store.open_reader();
  if (!log)
    return fail(log.error());
  return storage::rebuild(store.writer(), **log, {tables.begin(), tables.end()}).run();
}

void projector_state::start(caf::stateful_actor<projector_state>* self, surroundings_ptr around,
                            storage::log_writer* writer, std::shared_ptr<storage::log_reader> log) {
  self_ = self;
  around_ = std::move(around);
  writer_ = writer;
  log_ = std::move(log);
}

void projector_state::begin(const rebuild_tables& wish, promise_type promise) {
  if (work_) {
    promise.deliver(
      reply<rebuilt>{fail({errc::overloaded, "another rebuild is at work", {}, 0, 1000})});
    return;
  }
  promise_ = std::move(promise);
  began_ = around_->clock();
  work_ = std::make_shared<storage::rebuild>(*writer_, *log_, wish.tables);
  step();
}

void projector_state::step() {
  self_->request(around_->journals.front(), caf::infinite, rebuild_step{work_})
    .then(
      [this](reply<bool>& more) {
        if (!more.value)
          finish(fail(more.value.error()));
        else if (*more.value)
          step();
        else
          finish(rebuilt{work_->progress().facts, around_->clock() - began_});
      },
      [this](const caf::error&) { finish(fail(errc::unavailable, "the node is ending")); });
}

void projector_state::finish(result<rebuilt> outcome) {
  work_.reset();
  promise_.deliver(reply<rebuilt>{std::move(outcome)});
}

caf::behavior projector(caf::stateful_actor<projector_state>* self, surroundings_ptr around,
                        storage::log_writer* writer, std::shared_ptr<storage::log_reader> log) {
  self->state.start(self, std::move(around), writer, std::move(log));
  return {
    [self](const rebuild_tables& wish) {
      auto promise = self->make_response_promise<reply<rebuilt>>();
      self->state.begin(wish, promise);
      return promise;
    },
  };
}

}  // namespace recalld::actors

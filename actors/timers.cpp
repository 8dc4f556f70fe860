#include "actors/timers.hpp"

#include "projections/projections.hpp"

#include <caf/all.hpp>

#include <chrono>
#include <set>

namespace recalld::actors {

using namespace std::chrono_literals;

namespace {

constexpr auto tick_every = 250ms;
constexpr std::uint64_t ticks_per_second = 4;
// What the hot cache loses at most when the process is killed: snapshots of so many seconds.
constexpr std::uint64_t flush_every_s = 5;
constexpr std::size_t expire_at_once = 500;

}  // namespace

void timers_state::start(caf::stateful_actor<timers_state>* self, surroundings_ptr around) {
  self_ = self;
  around_ = std::move(around);
  self_->delayed_send(self_, tick_every, tick_atom::value);
}

void timers_state::tick() {
  ++ticks_;
  for (const auto& journal : around_->journals)
    self_->send(journal, tidy_atom::value);
  if (ticks_ % ticks_per_second == 0) {
    self_->send(around_->directory, tick_atom::value);
    expire_sessions();
    expire_values();
  }
  if (ticks_ % (flush_every_s * ticks_per_second) == 0 && around_->cache)
    around_->cache->flush_soon();
  self_->delayed_send(self_, tick_every, tick_atom::value);
}

void timers_state::expire_sessions() {
  namespace sessions = projections::sessions;
  if (expiring_)
    return;
  expiring_ = true;
  projections::row_query query;
  query.table = &sessions::spec;
  query.index = sessions::by_expiry;
  query.limit = expire_at_once;
  const auto now = around_->clock();
  query.where.push_back({sessions::expires_slot, std::nullopt, sessions::slot_of(now), false});
  query.where.push_back({sessions::expires_at, std::nullopt, now, false});
  self_->request(around_->readers.back(), caf::infinite, read_rows{std::move(query)})
    .then(
      [this](reply<std::vector<projections::row>>& r) {
        expiring_ = false;
        if (!r.value)
          return;  // The next tick tries again.
        for (const auto& row : *r.value) {
          const auto word = [&](sessions::column c) { return std::get<std::string>(row[c]); };
          submit wish;
          wish.stream = session_stream(word(sessions::tenant), word(sessions::app),
                                       word(sessions::user), word(sessions::session));
          wish.command = std::make_shared<const any_command>(std::in_place_type<session::command>,
                                                             session::expire{});
          wish.now = around_->clock();
          // From nobody: an answer would come back here as a message that nobody expects.
          caf::anon_send(around_->directory, std::move(wish));
        }
      },
      [this](const caf::error&) { expiring_ = false; });
}

void timers_state::expire_values() {
  namespace values = projections::short_values;
  if (expiring_values_)
    return;
  expiring_values_ = true;
  projections::row_query query;
  query.table = &values::spec;
  query.index = values::by_expiry;
  query.limit = expire_at_once;
  query.where.push_back({values::expires_at, std::nullopt, around_->clock(), false});
  self_->request(around_->readers.back(), caf::infinite, read_rows{std::move(query)})
    .then(
      [this](reply<std::vector<projections::row>>& r) {
        expiring_values_ = false;
        if (!r.value)
          return;  // The next tick tries again.
        // One command takes out all that is over in a stream.
        std::set<stream_id> streams;
        for (const auto& row : *r.value) {
          const auto word = [&](values::column c) { return std::get<std::string>(row[c]); };
          streams.insert(value_space::stream_of(word(values::tenant), word(values::app),
                                                word(values::type), word(values::key)));
        }
        for (const auto& stream : streams) {
          submit wish;
          wish.stream = stream;
          wish.command = std::make_shared<const any_command>(
            std::in_place_type<value_space::command>, value_space::expire{});
          wish.now = around_->clock();
          caf::anon_send(around_->directory, std::move(wish));
        }
      },
      [this](const caf::error&) { expiring_values_ = false; });
}

caf::behavior timers(caf::stateful_actor<timers_state>* self, surroundings_ptr around) {
  self->state.start(self, std::move(around));
  return {
    [self](tick_atom) { self->state.tick(); },
  };
}

}  // namespace recalld::actors

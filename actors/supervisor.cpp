#include "actors/supervisor.hpp"

#include "events/base64.hpp"
#include "events/codec.hpp"
#include "projections/projections.hpp"

#include <caf/all.hpp>

#include <algorithm>
#include <chrono>
#include <limits>

namespace recalld::actors {

using namespace std::chrono_literals;

namespace agenda = projections::agenda;

namespace {

constexpr std::size_t page = 2'000;
constexpr std::size_t falling_max = 512;
// The wall clock may jump; a timer of the system does not notice.
constexpr time_us_t look_again_us = 250'000;
constexpr time_us_t try_again_us = 200'000;
constexpr time_us_t horizon_us = 3'600'000'000;

/// The `fall_due` of whatever aggregate the stream is of; null when its kind knows no deadlines.
std::shared_ptr<const any_command> due_command(const stream_id& stream, std::string item,
                                               time_us_t at) {
  std::shared_ptr<const any_command> out;
  for_each_aggregate(aggregates{}, [&]<class A>() {
    using command = typename A::command;
    if constexpr (std::is_constructible_v<command, fall_due>)
      if (stream.kind() == A::kind)
        out = std::make_shared<const any_command>(std::in_place_type<command>,
                                                  fall_due{std::move(item), at});
  });
  return out;
}

bool has_deadlines(stream_kind kind) {
  bool has = false;
  for_each_aggregate(aggregates{}, [&]<class A>() {
    if (kind == A::kind)
      has = std::is_constructible_v<typename A::command, fall_due>;
  });
  return has;
}

}  // namespace

void supervisor_state::start(caf::stateful_actor<supervisor_state>* self, surroundings_ptr around) {
  self_ = self;
  around_ = std::move(around);
  asked_.start(self);
  // First the news, then what was before: nothing falls in between.
  self_->send(around_->feed, follow_feed{caf::actor_cast<caf::actor>(self_)});
  look_ahead();
  schedule();
}

void supervisor_state::look_ahead() {
  const auto now = around_->clock();
  if (loading_ || now + horizon_us / 2 < horizon_)
    return;
  // Behind everything at the old horizon: no stream has a higher number.
  std::vector<projections::value> place{horizon_, std::numeric_limits<std::int64_t>::max(),
                                        std::string()};
  horizon_ = now + horizon_us;
  loading_ = true;
  load(std::move(place));
}

void supervisor_state::load(std::vector<projections::value> after) {
  projections::row_query query;
  query.table = &agenda::spec;
  query.index = agenda::by_at;
  query.after = std::move(after);
  query.limit = page;
  query.where = {{agenda::at, {}, horizon_}};
  asked_.ask<std::vector<projections::row>>(
    around_->readers.back(), read_rows{std::move(query)},
    [this](result<std::vector<projections::row>> rows) {
      if (!rows) {
        // Another one begins again from the rows, a moment later: the database may be away.
        self_->delayed_send(self_, 1s, facts_missed{});
        return;
      }
      for (const auto& row : *rows) {
        const auto stream = from_base64(std::get<std::string>(row[agenda::stream_id])).value_or("");
        const auto& item = std::get<std::string>(row[agenda::item]);
        // What was published meanwhile is newer.
        if (!armed_.contains({stream, item}))
          arm(stream, item, std::get<std::int64_t>(row[agenda::at]));
      }
      if (rows->size() == page) {
        const auto& last = rows->back();
        load({last[agenda::at], last[agenda::stream], last[agenda::item]});
      } else {
        loading_ = false;
        std::erase_if(armed_, [](const auto& one) { return one.second.at == 0; });
      }
      schedule();
    });
}

void supervisor_state::arm(const std::string& stream, const std::string& item, time_us_t at) {
  if (at > horizon_) {  // It moved away; its row is read in time.
    disarm(stream, item);
    return;
  }
  auto& one = armed_[{stream, item}];
  one.at = at;
  one.number = ++numbers_;
  heap_.emplace(at, one.number, key{stream, item});
}

void supervisor_state::disarm(const std::string& stream, const std::string& item) {
  if (loading_)  // An older row that is still being read must not arm it again.
    armed_[{stream, item}] = {0, ++numbers_};
  else
    armed_.erase({stream, item});
}

void supervisor_state::follow(const batch& committed) {
  std::vector<projections::change> changes;
  for (const auto& f : committed.facts) {
    if (f->blanked || !has_deadlines(f->at.stream.kind()))
      continue;
    const auto fact = codec::decode(*f);
    if (!fact)
      continue;
    changes.clear();
    projections::project(f->at, *fact, changes);
    for (const auto& c : changes)
      apply(c, f->at);
  }
  schedule();
}

void supervisor_state::apply(const projections::change& c, const envelope& at) {
  const auto& stream = at.stream.bytes();
  if (const auto* put = std::get_if<projections::put>(&c);
      put != nullptr && put->table == &agenda::spec)
    arm(stream, std::get<std::string>(put->row[agenda::item]),
        std::get<std::int64_t>(put->row[agenda::at]));
  else if (const auto* gone = std::get_if<projections::erase>(&c);
           gone != nullptr && gone->table == &agenda::spec && gone->key.size() == 2)
    disarm(stream, std::get<std::string>(gone->key[agenda::item]));
}

void supervisor_state::fall(const key& whose, time_us_t at) {
  auto stream = stream_id::from_bytes(whose.first);
  auto command = stream ? due_command(*stream, whose.second, at) : nullptr;
  if (!command)
    return;
  submit wish;
  wish.stream = *stream;
  wish.command = std::move(command);
  // The same for whoever sends it: it is executed once.
  wish.command_id = "due " + std::to_string(at) + " " + whose.second;
  wish.now = around_->clock();
  wish.random = {fnv1a(whose.first), static_cast<std::uint64_t>(at)};
  ++falling_;
  around_->fallen.fetch_add(1, std::memory_order_relaxed);
  asked_.ask<committed>(
    around_->directory, std::move(wish), [this, whose, at](result<committed> done) {
      --falling_;
      if (!done && done.error().code != errc::key_reuse && !around_->ending) {
        const auto it = armed_.find(whose);
        if (it != armed_.end() && it->second.at == at)
          heap_.emplace(around_->clock() + try_again_us, it->second.number, whose);
      }
      schedule();
    });
}

void supervisor_state::tick(std::uint64_t turn) {
  if (turn != turn_)
    return;
  wakes_at_ = 0;
  schedule();
}

void supervisor_state::schedule() {
  look_ahead();
  around_->armed.store(armed_.size(), std::memory_order_relaxed);
  const auto now = around_->clock();
  while (!heap_.empty() && std::get<0>(heap_.top()) <= now && falling_ < falling_max) {
    auto [at, number, whose] = heap_.top();
    heap_.pop();
    const auto it = armed_.find(whose);
    if (it != armed_.end() && it->second.number == number && it->second.at != 0)
      fall(whose, it->second.at);
  }
  auto wait = look_again_us;
  if (!heap_.empty() && falling_ < falling_max)
    wait = std::clamp<time_us_t>(std::get<0>(heap_.top()) - now, 0, look_again_us);
  if (wakes_at_ != 0 && wakes_at_ <= now + wait && wakes_at_ > now - look_again_us)
    return;
  wakes_at_ = now + wait;
  self_->delayed_send(self_, std::chrono::microseconds(wait), tick_atom::value, ++turn_);
}

caf::behavior supervisor(caf::stateful_actor<supervisor_state>* self, surroundings_ptr around) {
  self->state.start(self, std::move(around));
  return {
    [self](published& p) { self->state.follow(*p.committed); },
    // Another one begins again from the rows.
    [self](const facts_missed&) { self->quit(caf::exit_reason::user_shutdown); },
    [self](tick_atom, std::uint64_t turn) { self->state.tick(turn); },
  };
}

}  // namespace recalld::actors

#pragma once

#include "actors/surroundings.hpp"
#include "events/codec.hpp"
#include "projections/projections.hpp"

#include <caf/event_based_actor.hpp>
#include <caf/stateful_actor.hpp>

#include <deque>

namespace recalld::actors {

/// One stream at work: the only place that decides for it on this node.
///
/// A command is decided on the present state and its facts go to the journal; until the journal
/// answers the mailbox is parked, so whoever asks next sees the write or its refusal. The state
/// evolves only after the facts are durable.
template <class Aggregate>
class aggregate_state {
public:
  using state_type = typename Aggregate::state;
  using self_type = caf::stateful_actor<aggregate_state<Aggregate>>;
  using promise_type = caf::typed_response_promise<reply<committed>>;
  static constexpr const char* name = "aggregate";

  ~aggregate_state() {
    if (around_) {
      around_->state_bytes.fetch_sub(bytes_, std::memory_order_relaxed);
      around_->live.fetch_sub(1, std::memory_order_relaxed);
    }
  }

  void start(self_type* self, surroundings_ptr around, stream_id stream) {
    self_ = self;
    around_ = std::move(around);
    stream_ = std::move(stream);
    around_->live.fetch_add(1, std::memory_order_relaxed);
    around_->woken.fetch_add(1, std::memory_order_relaxed);
    state_ = std::make_shared<state_type>();
    reload(and_no_more);
  }

  void run(submit wish, promise_type promise) {
    auto one = std::make_shared<execution>();
    one->wish = std::move(wish);
    one->promise = std::move(promise);
    decide(std::move(one));
  }

  void show(std::size_t newest, caf::typed_response_promise<reply<stream_view>> promise) {
    if (broken_) {
      promise.deliver(reply<stream_view>{fail(*broken_)});
      reload(and_no_more);
      return;
    }
    if (behind_ && around_->alone_since == 0) {
      // What cannot be read again now is shown as it was.
      reload([this, newest, promise](const error*) mutable { show_known(newest, promise); });
      return;
    }
    show_known(newest, promise);
  }

  void show_known(std::size_t newest, caf::typed_response_promise<reply<stream_view>> promise) {
    // No more than are wanted: behind a cold cache each of them may lie on a page of its own.
    const auto limit = std::min(newest, around_->limits.tail_entries);
    if (limit <= std::max(tail_read_, tail_.size()) || tail_after_ == 0) {
      promise.deliver(reply<stream_view>{seen(newest > 0)});
      return;
    }
    self_->request(reader(), caf::infinite, read_tail{seen(false), limit})
      .await(
        [this, promise, limit](reply<std::vector<shared_fact>>& r) mutable {
          if (!r.value) {
            promise.deliver(reply<stream_view>{fail(r.value.error())});
            return;
          }
          tail_.clear();
          tail_bytes_ = 0;
          // Fewer than asked for: nothing lies before them in this stream.
          tail_after_ = r.value->size() < limit ? own_past() : r.value->front()->at.version - 1;
          for (auto& f : *r.value)
            remember(std::move(f));
          tail_read_ = limit;
          account();
          promise.deliver(reply<stream_view>{seen(true)});
        },
        [promise](const caf::error& e) mutable {
          promise.deliver(reply<stream_view>{fail(lost(e))});
        });
  }

  void absorb(const std::vector<shared_fact>& facts) {
    for (const auto& f : facts) {
      if (f->at.version <= version_)
        continue;
      if (f->at.version != version_ + 1) {
        behind_ = true;
        reload(and_no_more);
        return;
      }
      evolve(f);
    }
    settle();
  }

  void leave(caf::typed_response_promise<parked> promise) {
    if (since_snapshot_ > 0 && !broken_)
      save();
    around_->passivated.fetch_add(1, std::memory_order_relaxed);
    promise.deliver(parked{stream_});
    self_->quit();
  }

private:
  /// A command on its way.
  struct execution {
    submit wish;
    promise_type promise;
    found_keys known;
    bool looked_up = false;
    int rounds = 0;
  };
  using execution_ptr = std::shared_ptr<execution>;

  static constexpr int rounds_max = 16;
  static constexpr std::size_t snapshot_every = 256;

  const caf::actor& reader() const { return around_->reader_for(stream_); }

  static error lost(const caf::error&) {
    return {errc::unavailable, "the node is ending", {}, 0, 1000};
  }

  stream_view seen(bool entries) const {
    stream_view v;
    v.stream = stream_;
    v.stream_no = stream_no_;
    v.version = version_;
    v.time = time_;
    v.state = std::shared_ptr<const state_type>(state_);
    if (entries) {
      v.tail.assign(tail_.begin(), tail_.end());
      v.tail_after = tail_after_;
    } else {
      v.tail_after = version_;
    }
    return v;
  }

  /// The version up to which the past lives in other streams.
  version_t own_past() const {
    if constexpr (requires { state_->borrowed; })
      return state_->borrowed.empty() ? 0 : state_->borrowed.back().through;
    return 0;
  }

  static constexpr auto and_no_more = [](const error*) {};

  /// Reads the state from snapshot and log, with the mailbox parked. `then` is told why it failed, or
  /// null; a state that was there stays.
  template <class Then>
  void reload(Then then) {
    self_->request(reader(), caf::infinite, wake{stream_, 0})
      .await(
        [this, then](reply<woken>& r) mutable {
          const error* wrong = nullptr;
          if (!r.value) {
            wrong = &r.value.error();
            if (!loaded_)
              broken_ = *wrong;
            if (wrong->code == errc::corrupt)
              around_->fatal("stream " + to_string(stream_) + ": " + wrong->message);
          } else {
            broken_.reset();
            loaded_ = true;
            behind_ = false;
            stream_no_ = r.value->stream_no;
            version_ = r.value->version;
            time_ = r.value->time;
            state_ = std::make_shared<state_type>(
              *std::get<std::shared_ptr<const state_type>>(r.value->state));
            since_snapshot_ = r.value->since_snapshot;
            tail_.clear();
            tail_bytes_ = 0;
            tail_after_ = version_;
            tail_read_ = 0;
            account();
          }
          then(wrong);
        },
        [this, then](const caf::error& e) mutable {
          const auto wrong = lost(e);
          if (!loaded_)
            broken_ = wrong;
          then(&wrong);
        });
  }

  void decide(execution_ptr one) {
    if (broken_) {
      one->promise.deliver(reply<committed>{fail(*broken_)});
      // The next command finds out whether the reader is back.
      reload(and_no_more);
      return;
    }
    if (behind_) {
      decide_anew(std::move(one));
      return;
    }
    if (++one->rounds > rounds_max) {
      one->promise.deliver(reply<committed>{
        fail({errc::overloaded, "other writers kept getting ahead; try again", {}, 0, 50})});
      return;
    }
    const auto& wish = one->wish;
    if (wish.expected && *wish.expected != version_) {
      error e{errc::conflict,
              "expected version " + std::to_string(*wish.expected) + ", the stream is at "
                + std::to_string(version_),
              "expected_version"};
      e.current_version = version_;
      refuse(std::move(one), std::move(e));
      return;
    }
    const auto* command = std::get_if<typename Aggregate::command>(wish.command.get());
    if (command == nullptr) {
      one->promise.deliver(
        reply<committed>{fail(errc::invalid, "a command of another kind of stream")});
      return;
    }
    if (!one->looked_up) {
      if (auto keys = Aggregate::lookups(*state_, *command); !keys.empty()) {
        look_up(std::move(one), std::move(keys));
        return;
      }
    }
    context ctx;
    ctx.now = std::max(wish.now, time_);
    ctx.random = wish.random;
    ctx.version = version_;
    ctx.policy = wish.policy;
    ctx.zones = around_->zones;
    ctx.known = one->known;
    ctx.looked_up = one->looked_up;
    auto decided = Aggregate::decide(*state_, *command, ctx, stream_);
    if (!decided) {
      refuse(std::move(one), std::move(decided.error()));
      return;
    }
    if (decided->facts.empty() && decided->foreign.empty()) {
      committed nothing;
      nothing.version = version_;
      nothing.time = time_;
      nothing.known = one->known;
      answer_or_receipt(std::move(one), reply<committed>{std::move(nothing)});
      return;
    }
    write(std::move(one), std::move(*decided), ctx.now);
  }

  /// Decides on what the log holds now.
  void decide_anew(execution_ptr one) {
    reload([this, one](const error* wrong) mutable {
      if (wrong != nullptr)
        one->promise.deliver(reply<committed>{fail(*wrong)});
      else
        decide(std::move(one));
    });
  }

  /// An error is the answer unless the command was executed before.
  void refuse(execution_ptr one, error e) {
    answer_or_receipt(std::move(one), reply<committed>{fail(std::move(e))});
  }

  void answer_or_receipt(execution_ptr one, reply<committed> otherwise) {
    if (one->wish.command_id.empty()) {
      one->promise.deliver(std::move(otherwise));
      return;
    }
    self_->request(reader(), caf::infinite, find_receipt{stream_, one->wish.command_id})
      .await(
        [this, one, otherwise](reply<found_receipt>& r) mutable {
          if (!r.value)
            one->promise.deliver(reply<committed>{fail(r.value.error())});
          else if (r.value->row.empty())
            one->promise.deliver(std::move(otherwise));
          else
            repeat(*one, *r.value);
        },
        [one](const caf::error& e) mutable {
          one->promise.deliver(reply<committed>{fail(lost(e))});
        });
  }

  /// Answers a command that was executed before with its first receipt.
  void repeat(execution& one, found_receipt& found) {
    namespace receipts = projections::receipts;
    const auto number = [&](receipts::column c) {
      const auto* n = std::get_if<std::int64_t>(&found.row[c]);
      return n == nullptr ? std::int64_t{0} : *n;
    };
    if (static_cast<std::uint64_t>(number(receipts::body_hash)) != one.wish.body_hash) {
      one.promise.deliver(reply<committed>{
        fail({errc::key_reuse, "this command id was used for another request", "command_id"})});
      return;
    }
    committed first;
    first.first_version = static_cast<version_t>(number(receipts::first_version));
    first.version = static_cast<version_t>(number(receipts::last_version));
    first.position = static_cast<position_t>(number(receipts::position));
    first.time = number(receipts::time);
    first.duplicate = true;
    first.facts = std::move(found.facts);
    one.promise.deliver(reply<committed>{std::move(first)});
  }

  void look_up(execution_ptr one, std::vector<std::string> keys) {
    find_keys wish{stream_, {}, std::move(keys)};
    if constexpr (requires { state_->borrowed; })
      wish.borrowed = state_->borrowed;
    self_->request(reader(), caf::infinite, std::move(wish))
      .await(
        [this, one](reply<found_keys>& r) mutable {
          if (!r.value) {
            one->promise.deliver(reply<committed>{fail(r.value.error())});
            return;
          }
          one->known = std::move(*r.value);
          one->looked_up = true;
          decide(std::move(one));
        },
        [one](const caf::error& e) mutable {
          one->promise.deliver(reply<committed>{fail(lost(e))});
        });
  }

  void write(execution_ptr one, typename Aggregate::decision decided, time_us_t now) {
    append wish;
    auto& unit = wish.unit;
    unit.command = one->wish.command_id;
    unit.body_hash = one->wish.body_hash;
    unit.time = now;
    storage::stream_append own;
    own.stream = stream_;
    own.expected = version_;
    auto first = version_;
    if (!decided.facts.empty())
      if (auto base = Aggregate::base_of(decided.facts.front(), version_ + 1);
          base && version_ == 0)
        first = base->through;  // A fork begins behind the past it borrows.
    own.expected = first;
    std::vector<std::string> keys;
    for (auto& f : decided.facts) {
      any_fact any{std::in_place_type<typename Aggregate::fact>, std::move(f)};
      auto text = codec::encode(any, first + own.facts.size() + 1);
      if (!text.key.empty())
        keys.push_back(text.key);
      own.encoded.push_back(std::move(text));
      own.facts.push_back(std::move(any));
    }
    unit.parts.push_back(std::move(own));
    for (auto& f : decided.foreign)
      unit.parts.push_back({f.stream, std::nullopt, std::move(f.facts), {}});
    // Before the commit: a process that is killed right after it leaves no snapshot of before.
    for (const auto& part : unit.parts)
      for (const auto& f : part.facts)
        uncache(part.stream, f, version_ + 1);

    self_->request(around_->journal_for(stream_), caf::infinite, std::move(wish))
      .await(
        [this, one, keys = std::move(keys)](reply<appended>& r) mutable {
          if (!r.value) {
            behind_ = behind_ || r.value.error().code == errc::outcome_unknown;
            one->promise.deliver(reply<committed>{fail(r.value.error())});
          } else if (r.value->refused) {
            again(std::move(one), *r.value->refused, std::move(keys));
          } else {
            done(*one, *r.value);
          }
        },
        [one](const caf::error& e) mutable {
          one->promise.deliver(reply<committed>{fail(lost(e))});
        });
  }

  /// The log knew better than this state did.
  void again(execution_ptr one, const storage::refusal& why, std::vector<std::string> keys) {
    using reason = storage::refusal::reason;
    switch (why.why) {
      case reason::duplicate_command:
        // Its first execution is not in this state when nobody knew of it then.
        behind_ = true;
        answer_or_receipt(std::move(one),
                          reply<committed>{fail(errc::corrupt, "a receipt was there and is gone")});
        return;
      case reason::key_taken:
        if (one->looked_up) {
          one->promise.deliver(reply<committed>{fail(errc::corrupt, "a fact key is taken twice")});
          return;
        }
        look_up(std::move(one), std::move(keys));
        return;
      case reason::wrong_version:
        // Somebody else's command wrote here too.
        decide_anew(std::move(one));
        return;
    }
  }

  void done(execution& one, appended& written) {
    committed answer;
    const auto& part = written.parts.front();
    const auto own = static_cast<std::ptrdiff_t>(part.last_version - part.first_version + 1);
    stream_no_ = part.stream_no;
    answer.facts.assign(written.facts.begin(), written.facts.begin() + own);
    // The past that a fork borrows is not in the tail.
    if (version_ == 0 && part.first_version > 1)
      version_ = tail_after_ = part.first_version - 1;
    for (const auto& f : answer.facts)
      evolve(f);
    answer.first_version = part.first_version;
    answer.version = part.last_version;
    answer.position = part.position;
    answer.time = part.time;
    answer.known = std::move(one.known);
    one.promise.deliver(reply<committed>{std::move(answer)});
    settle();
    trim();
  }

  void evolve(const shared_fact& f) {
    auto any = codec::decode(*f);
    if (!any) {
      around_->fatal("a fact that was just written cannot be read: " + any.error().message);
      return;
    }
    if (state_.use_count() > 1)
      state_ = std::make_shared<state_type>(*state_);  // Somebody reads the old one.
    Aggregate::evolve(*state_, std::get<typename Aggregate::fact>(*any), f->at);
    uncache(stream_, *any, f->at.version);
    version_ = f->at.version;
    time_ = f->at.time;
    ++since_snapshot_;
    if (f->lane == lane::entries)
      remember(f);
  }

  /// Lets the cache forget what a fact ends.
  void uncache(const stream_id& stream, const any_fact& fact, version_t version) {
    if (around_->cache && ends_past(fact, version))
      around_->cache->erase(stream);
  }

  void remember(shared_fact f) {
    tail_bytes_ += f->payload.size() + sizeof(recorded);
    tail_.push_back(std::move(f));
    while (tail_.size() > around_->limits.tail_entries
           || (tail_bytes_ > around_->limits.tail_bytes && tail_.size() > 1)) {
      tail_after_ = tail_.front()->at.version;
      tail_bytes_ -= tail_.front()->payload.size() + sizeof(recorded);
      tail_.pop_front();
    }
  }

  /// After the state changed: account for its memory, hand out a snapshot now and then.
  void settle() {
    account();
    if (since_snapshot_ >= snapshot_every + footprint_ / 64)
      save();
  }

  void account() {
    footprint_ = Aggregate::footprint(*state_);
    const auto now = static_cast<std::int64_t>(footprint_ + tail_bytes_);
    around_->state_bytes.fetch_add(now - bytes_, std::memory_order_relaxed);
    bytes_ = now;
  }

  void save() {
    if (around_->cache && version_ > 0)
      around_->cache->put(stream_,
                          {version_, time_, codec::state_schema, codec::encode_state(*state_)});
    since_snapshot_ = 0;
  }

  /// Forgets what the application does not keep, in amortised constant time.
  void trim() {
    if constexpr (requires(state_type s) { Aggregate::trim_command(version_t{}, s); }) {
      if (trimming_ || version_ < next_trim_ || Aggregate::trim_due(*state_) == 0)
        return;
      trimming_ = true;
      self_->request(reader(), caf::infinite, find_trim{seen(false)})
        .then(
          [this](reply<found_trim>& r) {
            trimming_ = false;
            // One endless turn may leave nothing to forget; do not search it after each append.
            next_trim_ = version_ + 64 + version_ / 4;
            if (!r.value || r.value->through == 0)
              return;
            next_trim_ = 0;
            const auto& at = *std::get<std::shared_ptr<const state_type>>(r.value->at);
            submit wish;
            wish.stream = stream_;
            wish.command =
              std::make_shared<const any_command>(std::in_place_type<typename Aggregate::command>,
                                                  Aggregate::trim_command(r.value->through, at));
            wish.now = around_->clock();
            if constexpr (requires { state_->retention; })
              wish.policy = state_->retention;
            run(std::move(wish), promise_type{});
          },
          [this](const caf::error&) { trimming_ = false; });
    }
  }

  self_type* self_ = nullptr;
  surroundings_ptr around_;
  stream_id stream_;
  stream_no_t stream_no_ = 0;
  version_t version_ = 0;
  time_us_t time_ = 0;
  std::shared_ptr<state_type> state_;
  std::optional<error> broken_;  ///< Why there is no state.
  bool loaded_ = false;
  bool behind_ = false;  ///< The log may hold more than this state.
  std::deque<shared_fact> tail_;
  std::size_t tail_bytes_ = 0;
  version_t tail_after_ = 0;   ///< Every entry above this version is in the tail.
  std::size_t tail_read_ = 0;  ///< So many entries were asked of the log since waking.
  std::size_t since_snapshot_ = 0;
  std::size_t footprint_ = 0;
  std::int64_t bytes_ = 0;
  bool trimming_ = false;
  version_t next_trim_ = 0;  ///< Not to look for something to forget before this version.
};

template <class Aggregate>
caf::behavior aggregate_actor(caf::stateful_actor<aggregate_state<Aggregate>>* self,
                              surroundings_ptr around, stream_id stream) {
  self->set_exception_handler([around](std::exception_ptr& raised) -> caf::error {
    try {
      std::rethrow_exception(raised);
    } catch (const std::exception& e) {
      around->fatal(std::string("an aggregate raised: ") + e.what());
    } catch (...) {
      around->fatal("an aggregate raised something unknown");
    }
    return caf::exit_reason::unhandled_exception;
  });
  self->state.start(self, std::move(around), std::move(stream));
  return {
    [self](submit& wish) {
      auto promise = self->template make_response_promise<reply<committed>>();
      self->state.run(std::move(wish), promise);
      return promise;
    },
    [self](const view& v) {
      auto promise = self->template make_response_promise<reply<stream_view>>();
      self->state.show(v.newest, promise);
      return promise;
    },
    [self](const foreign_recorded& f) { self->state.absorb(f.facts); },
    [self](passivate) {
      auto promise = self->template make_response_promise<parked>();
      self->state.leave(promise);
      return promise;
    },
  };
}

/// Spawns the actor of a stream, whatever kind it is.
caf::actor spawn_aggregate(caf::actor_system& system, const surroundings_ptr& around,
                           const stream_id& stream);

}  // namespace recalld::actors

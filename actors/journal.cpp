#include "actors/journal.hpp"

#include <caf/all.hpp>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <utility>

namespace recalld::actors {

using namespace std::chrono_literals;

namespace {

constexpr auto sweep_budget = std::size_t{512};
/// As long as clients go on repeating, and then some.
constexpr std::int64_t brief_receipts_us = 60'000'000;
// What is forgotten leaves the files of a store that is never idle after so many calls of `tidy`,
// about ten seconds.
constexpr std::uint64_t checkpoint_every = 40;
// A few milliseconds: commits wait no longer for a rebuild.
constexpr std::size_t rebuild_facts = 2'000;

std::size_t bytes_of(const storage::append_unit& unit) {
  std::size_t bytes = 0;
  for (const auto& part : unit.parts)
    for (const auto& e : part.encoded)
      bytes += e.payload.size();
  return bytes;
}

std::size_t facts_of(const storage::append_unit& unit) {
  std::size_t facts = 0;
  for (const auto& part : unit.parts)
    facts += part.facts.size();
  return facts;
}

/// How long this thread has been running on a processor.
std::chrono::nanoseconds running_time() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

std::int64_t us(std::chrono::nanoseconds t) {
  return std::chrono::duration_cast<std::chrono::microseconds>(t).count();
}

}  // namespace

void journal_state::start(caf::stateful_actor<journal_state>* self, surroundings_ptr around,
                          storage::log_writer& writer, storage::shard_rights rights,
                          storage::shard_rights own) {
  self_ = self;
  around_ = std::move(around);
  writer_ = &writer;
  rights_ = std::move(rights);
  own_ = std::move(own);
}

void journal_state::add(append& wish, caf::typed_response_promise<reply<appended>> promise) {
  if (ended_) {
    promise.deliver(reply<appended>{fail(errc::unavailable, "the node is ending")});
    return;
  }
  waiting_.push_back({std::move(wish.unit), std::move(promise)});
  schedule_flush();
}

void journal_state::schedule_flush() {
  if (flush_sent_)
    return;
  flush_sent_ = true;
  const auto last = around_->disk_us.load(std::memory_order_relaxed);
  // On a disk that takes long, waiting for a little more pays.
  if (last > std::int64_t{around_->limits.slow_commit_us})
    self_->delayed_send(self_, std::chrono::microseconds(last / 20), flush_atom::value);
  else
    self_->send(self_, flush_atom::value);
}

void journal_state::flush() {
  flush_sent_ = false;
  if (waiting_.empty() || ended_)
    return;
  // A big write does not make the small ones behind it wait: the batch ends at a cap.
  std::size_t n = 0, facts = 0, bytes = 0;
  while (n < waiting_.size()) {
    facts += facts_of(waiting_[n].unit);
    bytes += bytes_of(waiting_[n].unit);
    if (n > 0 && (facts > around_->limits.batch_facts || bytes > around_->limits.batch_bytes))
      break;
    ++n;
  }
  std::vector<waiting> batch;
  if (n == waiting_.size()) {
    batch.swap(waiting_);
  } else {
    const auto cut = waiting_.begin() + static_cast<std::ptrdiff_t>(n);
    batch.assign(std::make_move_iterator(waiting_.begin()), std::make_move_iterator(cut));
    waiting_.erase(waiting_.begin(), cut);
  }
  commit(std::move(batch));
  if (!waiting_.empty())
    schedule_flush();
}

void journal_state::commit(std::vector<waiting> batch) {
  std::vector<storage::append_unit> units;
  units.reserve(batch.size());
  for (auto& w : batch)
    units.push_back(std::move(w.unit));

  const auto began = std::chrono::steady_clock::now();
  const auto ran = running_time();
  auto outcome = writer_->commit(rights_, units);
  const auto took = std::chrono::steady_clock::now() - began;
  const auto waited = took - (running_time() - ran);
  around_->commit_us.store(us(took), std::memory_order_relaxed);
  around_->disk_us.store(us(waited), std::memory_order_relaxed);

  if (!outcome && outcome.error().code == errc::invalid) {
    // The database does not take a value: whoever brought it is told, its neighbours have nothing to
    // do with it.
    if (batch.size() == 1) {
      batch.front().promise.deliver(reply<appended>{fail(outcome.error())});
      return;
    }
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (ended_) {
        batch[i].promise.deliver(reply<appended>{fail(errc::unavailable, "the node is ending")});
        continue;
      }
      std::vector<waiting> alone;
      alone.push_back({std::move(units[i]), std::move(batch[i].promise)});
      commit(std::move(alone));
    }
    return;
  }
  if (!outcome) {
    const auto& e = outcome.error();
    unknown_ = unknown_ || e.code == errc::outcome_unknown;
    for (auto& w : batch)
      w.promise.deliver(reply<appended>{fail(e)});
    const bool goes_on = e.code == errc::unavailable
                         || (e.code == errc::outcome_unknown && writer_->resolves_unknown());
    if (!goes_on) {
      ended_ = true;
      for (auto& w : waiting_)
        w.promise.deliver(reply<appended>{fail(errc::unavailable, "the node is ending")});
      waiting_.clear();
      around_->fatal("the journal cannot go on: " + e.message);
    }
    return;
  }

  auto committed = std::make_shared<actors::batch>();
  checkpointed_ = false;
  around_->commits.fetch_add(1, std::memory_order_relaxed);
  std::vector<appended> answers;
  answers.reserve(batch.size());
  committed->facts.reserve(batch.size());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    auto& out = (*outcome)[i];
    appended answer;
    answer.parts = std::move(out.parts);
    answer.refused = std::move(out.refused);
    answer.facts.reserve(out.facts.size());
    for (auto& f : out.facts)
      answer.facts.push_back(std::make_shared<const recorded>(std::move(f)));
    committed->facts.insert(committed->facts.end(), answer.facts.begin(), answer.facts.end());
    // Before the answer: whoever has it may read the other stream, by way of the directory too.
    auto from = answer.facts.begin();
    for (std::size_t p = 0; p < answer.parts.size(); ++p) {
      const auto& part = answer.parts[p];
      const auto to =
        from + static_cast<std::ptrdiff_t>(part.last_version - part.first_version + 1);
      if (p > 0)
        self_->send(around_->directory, foreign_recorded{units[i].parts[p].stream, {from, to}});
      from = to;
    }
    answers.push_back(std::move(answer));
  }
  around_->facts.fetch_add(committed->facts.size(), std::memory_order_relaxed);
  // Before the answers: a watch that begins after one has it behind itself.
  if (!committed->facts.empty())
    self_->send(around_->feed, published{std::move(committed)});
  if (std::exchange(unknown_, false))
    self_->send(around_->feed, facts_missed{});
  for (std::size_t i = 0; i < batch.size(); ++i)
    batch[i].promise.deliver(reply<appended>{std::move(answers[i])});
  writer_->relieve();
}

result<bool> journal_state::rebuild(storage::rebuild& work) {
  if (ended_)
    return fail(errc::unavailable, "the node is ending");
  return work.step(rebuild_facts);
}

void journal_state::tidy() {
  if (ended_)
    return;
  const auto commits = around_->commits.load(std::memory_order_relaxed);
  const auto idle = commits == commits_at_last_tidy_;
  commits_at_last_tidy_ = commits;
  const auto keep_us = std::int64_t{around_->limits.receipts_days} * 86'400 * 1'000'000;
  const auto now = around_->clock();
  auto swept = writer_->sweep(own_, {now - keep_us, now - std::min(keep_us, brief_receipts_us)},
                              sweep_budget);
  if (!swept && swept.error().code != errc::unavailable) {
    ended_ = true;
    around_->fatal("forgetting failed: " + swept.error().message);
    return;
  }
  if (swept && swept->more) {
    self_->send(self_, tidy_atom::value);
    return;
  }
  if (swept && swept->blanked > 0)
    checkpointed_ = false;
  ++tidied_since_checkpoint_;
  if (!checkpointed_ && (idle || tidied_since_checkpoint_ >= checkpoint_every)) {
    // A checkpoint that fails costs disk space, not truth; the next one tries again.
    checkpointed_ = writer_->checkpoint().has_value();
    tidied_since_checkpoint_ = 0;
  }
}

storage::shard_rights rights_of_journal(const storage::shard_rights& all, std::size_t number,
                                        std::size_t journals) {
  storage::shard_rights own;
  for (const auto& [shard, epoch] : all)
    if (journal_of(shard, journals) == number)
      own.emplace(shard, epoch);
  return own;
}

caf::behavior journal(caf::stateful_actor<journal_state>* self, surroundings_ptr around,
                      storage::log_writer* writer, storage::shard_rights rights,
                      storage::shard_rights own) {
  self->state.start(self, std::move(around), *writer, std::move(rights), std::move(own));
  return {
    [self](append& wish) {
      auto promise = self->make_response_promise<reply<appended>>();
      self->state.add(wish, promise);
      return promise;
    },
    [self](rebuild_step& step) { return reply<bool>{self->state.rebuild(*step.work)}; },
    [self](flush_atom) { self->state.flush(); },
    [self](tidy_atom) { self->state.tidy(); },
  };
}

}  // namespace recalld::actors

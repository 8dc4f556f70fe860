#include "storage/replay.hpp"

#include "projections/projections.hpp"
#include "storage/base_marks.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <thread>

namespace recalld::storage {

using projections::table;

namespace {

constexpr std::size_t bases_page = 1000;
constexpr std::size_t rows_page = 1000;

}  // namespace

// -- replayer --

/// Pages that a thread of its own has read, in order, as many as fit.
class replayer::pages_ahead {
public:
  /// Reads (`after`, `head`], about `facts` facts a page.
  pages_ahead(log_reader& log, shard_t shard, position_t after, position_t head, std::size_t facts)
    : through_(after), reading_([=, this, &log] { read(log, shard, after, head, facts); }) {}

  ~pages_ahead() {
    {
      const std::lock_guard lock(guard_);
      left_ = true;
    }
    changed_.notify_all();
    reading_.join();
  }

  /// The next page; waits for it. An empty one at the end.
  result<log_page> next() {
    std::unique_lock lock(guard_);
    changed_.wait(lock, [this] { return ended_ || !pages_.empty(); });
    if (pages_.empty())
      return log_page{.through = through_};
    auto page = std::move(pages_.front());
    pages_.pop_front();
    bytes_ -= bytes_of(page);
    if (page)
      through_ = page->through;
    changed_.notify_all();
    return page;
  }

private:
  static constexpr std::size_t bytes_max = 48 << 20;

  static std::size_t bytes_of(const result<log_page>& page) noexcept {
    if (!page)
      return 0;
    std::size_t bytes = page->facts.size() * sizeof(recorded);
    for (const auto& f : page->facts)
      bytes += f.payload.size();
    return bytes;
  }

  void read(log_reader& log, shard_t shard, position_t after, position_t head, std::size_t facts) {
    while (after < head) {
      auto page = log.scan(shard, after, facts);
      const bool more = page && page->through > after;
      after = more ? page->through : head;
      std::unique_lock lock(guard_);
      changed_.wait(lock, [this] { return left_ || bytes_ < bytes_max; });
      if (left_)
        return;
      bytes_ += bytes_of(page);
      pages_.push_back(std::move(page));
      changed_.notify_all();
    }
    const std::lock_guard lock(guard_);
    ended_ = true;
    changed_.notify_all();
  }

  std::mutex guard_;  ///< Of all but the thread.
  std::condition_variable changed_;
  std::deque<result<log_page>> pages_;
  std::size_t bytes_ = 0;
  position_t through_ = 0;
  bool ended_ = false;
  bool left_ = false;
  std::thread reading_;  ///< Last: it uses the others.
};

replayer::replayer(log_reader& log) : log_(&log) {}
replayer::~replayer() = default;
replayer::replayer(replayer&&) noexcept = default;
replayer& replayer::operator=(replayer&&) noexcept = default;

result<void> replayer::start(replay_target& target) {
  progress_ = {};
  streams_.clear();
  shards_.clear();
  at_ = 0;
  if (auto known = look_at_heads(); !known)
    return known;
  for (shard_t s = 0; s < shards_.size(); ++s)
    if (auto started = start_shard(s, target); !started)
      return started;
  return {};
}

result<void> replayer::look_at_heads() {
  auto heads = log_->heads();
  if (!heads)
    return fail(heads.error());
  shards_.resize(heads->size());
  progress_.head = 0;
  for (std::size_t s = 0; s < shards_.size(); ++s) {
    shards_[s].head = (*heads)[s];
    progress_.head += shards_[s].head;
  }
  return {};
}

/// Delivers the states that the bases of a shard's streams carry.
result<void> replayer::start_shard(shard_t shard, replay_target& target) {
  stream_no_t after = 0;
  for (;;) {
    auto page = log_->based_streams(shard, after, bases_page);
    if (!page)
      return fail(page.error());
    if (page->empty())
      return {};
    for (const auto& at : *page) {
      after = at.stream_no;
      // What the base takes away is not there to be counted.
      streams_[at.stream_no] = {at.base, 0, 0};
      if (at.base_fact == 0)
        continue;
      auto facts = log_->stream_forth(at.stream_no, at.base_fact - 1, 1);
      if (!facts)
        return fail(facts.error());
      if (facts->empty() || facts->front().at.version != at.base_fact || facts->front().blanked)
        return fail(errc::corrupt, "the fact that carries the base of stream "
                                     + std::to_string(at.stream_no) + " is missing");
      auto& carrier = facts->front();
      auto fact = codec::decode(carrier);
      if (!fact)
        return fail(fact.error());
      carrier.at.version = at.base;
      carrier.at.command.clear();
      target.base(carrier.at, *fact);
    }
  }
}

result<void> replayer::check_order(const recorded& r, stream& s) const {
  // Below the base, ranges may have swallowed facts; above it nothing is ever missing.
  const bool follows =
    r.at.version == s.last + 1 || (r.at.version > s.last && r.at.version <= s.base + 1);
  if (!follows)
    return fail(errc::corrupt, "position " + std::to_string(r.at.position) + ": stream "
                                 + std::to_string(r.at.stream_no) + " has version "
                                 + std::to_string(r.at.version) + " behind "
                                 + std::to_string(s.last));
  if (r.at.time < s.time)
    return fail(errc::corrupt, "position " + std::to_string(r.at.position) + ": stream "
                                 + std::to_string(r.at.stream_no) + " goes back in time");
  s.last = r.at.version;
  s.time = r.at.time;
  return {};
}

result<log_page> replayer::next_page(std::size_t facts) {
  const auto& s = shards_[at_];
  if (!read_ahead_)
    return log_->scan(at_, s.through, facts);
  if (!ahead_)
    ahead_ = std::make_unique<pages_ahead>(*log_, at_, s.through, s.head, facts);
  return ahead_->next();
}

result<void> replayer::deliver(const recorded& r, replay_target& target) {
  auto [known, fresh] = streams_.try_emplace(r.at.stream_no);
  auto& s = known->second;
  if (fresh && r.at.version > 1 && !r.blanked) {
    // A stream that began behind a borrowed past after `start` says so with its first fact.
    auto first = codec::decode(r);
    if (!first)
      return fail(first.error());
    s.base = initial_version(*first);
  }
  if (auto fine = check_order(r, s); !fine)
    return fine;
  if (r.blanked || r.at.version <= s.base) {
    ++progress_.blanked;
    target.blanked(r);
    return {};
  }
  auto fact = codec::decode(r);
  if (!fact)
    return fail(error{fact.error().code,
                      "position " + std::to_string(r.at.position) + ": " + fact.error().message});
  ++progress_.facts;
  target.fact(r, *fact);
  return {};
}

result<bool> replayer::step(replay_target& target, std::size_t facts) {
  // Shards that were walked may have grown since: on to the next that has more.
  const auto behind = [](const shard_walk& s) { return s.through < s.head; };
  if (!ahead_ && (shards_.empty() || !behind(shards_[at_]))) {
    if (auto known = look_at_heads(); !known)
      return fail(known.error());
    const auto next = std::find_if(shards_.begin(), shards_.end(), behind);
    if (next == shards_.end())
      return false;
    at_ = static_cast<shard_t>(next - shards_.begin());
  }
  auto page = next_page(facts);
  if (!page)
    return fail(page.error());
  for (const auto& r : page->facts)
    if (auto delivered = deliver(r, target); !delivered)
      return fail(delivered.error());
  for (const auto& range : page->blanks)
    progress_.blanked += range.last - range.first + 1;
  auto& s = shards_[at_];
  progress_.through += page->through - s.through;
  s.through = page->through;
  s.head = std::max(s.head, page->through);
  if (behind(s))
    return true;
  ahead_.reset();
  if (std::any_of(shards_.begin(), shards_.end(), behind))
    return true;
  if (read_ahead_)
    return false;
  // The last look was some time ago.
  if (auto known = look_at_heads(); !known)
    return fail(known.error());
  return std::any_of(shards_.begin(), shards_.end(), behind);
}

// -- row_fold --

void row_fold::apply() {
  for (auto& c : changes_)
    rows_.apply(std::move(c));
  changes_.clear();
}

void row_fold::base(const envelope& at, const any_fact& fact) {
  project_base(at, fact, changes_);
  apply();
}

void row_fold::fact(const recorded& r, const any_fact& fact) {
  projections::project(r.at, fact, changes_);
  apply();
}

void row_fold::blanked(const recorded& r) {
  projections::project_blanked(r.at, changes_);
  apply();
}

// -- rebuild --

void rebuild::shadow::base(const envelope& at, const any_fact& fact) {
  project_base(at, fact, changes);
}
void rebuild::shadow::fact(const recorded& r, const any_fact& fact) {
  projections::project(r.at, fact, changes);
}
void rebuild::shadow::blanked(const recorded& r) { projections::project_blanked(r.at, changes); }

rebuild::rebuild(log_writer& writer, log_reader& reader, std::vector<const table*> tables)
  : writer_(&writer), tables_(std::move(tables)), replayer_(reader) {}

result<bool> rebuild::step(std::size_t facts) {
  auto apply = [&]() -> result<void> {
    return writer_->apply_to_shadow(std::exchange(shadow_.changes, {}));
  };
  if (!begun_) {
    if (auto begun = writer_->begin_shadow(tables_); !begun)
      return fail(begun.error());
    begun_ = true;
    if (auto started = replayer_.start(shadow_); !started)
      return fail(started.error());
    if (auto applied = apply(); !applied)
      return fail(applied.error());
  }
  auto more = replayer_.step(shadow_, facts);
  if (!more)
    return more;
  if (auto applied = apply(); !applied)
    return fail(applied.error());
  if (*more)
    return true;
  // What other writers have committed since the last look is little, and now they wait.
  const auto quiet = writer_->quiet();
  do {
    more = replayer_.step(shadow_, facts);
    if (!more)
      return more;
    if (auto applied = apply(); !applied)
      return fail(applied.error());
  } while (*more);
  if (auto swapped = writer_->swap_shadow(); !swapped)
    return fail(swapped.error());
  return false;
}

result<void> rebuild::run() {
  replayer_.read_ahead();
  for (;;) {
    auto more = step(2048);
    if (!more)
      return fail(more.error());
    if (!*more)
      return {};
  }
}

// -- verify --

namespace {

std::string shown(const projections::value& v) {
  if (const auto* n = std::get_if<std::int64_t>(&v))
    return std::to_string(*n);
  if (const auto* s = std::get_if<std::string>(&v))
    return json::quote(*s);
  return "null";
}

}  // namespace

result<void> compare_rows(const row_set& expected, log_reader& reader, std::size_t differences_max,
                          verify_report& report) {
  for (const auto* t : projections::tables()) {
    auto& count = report.tables.emplace_back();
    count.table = t->name;
    count.expected = expected.count(*t);
    auto differs = [&](std::span<const projections::value> key, std::string_view column,
                       std::string wanted, std::string found) {
      ++count.different;
      if (report.differences.size() < differences_max)
        report.differences.push_back({std::string(t->name),
                                      {key.begin(), key.end()},
                                      std::string(column),
                                      std::move(wanted),
                                      std::move(found)});
    };
    std::uint64_t matched = 0;
    projections::row_query query{.table = t, .limit = rows_page};
    auto page = reader.rows(query);
    for (;;) {
      if (!page)
        return fail(page.error());
      // The next page is read while this one is compared.
      std::future<result<std::vector<projections::row>>> next;
      if (page->size() == query.limit) {
        const auto last = key_of(*t, page->back());
        query.after.emplace(last.begin(), last.end());
        next = std::async(std::launch::async, [&] { return reader.rows(query); });
      }
      for (const auto& row : *page) {
        ++count.found;
        const auto key = key_of(*t, row);
        const auto* wanted = expected.find(*t, key);
        if (wanted == nullptr) {
          differs(key, {}, {}, "a row");
          continue;
        }
        ++matched;
        if (*wanted == row)
          continue;
        for (std::size_t i = 0; i < row.size(); ++i)
          if (order(row[i], (*wanted)[i]) != 0)
            differs(key, t->columns[i].name, shown((*wanted)[i]), shown(row[i]));
      }
      if (!next.valid())
        break;
      page = next.get();
    }
    if (matched < count.expected) {
      // Rows that the table lacks: look each up, in one pass, only when some are known to lack.
      result<void> failed;
      expected.each(*t, [&](const projections::row& row) {
        if (!failed)
          return;
        const auto key = key_of(*t, row);
        auto found = reader.rows({.table = t, .equals = {key.begin(), key.end()}, .limit = 1});
        if (!found)
          failed = fail(found.error());
        else if (found->empty())
          differs(key, {}, "a row", {});
      });
      if (!failed)
        return failed;
    }
    report.different += count.different;
  }
  return {};
}

result<verify_report> verify(log_reader& reader, const verify_options& options) {
  const frozen_view view(reader);
  if (!view.frozen())
    return fail(view.frozen().error());
  verify_report report;
  row_fold fold;
  replayer walk(reader);
  walk.read_ahead();
  if (auto started = walk.start(fold); !started)
    return fail(started.error());
  for (;;) {
    auto more = walk.step(fold, options.page);
    if (!more)
      return fail(more.error());
    if (options.progress && !options.progress(walk.progress()))
      return fail(errc::unavailable, "the check was ended");
    if (!*more)
      break;
  }
  report.progress = walk.progress();
  report.streams = walk.streams();
  if (auto compared = compare_rows(fold.rows(), reader, options.differences_max, report); !compared)
    return fail(compared.error());
  return report;
}

}  // namespace recalld::storage

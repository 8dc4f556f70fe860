#include "actors/feed.hpp"

#include <caf/all.hpp>

#include <algorithm>
#include <chrono>

namespace recalld::actors {

namespace {

constexpr std::size_t stretch = 128;
constexpr auto retry_after = std::chrono::milliseconds(200);

}  // namespace

std::string render_fact(const recorded& r) {
  json::object_writer stream;
  const auto parts = r.at.stream.parts();
  stream.str("kind", to_string(r.at.stream.kind()));
  if (const auto* kind = find_stream_kind(r.at.stream.kind()))
    for (std::size_t i = 0; i < parts.size() && i < kind->parts.size(); ++i)
      stream.str(kind->parts[i], parts[i]);
  json::object_writer w;
  w.num("position", static_cast<std::uint64_t>(r.at.position))
    .raw("stream", std::move(stream).done());
  w.num("version", static_cast<std::uint64_t>(r.at.version)).str("type", r.type);
  w.str("recorded_at", format_time(r.at.time));
  if (!r.at.command.empty())
    w.str("command_id", r.at.command);
  w.raw("payload", r.payload.empty() ? "{}" : r.payload.view());
  return std::move(w).done();
}

std::string topic_of(const stream_id& stream) { return stream.bytes(); }

std::string topic_of(stream_kind kind, std::string_view tenant) {
  // Longer than any stream id with these parts alone: a part of no bytes follows.
  return stream_id(kind, {tenant}).bytes() + '\0' + '*';
}

bool watch_filter::matches(const stream_id& stream) const {
  const auto& bytes = stream.bytes();
  return (kind == 0 || static_cast<std::uint8_t>(bytes[0]) == kind)
         && std::string_view(bytes).substr(1).starts_with(parts);
}

void feed_state::start(caf::stateful_actor<feed_state>* self, surroundings_ptr around,
                       log_place heads) {
  self_ = self;
  around_ = std::move(around);
  heads_ = std::move(heads);
  id_prefix_ = "w" + std::to_string(around_->clock()) + "-";
  self_->set_down_handler([this](caf::down_msg& down) { gone(down.source); });
}

result<watch_started> feed_state::begin(start_watch& wish) {
  if (watchers_.size() >= around_->limits.watchers_max)
    return fail({errc::overloaded, "too many watchers on this node", {}, 0, 1000});
  watcher w;
  w.filter = std::move(wish.filter);
  w.sink = std::move(wish.sink);
  w.credit = wish.credit;
  w.cursor = heads_;
  if (wish.from_start) {
    w.cursor.assign(heads_.size(), 0);
  } else if (!wish.after.empty()) {
    auto place = parse_cursor(around_->log, heads_, wish.after);
    if (!place)
      return fail(place.error());
    w.cursor = std::move(*place);
  }
  auto id = id_prefix_ + std::to_string(next_id_++);
  if (sinks_[w.sink.address()]++ == 0)
    self_->monitor(w.sink);
  watch_started started{id, render_cursor(around_->log, w.cursor)};
  auto [it, fresh] = watchers_.emplace(std::move(id), std::move(w));
  around_->watchers.store(watchers_.size(), std::memory_order_relaxed);
  catch_up(it->first, it->second);
  return started;
}

void feed_state::more(const std::string& id, std::uint32_t credit) {
  auto it = watchers_.find(id);
  if (it == watchers_.end())
    return;
  if (credit == 0) {
    drop(it);
    return;
  }
  constexpr std::uint32_t credit_max = 1 << 20;
  it->second.credit = std::min(credit_max, it->second.credit + std::min(credit, credit_max));
  catch_up(it->first, it->second);
}

void feed_state::again(const std::string& id) {
  auto it = watchers_.find(id);
  if (it == watchers_.end())
    return;
  it->second.reading = false;
  catch_up(it->first, it->second);
}

void feed_state::drop(watchers::iterator it) {
  const auto sink = it->second.sink.address();
  if (auto known = sinks_.find(sink); known != sinks_.end() && --known->second == 0) {
    self_->demonitor(sink);
    sinks_.erase(known);
  }
  watchers_.erase(it);
  around_->watchers.store(watchers_.size(), std::memory_order_relaxed);
}

void feed_state::follow(const caf::actor& follower) {
  self_->monitor(follower);
  followers_.push_back(follower);
}

void feed_state::wait(wait_for& wish, caf::typed_response_promise<reply<bool>> promise) {
  const auto id = next_id_++;
  by_topic_[wish.topic].push_back(id);
  by_end_.emplace(wish.until, id);
  waits_.emplace(id, waiting{std::move(wish.topic), wish.until, std::move(promise)});
  look_again();
}

void feed_state::wake(const std::string& topic) {
  const auto found = by_topic_.find(topic);
  if (found == by_topic_.end())
    return;
  const auto ids = std::move(found->second);
  by_topic_.erase(found);
  for (const auto id : ids)
    if (const auto it = waits_.find(id); it != waits_.end()) {
      by_end_.erase({it->second.until, id});
      it->second.promise.deliver(reply<bool>{true});
      waits_.erase(it);
    }
}

void feed_state::missed() {
  for (const auto& f : followers_)
    self_->send(f, facts_missed{});
  while (!by_topic_.empty())
    wake(std::string(by_topic_.begin()->first));
}

void feed_state::wait_over() {
  looking_ = false;
  const auto now = around_->clock();
  while (!by_end_.empty() && by_end_.begin()->first <= now) {
    const auto it = waits_.find(by_end_.begin()->second);
    by_end_.erase(by_end_.begin());
    auto& same = by_topic_[it->second.topic];
    std::erase(same, it->first);
    if (same.empty())
      by_topic_.erase(it->second.topic);
    it->second.promise.deliver(reply<bool>{false});
    waits_.erase(it);
  }
  look_again();
}

void feed_state::look_again() {
  if (looking_ || by_end_.empty())
    return;
  looking_ = true;
  // New waits end later, as a rule; those that do not are a little late.
  constexpr time_us_t look_us_max = 100'000;
  const auto wait =
    std::clamp<time_us_t>(by_end_.begin()->first - around_->clock(), 0, look_us_max);
  self_->delayed_send(self_, std::chrono::microseconds(wait), tidy_atom::value);
}

void feed_state::gone(const caf::actor_addr& sink) {
  std::erase_if(followers_, [&](const auto& f) { return f.address() == sink; });
  std::erase_if(watchers_, [&](const auto& each) { return each.second.sink.address() == sink; });
  sinks_.erase(sink);
  around_->watchers.store(watchers_.size(), std::memory_order_relaxed);
}

std::string feed_state::render(const watch_filter& filter, std::span<const shared_fact> facts,
                               position_t after) const {
  std::string list;
  for (const auto& f : facts) {
    if (f->at.position <= after || f->blanked || !filter.matches(f->at.stream))
      continue;
    list += list.empty() ? "" : ",";
    list += render_fact(*f);
  }
  return list;
}

/// Hands facts over, if there are any, with the cursor that the watcher has reached.
void feed_state::push(const std::string& id, watcher& w, const std::string& facts) {
  if (facts.empty())
    return;
  json::object_writer batch;
  batch.str("cursor", render_cursor(around_->log, w.cursor)).raw("facts", "[" + facts + "]");
  --w.credit;
  self_->send(w.sink, id, std::move(batch).done());
}

void feed_state::publish(const std::shared_ptr<const batch>& shared) {
  const auto& committed = *shared;
  for (const auto& f : followers_)
    self_->send(f, published{shared});
  if (!by_topic_.empty())
    for (const auto& f : committed.facts) {
      wake(f->at.stream.bytes());
      if (f->at.stream.kind() != stream_kind::session && f->at.stream.kind() != stream_kind::scope)
        wake(topic_of(f->at.stream.kind(), f->at.stream.parts().front()));
    }
  // Facts of one shard are in order, but those of several may take turns.
  const auto shard_of = [&](const shared_fact& f) {
    return static_cast<storage::shard_t>(f->at.stream_no % heads_.size());
  };
  if (heads_.size() == 1) {
    publish_shard(0, committed.facts);
    return;
  }
  if (watchers_.empty()) {
    for (const auto& f : committed.facts) {
      auto& head = heads_[shard_of(f)];
      head = std::max(head, f->at.position);
    }
    return;
  }
  std::map<storage::shard_t, std::vector<shared_fact>> by_shard;
  for (const auto& f : committed.facts)
    by_shard[shard_of(f)].push_back(f);
  for (const auto& [shard, facts] : by_shard)
    publish_shard(shard, facts);
}

void feed_state::publish_shard(storage::shard_t shard, std::span<const shared_fact> facts) {
  const auto before = facts.front()->at.position - 1;
  const auto head = facts.back()->at.position;
  if (head <= heads_[shard])
    return;  // Read from the log already.
  // What is missing between was committed by another journal, or by a commit that was given up for
  // lost: it is in the log, where everybody who waits for it is sent now.
  const bool gap = before > heads_[shard];
  heads_[shard] = head;
  // Many watchers want the same: rendered once.
  std::map<std::pair<std::uint8_t, std::string_view>, std::string> rendered;
  for (auto& [id, w] : watchers_) {
    auto& cursor = w.cursor[shard];
    if (w.credit == 0 || w.reading || cursor >= head)
      continue;  // Behind: reads on when it has credit. Or ahead of this message already.
    if (gap || cursor < before) {
      catch_up(id, w);
    } else if (cursor == before) {
      auto [text, fresh] = rendered.try_emplace({w.filter.kind, w.filter.parts});
      if (fresh)
        text->second = render(w.filter, facts, before);
      cursor = head;
      push(id, w, text->second);
    } else {
      const auto rest = render(w.filter, facts, cursor);
      cursor = head;
      push(id, w, rest);
    }
  }
}

void feed_state::catch_up(const std::string& id, watcher& w) {
  if (w.reading || w.credit == 0)
    return;
  const auto behind = std::mismatch(heads_.begin(), heads_.end(), w.cursor.begin(),
                                    [](position_t head, position_t at) { return at >= head; });
  if (behind.first == heads_.end())
    return;
  const auto shard = static_cast<storage::shard_t>(behind.first - heads_.begin());
  w.reading = true;
  const auto& readers = around_->readers;
  const auto& reader = readers[std::hash<std::string>{}(id) % readers.size()];
  self_->request(reader, caf::infinite, read_log{shard, w.cursor[shard], stretch})
    .then(
      [this, id, shard](reply<read_log_answer>& r) {
        auto it = watchers_.find(id);
        if (it == watchers_.end())
          return;
        if (r.value) {
          read(id, shard, *r.value);
          return;
        }
        const auto& e = r.value.error();
        if (e.code == errc::unavailable) {
          // A watcher cannot ask again: it only waits. So ask for it, a little later.
          self_->delayed_send(self_, retry_after, tick_atom::value, id);
          return;
        }
        around_->fatal("the feed cannot read the log: " + e.message);
      },
      [this, id](const caf::error&) {
        if (auto it = watchers_.find(id); it != watchers_.end())
          drop(it);
      });
}

void feed_state::read(const std::string& id, storage::shard_t shard, read_log_answer& answer) {
  auto& w = watchers_.at(id);
  w.reading = false;
  const auto facts = render(w.filter, answer.facts, w.cursor[shard]);
  w.cursor[shard] = std::max(w.cursor[shard], answer.through);
  push(id, w, facts);
  catch_up(id, w);
}

caf::behavior feed(caf::stateful_actor<feed_state>* self, surroundings_ptr around,
                   log_place heads) {
  self->state.start(self, std::move(around), std::move(heads));
  auto& s = self->state;
  return {
    [&s](published& p) { s.publish(p.committed); },
    [&s](const follow_feed& f) { s.follow(f.follower); },
    [&s](const facts_missed&) { s.missed(); },
    [self](wait_for& wish) {
      auto promise = self->make_response_promise<reply<bool>>();
      self->state.wait(wish, promise);
      return promise;
    },
    [&s](tidy_atom) { s.wait_over(); },
    [&s](start_watch& wish) { return reply<watch_started>{s.begin(wish)}; },
    [&s](const more_credit& m) { s.more(m.watch, m.credit); },
    [&s](tick_atom, const std::string& id) { s.again(id); },
  };
}

}  // namespace recalld::actors

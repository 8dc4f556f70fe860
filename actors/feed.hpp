#pragma once

#include "actors/cursor.hpp"
#include "actors/surroundings.hpp"

#include <caf/stateful_actor.hpp>

#include <map>
#include <set>
#include <unordered_map>

namespace recalld::actors {

/// One fact as watchers see it.
std::string render_fact(const recorded& r);

/// Tells watchers what was committed. Who keeps up and has credit is told at once; everybody else
/// reads on from the log at his own pace. Nothing is ever buffered for a slow watcher.
class feed_state {
public:
  static constexpr const char* name = "feed";

  void start(caf::stateful_actor<feed_state>* self, surroundings_ptr around, log_place heads);

  result<watch_started> begin(start_watch& wish);
  void more(const std::string& id, std::uint32_t credit);
  /// The log could not be read for a watcher a moment ago.
  void again(const std::string& id);
  void publish(const std::shared_ptr<const batch>& committed);
  void follow(const caf::actor& follower);
  /// Whoever waits looks again, whoever follows reads again.
  void missed();
  void wait(wait_for& wish, caf::typed_response_promise<reply<bool>> promise);
  /// The time of waits may have come.
  void wait_over();
  void gone(const caf::actor_addr& sink);

private:
  struct watcher {
    watch_filter filter;
    caf::actor sink;
    log_place cursor;
    std::uint32_t credit = 0;
    bool reading = false;  ///< A stretch of the log was asked for and not answered yet.
  };
  using watchers = std::unordered_map<std::string, watcher>;

  struct waiting {
    std::string topic;
    time_us_t until = 0;
    caf::typed_response_promise<reply<bool>> promise;
  };
  void wake(const std::string& topic);
  void look_again();

  void catch_up(const std::string& id, watcher& w);
  void read(const std::string& id, storage::shard_t shard, read_log_answer& answer);
  void publish_shard(storage::shard_t shard, std::span<const shared_fact> facts);
  void push(const std::string& id, watcher& w, const std::string& facts);
  void drop(watchers::iterator it);
  std::string render(const watch_filter& filter, std::span<const shared_fact> facts,
                     position_t after) const;

  caf::stateful_actor<feed_state>* self_ = nullptr;
  surroundings_ptr around_;
  watchers watchers_;
  std::map<caf::actor_addr, std::size_t> sinks_;  ///< How many watches each has.
  log_place heads_;
  std::uint64_t next_id_ = 1;
  std::string id_prefix_;
  std::vector<caf::actor> followers_;
  std::unordered_map<std::uint64_t, waiting> waits_;
  std::unordered_map<std::string, std::vector<std::uint64_t>> by_topic_;
  std::set<std::pair<time_us_t, std::uint64_t>> by_end_;
  bool looking_ = false;  ///< A message to look for waits whose time has come is on its way.
};

caf::behavior feed(caf::stateful_actor<feed_state>* self, surroundings_ptr around, log_place heads);

}  // namespace recalld::actors

#pragma once

#include "actors/open_requests.hpp"
#include "actors/surroundings.hpp"

#include <caf/stateful_actor.hpp>

#include <queue>
#include <tuple>
#include <unordered_map>

namespace recalld::actors {

/// Owns the deadlines of everything that waits: approvals, questions, schedules, leases. At its
/// start it arms what the `agenda` rows say of the next hour, in order, and later of the hours that
/// follow; besides it follows what is published. When a
/// deadline comes, the stream gets a `fall_due`, which decides by its own state, so that a deadline
/// may come late, twice or for nothing. One heap, one timer. Holds nothing that is not in the log:
/// when it dies the node starts another one.
class supervisor_state {
public:
  static constexpr const char* name = "supervisor";

  void start(caf::stateful_actor<supervisor_state>* self, surroundings_ptr around);
  /// Takes over what commits did to the agenda.
  void follow(const batch& committed);
  void tick(std::uint64_t turn);

private:
  using key = std::pair<std::string, std::string>;  ///< Bytes of the stream id, item.
  struct key_hash {
    std::size_t operator()(const key& k) const noexcept {
      return std::hash<std::string>{}(k.first) * 31 + std::hash<std::string>{}(k.second);
    }
  };
  /// Earliest first; one whose number is not the key's any more is ignored.
  using deadline = std::tuple<time_us_t, std::uint64_t, key>;
  struct armed {
    time_us_t at = 0;
    std::uint64_t number = 0;
  };

  /// Arms what comes due until `horizon_`, behind a place in the agenda.
  void load(std::vector<projections::value> after);
  void arm(const std::string& stream, const std::string& item, time_us_t at);
  void disarm(const std::string& stream, const std::string& item);
  void fall(const key& whose, time_us_t at);
  void schedule();
  void look_ahead();
  void apply(const projections::change& c, const envelope& at);

  caf::stateful_actor<supervisor_state>* self_ = nullptr;
  surroundings_ptr around_;
  open_requests asked_;
  std::unordered_map<key, armed, key_hash> armed_;
  std::priority_queue<deadline, std::vector<deadline>, std::greater<>> heap_;
  std::uint64_t numbers_ = 0;
  std::uint64_t turn_ = 0;  ///< Of the timer; ticks of earlier ones are ignored.
  time_us_t wakes_at_ = 0;  ///< When the timer goes off; 0 = there is none.
  bool loading_ = false;
  time_us_t horizon_ = 0;  ///< Deadlines up to here are armed; later ones are rows only.
  std::size_t falling_ = 0;
};

caf::behavior supervisor(caf::stateful_actor<supervisor_state>* self, surroundings_ptr around);

}  // namespace recalld::actors

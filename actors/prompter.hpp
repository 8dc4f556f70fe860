#pragma once

#include "actors/open_requests.hpp"
#include "actors/surroundings.hpp"

#include <caf/stateful_actor.hpp>

#include <deque>
#include <optional>
#include <unordered_map>

namespace recalld::actors {

/// Notices which sessions are due for a summary by their application's triggers, and says so to the
/// stream of the session's summaries, which makes the job; and tells that stream when the session has
/// ended. It follows what is published, and once a second it looks for sessions that have been idle long
/// enough. At its start it looks at every session of the applications that have triggers, and at every
/// session that has summaries, so that nothing is lost when a node dies between an append and the job
/// for it. Holds nothing that is not in the log: when it dies the node starts another one.
class prompter_state {
public:
  static constexpr const char* name = "prompter";

  void start(caf::stateful_actor<prompter_state>* self, surroundings_ptr around);
  void follow(const batch& committed);
  void tick();

private:
  /// What is known of a session that is not due yet.
  struct tally {
    version_t life = 0;
    version_t version = 0;      ///< Entries up to this version of the session are counted.
    std::uint64_t covered = 0;  ///< Entries that the summary covers.
    std::uint64_t entries = 0;
    std::uint64_t tokens = 0;
    bool asked = false;  ///< A job was made; nothing more is to be done until it has ended.
  };
  /// One session on its way through the questions that a check asks.
  struct check {
    stream_id session;
    summary::triggers triggers;
    bool idle = false;  ///< Look whether it is idle as well.
    tally counted;
    version_t after = 0;
    stream_view view;
  };
  using check_ptr = std::shared_ptr<check>;
  using rows_t = std::vector<projections::row>;

  const summary::triggers* triggers_of(const stream_id& session) const;
  void configured(const stream_id& of_app, const summary::triggers& t);
  void load_triggers(std::vector<projections::value> after);
  void entry(const recorded& r);
  /// Looks at a session soon.
  void look_at(const stream_id& session, bool idle);
  void work();
  void begin(const check_ptr& c);
  void covered(const check_ptr& c, const rows_t& rows);
  void count_tokens(const check_ptr& c);
  void judge(const check_ptr& c);
  void end(const check_ptr& c);
  void prompt(const stream_id& session, const tally& t, std::string_view why);

  /// Sessions of an application whose last write lies before `until` and not before `since`.
  void scan(const stream_id& of_app, time_us_t since, time_us_t until,
            std::vector<projections::value> after);
  void sweep(std::vector<projections::value> after);
  void ended(const stream_id& session, version_t at);

  void ask_rows(projections::row_query query, std::function<void(const rows_t&)> then);

  caf::stateful_actor<prompter_state>* self_ = nullptr;
  surroundings_ptr around_;
  open_requests asked_;
  /// By the stream of the application's triggers.
  struct application {
    summary::triggers triggers;
    time_us_t scanned = 0;  ///< Sessions last written to before this were looked at for idleness.
    bool scanning = false;
    bool again = false;  ///< Configured anew meanwhile: from the start once more.
  };
  std::unordered_map<stream_id, application> applications_;
  std::unordered_map<stream_id, tally> known_;
  std::deque<stream_id> waiting_;
  std::unordered_map<stream_id, bool> queued_;  ///< Those in `waiting_`; whether to look if idle.
  /// Under way; set: to be looked at once more, and whether to look if idle.
  std::unordered_map<stream_id, std::optional<bool>> checking_;
};

caf::behavior prompter(caf::stateful_actor<prompter_state>* self, surroundings_ptr around);

}  // namespace recalld::actors

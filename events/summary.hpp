#pragma once

#include <map>
#include <variant>

#include "events/aggregate.hpp"
#include "events/due.hpp"

/// What a conversation was about so far, and the work of writing that down. One stream per session,
/// beside the session's own, so that a summary neither raises the session's version nor refreshes its
/// time to live; and one stream per application, which holds when its sessions are due.
///
/// A summary belongs to a filter key, a path such as `root/search`; `""` is the whole session. Each has
/// at most one open job:
///
///   want ─► due ─claim─► claimed ─store─► done        (due again while entries it wants are left)
///            ▲             ├──fail──────► resting ─pause over─► due      failed: no attempt is left
///            └─lease over──┘
///
/// The job of a branch is followed by that of the whole session.
namespace recalld::summary {

enum class job_status : std::uint8_t { due = 0, claimed, resting, done, failed };
std::string_view to_string(job_status s) noexcept;
std::optional<job_status> job_status_of(std::string_view word) noexcept;

struct content {
  std::string text;
  std::vector<std::string> topics;
  version_t through = 0;      ///< Covers the session's entries up to this version of it.
  std::uint64_t ordinal = 0;  ///< How many entries of the session's life that are.
  std::string entry;          ///< Id of the last of them; may be empty.
  std::string made_by;        ///< A worker or a model; may be empty.
  friend bool operator==(const content&, const content&) = default;
};

struct kept {
  summary::content content;
  time_us_t stored_at = 0;
  version_t version = 0;  ///< Of the fact that stored it.
  friend bool operator==(const kept&, const kept&) = default;
};

/// A job that has not ended.
struct job {
  job_status status = job_status::due;
  std::string why;          ///< `entries`, `tokens`, `idle`, `forced`, `branch` or `rest`.
  std::uint64_t until = 0;  ///< It has to cover so many entries.
  std::uint64_t attempt = 0;
  std::string worker;
  version_t fence = 0;    ///< Version of the claim; grows with each.
  time_us_t ends_at = 0;  ///< Of the lease, or of the pause; 0 = none.
  friend bool operator==(const job&, const job&) = default;
};

/// When a session of an application is due. Zero = never for this reason.
struct triggers {
  std::uint64_t entries = 0;  ///< More entries than this since the last summary.
  std::uint64_t tokens = 0;   ///< Their estimated tokens are more than this, see `tokens_in`.
  std::uint64_t idle_s = 0;   ///< Nothing was written for so long, and there are new entries.
  bool any() const noexcept { return entries != 0 || tokens != 0 || idle_s != 0; }
  friend bool operator==(const triggers&, const triggers&) = default;
};

struct state {
  version_t life = 0;   ///< The session's `created_version` that all this belongs to; 0 = none yet.
  version_t ended = 0;  ///< Lives of the session that began before this version are over.
  std::map<std::string, kept, std::less<>> summaries;  ///< By filter key.
  std::map<std::string, job, std::less<>> jobs;        ///< By filter key.
  summary::triggers triggers;                          ///< Of an application's stream only.
  friend bool operator==(const state&, const state&) = default;
};

inline constexpr std::size_t text_bytes_max = 256 * 1024;
inline constexpr std::size_t topics_max = 100;
inline constexpr std::size_t filter_keys_max = 256;  ///< Of one session.
inline constexpr std::uint64_t attempts_max = 8;
/// After the first failed attempt; each further pause is twice as long.
inline constexpr time_us_t pause_us = 10'000'000;
inline constexpr time_us_t pause_us_max = 3'600'000'000;

// -- pure rules that readers share --

/// Whether what is under one filter key is seen under the other: one is the other's ancestor by `/`
/// parts, or both are the same. `""` is the ancestor of all.
bool matches(std::string_view a, std::string_view b) noexcept;
/// At most 512 bytes of UTF-8 without NUL; `""` is one.
result<void> check_filter_key(std::string_view key, std::string_view field);
/// An estimate, since nobody knows the model's words: one token for four bytes of an entry's JSON,
/// rounded up.
constexpr std::uint64_t tokens_in(std::size_t bytes) noexcept { return (bytes + 3) / 4; }
/// Why a session is due; empty = it is not. `pending` entries with `tokens` are not summarised, and the
/// last write is `idle_us` ago.
std::string_view why_due(const triggers& t, std::uint64_t pending, std::uint64_t tokens,
                         time_us_t idle_us) noexcept;

// -- commands --

/// `stale` when what is there covers more.
struct store {
  version_t life = 0;  ///< The session's `created_version`.
  std::string filter_key;
  summary::content content;
  version_t fence = 0;  ///< Ends the job that was claimed with it; 0 = of nobody's job.
};
/// A summary shall be made. Nothing happens when there is one that covers `until`, or a job that will.
struct want {
  version_t life = 0;
  std::string filter_key;
  std::string why;
  std::uint64_t until = 0;
};
struct claim {
  std::string filter_key;
  std::string worker;
  time_us_t lease_us = 0;
};
struct extend {
  std::string filter_key;
  version_t fence = 0;
  time_us_t lease_us = 0;
};
/// The attempt has failed.
struct give_up {
  std::string filter_key;
  version_t fence = 0;
  std::string failure;    ///< Raw JSON.
  time_us_t wait_us = 0;  ///< Not before so long; there is a pause at any rate.
};
/// There turned out to be nothing to summarise.
struct settle {
  std::string filter_key;
  version_t fence = 0;
};
/// The session's lives that began before `ended` are over: all that belongs to them goes.
struct clear {
  version_t ended = 0;
};
struct configure {
  summary::triggers triggers;
};
using command =
  std::variant<store, want, claim, extend, give_up, settle, clear, configure, fall_due>;

// -- facts --

struct stored {
  version_t life = 0;
  std::string filter_key;
  summary::content content;
  friend bool operator==(const stored&, const stored&) = default;
};
/// Everything before it is forgotten.
struct cleared {
  version_t ended = 0;
  friend bool operator==(const cleared&, const cleared&) = default;
};
struct configured {
  summary::triggers triggers;
  friend bool operator==(const configured&, const configured&) = default;
};
struct job_due {
  version_t life = 0;
  std::string filter_key;
  std::string why;
  std::uint64_t until = 0;
  friend bool operator==(const job_due&, const job_due&) = default;
};
/// An open job has to cover more.
struct job_raised {
  std::string filter_key;
  std::uint64_t until = 0;
  friend bool operator==(const job_raised&, const job_raised&) = default;
};
struct job_claimed {
  std::string filter_key;
  std::string worker;
  std::uint64_t attempt = 0;
  time_us_t lease_until = 0;
  friend bool operator==(const job_claimed&, const job_claimed&) = default;
};
struct job_extended {
  std::string filter_key;
  time_us_t lease_until = 0;
  friend bool operator==(const job_extended&, const job_extended&) = default;
};
/// An attempt has failed, or its lease was over.
struct job_failed {
  std::string filter_key;
  job_status status = job_status::due;  ///< From now on: `due`, `resting` or `failed`.
  time_us_t again_at = 0;               ///< When a resting job is due again.
  std::string failure;                  ///< Raw JSON.
  friend bool operator==(const job_failed&, const job_failed&) = default;
};
/// The pause is over: due again.
struct job_released {
  std::string filter_key;
  friend bool operator==(const job_released&, const job_released&) = default;
};
struct job_done {
  std::string filter_key;
  friend bool operator==(const job_done&, const job_done&) = default;
};
using fact = std::variant<stored, cleared, configured, job_due, job_raised, job_claimed,
                          job_extended, job_failed, job_released, job_done>;

struct aggregate : plain_aggregate<state, command, fact> {
  static constexpr stream_kind kind = stream_kind::summary;

  static result<decision> decide(const state& s, const command& c, const context& ctx,
                                 const stream_id& self);
  static void evolve(state& s, const fact& f, const envelope& at);
  static std::optional<base_mark> base_of(const fact& f, version_t version);
  static std::size_t footprint(const state& s) noexcept;
  static const codec::format<aggregate>& stored_as();
};

/// Of one session.
stream_id stream_of(std::string_view tenant, std::string_view app, std::string_view user,
                    std::string_view session);
/// Of an application: when its sessions are due.
stream_id stream_of(std::string_view tenant, std::string_view app);

}  // namespace recalld::summary

#pragma once

#include "events/aggregates.hpp"
#include "events/memory_filter.hpp"
#include "events/result.hpp"
#include "events/window.hpp"
#include "projections/table.hpp"
#include "storage/replay.hpp"
#include "storage/store.hpp"

#include <caf/actor.hpp>
#include <caf/allowed_unsafe_message_type.hpp>
#include <caf/atom.hpp>
#include <caf/fwd.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

/// Every message that actors of one node send each other; the map of `actors/`.
///
///   gateway ──submit, view──► directory ──► aggregate_actor ──append──► journal ──published──► feed
///      │                          ▲                │                        └──foreign──► directory
///      └──read──► reader ◄────────┼──wake, lookup──┘                 timers ──submit──► directory
///
/// | actor           | what it does                                                              |
/// |-----------------|---------------------------------------------------------------------------|
/// | gateway         | checks a request, admits it, runs the operation's handler, answers          |
/// | directory       | finds, wakes, parks and passivates the one actor of each stream             |
/// | aggregate_actor | one stream's state; decides, appends, evolves; answers views                |
/// | journal         | detached; gathers appends into commits on the one writing connection        |
/// | reader          | detached; windows, rows, old versions, over a connection that only reads    |
/// | searcher        | detached; finds memories and entries, keeps the indexes searched last     |
/// | feed            | pushes committed facts to watchers at the head, the others catch up         |
/// | supervisor      | arms the deadlines of everything that waits, and tells streams when they come |
/// | delivery        | hands work to one actor as it comes, by claiming it for it                  |
/// | prompter        | notices which sessions are due for a summary, and which have ended            |
/// | lease_keeper    | detached; keeps the lease of a log that other nodes can reach                |
/// | timers          | one heap of deadlines: passivation, expiry of sessions, sweeping            |
/// | projector       | rebuilds tables beside the live ones, a stretch between two commits         |
///
/// All of them are internal to a node. Only `gateway_protocol.hpp` crosses processes.
namespace recalld::actors {

/// An answer with a typed reason instead of a CAF error.
template <class T>
struct reply {
  result<T> value;
};

// -- to an aggregate, by way of the directory --

/// A wish with all that deciding may know.
struct submit {
  stream_id stream;
  std::shared_ptr<const any_command> command;
  std::string command_id;  ///< Empty: the caller gave none.
  std::uint64_t body_hash = 0;
  std::optional<version_t> expected;
  retention policy{};
  time_us_t now = 0;
  entropy random{};
};

/// A fact as the log holds it, shared by everybody who reads it.
using shared_fact = std::shared_ptr<const recorded>;

/// What a command led to. Without facts nothing had to change: `version` is the present one.
struct committed {
  version_t first_version = 0;  ///< 0 = no facts.
  version_t version = 0;
  position_t position = 0;  ///< 0 = no facts.
  time_us_t time = 0;
  bool duplicate = false;  ///< Answered with the receipt of an earlier execution.
  /// Facts of the command's own stream, as recorded. Blanked ones of an old duplicate are left out.
  std::vector<shared_fact> facts;
  /// Versions of facts that existed before under keys of this command (entry ids seen again).
  std::map<std::string, version_t, std::less<>> known;
};

struct view {
  stream_id stream;
  std::size_t newest =
    0;  ///< So many of the newest entries are wanted too, in `tail`, if there is room.
};

struct stream_view {
  stream_id stream;
  stream_no_t stream_no = 0;  ///< 0 = the stream never had a fact.
  version_t version = 0;
  time_us_t time = 0;
  any_state state;
  /// The newest facts of the entries lane; every entry above `tail_after` is here, oldest first.
  std::vector<shared_fact> tail;
  version_t tail_after = 0;
};

/// Facts that another stream's command recorded in this stream.
struct foreign_recorded {
  stream_id stream;
  std::vector<shared_fact> facts;
};

/// Directory to aggregate: stop when all that came before is done. Answered with `parked`.
struct passivate {};
struct parked {
  stream_id stream;
};

// -- to the journal --

struct append {
  storage::append_unit unit;
};
/// What became of it: the receipts of its parts and their facts, or why it was refused.
struct appended {
  std::vector<storage::committed_part> parts;
  std::vector<shared_fact> facts;  ///< Of all parts, in order.
  std::optional<storage::refusal> refused;
};

/// A stretch of a rebuild, between two commits. Answered with `reply<bool>`: whether more is left.
struct rebuild_step {
  std::shared_ptr<storage::rebuild> work;
};

// -- to the projector --

/// Write the rows of these tables again from the log, beside the live ones, while commits go on.
struct rebuild_tables {
  std::vector<const projections::table*> tables;
};
struct rebuilt {
  std::uint64_t facts = 0;
  time_us_t took_us = 0;
};

// -- to a reader --

/// State of a stream at a version (`at` = 0: newest), from a snapshot and what follows it.
struct wake {
  stream_id stream;
  version_t at = 0;
};
/// Where the newest state comes from: everything that `aggregate_actor` starts with.
struct woken {
  stream_no_t stream_no = 0;
  version_t version = 0;
  time_us_t time = 0;
  any_state state;
  std::size_t since_snapshot = 0;  ///< Facts behind the snapshot it came from.
};
/// The receipt row of a command, with the facts it led to.
struct find_receipt {
  stream_id stream;
  std::string command_id;
};
struct found_receipt {
  projections::row row;  ///< Empty: there is none.
  std::vector<shared_fact> facts;
};
/// Versions by key, in the stream itself and in those it borrows from.
struct find_keys {
  stream_id stream;
  std::vector<borrowed_range> borrowed;
  std::vector<std::string> keys;
};
using found_keys = std::map<std::string, version_t, std::less<>>;
struct cut_window {
  session::window window;
  stream_view view;
};
struct read_keys {
  stream_view view;
  std::string prefix;
  std::string after;
  std::size_t limit = 0;
};
struct read_rows {
  projections::row_query query;
};
/// A stretch of the log for a watcher that catches up, or for a rebuild.
struct read_log {
  storage::shard_t shard = 0;
  position_t after = 0;
  std::size_t limit = 0;
};
struct read_log_answer {
  std::vector<shared_fact> facts;  ///< Without what is forgotten.
  position_t through = 0;
  position_t head = 0;
};
/// The newest facts of the entries lane, oldest first.
struct read_tail {
  stream_view view;
  std::size_t limit = 0;
};
/// Where to begin to forget: the version before the first entry that retention still shows.
struct find_trim {
  stream_view view;
};
struct found_trim {
  version_t through = 0;  ///< 0 = nothing to forget.
  any_state at;
};

// -- to the searcher --

struct search_memories {
  stream_id owner;
  std::string query;
  memory_space::filter filter{};
  std::size_t skip = 0;
  std::size_t limit = 0;
  double min_score = 0;
  std::string vector{};  ///< Of the question, as `retrieval::quantised` makes it; empty: words only.
};
struct found_memory {
  double score = 0;      ///< 0 < score <= 1, see `retrieval::hit`.
  projections::row row;  ///< Of `memories`.
};
struct found_memories {
  version_t version = 0;  ///< Of the owner's stream; 0 = there never was a memory.
  std::vector<found_memory> hits;
  bool more = false;
};

/// Of one session, as viewed.
struct search_entries {
  stream_view view;
  std::string query;
  std::optional<time_us_t> since;
  std::optional<time_us_t> until;
  std::size_t skip = 0;
  std::size_t limit = 0;
  double min_score = 0;
};
struct found_entry {
  double score = 0;
  session::recorded_entry entry;
};
struct found_entries {
  version_t version = 0;
  std::vector<found_entry> hits;
  bool more = false;
};

// -- to the embedder of questions --

struct embed_question {
  std::string text;
  std::chrono::steady_clock::time_point asked_at;
};

// -- from the timers, and from an actor to itself --

using tick_atom = caf::atom_constant<caf::atom("tick")>;    ///< Some time has passed.
using tidy_atom = caf::atom_constant<caf::atom("tidy")>;    ///< Do a little of the idle work.
using flush_atom = caf::atom_constant<caf::atom("flush")>;  ///< Commit what has gathered.
using leave_atom = caf::atom_constant<caf::atom("leave")>;  ///< Let go of everything.

// -- to the feed --

/// The facts of one commit; those of one shard in position order.
struct batch {
  std::vector<shared_fact> facts;
};
struct published {
  std::shared_ptr<const batch> committed;
};
/// Which streams a watcher wants to hear of.
struct watch_filter {
  std::uint8_t kind = 0;  ///< Number of a `stream_kind`; 0 = all.
  std::string parts;      ///< Leading key parts, encoded as in `stream_id`; at least the tenant.
  bool matches(const stream_id& stream) const;
};
struct start_watch {
  watch_filter filter;
  std::string after;        ///< A cursor; empty: only what comes from now on.
  bool from_start = false;  ///< Everything that is in the log, then what comes.
  std::uint32_t credit = 0;
  caf::actor sink;  ///< Gets `(watch id, batch)`, see `gateway_protocol.hpp`.
};
struct watch_started {
  std::string id;
  std::string cursor;
};
/// Whoever sends this gets every `published` and `facts_missed` from now on, until it ends.
struct follow_feed {
  caf::actor follower;
};
/// To the feed, and from it to its followers: what became of an earlier commit was not known when it
/// was answered, so that facts may have been committed that were never published.
struct facts_missed {};
/// Answered with `reply<bool>`, once: true when the next fact of the topic was committed, false at
/// `until`. Whatever is committed after this was sent counts.
struct wait_for {
  std::string topic;  ///< See `topic_of`.
  time_us_t until = 0;
};
/// One stream, or all streams of a kind that a tenant has.
std::string topic_of(const stream_id& stream);
std::string topic_of(stream_kind kind, std::string_view tenant);

/// More batches may be sent; 0 ends the watch.
struct more_credit {
  std::string watch;
  std::uint32_t credit = 0;
};

}  // namespace recalld::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::submit)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::view)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::stream_view)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::foreign_recorded)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::passivate)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::parked)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::append)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::rebuild_step)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::rebuild_tables)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::wake)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::find_receipt)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::find_keys)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::cut_window)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::read_tail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::read_keys)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::read_rows)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::read_log)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::find_trim)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::search_memories)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::search_entries)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::embed_question)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::published)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::follow_feed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::facts_missed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::wait_for)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::start_watch)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(recalld::actors::more_credit)

namespace caf {
template <class T>
struct allowed_unsafe_message_type<recalld::actors::reply<T>> : std::true_type {};
}  // namespace caf

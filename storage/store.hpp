#pragma once

#include "events/aggregates.hpp"
#include "events/codec.hpp"
#include "projections/table.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

/// The one door to the disk. A store knows streams, facts, shards and rows of tables that are
/// described as data; it has never heard of sessions or approvals.
///
/// Every store behaves as `tests/storage/store_contract.cpp` says, sentence by sentence.
namespace recalld::storage {

using shard_t = std::uint32_t;

/// Shards that may be written to, each with the epoch under which it was taken.
using shard_rights = std::map<shard_t, epoch_t>;

/// Which log this is. A cache or cursor of another log, or of another generation (raised when an
/// earlier state was restored), is worthless.
struct log_identity {
  std::string log_id;  ///< UUID, made when the log was created.
  std::uint64_t generation = 1;
  std::string cursor_key{};  ///< Signs cursors; a secret, made with the log.
  friend bool operator==(const log_identity& a, const log_identity& b) noexcept {
    return a.log_id == b.log_id && a.generation == b.generation;
  }
};

// -- writing --

/// Facts that go to one stream, in order.
struct stream_append {
  stream_id stream;
  /// The stream must be at this version; absent: whatever version it is at. A stream that does not
  /// exist is at version 0, unless its first fact sets a base `through`, then it is at that version.
  std::optional<version_t> expected;
  std::vector<any_fact> facts;
  /// The facts as text, made beforehand to spare the writing thread; empty: the store makes it.
  /// Only allowed together with `expected`.
  std::vector<codec::encoded> encoded{};
};

/// What one command led to: all of it is committed or nothing. The command id belongs to the
/// first part's stream.
struct append_unit {
  std::vector<stream_append> parts;
  std::string command;  ///< Empty: the caller gave none, no receipt is kept.
  std::uint64_t body_hash = 0;
  time_us_t time = 0;  ///< Raised to the time of the stream's last fact if it lies before.
};

/// One committed part.
struct committed_part {
  stream_no_t stream_no = 0;
  version_t first_version = 0;  ///< Version of the part's first fact.
  version_t last_version = 0;
  position_t position = 0;  ///< Position of its last fact; they are contiguous.
  time_us_t time = 0;
};

/// Why a unit was left out of an otherwise good commit.
struct refusal {
  enum class reason : std::uint8_t {
    wrong_version,      ///< `current_version` of the part's stream is another than expected.
    duplicate_command,  ///< The command has a receipt already: `receipt`.
    key_taken,          ///< A fact's key exists in its stream: `key`.
  };
  reason why{};
  std::size_t part = 0;
  version_t current_version = 0;
  projections::row receipt{};  ///< Row of `receipts`.
  std::string key{};
};

/// Per unit: its parts' receipts with the facts as recorded, or why not.
struct unit_outcome {
  std::vector<committed_part> parts;
  std::vector<recorded> facts;  ///< All facts of all parts, as they stand in the log now.
  std::optional<refusal> refused;
};

/// Which receipts are not needed any more.
struct receipt_age {
  time_us_t before = 0;        ///< Those of commands before this time.
  time_us_t brief_before = 0;  ///< Where the aggregate has `brief_receipts`; at least `before`.

  receipt_age(time_us_t all) : receipt_age(all, all) {}
  receipt_age(time_us_t all, time_us_t brief) : before(all), brief_before(std::max(all, brief)) {}
  time_us_t before_in(bool brief) const noexcept { return brief ? brief_before : before; }
  /// When a stream's debt is due whose oldest receipt that is still needed is of `time`: in terms of
  /// `before`, by which debts are looked for, and behind 0, which is at once. When the distance of
  /// the two ages changes, debts from before are looked at early, or late by as much.
  time_us_t debt_due(time_us_t time, bool brief) const noexcept {
    return std::max<time_us_t>(1, time - (before_in(brief) - before));
  }
};

/// What one call of `log_writer::sweep` did.
struct sweep_report {
  std::uint64_t blanked = 0;  ///< Facts whose payload was forgotten by this call.
  std::uint64_t merged = 0;   ///< Blanked rows that became part of a range.
  bool more = false;          ///< Work is left.
};

/// A connection that writes; it is used by one thread at a time (it may move between threads). Those
/// of one store know of each other and may be used at the same time. A log that another process holds
/// is `unavailable`, where that can be known at the opening.
///
/// After `corrupt`, and after `outcome_unknown` unless `resolves_unknown`, the object must not be
/// used again: nobody knows what is on the disk. `fenced` says that a higher epoch exists. Other
/// errors leave the log as it was.
class log_writer {
public:
  virtual ~log_writer() = default;

  virtual log_identity identity() const = 0;
  virtual std::vector<shard_t> shards() const = 0;
  /// The shard that a stream belongs to.
  virtual shard_t shard_of(const stream_id& stream) const = 0;

  /// Takes shards: their epochs grow by one, and whoever wrote under the old ones is fenced.
  virtual result<shard_rights> take(std::span<const shard_t> shards) = 0;
  result<shard_rights> take_all() { return take(shards()); }
  result<epoch_t> take_shard(shard_t shard) {
    return take({&shard, 1}).map([&](const shard_rights& r) { return r.at(shard); });
  }

  /// Commits many units with one durable write. One outcome per unit, in order; a refused unit
  /// leaves no trace and does not harm its neighbours. Each unit sees those before it. Facts,
  /// positions and projected rows become visible together. When this returns a value, everything
  /// that was not refused is on stable storage. `rights` name every shard that the units touch,
  /// and may name more. Facts that a fact makes forgotten (an aggregate's `forgets`) are blanked with
  /// it, but for those of the entries lane; their keys are free for later commits.
  virtual result<std::vector<unit_outcome>> commit(const shard_rights& rights,
                                                   std::span<const append_unit> units) = 0;
  result<std::vector<unit_outcome>> commit(shard_t shard, epoch_t epoch,
                                           std::span<const append_unit> units) {
    return commit({{shard, epoch}}, units);
  }

  /// True: after `outcome_unknown` the writer goes on to find out by itself. Until it knows it
  /// answers `unavailable`; then it goes on from what the log really holds.
  virtual bool resolves_unknown() const noexcept { return false; }

  /// Forgets what bases allow to forget, in small transactions: payloads of facts at or below a
  /// stream's base go at once; blanked rows whose receipts are not needed any more (no command, or
  /// an old one) are merged into ranges together with their receipts. Facts that a fork still borrows
  /// stay. At most about `budget` facts a call.
  virtual result<sweep_report> sweep(const shard_rights& rights, const receipt_age& receipts,
                                     std::size_t budget) = 0;
  result<sweep_report> sweep(shard_t shard, epoch_t epoch, const receipt_age& receipts,
                             std::size_t budget) {
    return sweep({{shard, epoch}}, receipts, budget);
  }

  /// Does what is due and better done behind the answers of a commit than before them. Who never
  /// calls it has it done within commits, later.
  virtual void relieve() {}

  /// Writes buffered log pages to their place when the writer is idle; never needed for durability.
  /// Afterwards what was forgotten is in no file of the store; `unavailable` when a reader still
  /// sees the state before it.
  virtual result<void> checkpoint() = 0;

  // -- rebuilding projections beside the live rows --

  /// As long as the result lives, the other writers of the store commit nothing.
  virtual std::shared_ptr<void> quiet() { return {}; }

  /// Tables whose stored version differs from the program's, or that do not exist.
  virtual result<std::vector<const projections::table*>> outdated_tables() = 0;
  /// Creates empty shadows of these tables, dropping older shadows. Until the swap nothing of the
  /// log is swept (`sweep` finds nothing to do), so that a rebuild may take its time.
  virtual result<void> begin_shadow(std::span<const projections::table* const> tables) = 0;
  /// Applies changes to the shadows; changes of other tables are ignored.
  virtual result<void> apply_to_shadow(std::vector<projections::change> changes) = 0;
  /// Puts the shadows in place of the live tables and records the tables' versions, atomically.
  virtual result<void> swap_shadow() = 0;
};

// -- reading --

/// Where a stream stands.
struct stream_position {
  stream_no_t stream_no = 0;
  version_t head = 0;
  version_t base = 0;       ///< Facts up to here are forgotten or borrowed.
  version_t base_fact = 0;  ///< Version of the fact that carries the state at `base`; 0 = none.
  friend bool operator==(const stream_position&, const stream_position&) = default;
};

/// A stretch of positions whose facts are gone for good.
struct blank_range {
  position_t first = 0;
  position_t last = 0;
  friend bool operator==(const blank_range&, const blank_range&) = default;
};

/// A stretch of the log. Facts and ranges together cover `after + 1 … through` without a gap.
struct log_page {
  std::vector<recorded> facts;
  std::vector<blank_range> blanks;
  position_t through = 0;  ///< Equals `after` at the end of the log.
};

using projections::row_query;

/// Read access. One thread at a time an object; any number of objects. Sees every commit that was
/// acknowledged before the call, unless `begin_snapshot` froze the view.
class log_reader {
public:
  virtual ~log_reader() = default;

  virtual log_identity identity() const = 0;

  /// `not_found` when the stream never had a fact.
  virtual result<stream_position> find_stream(const stream_id& stream) = 0;
  /// The stream behind a number; `not_found`.
  virtual result<stream_id> stream_of(stream_no_t stream_no) = 0;

  /// Facts of one lane with version < `before`, newest first. Blanked facts are left out.
  virtual result<std::vector<recorded>> lane_back(stream_no_t stream, lane l, version_t before,
                                                  std::size_t limit) = 0;
  /// Facts of one lane with version > `after`, oldest first. Blanked facts are left out.
  virtual result<std::vector<recorded>> lane_forth(stream_no_t stream, lane l, version_t after,
                                                   std::size_t limit) = 0;
  /// Facts of all lanes with version > `after`, in order. Blanked facts are marked.
  virtual result<std::vector<recorded>> stream_forth(stream_no_t stream, version_t after,
                                                     std::size_t limit) = 0;
  /// The fact with this key; absent when there is none.
  virtual result<std::optional<recorded>> by_key(stream_no_t stream, std::string_view key) = 0;
  /// Facts outside of the entries lane whose key begins with `prefix` and lies behind `after`
  /// (empty: from the start), in key order (bytes).
  virtual result<std::vector<recorded>> by_key_prefix(stream_no_t stream, std::string_view prefix,
                                                      std::string_view after,
                                                      std::size_t limit) = 0;
  /// The smallest version in a lane whose time is >= `t`; 0 = none. Logarithmic.
  virtual result<version_t> first_since(stream_no_t stream, lane l, time_us_t t) = 0;

  /// Position of the shard's last fact.
  virtual result<position_t> head(shard_t shard) = 0;
  /// The same of every shard of the log, as of one moment.
  virtual result<std::vector<position_t>> heads() {
    return head(0).map([](position_t at) { return std::vector<position_t>{at}; });
  }
  /// The shard's log from `after` on, about `limit` facts. A gap is `corrupt`.
  virtual result<log_page> scan(shard_t shard, position_t after, std::size_t limit) = 0;
  /// Streams with a base, by number, for replays: about `limit` with number > `after`.
  virtual result<std::vector<stream_position>> based_streams(shard_t shard, stream_no_t after,
                                                             std::size_t limit) = 0;

  virtual result<std::vector<projections::row>> rows(const row_query& query) = 0;

  /// Freezes the view until `end_snapshot`, so that log and rows belong together.
  virtual result<void> begin_snapshot() = 0;
  virtual result<void> end_snapshot() = 0;
};

/// Of a log that several nodes can reach, which of them serves it. The lease is what nodes agree by;
/// epochs are what protects the log from one that did not notice the end of its lease.
class log_lease {
public:
  virtual ~log_lease() = default;

  struct standing {
    bool ours = false;
    std::string holder;  ///< Name of the node that has it.
    std::chrono::milliseconds left{};
  };
  /// Takes the lease if it is free or over, prolongs it if it is ours; otherwise tells who has it.
  /// Time is the database's. `unavailable`: it cannot be asked; what was ours may still be.
  virtual result<standing> hold(std::chrono::milliseconds length) = 0;
  /// Lets it go at once, if it is ours.
  virtual result<void> release() = 0;
};

/// An opened log: writers, any number of readers.
class store {
public:
  virtual ~store() = default;
  virtual log_writer& writer() = 0;
  /// All of them; each for one thread at a time. The first is `writer()`.
  virtual std::vector<log_writer*> writers() { return {&writer()}; }
  /// The lease of this store's log, for a node of this name; null: the log needs none, because it
  /// can only be opened once.
  virtual result<std::unique_ptr<log_lease>> open_lease(const std::string& /*holder*/) {
    return std::unique_ptr<log_lease>{};
  }
  /// A reader of its own, for one more thread.
  virtual result<std::unique_ptr<log_reader>> open_reader() = 0;
};

}  // namespace recalld::storage

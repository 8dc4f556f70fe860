#pragma once

#include "storage/row_set.hpp"
#include "storage/store.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

/// Reading a log from its beginning: to fold it, to rebuild projection tables, to check them.
namespace recalld::storage {

struct replay_progress {
  /// Places of the log that were delivered, and that it had when it was last looked at; over all
  /// shards.
  position_t through = 0;
  position_t head = 0;
  std::uint64_t facts = 0;    ///< Delivered whole.
  std::uint64_t blanked = 0;  ///< Delivered blanked, or skipped as part of a range.
};

/// Takes what a replay delivers. References are valid during the call.
class replay_target {
public:
  virtual ~replay_target() = default;
  /// The history of a stream begins with the state inside this fact; `at` is the fact's envelope
  /// with the version at which the state stands, and without a command. Comes before everything
  /// else of the stream.
  virtual void base(const envelope& at, const any_fact& fact) = 0;
  virtual void fact(const recorded& r, const any_fact& fact) = 0;
  /// A fact that was forgotten, or lies at or below the base of its stream: it only counts.
  virtual void blanked(const recorded& r) = 0;
};

/// Walks a log in replay order, one shard after the other, page by page, over a reader that is used by
/// nobody else meanwhile. The bases of streams are those of the moment of `start`; facts that were whole then
/// must not be forgotten before they are reached (freeze the reader, or begin a shadow).
class replayer {
public:
  explicit replayer(log_reader& log);
  ~replayer();
  replayer(replayer&&) noexcept;
  replayer& operator=(replayer&&) noexcept;

  /// From now on a thread of its own reads some pages ahead of what is delivered, also between two
  /// steps; nothing else may use the reader until the walk is over or destroyed. It ends where the
  /// log ended at the first step.
  void read_ahead() noexcept { read_ahead_ = true; }

  /// Reads the bases and delivers the states that they carry.
  result<void> start(replay_target& target);
  /// Delivers about `facts` facts more; false when the end of the log was reached. A stream whose
  /// versions do not follow each other is `corrupt`.
  result<bool> step(replay_target& target, std::size_t facts);

  const replay_progress& progress() const noexcept { return progress_; }
  std::size_t streams() const noexcept { return streams_.size(); }

private:
  struct stream {
    version_t base = 0;
    version_t last = 0;
    time_us_t time = 0;
  };
  struct shard_walk {
    position_t through = 0;
    position_t head = 0;
  };
  result<void> look_at_heads();
  result<void> start_shard(shard_t shard, replay_target& target);
  result<log_page> next_page(std::size_t facts);
  result<void> deliver(const recorded& r, replay_target& target);
  result<void> check_order(const recorded& r, stream& s) const;

  log_reader* log_;
  std::vector<shard_walk> shards_;
  shard_t at_ = 0;  ///< The shard that is being walked.
  bool read_ahead_ = false;
  class pages_ahead;
  std::unique_ptr<pages_ahead> ahead_;
  replay_progress progress_;
  std::unordered_map<stream_no_t, stream> streams_;
};

/// Freezes a reader's view as long as the object lives.
class frozen_view {
public:
  explicit frozen_view(log_reader& reader) : reader_(reader), frozen_(reader.begin_snapshot()) {}
  ~frozen_view() {
    if (frozen_)
      static_cast<void>(reader_.end_snapshot());
  }
  frozen_view(const frozen_view&) = delete;
  frozen_view& operator=(const frozen_view&) = delete;
  /// Or why it could not be frozen.
  const result<void>& frozen() const noexcept { return frozen_; }

private:
  log_reader& reader_;
  result<void> frozen_;
};

/// The projected rows of what was replayed.
class row_fold final : public replay_target {
public:
  void base(const envelope& at, const any_fact& fact) override;
  void fact(const recorded& r, const any_fact& fact) override;
  void blanked(const recorded& r) override;
  const row_set& rows() const noexcept { return rows_; }

private:
  void apply();
  row_set rows_;
  std::vector<projections::change> changes_;
};

/// Rebuilds projection tables beside the live ones and swaps them in. In one go with `run`, or step
/// by step between live commits, in the writer's turn.
class rebuild {
public:
  /// Both are used by nobody else while a step runs. `tables` must be among `projections::tables()`.
  rebuild(log_writer& writer, log_reader& reader, std::vector<const projections::table*> tables);

  /// One step over about `facts` facts. The first one begins the shadows; the one that reaches the
  /// end of the log swaps them in and gives false: it is over.
  result<bool> step(std::size_t facts);
  result<void> run();
  const replay_progress& progress() const noexcept { return replayer_.progress(); }

private:
  class shadow final : public replay_target {
  public:
    void base(const envelope& at, const any_fact& fact) override;
    void fact(const recorded& r, const any_fact& fact) override;
    void blanked(const recorded& r) override;
    std::vector<projections::change> changes;
  };

  log_writer* writer_;
  std::vector<const projections::table*> tables_;
  replayer replayer_;
  shadow shadow_;
  bool begun_ = false;
};

/// A cell that is not what the log says, or a row too many or too few (`column` is empty).
struct row_difference {
  std::string table;
  projections::row key;
  std::string column;
  std::string expected;  ///< What the log folds to; empty: no such row.
  std::string found;     ///< What the table holds; empty: no such row.
};

struct verify_report {
  replay_progress progress;
  std::uint64_t streams = 0;
  struct table_count {
    std::string table;
    std::uint64_t expected = 0;
    std::uint64_t found = 0;
    std::uint64_t different = 0;  ///< Cells that differ, and rows that only one side has.
  };
  std::vector<table_count> tables;
  std::uint64_t different = 0;              ///< Sum over the tables.
  std::vector<row_difference> differences;  ///< The first of them.

  bool good() const noexcept { return different == 0; }
};

struct verify_options {
  std::size_t differences_max = 20;
  std::size_t page = 512;
  /// Called now and then; false ends the check with `unavailable`.
  std::function<bool(const replay_progress&)> progress{};
};

/// Folds the whole log and compares every row of every projection table with the fold, in one frozen
/// view of the reader. `corrupt` when the log itself is not dense, or cannot be read.
result<verify_report> verify(log_reader& reader, const verify_options& options = {});

/// Compares rows with those of a reader; used by `verify`.
result<void> compare_rows(const row_set& expected, log_reader& reader, std::size_t differences_max,
                          verify_report& report);

}  // namespace recalld::storage

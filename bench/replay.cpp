#include "storage/replay.hpp"
#include "bench/bare_sqlite.hpp"
#include "bench/workload.hpp"
#include "events/fold.hpp"
#include "projections/projections.hpp"
#include "storage/sqlite_store.hpp"

#include <stdexcept>

namespace recalld::bench {

namespace {

/// Folds every stream to its state.
class state_fold final : public storage::replay_target {
public:
  void base(const envelope&, const any_fact&) override {}
  void fact(const recorded& r, const any_fact& fact) override {
    if (const auto* f = std::get_if<session::fact>(&fact))
      session::aggregate::evolve(sessions_[r.at.stream_no], *f, r.at);
  }
  void blanked(const recorded&) override {}
  std::size_t streams() const { return sessions_.size(); }

private:
  std::unordered_map<stream_no_t, session::state> sessions_;
};

template <class T>
T must(result<T> r) {
  if (!r)
    throw std::runtime_error(r.error().message);
  if constexpr (!std::is_void_v<T>)
    return std::move(*r);
}

/// With command ids every fact has a receipt, which is a row of its own to write.
void measure(const plan& p, bool command_ids) {
  const std::string receipts = command_ids ? ".receipts" : "";
  if (!p.wants("replay", "replay.rebuild" + receipts)
      && (command_ids || !p.wants("replay", "replay.fold")))
    return;
  const std::size_t sessions = 1'000;
  const std::size_t facts = p.quick ? 20'000 : 500'000;
  const scratch place(p);
  const auto log = place.path() / "log";
  {
    log_filler fill(log, command_ids);
    for (std::size_t s = 0; s < sessions; ++s)
      fill.create(s);
    for (std::size_t n = sessions; n < facts; ++n) {
      if (n % 10 == 0)
        fill.set_state(n % sessions, "key" + std::to_string(n % 7), std::to_string(n));
      else
        fill.append(n % sessions);
    }
    fill.finish();
  }
  const auto rate = [&](const stopwatch& watch) {
    return static_cast<double>(facts) / watch.seconds();
  };
  std::vector<double> scanned, folded, rebuilt, bare_scanned, bare_rebuilt;
  for (std::size_t round = 0; round < p.repetitions(); ++round) {
    {
      storage::sqlite_options options;
      options.directory = log;
      auto store = must(storage::open_sqlite(options));
      auto reader = must(store->open_reader());
      {
        const stopwatch watch;
        position_t after = 0;
        for (;;) {
          const auto page = must(reader->scan(0, after, 4'096));
          if (page.through == after)
            break;
          after = page.through;
        }
        scanned.push_back(rate(watch));
      }
      {
        const stopwatch watch;
        storage::replayer walk(*reader);
        state_fold states;
        must(walk.start(states));
        while (must(walk.step(states, 4'096))) {
        }
        folded.push_back(rate(watch));
      }
      {
        must(store->writer().take_shard(0));
        const auto tables = projections::tables();
        const stopwatch watch;
        storage::rebuild again(store->writer(), *reader, {tables.begin(), tables.end()});
        must(again.run());
        rebuilt.push_back(rate(watch));
      }
    }
    auto bare = bare_sqlite::open(log, true);
    const stopwatch watch;
    bare.scan();
    bare_scanned.push_back(rate(watch));
    bare.copy_projections();
    bare_rebuilt.push_back(rate(watch));
    bare.checkpoint();
  }
  if (!command_ids) {
    print("replay.scan", median(scanned), "facts/s", median(bare_scanned));
    print("replay.fold", median(folded), "facts/s", median(bare_scanned));
  }
  print("replay.rebuild" + receipts, median(rebuilt), "facts/s", median(bare_rebuilt));
}

}  // namespace

void replay(const plan& p) {
  measure(p, false);
  measure(p, true);
}

}  // namespace recalld::bench

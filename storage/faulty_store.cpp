#include "storage/faulty_store.hpp"

#include <mutex>

namespace recalld::storage {

namespace {

/// splitmix64 (Steele, Lea, Flood): the same numbers everywhere.
std::uint64_t next_random(std::uint64_t& state) noexcept {
  state += 0x9e3779b97f4a7c15ull;
  auto z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

/// Deals out the faults of a plan. Shared by the writer and all readers.
class dealer {
public:
  explicit dealer(fault_plan plan)
    : plan_(std::move(plan)), commits_(plan_.seed), reads_(~plan_.seed) {}

  void at(std::string_view place) const {
    if (plan_.hook)
      plan_.hook(place);
  }

  fault of_commit() {
    const std::lock_guard held(lock_);
    const auto planned = plan_.commits.find(++count_);
    auto roll = next_random(commits_) % 1000;
    if (planned != plan_.commits.end())
      return planned->second;
    for (const auto& [chance, what] : {std::pair{plan_.refused, fault::refused},
                                       {plan_.unknown_committed, fault::unknown_committed},
                                       {plan_.unknown_lost, fault::unknown_lost},
                                       {plan_.fenced, fault::fenced}}) {
      if (roll < chance)
        return what;
      roll -= chance;
    }
    return fault::none;
  }

  bool read_refused() {
    const std::lock_guard held(lock_);
    return next_random(reads_) % 1000 < plan_.reads_refused;
  }

private:
  const fault_plan plan_;
  std::mutex lock_;
  std::uint64_t commits_;
  std::uint64_t reads_;
  std::uint64_t count_ = 0;
};

class faulty_writer final : public log_writer {
public:
  faulty_writer(log_writer& inner, std::shared_ptr<dealer> faults)
    : inner_(inner), faults_(std::move(faults)) {}

  log_identity identity() const override { return inner_.identity(); }
  std::vector<shard_t> shards() const override { return inner_.shards(); }
  shard_t shard_of(const stream_id& stream) const override { return inner_.shard_of(stream); }

  result<shard_rights> take(std::span<const shard_t> shards) override {
    if (dead_)
      return fail(*dead_);
    return inner_.take(shards);
  }

  result<std::vector<unit_outcome>> commit(const shard_rights& rights,
                                           std::span<const append_unit> units) override {
    if (dead_)
      return fail(*dead_);
    faults_->at("commit");
    switch (faults_->of_commit()) {
      case fault::none: break;
      case fault::refused: return fail(errc::unavailable, "planned: the disk is full");
      case fault::fenced: return fail(errc::fenced, "planned: another node has the shard");
      case fault::unknown_lost: return die();
      case fault::unknown_committed:
        if (auto done = inner_.commit(rights, units); !done)
          return done;
        return die();
    }
    auto out = inner_.commit(rights, units);
    faults_->at("committed");
    return out;
  }

  result<sweep_report> sweep(const shard_rights& rights, const receipt_age& receipts,
                             std::size_t budget) override {
    if (dead_)
      return fail(*dead_);
    faults_->at("sweep");
    return inner_.sweep(rights, receipts, budget);
  }

  void relieve() override {
    if (!dead_)
      inner_.relieve();
  }

  result<void> checkpoint() override {
    if (dead_)
      return fail(*dead_);
    faults_->at("checkpoint");
    return inner_.checkpoint();
  }

  result<std::vector<const projections::table*>> outdated_tables() override {
    if (dead_)
      return fail(*dead_);
    return inner_.outdated_tables();
  }
  result<void> begin_shadow(std::span<const projections::table* const> tables) override {
    if (dead_)
      return fail(*dead_);
    return inner_.begin_shadow(tables);
  }
  result<void> apply_to_shadow(std::vector<projections::change> changes) override {
    if (dead_)
      return fail(*dead_);
    return inner_.apply_to_shadow(std::move(changes));
  }
  result<void> swap_shadow() override {
    if (dead_)
      return fail(*dead_);
    return inner_.swap_shadow();
  }

private:
  tl::unexpected<error> die() {
    dead_ = error{errc::outcome_unknown, "planned: the sync failed"};
    return fail(*dead_);
  }

  log_writer& inner_;
  std::shared_ptr<dealer> faults_;
  std::optional<error> dead_;
};

class faulty_reader final : public log_reader {
public:
  faulty_reader(std::unique_ptr<log_reader> inner, std::shared_ptr<dealer> faults)
    : inner_(std::move(inner)), faults_(std::move(faults)) {}

  log_identity identity() const override { return inner_->identity(); }
  result<stream_position> find_stream(const stream_id& stream) override {
    return read([&] { return inner_->find_stream(stream); });
  }
  result<stream_id> stream_of(stream_no_t stream_no) override {
    return read([&] { return inner_->stream_of(stream_no); });
  }
  result<std::vector<recorded>> lane_back(stream_no_t stream, lane l, version_t before,
                                          std::size_t limit) override {
    return read([&] { return inner_->lane_back(stream, l, before, limit); });
  }
  result<std::vector<recorded>> lane_forth(stream_no_t stream, lane l, version_t after,
                                           std::size_t limit) override {
    return read([&] { return inner_->lane_forth(stream, l, after, limit); });
  }
  result<std::vector<recorded>> stream_forth(stream_no_t stream, version_t after,
                                             std::size_t limit) override {
    return read([&] { return inner_->stream_forth(stream, after, limit); });
  }
  result<std::optional<recorded>> by_key(stream_no_t stream, std::string_view key) override {
    return read([&] { return inner_->by_key(stream, key); });
  }
  result<std::vector<recorded>> by_key_prefix(stream_no_t stream, std::string_view prefix,
                                              std::string_view after, std::size_t limit) override {
    return read([&] { return inner_->by_key_prefix(stream, prefix, after, limit); });
  }
  result<version_t> first_since(stream_no_t stream, lane l, time_us_t t) override {
    return read([&] { return inner_->first_since(stream, l, t); });
  }
  result<position_t> head(shard_t shard) override {
    return read([&] { return inner_->head(shard); });
  }
  result<log_page> scan(shard_t shard, position_t after, std::size_t limit) override {
    return read([&] { return inner_->scan(shard, after, limit); });
  }
  result<std::vector<stream_position>> based_streams(shard_t shard, stream_no_t after,
                                                     std::size_t limit) override {
    return read([&] { return inner_->based_streams(shard, after, limit); });
  }
  result<std::vector<projections::row>> rows(const projections::row_query& query) override {
    return read([&] { return inner_->rows(query); });
  }
  result<void> begin_snapshot() override {
    return read([&] { return inner_->begin_snapshot(); });
  }
  result<void> end_snapshot() override { return inner_->end_snapshot(); }

private:
  template <class F>
  auto read(F&& f) -> decltype(f()) {
    faults_->at("read");
    if (faults_->read_refused())
      return fail(errc::unavailable, "planned: the disk cannot be read now");
    return f();
  }

  std::unique_ptr<log_reader> inner_;
  std::shared_ptr<dealer> faults_;
};

class faulty_store final : public store {
public:
  faulty_store(std::unique_ptr<store> inner, fault_plan plan)
    : inner_(std::move(inner)),
      faults_(std::make_shared<dealer>(std::move(plan))),
      writer_(inner_->writer(), faults_) {}

  log_writer& writer() override { return writer_; }
  result<std::unique_ptr<log_reader>> open_reader() override {
    auto reader = inner_->open_reader();
    if (!reader)
      return reader;
    return std::make_unique<faulty_reader>(std::move(*reader), faults_);
  }

private:
  std::unique_ptr<store> inner_;
  std::shared_ptr<dealer> faults_;
  faulty_writer writer_;
};

}  // namespace

std::unique_ptr<store> make_faulty(std::unique_ptr<store> inner, fault_plan plan) {
  return std::make_unique<faulty_store>(std::move(inner), std::move(plan));
}

}  // namespace recalld::storage

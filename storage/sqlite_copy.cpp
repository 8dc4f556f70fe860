#include "storage/copy_state.hpp"
#include "storage/log_copy.hpp"
#include "storage/process_lock.hpp"
#include "storage/sqlite_log.hpp"
#include "storage/sqlite_schema.hpp"

#include <unordered_map>

namespace recalld::storage {

namespace sqlite {

namespace {

namespace fs = std::filesystem;

class target final : public copy_target {
public:
  explicit target(const sqlite_options& options) : options_(options) { open(); }

  result<std::vector<position_t>> begin(const log_identity& source, std::size_t shards) override {
    return guarded([&]() -> result<std::vector<position_t>> {
      if (const auto noted = meta("copying"); !noted.empty()) {
        const auto known = copy_state::parse(noted);
        if (!known)
          return fail(errc::corrupt, "the unfinished copy does not say what it is of");
        if (auto fine = known->fits(source, shards); !fine)
          return fail(fine.error());
        state_ = *known;
        return state_.through;
      }
      if (db_->number("SELECT count(*) FROM streams") != 0)
        return fail(errc::conflict,
                    "there is a log in " + options_.directory.string() + " already");
      state_ = {source.log_id, std::vector<position_t>(shards, 0)};
      transaction change(*db_);
      set_meta("log_id", source.log_id);
      set_meta("copying", state_.text());
      change.commit();
      return state_.through;
    });
  }

  result<void> add(shard_t shard, position_t through, std::vector<recorded> facts) override {
    return guarded([&]() -> result<void> {
      transaction change(*db_);
      auto head = static_cast<position_t>(db_->number("SELECT head FROM shards WHERE shard = 0"));
      for (auto& f : facts) {
        f.at.position = ++head;
        f.at.stream_no = number_of(f.at.stream_no, f.at.stream);
        bind_fact(insert_, f);
        insert_.run();
      }
      db_->exec("UPDATE shards SET head = " + std::to_string(head));
      state_.through[shard] = through;
      set_meta("copying", state_.text());
      change.commit();
      return {};
    });
  }

  result<void> settle(std::vector<copied_stream> streams) override {
    return guarded([&]() -> result<void> {
      transaction change(*db_);
      auto base = db_->prepare("UPDATE streams SET base = ?2, base_fact = ?3, merged = CASE WHEN "
                               "(SELECT max(version) FROM "
                               "log WHERE stream = ?1) >= ?4 THEN 0 ELSE ?4 END WHERE no = ?1");
      auto borrow = db_->prepare("INSERT OR REPLACE INTO borrows VALUES(?, ?, ?)");
      auto owe = db_->prepare("INSERT OR REPLACE INTO sweep_debt VALUES(?, 0)");
      for (const auto& s : streams) {
        const auto no = number_of(s.at.stream_no, s.stream);
        base.integer(1, no).integer(2, s.at.base).integer(3, s.at.base_fact).integer(4, s.at.head);
        base.run();
        for (const auto& b : s.borrows)
          if (const auto source = finder_->find(b.stream))
            borrow.integer(1, no).integer(2, source->at.stream_no).integer(3, b.through).run();
        owe.integer(1, no).run();
      }
      change.commit();
      return {};
    });
  }

  result<std::unique_ptr<store>> open_unfinished() override {
    close();
    auto options = options_;
    options.unfinished = true;
    return open_sqlite(options);
  }

  result<log_identity> finish(std::uint64_t after) override {
    return guarded([&]() -> result<log_identity> {
      if (!db_)
        open();
      transaction change(*db_);
      db_->exec("UPDATE meta SET value = " + std::to_string(next_generation(after))
                + " WHERE name = 'generation'");
      db_->exec("DELETE FROM meta WHERE name = 'copying'");
      change.commit();
      auto identity = read_identity(*db_);
      close();
      return identity;
    });
  }

private:
  void open() {
    std::error_code ec;
    fs::create_directories(options_.directory, ec);
    if (ec)
      refuse(errc::unavailable, "cannot make " + options_.directory.string() + ": " + ec.message());
    lock_ = std::make_unique<process_lock>(options_.directory / "recalld.lock");
    db_.emplace(options_.directory / "recalld.db", connection::mode::write, options_.busy_ms,
                options_.writer_cache_bytes);
    create_or_migrate(*db_);
    finder_.emplace(*db_);
    insert_ = db_->prepare(insert_fact_sql());
  }
  /// Everything that a store needs for itself.
  void close() {
    insert_ = {};
    finder_.reset();
    db_.reset();
    lock_.reset();
  }

  std::string meta(std::string_view name) const {
    auto s = db_->prepare("SELECT value FROM meta WHERE name = ?");
    s.text(1, name);
    const reset_on_exit done(s);
    return s.step() ? std::string(s.view_at(0)) : std::string();
  }
  void set_meta(std::string_view name, std::string_view value) {
    db_->prepare("INSERT OR REPLACE INTO meta VALUES(?, ?)").text(1, name).text(2, value).run();
  }

  /// The number here of a stream that has another one in the source.
  stream_no_t number_of(stream_no_t there, const stream_id& id) {
    auto& here = numbers_[there];
    if (here != 0)
      return here;
    if (const auto known = finder_->find(id))
      return here = known->at.stream_no;
    here = static_cast<stream_no_t>(db_->number("SELECT coalesce(max(no), 0) + 1 FROM streams"));
    db_->prepare("INSERT INTO streams(no, shard, id, sum) VALUES(?, 0, ?, ?)")
      .integer(1, here)
      .blob(2, id.bytes())
      .integer(3, stream_sum(here, id.bytes()))
      .run();
    return here;
  }

  sqlite_options options_;
  std::unique_ptr<process_lock> lock_;
  std::optional<connection> db_;
  std::optional<stream_finder> finder_;
  statement insert_;
  copy_state state_;
  std::unordered_map<stream_no_t, stream_no_t> numbers_;
};

}  // namespace

}  // namespace sqlite

result<std::unique_ptr<copy_target>> copy_into_sqlite(const sqlite_options& options) {
  return sqlite::guarded([&]() -> result<std::unique_ptr<copy_target>> {
    return std::make_unique<sqlite::target>(options);
  });
}

}  // namespace recalld::storage

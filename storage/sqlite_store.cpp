#include "storage/sqlite_store.hpp"

#include "storage/process_lock.hpp"
#include "storage/refusing_writer.hpp"
#include "storage/sqlite_reader.hpp"
#include "storage/sqlite_schema.hpp"
#include "storage/sqlite_writer.hpp"


namespace recalld::storage {

namespace {

namespace fs = std::filesystem;

class sqlite_store final : public store {
public:
  explicit sqlite_store(const sqlite_options& options)
    : options_(options), file_(options.directory / "recalld.db") {
    if (options_.read_only) {
      if (!fs::exists(file_))
        sqlite::refuse(errc::not_found, "there is no log in " + options_.directory.string());
      writer_ =
        std::make_unique<refusing_writer>(sqlite::reader::open(file_, options_)->identity());
      return;
    }
    std::error_code ec;
    fs::create_directories(options_.directory, ec);
    if (ec)
      sqlite::refuse(errc::unavailable,
                     "cannot make " + options_.directory.string() + ": " + ec.message());
    lock_ = std::make_unique<process_lock>(options_.directory / "recalld.lock");
    sqlite::connection db(file_, sqlite::connection::mode::write, options_.busy_ms,
                          options_.writer_cache_bytes);
    sqlite::create_or_migrate(db);
    check_head(db);
    writer_ = std::make_unique<sqlite::writer>(std::move(db), options_);
  }

  log_writer& writer() override { return *writer_; }

  result<std::unique_ptr<log_reader>> open_reader() override {
    return sqlite::guarded([&]() -> result<std::unique_ptr<log_reader>> {
      return sqlite::reader::open(file_, options_);
    });
  }

private:
  /// The log must end where its shard says; anything else means that bytes were lost.
  static void check_head(const sqlite::connection& db) {
    const auto head = db.number("SELECT head FROM shards WHERE shard = 0");
    const auto last = std::max(
      db.number("SELECT coalesce(max(position), 0) FROM log"),
      db.number("SELECT coalesce((SELECT last FROM blanks ORDER BY first DESC LIMIT 1), 0)"));
    if (head != last)
      sqlite::refuse(errc::corrupt, "the log ends at position " + std::to_string(last)
                                      + " instead of " + std::to_string(head));
  }

  sqlite_options options_;
  fs::path file_;
  std::unique_ptr<process_lock> lock_;
  std::unique_ptr<log_writer> writer_;
};

}  // namespace

result<std::unique_ptr<store>> open_sqlite(const sqlite_options& options) {
  return sqlite::guarded(
    [&]() -> result<std::unique_ptr<store>> { return std::make_unique<sqlite_store>(options); });
}

}  // namespace recalld::storage

#include "storage/sqlite_backup.hpp"

#include "storage/process_lock.hpp"
#include "storage/sqlite_vfs.hpp"
#include "storage/sqlite_connection.hpp"
#include "storage/sqlite_schema.hpp"

#include <cerrno>
#include <chrono>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

namespace recalld::storage {

namespace {

namespace fs = std::filesystem;

constexpr int busy_ms = 10'000;
constexpr std::uint64_t cache_bytes = 8 << 20;
constexpr int pages_a_step = 1024;

void sync(const fs::path& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC);
  const bool fine = fd >= 0 && ::fsync(fd) == 0;
  const int why = errno;
  if (fd >= 0)
    ::close(fd);
  if (!fine)
    sqlite::refuse(errc::unavailable, "cannot sync " + path.string() + ": " + std::strerror(why));
}

fs::path folder_of(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

/// Under its final name only when it is whole and on the disk.
void publish(const fs::path& partial, const fs::path& file) {
  sync(partial, O_RDWR);
  std::error_code ec;
  fs::rename(partial, file, ec);
  if (ec)
    sqlite::refuse(errc::unavailable, "cannot write " + file.string() + ": " + ec.message());
  sync(folder_of(file), O_RDONLY | O_DIRECTORY);
}

/// A file that is gone unless it was published.
class partial_file {
public:
  explicit partial_file(fs::path path) : path_(std::move(path)) { remove(); }
  ~partial_file() { remove(); }
  partial_file(const partial_file&) = delete;
  partial_file& operator=(const partial_file&) = delete;
  const fs::path& path() const noexcept { return path_; }

private:
  void remove() const noexcept {
    std::error_code ignored;
    for (const char* part : {"", "-wal", "-shm", "-journal"})
      fs::remove(fs::path(path_) += part, ignored);
  }
  fs::path path_;
};

/// Copies page by page what `from` sees, in one read transaction of it.
void copy(const sqlite::connection& from, const fs::path& to, const backup_progress& progress) {
  SQLite::Database target(to.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, 0,
                          sqlite::vfs_name());
  from.exec("BEGIN");
  from.number("SELECT count(*) FROM meta");  // from here on nothing changes for this connection
  auto* copying = sqlite3_backup_init(target.getHandle(), "main", from.handle(), "main");
  if (copying == nullptr)
    throw sqlite::failure_of(target.getHandle());
  int step = SQLITE_OK;
  while (step == SQLITE_OK) {
    step = sqlite3_backup_step(copying, pages_a_step);
    if (progress)
      progress(static_cast<std::uint64_t>(sqlite3_backup_pagecount(copying)
                                          - sqlite3_backup_remaining(copying)),
               static_cast<std::uint64_t>(sqlite3_backup_pagecount(copying)));
  }
  sqlite3_backup_finish(copying);
  from.exec("COMMIT");
  if (step != SQLITE_DONE)
    throw sqlite::failure_of(target.getHandle());
}

backup_report look_at(const sqlite::connection& db, const fs::path& file) {
  backup_report out;
  out.identity = sqlite::read_identity(db);
  out.head = static_cast<position_t>(db.number("SELECT head FROM shards WHERE shard = 0"));
  std::error_code ec;
  out.bytes = fs::file_size(file, ec);
  return out;
}

/// The generation of the log that is there; 0 = there is none that can be read.
std::uint64_t generation_there(const fs::path& log) {
  if (!fs::exists(log))
    return 0;
  const auto there = sqlite::guarded([&]() -> result<std::uint64_t> {
    const sqlite::connection db(log, sqlite::connection::mode::read, busy_ms, cache_bytes);
    return sqlite::read_identity(db).generation;
  });
  return there.value_or(0);
}

/// Moves the log that is there out of the way.
void set_aside(const fs::path& log) {
  // Its write-ahead log belongs to it: the last connection that closes leaves none behind.
  { const sqlite::connection db(log, sqlite::connection::mode::write, busy_ms, cache_bytes); }
  auto aside = log;
  aside += ".replaced";
  std::error_code ec;
  fs::rename(log, aside, ec);
  if (ec)
    sqlite::refuse(errc::unavailable, "cannot move " + log.string() + ": " + ec.message());
  for (const char* part : {"-wal", "-shm"})
    fs::rename(fs::path(log) += part, fs::path(aside) += part, ec);
}

}  // namespace

result<backup_report> back_up_sqlite(const fs::path& directory, const fs::path& file,
                                     const backup_progress& progress) {
  return sqlite::guarded([&]() -> result<backup_report> {
    const auto log = directory / "recalld.db";
    if (!fs::exists(log))
      return fail(errc::not_found, "there is no log in " + directory.string());
    if (fs::exists(file))
      return fail(errc::conflict, file.string() + " exists; a backup never overwrites");
    const partial_file partial(fs::path(file) += ".partial");
    const sqlite::connection db(log, sqlite::connection::mode::read, busy_ms, cache_bytes);
    sqlite::check_readable(db);
    try {
      copy(db, partial.path(), progress);
    } catch (const SQLite::Exception& e) {
      return fail(errc::unavailable, "cannot write " + file.string() + ": " + e.what());
    }
    backup_report out;
    {
      const sqlite::connection made(partial.path(), sqlite::connection::mode::write, busy_ms,
                                    cache_bytes);
      made.exec("PRAGMA journal_mode=DELETE");  // one file, which says everything by itself
      out = look_at(made, partial.path());
    }
    publish(partial.path(), file);
    return out;
  });
}

result<backup_report> restore_sqlite(const fs::path& file, const fs::path& directory, bool replace,
                                     const backup_progress& progress) {
  return sqlite::guarded([&]() -> result<backup_report> {
    if (!fs::is_regular_file(file))
      return fail(errc::not_found, "there is no backup " + file.string());
    std::error_code ec;
    fs::create_directories(directory, ec);
    if (ec)
      return fail(errc::unavailable, "cannot make " + directory.string() + ": " + ec.message());
    const process_lock lock(directory / "recalld.lock");
    const auto log = directory / "recalld.db";
    if (fs::exists(log) && !replace)
      return fail(errc::conflict, "there is a log in " + directory.string()
                                    + " already; name another place, or replace it");
    const partial_file partial(fs::path(log) += ".partial");
    {
      const sqlite::connection backup(file, sqlite::connection::mode::read_immutable, busy_ms,
                                      cache_bytes);
      sqlite::check_readable(backup);
      auto sound = backup.prepare("PRAGMA quick_check(1)");
      if (!sound.step() || sound.view_at(0) != "ok")
        return fail(errc::corrupt, file.string() + " is damaged: " + std::string(sound.view_at(0)));
      sound.reset();
      copy(backup, partial.path(), progress);
    }
    backup_report out;
    {
      const sqlite::connection made(partial.path(), sqlite::connection::mode::write, busy_ms,
                                    cache_bytes);
      const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(
        std::chrono::system_clock::now().time_since_epoch());
      const auto generation =
        std::max({sqlite::read_identity(made).generation + 1, generation_there(log) + 1,
                  static_cast<std::uint64_t>(seconds.count())});
      sqlite::transaction change(made);
      made.exec("UPDATE meta SET value = " + std::to_string(generation)
                + " WHERE name = 'generation'");
      change.commit();
      made.exec("PRAGMA journal_mode=DELETE");
      out = look_at(made, partial.path());
    }
    if (fs::exists(log))
      set_aside(log);
    publish(partial.path(), log);
    return out;
  });
}

}  // namespace recalld::storage

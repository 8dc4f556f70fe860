#include "storage/sqlite_vfs.hpp"

#include "storage/sqlite_connection.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <new>

namespace recalld::storage::sqlite {

namespace {

constexpr const char* our_name = "recalld";
constexpr std::size_t page_bytes_min = 512;
constexpr std::size_t page_bytes_max = 65'536;
/// A page that is no b-tree page begins with the number of another page, whose first byte is one of a
/// b-tree page's kinds only from page 2^25 on. Half of that: no checkpoint leaps over the rest.
constexpr std::int64_t pages_max = 1 << 24;
/// SQLite's file system for Unix takes no more than 2^17 - 1 bytes at once.
constexpr std::size_t gathered_max = 64 * 1024;

sqlite3_vfs* original = nullptr;

/// What is different about a file.
class habits {
public:
  virtual ~habits() = default;
  virtual int write(sqlite3_file* to, const void* data, int amount, sqlite3_int64 offset) = 0;
  /// Writes what was put off.
  virtual int settle(sqlite3_file*) { return SQLITE_OK; }
};

class clean_pages final : public habits {
public:
  /// `size`: of the file, in bytes.
  explicit clean_pages(std::int64_t size) noexcept : size_(size) {}

  int write(sqlite3_file* to, const void* data, int amount, sqlite3_int64 offset) override {
    const auto bytes = static_cast<std::size_t>(amount);
    size_ = std::max<std::int64_t>(size_, offset + amount);
    const std::span page(static_cast<const std::uint8_t*>(data), bytes);
    const auto room =
      size_ / std::max(amount, 1) < pages_max ? unused_room(page, offset) : std::nullopt;
    if (!room)
      return to->pMethods->xWrite(to, data, amount, offset);
    static thread_local std::array<std::uint8_t, page_bytes_max> clean;
    std::memcpy(clean.data(), data, bytes);
    std::memset(clean.data() + room->first, 0, room->size);
    return to->pMethods->xWrite(to, clean.data(), amount, offset);
  }

private:
  std::int64_t size_;  ///< At least.
};

class gathered_writes final : public habits {
public:
  int write(sqlite3_file* to, const void* data, int amount, sqlite3_int64 offset) override {
    const auto bytes = static_cast<std::size_t>(amount);
    if (offset != first_ + static_cast<sqlite3_int64>(held_) || held_ + bytes > gathered_max)
      if (const int rc = settle(to); rc != SQLITE_OK)
        return rc;
    if (data_ == nullptr)
      data_.reset(new (std::nothrow) char[gathered_max]);
    if (data_ == nullptr || bytes > gathered_max)
      return to->pMethods->xWrite(to, data, amount, offset);
    if (held_ == 0)
      first_ = offset;
    std::memcpy(data_.get() + held_, data, bytes);
    held_ += bytes;
    return SQLITE_OK;
  }

  int settle(sqlite3_file* to) override {
    if (held_ == 0)
      return SQLITE_OK;
    // What could not be written belongs to a commit that fails by that.
    const auto bytes = std::exchange(held_, 0);
    return to->pMethods->xWrite(to, data_.get(), static_cast<int>(bytes), first_);
  }

private:
  std::unique_ptr<char[]> data_;
  std::size_t held_ = 0;
  sqlite3_int64 first_ = 0;  ///< Where they belong.
};

/// The original's file lies directly behind this.
struct our_file {
  sqlite3_file base;
  habits* with;
};
// SQLite gives memory for files that is aligned for eight bytes.
static_assert(sizeof(our_file) % 8 == 0 && alignof(our_file) <= 8);

sqlite3_file* real(sqlite3_file* f) {
  return reinterpret_cast<sqlite3_file*>(reinterpret_cast<char*>(f) + sizeof(our_file));
}
const sqlite3_io_methods& does(sqlite3_file* f) { return *real(f)->pMethods; }
habits& with(sqlite3_file* f) { return *reinterpret_cast<our_file*>(f)->with; }
int settled(sqlite3_file* f) { return with(f).settle(real(f)); }

int close_file(sqlite3_file* f) {
  const int put_off = settled(f);
  delete &with(f);
  const int rc = does(f).xClose(real(f));
  return rc == SQLITE_OK ? put_off : rc;
}
int read_file(sqlite3_file* f, void* into, int amount, sqlite3_int64 at) {
  const int rc = settled(f);
  return rc == SQLITE_OK ? does(f).xRead(real(f), into, amount, at) : rc;
}
int write_file(sqlite3_file* f, const void* data, int amount, sqlite3_int64 at) {
  return with(f).write(real(f), data, amount, at);
}
int truncate_file(sqlite3_file* f, sqlite3_int64 size) {
  const int rc = settled(f);
  return rc == SQLITE_OK ? does(f).xTruncate(real(f), size) : rc;
}
int sync_file(sqlite3_file* f, int flags) {
  const int rc = settled(f);
  return rc == SQLITE_OK ? does(f).xSync(real(f), flags) : rc;
}
int size_of_file(sqlite3_file* f, sqlite3_int64* size) {
  const int rc = settled(f);
  return rc == SQLITE_OK ? does(f).xFileSize(real(f), size) : rc;
}

const sqlite3_io_methods& methods() {
  static const sqlite3_io_methods all = [] {
    sqlite3_io_methods m{};
    m.iVersion = 3;
    m.xClose = close_file;
    m.xRead = read_file;
    m.xWrite = write_file;
    m.xTruncate = truncate_file;
    m.xSync = sync_file;
    m.xFileSize = size_of_file;
    m.xLock = [](sqlite3_file* f, int level) { return does(f).xLock(real(f), level); };
    m.xUnlock = [](sqlite3_file* f, int level) { return does(f).xUnlock(real(f), level); };
    m.xCheckReservedLock = [](sqlite3_file* f, int* out) {
      return does(f).xCheckReservedLock(real(f), out);
    };
    m.xFileControl = [](sqlite3_file* f, int op, void* arg) {
      return does(f).xFileControl(real(f), op, arg);
    };
    m.xSectorSize = [](sqlite3_file* f) { return does(f).xSectorSize(real(f)); };
    m.xDeviceCharacteristics = [](sqlite3_file* f) {
      return does(f).xDeviceCharacteristics(real(f));
    };
    m.xShmMap = [](sqlite3_file* f, int region, int bytes, int extend, void volatile** at) {
      return does(f).xShmMap(real(f), region, bytes, extend, at);
    };
    m.xShmLock = [](sqlite3_file* f, int first, int n, int flags) {
      return does(f).xShmLock(real(f), first, n, flags);
    };
    m.xShmBarrier = [](sqlite3_file* f) { does(f).xShmBarrier(real(f)); };
    m.xShmUnmap = [](sqlite3_file* f, int remove) { return does(f).xShmUnmap(real(f), remove); };
    m.xFetch = [](sqlite3_file* f, sqlite3_int64 at, int n, void** out) {
      return does(f).xFetch(real(f), at, n, out);
    };
    m.xUnfetch = [](sqlite3_file* f, sqlite3_int64 at, void* p) {
      return does(f).xUnfetch(real(f), at, p);
    };
    return m;
  }();
  return all;
}

/// Files of other kinds are the original's alone.
int open_file(sqlite3_vfs*, const char* name, sqlite3_file* f, int flags, int* out_flags) {
  const bool database = (flags & SQLITE_OPEN_MAIN_DB) != 0;
  if (!database && (flags & SQLITE_OPEN_WAL) == 0)
    return original->xOpen(original, name, f, flags, out_flags);
  f->pMethods = nullptr;
  if (const int rc = original->xOpen(original, name, real(f), flags, out_flags); rc != SQLITE_OK)
    return rc;
  sqlite3_int64 size = 0;
  habits* with = nullptr;
  if (!database)
    with = new (std::nothrow) gathered_writes;
  else if (does(f).iVersion >= methods().iVersion && does(f).xFileSize(real(f), &size) == SQLITE_OK)
    with = new (std::nothrow) clean_pages(size);
  if (with == nullptr) {
    does(f).xClose(real(f));
    return SQLITE_CANTOPEN;
  }
  reinterpret_cast<our_file*>(f)->with = with;
  f->pMethods = &methods();
  return SQLITE_OK;
}

/// SQLITE_OK when there it is.
int enter() {
  if (const int rc = sqlite3_initialize(); rc != SQLITE_OK)
    return rc;
  original = sqlite3_vfs_find(nullptr);
  if (original == nullptr)
    return SQLITE_NOTFOUND;
  static sqlite3_vfs all;
  all = *original;
  all.pNext = nullptr;
  all.zName = our_name;
  all.szOsFile = original->szOsFile + static_cast<int>(sizeof(our_file));
  all.xOpen = open_file;
  return sqlite3_vfs_register(&all, 0);
}

unsigned big_endian_16(std::span<const std::uint8_t> at) { return at[0] * 256u + at[1]; }

}  // namespace

const char* vfs_name() {
  static const int entered = enter();
  if (entered != SQLITE_OK)
    throw failure{entered, "SQLite has no file system"};
  return our_name;
}

std::optional<stretch> unused_room(std::span<const std::uint8_t> page,
                                   std::int64_t offset) noexcept {
  const auto bytes = page.size();
  const bool whole = bytes >= page_bytes_min && bytes <= page_bytes_max
                     && (bytes & (bytes - 1)) == 0
                     && offset % static_cast<std::int64_t>(bytes) == 0;
  if (!whole)
    return std::nullopt;
  const std::size_t header = offset == 0 ? 100 : 0;  // The file's own comes first.
  const auto kind = page[header];
  const bool inner = kind == 2 || kind == 5;
  if (!inner && kind != 10 && kind != 13)
    return std::nullopt;
  const auto cells = big_endian_16(page.subspan(header + 3));
  const auto content = big_endian_16(page.subspan(header + 5));
  const auto first = header + (inner ? 12 : 8) + 2 * std::size_t{cells};
  const auto end = content == 0 ? page_bytes_max : std::size_t{content};
  if (end > bytes || first >= end)
    return std::nullopt;
  return stretch{first, end - first};
}

}  // namespace recalld::storage::sqlite

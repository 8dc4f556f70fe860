#include "storage/sqlite_clean_pages.hpp"

#include "storage/sqlite_connection.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace recalld::storage::sqlite {

namespace {

constexpr std::size_t page_bytes_min = 512;
constexpr std::size_t page_bytes_max = 65'536;
/// A page that is no b-tree page begins with the number of another page, whose first byte is one of a
/// b-tree page's kinds only from page 2^25 on. Half of that: no checkpoint leaps over the rest.
constexpr std::int64_t pages_max = 1 << 24;

/// SQLite's own file of a database lies directly behind this.
struct database_file {
  sqlite3_file base;
  std::int64_t size;  ///< In bytes, at least.
};
// SQLite gives memory for files that is aligned for eight bytes.
static_assert(sizeof(database_file) % 8 == 0 && alignof(database_file) <= 8);

sqlite3_vfs* original = nullptr;

database_file& ours(sqlite3_file* f) { return *reinterpret_cast<database_file*>(f); }
sqlite3_file* real(sqlite3_file* f) {
  return reinterpret_cast<sqlite3_file*>(reinterpret_cast<char*>(f) + sizeof(database_file));
}
const sqlite3_io_methods& does(sqlite3_file* f) { return *real(f)->pMethods; }

int write_page(sqlite3_file* f, const void* data, int amount, sqlite3_int64 offset) {
  auto& file = ours(f);
  const auto bytes = static_cast<std::size_t>(amount);
  file.size = std::max<std::int64_t>(file.size, offset + amount);
  const std::span page(static_cast<const std::uint8_t*>(data), bytes);
  const auto room =
    file.size / std::max(amount, 1) < pages_max ? unused_room(page, offset) : std::nullopt;
  if (!room)
    return does(f).xWrite(real(f), data, amount, offset);
  static thread_local std::array<std::uint8_t, page_bytes_max> clean;
  std::memcpy(clean.data(), data, bytes);
  std::memset(clean.data() + room->first, 0, room->size);
  return does(f).xWrite(real(f), clean.data(), amount, offset);
}

const sqlite3_io_methods& methods() {
  static const sqlite3_io_methods all = [] {
    sqlite3_io_methods m{};
    m.iVersion = 3;
    m.xClose = [](sqlite3_file* f) { return does(f).xClose(real(f)); };
    m.xRead = [](sqlite3_file* f, void* into, int n, sqlite3_int64 at) {
      return does(f).xRead(real(f), into, n, at);
    };
    m.xWrite = write_page;
    m.xTruncate = [](sqlite3_file* f, sqlite3_int64 n) { return does(f).xTruncate(real(f), n); };
    m.xSync = [](sqlite3_file* f, int flags) { return does(f).xSync(real(f), flags); };
    m.xFileSize = [](sqlite3_file* f, sqlite3_int64* n) { return does(f).xFileSize(real(f), n); };
    m.xLock = [](sqlite3_file* f, int level) { return does(f).xLock(real(f), level); };
    m.xUnlock = [](sqlite3_file* f, int level) { return does(f).xUnlock(real(f), level); };
    m.xCheckReservedLock = [](sqlite3_file* f, int* out) {
      return does(f).xCheckReservedLock(real(f), out);
    };
    m.xFileControl = [](sqlite3_file* f, int op, void* with) {
      return does(f).xFileControl(real(f), op, with);
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

/// Other files than databases are the original's alone.
int open_file(sqlite3_vfs*, const char* name, sqlite3_file* f, int flags, int* out_flags) {
  if ((flags & SQLITE_OPEN_MAIN_DB) == 0)
    return original->xOpen(original, name, f, flags, out_flags);
  f->pMethods = nullptr;
  if (const int rc = original->xOpen(original, name, real(f), flags, out_flags); rc != SQLITE_OK)
    return rc;
  ours(f).size = 0;
  sqlite3_int64 size = 0;
  if (does(f).iVersion < methods().iVersion
      || does(f).xFileSize(real(f), &size) != SQLITE_OK) {
    does(f).xClose(real(f));
    return SQLITE_CANTOPEN;
  }
  ours(f).size = size;
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
  static sqlite3_vfs clean;
  clean = *original;
  clean.pNext = nullptr;
  clean.zName = "recalld-clean-pages";
  clean.szOsFile = original->szOsFile + static_cast<int>(sizeof(database_file));
  clean.xOpen = open_file;
  return sqlite3_vfs_register(&clean, 0);
}

unsigned big_endian_16(std::span<const std::uint8_t> at) { return at[0] * 256u + at[1]; }

}  // namespace

const char* clean_pages_vfs() {
  static const int entered = enter();
  if (entered != SQLITE_OK)
    throw failure{entered, "SQLite has no file system"};
  return "recalld-clean-pages";
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

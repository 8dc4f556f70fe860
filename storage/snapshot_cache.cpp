#include "storage/snapshot_cache.hpp"

#include "events/checksum.hpp"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>

#include <array>
#include <atomic>
#include <cstring>
#include <fstream>
#include <future>
#include <mutex>

/// The directory of a cache:
///
///   recalld-cache   the tag, one line: `recalld-cache FORMAT LOG_ID GENERATION`. It is written
///                   first and removed last, so a directory of ours always has one.
///   db/             a RocksDB database:
///     key           stream_id::bytes()
///     value         sum (8 bytes) version (8) time (8) schema (2) state text; little-endian.
///                   sum = checksum of the tag, the key and the rest of the value.
namespace recalld::storage {

namespace {

namespace fs = std::filesystem;

constexpr int format = 1;
constexpr const char* tag_name = "recalld-cache";
// Tags of a cache that the next opening wipes.
constexpr const char* damaged_tag = "recalld-cache damaged\n";
constexpr const char* erasing_tag = "recalld-cache erasing\n";
// Compacting costs reading and writing the whole cache: not more often than this.
constexpr auto compact_every = std::chrono::seconds(15);

struct head {
  std::uint64_t sum = 0;
  std::uint64_t version = 0;
  std::int64_t time = 0;
  std::uint16_t schema = 0;
};
constexpr std::size_t head_bytes = 26;

std::string tag_of(const log_identity& log) {
  return std::string(tag_name) + ' ' + std::to_string(format) + ' ' + log.log_id + ' '
         + std::to_string(log.generation) + '\n';
}

std::string read_file(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

bool write_file(const fs::path& file, const std::string& content) {
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out << content;
  out.flush();
  return out.good();
}

/// RocksDB names its files so; anything else in `db/` was put there by somebody.
bool is_rocksdb_name(const std::string& name) {
  auto ends = [&](const char* end) { return name.ends_with(end); };
  return name == "CURRENT" || name == "LOCK" || name == "IDENTITY" || name == "LOG"
         || name.starts_with("LOG.old.") || name.starts_with("MANIFEST-")
         || name.starts_with("OPTIONS-") || ends(".sst") || ends(".log") || ends(".dbtmp")
         || ends(".blob") || ends(".trash");
}

/// The first thing in the directory that is not a cache's; empty = there is none.
std::string foreign_in(const fs::path& directory) {
  bool tagged = false;
  bool anything = false;
  std::string foreign;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const auto name = entry.path().filename().string();
    if (name == tag_name && entry.is_regular_file()) {
      tagged = true;
    } else if (name == "db" && entry.is_directory()) {
      anything = true;
      for (const auto& file : fs::directory_iterator(entry.path()))
        if (!is_rocksdb_name(file.path().filename().string()))
          foreign = "db/" + file.path().filename().string();
    } else if (name != "lost+found") {
      foreign = name;
    }
  }
  if (foreign.empty() && anything && !tagged)
    return "db";
  return foreign;
}

void wipe(const fs::path& directory) {
  fs::remove_all(directory / "db");
  fs::remove(directory / tag_name);
}

std::uintmax_t room_in(const fs::path& directory) {
  std::error_code unknown;
  const auto room = fs::space(directory, unknown);
  return unknown ? 0 : room.available;
}

rocksdb::Options options_for(std::size_t memory_bytes) {
  rocksdb::Options o;
  o.create_if_missing = true;
  o.compression = rocksdb::kLZ4Compression;
  // A quarter for what is being written, the rest for what is read.
  o.write_buffer_size = std::max<std::size_t>(memory_bytes / 8, 1 << 20);
  o.max_write_buffer_number = 2;
  o.max_background_jobs = 2;
  o.keep_log_file_num = 2;
  o.max_log_file_size = 1 << 20;
  o.info_log_level = rocksdb::WARN_LEVEL;
  o.avoid_flush_during_shutdown = true;  // It is flushed before, where there is room for it.
  o.max_open_files = 256;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(std::max<std::size_t>(memory_bytes * 3 / 4, 1 << 20));
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.cache_index_and_filter_blocks = true;
  o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return o;
}

}  // namespace

struct snapshot_cache::opened {
  fs::path directory;
  std::uint64_t tag_sum = 0;
  std::uintmax_t room_min = 0;      ///< Bytes that must be free where something is to be written.
  std::unique_ptr<rocksdb::DB> db;  ///< None: a cache that remembers nothing.
  std::atomic<std::uint64_t> hits{0}, misses{0}, puts{0}, ignored{0}, failures{0};

  std::string tag;
  std::mutex erasing;        ///< Guards what is below.
  std::uint64_t erased = 0;  ///< Snapshots whose bytes may still be in files.
  bool damaged = false;      ///< The tag says so, and keeps saying it.
  std::future<void> compaction;
  std::chrono::steady_clock::time_point compacted_at{};

  std::uint64_t sum_of(std::string_view key, std::string_view rest) const noexcept {
    return checksum(rest, checksum(key, tag_sum));
  }
  /// RocksDB that was built with assertions, as Debian's is, ends the process when one of its files is
  /// touched again after a write that failed: a full disk is left to the log.
  bool has_room() const { return room_in(directory) >= room_min; }
  bool has_room_for_all() const {
    std::uint64_t bytes = 0;
    db->GetIntProperty(rocksdb::DB::Properties::kTotalSstFilesSize, &bytes);
    return room_in(directory) >= room_min + bytes;
  }

  /// After damage was met the next opening starts anew.
  void failed(const rocksdb::Status& s) {
    ++failures;
    if (!s.IsCorruption())
      return;
    std::lock_guard guard(erasing);
    damaged = true;
    write_file(directory / tag_name, damaged_tag);
  }

  bool owes_erasure() {
    std::lock_guard guard(erasing);
    return erased > 0;
  }

  /// Rewrites the files without what was erased or overwritten.
  void compact() {
    std::uint64_t before = 0;
    {
      std::lock_guard guard(erasing);
      before = erased;
      compacted_at = std::chrono::steady_clock::now();
    }
    if (!has_room_for_all())
      return;  // The tag says what is owed.
    rocksdb::CompactRangeOptions all;  // Flushes first.
    all.exclusive_manual_compaction = false;
    all.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
    if (const auto s = db->CompactRange(all, nullptr, nullptr); !s.ok()) {
      failed(s);
      return;
    }
    std::lock_guard guard(erasing);
    erased -= before;
    if (erased == 0 && !damaged)
      write_file(directory / tag_name, tag);
  }
};

snapshot_cache::snapshot_cache(std::unique_ptr<opened> o) : opened_(std::move(o)) {}

snapshot_cache::~snapshot_cache() {
  auto& o = *opened_;
  if (o.compaction.valid())
    o.compaction.wait();
  if (!o.db)
    return;
  if (o.owes_erasure())
    o.compact();
  else if (!o.has_room())
    return;
  else if (const auto s = o.db->Flush(rocksdb::FlushOptions()); !s.ok())
    o.failed(s);  // Closing alone would drop what a flush that is still to come has taken over.
}

result<std::unique_ptr<snapshot_cache>> snapshot_cache::open(const fs::path& directory,
                                                             const log_identity& log,
                                                             std::size_t memory_bytes) {
  auto o = std::make_unique<opened>();
  const auto tag = tag_of(log);
  o->tag_sum = checksum(tag, 0);
  o->tag = tag;
  o->directory = directory;
  if (directory.empty())
    return std::unique_ptr<snapshot_cache>(new snapshot_cache(std::move(o)));
  try {
    fs::create_directories(directory);
    if (const auto foreign = foreign_in(directory); !foreign.empty())
      return fail(errc::invalid, directory.string() + " is not a cache: it contains " + foreign);
    const auto options = options_for(memory_bytes);
    o->room_min = 4 * options.write_buffer_size;
    for (int attempt = 0; attempt < 2; ++attempt) {
      // Without room nothing could be erased from it either.
      const bool fits = read_file(directory / tag_name) == tag && o->has_room();
      rocksdb::DB* db = nullptr;
      if (fits) {
        const auto s = rocksdb::DB::Open(options, (directory / "db").string(), &db);
        if (s.ok()) {
          o->db.reset(db);
          return std::unique_ptr<snapshot_cache>(new snapshot_cache(std::move(o)));
        }
        // A cache that is in use is not a damaged one.
        if (s.ToString().find("lock") != std::string::npos || attempt > 0)
          return fail(errc::unavailable, "the cache cannot be opened: " + s.ToString());
      }
      wipe(directory);
      if (!o->has_room())
        return std::unique_ptr<snapshot_cache>(new snapshot_cache(std::move(o)));
      if (!write_file(directory / tag_name, tag))
        return fail(errc::unavailable, "cannot write to " + directory.string());
    }
    return fail(errc::unavailable, "the cache in " + directory.string() + " cannot be made");
  } catch (const fs::filesystem_error& e) {
    return fail(errc::unavailable, std::string("the cache cannot be used: ") + e.what());
  }
}

std::optional<snapshot> snapshot_cache::get(const stream_id& stream) {
  auto& o = *opened_;
  rocksdb::PinnableSlice value;
  if (o.db) {
    const auto s = o.db->Get(rocksdb::ReadOptions(), o.db->DefaultColumnFamily(),
                             rocksdb::Slice(stream.bytes()), &value);
    if (s.ok()) {
      head h;
      if (value.size() >= head_bytes) {
        std::memcpy(&h.sum, value.data(), 8);
        std::memcpy(&h.version, value.data() + 8, 8);
        std::memcpy(&h.time, value.data() + 16, 8);
        std::memcpy(&h.schema, value.data() + 24, 2);
        const std::string_view rest(value.data() + 8, value.size() - 8);
        if (h.sum == o.sum_of(stream.bytes(), rest)) {
          ++o.hits;
          return snapshot{h.version, h.time, h.schema,
                          std::string(value.data() + head_bytes, value.size() - head_bytes)};
        }
      }
      ++o.ignored;
    } else if (!s.IsNotFound()) {
      o.failed(s);
    }
  }
  ++o.misses;
  return {};
}

void snapshot_cache::put(const stream_id& stream, const snapshot& snap) {
  auto& o = *opened_;
  if (!o.db)
    return;
  if (!o.has_room()) {
    ++o.failures;
    return;
  }
  std::string value(head_bytes, '\0');
  value += snap.state;
  std::memcpy(value.data() + 8, &snap.version, 8);
  std::memcpy(value.data() + 16, &snap.time, 8);
  std::memcpy(value.data() + 24, &snap.schema, 2);
  const auto sum = o.sum_of(stream.bytes(), std::string_view(value).substr(8));
  std::memcpy(value.data(), &sum, 8);
  rocksdb::WriteOptions write;
  write.disableWAL = true;
  write.no_slowdown = true;  // rather forget than make an actor wait
  const auto s = o.db->Put(write, stream.bytes(), value);
  if (s.ok())
    ++o.puts;
  else
    o.failed(s);
}

void snapshot_cache::erase(const stream_id& stream) {
  auto& o = *opened_;
  if (!o.db)
    return;
  rocksdb::PinnableSlice value;
  const auto known = o.db->Get(rocksdb::ReadOptions(), o.db->DefaultColumnFamily(),
                               rocksdb::Slice(stream.bytes()), &value);
  if (known.IsNotFound())
    return;
  {
    // First the mark: what a killed process did not get to is wiped by the next one.
    std::lock_guard guard(o.erasing);
    if (o.erased++ == 0 && !o.damaged)
      write_file(o.directory / tag_name, erasing_tag);
  }
  rocksdb::WriteOptions write;
  write.disableWAL = true;
  if (const auto s = o.db->Delete(write, stream.bytes()); !s.ok())
    o.failed(s);
}

void snapshot_cache::flush_soon() {
  auto& o = *opened_;
  if (!o.db)
    return;
  if (o.owes_erasure()) {
    using namespace std::chrono_literals;
    const bool running =
      o.compaction.valid() && o.compaction.wait_for(0s) != std::future_status::ready;
    if (!running && std::chrono::steady_clock::now() - o.compacted_at >= compact_every) {
      o.compaction = std::async(std::launch::async, [&o] { o.compact(); });
      return;
    }
  }
  if (!o.has_room())
    return;
  rocksdb::FlushOptions flush;
  flush.wait = false;
  flush.allow_write_stall = true;
  if (const auto s = o.db->Flush(flush); !s.ok())
    o.failed(s);
}

snapshot_cache::counters snapshot_cache::count() const {
  const auto& o = *opened_;
  return {o.hits, o.misses, o.puts, o.ignored, o.failures};
}

}  // namespace recalld::storage

#include "storage/failpoint.hpp"
#include "storage/replay.hpp"
#include "tests/small_disk.hpp"
#include "tests/storage/subject.hpp"

#include <cstdlib>
#include <fstream>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

/// What is special about SQLite: files, locks, damage, full disks, sudden death.
namespace recalld::storage::testing {

namespace fs = std::filesystem;

namespace {

void run_sql(const fs::path& directory, const std::string& sql) {
  sqlite3* db = nullptr;
  REQUIRE(sqlite3_open((directory / "recalld.db").c_str(), &db) == SQLITE_OK);
  CHECK(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(db);
}

std::string read_all(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_all(const fs::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
}

/// As another user than root, for whom directories can be closed.
class as_nobody {
public:
  as_nobody() {
    if (::geteuid() == 0)
      root_ = ::seteuid(65534) == 0;
  }
  ~as_nobody() {
    if (root_ && ::seteuid(0) != 0)
      std::abort();
  }

private:
  bool root_ = false;
};

void fill(opened<sqlite_backend>& log, int commits) {
  for (int i = 0; i < commits; ++i) {
    const auto s = session_named("s" + std::to_string(i % 7));
    log.append(s, {i < 7 ? created({{"k", std::to_string(i)}}) : entry("e" + std::to_string(i), 1)},
               "c" + std::to_string(i), 1000 + i);
  }
}

std::vector<recorded> facts_of(log_reader& reader) {
  return must(reader.scan(0, 0, 100'000)).facts;
}

bool same(const recorded& a, const recorded& b) {
  return a.at.position == b.at.position && a.at.stream == b.at.stream && a.at.version == b.at.version
         && a.at.time == b.at.time && a.at.command == b.at.command && a.type == b.type
         && a.key == b.key && a.payload == b.payload && a.lane == b.lane;
}

/// Copies a log as a crash would leave it: without the shared memory.
void copy_files(const fs::path& from, const fs::path& to) {
  for (const char* name : {"recalld.db", "recalld.db-wal"})
    if (fs::exists(from / name))
      fs::copy_file(from / name, to / name, fs::copy_options::overwrite_existing);
}

}  // namespace

// -- who may open it --

TEST_CASE("a second server on a directory is told who has it", "[sqlite]") {
  opened<sqlite_backend> log;
  const auto second = open_sqlite({.directory = log.backend.directory.path()});
  REQUIRE_FALSE(second);
  CHECK(second.error().code == errc::unavailable);
  CHECK_THAT(second.error().message, Catch::Matchers::ContainsSubstring(std::to_string(::getpid())));
  log.append(session_named("s"), {created()});
  const auto reading = open_sqlite({.directory = log.backend.directory.path(), .read_only = true});
  REQUIRE(reading);
  CHECK(must(must((*reading)->open_reader())->head(0)) == 1);
  log.reader.reset();
  log.store.reset();
  CHECK(open_sqlite({.directory = log.backend.directory.path()}));
}

TEST_CASE("a log that was opened for reading takes no writes", "[sqlite]") {
  opened<sqlite_backend> log;
  auto reading = must(open_sqlite({.directory = log.backend.directory.path(), .read_only = true}));
  auto& w = reading->writer();
  CHECK(w.identity() == log.writer().identity());
  CHECK(w.shards() == std::vector<shard_t>{0});
  CHECK(code_of(w.take_shard(0)) == errc::unavailable);
  CHECK(code_of(w.commit(0, 1, {})) == errc::unavailable);
  CHECK(code_of(w.sweep(0, 1, 0, 1)) == errc::unavailable);
  CHECK(code_of(w.checkpoint()) == errc::unavailable);
  scratch empty;
  CHECK(code_of(open_sqlite({.directory = empty.path(), .read_only = true})) == errc::not_found);
}

TEST_CASE("a log of a newer program is refused, for writing and for reading", "[sqlite]") {
  opened<sqlite_backend> log;
  const auto& dir = log.backend.directory.path();
  log.reader.reset();
  log.store.reset();
  run_sql(dir, "UPDATE meta SET value = 99 WHERE name = 'schema'");
  for (const bool read_only : {false, true}) {
    const auto refused = open_sqlite({.directory = dir, .read_only = read_only});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::unavailable);
    CHECK_THAT(refused.error().message, Catch::Matchers::ContainsSubstring("99"));
    CHECK_THAT(refused.error().message, Catch::Matchers::ContainsSubstring("newer"));
  }
}

TEST_CASE("a table of another version is outdated until it is rebuilt", "[sqlite]") {
  opened<sqlite_backend> log;
  const auto& dir = log.backend.directory.path();
  log.append(session_named("s"), {created({{"k", "1"}})});
  log.reader.reset();
  log.store.reset();
  run_sql(dir, "UPDATE table_versions SET version = 0 WHERE name = 'session_state';"
               "DROP TABLE session_state; CREATE TABLE session_state(other)");
  log.open();
  const auto outdated = must(log.writer().outdated_tables());
  REQUIRE(outdated == std::vector<const projections::table*>{&projections::session_state::spec});
  CHECK(code_of(log.reader->rows({.table = &projections::session_state::spec})) == errc::unavailable);
  // The log goes on meanwhile.
  log.append(session_named("s"), {state_set({{"k", "2"}})});
  rebuild again(log.writer(), *log.reader, outdated);
  must(again.run());
  CHECK(must(log.writer().outdated_tables()).empty());
  CHECK(text_of(log.rows(projections::session_state::spec).at(0).at(2)) == "2");
  log.append(session_named("s"), {state_set({{"k", "3"}})});
  CHECK(must(verify(*log.reader)).good());
}

TEST_CASE("a file that is no log of ours is not touched", "[sqlite]") {
  scratch dir;
  SECTION("another program's database") {
    run_sql(dir.path(), "CREATE TABLE theirs(x)");
    CHECK(code_of(open_sqlite({.directory = dir.path()})) == errc::invalid);
    run_sql(dir.path(), "INSERT INTO theirs VALUES(1)");
  }
  SECTION("no database at all") {
    const std::string bytes(10'000, 'z');
    write_all(dir.path() / "recalld.db", bytes);
    CHECK(code_of(open_sqlite({.directory = dir.path()})) == errc::corrupt);
    CHECK(read_all(dir.path() / "recalld.db") == bytes);
  }
}

TEST_CASE("a directory that cannot be written is read, but not opened for writing", "[sqlite]") {
  opened<sqlite_backend> log;
  const auto& dir = log.backend.directory.path();
  fill(log, 20);
  log.reader.reset();
  log.store.reset();
  for (const auto& e : fs::directory_iterator(dir))
    ::chmod(e.path().c_str(), 0444);
  ::chmod(dir.c_str(), 0555);
  {
    const as_nobody user;
    CHECK(code_of(open_sqlite({.directory = dir})) == errc::unavailable);
    auto reading = must(open_sqlite({.directory = dir, .read_only = true}));
    auto reader = must(reading->open_reader());
    CHECK(facts_of(*reader).size() == 20);
    CHECK(must(verify(*reader)).good());
  }
  ::chmod(dir.c_str(), 0755);
}

// -- no room --

TEST_CASE("given a database that may not grow, when it is full, then nothing of a commit stays",
          "[sqlite]") {
  scratch dir;
  sqlite_options options{.directory = dir.path(), .checkpoint_pages = 10, .pages_max = 120};
  auto s = must(open_sqlite(options));
  auto reader = must(s->open_reader());
  const auto epoch = must(s->writer().take_shard(0));
  version_t version = 0;
  result<std::vector<unit_outcome>> last;
  for (int i = 0; i < 1000 && last; ++i) {
    const std::vector<append_unit> units{
      unit(session_named("s"), version,
           {i == 0 ? created() : entry(std::to_string(i), 1, std::string(8000, 'x'))},
           "c" + std::to_string(i))};
    last = s->writer().commit(0, epoch, units);
    if (last)
      ++version;
  }
  REQUIRE_FALSE(last);
  CHECK(last.error().code == errc::unavailable);
  CHECK(must(reader->head(0)) == version);
  CHECK(must(verify(*reader)).good());
  // Something small still fits, and the version is the one that was told.
  const std::vector<append_unit> small{unit(session_named("s"), version, {entry("small")})};
  const auto out = s->writer().commit(0, epoch, small);
  if (out)
    CHECK_FALSE(out->front().refused);
  else
    CHECK(out.error().code == errc::unavailable);
}

TEST_CASE("given a full disk, when a commit fails, then it is unavailable, not unknown",
          "[sqlite]") {
  scratch dir;
  tests::small_disk disk(dir.path(), "2m");
  if (!disk.made()) {
    // Without the right to mount, the sentence above on database pages must do.
    SUCCEED("no right to mount a small disk");
    return;
  }
  {
    auto s = must(open_sqlite({.directory = dir.path()}));
    auto reader = must(s->open_reader());
    const auto epoch = must(s->writer().take_shard(0));
    version_t version = 0;
    result<std::vector<unit_outcome>> last;
    auto append = [&](std::size_t bytes) {
      const std::vector<append_unit> units{
        unit(session_named("s"), version,
             {version == 0 ? created() : entry(std::to_string(version), 1, std::string(bytes, 'x'))})};
      last = s->writer().commit(0, epoch, units);
      if (last)
        ++version;
    };
    for (int i = 0; i < 1000 && last; ++i)
      append(20'000);
    REQUIRE_FALSE(last);
    CHECK(last.error().code == errc::unavailable);
    CHECK(must(reader->head(0)) == version);
    CHECK(must(verify(*reader)).good());
    // Room again: it goes on where it was.
    reader.reset();
    CHECK(code_of(s->writer().checkpoint()) != errc::outcome_unknown);
    REQUIRE(disk.resize("16m"));
    append(20'000);
    CHECK(last);
    CHECK(must(must(s->open_reader())->head(0)) == version);
  }
}

TEST_CASE("given a write that fails inside the commit, then nobody knows, and the writer is done",
          "[sqlite]") {
  // The size limit makes the write-ahead log's write fail with an error that is not "disk full".
  const auto child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    scratch dir;
    auto s = open_sqlite({.directory = dir.path()});
    const auto epoch = *(*s)->writer().take_shard(0);
    const auto now = fs::file_size(dir.path() / "recalld.db-wal");
    const rlimit limit{now + 3000, now + 3000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const std::vector<append_unit> units{unit(session_named("s"), 0, {created()})};
    const auto first = (*s)->writer().commit(0, epoch, units);
    const auto second = (*s)->writer().commit(0, epoch, units);
    const bool good = !first && first.error().code == errc::outcome_unknown && !second
                      && second.error().code == errc::outcome_unknown;
    fs::remove_all(dir.path());
    ::_exit(good ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("what is forgotten is in no file after a checkpoint", "[sqlite]") {
  opened<sqlite_backend> log;
  const auto& dir = log.backend.directory.path();
  const std::string secret = "nobody-writes-this-by-chance-5c1f";
  const auto left_in = [&] {
    std::set<std::string> files;
    for (const auto& e : fs::directory_iterator(dir))
      if (read_all(e.path()).find(secret) != std::string::npos)
        files.insert(e.path().filename().string());
    return files;
  };
  using names = std::set<std::string>;
  const auto s = session_named("s");
  log.append(s, {created({{"k", json::quote(secret)}}), entry("1", 1, secret)});
  // Over several pages, too.
  log.append(s, {entry("2", 2, secret + std::string(20'000, 'x') + secret)});
  CHECK(left_in() == names{"recalld.db-wal"});
  must(log.writer().checkpoint());
  CHECK(left_in() == names{"recalld.db"});
  log.append(s, {deleted()});
  must(log.reader->begin_snapshot());
  static_cast<void>(must(log.reader->stream_forth(log.number_of(s), 0, 10)));
  CHECK(log.sweep(0).blanked == 3);
  // Who reads may still read it; the next checkpoint tries again.
  CHECK(code_of(log.writer().checkpoint()) == errc::unavailable);
  CHECK_FALSE(left_in().empty());
  must(log.reader->end_snapshot());
  must(log.writer().checkpoint());
  CHECK(left_in().empty());
}

// -- damage --

TEST_CASE("given a damaged write-ahead log, then what lies before the damage is served, or corrupt",
          "[sqlite]") {
  opened<sqlite_backend> log;
  const auto& dir = log.backend.directory.path();
  must(log.writer().checkpoint());
  fill(log, 40);
  const auto whole = facts_of(*log.reader);
  const auto wal = read_all(dir / "recalld.db-wal");
  REQUIRE(wal.size() > 100'000);
  std::size_t shortest = whole.size();
  for (int i = 0; i <= 40; ++i) {
    const auto at = wal.size() * static_cast<std::size_t>(i) / 40;
    for (const int kind : {0, 1, 2}) {
      scratch copy;
      copy_files(dir, copy.path());
      auto damaged = wal;
      if (kind == 0)
        damaged.resize(at);
      else if (kind == 1 && at < damaged.size())
        damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
      else
        std::fill(damaged.begin() + static_cast<std::ptrdiff_t>(at), damaged.end(), '\xa5');
      write_all(copy.path() / "recalld.db-wal", damaged);
      INFO("damage " << kind << " at " << at << " of " << wal.size());
      auto s = open_sqlite({.directory = copy.path()});
      if (!s) {
        CHECK(s.error().code == errc::corrupt);
        continue;
      }
      auto reader = must((*s)->open_reader());
      const auto left = facts_of(*reader);
      REQUIRE(left.size() <= whole.size());
      for (std::size_t f = 0; f < left.size(); ++f)
        REQUIRE(same(left[f], whole[f]));
      CHECK(must(verify(*reader)).good());
      shortest = std::min(shortest, left.size());
      // It is a log to go on with.
      const auto epoch = must((*s)->writer().take_shard(0));
      const std::vector<append_unit> units{unit(session_named("new"), 0, {created()})};
      CHECK_FALSE(must((*s)->writer().commit(0, epoch, units)).front().refused);
    }
  }
  CHECK(shortest == 0);
}

TEST_CASE("given damaged database pages, then facts are as written, or the answer is corrupt",
          "[sqlite]") {
  opened<sqlite_backend> log;
  const auto& dir = log.backend.directory.path();
  fill(log, 60);
  log.append(session_named("s1"), {deleted()});
  log.sweep(1010);
  const auto whole = facts_of(*log.reader);
  log.reader.reset();
  log.store.reset();
  const auto bytes = read_all(dir / "recalld.db");
  const auto pages = bytes.size() / 4096;
  REQUIRE(pages > 20);
  int caught = 0;
  for (std::size_t page = 0; page < pages; ++page) {
    for (const int kind : {0, 1, 2, 3, 4}) {
      scratch copy;
      auto damaged = bytes;
      const auto start = page * 4096;
      if (kind == 0)
        std::fill_n(damaged.begin() + static_cast<std::ptrdiff_t>(start), 4096, '\xa5');
      else if (kind == 1)
        std::fill_n(damaged.begin() + static_cast<std::ptrdiff_t>(start), 4096, '\0');
      else
        damaged[start + 4095 - 700 * static_cast<std::size_t>(kind - 2)] ^= 0x11;
      write_all(copy.path() / "recalld.db", damaged);
      INFO("page " << page << " damage " << kind);
      auto s = open_sqlite({.directory = copy.path()});
      if (!s) {
        CHECK((s.error().code == errc::corrupt || s.error().code == errc::invalid
               || s.error().code == errc::unavailable));
        ++caught;
        continue;
      }
      auto reader = (*s)->open_reader();
      if (!reader)
        continue;
      const auto report = verify(**reader);
      const auto scanned = (*reader)->scan(0, 0, 100'000);
      if (!scanned) {
        CHECK(scanned.error().code == errc::corrupt);
        CHECK_FALSE(report);
        ++caught;
        continue;
      }
      // Damage elsewhere (rows, indexes) shows in the check, or touched nothing that is used.
      REQUIRE(scanned->facts.size() == whole.size());
      for (std::size_t f = 0; f < whole.size(); ++f)
        REQUIRE(same(scanned->facts[f], whole[f]));
      caught += !report || !report->good() ? 1 : 0;
    }
  }
  CHECK(caught > static_cast<int>(pages));
}

TEST_CASE("a log that is shorter than its shard says is corrupt at the opening", "[sqlite]") {
  opened<sqlite_backend> log;
  const auto& dir = log.backend.directory.path();
  fill(log, 10);
  log.reader.reset();
  log.store.reset();
  run_sql(dir, "DELETE FROM log WHERE position = 10");
  CHECK(code_of(open_sqlite({.directory = dir})) == errc::corrupt);
}

// -- forgetting for good --

TEST_CASE("what was swept is in no file any more", "[sqlite]") {
  opened<sqlite_backend> log;
  const auto& dir = log.backend.directory.path();
  const auto s = session_named("s");
  const std::string secret = "very-secret-" + std::string(9000, 'q');
  log.append(s, {created({{"pin", "\"hidden-pin\""}}), entry("hidden-id", 1, secret)}, "cmd", 1000);
  log.append(s, {deleted()});
  auto found = [&](const std::string& what) {
    for (const auto& e : fs::directory_iterator(dir))
      if (read_all(e.path()).find(what) != std::string::npos)
        return true;
    return false;
  };
  CHECK(found("very-secret-"));
  log.sweep(0);
  log.reader.reset();
  log.store.reset();
  CHECK_FALSE(found("very-secret-"));
  CHECK_FALSE(found("qqqqqqqqqqqqqqqq"));
  CHECK_FALSE(found("hidden-id"));
  CHECK_FALSE(found("hidden-pin"));
  CHECK(found("cmd"));
}

// -- speed that must not get lost --

TEST_CASE("row queries use an index for their order", "[sqlite]") {
  opened<sqlite_backend> log;
  log.append(session_named("s"), {created()});
  sqlite3* db = nullptr;
  REQUIRE(sqlite3_open((log.backend.directory.path() / "recalld.db").c_str(), &db) == SQLITE_OK);
  auto plan = [&](const std::string& sql) {
    std::string out;
    sqlite3_stmt* stmt = nullptr;
    REQUIRE(sqlite3_prepare_v2(db, ("EXPLAIN QUERY PLAN " + sql).c_str(), -1, &stmt, nullptr) == SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW)
      out += std::string(reinterpret_cast<const char*>(sqlite3_column_text(stmt, 3))) + "; ";
    sqlite3_finalize(stmt);
    return out;
  };
  using Catch::Matchers::ContainsSubstring;
  // Only rows that agree in what the index keeps are sorted.
  const std::string order = " ORDER BY tenant DESC, app DESC, updated_slot DESC, updated_at DESC, "
                            "session DESC, stream DESC LIMIT 9";
  const std::string first = "SELECT * FROM sessions WHERE tenant = 't' AND app = 'a'";
  for (const auto& listed :
       {plan(first + order),
        plan(first + " AND (updated_slot, updated_at, session, stream) < (1, 1, 'x', 1)" + order)}) {
    CHECK_THAT(listed, ContainsSubstring("sessions_by_app"));
    CHECK_THAT(listed, ContainsSubstring("TEMP B-TREE FOR LAST 3 TERMS")
                         || ContainsSubstring("TEMP B-TREE FOR RIGHT PART"));
  }
  const auto expiring = plan("SELECT * FROM sessions WHERE expires_slot IS NOT NULL AND expires_slot <= 9 "
                             "AND expires_at <= 9 ORDER BY expires_slot, expires_at, stream LIMIT 9");
  CHECK_THAT(expiring, ContainsSubstring("sessions_by_expiry"));
  CHECK_THAT(expiring, ContainsSubstring("TEMP B-TREE FOR LAST 2 TERMS")
                         || ContainsSubstring("TEMP B-TREE FOR RIGHT PART"));
  const auto lane = plan("SELECT payload FROM log WHERE stream = 1 AND lane = 1 AND version < 9 "
                         "ORDER BY version DESC LIMIT 20");
  CHECK_THAT(lane, Catch::Matchers::ContainsSubstring("log_lane (stream=? AND lane=? AND version<?)"));
  sqlite3_close(db);
}

// -- sudden death --

namespace {

constexpr const char* victim_directory = "RECALLD_TEST_VICTIM";

/// Runs the hidden test below in a process of its own, with a failpoint armed.
int run_victim(const fs::path& directory, const std::string& failpoint) {
  const auto child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::setenv(victim_directory, directory.c_str(), 1);
    ::setenv("RECALLD_FAILPOINT", failpoint.c_str(), 1);
    ::execl("/proc/self/exe", "test_storage", "[victim]", static_cast<char*>(nullptr));
    ::_exit(127);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

}  // namespace

TEST_CASE("a process that writes until it is killed", "[.][victim]") {
  const char* directory = std::getenv(victim_directory);
  if (directory == nullptr)
    return;
  auto s = must(open_sqlite({.directory = directory, .checkpoint_pages = 30}));
  auto& w = s->writer();
  const auto epoch = must(w.take_shard(0));
  auto reader = must(s->open_reader());
  std::ofstream acknowledged(fs::path(directory) / "acknowledged", std::ios::app);
  for (int i = 0; i < 50; ++i) {
    const auto name = session_named("s" + std::to_string(i % 5));
    std::vector<append_unit> units{unit(name, {}, {created({{"k", std::to_string(i)}}), entry(std::to_string(i))},
                                        "c" + std::to_string(i), 1000 + i)};
    must(w.commit(0, epoch, units));
    acknowledged << i << std::endl;
    if (i % 10 == 7) {
      units = {unit(name, {}, {deleted()}, {}, 1000 + i)};
      must(w.commit(0, epoch, units));
      must(w.sweep(0, epoch, 1000 + i, 1000));
      const std::vector<const projections::table*> all(projections::tables().begin(),
                                                       projections::tables().end());
      rebuild again(w, *reader, all);
      must(again.run());
    }
  }
}

TEST_CASE("a process that is killed anywhere loses nothing that it acknowledged", "[sqlite]") {
  const std::string where = GENERATE(
    "sqlite.commit.before:12", "sqlite.commit.after:12", "sqlite.sweep.before:2",
    "sqlite.sweep.after:1", "sqlite.checkpoint.before:2", "sqlite.checkpoint.after:1",
    "sqlite.swap.before:2", "sqlite.swap.after:1");
  INFO(where);
  scratch dir;
  const int status = run_victim(dir.path(), where);
  REQUIRE(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGKILL);
  int acknowledged = 0;
  for (const char c : read_all(dir.path() / "acknowledged"))
    acknowledged += c == '\n' ? 1 : 0;
  auto s = must(open_sqlite({.directory = dir.path()}));
  auto reader = must(s->open_reader());
  CHECK(must(verify(*reader)).good());
  const auto receipts = must(reader->rows({.table = &projections::receipts::spec, .limit = 1000}));
  const auto epoch = must(s->writer().take_shard(0));
  // Whatever was acknowledged is a duplicate now, or its receipt was let go by a sweep.
  int known = 0;
  for (int i = 0; i < acknowledged; ++i) {
    const auto at = must(reader->find_stream(session_named("s" + std::to_string(i % 5))));
    for (const auto& r : receipts)
      known += text_of(r[0]) == "c" + std::to_string(i)
               && r[1] == projections::value(static_cast<std::int64_t>(at.stream_no));
  }
  CHECK(known >= acknowledged - 40);
  const std::vector<append_unit> units{unit(session_named("after"), 0, {created()})};
  CHECK_FALSE(must(s->writer().commit(0, epoch, units)).front().refused);
}

}  // namespace recalld::storage::testing

#include "storage/sqlite_vfs.hpp"
#include "tests/storage/subject.hpp"

#include <sqlite3.h>

#include <array>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

/// The file system that the store gives to SQLite.
namespace recalld::storage::sqlite {

namespace {

namespace fs = std::filesystem;
using testing::scratch;

class database {
public:
  database(const fs::path& file, const char* vfs) {
    REQUIRE(sqlite3_open_v2(file.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs)
            == SQLITE_OK);
    run("PRAGMA journal_mode=WAL");
    run("PRAGMA secure_delete=ON");
  }
  ~database() { sqlite3_close(db_); }
  database(const database&) = delete;
  database& operator=(const database&) = delete;

  void run(const std::string& sql) {
    INFO(sql.substr(0, 80));
    REQUIRE(sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
  }
  std::string word(const std::string& sql) {
    std::string out;
    const auto take = [](void* to, int, char** values, char**) {
      *static_cast<std::string*>(to) = values[0] == nullptr ? "" : values[0];
      return 0;
    };
    REQUIRE(sqlite3_exec(db_, sql.c_str(), take, &out, nullptr) == SQLITE_OK);
    return out;
  }

private:
  sqlite3* db_ = nullptr;
};

std::size_t times_in(const fs::path& file, const std::string& word) {
  std::ifstream in(file, std::ios::binary);
  const std::string all{std::istreambuf_iterator<char>(in), {}};
  std::size_t n = 0;
  for (auto at = all.find(word); at != all.npos; at = all.find(word, at + 1))
    ++n;
  return n;
}

/// How often a text that was in deleted rows is still in the file.
std::size_t left_behind(const char* vfs) {
  const scratch place;
  const auto file = place.path() / "x.db";
  database db(file, vfs);
  db.run("CREATE TABLE facts(n INTEGER PRIMARY KEY, stays INTEGER, text TEXT)");
  std::mt19937 random(1);
  std::vector<int> order(2'000);
  for (int i = 0; i < 2'000; ++i)
    order[static_cast<std::size_t>(i)] = i;
  std::shuffle(order.begin(), order.end(), random);
  db.run("BEGIN");
  for (const int n : order)
    db.run("INSERT INTO facts VALUES(" + std::to_string(n) + ", " + std::to_string(n % 3 == 0)
           + ", '" + (n % 3 == 0 ? "what stays " : "a secret ")
           + std::string(static_cast<std::size_t>(random() % 300), 'x') + "')");
  db.run("COMMIT");
  db.run("DELETE FROM facts WHERE n % 3 = 1");
  db.run("DELETE FROM facts WHERE stays = 0");
  db.run("PRAGMA wal_checkpoint(TRUNCATE)");
  CHECK(db.word("SELECT count(*) FROM facts WHERE text LIKE 'what stays %'") == "667");
  CHECK(db.word("PRAGMA integrity_check") == "ok");
  CHECK(times_in(file, "what stays ") >= 667);
  CHECK(fs::file_size(fs::path(file) += "-wal") == 0);
  return times_in(file, "a secret ");
}

}  // namespace

TEST_CASE("rows that moved before they were deleted leave no copy in the file", "[sqlite]") {
  CHECK(left_behind(nullptr) > 0);  // What it is for; SQLite alone would do when this is 0.
  CHECK(left_behind(vfs_name()) == 0);
}

TEST_CASE("the unused room of a page lies between its cell pointers and its cells", "[sqlite]") {
  std::array<std::uint8_t, 4096> page{};
  const auto with = [&](std::uint8_t kind, unsigned cells, unsigned content, std::size_t at = 0) {
    page = {};
    page[at] = kind;
    page[at + 3] = static_cast<std::uint8_t>(cells >> 8);
    page[at + 4] = static_cast<std::uint8_t>(cells);
    page[at + 5] = static_cast<std::uint8_t>(content >> 8);
    page[at + 6] = static_cast<std::uint8_t>(content);
    return unused_room(page, at == 0 ? 4096 : 0);
  };
  CHECK(with(13, 3, 4000) == stretch{14, 3986});
  CHECK(with(10, 300, 4000) == stretch{608, 3392});
  CHECK(with(5, 3, 4000) == stretch{18, 3982});
  CHECK(with(2, 0, 4096) == stretch{12, 4084});
  CHECK(with(13, 1, 4000, 100) == stretch{110, 3890});
  // Full, or no b-tree page: a chain of overflow begins with a page's number.
  CHECK_FALSE(with(13, 3, 14));
  CHECK_FALSE(with(13, 3'000, 4000));
  CHECK_FALSE(with(13, 3, 4097));
  CHECK_FALSE(with(13, 3, 0));
  CHECK_FALSE(with(0, 3, 4000));
  CHECK_FALSE(with(1, 3, 4000));
  with(13, 3, 4000);
  CHECK_FALSE(unused_room(page, 100));
  CHECK_FALSE(unused_room(std::span(page).first(24), 0));
  CHECK_FALSE(unused_room(std::span(page).first(3000), 0));
}

TEST_CASE("what is put off is read back, and seen by others as soon as it is committed", "[sqlite]") {
  const scratch place;
  const auto file = place.path() / "x.db";
  database one(file, vfs_name()), two(file, vfs_name()), plain(file, nullptr);
  one.run("PRAGMA cache_size=10");  // Pages leave for the log long before the commit.
  one.run("CREATE TABLE facts(n INTEGER PRIMARY KEY, text TEXT)");
  const auto fill = [&](int from, int to) {
    one.run("WITH RECURSIVE up(n) AS (SELECT " + std::to_string(from)
            + " UNION ALL SELECT n + 1 FROM up WHERE n + 1 < " + std::to_string(to)
            + ") INSERT INTO facts SELECT n, printf('%0300d', n) FROM up");
  };
  const std::string count = "SELECT count(*) FROM facts WHERE text = printf('%0300d', n)";
  one.run("BEGIN");
  fill(0, 20'000);
  CHECK(one.word(count) == "20000");
  CHECK(two.word(count) == "0");
  one.run("ROLLBACK");
  CHECK(one.word(count) == "0");
  one.run("BEGIN");
  fill(0, 5'000);
  one.run("SAVEPOINT s");
  fill(5'000, 9'000);
  one.run("ROLLBACK TO s");
  fill(7'000, 8'000);
  CHECK(one.word(count) == "6000");
  CHECK(two.word(count) == "0");
  one.run("COMMIT");
  for (auto* db : {&one, &two, &plain})
    CHECK(db->word(count) == "6000");
  two.run("INSERT INTO facts VALUES(-1, printf('%0300d', -1))");
  one.run("DELETE FROM facts WHERE n >= 7000");
  CHECK(plain.word(count) == "5001");
  CHECK(plain.word("PRAGMA integrity_check") == "ok");
  // What is in the log alone is all there for whoever finds the files after a kill.
  const scratch found;
  for (const char* part : {"", "-wal"})
    fs::copy_file(fs::path(file) += part, fs::path(found.path() / "x.db") += part);
  database after(found.path() / "x.db", nullptr);
  CHECK(after.word(count) == "5001");
  CHECK(after.word("PRAGMA integrity_check") == "ok");
}

}  // namespace recalld::storage::sqlite

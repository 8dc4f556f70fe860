#include "storage/replay.hpp"
#include "storage/sqlite_backup.hpp"
#include "tests/storage/subject.hpp"

#include <atomic>
#include <fstream>
#include <thread>

namespace recalld::storage::testing {

namespace fs = std::filesystem;

namespace {

void write_some(store& s, int from, int to) {
  const auto epoch = must(s.writer().take_shard(0));
  for (int i = from; i < to; ++i) {
    const std::vector<append_unit> units{unit(session_named("s" + std::to_string(i)), {}, {created(), entry("e")},
                                              "c" + std::to_string(i), 1000 + i)};
    REQUIRE_FALSE(must(s.writer().commit(0, epoch, units)).front().refused);
  }
}

}  // namespace

TEST_CASE("a backup is the log as of one moment, and can be restored elsewhere", "[backup]") {
  scratch dir;
  const auto live = dir.path() / "live";
  auto s = must(open_sqlite({.directory = live}));
  write_some(*s, 0, 20);
  const auto made = must(back_up_sqlite(live, dir.path() / "b.db"));
  CHECK(made.head == 40);
  CHECK(made.identity.generation == 1);
  CHECK(made.bytes == fs::file_size(dir.path() / "b.db"));
  write_some(*s, 20, 30);

  const auto restored = must(restore_sqlite(dir.path() / "b.db", dir.path() / "again", false));
  CHECK(restored.head == 40);
  CHECK(restored.identity.log_id == made.identity.log_id);
  CHECK(restored.identity.generation > 1);
  auto again = must(open_sqlite({.directory = dir.path() / "again"}));
  auto reader = must(again->open_reader());
  CHECK(must(verify(*reader)).good());
  CHECK(must(reader->head(0)) == 40);
  write_some(*again, 100, 101);
}

TEST_CASE("a backup that is made while others write is whole", "[backup]") {
  scratch dir;
  const auto live = dir.path() / "live";
  auto s = must(open_sqlite({.directory = live}));
  write_some(*s, 0, 50);
  std::atomic<bool> stop{false};
  std::atomic<int> last{50};
  std::thread writing([&] {
    const auto epoch = s->writer().take_shard(0).value();
    while (!stop) {
      const int i = last;
      const std::vector<append_unit> units{
        unit(session_named("s" + std::to_string(i)), {}, {created(), entry("e")}, "c" + std::to_string(i), 1000 + i)};
      if (!s->writer().commit(0, epoch, units))
        break;
      ++last;
    }
  });
  for (int n = 0; n < 5; ++n) {
    const auto file = dir.path() / ("b" + std::to_string(n));
    const int before = last;
    bool slowed = false;
    const auto made = back_up_sqlite(live, file, [&](auto, auto) {
      // Writers do not wait for the copy.
      for (const int now = last; !slowed && last == now;)
        std::this_thread::yield();
      slowed = true;
    });
    CHECK(made);
    const auto place = dir.path() / ("r" + std::to_string(n));
    CHECK(restore_sqlite(file, place, false));
    auto again = must(open_sqlite({.directory = place, .read_only = true}));
    auto reader = must(again->open_reader());
    CHECK(must(verify(*reader)).good());
    CHECK(must(reader->head(0)) == made->head);
    CHECK(made->head >= static_cast<position_t>(before) * 2);
  }
  stop = true;
  writing.join();
}

TEST_CASE("a restore never takes a log away unasked", "[backup]") {
  scratch dir;
  const auto live = dir.path() / "live";
  must(back_up_sqlite([&] {
         auto s = must(open_sqlite({.directory = live}));
         write_some(*s, 0, 3);
         return live;
       }(),
                      dir.path() / "b.db"));
  CHECK(code_of(restore_sqlite(dir.path() / "b.db", live, false)) == errc::conflict);
  CHECK(code_of(back_up_sqlite(live, dir.path() / "b.db")) == errc::conflict);
  {
    auto s = must(open_sqlite({.directory = live}));
    CHECK(code_of(restore_sqlite(dir.path() / "b.db", live, true)) == errc::unavailable);
    write_some(*s, 3, 5);
  }
  const auto first = must(restore_sqlite(dir.path() / "b.db", live, true));
  const auto second = must(restore_sqlite(dir.path() / "b.db", live, true));
  CHECK(second.identity.generation > first.identity.generation);
  CHECK(second.head == 6);
  CHECK(fs::exists(live / "recalld.db.replaced"));
}

TEST_CASE("what is no backup is refused and leaves nothing behind", "[backup]") {
  scratch dir;
  const auto live = dir.path() / "live";
  {
    auto s = must(open_sqlite({.directory = live}));
    write_some(*s, 0, 200);
  }
  must(back_up_sqlite(live, dir.path() / "b.db"));
  std::ofstream(dir.path() / "text") << "this is a letter";
  fs::copy(dir.path() / "b.db", dir.path() / "cut");
  fs::resize_file(dir.path() / "cut", fs::file_size(dir.path() / "cut") / 2);
  const auto place = dir.path() / "place";
  CHECK(code_of(restore_sqlite(dir.path() / "absent", place, false)) == errc::not_found);
  CHECK(code_of(restore_sqlite(dir.path() / "text", place, false)) == errc::corrupt);
  CHECK(code_of(restore_sqlite(dir.path() / "cut", place, false)) == errc::corrupt);
  CHECK(code_of(back_up_sqlite(dir.path() / "nowhere", dir.path() / "c.db")) == errc::not_found);
  CHECK(code_of(back_up_sqlite(live, dir.path() / "no/such/folder.db")) == errc::unavailable);
  CHECK_FALSE(fs::exists(place / "recalld.db"));
  CHECK_FALSE(fs::exists(place / "recalld.db.partial"));
}

}  // namespace recalld::storage::testing

#include "storage/snapshot_cache.hpp"

#include "tests/small_disk.hpp"
#include "tests/storage/subject.hpp"

#include <chrono>
#include <fstream>
#include <random>
#include <thread>

namespace recalld::storage::testing {

namespace fs = std::filesystem;

namespace {

const log_identity log_a{"0190-a", 1};

std::unique_ptr<snapshot_cache> open_cache(const fs::path& path, const log_identity& log = log_a) {
  return must(snapshot_cache::open(path, log, 1 << 20));
}

snapshot some(version_t version, std::string state = "state") {
  return {version, 1234, 1, std::move(state)};
}

/// Every file below a directory.
std::vector<fs::path> files_in(const fs::path& directory) {
  std::vector<fs::path> out;
  for (const auto& e : fs::recursive_directory_iterator(directory))
    if (e.is_regular_file())
      out.push_back(e.path());
  return out;
}

void overwrite(const fs::path& file, std::streamoff from, const std::string& bytes) {
  std::fstream f(file, std::ios::in | std::ios::out | std::ios::binary);
  f.seekp(from);
  f << bytes;
}

/// Text that no compression shortens, and that occurs once.
std::string unguessable(unsigned seed) {
  std::mt19937 random(seed);
  std::string out;
  while (out.size() < 200)
    out.push_back(static_cast<char>(33 + random() % 94));
  return out;
}

bool on_disk(const fs::path& directory, const std::string& text) {
  for (const auto& file : files_in(directory)) {
    std::ifstream in(file, std::ios::binary);
    const std::string all{std::istreambuf_iterator<char>(in), {}};
    if (all.find(text) != std::string::npos)
      return true;
  }
  return false;
}

}  // namespace

TEST_CASE("the bytes of what is erased leave the files", "[cache]") {
  scratch dir;
  const auto secret = unguessable(1);
  const auto kept = unguessable(2);
  const auto s = session_named("s");
  {
    auto cache = open_cache(dir.path());
    cache->put(s, some(1, secret));
    cache->put(session_named("t"), some(1, kept));
  }
  REQUIRE(on_disk(dir.path(), secret));
  SECTION("with a flush") {
    auto cache = open_cache(dir.path());
    cache->put(s, some(2));  // Overwritten is not gone.
    cache->erase(s);
    cache->erase(s);
    cache->flush_soon();
    for (int i = 0; i < 1'000 && on_disk(dir.path(), secret); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    CHECK_FALSE(on_disk(dir.path(), secret));
  }
  SECTION("when the cache is closed") {
    open_cache(dir.path())->erase(s);
  }
  CHECK_FALSE(on_disk(dir.path(), secret));
  CHECK(on_disk(dir.path(), kept));
  auto cache = open_cache(dir.path());
  CHECK_FALSE(cache->get(s));
  CHECK(cache->get(session_named("t")));
}

TEST_CASE("a cache whose process was killed with erased bytes in its files is wiped", "[cache]") {
  scratch dir;
  scratch killed;
  const auto secret = unguessable(3);
  { open_cache(dir.path())->put(session_named("s"), some(1, secret)); }
  {
    auto cache = open_cache(dir.path());
    cache->erase(session_named("nobody"));
    fs::copy(dir.path(), killed.path() / "before", fs::copy_options::recursive);
    cache->erase(session_named("s"));
    fs::copy(dir.path(), killed.path() / "after", fs::copy_options::recursive);
  }
  // Nothing of ours was erased before.
  CHECK(open_cache(killed.path() / "before")->get(session_named("s")));
  REQUIRE(on_disk(killed.path() / "after", secret));
  CHECK_FALSE(open_cache(killed.path() / "after")->get(session_named("s")));
  CHECK_FALSE(on_disk(killed.path() / "after", secret));
}

TEST_CASE("what is put before a flush that nobody waits for is there after a restart", "[cache]") {
  scratch dir;
  for (version_t v = 1; v <= 20; ++v) {
    {
      auto cache = open_cache(dir.path());
      cache->put(session_named("s"), some(v));
      cache->flush_soon();
    }
    REQUIRE(open_cache(dir.path())->get(session_named("s")));
    CHECK(open_cache(dir.path())->get(session_named("s"))->version == v);
  }
}

TEST_CASE("a snapshot is found until it is erased", "[cache]") {
  scratch dir;
  auto cache = open_cache(dir.path());
  const auto s = session_named("s");
  CHECK_FALSE(cache->get(s));
  const auto binary = some(7, std::string("a\0b", 3));
  cache->put(s, binary);
  REQUIRE(cache->get(s));
  CHECK(*cache->get(s) == binary);
  cache->put(s, some(8));
  CHECK(cache->get(s)->version == 8);
  CHECK_FALSE(cache->get(session_named("t")));
  cache->erase(s);
  CHECK_FALSE(cache->get(s));
  const auto count = cache->count();
  CHECK(count.puts == 2);
  CHECK(count.hits == 3);
  CHECK(count.misses == 3);
  CHECK(count.failures == 0);
}

TEST_CASE("snapshots outlive a proper end of the process", "[cache]") {
  scratch dir;
  open_cache(dir.path())->put(session_named("s"), some(7));
  auto cache = open_cache(dir.path());
  cache->flush_soon();
  REQUIRE(cache->get(session_named("s")));
  CHECK(*cache->get(session_named("s")) == some(7));
}

TEST_CASE("the cache of another log or generation is forgotten", "[cache]") {
  scratch dir;
  open_cache(dir.path())->put(session_named("s"), some(7));
  const log_identity other = GENERATE(log_identity{"0190-b", 1}, log_identity{"0190-a", 2});
  CHECK_FALSE(open_cache(dir.path(), other)->get(session_named("s")));
  CHECK_FALSE(open_cache(dir.path())->get(session_named("s")));
}

TEST_CASE("a cache without a path remembers nothing", "[cache]") {
  auto cache = open_cache({});
  cache->put(session_named("s"), some(7));
  cache->flush_soon();
  cache->erase(session_named("s"));
  CHECK_FALSE(cache->get(session_named("s")));
  CHECK(cache->count().misses == 1);
}

TEST_CASE("a directory with foreign files is refused and left alone", "[cache]") {
  scratch dir;
  const std::string where = GENERATE("notes.txt", "db/notes.txt", "db/CURRENT");
  fs::create_directories(dir.path() / "db");
  std::ofstream(dir.path() / where) << "mine";
  const auto refused = snapshot_cache::open(dir.path(), log_a);
  CHECK(code_of(refused) == errc::invalid);
  CHECK(fs::exists(dir.path() / where));
  CHECK(files_in(dir.path()).size() == 1);
}

TEST_CASE("a cache that is in use is refused and left alone", "[cache]") {
  scratch dir;
  auto cache = open_cache(dir.path());
  cache->put(session_named("s"), some(7));
  CHECK(code_of(snapshot_cache::open(dir.path(), log_a)) == errc::unavailable);
  CHECK(cache->get(session_named("s")));
}

TEST_CASE("given damaged files, when the cache is opened, then it forgets but never lies",
          "[cache]") {
  scratch dir;
  {
    auto cache = open_cache(dir.path());
    for (int i = 0; i < 500; ++i)
      cache->put(session_named(std::to_string(i)), some(i + 1u, std::string(200, 'x') + std::to_string(i)));
  }
  const auto files = files_in(dir.path());
  REQUIRE(files.size() >= 5);
  for (const auto& damaged : files) {
    for (const int kind : {0, 1, 2, 3}) {
      scratch copy;
      fs::remove_all(copy.path());
      fs::copy(dir.path(), copy.path(), fs::copy_options::recursive);
      const auto file = copy.path() / fs::relative(damaged, dir.path());
      const auto size = fs::file_size(file);
      INFO(file.filename().string() << " damage " << kind);
      switch (kind) {
        case 0: fs::remove(file); break;
        case 1: fs::resize_file(file, size / 2); break;
        case 2: overwrite(file, 0, std::string(size, '\xa5')); break;
        default: overwrite(file, static_cast<std::streamoff>(size / 3), "\x5a\x5a\x5a"); break;
      }
      auto opened = snapshot_cache::open(copy.path(), log_a, 1 << 20);
      if (!opened) {
        // Only where nothing tells any more that the directory is ours.
        CHECK(file.filename() == "recalld-cache");
        CHECK(opened.error().code == errc::invalid);
        continue;
      }
      for (int i = 0; i < 500; i += 7)
        if (const auto found = (*opened)->get(session_named(std::to_string(i))))
          CHECK(*found == some(i + 1u, std::string(200, 'x') + std::to_string(i)));
      (*opened)->put(session_named("new"), some(1));
      opened->reset();
      // At the latest the second opening is a working cache again.
      auto again = must(snapshot_cache::open(copy.path(), log_a, 1 << 20));
      again->put(session_named("new"), some(2));
      CHECK(again->get(session_named("new"))->version == 2);
    }
  }
}

TEST_CASE("given a disk that fills up, then a cache forgets, and is there again when there is room",
          "[cache]") {
  scratch dir;
  tests::small_disk disk(dir.path(), "16m");
  if (!disk.made()) {
    SUCCEED("no right to mount a small disk");
    return;
  }
  const auto place = dir.path() / "cache";
  const auto filler = dir.path() / "filler";
  const auto fill_up = [&] {
    std::ofstream out(filler, std::ios::binary | std::ios::app);
    const std::string block(64 * 1024, 'x');
    while (out.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
    }
  };
  const auto name = [](int i) { return session_named("s" + std::to_string(i)); };
  {
    auto cache = open_cache(place);
    cache->put(name(0), some(1));
    cache->flush_soon();
    // As much at once as a writer's memory holds, while the disk gets full and fuller.
    for (int i = 1; i < 400; ++i) {
      cache->put(name(i), some(1, unguessable(static_cast<unsigned>(i)) + std::string(50'000, 'x')));
      if (i % 20 == 0)
        cache->flush_soon();
      if (i == 100)
        fill_up();
      cache->get(name(i / 2));
    }
    cache->erase(name(0));
    cache->flush_soon();
    CHECK(cache->count().failures > 0);
  }
  {
    auto cache = open_cache(place);
    cache->put(name(1), some(2));
    CHECK_FALSE(cache->get(name(1)));
  }
  fs::remove(filler);
  {
    auto cache = open_cache(place);
    CHECK_FALSE(cache->get(name(0)));
    cache->put(name(1), some(2));
    CHECK(cache->get(name(1)) == some(2));
  }
  CHECK(disk.give_back());
}

TEST_CASE("a value that was changed is no snapshot", "[cache]") {
  scratch dir;
  {
    auto cache = open_cache(dir.path());
    cache->put(session_named("s"), some(7));
  }
  // The same files under the tag of another log: every value's sum fails.
  {
    std::ofstream tag(dir.path() / "recalld-cache", std::ios::trunc);
    tag << "recalld-cache 1 0190-b 1\n";
  }
  auto cache = open_cache(dir.path(), {"0190-b", 1});
  CHECK_FALSE(cache->get(session_named("s")));
  CHECK(cache->count().ignored == 1);
}

}  // namespace recalld::storage::testing

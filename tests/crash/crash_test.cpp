#include "tests/catch.hpp"
#include "tests/crash/ledger.hpp"

#include "storage/sqlite_store.hpp"

#include <nlohmann/json.hpp>
#include <SQLiteCpp/Database.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <regex>
#include <set>

#include <sys/mount.h>
#include <unistd.h>

// RECALLD_KILLS=n  how often the server is killed under load (default 60; 1000 for a night)

namespace recalld::tests {

namespace {

using namespace std::chrono_literals;
using nlohmann::json;
namespace fs = std::filesystem;
using steady = std::chrono::steady_clock;

std::uint64_t number_in(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

/// Where the process can be made to end, and what brings it there.
struct failpoint_use {
  std::string_view name;
  enum class reached { by_commits, by_sweeps, when_idle, at_start } how;
  int count_max = 1;
};
constexpr failpoint_use failpoints[] = {
  {"sqlite.commit.before", failpoint_use::reached::by_commits, 200},
  {"sqlite.commit.after", failpoint_use::reached::by_commits, 200},
  {"sqlite.sweep.before", failpoint_use::reached::by_sweeps, 1},
  {"sqlite.sweep.after", failpoint_use::reached::by_sweeps, 2},
  {"sqlite.checkpoint.before", failpoint_use::reached::when_idle},
  {"sqlite.checkpoint.after", failpoint_use::reached::when_idle},
  {"sqlite.swap.before", failpoint_use::reached::at_start},
  {"sqlite.swap.after", failpoint_use::reached::at_start},
};

/// Makes the next start rebuild a projection table.
void outdate_a_table(const fs::path& directory) {
  SQLite::Database db((directory / "recalld.db").string(), SQLite::OPEN_READWRITE);
  db.exec("UPDATE table_versions SET version = 0 WHERE name = 'sessions'");
}

/// Everything a client can read: each session with its state, and its entries.
std::string everything(std::uint16_t port) {
  load reader(0);
  REQUIRE(reader.start(port));
  const auto read = [&](std::string_view operation, const json& request) {
    return reader.call(operation, request.dump()).value();
  };
  std::string all;
  json request{{"app", "a"}, {"limit", 1'000}};
  const auto sessions = json::parse(read("session.list", request)).at("sessions");
  for (const auto& s : sessions) {
    const json key{{"app", s.at("app")}, {"user", s.at("user")}, {"session", s.at("session")}};
    all += read("session.get", key);
    auto page = key;
    page["limit"] = 5'000;
    all += read("session.entries", page);
  }
  return all;
}

void damage(const fs::path& file, double at, std::size_t bytes) {
  std::fstream f(file, std::ios::in | std::ios::out | std::ios::binary);
  const auto size = fs::file_size(file);
  f.seekp(static_cast<std::streamoff>(at * static_cast<double>(size)));
  for (std::size_t i = 0; i < bytes; ++i)
    f.put('\x5a');
}

}  // namespace

// The killed server keeps its log in SQLite: the failpoints of other stores are not on its way.
TEST_CASE("every failpoint of the store is tried", "[crash]") {
  const auto* source = std::getenv("RECALLD_SOURCE_DIR");
  if (source == nullptr) {
    WARN("RECALLD_SOURCE_DIR is not set: skipped");
    return;
  }
  std::set<std::string> written, tried;
  const std::regex call("failpoint\\(\"(sqlite\\.[^\"]+)\"\\)");
  for (const auto& file : fs::directory_iterator(fs::path(source) / "storage")) {
    std::ifstream in(file.path());
    const std::string text(std::istreambuf_iterator<char>(in), {});
    for (std::sregex_iterator i(text.begin(), text.end(), call), end; i != end; ++i)
      written.insert((*i)[1]);
  }
  for (const auto& f : failpoints)
    tried.insert(std::string(f.name));
  CHECK(written == tried);
}

TEST_CASE(
  "killed under load again and again, nothing acknowledged is lost and nothing is there twice",
  "[crash]") {
  const auto kills = number_in("RECALLD_KILLS", 60);
  const auto seed = number_in("RECALLD_CRASH_SEED", std::random_device{}());
  INFO("RECALLD_CRASH_SEED=" << seed << " chooses the same moments, more or less");
  std::mt19937_64 random(seed);
  scratch_directory scratch;
  const auto directory = scratch.path() / "data";
  load writers(4, seed);
  std::map<std::string_view, int> hit;
  int missed = 0, at_random = 0;
  std::size_t next_failpoint = 0;
  const auto began = steady::now();
  for (std::uint64_t kill = 1; kill <= kills; ++kill) {
    const failpoint_use* use = nullptr;
    std::map<std::string, std::string> environment;
    if (kill % 2 == 0) {
      use = &failpoints[next_failpoint++ % std::size(failpoints)];
      const auto count = 1 + random() % static_cast<std::uint64_t>(use->count_max);
      environment["RECALLD_FAILPOINT"] = std::string(use->name) + ":" + std::to_string(count);
      if (use->how == failpoint_use::reached::at_start)
        outdate_a_table(directory);
    }
    INFO("kill " << kill << " " << (use ? use->name : "at random"));
    server under_test(directory, environment, use != nullptr);
    if (under_test.ready()) {
      writers.churn = use != nullptr && use->how == failpoint_use::reached::by_sweeps;
      REQUIRE(writers.start(under_test.port()));
      if (use == nullptr) {
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 200'000));
        under_test.program().signal(SIGKILL);
        ++at_random;
      } else {
        if (use->how == failpoint_use::reached::when_idle) {
          std::this_thread::sleep_for(30ms);
          writers.stop();
        }
        if (!under_test.program().wait(2s)) {
          ++missed;
          under_test.program().signal(SIGKILL);
        }
      }
    }
    const auto status = under_test.program().wait(10s);
    writers.stop();
    REQUIRE(status == -SIGKILL);
    if (use != nullptr)
      ++hit[use->name];
    if (kill % 10 == 0 || kill == kills) {
      if (use != nullptr && use->how == failpoint_use::reached::at_start)
        server rebuilt(directory);  // Until then its rows belong to an older program.
      REQUIRE(writers.compare(directory) == "");
      REQUIRE(verify(directory) == "");
    }
  }
  const auto took = std::chrono::duration<double>(steady::now() - began).count();

  // What was open at the last kill is settled, and then everything is there once.
  {
    server last(directory);
    REQUIRE(writers.start(last.port()));
    std::this_thread::sleep_for(100ms);
    last.program().signal(SIGTERM);
    CHECK(last.program().wait(20s) == 0);
    writers.stop();
  }
  REQUIRE(writers.compare(directory, true) == "");
  CHECK(verify(directory) == "");
  std::cout << "crash: " << kills << " kills in " << took << " s, " << at_random << " at random, "
            << missed << " failpoints not reached in time, " << writers.acknowledged()
            << " appends acknowledged, " << writers.entries_in_log() << " entries, seed " << seed
            << "\n";
  for (const auto& f : failpoints)
    if (kills >= 4 * std::size(failpoints))
      CHECK(hit[f.name] > 0);
  CHECK(static_cast<std::uint64_t>(missed) <= kills / 10 + 1);
}

TEST_CASE("a directory has one server", "[crash]") {
  scratch_directory scratch;
  const auto directory = scratch.path() / "data";
  server first(directory);
  load writers(2);
  REQUIRE(writers.start(first.port()));
  for (int i = 0; i < 3; ++i) {
    server second(directory, {}, true);
    CHECK_FALSE(second.ready());
    const auto status = second.program().wait(10s);
    REQUIRE(status);
    CHECK(*status > 0);
  }
  std::this_thread::sleep_for(50ms);
  first.program().signal(SIGKILL);
  first.program().wait(10s);
  writers.stop();
  CHECK(writers.acknowledged() > 0);
  CHECK(writers.compare(directory) == "");
}

TEST_CASE("SIGTERM loses nothing and answers what was accepted", "[crash]") {
  scratch_directory scratch;
  const auto directory = scratch.path() / "data";
  load writers(4);
  for (int i = 0; i < 3; ++i) {
    server one(directory);
    REQUIRE(writers.start(one.port()));
    std::this_thread::sleep_for(150ms);
    one.program().signal(SIGTERM);
    CHECK(one.program().wait(20s) == 0);
    writers.stop();
    CHECK(writers.compare(directory) == "");
  }
  CHECK(writers.acknowledged() > 0);
  CHECK(verify(directory) == "");
}

TEST_CASE("a second SIGTERM ends at once, and loses nothing either", "[crash]") {
  scratch_directory scratch;
  const auto directory = scratch.path() / "data";
  load writers(4);
  server one(directory);
  REQUIRE(writers.start(one.port()));
  std::this_thread::sleep_for(100ms);
  one.program().signal(SIGTERM);
  std::this_thread::sleep_for(1ms);
  one.program().signal(SIGTERM);
  const auto began = steady::now();
  CHECK(one.program().wait(20s));
  CHECK(steady::now() - began < 5s);
  writers.stop();
  CHECK(writers.compare(directory) == "");
  CHECK(verify(directory) == "");
}

TEST_CASE("a cache that is gone or damaged changes no answer", "[crash]") {
  scratch_directory scratch;
  const auto directory = scratch.path() / "data";
  load writers(4);
  {
    server one(directory);
    REQUIRE(writers.start(one.port()));
    std::this_thread::sleep_for(300ms);
    writers.stop();
    one.program().signal(SIGTERM);
    REQUIRE(one.program().wait(20s) == 0);
  }
  REQUIRE(writers.compare(directory) == "");
  const auto look = [&] {
    server one(directory);
    auto all = everything(one.port());
    one.program().signal(SIGTERM);
    REQUIRE(one.program().wait(20s) == 0);
    return all;
  };
  const auto before = look();
  REQUIRE(before.size() > 1'000);
  REQUIRE(fs::exists(directory / "cache"));
  SECTION("damaged") {
    std::size_t damaged = 0;
    for (const auto& file : fs::recursive_directory_iterator(directory / "cache"))
      if (file.is_regular_file() && file.file_size() > 64 && file.path().filename() != "LOG"
          && file.path().filename() != "RECALLD") {
        damage(file.path(), 0.3, 40);
        ++damaged;
      }
    CHECK(damaged > 0);
    CHECK(look() == before);
  }
  SECTION("half of its files lost") {
    bool odd = false;
    for (const auto& file : fs::directory_iterator(directory / "cache" / "db"))
      if (file.is_regular_file() && (odd = !odd))
        fs::remove(file.path());
    CHECK(look() == before);
  }
  SECTION("gone") {
    fs::remove_all(directory / "cache");
    CHECK(look() == before);
  }
  CHECK(look() == before);
}

TEST_CASE("a damaged write-ahead log is refused or read up to the damage, never guessed at",
          "[crash]") {
  scratch_directory scratch;
  const auto directory = scratch.path() / "data";
  const auto wal = directory / "recalld.db-wal";
  load writers(3);
  const auto run_and_kill = [&] {
    server one(directory);
    REQUIRE(writers.start(one.port()));
    std::this_thread::sleep_for(150ms);
    one.program().signal(SIGKILL);
    REQUIRE(one.program().wait(10s) == -SIGKILL);
    writers.stop();
    REQUIRE(fs::exists(wal));
    REQUIRE(fs::file_size(wal) > 0);
  };
  SECTION("bytes behind its end, as a torn write leaves them, cost nothing") {
    for (int i = 0; i < 3; ++i) {
      run_and_kill();
      std::ofstream(wal, std::ios::app | std::ios::binary) << std::string(10'000, '\x5a');
      REQUIRE(writers.compare(directory) == "");
      REQUIRE(verify(directory) == "");
    }
  }
  SECTION("flipped bytes in its middle") {
    run_and_kill();
    damage(wal, 0.6, 16);
    server again(directory, {}, true);
    if (again.ready()) {
      again.program().signal(SIGTERM);
      CHECK(again.program().wait(20s) == 0);
      CHECK(verify(directory) == "");
    } else {
      const auto status = again.program().wait(10s);
      REQUIRE(status);
      CHECK(*status > 0);  // A typed refusal, no signal.
    }
  }
}

TEST_CASE("a full disk refuses appends with a reason, loses nothing, and recovers", "[crash]") {
  if (::geteuid() != 0) {
    WARN("needs root to mount a small file system: skipped");
    return;
  }
  scratch_directory scratch;
  const auto disk = scratch.path() / "disk";
  fs::create_directory(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=24m") != 0) {
    WARN("cannot mount a tmpfs here: skipped");
    return;
  }
  struct unmount {
    fs::path at;
    ~unmount() { ::umount2(at.c_str(), MNT_DETACH); }
  } later{disk};
  const auto directory = disk / "data";
  const auto ballast = disk / "ballast";
  std::ofstream(ballast) << std::string(8 << 20, 'x');
  load writers(3);
  for (auto& w : writers.writers) {
    w.entry_bytes = 8'000;
    w.timeout = 400ms;
  }
  server one(directory);
  REQUIRE(writers.start(one.port()));
  // Each writer goes on until it is refused for good.
  const auto began = steady::now();
  const auto refused = [&] {
    return std::all_of(writers.writers.begin(), writers.writers.end(),
                       [](const writer& w) { return w.refused(); });
  };
  while (!refused() && !one.program().ended() && steady::now() - began < 60s)
    std::this_thread::sleep_for(20ms);
  writers.stop();
  REQUIRE_FALSE(one.program().ended());
  for (const auto& w : writers.writers) {
    REQUIRE(w.last_error);
    INFO(w.last_error->message);
    CHECK((w.last_error->code == errc::unavailable || w.last_error->code == errc::outcome_unknown));
  }
  const auto before = writers.acknowledged();
  CHECK(before > 0);
  // Reads go on.
  CHECK(everything(one.port()).size() > 1'000);
  fs::remove(ballast);
  for (auto& w : writers.writers)
    w.timeout = 20s;
  REQUIRE(writers.start(one.port()));
  std::this_thread::sleep_for(300ms);
  writers.stop();
  CHECK(writers.acknowledged() > before);
  one.program().signal(SIGTERM);
  CHECK(one.program().wait(20s) == 0);
  CHECK(writers.compare(directory) == "");
  CHECK(verify(directory) == "");
}

}  // namespace recalld::tests

#include "tests/catch.hpp"
#include "tests/crash/ledger.hpp"

#include "storage/postgres_connection.hpp"
#include "tests/postgres_server.hpp"
#include "tests/tcp_proxy.hpp"

#include <nlohmann/json.hpp>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

/// The real program on a real Postgres server, to both of which happens what happens to machines.
/// What needs root, or a program that is not installed, is skipped with a warning.
namespace recalld::tests {

namespace {

using namespace std::chrono_literals;
using nlohmann::json;
namespace fs = std::filesystem;
namespace pg = storage::postgres;
using steady = std::chrono::steady_clock;

/// For what a test does to the database itself.
pg::connection administrator(const std::string& url) {
  return pg::connection({.url = url}, pg::connection::mode::write);
}

bool shell(const std::string& command) {
  return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

bool root() { return ::geteuid() == 0; }

/// The database runs as another user, who has to get through.
void let_through(const fs::path& directory) {
  fs::permissions(directory, fs::perms::group_exec | fs::perms::others_exec, fs::perm_options::add);
}

/// Does something at the end of a scope.
template <class F>
struct at_end {
  F then;
  ~at_end() { then(); }
};
template <class F>
at_end(F) -> at_end<F>;

/// Writes again after the database was away: until every writer was served.
void settle(load& writers, server& one) {
  const auto until = steady::now() + 20s;
  for (;;) {
    const auto before = writers.acknowledged();
    REQUIRE(writers.start(one.port()));
    std::this_thread::sleep_for(200ms);
    writers.stop();
    if (writers.acknowledged() > before + writers.writers.size())
      return;
    REQUIRE(steady::now() < until);
  }
}

void end(server& one) {
  one.program().signal(SIGTERM);
  CHECK(one.program().wait(20s) == 0);
}

/// An ext4 file system of its own in a file, whose power can be cut.
class cuttable_disk {
public:
  explicit cuttable_disk(const fs::path& under) : image_(under / "image"), at_(under / "disk") {
    fs::create_directories(at_);
    fs::permissions(at_, fs::perms::all);
    good_ = shell("truncate -s 600M " + image_.string() + " && mkfs.ext4 -q -E lazy_itable_init=1 "
                  + image_.string())
            && plug_in();
  }
  ~cuttable_disk() { unplug(); }
  bool good() const { return good_; }
  const fs::path& path() const { return at_; }

  /// What is not on the disk now will never be.
  bool cut() {
    const int fd = ::open(at_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    std::uint32_t without_flush = 2;
    constexpr auto ext4_shutdown = _IOR('X', 125, std::uint32_t);
    const bool done = fd >= 0 && ::ioctl(fd, ext4_shutdown, &without_flush) == 0;
    ::close(fd);
    return done;
  }
  bool plug_in() {
    if (!shell("mount -o loop " + image_.string() + " " + at_.string()))
      return false;
    fs::permissions(at_, fs::perms::all);
    return true;
  }
  void unplug() {
    for (int i = 0; i < 100; ++i) {
      if (::umount2(at_.c_str(), 0) == 0 || errno != EBUSY)
        return;
      std::this_thread::sleep_for(50ms);
    }
    ::umount2(at_.c_str(), MNT_DETACH);
  }

private:
  fs::path image_, at_;
  bool good_ = false;
};

}  // namespace

TEST_CASE("killed on Postgres again and again, nothing is lost and nothing is there twice",
          "[crash][postgres]") {
  constexpr const char* failpoints[] = {"",
                                        "postgres.commit.before:20",
                                        "postgres.commit.after:20",
                                        "postgres.sweep.before:1",
                                        "postgres.sweep.after:2",
                                        "postgres.swap.before:1",
                                        "postgres.swap.after:1"};
  postgres_server database;
  scratch_directory scratch;
  const log_home log(scratch.path() / "data", database.url());
  load writers(4, 7);
  for (int kill = 0; kill < 21; ++kill) {
    const std::string use = failpoints[static_cast<std::size_t>(kill) % std::size(failpoints)];
    INFO("kill " << kill << " " << use);
    std::map<std::string, std::string> environment{{"RECALLD_LEASE_MS", "500"}};
    if (!use.empty())
      environment["RECALLD_FAILPOINT"] = use;
    if (kill > 0 && use.starts_with("postgres.swap"))
      administrator(database.url())
        .exec("UPDATE table_versions SET version = 0 WHERE name = 'sessions'");
    server one(log, environment, !use.empty());
    if (one.ready()) {
      writers.churn = use.starts_with("postgres.sweep");
      REQUIRE(writers.start(one.port()));
      if (use.empty() || !one.program().wait(3s)) {
        std::this_thread::sleep_for(50ms);
        one.program().signal(SIGKILL);
      }
    }
    REQUIRE(one.program().wait(10s) == -SIGKILL);
    writers.stop();
  }
  writers.churn = false;
  {
    server last(log);
    settle(writers, last);
    end(last);
  }
  CHECK(writers.compare(log, true) == "");
  CHECK(verify(log) == "");
}

TEST_CASE("the database starts again under load, and its server processes are killed",
          "[crash][postgres]") {
  postgres_server database;
  scratch_directory scratch;
  const log_home log(scratch.path() / "data", database.url());
  server one(log);
  load writers(4, 3);
  for (int round = 0; round < 4; ++round) {
    INFO(round);
    REQUIRE(writers.start(one.port()));
    std::this_thread::sleep_for(100ms);
    switch (round) {
      case 0:
      case 1:
        database.crash();
        std::this_thread::sleep_for(500ms);
        database.start();
        break;
      case 2:
        for (int i = 0; i < 10; ++i) {
          administrator(database.url())
            .exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                  "application_name LIKE 'recalld/%'");
          std::this_thread::sleep_for(30ms);
        }
        break;
      default: {
        // One that dies for good makes the server end all others and recover.
        auto admin = administrator(database.url());
        const auto pid = admin.number(
          "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'recalld/%' LIMIT 1");
        ::kill(static_cast<pid_t>(pid), SIGKILL);
      }
    }
    writers.stop();
    settle(writers, one);
    REQUIRE_FALSE(one.program().ended());
  }
  end(one);
  CHECK(writers.compare(log) == "");
  CHECK(verify(log) == "");
}

TEST_CASE("another node takes over within five seconds when the owner is killed",
          "[crash][postgres]") {
  postgres_server database;
  scratch_directory scratch;
  const log_home a(scratch.path() / "a", database.url()), b(scratch.path() / "b", database.url());
  load writers(4, 5);
  auto owner = std::make_unique<server>(a);
  double longest = 0;
  for (int round = 0; round < 3; ++round) {
    server next(server::standing_by{}, round % 2 ? a : b);
    CHECK_FALSE(next.wait_until_ready(700ms));
    REQUIRE(writers.start(owner->port()));
    std::this_thread::sleep_for(300ms);
    const auto gone = steady::now();
    owner->program().signal(SIGKILL);
    writers.stop();
    REQUIRE(next.wait_until_ready(10s));
    const auto took = std::chrono::duration<double>(steady::now() - gone).count();
    CHECK(took <= 5.0);
    longest = std::max(longest, took);
    settle(writers, next);
    end(next);
    // Whoever leaves in order is not waited for.
    const auto left = steady::now();
    owner = std::make_unique<server>(round % 2 ? b : a);
    CHECK(steady::now() - left < 2s);
  }
  end(*owner);
  CHECK(writers.compare(a) == "");
  CHECK(verify(a) == "");
  std::cout << "takeover after kill -9, lease of 3 s: at most " << longest << " s\n";
}

TEST_CASE("a frozen owner is replaced, and ends when it wakes", "[crash][postgres]") {
  postgres_server database;
  scratch_directory scratch;
  const log_home a(scratch.path() / "a", database.url()), b(scratch.path() / "b", database.url());
  load before(3, 1), after(3, 2);
  server first(a);
  REQUIRE(before.start(first.port()));
  server second(server::standing_by{}, b);
  std::this_thread::sleep_for(300ms);
  first.program().signal(SIGSTOP);
  // Its server process may have stopped in the middle of a commit; somebody holds the rows for sure.
  auto zombie = administrator(database.url());
  zombie.exec("BEGIN; UPDATE shards SET head = head");
  const auto frozen = steady::now();
  REQUIRE(second.wait_until_ready(10s));
  CHECK(steady::now() - frozen <= 5s);
  for (auto& w : after.writers)
    CHECK(w.acknowledged().empty());
  settle(after, second);
  first.program().signal(SIGCONT);
  const auto status = first.program().wait(10s);
  before.stop();
  REQUIRE(status);
  CHECK(*status == 70);
  end(second);
  CHECK_THROWS(zombie.exec("COMMIT"));
  CHECK(before.compare(b, true).find("is lost") == std::string::npos);
  CHECK(verify(b) == "");
}

TEST_CASE("an owner that cannot reach the database answers reads and says how old they are",
          "[crash][postgres]") {
  postgres_server database;
  tcp_proxy proxy(database.port(), "no commit looks like this");
  scratch_directory scratch;
  const log_home far(scratch.path() / "a", database.url(proxy.port()));
  const log_home near(scratch.path() / "b", database.url());
  load writers(3, 9);
  server one(far);
  settle(writers, one);
  load reader(0);
  REQUIRE(reader.start(one.port()));
  const auto get = [&] {
    // What is in memory; older entries are in the database alone.
    const auto got =
      reader.call("session.get", R"({"app":"a","user":"u","session":"w0","last":5})");
    INFO((got ? *got : got.error().message));
    REQUIRE(got);
    return json::parse(*got);
  };
  REQUIRE(get().count("stale_ms") == 0);
  proxy.close(true);
  const auto away = steady::now();
  json seen;
  do {
    std::this_thread::sleep_for(100ms);
    seen = get();
  } while (!seen.contains("stale_ms") && steady::now() - away < 5s);
  REQUIRE(seen.contains("stale_ms"));
  CHECK(seen["stale_ms"].get<int>() >= 0);
  const auto refused = reader.call(
    "session.append",
    R"({"app":"a","user":"u","session":"w0","entries":[{"role":"user","content":"x"}]})");
  REQUIRE_FALSE(refused);
  CHECK(
    (refused.error().code == errc::unavailable || refused.error().code == errc::outcome_unknown));
  CHECK(refused.error().retry_after_ms > 0);
  CHECK(steady::now() - away < 20s);
  SECTION("it comes back, and work resumes by itself") {
    proxy.close(false);
    reader.stop();
    settle(writers, one);
    REQUIRE(reader.start(one.port()));
    const auto fresh = [&] { return get().count("stale_ms") == 0; };
    for (int i = 0; i < 30 && !fresh(); ++i)
      std::this_thread::sleep_for(100ms);
    CHECK(fresh());
    reader.stop();
    end(one);
    CHECK(verify(near) == "");
  }
  SECTION("meanwhile another node takes over; it ends when it hears of that") {
    server two(near);
    reader.stop();
    proxy.close(false);
    CHECK(one.program().wait(10s) == 70);
    settle(writers, two);
    end(two);
    CHECK(writers.compare(near) == "");
    CHECK(verify(near) == "");
  }
}

TEST_CASE("a full disk of the database refuses writes, and work resumes when there is room",
          "[crash][postgres]") {
  scratch_directory scratch;
  const auto disk = scratch.path() / "disk";
  fs::create_directory(disk);
  let_through(scratch.path());
  if (!root() || ::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=110m,mode=0777") != 0) {
    WARN("needs root to mount a small file system: skipped");
    return;
  }
  const at_end later{[&] { ::umount2(disk.c_str(), MNT_DETACH); }};
  const auto ballast = disk / "ballast";
  std::ofstream(ballast) << std::string(30 << 20, 'x');
  postgres_server database("max_wal_size=32MB", {.directory = disk});
  const log_home log(scratch.path() / "data", database.url());
  server one(log);
  load writers(3, 4);
  for (auto& w : writers.writers) {
    w.entry_bytes = 20'000;
    w.timeout = 2s;
  }
  REQUIRE(writers.start(one.port()));
  const auto began = steady::now();
  const auto refused = [&] {
    return std::all_of(writers.writers.begin(), writers.writers.end(),
                       [](const writer& w) { return w.refused(); });
  };
  while (!refused() && steady::now() - began < 60s)
    std::this_thread::sleep_for(20ms);
  writers.stop();
  REQUIRE(refused());
  REQUIRE_FALSE(one.program().ended());
  for (const auto& w : writers.writers) {
    REQUIRE(w.last_error);
    INFO(w.last_error->message);
    CHECK((w.last_error->code == errc::unavailable || w.last_error->code == errc::outcome_unknown));
  }
  fs::remove(ballast);
  database.crash();  // It may have ended by itself: without room for its own log it cannot go on.
  database.start();
  for (auto& w : writers.writers) {
    w.entry_bytes = 300;
    w.timeout = 20s;
  }
  settle(writers, one);
  end(one);
  CHECK(writers.compare(log) == "");
  CHECK(verify(log) == "");
}

TEST_CASE("a sync that fails makes the database start again, and nothing acknowledged is lost",
          "[crash][postgres]") {
  if (!root() || !shell("strace -V")) {
    WARN("needs root and strace: skipped");
    return;
  }
  postgres_server database;
  scratch_directory scratch;
  const log_home log(scratch.path() / "data", database.url());
  server one(log);
  load writers(4, 6);
  for (int round = 0; round < 2; ++round) {
    auto pids = administrator(database.url())
                  .query("SELECT pid::text FROM pg_stat_activity WHERE backend_type = "
                         "'walwriter' OR application_name LIKE 'recalld/%'");
    std::vector<std::string> words{"/usr/bin/strace",
                                   "-qq",
                                   "-o",
                                   "/dev/null",
                                   "-e",
                                   "trace=fdatasync",
                                   "-e",
                                   "inject=fdatasync:error=EIO:when=30+"};
    for (std::size_t i = 0; i < pids.rows(); ++i)
      words.insert(words.end(), {"-p", std::string(pids.view_at(i, 0))});
    process tracer(words, {}, log.directory.string() + ".strace");
    const auto crashes = [&] { return database.said("was terminated by signal 6"); };
    const auto before = crashes();
    REQUIRE(writers.start(one.port()));
    for (int i = 0; i < 100 && crashes() == before; ++i)
      std::this_thread::sleep_for(50ms);
    CHECK(crashes() > before);
    writers.stop();
    settle(writers, one);
  }
  end(one);
  CHECK(writers.compare(log) == "");
}

TEST_CASE("a power cut takes no acknowledged row away", "[crash][postgres]") {
  scratch_directory scratch;
  let_through(scratch.path());
  if (!root()) {
    WARN("needs root to mount a file system: skipped");
    return;
  }
  /// How many acknowledged appends a cut has taken; empty: none. Nothing when it cannot be tried.
  const auto cut = [&](const std::string& settings, int number) -> std::optional<std::string> {
    const auto place = scratch.path() / std::to_string(number);
    fs::create_directory(place);
    cuttable_disk disk(place);
    if (!disk.good())
      return {};
    postgres_server database(settings, {.directory = disk.path()});
    ::sync();
    const log_home log(place / "data", database.url());
    load writers(4, static_cast<std::uint64_t>(number));
    {
      server one(log, {{"RECALLD_POSTGRES_ALLOW_UNSAFE", "true"}});
      REQUIRE(writers.start(one.port()));
      std::this_thread::sleep_for(std::chrono::milliseconds(300 + 37 * number));
      REQUIRE(disk.cut());
      // Everything ends at once: the answers that are out are out.
      one.program().signal(SIGKILL);
      one.program().wait(10s);
      database.kill();
    }
    writers.stop();
    CHECK(writers.acknowledged() > 0);
    disk.unplug();
    REQUIRE(disk.plug_in());
    database.start();
    auto lost = writers.compare(log);
    if (lost.empty())
      CHECK(verify(log) == "");
    database.crash();
    return lost;
  };
  for (int i = 0; i < 3; ++i) {
    const auto lost = cut("", i);
    if (!lost) {
      WARN("cannot mount an ext4 file here: skipped");
      return;
    }
    CHECK(*lost == "");
  }
  // The same cut is seen to take something where commits are acknowledged too early.
  bool seen = false;
  for (int i = 3; i < 8 && !seen; ++i)
    seen = cut("synchronous_commit=off", i).value_or("") != "";
  CHECK(seen);
}

TEST_CASE("a network that loses everything for a while loses nothing of the log",
          "[crash][postgres]") {
  const auto name = "recalld" + std::to_string(::getpid());
  const auto host = "rh" + std::to_string(::getpid() % 100'000);
  const auto peer = "rp" + std::to_string(::getpid() % 100'000);
  const at_end later{[&] {
    shell("ip link del " + host);
    shell("ip netns del " + name);
  }};
  const auto inside = "ip netns exec " + name + " ";
  if (!root() || !shell("ip netns add " + name)
      || !shell("ip link add " + host + " type veth peer name " + peer + " netns " + name)
      || !shell("ip addr add 10.213.71.1/30 dev " + host) || !shell("ip link set " + host + " up")
      || !shell(inside + "ip addr add 10.213.71.2/30 dev " + peer)
      || !shell(inside + "ip link set " + peer + " up") || !shell(inside + "ip link set lo up")) {
    WARN("needs root and network namespaces: skipped");
    return;
  }
  postgres_server database("", {.network = "/run/netns/" + name, .address = "10.213.71.2"});
  scratch_directory scratch;
  const log_home log(scratch.path() / "data", database.url());
  server one(log);
  load writers(4, 8);
  for (auto& w : writers.writers)
    w.timeout = 8s;
  for (const auto away : {500ms, 6000ms}) {
    REQUIRE(writers.start(one.port()));
    std::this_thread::sleep_for(200ms);
    const auto before = writers.acknowledged();
    CHECK(before > 0);
    REQUIRE(shell(inside + "ip link set " + peer + " down"));
    std::this_thread::sleep_for(away);
    REQUIRE(shell(inside + "ip link set " + peer + " up"));
    writers.stop();
    settle(writers, one);
  }
  REQUIRE_FALSE(one.program().ended());
  end(one);
  CHECK(writers.compare(log) == "");
  CHECK(verify(log) == "");
}

}  // namespace recalld::tests

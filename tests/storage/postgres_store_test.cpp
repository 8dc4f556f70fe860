#include "storage/postgres_store.hpp"

#include "storage/replay.hpp"
#include "tests/storage/subject.hpp"
#include "tests/tcp_proxy.hpp"

#include <chrono>
#include <map>
#include <thread>

/// What the Postgres store promises beyond the contract of every store.
namespace recalld::storage::testing {

using recalld::tests::link_fault;
using recalld::tests::postgres_server;
using recalld::tests::tcp_proxy;

namespace {

/// Part of the payload of every fact that these tests commit, so that a proxy knows a commit.
constexpr std::string_view marker = "hello";

postgres_options through(const tcp_proxy& proxy, postgres_options options) {
  options.url = postgres_server::shared().url(proxy.port());
  options.answer_ms_max = 1000;
  return options;
}

std::vector<append_unit> one(append_unit u) {
  std::vector<append_unit> out;
  out.push_back(std::move(u));
  return out;
}

}  // namespace

TEST_CASE("200 commits whose link is cut: none is lost, none is there twice", "[postgres]") {
  tcp_proxy proxy(postgres_server::shared().port(), marker);
  const postgres_backend backend;
  auto s = must(open_postgres(through(proxy, backend.options)));
  auto& w = s->writer();
  const auto epoch = must(w.take_shard(0));
  constexpr link_fault faults[] = {link_fault::swallow_answer, link_fault::cut_before,
                                   link_fault::cut_within, link_fault::half_close};
  constexpr int commits = 200;
  for (int i = 0; i < commits; ++i) {
    INFO(i);
    proxy.strike(faults[i % std::size(faults)]);
    const auto name = session_named("s" + std::to_string(i % 7));
    // Every other one without a command id: the log alone has to know.
    const auto out = must(w.commit(
      0, epoch,
      one(unit(name, {}, {entry(std::to_string(i))}, i % 2 ? "c" + std::to_string(i) : ""))));
    REQUIRE_FALSE(out.front().refused);
    REQUIRE(out.front().parts.front().position == static_cast<position_t>(i + 1));
  }
  CHECK(proxy.struck() == commits);
  auto reader = must(s->open_reader());
  std::map<std::string, int> seen;
  for (const auto& fact : must(reader->scan(0, 0, 1000)).facts)
    ++seen[std::string(fact_key::entry_id(fact.key))];
  REQUIRE(seen.size() == commits);
  for (const auto& [id, times] : seen)
    CHECK(times == 1);
}

TEST_CASE("a link that stalls is given up, one that is slow is not", "[postgres]") {
  tcp_proxy proxy(postgres_server::shared().port(), marker);
  const postgres_backend backend;
  auto s = must(open_postgres(through(proxy, backend.options)));
  auto& w = s->writer();
  const auto epoch = must(w.take_shard(0));
  for (const auto fault : {link_fault::delay, link_fault::stall, link_fault::none}) {
    proxy.strike(fault);
    const auto begin = std::chrono::steady_clock::now();
    const auto out =
      must(w.commit(0, epoch, one(unit(session_named("s"), {}, {track_item("t", R"("hello")")}))));
    CHECK_FALSE(out.front().refused);
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(5));
  }
  CHECK(must(must(s->open_reader())->head(0)) == 3);
}

TEST_CASE("a repeated command gets its first receipt after its answer was lost", "[postgres]") {
  tcp_proxy proxy(postgres_server::shared().port(), marker);
  const postgres_backend backend;
  auto options = through(proxy, backend.options);
  options.resolve_ms_max = 300;
  auto s = must(open_postgres(options));
  auto& w = s->writer();
  const auto epoch = must(w.take_shard(0));
  auto reader = must(open_postgres(backend.options));
  must(w.commit(0, epoch, one(unit(session_named("s"), 0, {created()}))));
  // The answer is lost, and the database stays away for longer than the writer asks.
  proxy.strike(link_fault::swallow_answer);
  const auto units = one(unit(session_named("s"), 1, {entry("a")}, "cmd"));
  std::thread away([&] {
    while (proxy.struck() == 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    proxy.close(true);
  });
  const auto lost = w.commit(0, epoch, units);
  away.join();
  CHECK(code_of(lost) == errc::outcome_unknown);
  CHECK(w.resolves_unknown());
  const auto still = w.commit(0, epoch, units);
  CHECK(code_of(still) == errc::unavailable);
  CHECK(still.error().retry_after_ms > 0);
  // It comes back, and work resumes by itself.
  proxy.close(false);
  const auto out = must(w.commit(0, epoch, units));
  const auto head = must(must(reader->open_reader())->head(0));
  CHECK(head == 2);
  if (out.front().refused)
    CHECK(out.front().refused->why == refusal::reason::duplicate_command);
  CHECK_FALSE(must(w.commit(0, epoch, one(unit(session_named("s"), 2, {entry("b", 2)}))))
                .front()
                .refused);
}

TEST_CASE("a server that crashes and starts again loses nothing, and work resumes by itself",
          "[postgres]") {
  postgres_server server;
  auto s = must(open_postgres(
    {.url = server.url(), .shards = 1, .writers = 1, .resolve_ms_max = 200}));
  auto& w = s->writer();
  const auto epoch = must(w.take_shard(0));
  auto reader = must(s->open_reader());
  const auto more = [&] {
    return w.commit(0, epoch, one(unit(session_named("s"), {}, {track_item("t")})));
  };
  for (position_t round = 1; round <= 3; ++round) {
    must(more());
    server.crash();
    // The commit notices that its link is dead; whether it happened can be told only later.
    const auto away = more();
    REQUIRE_FALSE(away);
    CHECK((away.error().code == errc::outcome_unknown || away.error().code == errc::unavailable));
    CHECK(code_of(more()) == errc::unavailable);
    CHECK(code_of(reader->head(0)) == errc::unavailable);
    server.start();
    CHECK(must(reader->head(0)) == round);
  }
  must(more());
  CHECK(must(reader->head(0)) == 4);
}

TEST_CASE("of two writers the one that took the shard last goes on", "[postgres]") {
  const postgres_backend backend;
  const auto& options = backend.options;
  auto first = must(open_postgres(options));
  must(first->writer().take_shard(0));
  auto second = must(open_postgres(options));
  const auto epoch = must(second->writer().take_shard(0));
  CHECK_FALSE(must(second->writer().commit(0, epoch, one(unit(session_named("s"), 0, {created()}))))
                .front()
                .refused);
  CHECK(code_of(first->writer().commit(0, epoch - 1,
                                       one(unit(session_named("s"), 1, {entry("a")}))))
        == errc::fenced);
}

TEST_CASE("settings that lose acknowledged writes are refused, unless they are accepted",
          "[postgres]") {
  const std::string setting = GENERATE("fsync=off", "full_page_writes=off", "synchronous_commit=off");
  INFO(setting);
  postgres_server server(setting);
  postgres_options options{.url = server.url()};
  const auto refused = open_postgres(options);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::unavailable);
  CHECK(refused.error().message.find(setting.substr(0, setting.find('='))) != std::string::npos);
  CHECK(refused.error().message.find("--allow-unsafe") != std::string::npos);
  CHECK(must(postgres_risks(server.url())).size() == 1);
  options.allow_unsafe = true;
  CHECK(open_postgres(options));
}

TEST_CASE("a log that is not there, or a server that is not, is told as it is", "[postgres]") {
  postgres_backend backend;
  backend.options.read_only = true;
  CHECK(code_of(open_postgres(backend.options)) == errc::not_found);
  backend.options.url = "postgres://recalld@127.0.0.1:1/postgres";
  CHECK(code_of(open_postgres(backend.options)) == errc::unavailable);
  CHECK(printable_postgres_url("postgres://me:secret@h/db") == "postgres://me:***@h/db");
  CHECK(printable_postgres_url("postgres://me@h:5/db") == "postgres://me@h:5/db");
  CHECK(is_postgres_url("postgresql://h/db"));
  CHECK_FALSE(is_postgres_url("./postgres"));
}

}  // namespace recalld::storage::testing

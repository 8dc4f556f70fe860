#include "bench/server.hpp"
#include "events/approval.hpp"
#include "events/canonical.hpp"
#include "events/json.hpp"
#include "projections/supervision_rows.hpp"
#include "storage/sqlite_store.hpp"

#include <caf/all.hpp>

#include <atomic>
#include <stdexcept>
#include <thread>

namespace recalld::bench {

namespace {

using namespace std::chrono_literals;
namespace agenda = projections::agenda;

constexpr std::size_t lanes = 64;

time_us_t now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
           std::chrono::system_clock::now().time_since_epoch())
    .count();
}

template <class T>
T must(result<T> r) {
  if (!r)
    throw std::runtime_error(r.error().message);
  return std::move(*r);
}

/// What run `n` asks for.
approval::question question_of(std::size_t n) {
  approval::question q;
  q.run = "run" + std::to_string(n);
  q.tool = "mail";
  q.args = "null";
  q.args_hash = sha256_hex(q.args);
  return q;
}
std::string id_of(std::size_t n) {
  const auto stream = approval::call_stream("default", question_of(n), "");
  return std::string(stream.parts()[1]) + ".1";
}
std::string request_of(std::size_t n, std::size_t expires_s) {
  return R"({"tool":"mail","run":"run)" + std::to_string(n) + R"(","expires_s":)"
         + std::to_string(expires_s) + "}";
}

/// Requests `count` approvals, many at once.
void request_all(server& node, std::size_t count, std::size_t expires_s) {
  std::atomic<std::size_t> next{0};
  drive(
    node, "approval.request", lanes,
    [&](std::size_t) -> std::optional<std::string> {
      const auto n = next.fetch_add(1);
      return n < count ? std::optional(request_of(n, expires_s)) : std::nullopt;
    },
    0);
}

/// When each waiter had its answer.
struct answers {
  explicit answers(std::size_t count) : at(count) {}
  std::vector<std::atomic<time_us_t>> at;
};

caf::behavior waiters(caf::event_based_actor* self, actors::gateway_handle gateway,
                      std::shared_ptr<answers> seen) {
  for (std::size_t n = 0; n < seen->at.size(); ++n)
    self
      ->request(gateway, caf::infinite, actors::protocol_version, std::string("approval.wait"),
                R"({"approval":")" + id_of(n) + R"(","wait_ms":60000})")
      .then([seen, n](std::uint16_t, const std::string&) { seen->at[n] = now_us(); },
            [](const caf::error&) {});
  return {[](caf::ok_atom) {}};
}

void wakes(const plan& p) {
  const std::size_t count = p.quick ? 200 : 10'000;
  const std::size_t decided = count / 10;
  const scratch place(p);
  server node({.log = place.path() / "log"});
  request_all(node, count, 3'600);
  auto seen = std::make_shared<answers>(count);
  const auto crowd = node.system().spawn(waiters, node.gateway(), seen);
  std::this_thread::sleep_for(2s);
  histogram wake;
  histogram resolve;
  for (std::size_t i = 0; i < decided; ++i) {
    const auto n = i * 7 % count;
    const stopwatch watch;
    node.ask("approval.resolve",
             R"({"approval":")" + id_of(n) + R"(","decision":"approved","by":"ada"})");
    resolve.add(watch.us());
    const auto answered = now_us();
    while (seen->at[n] == 0) {
      if (now_us() - answered > 10'000'000)
        throw std::runtime_error("a waiter was not woken");
      std::this_thread::sleep_for(20us);
    }
    wake.add(static_cast<double>(std::max<time_us_t>(1, seen->at[n] - answered)));
  }
  const auto name = "waiting.waiters=" + std::to_string(count);
  print(name + ".wake_p50", wake.quantile(0.5), "us", resolve.quantile(0.5));
  print(name + ".wake_p99", wake.quantile(0.99), "us", resolve.quantile(0.99));
  caf::anon_send_exit(crowd, caf::exit_reason::user_shutdown);
}

/// How long after its deadline each request had expired in the log.
void lateness(const plan& p) {
  const std::size_t count = p.quick ? 200 : 10'000;
  const scratch place(p);
  server node({.log = place.path() / "log"});
  request_all(node, count, 3);
  std::this_thread::sleep_for(5s);
  histogram late;
  std::string cursor;
  do {
    const auto answer = node.ask("approval.list", R"({"status":"expired","limit":1000)"
                                                    + (cursor.empty() ? "}" : cursor + "}"));
    cursor.clear();
    for (const auto& m : must(json::members(answer, ""))) {
      if (m.name == "next_cursor")
        cursor = R"(,"cursor":)" + std::string(m.raw);
      if (m.name != "approvals")
        continue;
      for (const auto one : must(json::elements(m.raw, ""))) {
        time_us_t due = 0;
        time_us_t done = 0;
        for (const auto& part : must(json::members(one, "")))
          if (part.name == "expires_at" || part.name == "resolved_at")
            (part.name == "expires_at" ? due : done) =
              must(parse_time(must(json::as_string(part.raw, "")), ""));
        late.add(static_cast<double>(std::max<time_us_t>(1, done - due)));
      }
    }
  } while (!cursor.empty());
  if (late.count() != count)
    throw std::runtime_error("not every request has expired");
  const auto name = "waiting.deadlines=" + std::to_string(count);
  const auto sync = sync_us(place.path());
  print(name + ".late_p50", late.quantile(0.5), "us", sync);
  print(name + ".late_p99", late.quantile(0.99), "us", sync);
  print(name + ".late_max", late.quantile(1), "us", sync);
}

/// Many schedules that are due at the same second.
void tick(const plan& p) {
  constexpr time_us_t every = 10'000'000;
  const std::size_t count = p.quick ? 50 : 1'000;
  const scratch place(p);
  server node({.log = place.path() / "log"});
  const auto for_each = [&](const std::string& operation, const std::string& more) {
    std::atomic<std::size_t> next{0};
    const stopwatch watch;
    drive(
      node, operation, lanes,
      [&](std::size_t) -> std::optional<std::string> {
        const auto n = next.fetch_add(1);
        return n < count
                 ? std::optional(R"({"schedule":"s)" + std::to_string(n) + "\"" + more + "}")
                 : std::nullopt;
      },
      0);
    return watch.us();
  };
  // Not so late that the first tick comes while they are being defined.
  while (now_us() % every > every / 2)
    std::this_thread::sleep_for(100ms);
  for_each("schedule.define", R"(,"expression":"*/10 * * * * *","kind":"k")");
  std::vector<double> took;
  for (std::size_t i = 0; i < p.repetitions(); ++i) {
    const auto due = (now_us() / every + 1) * every;
    const auto before = node.figures().facts;
    while (node.figures().facts < before + 2 * count) {  // The run, and the next due time.
      if (now_us() - due > every / 2)
        throw std::runtime_error("not everything came due");
      std::this_thread::sleep_for(1ms);
    }
    took.push_back(static_cast<double>(now_us() - due));
  }
  print("waiting.tick=" + std::to_string(count), median(took), "us",
        for_each("schedule.trigger", ""));
}

/// From the start of a node until the supervisor has every deadline in view.
void arming(const plan& p) {
  const std::size_t count = p.quick ? 1'000 : 100'000;
  const scratch place(p);
  const auto log = place.path() / "log";
  {
    auto store = must(storage::open_sqlite({.directory = log}));
    const auto epoch = must(store->writer().take_shard(0));
    std::vector<storage::append_unit> units;
    const auto now = now_us();
    for (std::size_t n = 0; n < count; ++n) {
      storage::stream_append one;
      one.stream = approval::call_stream("default", question_of(n), "");
      one.facts.push_back(approval::fact(
        approval::requested{id_of(n), question_of(n), now + 1'800'000'000 + std::int64_t(n)}));
      storage::append_unit unit;
      unit.parts.push_back(std::move(one));
      unit.time = now;
      units.push_back(std::move(unit));
      if (units.size() == 1'000 || n + 1 == count) {
        must(store->writer().commit(0, epoch, units));
        units.clear();
      }
    }
  }
  std::vector<double> armed;
  std::vector<double> read;
  for (std::size_t i = 0; i < p.repetitions(); ++i) {
    {
      const stopwatch watch;
      server node({.log = log});
      while (node.figures().deadlines < count)
        std::this_thread::sleep_for(1ms);
      armed.push_back(watch.us());
    }
    auto store = must(storage::open_sqlite({.directory = log}));
    auto reader = must(store->open_reader());
    const stopwatch watch;
    must(reader->rows({.table = &agenda::spec, .index = agenda::by_at, .limit = count}));
    read.push_back(watch.us());
  }
  print("waiting.armed=" + std::to_string(count), median(armed), "us", median(read));
}

}  // namespace

void waiting(const plan& p) {
  if (p.wants("waiting", "waiting.waiters"))
    wakes(p);
  if (p.wants("waiting", "waiting.deadlines"))
    lateness(p);
  if (p.wants("waiting", "waiting.tick"))
    tick(p);
  if (p.wants("waiting", "waiting.armed"))
    arming(p);
}

}  // namespace recalld::bench

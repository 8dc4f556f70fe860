#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

#include <CLI/App.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "cli/commands.hpp"
#include "cli/connection.hpp"
#include "cli/exit_code.hpp"
#include "cli/progress.hpp"
#include "cli/text_table.hpp"
#include "events/json.hpp"

namespace recalld::cli {

namespace {

using clock_type = std::chrono::steady_clock;

struct options {
  unsigned sessions = 64;
  double seconds = 5;
  unsigned bytes = 400;
  unsigned batch = 1;
  bool embedded = false;
};

/// How one kind of request did.
struct outcome {
  std::string name;
  std::uint64_t calls = 0;
  std::uint64_t entries = 0;
  std::uint64_t failed = 0;
  double seconds = 0;
  std::vector<std::uint32_t> latency_us;  ///< Sorted.
  std::optional<error> first_error;

  double per_second() const { return seconds > 0 ? static_cast<double>(entries) / seconds : 0; }
  double percentile_ms(double p) const {
    if (latency_us.empty())
      return 0;
    const auto at = static_cast<std::size_t>(p * static_cast<double>(latency_us.size() - 1));
    return latency_us[at] / 1000.0;
  }
};

/// Keeps one request of each session on its way until the time is over.
class load {
public:
  load(connection& to, std::string name, std::string_view operation, std::uint64_t entries_per_call)
    : to_(to), operation_(operation), entries_per_call_(entries_per_call) {
    result_.name = std::move(name);
  }

  outcome run(unsigned sessions, double seconds, std::function<std::string(unsigned)> request,
              progress& bar) {
    request_ = std::move(request);
    begin_ = clock_type::now();
    end_ =
      begin_
      + std::chrono::duration_cast<clock_type::duration>(std::chrono::duration<double>(seconds));
    in_flight_ = sessions;
    for (unsigned i = 0; i < sessions; ++i)
      send(i);
    std::unique_lock guard(lock_);
    while (!idle_.wait_for(guard, std::chrono::milliseconds(100), [&] { return in_flight_ == 0; }))
      bar.at(result_.calls);
    result_.seconds = elapsed();
    std::sort(result_.latency_us.begin(), result_.latency_us.end());
    return std::move(result_);
  }

private:
  double elapsed() const {
    return std::chrono::duration<double>(clock_type::now() - begin_).count();
  }

  void send(unsigned session) {
    const auto sent = clock_type::now();
    to_.client().call_async(
      operation_, request_(session), to_.completed({}),
      [this, session, sent](const recalld::client::answer& a) { answered(session, sent, a); });
  }

  void answered(unsigned session, clock_type::time_point sent, const recalld::client::answer& a) {
    const auto now = clock_type::now();
    {
      const std::lock_guard guard(lock_);
      const auto us = std::chrono::duration_cast<std::chrono::microseconds>(now - sent).count();
      if (a) {
        ++result_.calls;
        result_.entries += entries_per_call_;
        result_.latency_us.push_back(static_cast<std::uint32_t>(us));
      } else {
        ++result_.failed;
        if (!result_.first_error)
          result_.first_error = a.error();
      }
      if (now >= end_ || !a) {
        if (--in_flight_ == 0)
          idle_.notify_all();
        return;
      }
    }
    send(session);
  }

  connection& to_;
  std::string operation_;
  std::uint64_t entries_per_call_;
  std::function<std::string(unsigned)> request_;
  clock_type::time_point begin_;
  clock_type::time_point end_;
  std::mutex lock_;
  std::condition_variable idle_;
  unsigned in_flight_ = 0;
  outcome result_;
};

std::string session_name(unsigned i) { return fmt::format("bench-{}-{}", ::getpid(), i); }

json::object_writer address(unsigned i) {
  json::object_writer w;
  w.str("app", "recalld-bench").str("user", "bench").str("session", session_name(i));
  return w;
}

result<void> each_session(connection& to, unsigned sessions, std::string_view operation) {
  for (unsigned i = 0; i < sessions; ++i)
    if (auto done = to.call(operation, address(i).done()); !done)
      return fail(done.error());
  return {};
}

std::string json_of(const outcome& r) {
  json::object_writer w;
  w.str("name", r.name).num("calls", r.calls).num("entries", r.entries).num("failed", r.failed);
  w.raw("seconds", fmt::format("{:.3f}", r.seconds))
    .raw("entries_per_second", fmt::format("{:.0f}", r.per_second()));
  w.raw("p50_ms", fmt::format("{:.3f}", r.percentile_ms(0.5)))
    .raw("p95_ms", fmt::format("{:.3f}", r.percentile_ms(0.95)));
  w.raw("p99_ms", fmt::format("{:.3f}", r.percentile_ms(0.99)))
    .raw("max_ms", fmt::format("{:.3f}", r.percentile_ms(1)));
  return std::move(w).done();
}

int bench(const invocation& call, const options& o) {
  auto to = connection::open(call, o.embedded);
  if (!to)
    return call.fail(to.error());
  if (auto made = each_session(**to, o.sessions, "session.create"); !made)
    return call.fail(made.error());

  const std::string content(o.bytes, 'x');
  std::string entries = "[";
  for (unsigned i = 0; i < o.batch; ++i) {
    json::object_writer w;
    w.str("role", i % 2 == 0 ? "user" : "assistant").str("content", content);
    entries += (i > 0 ? "," : "") + std::move(w).done();
  }
  entries += "]";
  std::vector<outcome> results;
  for (const bool writes : {true, false}) {
    progress bar(call.err, writes ? "append" : "read", "requests", 0, !call.err.tty);
    load l(**to, writes ? "append" : "read the last 20", writes ? "session.append" : "session.get",
           writes ? o.batch : 1);
    results.push_back(l.run(
      o.sessions, o.seconds,
      [&](unsigned i) {
        auto w = address(i);
        if (writes)
          w.raw("entries", entries);
        else
          w.num("last", std::uint64_t{20});
        return std::move(w).done();
      },
      bar));
  }
  const auto cleaned = each_session(**to, o.sessions, "session.delete");

  text_table table({{.title = "WHAT", .paint = style::cyan},
                    {.title = "PER SECOND", .side = text_table::align::right},
                    {.title = "P50", .side = text_table::align::right},
                    {.title = "P95", .side = text_table::align::right},
                    {.title = "P99", .side = text_table::align::right},
                    {.title = "MAX", .side = text_table::align::right},
                    {.title = "FAILED", .side = text_table::align::right}});
  std::string array = "[";
  for (const auto& r : results) {
    const auto ms = [&](double p) { return fmt::format("{:.2f} ms", r.percentile_ms(p)); };
    table.add({r.name, grouped(static_cast<std::uint64_t>(r.per_second())), ms(0.5), ms(0.95),
               ms(0.99), ms(1), grouped(r.failed)});
    array += (array.size() > 1 ? "," : "") + json_of(r);
  }
  if (call.json) {
    json::object_writer w;
    w.num("sessions", static_cast<std::uint64_t>(o.sessions))
      .num("batch", static_cast<std::uint64_t>(o.batch));
    w.num("bytes", static_cast<std::uint64_t>(o.bytes)).raw("results", array + "]");
    fmt::print("{}\n", std::move(w).done());
  } else {
    fmt::print("{} sessions, {} entries of {} bytes in a request, {} a phase\n\n{}", o.sessions,
               o.batch, o.bytes, human_seconds(o.seconds), table.render(call.out));
  }
  for (const auto& r : results)
    if (r.first_error)
      return call.fail(*r.first_error);
  return cleaned ? exit_code::success : call.fail(cleaned.error());
}

}  // namespace

command bench_command() {
  return {
    .name = "bench",
    .summary =
      "Measure appends and reads against a server, with sessions that are deleted afterwards.",
    .audience = used_by::client | used_by::store,
    .examples = {"recalld bench", "recalld bench --sessions 256 --batch 10 --seconds 10 --json",
                 "recalld bench --embedded --data scratch"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app
        .add_option("--sessions", o->sessions,
                    "Sessions, each with one request on its way. Default: 64.")
        ->type_name("N")
        ->check(CLI::Range(1, 10'000));
      app.add_option("--seconds", o->seconds, "Length of each of the two phases. Default: 5.")
        ->type_name("N")
        ->check(CLI::Range(0.1, 3600.0));
      app.add_option("--bytes", o->bytes, "Size of an entry's text. Default: 400.")
        ->type_name("N")
        ->check(CLI::Range(1, 200'000));
      app.add_option("--batch", o->batch, "Entries in a request. Default: 1.")
        ->type_name("N")
        ->check(CLI::Range(1, 500));
      add_embedded_flag(app, o->embedded);
      return [o](const invocation& call) { return bench(call, *o); };
    },
    .heading = "Server",
  };
}

}  // namespace recalld::cli

#include <condition_variable>
#include <memory>
#include <mutex>

#include <CLI/App.hpp>
#include <fmt/format.h>

#include "cli/addressing.hpp"
#include "cli/commands.hpp"
#include "cli/connection.hpp"
#include "cli/entry_view.hpp"
#include "cli/exit_code.hpp"
#include "cli/interruption.hpp"
#include "cli/json_view.hpp"

namespace recalld::cli {

namespace {

struct options {
  std::string session;
  std::string after;
  bool from_start = false;
  bool embedded = false;
  std::uint64_t count = 0;
};

/// A value that one thread waits for and others may give.
class ending {
public:
  void tell(error e) {
    const std::lock_guard guard(lock_);
    if (!told_)
      told_ = std::move(e);
    changed_.notify_all();
  }
  void finish() {
    const std::lock_guard guard(lock_);
    finished_ = true;
    changed_.notify_all();
  }
  bool finished() {
    const std::lock_guard guard(lock_);
    return finished_ || told_.has_value();
  }
  bool wait_for(std::chrono::milliseconds time) {
    std::unique_lock guard(lock_);
    return changed_.wait_for(guard, time, [&] { return finished_ || told_.has_value(); });
  }
  std::optional<error> failure() {
    const std::lock_guard guard(lock_);
    return told_;
  }

private:
  std::mutex lock_;
  std::condition_variable changed_;
  bool finished_ = false;
  std::optional<error> told_;
};

void print_fact(const invocation& call, const json_view& fact) {
  if (call.json) {
    fmt::print("{}\n", fact.text());
    return;
  }
  const auto type = fact.str("type");
  const json_view payload(fact.raw("payload").value_or("{}"));
  std::string gist;
  if (const auto entry = payload.raw("entry"); entry && type == "session.entry_appended")
    gist = fmt::format("{}: {}", payload.str("role"), entry_gist(*entry));
  else
    gist = std::string(payload.text());
  const json_view stream(fact.raw("stream").value_or("{}"));
  std::string where = stream.text().starts_with('{') ? "" : fact.str("stream");
  for (const char* part : {"app", "user", "session"})
    if (const auto id = stream.str(part); !id.empty())
      where += (where.empty() ? "" : "/") + id;
  auto line =
    printable(fmt::format("{:>8}  {}  {} {}", fact.num("position"),
                          short_time(fact.str("recorded_at")), where, fact.num("version")));
  auto rest = printable(gist);
  if (call.out.width > 0) {
    const auto used = display_width(line) + type.size() + 4;
    rest = cut_to(rest, used < call.out.width ? call.out.width - used : 0);
  }
  fmt::print("{}  {}  {}\n", call.out.paint(style::dim, line), call.out.paint(style::cyan, type),
             rest);
}

int tail(const invocation& call, const options& o) {
  interruption interrupted;
  watch_request wish;
  wish.tenant = call.settings.text("tenant");
  wish.app = call.settings.text("app");
  wish.user = call.settings.text("user");
  wish.session = o.session;
  wish.after = o.after;
  wish.from_start = o.from_start;
  if (!o.session.empty())
    if (auto key = session_key_of(call, o.session); !key)
      return call.fail(key.error());
  auto to = connection::open(call, o.embedded);
  if (!to)
    return call.fail(to.error());
  ending end;
  std::uint64_t seen = 0;
  auto watching = (*to)->client().watch(
    std::move(wish),
    [&](const watch_batch& batch) {
      for (const auto fact :
           json::elements(batch.facts, "facts").value_or(std::vector<std::string_view>{})) {
        if (end.finished())
          return;
        print_fact(call, json_view(fact));
        if (++seen == o.count)
          end.finish();
      }
      if (std::fflush(stdout) != 0)
        end.tell({errc::unavailable, "the output cannot be written any further"});
    },
    [&](const error& e) { end.tell(e); });
  if (!watching)
    return call.fail(watching.error());
  while (!end.wait_for(std::chrono::milliseconds(50)))
    if (interrupted.came(std::chrono::milliseconds(50)))
      break;
  const auto cursor = watching->cursor();
  if (auto failed = end.failure())
    return call.fail(*failed);
  if (!cursor.empty() && !call.json)
    call.note(fmt::format("go on with: --after {}", cursor));
  return exit_code::success;
}

}  // namespace

command tail_command() {
  return {
    .name = "tail",
    .summary = "Follow what is recorded, as it happens, until Ctrl-C.",
    .details = "Follows the tenant, or what --app, --user and SESSION narrow it to.",
    .audience = used_by::client | used_by::store | used_by::session,
    .examples = {"recalld tail", "recalld tail s1 --app demo --user anna --from-start",
                 "recalld tail --app demo --json | jq .payload"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app.add_option("SESSION", o->session, "Only this session.");
      app.add_flag("--from-start", o->from_start, "Begin with the first fact of the log.");
      app.add_option("--after", o->after, "Begin behind a cursor that an earlier tail named.")
        ->type_name("CURSOR");
      app.add_option("--count", o->count, "End after so many facts.")->type_name("N");
      add_embedded_flag(app, o->embedded);
      return [o](const invocation& call) { return tail(call, *o); };
    },
    .heading = "Sessions",
  };
}

}  // namespace recalld::cli

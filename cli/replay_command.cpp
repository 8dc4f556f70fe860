#include <fstream>
#include <iostream>
#include <limits>
#include <memory>

#include <CLI/App.hpp>
#include <fmt/format.h>

#include "cli/addressing.hpp"
#include "cli/commands.hpp"
#include "cli/log_replay.hpp"
#include "cli/replay_view.hpp"
#include "storage/dump.hpp"

namespace recalld::cli {

namespace {

struct options {
  std::string session;
  std::string at;
  bool step = false;
  std::string diff;
  std::size_t entries = 20;
  bool verify = false;
  std::string rebuild;
  std::string from;
};

result<version_t> version_at(session_past& past, const std::optional<point>& p,
                             version_t otherwise) {
  return p ? past.resolve(*p) : result<version_t>(otherwise);
}

int replay_session(const invocation& call, const options& o, storage::log_reader& log) {
  auto key = session_key_of(call, o.session);
  if (!key)
    return call.fail(key.error());
  const auto at = parse_point(o.at, "--at");
  if (!at)
    return call.fail(at.error());
  auto past = session_past::open(log, key->stream());
  if (!past)
    return call.fail(past.error());
  if (!o.diff.empty()) {
    const auto range = parse_point_range(o.diff, "--diff");
    if (!range)
      return call.fail(range.error());
    const auto first = version_at(*past, range->first, past->first());
    if (!first)
      return call.fail(first.error());
    const auto last = version_at(*past, range->last, past->head());
    if (!last)
      return call.fail(last.error());
    return show_difference(call, *past, *first, *last);
  }
  const auto version = version_at(*past, *at, past->head());
  if (!version)
    return call.fail(version.error());
  return o.step ? show_steps(call, *past, *version) : show_moment(call, *past, *version, o.entries);
}

/// The store of the data directory, or an exported log in memory.
result<std::unique_ptr<storage::store>> open_source(const invocation& call, const options& o) {
  if (o.from.empty())
    return o.rebuild.empty() ? open_log_to_read(call) : open_log_to_write(call);
  if (o.from == "-")
    return storage::read_dump(std::cin);
  std::ifstream in(o.from, std::ios::binary);
  if (!in)
    return fail(errc::not_found, fmt::format("cannot read {}", o.from));
  auto read = storage::read_dump(in);
  if (!read)
    read.error().message = fmt::format("{}: {}", o.from, read.error().message);
  return read;
}

/// The options that go together; a message about those that do not.
std::string contradiction(const options& o) {
  const int whole_log = (o.verify ? 1 : 0) + (o.rebuild.empty() ? 0 : 1);
  const int of_session = (o.step ? 1 : 0) + (o.diff.empty() ? 0 : 1);
  if (whole_log > 1 || of_session > 1)
    return "--verify, --rebuild, --step and --diff are different things to do: give one";
  if (whole_log == 1 && (of_session == 1 || !o.session.empty() || !o.at.empty()))
    return "--verify and --rebuild are about the whole log, not about one session";
  if (whole_log == 1 && !o.from.empty())
    return "an exported log has no tables: --verify and --rebuild are for the store";
  if (whole_log == 0 && o.session.empty() && (o.from.empty() || of_session == 1 || !o.at.empty()))
    return "which session? Give its id, or --verify or --rebuild for the whole log";
  if (!o.diff.empty() && !o.at.empty())
    return "--diff names its points itself";
  return {};
}

int replay(const invocation& call, const options& o) {
  if (const auto wrong = contradiction(o); !wrong.empty())
    return call.fail({errc::invalid, wrong});
  auto store = open_source(call, o);
  if (!store)
    return call.fail(store.error());
  if (!o.rebuild.empty())
    return rebuild_rows(call, **store, o.rebuild);
  auto log = (*store)->open_reader();
  if (!log)
    return call.fail(log.error());
  if (!o.from.empty() && o.session.empty())
    return summarise_log(call, **log);
  return o.verify ? verify_rows(call, **log) : replay_session(call, o, **log);
}

}  // namespace

command replay_command() {
  return {
    .name = "replay",
    .summary =
      "Fold the log again: a session as it was, what changed, and whether every row is right.",
    .details = "Reads the store itself; a server may be running on it. VERSION counts a session's "
               "facts from 1;\n"
               "TIME is RFC 3339, such as 2026-01-31T12:00:00Z. Only --rebuild writes, and needs "
               "the server stopped.",
    .audience = used_by::store | used_by::session,
    .examples =
      {"recalld replay s1 --app demo --user anna                     as it is now",
       "recalld replay s1 --app demo --user anna --at 12             as of version 12",
       "recalld replay s1 --app demo --user anna --at 2026-01-31T12:00:00Z",
       "recalld replay s1 --app demo --user anna --step              fact by fact",
       "recalld replay s1 --app demo --user anna --diff 5..12        what changed",
       "recalld replay --verify                                      every row against the log",
       "recalld replay --rebuild all                                 write every row again",
       "recalld replay s1 --app demo --user anna --from log.jsonl    from an exported log"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app.add_option("SESSION", o->session, "The session's id.");
      app.add_option("--at", o->at, "The session as of then. Default: the newest version.")
        ->type_name("VERSION|TIME");
      app.add_flag("--step", o->step,
                   "Show each fact with what it changed; on a terminal, Enter goes on.");
      app
        .add_option("--diff", o->diff,
                    "What changed between two points; without A from the beginning.")
        ->type_name("A..B");
      app
        .add_option("--entries", o->entries,
                    "How many of the newest entries are shown. Default: 20.")
        ->type_name("N");
      app.add_flag("--verify", o->verify,
                   "Fold the whole log and compare every row of every table.");
      app.add_option("--rebuild", o->rebuild, "Write a table's rows again from the log.")
        ->type_name("NAME|all");
      app
        .add_option(
          "--from", o->from,
          "Replay an exported log instead of the store; without a session, tell what is in it.")
        ->type_name("FILE");
      return [o](const invocation& call) { return replay(call, *o); };
    },
    .heading = "Data",
  };
}

}  // namespace recalld::cli

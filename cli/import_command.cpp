#include <atomic>
#include <condition_variable>
#include <deque>
#include <fstream>
#include <iostream>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>
#include <thread>

#include <CLI/App.hpp>
#include <fmt/format.h>

#include "cli/addressing.hpp"
#include "cli/commands.hpp"
#include "cli/connection.hpp"
#include "cli/exit_code.hpp"
#include "cli/import_file.hpp"
#include "cli/progress.hpp"
#include "cli/text_table.hpp"
#include "events/json.hpp"

namespace recalld::cli {

namespace {

constexpr std::size_t entries_per_request = 500;
constexpr std::size_t bytes_per_request = 512 * 1024;
constexpr std::size_t bad_lines_shown = 20;

struct options {
  std::string file;
  std::string format = "auto";
  bool keep_going = false;
  bool dry_run = false;
  bool embedded = false;
  unsigned jobs = 8;
};

struct totals {
  std::uint64_t sessions = 0;
  std::uint64_t entries = 0;
};

/// What the first reading of the file found.
struct survey {
  totals good;
  std::vector<bad_line> bad;
  std::set<std::string> bad_sessions;  ///< Keys of sessions of which no line may be written.
};

std::string key_of(const import_run& run) {
  return (run.scope ? "scope " : "session ") + run.key.stream().bytes();
}

/// Opens a source over the stream; what is read twice is opened twice.
result<std::unique_ptr<import_source>> open_source(const invocation& call, const options& o,
                                                   std::istream& in) {
  const import_defaults defaults{call.settings.text("tenant"), call.settings.text("app"),
                                 call.settings.text("user")};
  in.clear();
  in.seekg(0);
  const auto format = o.format == "auto"     ? guess_format(in)
                      : o.format == "locomo" ? import_format::locomo
                                             : import_format::json_lines;
  in.seekg(0);
  if (format == import_format::locomo)
    return read_locomo(in, defaults);
  return read_json_lines(in, defaults, wall_clock());
}

survey look_through(import_source& source) {
  survey out;
  std::set<std::string> good;
  while (auto run = source.next()) {
    if (run->known && !run->bad.empty())
      out.bad_sessions.insert(key_of(*run));
    if (run->known && !run->scope)
      good.insert(key_of(*run));
    out.good.entries += run->bad.empty() ? run->entries.size() : 0;
    std::move(run->bad.begin(), run->bad.end(), std::back_inserter(out.bad));
  }
  for (const auto& key : good)
    out.good.sessions += out.bad_sessions.contains(key) ? 0 : 1;
  return out;
}

/// Writes runs with several requests on their way. Runs of one session keep their order.
class writer {
public:
  writer(connection& to, unsigned jobs, bool keep_going) : to_(to), keep_going_(keep_going) {
    for (unsigned i = 0; i < jobs; ++i)
      lanes_.push_back(std::make_unique<lane>());
    for (auto& l : lanes_)
      l->thread = std::jthread([this, &lane_ = *l] { work(lane_); });
  }

  ~writer() { finish(); }

  /// Waits while the run's lane is full. False when the import is to end.
  bool write(import_run run) {
    auto& l = *lanes_[std::hash<std::string>{}(key_of(run)) % lanes_.size()];
    std::unique_lock guard(l.lock);
    l.changed.wait(guard, [&] { return l.runs.size() < 4 || stop_; });
    if (stop_)
      return false;
    l.runs.push_back(std::move(run));
    l.changed.notify_all();
    return true;
  }

  /// Waits until everything is written.
  void finish() {
    for (auto& l : lanes_) {
      {
        const std::lock_guard guard(l->lock);
        l->closed = true;
        l->changed.notify_all();
      }
      if (l->thread.joinable())
        l->thread.join();
    }
  }

  std::uint64_t entries() const noexcept { return entries_; }
  std::uint64_t known_already() const noexcept { return known_already_; }
  /// After `finish`: sessions of which nothing was refused.
  std::uint64_t sessions() const {
    std::uint64_t n = 0;
    for (const auto& l : lanes_)
      for (const auto& key : l->created)
        n += key.starts_with("session ") && !l->refused.contains(key) ? 1 : 0;
    return n;
  }
  /// After `finish`: what the server refused.
  const std::vector<bad_line>& failures() const noexcept { return failures_; }
  const std::optional<error>& first_error() const noexcept { return first_error_; }

private:
  struct lane {
    std::mutex lock;
    std::condition_variable changed;
    std::deque<import_run> runs;
    bool closed = false;
    std::set<std::string> created;
    std::set<std::string> refused;
    std::jthread thread;
  };

  void work(lane& l) {
    for (;;) {
      import_run run;
      {
        std::unique_lock guard(l.lock);
        l.changed.wait(guard, [&] { return !l.runs.empty() || l.closed || stop_; });
        if (stop_ || l.runs.empty())
          return;
        run = std::move(l.runs.front());
        l.runs.pop_front();
        l.changed.notify_all();
      }
      const auto key = key_of(run);
      // What comes after a refused part would leave a hole in the session.
      if (l.refused.contains(key))
        continue;
      if (auto done = write_run(run, l.created.insert(key).second); !done) {
        l.refused.insert(key);
        note_failure(run, done.error());
      }
    }
  }

  void note_failure(const import_run& run, const error& e) {
    const std::lock_guard guard(failures_lock_);
    failures_.push_back({run.place, fmt::format("{}: {}", run.key.session, e.message)});
    if (!first_error_)
      first_error_ = e;
    const bool hopeless = e.code == errc::unavailable || e.code == errc::outcome_unknown
                          || e.code == errc::corrupt || e.code == errc::fenced;
    if (keep_going_ && !hopeless)
      return;
    stop_ = true;
    for (auto& l : lanes_)
      l->changed.notify_all();
  }

  /// Runs an operation under an id that follows from what is written, so that the same import can
  /// be repeated from the start.
  result<std::string> run_op(const import_run& run, std::string_view operation, std::string request,
                             std::uint64_t ordinal) {
    call_options options;
    options.tenant = run.key.tenant;
    const auto seed = fnv1a(request, fnv1a(run.key.stream().bytes()));
    options.command_id = fmt::format("import-{}-{:016x}-{}", operation, seed, ordinal);
    return to_.call(operation, std::move(request), std::move(options));
  }

  static json::object_writer address(const import_run& run) {
    json::object_writer w;
    w.str("app", run.key.app);
    if (!run.key.user.empty())
      w.str("user", run.key.user);
    if (!run.key.session.empty())
      w.str("session", run.key.session);
    return w;
  }

  result<void> write_run(const import_run& run, bool first) {
    if (run.scope) {
      auto w = address(run);
      w.raw("state", run.state);
      auto done = run_op(run, run.key.user.empty() ? "app.update_state" : "user.update_state",
                         std::move(w).done(), 0);
      return done ? result<void>() : fail(done.error());
    }
    if (first || !run.state.empty() || !run.metadata.empty())
      if (auto done = create(run); !done)
        return done;
    for (const auto& context : run.contexts) {
      auto w = address(run);
      for (const auto& m : json::members(context, "context").value_or(std::vector<json::member>{}))
        w.raw(m.name, m.raw);
      if (auto done = run_op(run, "context.add", std::move(w).done(), 0); !done)
        return fail(done.error());
    }
    if (auto done = append_entries(run); !done)
      return done;
    if (auto done = append_tracks(run); !done)
      return done;
    if (run.closed)
      if (auto done = run_op(run, "session.close", address(run).done(), 0);
          !done && done.error().code != errc::closed)
        return fail(done.error());
    return {};
  }

  result<void> create(const import_run& run) {
    auto w = address(run);
    if (!run.state.empty())
      w.raw("state", run.state);
    if (!run.metadata.empty())
      w.raw("metadata", run.metadata);
    w.str("if_exists", "return");
    auto done = run_op(run, "session.create", std::move(w).done(), 0);
    return done ? result<void>() : fail(done.error());
  }

  result<void> append_entries(const import_run& run) {
    for (std::size_t at = 0; at < run.entries.size();) {
      std::string array = "[";
      std::size_t n = 0;
      while (at + n < run.entries.size() && n < entries_per_request
             && (n == 0 || array.size() + run.entries[at + n].size() < bytes_per_request)) {
        array += (n > 0 ? "," : "") + run.entries[at + n];
        ++n;
      }
      auto w = address(run);
      w.raw("entries", array + "]");
      auto done = run_op(run, "session.append", std::move(w).done(), 0);
      if (!done)
        return fail(done.error());
      const bool repeated = done->find("\"duplicate\":true") != std::string::npos;
      known_already_ += repeated ? n : 0;
      entries_ += n;
      at += n;
    }
    return {};
  }

  result<void> append_tracks(const import_run& run) {
    // Items have no ids of their own: their place in the file tells equal ones apart.
    std::uint64_t ordinal = 0;
    for (const auto& [track, item] : run.tracks) {
      auto w = address(run);
      w.str("track", track).raw("item", item);
      if (auto done = run_op(run, "track.append", std::move(w).done(), ++ordinal); !done)
        return fail(done.error());
    }
    return {};
  }

  connection& to_;
  bool keep_going_;
  std::vector<std::unique_ptr<lane>> lanes_;
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> entries_{0};
  std::atomic<std::uint64_t> known_already_{0};
  std::mutex failures_lock_;
  std::vector<bad_line> failures_;
  std::optional<error> first_error_;
};

void report_bad(const invocation& call, const std::vector<bad_line>& bad) {
  for (std::size_t i = 0; i < std::min(bad.size(), bad_lines_shown); ++i)
    call.note(fmt::format("{} {}", call.err.paint(style::yellow, printable(bad[i].place) + ":"),
                          printable(bad[i].reason)));
  if (bad.size() > bad_lines_shown)
    call.note(fmt::format("… and {} more", grouped(bad.size() - bad_lines_shown)));
}

std::string bad_json(const std::vector<bad_line>& bad) {
  std::string out = "[";
  for (const auto& b : bad) {
    json::object_writer w;
    w.str("place", b.place).str("reason", b.reason);
    out += (out.size() > 1 ? "," : "") + std::move(w).done();
  }
  return out + "]";
}

void print_summary(const invocation& call, const survey& seen, const totals& done,
                   std::uint64_t known, const std::vector<bad_line>& refused, double seconds) {
  if (call.json) {
    json::object_writer w;
    w.num("sessions", done.sessions).num("entries", done.entries).num("known_already", known);
    w.raw("bad", bad_json(seen.bad))
      .num("bad_sessions", static_cast<std::uint64_t>(seen.bad_sessions.size()));
    w.raw("refused", bad_json(refused)).raw("seconds", fmt::format("{:.3f}", seconds));
    fmt::print("{}\n", std::move(w).done());
    return;
  }
  fmt::print("{} sessions, {} entries{}\n", grouped(done.sessions), grouped(done.entries),
             known > 0 ? fmt::format(" ({} were there already)", grouped(known)) : "");
  if (!seen.bad_sessions.empty())
    fmt::print("{} sessions were left out because of bad lines\n",
               grouped(seen.bad_sessions.size()));
}

int import_stream(const invocation& call, const options& o, std::istream& in) {
  auto first = open_source(call, o, in);
  if (!first)
    return call.fail(first.error());
  auto seen = look_through(**first);
  first->reset();
  if (!call.json)
    report_bad(call, seen.bad);
  if (!seen.bad.empty() && !o.keep_going) {
    if (call.json)
      print_summary(call, seen, {}, 0, {}, 0);
    return call.fail(
      {errc::invalid,
       fmt::format("{} bad lines, nothing was written; --keep-going writes the sessions "
                   "that are whole",
                   grouped(seen.bad.size()))});
  }
  if (o.dry_run) {
    print_summary(call, seen, seen.good, 0, {}, 0);
    return seen.bad.empty() ? exit_code::success : exit_code::findings;
  }
  auto to = connection::open(call, o.embedded);
  if (!to)
    return call.fail(to.error());
  auto second = open_source(call, o, in);
  if (!second)
    return call.fail(second.error());
  progress bar(call.err, "import", "entries", seen.good.entries, call.json && !call.err.tty);
  writer out(**to, o.jobs, o.keep_going);
  while (auto run = (*second)->next()) {
    if (!run->known || !run->bad.empty() || seen.bad_sessions.contains(key_of(*run)))
      continue;
    if (!out.write(std::move(*run)))
      break;
    bar.at(out.entries());
  }
  out.finish();
  bar.at(out.entries());
  bar.finish();
  const totals done{out.sessions(), out.entries()};
  print_summary(call, seen, done, out.known_already(), out.failures(), bar.seconds());
  if (!call.json)
    report_bad(call, out.failures());
  if (out.first_error() && !o.keep_going) {
    auto e = *out.first_error();
    e.message += "; the same import can be repeated, what was written is recognised";
    return call.fail(e);
  }
  return seen.bad.empty() && out.failures().empty() ? exit_code::success : exit_code::findings;
}

int import_file(const invocation& call, const options& o) {
  if (o.file == "-") {
    // It is read twice, so it has to be kept.
    std::stringstream kept;
    kept << std::cin.rdbuf();
    return import_stream(call, o, kept);
  }
  std::ifstream in(o.file, std::ios::binary);
  if (!in || in.peek() == std::ifstream::traits_type::eof()) {
    std::error_code e;
    const bool empty =
      std::filesystem::is_regular_file(o.file, e) && std::filesystem::file_size(o.file, e) == 0;
    return empty ? exit_code::success
                 : call.fail({errc::not_found, fmt::format("cannot read {}", o.file)});
  }
  return import_stream(call, o, in);
}

}  // namespace

command import_command() {
  return {
    .name = "import",
    .summary = "Read sessions from JSON Lines (as `export` writes them) or a LoCoMo file.",
    .details = "The whole file is checked first: bad lines are reported with number and reason, "
               "and nothing of a\n"
               "session with a bad line is written. Repeating an import is harmless, so one that "
               "was interrupted\n"
               "is simply run again.\n\n"
               "  "
               "{\"session\":{\"app\":\"demo\",\"user\":\"anna\",\"id\":\"s1\",\"state\":{},"
               "\"metadata\":{},\"contexts\":[]}}\n"
               "  {\"entry\":{\"role\":\"user\",\"content\":\"Hello\"}}\n"
               "  {\"track\":\"tools\",\"item\":{\"ms\":12}}\n"
               "  "
               "{\"app\":\"demo\",\"user\":\"anna\",\"session\":\"s2\",\"role\":\"user\","
               "\"content\":\"Hi\"}",
    .audience = used_by::client | used_by::store | used_by::session,
    .examples = {"recalld import conversation.jsonl", "recalld import locomo.json --embedded",
                 "recalld import big.jsonl --keep-going --json",
                 "recalld export | recalld import - --server other:4711"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app.add_option("FILE", o->file, "The file; - reads stdin.")->required();
      app.add_option("--format", o->format, "Default: what the file looks like.")
        ->type_name("auto|jsonl|locomo")
        ->check(CLI::IsMember({"auto", "jsonl", "locomo"}));
      app.add_flag("--keep-going", o->keep_going,
                   "Write the sessions that are whole, leave out the others.");
      app.add_flag("--dry-run", o->dry_run, "Only check the file.");
      app.add_option("--jobs", o->jobs, "Requests on their way at the same time. Default: 8.")
        ->type_name("N")
        ->check(CLI::Range(1, 64));
      add_embedded_flag(app, o->embedded);
      return [o](const invocation& call) { return import_file(call, *o); };
    },
    .heading = "Data",
  };
}

}  // namespace recalld::cli

#include "cli/log_replay.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "cli/entry_view.hpp"
#include "cli/exit_code.hpp"
#include "cli/offline_lease.hpp"
#include "cli/progress.hpp"
#include "cli/text_table.hpp"
#include "events/json.hpp"
#include "events/near_word.hpp"
#include "projections/projections.hpp"
#include "storage/replay.hpp"

namespace recalld::cli {

namespace {

namespace rows = projections;
constexpr std::size_t step_facts = 4096;

std::string text_of(const rows::value& v) {
  if (const auto* n = std::get_if<std::int64_t>(&v))
    return std::to_string(*n);
  if (const auto* s = std::get_if<std::string>(&v))
    return *s;
  return "null";
}

/// The key of a row for a person: the stream's name instead of its number, then the other columns.
std::string key_of(storage::log_reader& log, const rows::row& key) {
  std::string out;
  for (std::size_t i = 0; i < key.size(); ++i) {
    const auto* no = std::get_if<std::int64_t>(&key[i]);
    const auto stream = i == 0 && no != nullptr ? log.stream_of(static_cast<stream_no_t>(*no))
                                                : result<stream_id>(fail(errc::not_found, ""));
    out += (i > 0 ? ", " : "") + (stream ? to_string(*stream) : text_of(key[i]));
  }
  return out;
}

std::string report_json(storage::log_reader& log, const storage::verify_report& report,
                        double seconds) {
  std::string tables = "[";
  for (const auto& t : report.tables) {
    json::object_writer w;
    w.str("table", t.table)
      .num("expected", t.expected)
      .num("found", t.found)
      .num("different", t.different);
    tables += (tables.size() > 1 ? "," : "") + std::move(w).done();
  }
  std::string differences = "[";
  for (const auto& d : report.differences) {
    json::object_writer w;
    w.str("table", d.table).str("row", key_of(log, d.key)).str("column", d.column);
    w.str("expected", d.expected).str("found", d.found);
    differences += (differences.size() > 1 ? "," : "") + std::move(w).done();
  }
  json::object_writer w;
  w.boolean("good", report.good())
    .num("facts", report.progress.facts)
    .num("forgotten", report.progress.blanked);
  w.num("streams", report.streams).num("different", report.different);
  w.raw("tables", tables + "]")
    .raw("differences", differences + "]")
    .raw("seconds", fmt::format("{:.3f}", seconds));
  return std::move(w).done();
}

void print_report(const invocation& call, storage::log_reader& log,
                  const storage::verify_report& report) {
  text_table tables({{.title = "TABLE", .paint = style::cyan},
                     {.title = "ROWS", .side = text_table::align::right},
                     {.title = "BY THE LOG", .side = text_table::align::right},
                     {.title = "DIFFERENT", .side = text_table::align::right}});
  for (const auto& t : report.tables)
    tables.add({t.table, grouped(t.found), grouped(t.expected), grouped(t.different)});
  fmt::print("{}\n", tables.render(call.out));
  if (report.good()) {
    fmt::print("{}: {} facts of {} streams give exactly these rows\n",
               call.out.paint(style::green, "verified"), grouped(report.progress.facts),
               grouped(report.streams));
    return;
  }
  fmt::print("{}: {} differences\n", call.out.paint(style::red, "not what the log says"),
             grouped(report.different));
  for (const auto& d : report.differences) {
    const auto where = fmt::format("{} [{}]{}{}", d.table, key_of(log, d.key),
                                   d.column.empty() ? "" : " ", d.column);
    const auto expected = d.expected.empty() && d.column.empty() ? "no such row" : d.expected;
    const auto found = d.found.empty() && d.column.empty() ? "no such row" : d.found;
    fmt::print("  {}\n    {} {}\n    {} {}\n", printable(where),
               call.out.paint(style::green, "by the log:"), printable(expected),
               call.out.paint(style::red, "found:     "), printable(found));
  }
  if (report.different > report.differences.size())
    fmt::print("  … and {} more; `recalld replay --rebuild all` writes the rows again\n",
               grouped(report.different - report.differences.size()));
}

/// Folds a log into rows in memory.
result<void> fold_all(const invocation& call, storage::log_reader& log, storage::row_fold& into,
                      storage::replay_progress& reached) {
  const storage::frozen_view frozen(log);
  if (!frozen.frozen())
    return fail(frozen.frozen().error());
  storage::replayer replayer(log);
  if (auto begun = replayer.start(into); !begun)
    return begun;
  progress bar(call.err, "replay", "facts", 0, call.json && !call.err.tty);
  for (;;) {
    auto more = replayer.step(into, step_facts);
    if (!more)
      return fail(more.error());
    bar.expect(replayer.progress().head);
    bar.at(replayer.progress().through);
    if (!*more)
      break;
  }
  bar.finish();
  reached = replayer.progress();
  return {};
}

}  // namespace

int verify_rows(const invocation& call, storage::log_reader& log) {
  progress bar(call.err, "verify", "facts", 0, call.json && !call.err.tty);
  storage::verify_options options;
  options.progress = [&](const storage::replay_progress& p) {
    bar.expect(p.head);
    bar.at(p.through);
    return true;
  };
  const auto report = storage::verify(log, options);
  if (!report)
    return call.fail(report.error());
  bar.at(report->progress.through);
  bar.finish();
  if (call.json)
    fmt::print("{}\n", report_json(log, *report, bar.seconds()));
  else
    print_report(call, log, *report);
  return report->good() ? exit_code::success : exit_code::findings;
}

int rebuild_rows(const invocation& call, storage::store& store, const std::string& name) {
  std::vector<const rows::table*> tables;
  if (name == "all") {
    tables.assign(rows::tables().begin(), rows::tables().end());
  } else if (const auto* table = rows::find_table(name)) {
    tables.push_back(table);
  } else {
    std::vector<std::string_view> known{"all"};
    for (const auto* t : rows::tables())
      known.push_back(t->name);
    const auto near = nearest(name, known);
    return call.fail(
      {errc::not_found,
       fmt::format("there is no table '{}'{}", name,
                   near.empty() ? std::string() : fmt::format("; did you mean '{}'?", near))});
  }
  auto log = store.open_reader();
  if (!log)
    return call.fail(log.error());
  auto lease = offline_lease::take(store, "replay");
  if (!lease)
    return call.fail(lease.error());
  if (auto taken = store.writer().take_all(); !taken)
    return call.fail(taken.error());
  progress bar(call.err, "rebuild", "facts", 0, call.json && !call.err.tty);
  const auto count = tables.size();
  storage::rebuild work(store.writer(), **log, std::move(tables));
  for (;;) {
    lease->keep();
    auto more = work.step(step_facts);
    if (!more)
      return call.fail(more.error());
    bar.expect(work.progress().head);
    bar.at(work.progress().through);
    if (!*more)
      break;
  }
  bar.finish();
  if (call.json) {
    json::object_writer w;
    w.num("tables", static_cast<std::uint64_t>(count)).num("facts", work.progress().facts);
    w.raw("seconds", fmt::format("{:.3f}", bar.seconds()));
    fmt::print("{}\n", std::move(w).done());
  } else {
    fmt::print("rebuilt {} {} from {} facts\n", count, count == 1 ? "table" : "tables",
               grouped(work.progress().facts));
  }
  return exit_code::success;
}

int summarise_log(const invocation& call, storage::log_reader& log) {
  storage::row_fold fold;
  storage::replay_progress reached;
  if (auto folded = fold_all(call, log, fold, reached); !folded)
    return call.fail(folded.error());
  namespace sessions = rows::sessions;
  std::vector<rows::row> found;
  fold.rows().each(sessions::spec, [&](const rows::row& row) { found.push_back(row); });
  std::sort(found.begin(), found.end());
  if (call.json) {
    std::string list = "[";
    for (const auto& row : found) {
      json::object_writer w;
      w.str("tenant", text_of(row[sessions::tenant])).str("app", text_of(row[sessions::app]));
      w.str("user", text_of(row[sessions::user])).str("session", text_of(row[sessions::session]));
      w.raw("version", text_of(row[sessions::version]))
        .raw("entries", text_of(row[sessions::entries]));
      list += (list.size() > 1 ? "," : "") + std::move(w).done();
    }
    json::object_writer w;
    w.num("facts", reached.facts).num("forgotten", reached.blanked).raw("sessions", list + "]");
    fmt::print("{}\n", std::move(w).done());
    return exit_code::success;
  }
  text_table table({{.title = "SESSION", .shrinks = true, .paint = style::cyan},
                    {.title = "APP", .shrinks = true},
                    {.title = "USER", .shrinks = true},
                    {.title = "ENTRIES", .side = text_table::align::right},
                    {.title = "VERSION", .side = text_table::align::right},
                    {.title = "UPDATED"}});
  for (const auto& row : found) {
    const auto* updated = std::get_if<std::int64_t>(&row[sessions::updated_at]);
    table.add({text_of(row[sessions::session]), text_of(row[sessions::app]),
               text_of(row[sessions::user]), text_of(row[sessions::entries]),
               text_of(row[sessions::version]), updated == nullptr ? "" : short_time(*updated)});
  }
  fmt::print("{} facts, {} sessions{}\n", grouped(reached.facts), grouped(found.size()),
             found.empty() ? "" : "\n");
  if (!found.empty())
    fmt::print("{}", table.render(call.out));
  return exit_code::success;
}

}  // namespace recalld::cli

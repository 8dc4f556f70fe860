#include <memory>

#include <CLI/App.hpp>
#include <fmt/format.h>

#include "cli/addressing.hpp"
#include "cli/commands.hpp"
#include "cli/copying.hpp"
#include "cli/exit_code.hpp"
#include "cli/progress.hpp"
#include "cli/text_table.hpp"
#include "events/json.hpp"
#include "storage/sqlite_backup.hpp"

namespace recalld::cli {

namespace {

struct options {
  std::string file;
  bool replace = false;
};

/// Copies with a progress bar, then tells what the copy is.
template <class Copy>
int tell(const invocation& call, std::string_view what, std::string_view where, Copy copy) {
  progress bar(call.err, std::string(what), "pages", 0, call.json);
  const auto done = copy([&](std::uint64_t pages, std::uint64_t all) {
    bar.expect(all);
    bar.at(pages);
  });
  if (!done) {
    bar.clear();
    return call.fail(done.error());
  }
  bar.finish();
  if (call.json) {
    json::object_writer w;
    w.str("file", where).str("log_id", done->identity.log_id);
    w.num("generation", done->identity.generation).num("head", done->head).num("bytes", done->bytes);
    fmt::print("{}\n", std::move(w).done());
  } else {
    fmt::print("{}: log {}, generation {}, {} facts, {}\n", where, done->identity.log_id,
               done->identity.generation, grouped(done->head), human_bytes(done->bytes));
  }
  return exit_code::success;
}

/// From Postgres: a log of its own in one file, with everything but the database's own business.
int back_up_remote(const invocation& call, const options& o) {
  auto store = open_log_to_read(call);
  if (!store)
    return call.fail(store.error());
  auto log = (*store)->open_reader();
  if (!log)
    return call.fail(log.error());
  return tell_copy(call, "backup", o.file, [&](const storage::copy_progress& progress) {
    return storage::back_up_log(**log, o.file, progress);
  });
}

int restore_remote(const invocation& call, const options& o) {
  if (o.replace)
    return call.fail(invalid(
      "replace", "a log in Postgres is not replaced: restore into another schema or database"));
  auto backup = storage::read_backup(o.file);
  if (!backup)
    return call.fail(backup.error());
  auto target = open_target(call, call.settings.text("store"));
  if (!target)
    return call.fail(target.error());
  return tell_copy(call, "restore", log_place(call.settings),
                   [&](const storage::copy_progress& progress) {
                     return storage::copy_log(**backup, **target, {.progress = progress});
                   });
}

int back_up(const invocation& call, const options& o) {
  if (log_is_remote(call.settings))
    return back_up_remote(call, o);
  return tell(call, "backup", o.file, [&](const storage::backup_progress& progress) {
    return storage::back_up_sqlite(log_directory(call.settings), o.file, progress);
  });
}

int restore(const invocation& call, const options& o) {
  if (log_is_remote(call.settings))
    return restore_remote(call, o);
  const auto data = log_directory(call.settings);
  return tell(call, "restore", data.string(), [&](const storage::backup_progress& progress) {
    auto done = storage::restore_sqlite(o.file, data, o.replace, progress);
    if (!done && done.error().code == errc::conflict)
      done.error().message += " (--replace)";
    return done;
  });
}

}  // namespace

command backup_command() {
  return {
    .name = "backup",
    .summary = "Copy the log into one file, while the server runs.",
    .details = "The copy is the log as of the moment when it began; writers do not wait. The file "
               "appears when it\n"
               "is whole and on the disk. Certificates and the cache are not in it. A backup of a log in\n"
               "Postgres is such a file, too: each restores into either store.",
    .audience = used_by::store,
    .examples = {"recalld backup monday.db", "recalld backup --data /var/lib/recalld monday.db"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app.add_option("FILE", o->file, "The new file; an existing one is never overwritten.")
        ->required();
      return [o](const invocation& call) { return back_up(call, *o); };
    },
    .heading = "Data",
  };
}

command restore_command() {
  return {
    .name = "restore",
    .summary = "Make a backup the log of a data directory.",
    .details =
      "The server must be stopped. The log keeps its id and gets a new generation: cursors from\n"
      "before the restore are refused instead of skipping what happened since, and the cache is\n"
      "made anew. Check it with `recalld replay --verify`.",
    .audience = used_by::store,
    .examples = {"recalld restore monday.db --data ./restored",
                 "recalld restore monday.db --replace   keeps the old log as recalld.db.replaced"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app.add_option("FILE", o->file, "A file that `recalld backup` wrote.")->required();
      app.add_flag("--replace", o->replace, "Put it in the place of the log that is there.");
      return [o](const invocation& call) { return restore(call, *o); };
    },
    .heading = "Data",
  };
}

}  // namespace recalld::cli

#include <memory>

#include <CLI/App.hpp>
#include <fmt/format.h>

#include "cli/addressing.hpp"
#include "cli/commands.hpp"
#include "cli/copying.hpp"

namespace recalld::cli {

namespace {

struct options {
  std::string from, to;
};

int migrate(const invocation& call, const options& o) {
  if (o.from == o.to)
    return call.fail(invalid("to", "is the log that is to be copied"));
  auto source = still_log::open(call, o.from);
  if (!source)
    return call.fail(source.error());
  auto target = open_target(call, o.to);
  if (!target)
    return call.fail(target.error());
  return tell_copy(call, "migrate", printable_place(o.to), [&](const auto& progress) {
    return storage::copy_log(
      source->reader(), **target,
      {.progress =
         [&](auto stage, std::uint64_t done, std::uint64_t all) {
           source->keep();
           progress(stage, done, all);
         },
       .to_the_end = true});
  });
}

}  // namespace

command migrate_command() {
  return {
    .name = "migrate",
    .summary = "Copy a log from one store into another, in either direction.",
    .details =
      "URLs are a directory or postgres://USER@HOST/DATABASE. No server may run on either. When "
      "it\n"
      "is interrupted, the same command goes on where it ended; until it is through, the copy\n"
      "cannot be served. Streams, versions, times and command ids stay; positions and the\n"
      "generation are new ones, so that cursors of the source are refused. At the end every row "
      "is\n"
      "compared with the copied log, as `recalld replay --verify` does it.",
    .audience = used_by::store,
    .examples = {"recalld migrate --from ./recalld-data --to postgres://recalld@db.example/recalld",
                 "recalld migrate --from postgres://recalld@db.example/recalld --to ./copy"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app.add_option("--from", o->from, "The log that is copied.")->required();
      app.add_option("--to", o->to, "Where there is no log yet, or an unfinished copy.")
        ->required();
      return [o](const invocation& call) { return migrate(call, *o); };
    },
    .heading = "Data",
  };
}

}  // namespace recalld::cli

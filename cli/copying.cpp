#include "cli/copying.hpp"

#include <fmt/format.h>

#include "cli/addressing.hpp"
#include "cli/exit_code.hpp"
#include "cli/progress.hpp"
#include "cli/text_table.hpp"
#include "events/json.hpp"
#include "storage/postgres_store.hpp"
#include "storage/sqlite_store.hpp"

namespace recalld::cli {

namespace {

std::string_view word_of(storage::copy_stage stage) {
  switch (stage) {
    case storage::copy_stage::copying: return "copy";
    case storage::copy_stage::projecting: return "project";
    case storage::copy_stage::verifying: return "verify";
  }
  return "copy";
}

}  // namespace

result<still_log> still_log::open(const invocation& call, const std::string& place) {
  auto store = [&]() -> result<std::unique_ptr<storage::store>> {
    if (storage::is_postgres_url(place))
      return storage::open_postgres(postgres_options_of(call.settings, place));
    std::error_code e;
    if (!std::filesystem::exists(std::filesystem::path(place) / "recalld.db", e))
      return fail(errc::not_found, "there is no log in " + place);
    // For writing, though nothing is written: its lock says that no server runs there.
    return storage::open_sqlite({.directory = place});
  }();
  if (!store)
    return fail(store.error());
  auto lease = offline_lease::take(**store, "migrate");
  if (!lease)
    return fail(lease.error());
  auto reader = (*store)->open_reader();
  if (!reader)
    return fail(reader.error());
  return still_log(std::move(*store), std::move(*lease), std::move(*reader));
}

result<std::unique_ptr<storage::copy_target>> open_target(const invocation& call,
                                                          const std::string& place) {
  if (storage::is_postgres_url(place))
    return storage::copy_into_postgres(postgres_options_of(call.settings, place));
  return storage::copy_into_sqlite({.directory = place});
}

std::string printable_place(const std::string& place) {
  return storage::is_postgres_url(place) ? storage::printable_postgres_url(place) : place;
}

int tell_copy(
  const invocation& call, const std::string& what, const std::string& where,
  const std::function<result<storage::copy_report>(const storage::copy_progress&)>& copy) {
  std::optional<progress> bar;
  std::optional<storage::copy_stage> stage;
  const auto done = copy([&](storage::copy_stage now, std::uint64_t facts, std::uint64_t all) {
    if (stage != now) {
      if (bar)
        bar->finish();
      bar.emplace(call.err, std::string(word_of(now)), "facts", all, call.json && !call.err.tty);
      stage = now;
    }
    bar->expect(all);
    bar->at(facts);
  });
  if (!done) {
    if (bar)
      bar->clear();
    return call.fail(done.error());
  }
  if (bar)
    bar->finish();
  if (call.json) {
    json::object_writer w;
    w.str("command", what).str("to", where).str("log_id", done->identity.log_id);
    w.num("generation", done->identity.generation).num("facts", done->facts);
    w.boolean("resumed", done->resumed);
    fmt::print("{}\n", std::move(w).done());
  } else {
    fmt::print("{}: log {}, generation {}, {} facts{}, verified\n", where, done->identity.log_id,
               done->identity.generation, grouped(done->facts),
               done->resumed ? " behind those that were there" : "");
  }
  return exit_code::success;
}

}  // namespace recalld::cli

#include "storage/log_copy.hpp"

#include "projections/projections.hpp"
#include "storage/base_marks.hpp"
#include "storage/sqlite_backup.hpp"
#include "storage/sqlite_reader.hpp"

#include <numeric>
#include <optional>

namespace recalld::storage {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t facts_a_page = 4'096;
constexpr std::size_t streams_a_page = 1'000;

result<void> copy_bases(log_reader& from, copy_target& to, shard_t shard) {
  for (stream_no_t after = 0;;) {
    auto page = from.based_streams(shard, after, streams_a_page);
    if (!page)
      return fail(page.error());
    if (page->empty())
      return {};
    std::vector<copied_stream> streams;
    for (const auto& at : *page) {
      after = at.stream_no;
      auto id = from.stream_of(at.stream_no);
      if (!id)
        return fail(id.error());
      auto borrows = borrows_of(from, at);
      if (!borrows)
        return fail(borrows.error());
      streams.push_back({std::move(*id), at, std::move(*borrows)});
    }
    if (auto settled = to.settle(std::move(streams)); !settled)
      return settled;
  }
}

/// Writes all projections, and compares them with the log.
result<void> project(copy_target& to, const copy_progress& progress) {
  auto made = to.open_unfinished();
  if (!made)
    return fail(made.error());
  auto reader = (*made)->open_reader();
  if (!reader)
    return fail(reader.error());
  const auto& tables = projections::tables();
  if (auto taken = (*made)->writer().take_all(); !taken)
    return fail(taken.error());
  rebuild work((*made)->writer(), **reader, {tables.begin(), tables.end()});
  for (;;) {
    const auto more = work.step(facts_a_page);
    if (!more)
      return fail(more.error());
    progress(copy_stage::projecting, work.progress().through, work.progress().head);
    if (!*more)
      break;
  }
  verify_options options;
  options.progress = [&](const replay_progress& p) {
    progress(copy_stage::verifying, p.through, p.head);
    return true;
  };
  const auto report = verify(**reader, options);
  if (!report)
    return fail(report.error());
  if (!report->good())
    return fail(errc::corrupt, std::to_string(report->different)
                                 + " cells of the copy's tables are not what its log says");
  return {};
}

}  // namespace

result<copy_report> copy_log(log_reader& from, copy_target& to, const copy_options& options) {
  const copy_progress tell =
    options.progress ? options.progress : [](copy_stage, std::uint64_t, std::uint64_t) {};
  std::optional<frozen_view> view(std::in_place, from);
  if (!view->frozen())
    return fail(view->frozen().error());
  const auto heads = from.heads();
  if (!heads)
    return fail(heads.error());
  auto done = to.begin(from.identity(), heads->size());
  if (!done)
    return fail(done.error());
  copy_report out;
  auto sum = [](const std::vector<position_t>& v) {
    return std::accumulate(v.begin(), v.end(), position_t{0});
  };
  out.resumed = sum(*done) > 0;
  const auto all = sum(*heads);
  tell(copy_stage::copying, sum(*done), all);
  for (shard_t shard = 0; shard < heads->size(); ++shard)
    while ((*done)[shard] < (*heads)[shard]) {
      auto page = from.scan(shard, (*done)[shard], facts_a_page);
      if (!page)
        return fail(page.error());
      if (page->through == (*done)[shard])
        return fail(errc::corrupt, "the log ends before its head");
      out.facts += page->facts.size();
      if (auto added = to.add(shard, page->through, std::move(page->facts)); !added)
        return fail(added.error());
      (*done)[shard] = page->through;
      tell(copy_stage::copying, sum(*done), all);
    }
  for (shard_t shard = 0; shard < heads->size(); ++shard)
    if (auto settled = copy_bases(from, to, shard); !settled)
      return fail(settled.error());
  if (auto projected = project(to, tell); !projected)
    return fail(projected.error());
  view.reset();
  if (options.to_the_end) {
    const auto now = from.heads();
    if (!now)
      return fail(now.error());
    if (*now != *heads)
      return fail(errc::unavailable, "the log was written to while it was copied; stop what writes "
                                     "to it and copy again, which goes on from here");
  }
  auto identity = to.finish(from.identity().generation);
  if (!identity)
    return fail(identity.error());
  out.identity = std::move(*identity);
  return out;
}

result<copy_report> back_up_log(log_reader& from, const fs::path& file,
                                const copy_progress& progress) {
  std::error_code ec;
  if (fs::exists(file))
    return fail(errc::conflict, file.string() + " exists; a backup never overwrites");
  const auto place = fs::path(file) += ".copying";
  fs::remove_all(place, ec);
  auto out = [&]() -> result<copy_report> {
    auto to = copy_into_sqlite({.directory = place});
    if (!to)
      return fail(to.error());
    auto copied = copy_log(from, **to, {.progress = progress});
    to->reset();
    if (!copied)
      return copied;
    // The copy of a copy: one file without a log beside it, on the disk when it has its name.
    if (auto made = back_up_sqlite(place, file); !made)
      return fail(made.error());
    return copied;
  }();
  fs::remove_all(place, ec);
  return out;
}

result<std::unique_ptr<log_reader>> read_backup(const fs::path& file) {
  if (!fs::is_regular_file(file))
    return fail(errc::not_found, "there is no backup " + file.string());
  return sqlite::guarded(
    [&]() -> result<std::unique_ptr<log_reader>> { return sqlite::reader::open(file, {}); });
}

}  // namespace recalld::storage

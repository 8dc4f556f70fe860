#include "cli/session_listing.hpp"

#include "projections/projections.hpp"

namespace recalld::cli {

namespace {

namespace rows = projections;
constexpr std::size_t page = 500;

/// Every row of a table in the order of its key.
result<void> each_row(storage::log_reader& log, const rows::table& table,
                      const std::function<result<bool>(const rows::row&)>& visit) {
  rows::row_query query;
  query.table = &table;
  query.limit = page;
  for (;;) {
    auto some = log.rows(query);
    if (!some)
      return fail(some.error());
    for (const auto& row : *some) {
      auto more = visit(row);
      if (!more)
        return fail(more.error());
      if (!*more)
        return {};
    }
    if (some->size() < page)
      return {};
    const auto& last = some->back();
    query.after.emplace(last.begin(),
                        last.begin() + static_cast<std::ptrdiff_t>(table.key_columns));
  }
}

stream_no_t stream_of(const rows::row& row) {
  return static_cast<stream_no_t>(std::get<std::int64_t>(row.front()));
}

}  // namespace

bool session_filter::matches(const std::vector<std::string_view>& parts) const {
  const std::string_view wanted[] = {tenant, app, user, session};
  for (std::size_t i = 0; i < std::size(wanted); ++i)
    if (!wanted[i].empty() && (i >= parts.size() || parts[i] != wanted[i]))
      return false;
  return true;
}

result<void> each_session(storage::log_reader& log, const session_filter& filter,
                          const std::function<bool(const stream_id&)>& visit) {
  return each_row(log, rows::sessions::spec, [&](const rows::row& row) -> result<bool> {
    const auto stream = log.stream_of(stream_of(row));
    if (!stream)
      return fail(stream.error());
    return !filter.matches(stream->parts()) || visit(*stream);
  });
}

result<void> each_scope(storage::log_reader& log, const session_filter& filter,
                        const std::function<void(const stream_id&, const json::raw_map&)>& visit) {
  stream_no_t no = 0;
  json::raw_map values;
  const auto give = [&]() -> result<void> {
    if (values.empty())
      return {};
    const auto stream = log.stream_of(no);
    if (!stream)
      return fail(stream.error());
    if (filter.matches(stream->parts()))
      visit(*stream, values);
    values.clear();
    return {};
  };
  auto done = each_row(log, rows::scope_state::spec, [&](const rows::row& row) -> result<bool> {
    if (stream_of(row) != no)
      if (auto r = give(); !r)
        return fail(r.error());
    no = stream_of(row);
    values.emplace(std::get<std::string>(row[rows::scope_state::key]),
                   std::get<std::string>(row[rows::scope_state::value]));
    return true;
  });
  return done ? give() : done;
}

}  // namespace recalld::cli

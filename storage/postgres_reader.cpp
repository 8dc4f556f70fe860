#include "storage/postgres_reader.hpp"

#include "projections/projections.hpp"

#include <algorithm>
#include <limits>

namespace recalld::storage::postgres {

namespace {

/// Bounds how many stream ids a reader remembers.
constexpr std::size_t names_max = 100'000;

constexpr std::uint64_t bounded(std::uint64_t n) noexcept {
  return std::min<std::uint64_t>(n, std::numeric_limits<std::int64_t>::max());
}

statement select(const char* rest) {
  return statement(std::string("SELECT ") + log_columns + " FROM log WHERE " + rest);
}

/// The smallest version of `stream` ($1) in `lane` ($2) with a time of at least $3. Times never
/// decrease along the versions of a stream: bisect between its first and last one.
constexpr const char* since_sql = R"sql(
WITH RECURSIVE bisect(low, high, found) AS (
  SELECT (SELECT min(version) FROM log WHERE stream = $1 AND lane = $2),
         (SELECT max(version) FROM log WHERE stream = $1 AND lane = $2), 0::int8
  UNION ALL
  SELECT CASE WHEN one.time >= $3 THEN low ELSE one.version + 1 END,
         CASE WHEN one.time >= $3 THEN low + (high - low) / 2 - 1 ELSE high END,
         CASE WHEN one.time >= $3 THEN one.version ELSE found END
  FROM bisect CROSS JOIN LATERAL (
    SELECT version, time FROM log
    WHERE stream = $1 AND lane = $2 AND version >= low + (high - low) / 2
    ORDER BY version LIMIT 1) AS one
  WHERE low <= high)
SELECT found FROM bisect WHERE low > high
)sql";

}  // namespace

reader::reader(const postgres_options& options)
  : options_(options),
    db_(options, connection::mode::read),
    facts_(read_log_facts(db_, options)),
    begin_("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
    end_("COMMIT"),
    find_(stream_rows_sql("streams AS s") + " WHERE s.id = $1"),
    names_of_("SELECT no, id, sum FROM streams WHERE no = ANY($1)"),
    lane_back_(
      select("stream = $1 AND lane = $2 AND version < $3 ORDER BY version DESC LIMIT $4")),
    lane_forth_(select("stream = $1 AND lane = $2 AND version > $3 ORDER BY version LIMIT $4")),
    forth_(std::string("SELECT one.* FROM (VALUES (0::int2), (1), (2), (-1), (-2), (-3)) AS "
                       "lanes(lane) CROSS JOIN LATERAL (SELECT ")
           + log_columns
           + " FROM log WHERE stream = $1 AND log.lane = lanes.lane AND version > $2 "
             "ORDER BY version LIMIT $3) AS one ORDER BY one.version LIMIT $3"),
    by_key_(std::string("SELECT ") + log_columns
            + " FROM log WHERE stream = $1 AND key = $2 AND lane = 1 UNION ALL SELECT "
            + log_columns + " FROM log WHERE stream = $1 AND key = $2 AND lane <> 1 LIMIT 1"),
    prefix_(select("stream = $1 AND key > $2 AND key < $3 AND key IS NOT NULL AND lane <> 1 "
                   "ORDER BY key LIMIT $4")),
    since_(since_sql),
    head_("SELECT head FROM shards WHERE shard = $1"),
    heads_("SELECT head FROM shards ORDER BY shard"),
    scan_(select("shard = $1 AND position > $2 ORDER BY position LIMIT $3")),
    blanks_("SELECT first, last FROM blanks WHERE shard = $1 AND last > $2 AND first >= coalesce("
            "(SELECT max(first) FROM blanks WHERE shard = $1 AND first <= $2 + 1), 0) "
            "ORDER BY first LIMIT $3 + 1"),
    based_(stream_rows_sql("(SELECT * FROM streams WHERE shard = $1 AND no > $2 AND base > 0 "
                           "ORDER BY no LIMIT $3) AS s")
           + " ORDER BY s.no"),
    table_version_("SELECT version FROM table_versions WHERE name = $1") {
  warm();
}

/// Has the server parse and plan what the first read of a session needs, while nobody waits for it:
/// half of what such a read took. What goes wrong here is told to whoever reads.
void reader::warm() {
  static_cast<void>(find_stream({}));
  static_cast<void>(stream_of(0));
  static_cast<void>(lane_back(0, lane::entries, 0, 1));
  static_cast<void>(lane_forth(0, lane::entries, 0, 1));
  static_cast<void>(stream_forth(0, 0, 1));
  static_cast<void>(by_key(0, "none"));
}

void reader::reconnect() {
  db_.reconnect();
  check_same(facts_, read_log_facts(db_, options_));
}

template <class F>
auto reader::reading(F&& body) -> decltype(body()) {
  return guarded([&]() -> decltype(body()) {
    if (frozen_ && !db_.alive())
      refuse(errc::unavailable, "the connection of the frozen view was lost");
    if (!db_.alive())
      reconnect();
    try {
      return body();
    } catch (const failure& f) {
      if (!f.lost || frozen_)
        throw;
    }
    reconnect();
    return body();
  });
}

std::vector<answer> reader::look(std::vector<request> requests) {
  if (!frozen_) {
    requests.insert(requests.begin(), request{&begin_, {}});
    requests.push_back({&end_, {}});
  }
  try {
    auto out = db_.run(requests);
    if (!frozen_)
      out.erase(out.begin());
    return out;
  } catch (const failure&) {
    if (!frozen_ && db_.in_transaction())
      db_.exec("ROLLBACK");
    throw;
  }
}

answer reader::look(const statement& s, parameters values) {
  // One statement has one view by itself.
  return db_.query(s, std::move(values));
}

void reader::learn_names(const answer& facts, int column) {
  array unknown(type::int8);
  if (names_.size() + facts.rows() > names_max)
    names_.clear();
  stream_no_t last = 0;
  for (std::size_t i = 0; i < facts.rows(); ++i) {
    const auto no = facts.uint_at(i, column);
    if (no != last && !names_.contains(no))
      unknown.integer(no);
    last = no;
  }
  if (unknown.empty())
    return;
  parameters p;
  p.column(std::move(unknown));
  const auto found = db_.query(names_of_, std::move(p));
  for (std::size_t i = 0; i < found.rows(); ++i) {
    const auto no = found.uint_at(i, 0);
    names_.emplace(no, checked_id(no, found.view_at(i, 1), found.int_at(i, 2)));
  }
}

const stream_id& reader::name_of(stream_no_t no) {
  const auto known = names_.find(no);
  if (known == names_.end())
    refuse(errc::corrupt,
           "a fact belongs to stream " + std::to_string(no) + ", which the log does not know");
  return known->second;
}

std::vector<recorded> reader::facts(const statement& s, parameters values) {
  const auto found = look(s, std::move(values));
  learn_names(found, 1);
  std::vector<recorded> out(found.rows());
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i].payload =
      text(std::string(read_fact(found, i, name_of(found.uint_at(i, 1)), out[i])));
  return out;
}

result<stream_position> reader::find_stream(const stream_id& stream) {
  return reading([&]() -> result<stream_position> {
    parameters p;
    p.bytes(stream.bytes());
    const auto found = look(find_, std::move(p));
    if (found.rows() == 0)
      return fail(errc::not_found, "no such stream: " + to_string(stream));
    auto at = read_stream_row(found, 0).second.at;
    if (names_.size() >= names_max)
      names_.clear();
    names_.emplace(at.stream_no, stream);
    return at;
  });
}

result<stream_id> reader::stream_of(stream_no_t stream_no) {
  return reading([&]() -> result<stream_id> {
    parameters p;
    array one(type::int8);
    one.integer(stream_no);
    p.column(std::move(one));
    const auto found = look(names_of_, std::move(p));
    if (found.rows() == 0)
      return fail(errc::not_found, "no stream has the number " + std::to_string(stream_no));
    return checked_id(stream_no, found.view_at(0, 1), found.int_at(0, 2));
  });
}

result<std::vector<recorded>> reader::lane_back(stream_no_t stream, lane l, version_t before,
                                                std::size_t limit) {
  return reading([&]() -> result<std::vector<recorded>> {
    parameters p;
    p.integer(stream).integer(static_cast<int>(l)).integer(bounded(before)).integer(bounded(limit));
    return facts(lane_back_, std::move(p));
  });
}

result<std::vector<recorded>> reader::lane_forth(stream_no_t stream, lane l, version_t after,
                                                 std::size_t limit) {
  return reading([&]() -> result<std::vector<recorded>> {
    parameters p;
    p.integer(stream).integer(static_cast<int>(l)).integer(bounded(after)).integer(bounded(limit));
    return facts(lane_forth_, std::move(p));
  });
}

result<std::vector<recorded>> reader::stream_forth(stream_no_t stream, version_t after,
                                                   std::size_t limit) {
  return reading([&]() -> result<std::vector<recorded>> {
    parameters p;
    p.integer(stream).integer(bounded(after)).integer(bounded(limit));
    return facts(forth_, std::move(p));
  });
}

result<std::optional<recorded>> reader::by_key(stream_no_t stream, std::string_view key) {
  return reading([&]() -> result<std::optional<recorded>> {
    parameters p;
    p.integer(stream).bytes(key);
    auto found = facts(by_key_, std::move(p));
    if (found.empty())
      return std::optional<recorded>{};
    return std::optional<recorded>(std::move(found.front()));
  });
}

result<std::vector<recorded>> reader::by_key_prefix(stream_no_t stream, std::string_view prefix,
                                                    std::string_view after, std::size_t limit) {
  return reading([&]() -> result<std::vector<recorded>> {
    // "Greater than the prefix" leaves out a key that equals it, which no prefix of ours is.
    const auto to = behind_prefix(prefix);
    parameters p;
    p.integer(stream).bytes(std::max(prefix, after)).bytes(to).integer(bounded(limit));
    return facts(prefix_, std::move(p));
  });
}

result<version_t> reader::first_since(stream_no_t stream, lane l, time_us_t t) {
  return reading([&]() -> result<version_t> {
    parameters p;
    p.integer(stream).integer(static_cast<int>(l)).integer(t);
    const auto found = look(since_, std::move(p));
    return found.rows() == 0 ? 0 : found.uint_at(0, 0);
  });
}

result<position_t> reader::head(shard_t shard) {
  return reading([&]() -> result<position_t> {
    parameters p;
    p.integer(shard);
    const auto found = look(head_, std::move(p));
    if (found.rows() == 0)
      return fail(errc::not_found, "no such shard: " + std::to_string(shard));
    return found.uint_at(0, 0);
  });
}

result<std::vector<position_t>> reader::heads() {
  return reading([&]() -> result<std::vector<position_t>> {
    const auto found = look(heads_, {});
    std::vector<position_t> out(found.rows());
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = found.uint_at(i, 0);
    return out;
  });
}

result<log_page> reader::scan(shard_t shard, position_t after, std::size_t limit) {
  return reading([&]() -> result<log_page> {
    auto here = [&](bool range) {
      parameters p;
      p.integer(shard);
      if (range)
        p.integer(bounded(after)).integer(bounded(std::min<std::size_t>(limit, 1u << 30)));
      return p;
    };
    std::vector<request> requests;
    requests.push_back({&head_, here(false)});
    requests.push_back({&scan_, here(true)});
    requests.push_back({&blanks_, here(true)});
    const auto seen = look(std::move(requests));
    const auto& found = seen[1];
    const auto& blanks = seen[2];
    if (seen[0].rows() == 0)
      return fail(errc::not_found, "no such shard: " + std::to_string(shard));
    const auto head_now = seen[0].uint_at(0, 0);
    log_page out;
    out.through = after;
    if (after >= head_now)
      return out;
    learn_names(found, 1);

    // Payloads of a page share one piece of memory.
    std::string payloads;
    std::vector<std::pair<std::size_t, std::size_t>> places;
    out.facts.reserve(found.rows());
    places.reserve(found.rows());
    std::size_t range = 0;
    /// Goes on over the blank range that covers the place behind `through`, if there is one.
    auto skip_blank = [&] {
      while (range < blanks.rows() && blanks.uint_at(range, 1) <= out.through)
        ++range;
      if (range >= blanks.rows() || blanks.uint_at(range, 0) > out.through + 1)
        return;
      out.blanks.push_back({out.through + 1, blanks.uint_at(range, 1)});
      out.through = blanks.uint_at(range++, 1);
    };
    for (std::size_t i = 0; i < found.rows(); ++i) {
      const auto position = found.uint_at(i, 0);
      if (position != out.through + 1)
        skip_blank();
      if (position != out.through + 1)
        return fail(errc::corrupt,
                    "the log has a gap behind position " + std::to_string(out.through));
      auto& fact = out.facts.emplace_back();
      const auto payload = read_fact(found, i, name_of(found.uint_at(i, 1)), fact);
      places.emplace_back(payloads.size(), payload.size());
      payloads += payload;
      out.through = position;
    }
    if (out.facts.size() < limit && out.through < head_now) {
      skip_blank();
      if (out.through != head_now)
        return fail(errc::corrupt, "the log ends at position " + std::to_string(out.through)
                                     + " instead of " + std::to_string(head_now));
    }
    const text whole(std::move(payloads));
    for (std::size_t i = 0; i < places.size(); ++i)
      out.facts[i].payload = whole.slice(whole.view().substr(places[i].first, places[i].second));
    return out;
  });
}

result<std::vector<stream_position>> reader::based_streams(shard_t shard, stream_no_t after,
                                                           std::size_t limit) {
  return reading([&]() -> result<std::vector<stream_position>> {
    if (shard >= facts_.shards)
      return fail(errc::not_found, "no such shard: " + std::to_string(shard));
    parameters p;
    p.integer(shard).integer(bounded(after)).integer(bounded(limit));
    const auto found = look(based_, std::move(p));
    std::vector<stream_position> out;
    for (std::size_t i = 0; i < found.rows(); ++i)
      out.push_back(read_stream_row(found, i).second.at);
    return out;
  });
}

result<std::vector<projections::row>> reader::rows(const row_query& query) {
  return reading([&]() -> result<std::vector<projections::row>> {
    const row_select select(query);
    std::vector<request> requests;
    parameters name;
    name.text(query.table->name);
    requests.push_back({&table_version_, std::move(name)});
    requests.push_back({&select.sql(), select.values()});
    std::vector<answer> seen;
    auto rebuilt = [&] {
      return fail(errc::unavailable,
                  "the table " + std::string(query.table->name) + " is being rebuilt");
    };
    // A query that fails would take a frozen view with it.
    if (frozen_ && stored_version(db_, *query.table) != query.table->version)
      return rebuilt();
    try {
      seen = look(std::move(requests));
    } catch (const failure& f) {
      // Its columns are those of another version, or it was replaced just now.
      if (f.state == "42P01" || f.state == "42703" || f.state == "0A000")
        return rebuilt();
      throw;
    }
    if (seen[0].rows() == 0 || seen[0].int_at(0, 0) != query.table->version)
      return rebuilt();
    std::vector<projections::row> out;
    out.reserve(seen[1].rows());
    for (std::size_t i = 0; i < seen[1].rows(); ++i)
      out.push_back(row_at(seen[1], i, *query.table));
    return out;
  });
}

result<void> reader::begin_snapshot() {
  return reading([&]() -> result<void> {
    if (frozen_)
      return fail(errc::invalid, "the view is frozen already");
    std::string names;
    for (const auto* t : projections::tables())
      if (stored_version(db_, *t) != 0)
        names += (names.empty() ? "" : ", ") + sql_name(t->name);
    db_.exec(begin_.sql());
    try {
      // A table that a rebuild puts in place later would look empty from here: let it wait.
      if (!names.empty())
        db_.exec("LOCK TABLE " + names + " IN ACCESS SHARE MODE");
      // The view is taken by the first query, not by BEGIN.
      db_.exec("SELECT head FROM shards LIMIT 1");
    } catch (const failure&) {
      if (db_.in_transaction())
        db_.exec("ROLLBACK");
      throw;
    }
    frozen_ = true;
    return {};
  });
}

result<void> reader::end_snapshot() {
  return guarded([&]() -> result<void> {
    if (!frozen_)
      return fail(errc::invalid, "the view is not frozen");
    frozen_ = false;
    if (db_.alive())
      db_.exec(end_.sql());
    return {};
  });
}

}  // namespace recalld::storage::postgres

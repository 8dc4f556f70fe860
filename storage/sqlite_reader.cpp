#include "storage/sqlite_reader.hpp"

#include "storage/sqlite_schema.hpp"

#include <algorithm>
#include <iterator>
#include <limits>

namespace recalld::storage::sqlite {

namespace {

/// Bounds how many stream ids a reader remembers.
constexpr std::size_t names_max = 100'000;
/// Payloads of a page of the log; the page ends behind the fact that reaches it.
constexpr std::size_t page_bytes_max = 8 << 20;

constexpr std::uint64_t bounded(std::uint64_t n) noexcept {
  return std::min<std::uint64_t>(n, std::numeric_limits<std::int64_t>::max());
}

std::string select(const char* rest) {
  return std::string("SELECT ") + log_columns + " FROM log WHERE " + rest;
}

}  // namespace

/// One consistent look at the log over several statements.
class reader::view {
public:
  explicit view(reader& r) : reader_(r.frozen_ ? nullptr : &r) {
    if (reader_ != nullptr)
      reader_->begin_.run();
  }
  ~view() {
    if (reader_ == nullptr)
      return;
    try {
      reader_->end_.run();
    } catch (const failure&) {
      // A transaction that only reads ends in any case.
    }
  }
  view(const view&) = delete;
  view& operator=(const view&) = delete;

private:
  reader* reader_;
};

std::unique_ptr<reader> reader::open(const std::filesystem::path& file,
                                     const sqlite_options& options) {
  auto attempt = [&](connection::mode m) {
    connection db(file, m, options.busy_ms, options.reader_cache_bytes);
    check_readable(db);
    return std::make_unique<reader>(std::move(db), options.unfinished);
  };
  try {
    return attempt(connection::mode::read);
  } catch (const failure& f) {
    // A directory that cannot be written has no place for the shared memory that a write-ahead log
    // needs. Without such a log the file is all there is, and does not change.
    auto wal = file;
    wal += "-wal";
    std::error_code ec;
    const auto wal_bytes = std::filesystem::file_size(wal, ec);
    const int code = f.code & 0xff;
    if ((code != SQLITE_CANTOPEN && code != SQLITE_READONLY) || (!ec && wal_bytes > 0))
      throw;
    return attempt(connection::mode::read_immutable);
  }
}

reader::reader(connection db, bool unfinished)
  : db_(std::move(db)),
    identity_(read_identity(db_, unfinished)),
    streams_(db_),
    rows_(db_),
    begin_(db_.prepare("BEGIN")),
    end_(db_.prepare("COMMIT")),
    lane_back_(
      db_.prepare(select("stream = ? AND lane = ? AND version < ? ORDER BY version DESC LIMIT ?"))),
    lane_forth_(
      db_.prepare(select("stream = ? AND lane = ? AND version > ? ORDER BY version LIMIT ?"))),
    entry_by_key_(db_.prepare(select("stream = ? AND key = ? AND lane = 1"))),
    other_by_key_(db_.prepare(select("stream = ? AND key = ? AND lane <> 1"))),
    prefix_(
      db_.prepare(select("stream = ? AND key > ? AND key < ? AND lane <> 1 ORDER BY key LIMIT ?"))),
    since_(db_.prepare("SELECT version, time FROM log WHERE stream = ? AND lane = ? "
                       "AND version >= ? ORDER BY version LIMIT 1")),
    // Two queries, for SQLite looks into an index only for a minimum or a maximum that is alone.
    ends_(db_.prepare("SELECT (SELECT min(version) FROM log WHERE stream = ?1 AND lane = ?2), "
                      "(SELECT max(version) FROM log WHERE stream = ?1 AND lane = ?2)")),
    head_(db_.prepare("SELECT head FROM shards WHERE shard = ?")),
    scan_(db_.prepare(select("position > ? ORDER BY position LIMIT ?"))),
    blank_at_(db_.prepare("SELECT first, last FROM blanks WHERE first <= ? "
                          "ORDER BY first DESC LIMIT 1")),
    based_(
      db_.prepare("SELECT no, id, sum FROM streams WHERE no > ? AND base > 0 ORDER BY no LIMIT ?")),
    table_version_(db_.prepare("SELECT version FROM table_versions WHERE name = ?")) {}

const stream_id& reader::name_of(stream_no_t no) {
  if (auto known = names_.find(no); known != names_.end())
    return known->second;
  auto id = streams_.id_of(no);
  if (!id)
    refuse(errc::corrupt,
           "a fact belongs to stream " + std::to_string(no) + ", which the log does not know");
  if (names_.size() >= names_max)
    names_.clear();
  return names_.emplace(no, std::move(*id)).first->second;
}

std::vector<recorded> reader::facts(statement& s, stream_no_t stream) {
  std::vector<recorded> out;
  const reset_on_exit done(s);
  while (s.step()) {
    auto& fact = out.emplace_back();
    fact.payload = text(std::string(read_fact(s, name_of(stream), fact)));
  }
  return out;
}

result<stream_position> reader::find_stream(const stream_id& stream) {
  return guarded([&]() -> result<stream_position> {
    const view now(*this);
    auto found = streams_.find(stream);
    if (!found)
      return fail(errc::not_found, "no such stream: " + to_string(stream));
    return found->at;
  });
}

result<stream_id> reader::stream_of(stream_no_t stream_no) {
  return guarded([&]() -> result<stream_id> {
    auto id = streams_.id_of(stream_no);
    if (!id)
      return fail(errc::not_found, "no stream has the number " + std::to_string(stream_no));
    return std::move(*id);
  });
}

result<std::vector<recorded>> reader::lane_back(stream_no_t stream, lane l, version_t before,
                                                std::size_t limit) {
  return guarded([&]() -> result<std::vector<recorded>> {
    const view now(*this);
    lane_back_.integer(1, stream)
      .integer(2, static_cast<int>(l))
      .integer(3, bounded(before))
      .integer(4, bounded(limit));
    return facts(lane_back_, stream);
  });
}

result<std::vector<recorded>> reader::lane_forth(stream_no_t stream, lane l, version_t after,
                                                 std::size_t limit) {
  return guarded([&]() -> result<std::vector<recorded>> {
    const view now(*this);
    lane_forth_.integer(1, stream)
      .integer(2, static_cast<int>(l))
      .integer(3, bounded(after))
      .integer(4, bounded(limit));
    return facts(lane_forth_, stream);
  });
}

result<std::vector<recorded>> reader::stream_forth(stream_no_t stream, version_t after,
                                                   std::size_t limit) {
  return guarded([&]() -> result<std::vector<recorded>> {
    const view now(*this);
    std::vector<recorded> out;
    for (int l = 0; l < lane_count; ++l) {
      for (const int stored : {l, blanked_lane(static_cast<lane>(l))}) {
        lane_forth_.integer(1, stream)
          .integer(2, stored)
          .integer(3, bounded(after))
          .integer(4, bounded(limit));
        auto part = facts(lane_forth_, stream);
        const auto middle = static_cast<std::ptrdiff_t>(out.size());
        std::move(part.begin(), part.end(), std::back_inserter(out));
        std::inplace_merge(
          out.begin(), out.begin() + middle, out.end(),
          [](const recorded& a, const recorded& b) { return a.at.version < b.at.version; });
        if (out.size() > limit)
          out.resize(limit);
      }
    }
    return out;
  });
}

result<std::optional<recorded>> reader::by_key(stream_no_t stream, std::string_view key) {
  return guarded([&]() -> result<std::optional<recorded>> {
    const view now(*this);
    for (auto* s : {&entry_by_key_, &other_by_key_}) {
      s->integer(1, stream).blob(2, key);
      if (auto found = facts(*s, stream); !found.empty())
        return std::optional<recorded>(std::move(found.front()));
    }
    return std::optional<recorded>{};
  });
}

result<std::vector<recorded>> reader::by_key_prefix(stream_no_t stream, std::string_view prefix,
                                                    std::string_view after, std::size_t limit) {
  return guarded([&]() -> result<std::vector<recorded>> {
    const view now(*this);
    // "Greater than the prefix" leaves out a key that equals it, which no prefix of ours is.
    const auto from = std::max(prefix, after);
    const auto to = behind_prefix(prefix);
    prefix_.integer(1, stream).blob(2, from).blob(3, to).integer(4, bounded(limit));
    return facts(prefix_, stream);
  });
}

result<version_t> reader::first_since(stream_no_t stream, lane l, time_us_t t) {
  return guarded([&]() -> result<version_t> {
    const view now(*this);
    const int stored = static_cast<int>(l);
    ends_.integer(1, stream).integer(2, stored);
    version_t low = 0;
    version_t high = 0;
    {
      const reset_on_exit done(ends_);
      if (!ends_.step() || ends_.null_at(0))
        return 0;
      low = ends_.uint_at(0);
      high = ends_.uint_at(1);
    }
    // Times never decrease along the versions of a stream: bisect. `answer` is the smallest
    // version known to be late enough.
    version_t answer = 0;
    while (low <= high) {
      const auto middle = low + (high - low) / 2;
      since_.integer(1, stream).integer(2, stored).integer(3, middle);
      const reset_on_exit done(since_);
      if (!since_.step())
        refuse(errc::corrupt, "an index of the log misses a fact");
      const auto version = since_.uint_at(0);
      if (since_.int_at(1) >= t) {
        answer = version;
        high = middle - 1;
      } else {
        low = version + 1;
      }
    }
    return answer;
  });
}

result<position_t> reader::head(shard_t shard) {
  return guarded([&]() -> result<position_t> {
    head_.integer(1, static_cast<std::uint64_t>(shard));
    const reset_on_exit done(head_);
    if (!head_.step())
      return fail(errc::not_found, "no such shard: " + std::to_string(shard));
    return head_.uint_at(0);
  });
}

result<log_page> reader::scan(shard_t shard, position_t after, std::size_t limit) {
  return guarded([&]() -> result<log_page> {
    const view now(*this);
    auto head_now = head(shard);
    if (!head_now)
      return fail(head_now.error());
    log_page out;
    out.through = after;
    if (after >= *head_now)
      return out;

    // Payloads of a page share one piece of memory.
    std::string payloads;
    std::vector<std::pair<std::size_t, std::size_t>> places;
    const auto facts_max = std::min<std::uint64_t>(limit, *head_now - after);
    out.facts.reserve(facts_max);
    places.reserve(facts_max);

    /// Goes on over the blank range that begins right behind `through`, if there is one.
    auto skip_blank = [&] {
      blank_at_.integer(1, out.through + 1);
      const reset_on_exit done(blank_at_);
      if (!blank_at_.step() || blank_at_.uint_at(1) <= out.through)
        return false;
      out.blanks.push_back({out.through + 1, blank_at_.uint_at(1)});
      out.through = blank_at_.uint_at(1);
      return true;
    };
    scan_.integer(1, bounded(after)).integer(2, bounded(limit));
    const reset_on_exit done(scan_);
    bool full = false;
    while (!full && scan_.step()) {
      const auto position = scan_.uint_at(0);
      if (position != out.through + 1 && (!skip_blank() || position != out.through + 1))
        return fail(errc::corrupt,
                    "the log has a gap behind position " + std::to_string(out.through));
      auto& fact = out.facts.emplace_back();
      const auto payload = read_fact(scan_, name_of(scan_.uint_at(1)), fact);
      places.emplace_back(payloads.size(), payload.size());
      payloads += payload;
      out.through = position;
      full = payloads.size() >= page_bytes_max;
    }
    if (!full && out.facts.size() < limit && out.through < *head_now) {
      skip_blank();
      if (out.through != *head_now)
        return fail(errc::corrupt, "the log ends at position " + std::to_string(out.through)
                                     + " instead of " + std::to_string(*head_now));
    }
    const text whole(std::move(payloads));
    for (std::size_t i = 0; i < places.size(); ++i)
      out.facts[i].payload = whole.slice(whole.view().substr(places[i].first, places[i].second));
    return out;
  });
}

result<std::vector<stream_position>> reader::based_streams(shard_t shard, stream_no_t after,
                                                           std::size_t limit) {
  return guarded([&]() -> result<std::vector<stream_position>> {
    const view now(*this);
    if (auto known = head(shard); !known)
      return fail(known.error());
    based_.integer(1, bounded(after)).integer(2, bounded(limit));
    const reset_on_exit done(based_);
    std::vector<stream_position> out;
    while (based_.step()) {
      const auto id = checked_id(based_.uint_at(0), based_.view_at(1), based_.int_at(2));
      if (auto found = streams_.find(id))
        out.push_back(found->at);
    }
    return out;
  });
}

result<std::vector<projections::row>> reader::rows(const row_query& query) {
  return guarded([&]() -> result<std::vector<projections::row>> {
    const view now(*this);
    table_version_.text(1, query.table->name);
    const bool current = [&] {
      const reset_on_exit done(table_version_);
      return table_version_.step() && table_version_.int_at(0) == query.table->version;
    }();
    if (!current)
      return fail(errc::unavailable,
                  "the table " + std::string(query.table->name) + " is being rebuilt");
    return rows_.rows(query);
  });
}

result<void> reader::begin_snapshot() {
  return guarded([&]() -> result<void> {
    if (frozen_)
      return fail(errc::invalid, "the view is frozen already");
    begin_.run();
    frozen_ = true;
    // The view is taken by the first read, not by BEGIN.
    if (auto first = head(0); !first)
      return fail(first.error());
    return {};
  });
}

result<void> reader::end_snapshot() {
  return guarded([&]() -> result<void> {
    if (!frozen_)
      return fail(errc::invalid, "the view is not frozen");
    frozen_ = false;
    end_.run();
    return {};
  });
}

}  // namespace recalld::storage::sqlite

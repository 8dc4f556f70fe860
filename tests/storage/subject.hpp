#pragma once

#include "events/aggregates.hpp"
#include "events/fold.hpp"
#include "projections/projections.hpp"
#include "storage/model_store.hpp"
#include "storage/postgres_store.hpp"
#include "storage/sqlite_store.hpp"
#include "storage/store.hpp"
#include "tests/catch.hpp"
#include "tests/postgres_server.hpp"

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

/// What the tests of the stores share: the backends, facts to write, and a store that is open.
namespace recalld::storage::testing {

/// A directory of its own that is gone afterwards.
class scratch {
public:
  scratch() {
    static std::atomic<int> count{0};
    path_ = std::filesystem::temp_directory_path()
            / ("recalld-test-" + std::to_string(::getpid()) + "-" + std::to_string(++count));
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;
  const std::filesystem::path& path() const noexcept { return path_; }

private:
  std::filesystem::path path_;
};

// -- backends: each opens the same log again and again --

struct model_backend {
  std::shared_ptr<model_disk> disk = make_model_disk();
  result<std::unique_ptr<store>> open() { return open_model(disk); }
};

struct sqlite_backend {
  scratch directory;
  sqlite_options options{.directory = directory.path()};
  result<std::unique_ptr<store>> open() { return open_sqlite(options); }
};

/// A schema of its own in the database of the tests' server.
struct postgres_backend {
  postgres_options options{.url = recalld::tests::postgres_server::shared().url(),
                           .schema = fresh_schema(),
                           .shards = 1,
                           .writers = 1};
  result<std::unique_ptr<store>> open() { return open_postgres(options); }

  static std::string fresh_schema() {
    static std::atomic<int> count{0};
    return "log_" + std::to_string(++count);
  }
};

/// Every sentence of the contract is checked on each of these.
#define EVERY_STORE                                                             \
  recalld::storage::testing::model_backend, recalld::storage::testing::sqlite_backend, \
    recalld::storage::testing::postgres_backend

// -- results --

template <class T>
T must(result<T> r) {
  if (!r)
    FAIL(to_string(r.error().code) << ": " << r.error().message);
  return std::move(*r);
}
inline void must(result<void> r) {
  if (!r)
    FAIL(to_string(r.error().code) << ": " << r.error().message);
}
template <class T>
errc code_of(const result<T>& r) {
  return r ? errc{} : r.error().code;
}

// -- facts --

inline stream_id session_named(std::string_view name) {
  return session_stream("t", "app", "ann", name);
}

inline any_fact created(json::raw_map values = {}, retention keep = {}) {
  return session::fact{session::created{.values = std::move(values), .retention = keep}};
}
inline any_fact entry(std::string id, std::uint64_t ordinal = 1, std::string body = "hello") {
  session::entry_appended f;
  f.id = id;
  f.role = "user";
  f.ordinal = ordinal;
  f.turn_version = 2;
  f.turn_ordinal = ordinal;
  f.life = 1;
  f.raw = text(R"({"id":")" + id + R"(","role":"user","content":")" + body + R"("})");
  return session::fact{std::move(f)};
}
inline any_fact track_item(std::string track, std::string item = R"("x")") {
  return session::fact{session::track_appended{.track = std::move(track), .item = std::move(item)}};
}
inline any_fact state_set(json::raw_map set, std::vector<std::string> deleted = {}) {
  return session::fact{session::state_changed{.set = std::move(set), .deleted = std::move(deleted)}};
}
inline any_fact deleted() {
  return session::fact{session::deleted{}};
}
inline session::state open_state(std::uint64_t entries = 0, json::raw_map values = {}) {
  session::state s;
  s.status = session::status::open;
  s.created_at = 1;
  s.updated_at = 1;
  s.created_version = 1;
  s.entries = entries;
  s.values = std::move(values);
  return s;
}
inline any_fact trimmed(version_t through, session::state at) {
  return session::fact{session::trimmed{.through = through, .at = std::move(at)}};
}
inline any_fact forked(const stream_id& source, version_t through, session::state at) {
  at.borrowed.push_back({source, through});
  at.forked_from = borrowed_range{source, through};
  return session::fact{
    session::forked{.source = source, .at = std::move(at), .through = through}};
}
inline any_fact app_value(std::string key, std::string raw) {
  scope::state_changed f;
  f.set.emplace(std::move(key), std::move(raw));
  return scope::fact{std::move(f)};
}

inline stream_id memories_of(std::string_view user) {
  return {stream_kind::memory_space, {"t", "app", user}};
}
inline any_fact remembered(std::string id, std::string text = "tea") {
  memory_space::added f;
  f.id = std::move(id);
  f.hash = text;
  f.content.text = std::move(text);
  return memory_space::fact{std::move(f)};
}
inline any_fact superseded(std::string id, std::uint64_t revision) {
  return memory_space::fact{
    memory_space::status_changed{std::move(id), revision, memory_space::status::superseded}};
}
inline any_fact forgotten(std::string id) {
  return memory_space::fact{memory_space::removed{std::move(id)}};
}

inline append_unit unit(stream_id stream, std::optional<version_t> expected,
                        std::vector<any_fact> facts, std::string command = {},
                        time_us_t time = 1000) {
  append_unit u;
  u.parts.push_back({std::move(stream), expected, std::move(facts), {}});
  u.body_hash = command.empty() ? 0 : 7;
  u.command = std::move(command);
  u.time = time;
  return u;
}

/// A backend with a store open on it, the shard taken, and a reader.
template <class Backend>
struct opened {
  Backend backend;
  std::unique_ptr<storage::store> store;
  std::unique_ptr<log_reader> reader;
  epoch_t epoch = 0;

  opened() { open(); }

  void open() {
    store = must(backend.open());
    epoch = must(writer().take_shard(0));
    reader = must(store->open_reader());
  }
  void reopen() {
    reader.reset();
    store.reset();
    open();
  }

  log_writer& writer() { return store->writer(); }
  result<std::vector<unit_outcome>> try_commit(std::vector<append_unit> units) {
    return writer().commit(0, epoch, units);
  }
  std::vector<unit_outcome> commit_all(std::vector<append_unit> units) {
    return must(try_commit(std::move(units)));
  }
  unit_outcome commit(append_unit u) {
    std::vector<append_unit> units;
    units.push_back(std::move(u));
    return std::move(commit_all(std::move(units)).front());
  }
  /// Commits facts of one stream behind whatever it has.
  committed_part append(const stream_id& stream, std::vector<any_fact> facts,
                        std::string command = {}, time_us_t time = 1000) {
    auto out = commit(unit(stream, {}, std::move(facts), std::move(command), time));
    REQUIRE_FALSE(out.refused);
    return out.parts.front();
  }
  sweep_report sweep(const receipt_age& receipts = 0, std::size_t budget = 100'000) {
    return must(writer().sweep(0, epoch, receipts, budget));
  }
  stream_no_t number_of(const stream_id& stream) {
    return must(reader->find_stream(stream)).stream_no;
  }
  std::vector<version_t> lane_versions(const stream_id& stream, lane l) {
    std::vector<version_t> out;
    for (const auto& f : must(reader->lane_forth(number_of(stream), l, 0, 1000)))
      out.push_back(f.at.version);
    return out;
  }
  /// The state of a session as of a version that is not below its base, folded from the log.
  session::state state_at(const stream_id& stream, version_t through) {
    using aggregate = session::aggregate;
    const auto at = must(reader->find_stream(stream));
    versioned<aggregate> out;
    out.version = at.base;
    if (at.base_fact != 0) {
      const auto carrier = must(reader->stream_forth(at.stream_no, at.base_fact - 1, 1));
      out.state = aggregate::carried_state(
        std::get<session::fact>(must(codec::decode(carrier.at(0)))));
    }
    for (const auto& f : must(reader->stream_forth(at.stream_no, at.base, 10'000)))
      if (f.at.version <= through)
        must(fold(out, f));
    return out.state;
  }
  /// Facts that forget a stream's past, or share it, as they would really be.
  any_fact trim_of(const stream_id& stream, version_t through) {
    return trimmed(through, state_at(stream, through));
  }
  any_fact fork_of(const stream_id& source, version_t through) {
    return forked(source, through, state_at(source, through));
  }
  std::vector<projections::row> rows(const projections::table& t) {
    return must(reader->rows({.table = &t, .limit = 100'000}));
  }
};

inline std::vector<version_t> versions_of(const std::vector<recorded>& facts) {
  std::vector<version_t> out;
  for (const auto& f : facts)
    out.push_back(f.at.version);
  return out;
}
inline std::vector<position_t> positions_of(const std::vector<recorded>& facts) {
  std::vector<position_t> out;
  for (const auto& f : facts)
    out.push_back(f.at.position);
  return out;
}

template <class T>
std::string text_of(const T& v) {
  if (const auto* s = std::get_if<std::string>(&v))
    return *s;
  if (const auto* n = std::get_if<std::int64_t>(&v))
    return std::to_string(*n);
  return "null";
}

}  // namespace recalld::storage::testing

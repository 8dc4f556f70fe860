#include "bench/bare_postgres.hpp"

#include "events/ids.hpp"
#include "storage/postgres_store.hpp"

#include <pqxx/pqxx>

#include <algorithm>
#include <stdexcept>
#include <vector>

namespace recalld::bench {

namespace {

constexpr const char* schema = "bare";

std::string numbered(const std::string& text, std::uint64_t n) {
  auto digits = std::to_string(n);
  digits.insert(0, 12 - std::min<std::size_t>(12, digits.size()), '0');
  return text.size() < 12 ? digits : text.substr(0, text.size() - 12) + digits;
}

}  // namespace

struct bare_postgres::connection {
  explicit connection(const std::string& url) : db(url) {}
  pqxx::connection db;
  std::vector<std::uint64_t> versions;
  std::uint64_t next = 0;
  std::uint64_t position = 0;
};

bare_postgres::bare_postgres(const std::string& url, std::size_t sessions) {
  if (auto made = storage::open_postgres({.url = url, .schema = schema}); !made)
    throw std::runtime_error(made.error().message);
  c_ = std::make_unique<connection>(url);
  c_->versions.assign(sessions, 0);
  pqxx::work work(c_->db);
  for (std::size_t i = 0; i < sessions; ++i) {
    const auto n = std::to_string(i);
    work.exec(std::string("INSERT INTO bare.streams(no, shard, sum, id) VALUES(") + n + ", 0, 0, '"
              + "stream-" + n + "')");
    work.exec(
      "INSERT INTO bare.sessions(stream, tenant, app, \"user\", session, status, created_at, "
      "updated_at, version, entries, floor, metadata, updated_slot) VALUES("
      + n + ", 'default', 'bench', 'u" + n + "', 's" + n + "', 'open', 1, 1, 0, 0, 0, '{}', 0)");
  }
  work.commit();
}

bare_postgres::~bare_postgres() = default;

model_row bare_postgres::newest_entry() {
  pqxx::work work(c_->db);
  const auto found = work.exec("SELECT type, schema, lane, encode(key, 'hex'), payload FROM "
                               "recalld.log WHERE lane = 1 LIMIT 1");
  if (found.empty())
    throw std::runtime_error("there is no entry in the log");
  const auto row = found[0];
  return {row[0].as<std::string>(), row[1].as<std::int64_t>(), row[2].as<std::int64_t>(),
          row[3].as<std::string>(), row[4].as<std::string>()};
}

bare_sqlite::written bare_postgres::append(const model_row& row, std::size_t batch, double seconds,
                                           std::size_t rows_of_command) {
  auto& c = *c_;
  const std::string command(36, '0');
  bare_sqlite::written out;
  const stopwatch watch;
  do {
    const stopwatch one;
    pqxx::work work(c.db);
    const auto now = std::to_string(std::chrono::duration_cast<std::chrono::microseconds>(
                                      std::chrono::system_clock::now().time_since_epoch())
                                      .count());
    const auto payload = work.quote(row.payload);
    std::string log = "INSERT INTO bare.log(shard, position, stream, version, lane, type, schema, "
                      "time, key, command, body_hash, command_facts, sum, payload) VALUES ";
    std::string receipts = "INSERT INTO bare.receipts(stream, command, body_hash, first_version, "
                           "last_version, position, time) VALUES ";
    std::string sessions =
      "UPDATE bare.sessions SET updated_at = v.t, updated_slot = v.t >> 24, version = v.v, "
      "entries = v.v "
      "FROM (VALUES ";
    std::vector<std::size_t> touched;
    for (std::size_t i = 0; i < batch; ++i) {
      const bool first = i % rows_of_command == 0;
      const auto at = static_cast<std::size_t>((first ? c.next++ : c.next - 1) % c.versions.size());
      const auto stream = std::to_string(at);
      const auto version = std::to_string(++c.versions[at]);
      const auto position = std::to_string(++c.position);
      const auto id = "'" + numbered(command, c.position) + "'";
      const char* comma = i > 0 ? ", " : "";
      log += comma + ("(0, " + position) + ", " + stream + ", " + version + ", "
             + std::to_string(row.lane) + ", '" + row.type + "', " + std::to_string(row.schema)
             + ", " + now + ", '\\x" + numbered(row.key, c.position) + "', "
             + (first ? id + ", " + position + ", " + std::to_string(rows_of_command)
                      : std::string("NULL, NULL, NULL"))
             + ", 7, " + payload + ")";
      if (!first)
        continue;
      receipts += comma + ("(" + stream) + ", " + id + ", " + position + ", " + version + ", "
                  + version + ", " + position + ", " + now + ")";
      touched.push_back(at);
    }
    // A session that was appended to twice has its row written once.
    std::sort(touched.begin(), touched.end());
    touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
    for (const auto at : touched)
      sessions += (at == touched.front() ? "(" : ", (") + std::to_string(at) + "::int8, "
                  + std::to_string(c.versions[at]) + "::int8, " + now + "::int8)";
    sessions += ") AS v(s, v, t) WHERE stream = v.s";
    work.exec("UPDATE bare.shards SET head = " + std::to_string(c.position) + " WHERE shard = 0; "
              + log + "; " + receipts + "; " + sessions);
    work.commit();
    out.commit_us.add(one.us());
    out.rows += batch;
  } while (watch.seconds() < seconds);
  out.rows_per_s = static_cast<double>(out.rows) / watch.seconds();
  return out;
}

}  // namespace recalld::bench

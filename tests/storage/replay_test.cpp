#include "storage/replay.hpp"

#include "storage/dump.hpp"
#include "tests/storage/subject.hpp"

#include <sqlite3.h>
#include <sstream>

namespace recalld::storage::testing {

namespace {

/// A log with all that a replay can meet: lives, forks, trims, blanked receipts, ranges.
template <class Backend>
void fill(opened<Backend>& log) {
  const auto s = session_named("s");
  const auto f = session_named("f");
  log.append(app_stream("t", "app"), {app_value("k", "1"), app_value("l", R"("two")")});
  log.append(s, {created({{"a", "1"}}), entry("1"), entry("2", 2)}, "c1", 1000);
  log.append(s, {state_set({{"b", "2"}})}, "c2", 2000);
  log.append(f, {log.fork_of(s, 3)}, "c3", 3000);
  log.append(s, {entry("3", 3)}, {}, 4000);
  log.append(s, {log.trim_of(s, 4)}, {}, 5000);
  log.append(s, {entry("4", 4), state_set({{"c", "3"}}, {"a"})}, "c4", 6000);
  for (int i = 0; i < 5; ++i) {
    const auto name = session_named("gone" + std::to_string(i));
    log.append(name, {created({{"x", "1"}}), entry("1"), deleted()}, i % 2 == 0 ? "g" : "", 6500);
  }
  log.append(session_named("gone1"), {created({{"again", "1"}})}, {}, 7000);
  log.append(f, {entry("f1", 3)}, {}, 7000);
}

/// Writes to the database behind the store's back.
void tamper(const std::filesystem::path& directory, const std::string& sql) {
  sqlite3* db = nullptr;
  REQUIRE(sqlite3_open((directory / "recalld.db").c_str(), &db) == SQLITE_OK);
  char* message = nullptr;
  const int rc = sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &message);
  INFO((message != nullptr ? message : ""));
  CHECK(rc == SQLITE_OK);
  sqlite3_free(message);
  sqlite3_close(db);
}

struct counting final : replay_target {
  void base(const envelope& at, const any_fact&) override {
    seen += "base " + std::to_string(at.stream_no) + "@" + std::to_string(at.version) + " ";
  }
  void fact(const recorded& r, const any_fact&) override {
    seen += std::to_string(r.at.position) + " ";
  }
  void blanked(const recorded& r) override {
    seen += "(" + std::to_string(r.at.position) + ") ";
  }
  std::string seen;
};

}  // namespace

TEMPLATE_TEST_CASE("a replay delivers the states of bases first, then facts, blanked below bases",
                   "[replay]", EVERY_STORE) {
  opened<TestType> log;
  const auto s = session_named("s");
  log.append(s, {created(), entry("1"), entry("2", 2)});
  log.append(session_named("t"), {created()}, "c");
  log.append(s, {log.trim_of(s, 2), entry("3", 3)});
  log.append(session_named("t"), {deleted()});
  for (const bool swept : {false, true}) {
    counting seen;
    replayer walk(*log.reader);
    must(walk.start(seen));
    while (must(walk.step(seen, 2))) {
    }
    CHECK(seen.seen
          == (swept ? "base 1@2 3 (4) 5 6 7 " : "base 1@2 (1) (2) 3 (4) 5 6 7 "));
    CHECK(walk.progress().through == 7);
    CHECK(walk.progress().head == 7);
    CHECK(walk.progress().facts == 4);
    CHECK(walk.progress().blanked == 3);
    log.sweep(0);
  }
}

TEMPLATE_TEST_CASE("rows equal the fold of the log, before and after every sweep", "[replay]",
                   EVERY_STORE) {
  opened<TestType> log;
  CHECK(must(verify(*log.reader)).good());
  fill(log);
  for (const time_us_t before : {0, 0, 6001, 9000}) {
    const auto report = must(verify(*log.reader, {.page = 3}));
    for (const auto& d : report.differences)
      UNSCOPED_INFO(d.table << " " << text_of(d.key.at(0)) << " " << d.column << ": " << d.expected
                            << " / " << d.found);
    CHECK(report.good());
    CHECK(report.progress.through == must(log.reader->head(0)));
    for (const auto& t : report.tables)
      CHECK(t.expected == t.found);
    log.sweep(before);
  }
}

TEST_CASE("a row that is not what the log says is named", "[replay]") {
  opened<sqlite_backend> log;
  fill(log);
  const auto& directory = log.backend.directory.path();
  tamper(directory, "UPDATE sessions SET entries = 99 WHERE session = 's'");
  tamper(directory, "DELETE FROM receipts WHERE command = 'c3'");
  tamper(directory, "INSERT INTO session_state VALUES(77, 'ghost', '1')");
  const auto report = must(verify(*log.reader));
  CHECK_FALSE(report.good());
  CHECK(report.different == 3);
  REQUIRE(report.differences.size() == 3);
  std::string seen;
  for (const auto& d : report.differences) {
    seen += d.table;
    for (const auto& cell : d.key)
      seen += "/" + text_of(cell);
    seen += " " + d.column + ":" + d.expected + "->" + d.found + "\n";
  }
  CHECK(seen
        == "sessions/2 entries:4->99\nsession_state/77/ghost :->a row\nreceipts/c3/3 :a row->\n");
  const auto few = must(verify(*log.reader, {.differences_max = 1}));
  CHECK(few.different == 3);
  CHECK(few.differences.size() == 1);
}

TEST_CASE("a log that is not dense is corrupt", "[replay]") {
  const std::string damage = GENERATE(
    "DELETE FROM log WHERE position = 4", "DELETE FROM log WHERE position = 2",
    "UPDATE shards SET head = head + 1", "DELETE FROM log WHERE position = (SELECT max(position) FROM log)");
  opened<sqlite_backend> log;
  fill(log);
  tamper(log.backend.directory.path(), damage);
  INFO(damage);
  CHECK(code_of(verify(*log.reader)) == errc::corrupt);
}

TEST_CASE("a version that is missing from a stream is corrupt, though positions are dense",
          "[replay]") {
  opened<sqlite_backend> log;
  log.append(session_named("s"), {created(), entry("1"), entry("2", 2)});
  tamper(log.backend.directory.path(), "DELETE FROM log WHERE position = 2; INSERT INTO blanks VALUES(2, 2)");
  CHECK(code_of(verify(*log.reader)) == errc::corrupt);
}

TEST_CASE("a fact that was changed behind the store's back is corrupt", "[replay]") {
  const std::string damage = GENERATE(
    R"(UPDATE log SET payload = '{"values":{"a":"2"}}' WHERE position = 3)",
    "UPDATE log SET version = 77 WHERE position = 5", "UPDATE log SET time = 1 WHERE position = 9",
    "UPDATE log SET command = 'c9' WHERE position = 3",
    "UPDATE log SET type = 'session.deleted' WHERE position = 3",
    "UPDATE log SET stream = 900 WHERE position = 3");
  opened<sqlite_backend> log;
  fill(log);
  tamper(log.backend.directory.path(), damage);
  INFO(damage);
  CHECK(code_of(verify(*log.reader)) == errc::corrupt);
}

TEMPLATE_TEST_CASE("a rebuild gives the same rows, in one go", "[replay]", EVERY_STORE) {
  opened<TestType> log;
  fill(log);
  log.sweep();
  std::vector<std::vector<projections::row>> before;
  for (const auto* t : projections::tables())
    before.push_back(log.rows(*t));
  const auto tables = projections::tables();
  rebuild again(log.writer(), *log.reader, {tables.begin(), tables.end()});
  must(again.run());
  for (std::size_t i = 0; i < tables.size(); ++i)
    CHECK(log.rows(*tables[i]) == before[i]);
  CHECK(must(verify(*log.reader)).good());
}

TEMPLATE_TEST_CASE("a rebuild catches up with commits that come between its steps", "[replay]",
                   EVERY_STORE) {
  opened<TestType> log;
  fill(log);
  const auto tables = projections::tables();
  rebuild again(log.writer(), *log.reader, {tables.begin(), tables.end()});
  int rounds = 0;
  while (must(again.step(4))) {
    REQUIRE(++rounds < 100);
    // Streams are trimmed, deleted and begun while the rebuild has not reached them.
    const auto name = session_named("gone" + std::to_string(rounds % 5));
    if (rounds < 9) {
      log.append(name, {rounds % 3 == 0 ? deleted() : created({{"r", std::to_string(rounds)}})});
      const auto f = session_named("f");
      const auto head = must(log.reader->find_stream(f)).head;
      log.append(f, {log.trim_of(f, head)});
      log.append(session_named("fork" + std::to_string(rounds)), {log.fork_of(f, head + 1)});
      CHECK(log.sweep(9000).merged == 0);
    }
  }
  CHECK(rounds > 5);
  const auto report = must(verify(*log.reader));
  for (const auto& d : report.differences)
    UNSCOPED_INFO(d.table << " " << text_of(d.key.at(0)) << " " << d.column << ": " << d.expected
                          << " / " << d.found);
  CHECK(report.good());
}

TEST_CASE("given damaged rows, when they are rebuilt, then they follow from the log again",
          "[replay]") {
  opened<sqlite_backend> log;
  fill(log);
  tamper(log.backend.directory.path(), "UPDATE sessions SET entries = 99; DELETE FROM receipts");
  rebuild again(log.writer(), *log.reader,
                {&projections::sessions::spec, &projections::receipts::spec});
  must(again.run());
  CHECK(must(verify(*log.reader)).good());
}

TEMPLATE_TEST_CASE("a dump holds the whole log, and gives it back", "[dump]", EVERY_STORE) {
  opened<TestType> log;
  fill(log);
  // A line break inside a payload, and a key that is no text.
  auto u = unit(session_named("odd"), 0, {created()}, "cmd\n");
  auto made = codec::encode(u.parts[0].facts[0], 1);
  made.payload = text("{\"values\":\n{}}");
  made.key = "\xff\x01";
  u.parts[0].encoded.push_back(made);
  log.commit(std::move(u));
  log.sweep();
  std::stringstream file;
  must(write_dump(*log.reader, file));
  auto loaded = must(read_dump(file));
  auto reader = must(loaded->open_reader());
  CHECK(reader->identity() == log.reader->identity());
  const auto a = must(log.reader->scan(0, 0, 1000));
  const auto b = must(reader->scan(0, 0, 1000));
  CHECK(a.through == b.through);
  CHECK(a.blanks == b.blanks);
  REQUIRE(a.facts.size() == b.facts.size());
  for (std::size_t i = 0; i < a.facts.size(); ++i) {
    CHECK(a.facts[i].at.stream == b.facts[i].at.stream);
    CHECK(a.facts[i].at.version == b.facts[i].at.version);
    CHECK(a.facts[i].at.time == b.facts[i].at.time);
    CHECK(a.facts[i].at.command == b.facts[i].at.command);
    CHECK(a.facts[i].at.body_hash == b.facts[i].at.body_hash);
    CHECK(a.facts[i].at.command_facts == b.facts[i].at.command_facts);
    CHECK(a.facts[i].type == b.facts[i].type);
    CHECK(a.facts[i].schema == b.facts[i].schema);
    CHECK(a.facts[i].lane == b.facts[i].lane);
    CHECK(a.facts[i].key == b.facts[i].key);
    CHECK(a.facts[i].payload == b.facts[i].payload);
    CHECK(a.facts[i].blanked == b.facts[i].blanked);
  }
  CHECK(must(log.reader->based_streams(0, 0, 100)) == must(reader->based_streams(0, 0, 100)));
  // The dump's fold is what the log's tables hold.
  row_fold fold;
  replayer walk(*reader);
  must(walk.start(fold));
  while (must(walk.step(fold, 3))) {
  }
  verify_report report;
  must(compare_rows(fold.rows(), *log.reader, 10, report));
  CHECK(report.good());
  std::stringstream again;
  must(write_dump(*reader, again));
  CHECK(again.str() == file.str());
}

TEST_CASE("a dump that cannot be read names the line", "[dump]") {
  opened<model_backend> log;
  fill(log);
  std::stringstream whole;
  must(write_dump(*log.reader, whole));
  const auto text = whole.str();
  auto read = [](const std::string& dump) {
    std::stringstream in(dump);
    return read_dump(in);
  };
  CHECK(code_of(read("")) == errc::invalid);
  CHECK(code_of(read("{}\n")) == errc::invalid);
  CHECK(code_of(read(text.substr(0, text.size() / 2))) == errc::invalid);
  CHECK(code_of(read(text.substr(0, text.rfind("{\"end\"")))) == errc::invalid);
  auto without = text;
  const auto third = without.find("{\"at\":3,");
  without.erase(third, without.find('\n', third) - third + 1);
  const auto refused = read(without);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().field.starts_with("line "));
  CHECK(read(text));
}

}  // namespace recalld::storage::testing

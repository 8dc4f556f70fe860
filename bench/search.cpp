#include "bench/bare_sqlite.hpp"
#include "bench/server.hpp"
#include "bench/workload.hpp"
#include "storage/sqlite_store.hpp"

#include <sqlite3.h>

#include <random>
#include <stdexcept>

/// Searching the memories of one owner, with a thousand other owners in the same log. The reference
/// is SQLite's FTS5 over the same texts in memory, its best ten by BM25, the words joined by OR.
namespace recalld::bench {

namespace {

constexpr std::size_t other_owners = 1'000;
constexpr std::size_t memories_of_others = 20;
constexpr std::size_t words_in_memory = 20;
constexpr std::size_t words_in_question = 7;
constexpr std::size_t vocabulary = 20'000;
constexpr std::size_t memories_in_session = 40;
constexpr std::size_t units_in_commit = 1'000;
constexpr time_us_t some_time = 1'767'225'600'000'000;

/// Words as often as words are: the n-th most common one with a probability of about 1/n.
class speech {
public:
  explicit speech(std::uint64_t seed) : chance_(seed) {
    std::vector<double> weights;
    for (std::size_t n = 1; n <= vocabulary; ++n)
      weights.push_back(1.0 / static_cast<double>(n + 20));
    which_ = std::discrete_distribution<std::size_t>(weights.begin(), weights.end());
  }
  std::string say(std::size_t words) {
    std::string out;
    for (std::size_t i = 0; i < words; ++i)
      out += (i > 0 ? " " : "") + word(which_(chance_));
    return out;
  }

private:
  /// Pronounceable, and no two alike.
  static std::string word(std::size_t n) {
    static constexpr std::string_view consonants = "bdfgklmnprstvz";
    static constexpr std::string_view vowels = "aeiou";
    std::string out;
    for (n += 100; n > 0; n /= consonants.size() * vowels.size()) {
      out += consonants[n % consonants.size()];
      out += vowels[n / consonants.size() % vowels.size()];
    }
    return out;
  }
  std::mt19937_64 chance_;
  std::discrete_distribution<std::size_t> which_;
};

std::string owner_name(std::size_t n) { return "u" + std::to_string(n); }

/// Writes memories straight through the store.
class memory_filler {
public:
  explicit memory_filler(const std::filesystem::path& directory) {
    auto opened = storage::open_sqlite({.directory = directory});
    if (!opened)
      throw std::runtime_error(opened.error().message);
    store_ = std::move(*opened);
    auto epoch = store_->writer().take_shard(0);
    if (!epoch)
      throw std::runtime_error(epoch.error().message);
    epoch_ = *epoch;
  }
  ~memory_filler() { finish(); }
  memory_filler(const memory_filler&) = delete;
  memory_filler& operator=(const memory_filler&) = delete;

  void add(std::size_t owner, std::size_t number, std::string text) {
    memory_space::added fact;
    fact.id = uuid_v7(some_time + static_cast<time_us_t>(++ids_), {ids_, ids_});
    fact.content.text = std::move(text);
    fact.hash = memory_space::hash_of(fact.content);
    fact.origin.source =
      R"({"kind":"session","session":"s)" + std::to_string(number / memories_in_session) + "\"}";
    storage::append_unit unit;
    unit.parts.push_back(
      {{stream_kind::memory_space, {"default", "bench", owner_name(owner)}}, std::nullopt, {}, {}});
    unit.parts.back().facts.emplace_back(memory_space::fact(std::move(fact)));
    unit.time = some_time;
    units_.push_back(std::move(unit));
    if (units_.size() == units_in_commit)
      finish();
  }
  void finish() {
    if (units_.empty())
      return;
    auto outcome = store_->writer().commit(0, epoch_, units_);
    if (!outcome)
      throw std::runtime_error(outcome.error().message);
    units_.clear();
  }

private:
  std::unique_ptr<storage::store> store_;
  epoch_t epoch_ = 0;
  std::vector<storage::append_unit> units_;
  std::uint64_t ids_ = 0;
};

class full_text {
public:
  full_text() {
    if (sqlite3_open(":memory:", &db_) != SQLITE_OK)
      throw std::runtime_error("cannot open a database in memory");
    run("CREATE VIRTUAL TABLE texts USING fts5(text, tokenize='porter')");
    insert_ = prepared("INSERT INTO texts VALUES(?)");
    select_ = prepared("SELECT rowid FROM texts WHERE texts MATCH ? ORDER BY rank LIMIT 10");
    run("BEGIN");
  }
  ~full_text() {
    sqlite3_finalize(insert_);
    sqlite3_finalize(select_);
    sqlite3_close(db_);
  }
  full_text(const full_text&) = delete;
  full_text& operator=(const full_text&) = delete;

  void add(const std::string& text) { step(insert_, text); }
  std::size_t search(const std::string& question) {
    std::string match;
    for (const auto c : question)
      match += c == ' ' ? std::string(" OR ") : std::string(1, c);
    return step(select_, match);
  }

private:
  void run(const char* sql) {
    if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK)
      throw std::runtime_error(sqlite3_errmsg(db_));
  }
  sqlite3_stmt* prepared(const char* sql) {
    sqlite3_stmt* out = nullptr;
    if (sqlite3_prepare_v2(db_, sql, -1, &out, nullptr) != SQLITE_OK)
      throw std::runtime_error(sqlite3_errmsg(db_));
    return out;
  }
  std::size_t step(sqlite3_stmt* s, const std::string& text) {
    sqlite3_bind_text(s, 1, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
    std::size_t rows = 0;
    while (sqlite3_step(s) == SQLITE_ROW)
      ++rows;
    sqlite3_reset(s);
    return rows;
  }
  sqlite3* db_ = nullptr;
  sqlite3_stmt* insert_ = nullptr;
  sqlite3_stmt* select_ = nullptr;
};

std::string request(const std::string& question) {
  return R"({"app":"bench","user":"u0","query":")" + question + "\"}";
}

void measure(const plan& p, std::size_t memories) {
  const scratch place(p);
  const auto log = place.path() / "log";
  full_text reference;
  {
    memory_filler fill(log);
    speech owner(1);
    speech others(2);
    for (std::size_t n = 0; n < memories; ++n) {
      auto text = owner.say(words_in_memory);
      reference.add(text);
      fill.add(0, n, std::move(text));
    }
    for (std::size_t o = 1; o <= other_owners; ++o)
      for (std::size_t n = 0; n < memories_of_others; ++n)
        fill.add(o, n, others.say(words_in_memory));
  }
  const auto size = ".memories=" + std::to_string(memories);
  server node({.log = log});
  speech asker(3);
  const stopwatch first;
  node.ask("memory.search", request(asker.say(words_in_question)));
  print("search.first" + size, first.us(), "us", 0);

  histogram ours, theirs, after_add;
  const std::size_t times = p.quick ? 50 : 1'000;
  for (std::size_t i = 0; i < times; ++i) {
    const auto question = asker.say(words_in_question);
    {
      const stopwatch watch;
      node.ask("memory.search", request(question));
      ours.add(watch.us());
    }
    const stopwatch watch;
    reference.search(question);
    theirs.add(watch.us());
  }
  print("search.p50" + size, ours.quantile(0.5), "us", theirs.quantile(0.5));
  print("search.p99" + size, ours.quantile(0.99), "us", theirs.quantile(0.99));

  // Adds and bare commits of one row take turns, each after a search: both find a disk and caches
  // that did something else meanwhile.
  histogram add, commit;
  bare_sqlite bare(place.path() / "bare", 1);
  const model_row row{"session.entry_appended", 1, 1, "e:" + std::string(20, '0'),
                      asker.say(words_in_memory)};
  for (std::size_t i = 0; i < times; ++i) {
    node.ask("memory.search", request(asker.say(words_in_question)));
    commit.add(bare.append(row, 1, false, 0).commit_us);
    node.ask("memory.search", request(asker.say(words_in_question)));
    {
      const stopwatch watch;
      node.ask("memory.add",
               R"({"app":"bench","user":"u0","text":")" + asker.say(words_in_memory) + "\"}");
      add.add(watch.us());
    }
    const stopwatch watch;
    node.ask("memory.search", request(asker.say(words_in_question)));
    after_add.add(watch.us());
  }
  print("search.after_add.p99" + size, after_add.quantile(0.99), "us", theirs.quantile(0.99));
  print("search.add.p50" + size, add.quantile(0.5), "us", commit.quantile(0.5));
  print("search.add.p99" + size, add.quantile(0.99), "us", commit.quantile(0.99));
}

}  // namespace

void search(const plan& p) {
  std::vector<std::size_t> sizes{1'000, 10'000};
  if (!p.quick)
    sizes.push_back(100'000);
  for (auto memories : sizes)
    measure(p, memories);
}

}  // namespace recalld::bench

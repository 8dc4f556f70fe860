#include "tests/catch.hpp"

#include "tests/events/histories.hpp"

#include "projections/memory_words.hpp"
#include "projections/projections.hpp"

#include <set>

namespace recalld::projections {

using namespace recalld::testing;

namespace {

std::string tell(const value& v) {
  if (auto* n = std::get_if<std::int64_t>(&v))
    return std::to_string(*n);
  auto* s = std::get_if<std::string>(&v);
  return s == nullptr ? "null" : "'" + *s + "'";
}

std::string tell(const row& r) {
  std::string out;
  for (const auto& v : r)
    out += (out.empty() ? "" : " ") + tell(v);
  return out;
}

/// Tables in memory, as any store would keep them.
class rows_in_memory {
public:
  /// False when a row that had to be new was there.
  bool apply(const std::vector<change>& changes) {
    for (const auto& c : changes)
      if (!std::visit([this](const auto& one) { return apply(one); }, c))
        return false;
    return true;
  }

  std::vector<row> of(const table& t) const {
    std::vector<row> out;
    if (auto found = tables_.find(t.name); found != tables_.end())
      for (const auto& [key, r] : found->second)
        out.push_back(r);
    return out;
  }

  std::string tell_all(bool with_receipts) const {
    std::string out;
    for (auto* t : tables())
      if (with_receipts || t != &receipts::spec)
        for (const auto& r : of(*t))
          out += std::string(t->name) + ": " + tell(r) + "\n";
    return out;
  }

private:
  static row key_of(const table& t, const row& r) {
    return {r.begin(), r.begin() + static_cast<std::ptrdiff_t>(t.key_columns)};
  }
  static void require_fits(const table& t, const row& r) {
    REQUIRE(r.size() == t.columns.size());
    for (std::size_t i = 0; i < r.size(); ++i)
      require_fits(t, i, r[i]);
  }
  static void require_fits(const table& t, std::size_t at, const value& v) {
    INFO(t.name << "." << t.columns[at].name);
    if (std::holds_alternative<std::monostate>(v))
      REQUIRE(t.columns[at].nullable);
    else
      REQUIRE(std::holds_alternative<std::int64_t>(v)
              == (t.columns[at].type == column_type::integer));
  }

  bool apply(const put& c) {
    require_fits(*c.table, c.row);
    tables_[c.table->name].insert_or_assign(key_of(*c.table, c.row), c.row);
    return true;
  }
  bool apply(const put_new& c) {
    require_fits(*c.table, c.row);
    return tables_[c.table->name].emplace(key_of(*c.table, c.row), c.row).second;
  }
  bool apply(const set& c) {
    REQUIRE(c.key.size() == c.table->key_columns);
    auto& rows = tables_[c.table->name];
    auto found = rows.find(c.key);
    for (const auto& [column, v] : c.cells) {
      REQUIRE(column >= c.table->key_columns);
      require_fits(*c.table, column, v);
      if (found != rows.end())
        found->second[column] = v;
    }
    return true;
  }
  bool apply(const erase& c) {
    std::erase_if(tables_[c.table->name], [&](const auto& one) {
      return std::equal(c.key.begin(), c.key.end(), one.first.begin());
    });
    return true;
  }

  std::map<std::string_view, std::map<row, row>> tables_;
};

constexpr time_us_t noon = 1'700'000'000'000'000;

envelope at(version_t version, std::string command = {}, std::uint32_t facts = 0) {
  return {version + 40,
          7,
          session_stream("acme", "chat", "ada", "s1"),
          version,
          noon + static_cast<time_us_t>(version),
          std::move(command),
          99,
          facts};
}

std::vector<change> changes_of(const envelope& e, const any_fact& f) {
  std::vector<change> out;
  project(e, f, out);
  return out;
}

/// Rows that these session facts lead to, versions from 1 on.
rows_in_memory rows_after(const std::vector<session::fact>& facts) {
  rows_in_memory rows;
  version_t version = 0;
  for (const auto& f : facts)
    REQUIRE(rows.apply(changes_of(at(++version), f)));
  return rows;
}

row session_row_of(const rows_in_memory& rows) {
  auto all = rows.of(sessions::spec);
  REQUIRE(all.size() == 1);
  return all.front();
}

session::created born(std::uint64_t ttl_s = 0) { return {R"({"m":1})", {{"k", "1"}}, {0, ttl_s}}; }

std::vector<change> changes_of_all(const std::vector<session::fact>& facts) {
  std::vector<change> out;
  version_t version = 0;
  for (const auto& f : facts)
    project(at(++version), f, out);
  return out;
}

}  // namespace

TEST_CASE("tables are described consistently", "[tables]") {
  std::set<std::string_view> names;
  for (auto* t : tables()) {
    INFO(t->name);
    CHECK(names.insert(t->name).second);
    CHECK(find_table(t->name) == t);
    CHECK(t->version >= 1);
    REQUIRE_FALSE(t->columns.empty());
    CHECK(t->key_columns >= 1);
    CHECK(t->key_columns <= t->columns.size());
    std::set<std::string_view> columns;
    for (std::size_t i = 0; i < t->columns.size(); ++i) {
      CHECK(columns.insert(t->columns[i].name).second);
      CHECK((i >= t->key_columns || !t->columns[i].nullable));
    }
    for (const auto& i : t->indexes) {
      CHECK_FALSE(i.columns.empty());
      for (auto column : i.columns)
        CHECK(column < t->columns.size());
      if (i.only_where_set >= 0)
        CHECK(t->columns[static_cast<std::size_t>(i.only_where_set)].nullable);
    }
  }
  CHECK(names
        == std::set<std::string_view>{
          "sessions",       "session_state",    "contexts",      "scope_state",
          "memories",       "memory_revisions", "memory_topics", "memory_words",
          "memory_vectors", "short_values",     "principals",    "model_sessions",
          "inbox",          "grants",           "schedules",     "runs",
          "effects",        "agenda",           "receipts",      "summaries",
          "summary_jobs",   "summary_triggers"});
  CHECK(find_table("nonsense") == nullptr);
  CHECK(find_table("") == nullptr);
}

TEST_CASE("columns are where their names say", "[tables]") {
  auto name = [](const table& t, std::size_t column) { return t.columns[column].name; };
  CHECK(name(sessions::spec, sessions::session) == "session");
  CHECK(name(sessions::spec, sessions::status) == "status");
  CHECK(name(sessions::spec, sessions::updated_at) == "updated_at");
  CHECK(name(sessions::spec, sessions::closed_at) == "closed_at");
  CHECK(name(sessions::spec, sessions::expires_at) == "expires_at");
  CHECK(name(sessions::spec, sessions::version) == "version");
  CHECK(name(sessions::spec, sessions::entries) == "entries");
  CHECK(name(sessions::spec, sessions::floor) == "floor");
  CHECK(name(sessions::spec, sessions::forked_from) == "forked_from");
  CHECK(name(session_state::spec, session_state::value) == "value");
  CHECK(name(scope_state::spec, scope_state::value) == "value");
  CHECK(name(contexts::spec, contexts::version) == "version");
  CHECK(name(receipts::spec, receipts::time) == "time");
  CHECK(name(memories::spec, memories::id) == "id");
  CHECK(name(memories::spec, memories::event_time) == "event_time");
  CHECK(name(memories::spec, memories::made_by) == "made_by");
  CHECK(name(memories::spec, memories::replaced_by) == "replaced_by");
  CHECK(name(memory_revisions::spec, memory_revisions::source) == "source");
  CHECK(name(memory_topics::spec, memory_topics::topic) == "topic");
  CHECK(name(memory_words::spec, memory_words::active) == "active");
  CHECK(name(memory_words::spec, memory_words::metadata) == "metadata");
  CHECK(name(short_values::spec, short_values::expires_at) == "expires_at");
  CHECK(name(principals::spec, principals::updated_at) == "updated_at");
  CHECK(name(model_sessions::spec, model_sessions::sealed_by) == "sealed_by");
  CHECK(model_sessions::spec.indexes[model_sessions::by_key].name == "by_key");
  CHECK(short_values::spec.indexes[short_values::by_type].name == "by_type");
  CHECK(short_values::spec.indexes[short_values::by_expiry].name == "by_expiry");
  CHECK(principals::spec.indexes[principals::by_tenant].name == "by_tenant");
  CHECK(memories::spec.indexes[memories::by_update].name == "by_update");
  CHECK(memory_topics::spec.indexes[memory_topics::by_topic].name == "by_topic");
  CHECK(memory_words::spec.indexes[memory_words::by_creation].name == "by_creation");
  CHECK(sessions::spec.indexes[sessions::by_app].name == "by_app");
  CHECK(sessions::spec.indexes[sessions::by_user].name == "by_user");
  CHECK(sessions::spec.indexes[sessions::by_expiry].name == "by_expiry");
  CHECK(sessions::spec.indexes[sessions::by_expiry].only_where_set == sessions::expires_slot);
}

TEST_CASE("a session that is created has its rows", "[sessions]") {
  auto rows = rows_after({born(60)});
  CHECK(session_row_of(rows)
        == row{std::int64_t{7},
               "acme",
               "chat",
               "ada",
               "s1",
               "open",
               noon + 1,
               noon + 1,
               {},
               noon + 1 + 60'000'000,
               std::int64_t{1},
               std::int64_t{0},
               std::int64_t{0},
               R"({"m":1})",
               {},
               noon >> 24,
               (noon + 1 + 60'000'000) >> 24});
  CHECK(rows.of(session_state::spec) == std::vector<row>{{std::int64_t{7}, "k", "1"}});
  CHECK(rows.of(contexts::spec).empty());
  CHECK(rows.of(receipts::spec).empty());
  auto plain = session_row_of(rows_after({session::created{}}));
  CHECK(plain[sessions::expires_at] == value{});
  CHECK(plain[sessions::metadata] == value{"{}"});
}

TEST_CASE("an entry touches one row, once", "[sessions]") {
  session::entry_appended e{"e", "user", 3, 2, 1, "{}", 1};
  CHECK(changes_of(at(2), session::fact{e}).size() == 1);
  auto r = session_row_of(rows_after({born(), e}));
  CHECK(r[sessions::entries] == value{std::int64_t{3}});
  CHECK(r[sessions::version] == value{std::int64_t{2}});
  CHECK(r[sessions::updated_at] == value{noon + 2});
  CHECK(r[sessions::created_at] == value{noon + 1});
  CHECK(r[sessions::expires_at] == value{});
  e.ttl_s = 60;
  CHECK(changes_of(at(2, "c", 1), session::fact{e}).size() == 2);
}

TEST_CASE("every write moves the end of the session's time", "[sessions]") {
  using namespace session;
  for (const fact& f : {fact{entry_appended{"e", "user", 1, 2, 1, "{}", 1, 60}},
                        fact{state_changed{{}, {}, 60}}, fact{context_added{"c", "file", "1", 60}},
                        fact{context_removed{"c", 60}}, fact{track_appended{"log", "1", 60}},
                        fact{session::retention_changed{{0, 60}}}, fact{closed{60}}}) {
    INFO(codec::encode(f, 2).type);
    auto r = session_row_of(rows_after({born(60), f}));
    CHECK(r[sessions::expires_at] == value{noon + 2 + 60'000'000});
    CHECK(r[sessions::expires_slot] == value{sessions::slot_of(noon + 2 + 60'000'000)});
    CHECK(r[sessions::updated_at] == value{noon + 2});
    CHECK(r[sessions::version] == value{std::int64_t{2}});
  }
  auto r = session_row_of(rows_after({born(60), session::retention_changed{}}));
  CHECK(r[sessions::expires_at] == value{});
  CHECK(r[sessions::expires_slot] == value{});
}

TEST_CASE("state rows follow the keys", "[sessions]") {
  auto rows = rows_after({born(), session::state_changed{{{"a", "null"}, {"b", "2"}}, {"k"}}});
  CHECK(rows.of(session_state::spec)
        == std::vector<row>{{std::int64_t{7}, "a", "null"}, {std::int64_t{7}, "b", "2"}});
}

TEST_CASE("context rows follow the items", "[sessions]") {
  using namespace session;
  auto rows = rows_after({born(), context_added{"c", "file", "1"}, context_added{"d", "user", "2"},
                          context_added{"c", "file", "3"}, context_removed{"d"}});
  CHECK(rows.of(contexts::spec)
        == std::vector<row>{{std::int64_t{7}, "c", "file", "3", noon + 4, std::int64_t{4}}});
}

TEST_CASE("closing keeps the row, with its end", "[sessions]") {
  auto r = session_row_of(rows_after({born(), session::closed{}}));
  CHECK(r[sessions::status] == value{"closed"});
  CHECK(r[sessions::closed_at] == value{noon + 2});
}

TEST_CASE("a session that is gone has no rows but receipts", "[sessions]") {
  using namespace session;
  for (const fact& gone : {fact{deleted{}}, fact{expired{}}}) {
    rows_in_memory rows;
    REQUIRE(rows.apply(changes_of(at(1, "c1", 2), fact{born()})));
    REQUIRE(rows.apply(changes_of(at(2), fact{context_added{"c", "file", "1"}})));
    REQUIRE(rows.apply(changes_of(at(3, "c3", 1), gone)));
    CHECK(rows.of(sessions::spec).empty());
    CHECK(rows.of(session_state::spec).empty());
    CHECK(rows.of(contexts::spec).empty());
    CHECK(rows.of(receipts::spec).size() == 2);
  }
}

TEST_CASE("another stream's rows are left alone", "[sessions]") {
  rows_in_memory rows;
  auto other = at(1);
  other.stream_no = 8;
  REQUIRE(rows.apply(changes_of(other, session::fact{born()})));
  REQUIRE(rows.apply(changes_of(at(1), session::fact{born()})));
  REQUIRE(rows.apply(changes_of(at(2), session::fact{session::deleted{}})));
  CHECK(session_row_of(rows)[sessions::stream] == value{std::int64_t{8}});
  CHECK(rows.of(session_state::spec).size() == 1);
}

TEST_CASE("a trim moves the floor and nothing else", "[sessions]") {
  auto before = session_row_of(rows_after({born(60), session::state_changed{{}, {}, 60}}));
  auto after = session_row_of(
    rows_after({born(60), session::state_changed{{}, {}, 60}, session::trimmed{2, {}}}));
  before[sessions::floor] = std::int64_t{2};
  before[sessions::version] = std::int64_t{3};
  CHECK(tell(before) == tell(after));
}

TEST_CASE("a fork has all rows of its past, and says where it comes from", "[sessions]") {
  session::state origin;
  origin.status = session::status::open;
  origin.created_at = origin.updated_at = 5;
  origin.values = {{"k", "1"}};
  origin.contexts = {{"c", {"file", "1", 3, 2}}};
  origin.entries = 4;
  auto source = session_stream("acme", "chat", "bob", "first");
  origin.forked_from = borrowed_range{source, 9};
  rows_in_memory rows;
  REQUIRE(
    rows.apply(changes_of(at(10, "c", 1), session::fact{session::forked{source, origin, 9}})));
  auto r = session_row_of(rows);
  CHECK(r[sessions::created_at] == value{noon + 10});
  CHECK(r[sessions::updated_at] == value{noon + 10});
  CHECK(r[sessions::entries] == value{std::int64_t{4}});
  CHECK(r[sessions::version] == value{std::int64_t{10}});
  CHECK(r[sessions::forked_from]
        == value{R"({"app":"chat","user":"bob","session":"first","version":9})"});
  CHECK(rows.of(session_state::spec).size() == 1);
  CHECK(rows.of(contexts::spec)
        == std::vector<row>{{std::int64_t{7}, "c", "file", "1", std::int64_t{3}, std::int64_t{2}}});
}

TEST_CASE("shared state has a row a key", "[scope]") {
  auto rows = rows_in_memory{};
  auto happened = [&](version_t version, const scope::fact& f) {
    auto e = at(version);
    e.stream = app_stream("acme", "chat");
    REQUIRE(rows.apply(changes_of(e, f)));
  };
  happened(1, scope::state_changed{{{"a", "1"}, {"b", "2"}}, {}});
  happened(2, scope::state_changed{{{"c", "null"}}, {"a"}});
  happened(3, scope::retention_changed{{5, 60}});
  happened(4, scope::id_reserved{"s"});
  CHECK(rows.of(scope_state::spec)
        == std::vector<row>{{std::int64_t{7}, "b", "2"}, {std::int64_t{7}, "c", "null"}});
  CHECK(rows.of(sessions::spec).empty());
  happened(5, scope::cleared{});
  CHECK(rows.of(scope_state::spec).empty());
}

namespace {

/// The rows that these facts of one owner's memories lead to, versions from 1 on.
rows_in_memory remembered(const std::vector<memory_space::fact>& facts) {
  rows_in_memory rows;
  version_t version = 0;
  for (const auto& f : facts) {
    auto e = at(++version);
    e.stream = {stream_kind::memory_space, {"acme", "chat", "ada"}};
    REQUIRE(rows.apply(changes_of(e, f)));
  }
  return rows;
}

memory_space::added tea() {
  memory_space::content c{"Do you drink Earl Grey?"};
  c.topics = {"hot drinks", "tea"};
  c.participants = {"Anna"};
  c.event_time = 5;
  return {"m1", "ab", c, {"ben", R"({"kind":"session","session":"s1"})"}};
}

row words_of(const rows_in_memory& rows) {
  auto all = rows.of(memory_words::spec);
  REQUIRE(all.size() == 1);
  return all.front();
}

}  // namespace

TEST_CASE("a memory has a row, its topics, its first revision and its words", "[memories]") {
  auto rows = remembered({tea()});
  REQUIRE(rows.of(memories::spec).size() == 1);
  auto m = rows.of(memories::spec).front();
  CHECK(m[memories::text] == value{"Do you drink Earl Grey?"});
  CHECK(m[memories::status] == value{"active"});
  CHECK(m[memories::topics] == value{R"(["hot drinks","tea"])"});
  CHECK(m[memories::metadata] == value{"{}"});
  CHECK(m[memories::made_by] == value{"ben"});
  CHECK(m[memories::created_at] == value{noon + 1});
  CHECK(rows.of(memory_topics::spec)
        == std::vector<row>{{std::int64_t{7}, "m1", "hot drinks"}, {std::int64_t{7}, "m1", "tea"}});
  REQUIRE(rows.of(memory_revisions::spec).size() == 1);
  CHECK(rows.of(memory_revisions::spec).front()[memory_revisions::what] == value{"added"});
  // A name that the text does not say is a word of it; the mark of a question stays last.
  CHECK(words_of(rows)
        == row{std::int64_t{7}, "m1", "drink earl grey anna ?", "hot drink tea", "anna", "s1",
               std::int64_t{5}, std::int64_t{1}, std::int64_t{1}, "fact", R"(["hot drinks","tea"])",
               "{}"});
}

TEST_CASE("a memory wants a vector until it has one of what it says", "[memories]") {
  using namespace memory_space;
  const auto rows_after = [](std::vector<memory_space::fact> facts) {
    return remembered(std::move(facts)).of(memory_vectors::spec);
  };
  const auto wants = rows_after({tea()});
  REQUIRE(wants.size() == 1);
  CHECK(wants.front()[memory_vectors::id] == value{"m1"});
  CHECK(wants.front()[memory_vectors::hash] == value{"ab"});
  CHECK(wants.front()[memory_vectors::model] == value{""});
  const auto& first = wants.front();
  CHECK(stream_id(stream_kind::memory_space, {std::get<std::string>(first[memory_vectors::tenant]),
                                              std::get<std::string>(first[memory_vectors::app]),
                                              std::get<std::string>(first[memory_vectors::user])})
        == stream_id(stream_kind::memory_space, {"acme", "chat", "ada"}));
  const embedded vector{{"m1", "ab", "small", std::string("\x7f\0", 2)}};
  const auto has = rows_after({tea(), vector});
  REQUIRE(has.size() == 1);
  CHECK(has.front()[memory_vectors::model] == value{"small"});
  CHECK(has.front()[memory_vectors::vector] == value{"fwA="});
  const auto changed = rows_after({tea(), vector, updated{"m1", 2, "cd", tea().content, "", {}}});
  CHECK(changed.front()[memory_vectors::model] == value{""});
  CHECK(changed.front()[memory_vectors::hash] == value{"cd"});
  // Out of search, it may come back.
  CHECK(rows_after({tea(), vector, status_changed{"m1", 2, status::invalidated, "", "", {}}})
        == has);
  CHECK(rows_after({tea(), vector, removed{"m1"}}).empty());
  CHECK(rows_after({tea(), vector, cleared{}}).empty());
}

TEST_CASE("the words of a memory are read back as they are searched", "[memories]") {
  using namespace memory_space;
  auto told = tea();
  told.content.participants = {"Anna", "Ben O'Neil"};
  told.content.metadata = R"({"cost":3})";
  const auto told_row = words_of(remembered({told}));
  CHECK(memory_words::first_told(told_row) == 1);
  CHECK(memory_words::is_active(told_row));
  const auto m = memory_words::indexed(told_row);
  CHECK(m.id == "m1");
  CHECK(m.session == "s1");
  CHECK(m.time == 5);
  CHECK(m.speakers == std::vector<std::string>{"anna", "ben o neil"});
  const std::vector<std::string> more{"Anna", "Ben O'Neil", "hot drinks", "tea"};
  CHECK(m.passages == retrieval::passages_of(told.content.text, more));
  const auto traits = memory_words::traits_of(told_row);
  CHECK(traits.kind == memory_kind::fact);
  CHECK(traits.topics == told.content.topics);
  CHECK(traits.time == 5);
  CHECK(traits.metadata == told.content.metadata);
  // Long texts are several passages, and what has no words has none.
  std::string words;
  for (int i = 0; i < 400; ++i)
    words += "w" + std::to_string(i) + " ";
  const auto of_text = [](std::string text) {
    return memory_words::indexed(words_of(remembered({added{"m1", "ab", {std::move(text)}, {}}})))
      .passages;
  };
  CHECK(of_text(words) == retrieval::passages_of(words));
  CHECK(of_text("!.").empty());
}

TEST_CASE("what happens to a memory is a revision; who made it stays", "[memories]") {
  using namespace memory_space;
  content coffee{"Anna drinks coffee"};
  auto rows = remembered({tea(), retold{"m1", 2, {"tea"}, R"({"a":1})", {"eve", ""}},
                          updated{"m1", 3, "cd", coffee, "misheard", {"eve", ""}},
                          status_changed{"m1", 4, status::superseded, "m2", "newer", {}}});
  auto m = rows.of(memories::spec).front();
  CHECK(m[memories::text] == value{"Anna drinks coffee"});
  CHECK(m[memories::hash] == value{"cd"});
  CHECK(m[memories::status] == value{"superseded"});
  CHECK(m[memories::replaced_by] == value{"m2"});
  CHECK(m[memories::made_by] == value{"ben"});
  CHECK(m[memories::revision] == value{std::int64_t{4}});
  CHECK(m[memories::created_at] == value{noon + 1});
  CHECK(m[memories::updated_at] == value{noon + 4});
  CHECK(m[memories::event_time] == value{});
  CHECK(rows.of(memory_topics::spec).empty());
  CHECK(words_of(rows)[memory_words::passages] == value{"anna drink coffe"});
  CHECK(words_of(rows)[memory_words::session] == value{"s1"});
  CHECK(words_of(rows)[memory_words::topics] == value{"[]"});
  CHECK(words_of(rows)[memory_words::active] == value{std::int64_t{0}});
  std::vector<value> what;
  for (const auto& r : rows.of(memory_revisions::spec))
    what.push_back(r[memory_revisions::what]);
  CHECK(what == std::vector<value>{"added", "retold", "updated", "superseded"});
}

TEST_CASE("a memory that is deleted has no rows", "[memories]") {
  using namespace memory_space;
  auto other = tea();
  other.id = "m2";
  auto rows = remembered({tea(), other, removed{"m1"}});
  CHECK(rows.of(memories::spec).size() == 1);
  CHECK(rows.of(memory_revisions::spec).size() == 1);
  CHECK(rows.of(memory_topics::spec).size() == 2);
  CHECK(rows.of(memory_words::spec).size() == 1);
  CHECK(remembered({tea(), other, cleared{}}).tell_all(false).empty());
  CHECK(remembered({limit_changed{{1, true}}}).tell_all(false).empty());
  // Facts about what is gone change nothing.
  CHECK(remembered({tea(), removed{"m1"}, removed{"m1", true}}).tell_all(false).empty());
}

TEST_CASE("a value has a row until it ends", "[values]") {
  using namespace value_space;
  const auto rows_of = [](const std::vector<value_space::fact>& facts) {
    rows_in_memory rows;
    version_t version = 0;
    for (const auto& f : facts) {
      auto e = at(++version);
      e.stream = stream_of("acme", "chat", "note", "a");
      REQUIRE(rows.apply(changes_of(e, f)));
    }
    return rows.of(short_values::spec);
  };
  const value_set a{"a", "[1]", 1, 2, 3};
  const row expected{std::int64_t{7}, "a",   "acme",          "chat",
                     "note",          "[1]", std::int64_t{1}, std::int64_t{2},
                     std::int64_t{3}};
  CHECK(rows_of({a}) == std::vector<row>{expected});
  CHECK(rows_of({value_set{"a", "0", 1, 1, 1}, a}) == std::vector<row>{expected});
  CHECK(rows_of({a, value_ended{"a"}}).empty());
  CHECK(rows_of({a, begun_anew{}}).empty());
}

TEST_CASE("a principal has a row from its record to its purge", "[principals]") {
  using namespace principal;
  const auto rows_of = [](const std::vector<principal::fact>& facts) {
    rows_in_memory rows;
    version_t version = 0;
    for (const auto& f : facts) {
      auto e = at(++version);
      e.stream = {stream_kind::principal, {"acme", "ada"}};
      REQUIRE(rows.apply(changes_of(e, f)));
    }
    return rows.of(principals::spec);
  };
  const record_put told{{"Ada", "idle", true, "web", {"tea"}, ""}, 5};
  CHECK(rows_of({told})
        == std::vector<row>{{std::int64_t{7}, "acme", "ada", "Ada", "idle", std::int64_t{1}, "web",
                             R"(["tea"])", "{}", std::int64_t{5}, noon + 1}});
  CHECK(rows_of({told, collection_detached{"x"}}).front()[principals::updated_at]
        == value{noon + 2});
  CHECK(rows_of({collection_detached{"x"}}).empty());
  CHECK(rows_of({told, purged{}}).empty());
}

TEST_CASE("a model session has a row that names the key of its credential", "[principals]") {
  using namespace principal;
  const auto rows_of = [](const std::vector<principal::fact>& facts) {
    rows_in_memory rows;
    version_t version = 0;
    for (const auto& f : facts) {
      auto e = at(++version);
      e.stream = {stream_kind::principal, {"acme", "ada"}};
      REQUIRE(rows.apply(changes_of(e, f)));
    }
    return rows.of(model_sessions::spec);
  };
  const session_put main{"main", {"local", "", "small", "", "1.abcd.box"}};
  const row expected{std::int64_t{7}, "main", "acme", "ada", "abcd"};
  CHECK(rows_of({main}) == std::vector<row>{expected});
  CHECK(rows_of({session_put{"main", {}}}).front()[model_sessions::sealed_by] == value{""});
  CHECK(rows_of({main, session_put{"b", {}}, session_dropped{"b"}}) == std::vector<row>{expected});
  CHECK(rows_of({main, purged{}}).empty());
}

TEST_CASE("the first fact of a command leaves its receipt, before anything else", "[receipts]") {
  const row expected{"cmd",           std::int64_t{7},  std::int64_t{99}, std::int64_t{5},
                     std::int64_t{7}, std::int64_t{47}, noon + 5};
  for (const any_fact& f :
       {any_fact{session::fact{born()}}, any_fact{session::fact{session::deleted{}}},
        any_fact{scope::fact{scope::state_changed{{{"a", "1"}}, {}}}}}) {
    auto changes = changes_of(at(5, "cmd", 3), f);
    REQUIRE_FALSE(changes.empty());
    auto* receipt = std::get_if<put_new>(&changes.front());
    REQUIRE(receipt != nullptr);
    CHECK(receipt->table == &receipts::spec);
    CHECK(receipt->row == expected);
    for (std::size_t i = 1; i < changes.size(); ++i)
      CHECK_FALSE(std::holds_alternative<put_new>(changes[i]));
  }
  std::vector<change> blanked;
  project_blanked(at(5, "cmd", 3), blanked);
  REQUIRE(blanked.size() == 1);
  CHECK(std::get<put_new>(blanked.front()).row == expected);
}

TEST_CASE("later facts and facts without a command leave no receipt", "[receipts]") {
  for (const auto& c : changes_of_all({born(), session::closed{}}))
    CHECK_FALSE(std::holds_alternative<put_new>(c));
  std::vector<change> blanked;
  project_blanked(at(5), blanked);
  CHECK(blanked.empty());
}

TEST_CASE("a hash of any size fits a receipt", "[receipts]") {
  auto e = at(1, "c", 1);
  e.body_hash = ~0ull;
  auto changes = changes_of(e, session::fact{born()});
  CHECK(std::get<put_new>(changes.front()).row[receipts::body_hash] == value{std::int64_t{-1}});
}

TEST_CASE("a command that is repeated in its stream is refused", "[receipts]") {
  rows_in_memory rows;
  CHECK(rows.apply(changes_of(at(1, "c", 1), session::fact{born()})));
  CHECK_FALSE(rows.apply(changes_of(at(2, "c", 1), session::fact{session::closed{}})));
}

// -- laws --

TEST_CASE("rows applied one by one are the rows of the folded state", "[laws]") {
  check_property("for any history", [] {
    auto h = any_history();
    rows_in_memory inline_rows;
    for (const auto& r : h.facts)
      RC_ASSERT(inline_rows.apply(changes_of(r.at, codec::decode(r).value())));
    RC_ASSERT(inline_rows.of(receipts::spec).size() == h.commands);

    envelope head = h.facts.back().at;
    std::vector<change> changes;
    project_state(head, h.state, changes);
    rows_in_memory of_state;
    RC_ASSERT(of_state.apply(changes));
    RC_ASSERT(inline_rows.tell_all(false) == of_state.tell_all(false));
  });
}

TEST_CASE("rows rebuilt from a base are the same rows", "[laws]") {
  check_property("with everything up to the base forgotten", [] {
    auto h = any_history();
    rows_in_memory inline_rows;
    for (const auto& r : h.facts)
      RC_ASSERT(inline_rows.apply(changes_of(r.at, codec::decode(r).value())));

    const recorded* base_fact = nullptr;
    base_mark base;
    for (const auto& r : h.facts) {
      auto f = std::get<session::fact>(codec::decode(r).value());
      if (auto mark = session::aggregate::base_of(f, r.at.version)) {
        base_fact = &r;
        base = *mark;
      }
    }
    rows_in_memory rebuilt;
    std::vector<change> changes;
    if (base_fact != nullptr && base.carries_state) {
      auto f = std::get<session::fact>(codec::decode(*base_fact).value());
      project_state(base_fact->at, session::aggregate::carried_state(f), changes);
    }
    for (const auto& r : h.facts) {
      if (r.at.version <= base.through)
        project_blanked(r.at, changes);
      else
        project(r.at, codec::decode(r).value(), changes);
    }
    RC_ASSERT(rebuilt.apply(changes));
    RC_ASSERT(inline_rows.tell_all(true) == rebuilt.tell_all(true));
  });
}

TEST_CASE("a fact makes few changes", "[laws]") {
  check_property("entries and tracks one, and a receipt", [] {
    auto h = any_history();
    for (const auto& r : h.facts) {
      auto changes = changes_of(r.at, codec::decode(r).value());
      if (r.lane != lane::folded)
        RC_ASSERT(changes.size() == (r.at.command.empty() ? 1u : 2u));
    }
  });
}

}  // namespace recalld::projections

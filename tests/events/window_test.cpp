#include "tests/events/given.hpp"
#include "tests/events/histories.hpp"

#include "events/window.hpp"

#include <numeric>

namespace recalld::session {

using namespace recalld::testing;

namespace {

/// Entries in a plain vector, over all lives and also forgotten ones, as a log may still hold them.
class vector_source final : public entry_source {
public:
  explicit vector_source(std::vector<recorded_entry> all) : all_(std::move(all)) {}

  result<std::vector<recorded_entry>> back(version_t before, std::size_t limit) override {
    std::vector<recorded_entry> out;
    for (auto e = all_.rbegin(); e != all_.rend() && out.size() < limit; ++e)
      if (e->version < before)
        out.push_back(*e);
    return counted(std::move(out));
  }
  result<std::vector<recorded_entry>> forth(version_t after, std::size_t limit) override {
    std::vector<recorded_entry> out;
    for (const auto& e : all_)
      if (e.version > after && out.size() < limit)
        out.push_back(e);
    return counted(std::move(out));
  }
  result<version_t> find(std::string_view key) override {
    ++calls;
    for (const auto& e : all_)
      if (fact_key::entry(e.fact.life, e.fact.id) == key)
        return e.version;
    return version_t{0};
  }
  result<version_t> first_since(time_us_t t) override {
    ++calls;
    for (const auto& e : all_)
      if (e.time >= t)
        return e.version;
    return version_t{0};
  }

  const std::vector<recorded_entry>& all() const { return all_; }
  std::size_t read = 0;  ///< Entries that were handed out.
  std::size_t calls = 0;

private:
  std::vector<recorded_entry> counted(std::vector<recorded_entry> out) {
    ++calls;
    read += out.size();
    return out;
  }
  std::vector<recorded_entry> all_;
};

/// A source that cannot be read.
class broken_source final : public entry_source {
public:
  result<std::vector<recorded_entry>> back(version_t, std::size_t) override { return broken(); }
  result<std::vector<recorded_entry>> forth(version_t, std::size_t) override { return broken(); }
  result<version_t> find(std::string_view) override { return broken(); }
  result<version_t> first_since(time_us_t) override { return broken(); }

private:
  static tl::unexpected<error> broken() { return fail(errc::unavailable, "not now"); }
};

std::vector<recorded_entry> entries_of(const std::vector<recorded>& facts) {
  std::vector<recorded_entry> out;
  for (const auto& r : facts) {
    if (r.lane != lane::entries)
      continue;
    auto f = std::get<session::fact>(codec::decode(r).value());
    out.push_back({r.at.version, r.at.position, r.at.time, std::get<entry_appended>(f)});
  }
  return out;
}

/// A session whose entries have these roles, one letter each, ids `1`, `2`, …; entry n has version
/// 2n and was recorded n seconds after the start.
struct conversation {
  session::state state;
  version_t head = 0;
  vector_source source{{}};

  explicit conversation(std::string_view letters, std::uint64_t keep = 0) {
    state.status = status::open;
    state.created_version = 1;
    state.retention.keep_entries = keep;
    std::vector<recorded_entry> all;
    for (std::size_t i = 0; i < letters.size(); ++i) {
      auto version = 2 * i + 2;
      auto role = letters[i] == 'u' ? "user" : letters[i] == 'a' ? "assistant" : "tool";
      state.entries = i + 1;
      if (letters[i] == 'u') {
        state.turn_version = version;
        state.turn_ordinal = i + 1;
      }
      all.push_back({version,
                     version,
                     start + static_cast<time_us_t>(i + 1) * second,
                     {std::to_string(i + 1), role, i + 1, state.turn_version, state.turn_ordinal,
                      text(std::string(10, 'x')), 1}});
    }
    head = 2 * letters.size() + 1;
    source = vector_source(std::move(all));
  }

  result<page> cut(const window& w) { return session::cut(w, state, head, source); }

  /// Ordinals in the window, `<` and `>` where there is more.
  std::string seen(const window& w) {
    auto p = cut(w);
    if (!p)
      return std::string(to_string(p.error().code)) + " " + p.error().field;
    std::string out = p->more_before ? "<" : "";
    for (const auto& e : p->entries)
      out += (out.empty() || out == "<" ? "" : " ") + e.fact.id;
    return out + (p->more_after ? ">" : "");
  }
};

window last(std::uint64_t n) {
  window w;
  w.last = n;
  return w;
}
window unaligned(std::uint64_t n) {
  auto w = last(n);
  w.turn_aligned = false;
  return w;
}

}  // namespace

TEST_CASE("the last entries, beginning at a user turn", "[window]") {
  conversation c("uauatua");
  CHECK(c.seen(last(7)) == "1 2 3 4 5 6 7");
  CHECK(c.seen(last(100)) == "1 2 3 4 5 6 7");
  CHECK(c.seen(last(6)) == "<3 4 5 6 7");
  CHECK(c.seen(last(5)) == "<3 4 5 6 7");
  CHECK(c.seen(last(4)) == "<6 7");
  CHECK(c.seen(last(2)) == "<6 7");
  CHECK(c.seen(last(0)) == "<");
}

TEST_CASE("a window without a user entry gets the one that began the turn", "[window]") {
  conversation c("uaatt");
  CHECK(c.seen(last(1)) == "1 5");
  CHECK(c.seen(last(3)) == "1 3 4 5");
  conversation d("uautt");
  CHECK(d.seen(last(2)) == "<3 4 5");
  CHECK(d.seen(last(1)) == "<3 5");
}

TEST_CASE("a turn whose user entry is gone begins with nothing else", "[window]") {
  conversation c("uauat");
  auto left = c.source.all();
  left.erase(left.begin() + 2);
  c.source = vector_source(left);
  CHECK(c.seen(last(1)) == "<5");
}

TEST_CASE("without any user entry a window stays as it is", "[window]") {
  conversation c("aat");
  CHECK(c.seen(last(2)) == "<2 3");
  CHECK(c.seen(last(3)) == "1 2 3");
}

TEST_CASE("the last entries, whatever they are", "[window]") {
  conversation c("uauatua");
  CHECK(c.seen(unaligned(2)) == "<6 7");
  CHECK(c.seen(unaligned(3)) == "<5 6 7");
  CHECK(c.seen(unaligned(7)) == "1 2 3 4 5 6 7");
  CHECK(c.seen(unaligned(0)) == "<");
}

TEST_CASE("a window that says nothing is the last hundred", "[window]") {
  CHECK(conversation("uaua").seen({}) == "1 2 3 4");
  conversation c(std::string(250, 'u'));
  auto p = c.cut({}).value();
  CHECK(p.entries.size() == 100);
  CHECK(p.entries.front().fact.id == "151");
  CHECK(p.more_before);
  CHECK_FALSE(p.more_after);
}

TEST_CASE("a session without entries has an empty window", "[window]") {
  conversation c("");
  CHECK(c.seen({}) == "");
  CHECK(c.seen(last(5)) == "");
  CHECK(c.seen(last(0)) == "");
}

TEST_CASE("entries behind a version, before a version", "[window]") {
  conversation c("uauaua");
  window w;
  w.after_version = 6;
  CHECK(c.seen(w) == "<4 5 6");
  w.after_version = 7;
  CHECK(c.seen(w) == "<4 5 6");
  w.after_version = 0;
  CHECK(c.seen(w) == "1 2 3 4 5 6");
  w.after_version = 12;
  CHECK(c.seen(w) == "<");
  w.after_version = 100;
  CHECK(c.seen(w) == "<");
  w.after_version = ~version_t{0};
  CHECK(c.seen(w) == "<");
  w.after_version = 4;
  w.before_version = 10;
  CHECK(c.seen(w) == "<3 4>");
  w.before_version = 5;
  CHECK(c.seen(w) == "<>");
  w.before_version = 4;
  CHECK(c.seen(w) == "invalid before_version");
  w.before_version = 3;
  CHECK(c.seen(w) == "invalid before_version");
  window b;
  b.before_version = 6;
  CHECK(c.seen(b) == "1 2>");
  b.before_version = 2;
  CHECK(c.seen(b) == ">");
  b.before_version = 1;
  CHECK(c.seen(b) == ">");
  b.before_version = 0;
  CHECK(c.seen(b) == ">");
  b.last = 1;
  b.before_version = 8;
  CHECK(c.seen(b) == "<3>");
}

TEST_CASE("entries since a time", "[window]") {
  conversation c("uauaua");
  window w;
  w.since = start + 4 * second;
  CHECK(c.seen(w) == "<4 5 6");
  w.since = start + 4 * second - 1;
  CHECK(c.seen(w) == "<4 5 6");
  w.since = 0;
  CHECK(c.seen(w) == "1 2 3 4 5 6");
  w.since = start * 2;
  CHECK(c.seen(w) == "<");
  w.since = start + 3 * second;
  w.last = 2;
  CHECK(c.seen(w) == "<5 6");
  w.last = 10;
  CHECK(c.seen(w) == "<3 4 5 6");
}

TEST_CASE("entries that fit a number of bytes, at least one", "[window]") {
  conversation c("uauaua");
  window w;
  w.max_bytes = 30;
  CHECK(c.seen(w) == "<4 5 6");
  w.max_bytes = 39;
  CHECK(c.seen(w) == "<4 5 6");
  w.max_bytes = 40;
  CHECK(c.seen(w) == "<3 4 5 6");
  w.max_bytes = 0;
  CHECK(c.seen(w) == "<6");
  w.last = 2;
  w.max_bytes = 1000;
  CHECK(c.seen(w) == "<5 6");
  window page;
  page.limit = 10;
  page.max_bytes = 25;
  CHECK(c.seen(page) == "1 2>");
  page.max_bytes = 0;
  CHECK(c.seen(page) == "1>");
}

TEST_CASE("pages from the oldest", "[window]") {
  conversation c("uauau");
  window w;
  w.limit = 2;
  CHECK(c.seen(w) == "1 2>");
  w.after_version = 4;
  CHECK(c.seen(w) == "<3 4>");
  w.after_version = 8;
  CHECK(c.seen(w) == "<5");
  w.after_version = 10;
  CHECK(c.seen(w) == "<");
}

TEST_CASE("entries of some roles", "[window]") {
  conversation c("uatuatu");
  window w;
  w.roles = {"user"};
  CHECK(c.seen(w) == "1 4 7");
  w.last = 2;
  CHECK(c.seen(w) == "<4 7");
  w.roles = {"assistant", "tool"};
  CHECK(c.seen(w) == "<5 6>");
  w.roles = {"nobody"};
  CHECK(c.seen(w) == "");
  window page;
  page.roles = {"tool"};
  page.limit = 1;
  CHECK(c.seen(page) == "<3>");
  page.after_version = 6;
  CHECK(c.seen(page) == "<6>");
  page.after_version = 12;
  CHECK(c.seen(page) == "<");
}

TEST_CASE("entries around an anchor", "[window]") {
  conversation c("uatuatu");
  window w;
  w.anchor = "4";
  CHECK(c.seen(w) == "<4>");
  w.before = 2;
  CHECK(c.seen(w) == "<2 3 4>");
  w.after = 1;
  CHECK(c.seen(w) == "<2 3 4 5>");
  w.before = 10;
  w.after = 10;
  CHECK(c.seen(w) == "1 2 3 4 5 6 7");
  w.roles = {"tool"};
  CHECK(c.seen(w) == "<3 4 6>");
  w.before = 0;
  CHECK(c.seen(w) == "<4 6>");
  w.anchor = "1";
  w.before = 3;
  w.after = 0;
  CHECK(c.seen(w) == "1>");
  w.anchor = "7";
  CHECK(c.seen(w) == "<3 6 7");
}

TEST_CASE("an anchor may have bounds, and must be there", "[window]") {
  conversation c("uatuatu");
  window w;
  w.anchor = "4";
  w.before = w.after = 5;
  w.after_version = 4;
  w.before_version = 12;
  CHECK(c.seen(w) == "<3 4 5>");
  w.after_version = 8;
  CHECK(c.seen(w) == "not_found anchor");
  w.after_version.reset();
  w.before_version = 8;
  CHECK(c.seen(w) == "not_found anchor");
  window unknown;
  unknown.anchor = "99";
  CHECK(c.seen(unknown) == "not_found anchor");
  c.state.created_version = 2;
  unknown.anchor = "4";
  CHECK(c.seen(unknown) == "not_found anchor");
}

TEST_CASE("retention hides what is older", "[window]") {
  conversation c("uauaua", 3);
  CHECK(c.seen(last(10)) == "5 6");
  CHECK(c.seen(unaligned(1)) == "<6");
  window w;
  w.limit = 10;
  CHECK(c.seen(w) == "5 6");
  w.limit = 1;
  CHECK(c.seen(w) == "5>");
  window anchor;
  anchor.anchor = "5";
  anchor.before = 5;
  CHECK(c.seen(anchor) == "5>");
  anchor.anchor = "4";
  CHECK(c.seen(anchor) == "not_found anchor");
  window since;
  since.since = 0;
  CHECK(c.seen(since) == "5 6");
  conversation one_turn("uaaaaa", 2);
  CHECK(one_turn.seen({}) == "1 2 3 4 5 6");
}

TEST_CASE("what is forgotten or of an earlier life is not there", "[window]") {
  conversation c("uauaua");
  c.state.floor = 4;
  CHECK(c.seen({}) == "3 4 5 6");
  window page;
  page.limit = 2;
  CHECK(c.seen(page) == "3 4>");
  CHECK(c.seen(last(3)) == "<5 6");
  window turn = last(1);
  CHECK(c.seen(turn) == "<5 6");
  c.state.floor = 0;
  c.state.created_version = 7;
  CHECK(c.seen({}) == "4 5 6");
  c.state.created_version = 11;
  CHECK(c.seen(last(1)) == "6");
}

TEST_CASE("a window is as of a version", "[window]") {
  conversation c("uauaua");
  window none;
  none.after_version = 9;
  window later;
  later.since = start + 5 * second;
  c.head = 7;
  c.state.entries = 3;
  c.state.turn_version = 6;
  c.state.turn_ordinal = 3;
  CHECK(c.seen({}) == "1 2 3");
  CHECK(c.seen(none) == "<");
  CHECK(c.seen(later) == "<");
  window w;
  w.limit = 10;
  CHECK(c.seen(w) == "1 2 3");
  w.limit = 3;
  CHECK(c.seen(w) == "1 2 3");
  window anchor;
  anchor.anchor = "3";
  anchor.after = 3;
  CHECK(c.seen(anchor) == "<3");
}

TEST_CASE("there is nothing to read in a session that is gone", "[window]") {
  for (auto s : {status::absent, status::deleted, status::expired}) {
    conversation c("uaua");
    c.state.status = s;
    CHECK(c.seen({}) == "");
    window anchor;
    anchor.anchor = "1";
    CHECK(c.seen(anchor) == "not_found anchor");
  }
  conversation c("uaua");
  c.state.status = status::closed;
  CHECK(c.seen({}) == "1 2 3 4");
}

TEST_CASE("other windows may be turn-aligned, too", "[window]") {
  conversation c("uatuatt");
  window w;
  w.turn_aligned = true;
  w.max_bytes = 50;
  CHECK(c.seen(w) == "<4 5 6 7");
  w.max_bytes = 20;
  CHECK(c.seen(w) == "<4 6 7");
  window before;
  before.turn_aligned = true;
  before.last = 1;
  before.before_version = 6;
  CHECK(c.seen(before) == "1 2>");
  window since;
  since.turn_aligned = true;
  since.last = 2;
  since.since = start + 5 * second;
  CHECK(c.seen(since) == "<6 7");
  window all;
  all.turn_aligned = true;
  CHECK(c.seen(all) == "1 2 3 4 5 6 7");
  window roles = last(2);
  roles.roles = {"user", "tool"};
  CHECK(c.seen(roles) == "<6 7");
  roles.turn_aligned = true;
  CHECK(c.seen(roles) == "<4 6 7");
}

TEST_CASE("windows that contradict themselves are refused", "[window]") {
  conversation c("ua");
  auto refused = [&](window w, std::string_view field) {
    auto checked = check(w);
    REQUIRE_FALSE(checked.has_value());
    CHECK(checked.error().code == errc::invalid);
    CHECK(checked.error().field == field);
    CHECK_FALSE(checked.error().message.empty());
    CHECK_FALSE(c.cut(w).has_value());
  };
  window w;
  CHECK(check(w).has_value());
  w.last = window_entries_max;
  CHECK(check(w).has_value());
  w.last = window_entries_max + 1;
  refused(w, "last");
  w = {};
  w.limit = 0;
  refused(w, "limit");
  w.limit = window_entries_max + 1;
  refused(w, "limit");
  w.limit = 5;
  w.last = 5;
  refused(w, "limit");
  w = {};
  w.anchor = "";
  refused(w, "anchor");
  w.anchor = "a";
  CHECK(check(w).has_value());
  for (auto other : {&window::last, &window::limit, &window::max_bytes}) {
    auto both = w;
    both.*other = 1;
    refused(both, "anchor");
  }
  w.before = window_entries_max + 1;
  refused(w, "before");
  w.before = 0;
  w.after = window_entries_max + 1;
  refused(w, "after");
  w = {};
  w.before = 1;
  refused(w, "before");
  w.before = 0;
  w.after = 1;
  refused(w, "after");
  w = {};
  w.roles = {"user", ""};
  refused(w, "roles[1]");
  w.roles = {std::string(129, 'r')};
  refused(w, "roles[0]");
  w.roles = {"tool"};
  w.turn_aligned = true;
  refused(w, "turn_aligned");
  w.turn_aligned = false;
  CHECK(check(w).has_value());
  w = {};
  w.turn_aligned = true;
  w.limit = 1;
  refused(w, "turn_aligned");
  w.limit.reset();
  w.anchor = "a";
  refused(w, "turn_aligned");
  w.anchor.reset();
  w.after_version = 1;
  refused(w, "turn_aligned");
  w.last = 1;
  CHECK(check(w).has_value());
}

TEST_CASE("a source that fails fails the window", "[window]") {
  conversation c("uaua");
  broken_source source;
  window any;
  window page;
  page.limit = 1;
  window anchor;
  anchor.anchor = "1";
  window since;
  since.since = 0;
  for (const auto& w : {any, page, anchor, since, last(0)}) {
    auto p = cut(w, c.state, c.head, source);
    REQUIRE_FALSE(p.has_value());
    CHECK(p.error().code == errc::unavailable);
  }
  CHECK_FALSE(first_visible(c.state, c.head, source).has_value());
}

TEST_CASE("a window costs what it shows, not what the history holds", "[window]") {
  std::string roles;
  for (int i = 0; i < 10'000; ++i)
    roles += "ua";
  conversation c(roles);
  auto cost = [&](const window& w) {
    c.source.read = c.source.calls = 0;
    REQUIRE(c.cut(w).has_value());
    return c.source.read;
  };
  CHECK(cost(last(20)) <= 21);
  CHECK(c.source.calls <= 2);
  CHECK(cost(last(1)) <= 3);
  CHECK(cost(last(0)) <= 1);
  window page;
  page.limit = 20;
  page.after_version = 20'000;
  CHECK(cost(page) <= 22);
  CHECK(c.source.calls <= 3);
  window anchor;
  anchor.anchor = "10000";
  anchor.before = anchor.after = 10;
  CHECK(cost(anchor) <= 23);
  window roles_wanted = last(10);
  roles_wanted.roles = {"user"};
  CHECK(cost(roles_wanted) <= 70);
  window bytes;
  bytes.max_bytes = 100;
  CHECK(cost(bytes) <= 70);
  window since;
  since.since = start + 19'990 * second;
  CHECK(cost(since) <= 20);
  c.state.retention.keep_entries = 100;
  page.after_version.reset();
  CHECK(cost(page) <= 200);
}

TEST_CASE("roles that nobody has are looked for in bounded strides", "[window]") {
  conversation c(std::string(20'000, 'u'));
  auto w = last(5);
  w.roles = {"nobody"};
  CHECK(c.seen(w) == "");
  CHECK(c.source.read >= 20'000);
  CHECK(c.source.calls < 60);
}

TEST_CASE("the oldest visible entry is found", "[window]") {
  auto first = [](conversation c) { return first_visible(c.state, c.head, c.source).value(); };
  CHECK(first(conversation("")) == 0);
  CHECK(first(conversation("uaua")) == 2);
  CHECK(first(conversation("uauaua", 3)) == 10);
  CHECK(first(conversation("uauaua", 4)) == 6);
  CHECK(first(conversation("uaaaaa", 2)) == 2);
  conversation forgotten("uauaua");
  forgotten.state.floor = 5;
  CHECK(first(forgotten) == 6);
  conversation large(std::string(5'000, 'u'), 1'000);
  CHECK(first(large) == 2 * 4'001);
  CHECK(first_visible(large.state, large.head, large.source).has_value());
  CHECK(large.source.read <= 1'600);
}

// -- against a naive specification --

namespace {

/// What a window shows, told by walking over everything.
class specification {
public:
  specification(const history& h, const window& w) : w_(w) {
    std::vector<recorded_entry> life;
    for (const auto& r : h.all()) {
      if (r.type == "session.created")
        life.clear();
      for (auto& e : entries_of({r}))
        life.push_back(std::move(e));
    }
    if (h.state.status != status::open && h.state.status != status::closed)
      life.clear();
    // Visible: whole turns among the last `keep` entries, and the last turn.
    std::vector<std::size_t> turn(life.size());
    std::size_t begun = life.size();
    for (std::size_t i = 0; i < life.size(); ++i) {
      if (life[i].fact.role == "user")
        begun = i;
      turn[i] = begun == life.size() ? i : begun;
    }
    auto keep = h.state.retention.keep_entries;
    for (std::size_t i = 0; i < life.size(); ++i)
      if (life[i].version > h.state.floor
          && (keep == 0 || turn[i] + keep >= life.size()
              || (begun < life.size() && turn[i] == begun)))
        visible_.push_back(life[i]);
  }

  result<page> operator()() {
    if (!check(w_))
      return fail(check(w_).error());
    std::vector<recorded_entry> bounded;
    for (const auto& e : visible_)
      if (e.version > w_.after_version.value_or(0)
          && (!w_.before_version || e.version < *w_.before_version)
          && (!w_.since || e.time >= *w_.since))
        bounded.push_back(e);
    std::vector<recorded_entry> shown;
    if (w_.anchor) {
      auto at = std::find_if(bounded.begin(), bounded.end(),
                             [&](const auto& e) { return e.fact.id == *w_.anchor; });
      if (at == bounded.end())
        return fail(errc::not_found, "anchor");
      std::vector<recorded_entry> before(bounded.begin(), at);
      std::vector<recorded_entry> after(at + 1, bounded.end());
      before = of_roles(before);
      after = of_roles(after);
      before.erase(before.begin(), before.end()
                                     - static_cast<std::ptrdiff_t>(
                                       std::min<std::size_t>(before.size(), w_.before)));
      after.resize(std::min<std::size_t>(after.size(), w_.after));
      shown = before;
      shown.push_back(*at);
      shown.insert(shown.end(), after.begin(), after.end());
    } else {
      auto wanted = of_roles(bounded);
      bool oldest = w_.limit || (!w_.last && !w_.max_bytes && (w_.after_version || w_.since));
      std::uint64_t count = w_.last                  ? *w_.last
                            : w_.limit               ? *w_.limit
                            : oldest || w_.max_bytes ? window_entries_max
                                                     : window_default;
      if (!oldest)
        std::reverse(wanted.begin(), wanted.end());
      std::uint64_t bytes = 0;
      for (const auto& e : wanted) {
        bytes += e.fact.raw.size();
        if (shown.size() == count || (w_.max_bytes && !shown.empty() && bytes > *w_.max_bytes))
          break;
        shown.push_back(e);
      }
      if (!oldest)
        std::reverse(shown.begin(), shown.end());
      bool last_alone = w_.last && !w_.after_version && !w_.before_version && !w_.since
                        && !w_.max_bytes && w_.roles.empty();
      if (w_.turn_aligned.value_or(last_alone))
        align(shown, bounded);
    }
    page p;
    p.entries = shown;
    if (!shown.empty()) {
      p.more_before = visible_.front().version < shown.front().version;
      p.more_after = visible_.back().version > shown.back().version;
    }
    return p;
  }

private:
  std::vector<recorded_entry> of_roles(std::vector<recorded_entry> some) const {
    if (!w_.roles.empty())
      std::erase_if(some, [&](const auto& e) {
        return std::find(w_.roles.begin(), w_.roles.end(), e.fact.role) == w_.roles.end();
      });
    return some;
  }
  static void align(std::vector<recorded_entry>& shown,
                    const std::vector<recorded_entry>& bounded) {
    auto is_user = [](const auto& e) { return e.fact.role == "user"; };
    if (shown.empty())
      return;
    if (auto first = std::find_if(shown.begin(), shown.end(), is_user); first != shown.end()) {
      shown.erase(shown.begin(), first);
      return;
    }
    // The last user entry before it, unless that lies outside of what may be shown.
    for (auto e = bounded.rbegin(); e != bounded.rend(); ++e)
      if (e->version < shown.front().version && is_user(*e)) {
        shown.insert(shown.begin(), *e);
        return;
      }
  }

  const window& w_;
  std::vector<recorded_entry> visible_;
};

std::string tell(const result<page>& p) {
  if (!p)
    return std::string(to_string(p.error().code));
  std::string out = p->more_before ? "<" : "";
  for (const auto& e : p->entries)
    out += " " + std::to_string(e.version) + ":" + e.fact.id;
  return out + (p->more_after ? " >" : "");
}

std::string tell(const window& w) {
  std::string out;
  auto say = [&](std::string_view name, const auto& value) {
    if (value)
      out.append(name).append(" ").append(std::to_string(*value)).append(" ");
  };
  say("last", w.last);
  say("after_version", w.after_version);
  say("before_version", w.before_version);
  say("since", w.since);
  say("max_bytes", w.max_bytes);
  say("limit", w.limit);
  say("turn_aligned", w.turn_aligned);
  if (w.anchor)
    out += "anchor " + *w.anchor + " -" + std::to_string(w.before) + " +" + std::to_string(w.after);
  for (const auto& role : w.roles)
    out += " " + role;
  return out;
}

std::string tell(const std::vector<recorded_entry>& all) {
  std::string out;
  for (const auto& e : all)
    out += " " + std::to_string(e.version) + ":" + e.fact.id + "/" + e.fact.role.substr(0, 1);
  return out;
}

window any_window(const history& h) {
  auto sometimes = [](int one_in) { return *rc::gen::inRange(0, one_in) == 0; };
  auto version = [&] { return *rc::gen::inRange<version_t>(0, h.version + 3); };
  window w;
  if (sometimes(2))
    w.last = *rc::gen::inRange<std::uint64_t>(0, 12);
  if (sometimes(4))
    w.after_version = version();
  if (sometimes(4))
    w.before_version = version();
  if (sometimes(6))
    w.since = history::begin + *rc::gen::inRange<time_us_t>(-1, h.now - history::begin + 2);
  if (sometimes(6))
    w.max_bytes = *rc::gen::inRange<std::uint64_t>(0, 600);
  if (!w.last && sometimes(3))
    w.limit = *rc::gen::inRange<std::uint64_t>(1, 12);
  if (sometimes(5))
    w.roles = *rc::gen::element(std::vector<std::string>{"user"}, std::vector<std::string>{"tool"},
                                std::vector<std::string>{"user", "assistant"});
  if (sometimes(4))
    w.turn_aligned = *rc::gen::arbitrary<bool>();
  auto entries = entries_of(h.all());
  if (!w.last && !w.limit && !w.max_bytes && !entries.empty() && sometimes(2)) {
    w.anchor = entries[*rc::gen::inRange<std::size_t>(0, entries.size())].fact.id;
    w.before = *rc::gen::inRange<std::uint64_t>(0, 6);
    w.after = *rc::gen::inRange<std::uint64_t>(0, 6);
  }
  return w;
}

}  // namespace

TEST_CASE("cut agrees with a naive specification", "[window][laws]") {
  check_property("any window of any history", [] {
    auto h = any_history();
    vector_source source(entries_of(h.all()));
    for (int i = 0; i < 10; ++i) {
      auto w = any_window(h);
      auto expected = specification(h, w)();
      auto got = cut(w, h.state, h.version, source);
      if (expected && expected->entries.empty() && got) {
        // Where an empty window lies is told elsewhere.
        RC_ASSERT(got->entries.empty());
        continue;
      }
      RC_LOG() << tell(w) << " of\n" << tell(source.all());
      RC_ASSERT(tell(got) == tell(expected));
    }
  });
}

TEST_CASE("paging from the oldest shows every visible entry once", "[window][laws]") {
  check_property("whatever the page size", [] {
    auto h = any_history();
    vector_source source(entries_of(h.all()));
    window all;
    all.limit = window_entries_max;
    auto expected = cut(all, h.state, h.version, source).value();
    window w;
    w.limit = *rc::gen::inRange<std::uint64_t>(1, 5);
    std::vector<version_t> seen;
    for (bool more = true; more;) {
      auto p = cut(w, h.state, h.version, source).value();
      for (const auto& e : p.entries)
        seen.push_back(e.version);
      more = p.more_after;
      RC_ASSERT(!more || p.entries.size() == *w.limit);
      if (!p.entries.empty())
        w.after_version = p.entries.back().version;
    }
    std::vector<version_t> versions;
    for (const auto& e : expected.entries)
      versions.push_back(e.version);
    RC_ASSERT(seen == versions);
  });
}

TEST_CASE("trimming to the first visible entry changes no window", "[window][laws]") {
  check_property("before and after", [] {
    auto h = any_history();
    vector_source source(entries_of(h.all()));
    auto first = first_visible(h.state, h.version, source).value();
    RC_PRE(first > 1);
    auto before = cut({}, h.state, h.version, source);
    auto through = first - 1;
    h.run(trim{through, h.state_at(through)});
    auto after = cut({}, h.state, h.version, source);
    RC_ASSERT(tell(before) == tell(after));
  });
}

}  // namespace recalld::session

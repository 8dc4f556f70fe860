#include "storage/faulty_store.hpp"
#include "tests/actors/stage.hpp"
#include "tests/catch.hpp"

#include <deque>
#include <map>

namespace recalld::tests {

namespace {

/// Someone who watches: takes batches and remembers the positions in them.
struct watcher {
  explicit watcher(stage& where) : on(where) {
    sink = on.cast([this](caf::event_based_actor*) -> caf::behavior {
      return {[this](const std::string& from, const std::string& batch) {
        ids.push_back(from);
        batches.push_back(json::parse(batch));
        for (const auto& f : batches.back().at("facts"))
          positions.push_back(f.at("position"));
      }};
    });
  }

  answer begin(json request) {
    auto out = std::make_shared<letter<answer>>();
    on.cast([&, out, text = request.dump()](caf::event_based_actor* self) {
      self->request(on.gateway, caf::infinite, actors::protocol_version, text, sink)
        .then(
          [out](std::uint16_t status, const std::string& body) {
            out->answer = answer{status, json::parse(body)};
          },
          [out](const caf::error& e) { out->broken = e; });
    });
    on.run();
    auto a = out->answer.value();
    if (a.ok())
      id = a.body.at("watch");
    return a;
  }

  void more(std::uint32_t credit) {
    caf::anon_send(caf::actor_cast<caf::actor>(on.gateway), id, credit);
  }

  stage& on;
  caf::actor sink;
  std::string id;
  std::vector<std::string> ids;
  std::vector<json> batches;
  std::vector<position_t> positions;
};

/// 1, 2, … n
std::vector<position_t> up_to(position_t n) {
  std::vector<position_t> all(n);
  for (position_t i = 0; i < n; ++i)
    all[i] = i + 1;
  return all;
}

void write(stage& on, std::string app, int n = 1) {
  for (int i = 0; i < n; ++i)
    on.ask<actors::reply<actors::appended>>(on.around->journals.front(), scope_append(app, "k", "1"));
}

}  // namespace

TEST_CASE("who is at the head hears of every commit at once", "[feed]") {
  stage on(storage::open_model());
  watcher w(on);
  write(on, "a", 3);
  const auto begun = w.begin({{"credit", 10}});
  REQUIRE(begun.ok());
  write(on, "a", 2);
  CHECK(w.positions == std::vector<position_t>{4, 5});
  REQUIRE(w.batches.size() == 2);
  CHECK(w.ids == std::vector<std::string>{w.id, w.id});
  const auto& fact = w.batches[0].at("facts").at(0);
  CHECK(fact.at("type") == "scope.state_changed");
  CHECK(fact.at("stream") == json{{"kind", "scope"}, {"tenant", "default"}, {"app", "a"}});
  CHECK(fact.at("version") == 4);
}

TEST_CASE("who has no credit costs nothing and misses nothing", "[feed]") {
  stage on(storage::open_model());
  watcher w(on);
  REQUIRE(w.begin({{"credit", 1}}).ok());
  write(on, "a", 1'000);
  CHECK(w.batches.size() == 1);
  for (int i = 0; i < 3; ++i)
    w.more(1);
  on.run();
  CHECK(w.batches.size() == 4);
  w.more(100);
  on.run();
  CHECK(w.positions == up_to(1'000));
  write(on, "a", 1);
  CHECK(w.positions == up_to(1'001));
}

TEST_CASE("a watch goes on behind any cursor it was given", "[feed]") {
  const auto disk = storage::make_model_disk();
  json cursor;
  {
    stage on(storage::open_model(disk));
    watcher w(on);
    REQUIRE(w.begin({{"credit", 2}}).ok());
    write(on, "a", 5);
    CHECK(w.positions == up_to(2));
    cursor = w.batches.back().at("cursor");
  }
  stage on(storage::open_model(disk));
  write(on, "a", 1);
  watcher w(on);
  REQUIRE(w.begin({{"credit", 10}, {"after", cursor}}).ok());
  on.run();
  CHECK(w.positions == std::vector<position_t>{3, 4, 5, 6});
  watcher all(on);
  REQUIRE(all.begin({{"credit", 10}, {"from_start", true}}).ok());
  on.run();
  CHECK(all.positions == up_to(6));
}

TEST_CASE("a commit that was found out about later is not missing in a watch", "[feed]") {
  stage on(storage::open_model());
  on.store->resolves_unknown = true;
  watcher w(on);
  REQUIRE(w.begin({{"credit", 10}}).ok());
  write(on, "a");
  on.store->after = [](auto&) {
    return recalld::error{errc::outcome_unknown, "the answer was lost"};
  };
  write(on, "b");
  on.store->after = nullptr;
  CHECK(w.positions == up_to(1));
  write(on, "a", 2);
  on.run();
  CHECK(w.positions == up_to(4));
}

TEST_CASE("cursors of another log, another time or nobody are refused", "[feed]") {
  stage on(storage::open_model());
  write(on, "a", 2);
  const auto answer = [&](std::string after) {
    watcher w(on);
    const auto a = w.begin({{"credit", 1}, {"after", std::move(after)}});
    on.run();
    CHECK((a.ok() || w.batches.empty()));
    CHECK((a.ok() || a.field() == "after"));
    return a.ok() ? errc{} : a.code();
  };
  const auto& log = on.around->log;
  const auto good = actors::render_cursor(log, {1});
  CHECK(answer(good) == errc{});
  CHECK(answer(actors::render_cursor(log, {3})) == errc::cursor_ahead);
  auto restored = log;
  ++restored.generation;
  CHECK(answer(actors::render_cursor(restored, {1})) == errc::cursor_ahead);
  auto other = log;
  other.log_id = "00000000-0000-7000-8000-000000000001";
  CHECK(answer(actors::render_cursor(other, {1})) == errc::invalid);
  auto forged = log;
  forged.cursor_key += "x";
  CHECK(answer(actors::render_cursor(forged, {1})) == errc::invalid);
  CHECK(answer(actors::render_cursor(log, {1, 1})) == errc::invalid);
  CHECK(answer(actors::render_cursor(log, {})) == errc::invalid);
  CHECK(answer(good + "x") == errc::invalid);
  CHECK(answer(good.substr(0, good.size() - 1)) == errc::invalid);
  CHECK(answer("-1") == errc::invalid);
  CHECK(answer("2.") == errc::invalid);
  check_property("a damaged cursor is refused", [&](const std::size_t where, const char what) {
    auto damaged = good;
    damaged[where % damaged.size()] = what;
    RC_ASSERT(damaged == good || !actors::parse_cursor(log, {2}, damaged));
  });
}

TEST_CASE("a cursor says how far every shard was seen", "[feed]") {
  const storage::log_identity log{"0190-a", 7, "key"};
  check_property("what is rendered is read back", [&](std::vector<std::uint32_t> positions) {
    actors::log_place place(positions.begin(), positions.end());
    place.push_back(0);
    RC_ASSERT(actors::parse_cursor(log, place, actors::render_cursor(log, place)).value() == place);
    auto behind = place;
    behind.back() = 1;
    RC_ASSERT(actors::parse_cursor(log, place, actors::render_cursor(log, behind)).error().code
              == errc::cursor_ahead);
  });
}

TEST_CASE("a watch shows nothing of other tenants and streams", "[feed]") {
  stage on(storage::open_model());
  watcher mine(on), other(on), one(on), sessions(on);
  REQUIRE(mine.begin({{"credit", 100}}).ok());
  REQUIRE(other.begin({{"credit", 100}, {"tenant", "defaul"}}).ok());
  REQUIRE(one.begin({{"credit", 100}, {"app", "b"}}).ok());
  REQUIRE(sessions.begin({{"credit", 100}, {"kind", "session"}}).ok());
  write(on, "a");
  write(on, "b");
  write(on, "bb");
  REQUIRE(on.call("session.create", session_of("s")).ok());
  CHECK(mine.positions == up_to(4));
  CHECK(other.positions.empty());
  CHECK(one.positions == std::vector<position_t>{2});
  CHECK(sessions.positions == std::vector<position_t>{4});
}

TEST_CASE("a watcher that is gone is forgotten, and there are only so many", "[feed]") {
  stage_options o;
  o.limits.watchers_max = 2;
  stage on(storage::open_model(), o);
  auto first = std::make_unique<watcher>(on);
  watcher second(on), third(on);
  REQUIRE(first->begin({{"credit", 5}}).ok());
  REQUIRE(second.begin({{"credit", 5}}).ok());
  const auto refused = third.begin({{"credit", 5}});
  CHECK(refused.code() == errc::overloaded);
  CHECK(refused.error().at("retry_after_ms") > 0);
  caf::anon_send_exit(first->sink, caf::exit_reason::kill);
  on.run();
  CHECK(on.around->watchers == 1);
  REQUIRE(third.begin({{"credit", 5}}).ok());
  third.more(0);
  on.run();
  CHECK(on.around->watchers == 1);
  write(on, "a");
  CHECK(third.positions.empty());
  CHECK(second.positions == up_to(1));
}

TEST_CASE("a log that cannot be read for a moment costs a watcher time, nothing else", "[feed]") {
  const auto disk = storage::make_model_disk();
  {
    stage on(storage::open_model(disk));
    write(on, "a", 600);
  }
  storage::fault_plan plan;
  plan.reads_refused = 500;
  std::unique_ptr<stage> on;
  while (!on) {
    try {
      on = std::make_unique<stage>(storage::make_faulty(storage::open_model(disk), plan));
    } catch (const std::exception&) {
      ++plan.seed;  // This one refuses what starting reads.
    }
  }
  watcher w(*on);
  REQUIRE(w.begin({{"credit", 100}, {"from_start", true}}).ok());
  for (int i = 0; i < 200 && w.positions.size() < 600; ++i)
    on->pass(std::chrono::milliseconds(200));
  CHECK(w.positions == up_to(600));
  CHECK(on->fatal.empty());
}

TEST_CASE("a watch request is checked like any other", "[feed]") {
  stage on(storage::open_model());
  watcher w(on);
  CHECK(w.begin(json::object()).field() == "credit");
  CHECK(w.begin({{"credit", 0}}).field() == "credit");
  CHECK(w.begin({{"credit", 1'000'001}}).field() == "credit");
  CHECK(w.begin({{"credit", 1}, {"kind", "thing"}}).field() == "kind");
  CHECK(w.begin({{"credit", 1}, {"session", "s"}}).field() == "session");
  CHECK(w.begin({{"credit", 1}, {"tenant", ""}}).field() == "tenant");
  CHECK(w.begin({{"credit", 1}, {"from", "x"}}).code() == errc::invalid);
}

TEST_CASE("no watcher misses anything or gets it twice, however slow it is", "[feed]") {
  check_property("all, once, in order", [](const std::uint32_t seed) {
    std::mt19937 random(seed);
    stage_options o;
    o.readers = 2;
    stage on(storage::open_model(), o);
    write(on, "a", static_cast<int>(random() % 60));
    std::deque<watcher> all;
    std::vector<position_t> from;
    position_t head = on.log().size();
    const auto check_credit = [&](std::size_t i, std::size_t given) {
      RC_ASSERT(all[i].batches.size() <= given);
    };
    std::vector<std::size_t> given;
    for (int i = 0; i < 4; ++i) {
      all.emplace_back(on);
      json request{{"credit", 1}};
      from.push_back(head);
      if (head > 0 && random() % 2 == 0) {
        from.back() = random() % head;
        request["after"] = actors::render_cursor(on.around->log, {from.back()});
      }
      given.push_back(1);
      RC_ASSERT(all.back().begin(request).ok());
    }
    for (int i = 0; i < 60; ++i) {
      if (random() % 2 == 0) {
        on.post<actors::reply<actors::appended>>(on.around->journals.front(), scope_append("a", "k", "1"));
        ++head;
      } else {
        const auto who = random() % all.size();
        const auto credit = 1 + random() % 3;
        given[who] += credit;
        all[who].more(static_cast<std::uint32_t>(credit));
      }
      for (auto n = random() % 5; n > 0; --n)
        on.step(random());
      for (std::size_t w = 0; w < all.size(); ++w)
        check_credit(w, given[w]);
    }
    for (auto& w : all)
      w.more(10'000);
    on.run();
    for (std::size_t w = 0; w < all.size(); ++w) {
      std::vector<position_t> expected;
      for (auto p = from[w] + 1; p <= head; ++p)
        expected.push_back(p);
      RC_ASSERT(all[w].positions == expected);
    }
  });
}

}  // namespace recalld::tests

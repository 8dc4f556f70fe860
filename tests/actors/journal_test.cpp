#include "tests/actors/stage.hpp"
#include "tests/catch.hpp"

#include "storage/faulty_store.hpp"

namespace recalld::tests {

namespace {

using actors::appended;
using answered = actors::reply<appended>;

std::vector<letter_ptr<answered>> post_appends(stage& on, std::size_t n) {
  std::vector<letter_ptr<answered>> all;
  for (std::size_t i = 0; i < n; ++i)
    all.push_back(
      on.post<answered>(on.around->journals.front(), scope_append("a", "k", std::to_string(i))));
  return all;
}

position_t position_of(const answered& a) { return a.value.value().parts.front().position; }

}  // namespace

TEST_CASE("what arrives while a commit runs is the next batch", "[journal]") {
  stage on(storage::open_model());
  std::vector<letter_ptr<answered>> later;
  on.store->before = [&](auto) {
    if (later.empty())
      later = post_appends(on, 7);
    return std::nullopt;
  };
  auto first = post_appends(on, 1);
  on.run();
  CHECK(on.store->batches == std::vector<std::size_t>{1, 7});
  CHECK(position_of(*first[0]->answer) == 1);
  for (std::size_t i = 0; i < later.size(); ++i)
    CHECK(position_of(*later[i]->answer) == i + 2);
}

TEST_CASE("a batch ends at its cap, and the rest follows at once", "[journal]") {
  stage_options o;
  o.limits.batch_facts = 4;
  stage on(storage::open_model(), o);
  auto all = post_appends(on, 10);
  on.run();
  CHECK(on.store->batches == std::vector<std::size_t>{4, 4, 2});
  for (const auto& one : all)
    CHECK(one->answer->value.has_value());
}

TEST_CASE("after a slow disk the next commit waits a little for company", "[journal]") {
  stage on(storage::open_model());
  on.around->limits.slow_commit_us = 1'000;
  on.around->disk_us = 40'000;
  auto first = post_appends(on, 1);
  on.run();
  CHECK(first[0]->open());
  auto second = post_appends(on, 1);
  on.pass(std::chrono::milliseconds(2));
  CHECK(first[0]->answer->value.has_value());
  CHECK(second[0]->answer->value.has_value());
  CHECK(on.store->batches == std::vector<std::size_t>{2});
}

TEST_CASE("one bad unit does not spoil its batch", "[journal]") {
  stage on(storage::open_model());
  auto good = on.post<answered>(on.around->journals.front(), scope_append("a", "k", "1", 0));
  auto stale = on.post<answered>(on.around->journals.front(), scope_append("a", "k", "2", 7));
  auto once = scope_append("b", "k", "3");
  once.unit.command = "c1";
  auto command = on.post<answered>(on.around->journals.front(), once);
  auto twice = on.post<answered>(on.around->journals.front(), once);
  auto last = on.post<answered>(on.around->journals.front(), scope_append("a", "k", "4", 1));
  on.run();
  REQUIRE(on.store->batches == std::vector<std::size_t>{5});
  CHECK(position_of(*good->answer) == 1);
  REQUIRE(stale->answer->value->refused);
  CHECK(stale->answer->value->refused->why == storage::refusal::reason::wrong_version);
  CHECK(stale->answer->value->refused->current_version == 1);
  CHECK(position_of(*command->answer) == 2);
  REQUIRE(twice->answer->value->refused);
  CHECK(twice->answer->value->refused->why == storage::refusal::reason::duplicate_command);
  CHECK(position_of(*last->answer) == 3);
  CHECK(on.log().size() == 3);
}

TEST_CASE("a store that is away for a moment costs one batch, typed", "[journal]") {
  stage on(storage::open_model());
  on.store->before = [](auto) { return recalld::error{errc::unavailable, "disk full"}; };
  for (auto& one : post_appends(on, 5)) {
    on.run();
    CHECK(one->answer->value.error().code == errc::unavailable);
  }
  on.store->before = nullptr;
  auto next = post_appends(on, 1);
  on.run();
  CHECK(position_of(*next[0]->answer) == 1);
  CHECK(on.fatal.empty());
}

TEST_CASE("a value that the database does not take costs only whoever brought it", "[journal]") {
  stage on(storage::open_model());
  std::size_t commits = 0;
  on.store->before = [&](auto units) -> std::optional<recalld::error> {
    ++commits;
    for (const auto& u : units)
      if (std::get<scope::state_changed>(std::get<scope::fact>(u.parts[0].facts[0])).set.at("k")
          == "2")
        return recalld::error{errc::invalid, "no such text"};
    return std::nullopt;
  };
  auto all = post_appends(on, 5);
  on.run();
  for (std::size_t i = 0; i < all.size(); ++i) {
    INFO("append " << i);
    REQUIRE(all[i]->answer);
    if (i == 2)
      CHECK(all[i]->answer->value.error().code == errc::invalid);
    else
      CHECK(all[i]->answer->value.has_value());
  }
  CHECK(commits == 6);
  CHECK(on.fatal.empty());
}

TEST_CASE("a node that ends over one of many appends answers those behind it", "[journal]") {
  stage on(storage::open_model());
  std::size_t commits = 0;
  on.store->before = [&](auto) -> std::optional<recalld::error> {
    // The batch, its first append alone, its second one alone.
    return recalld::error{++commits == 3 ? errc::corrupt : errc::invalid, "no such text"};
  };
  auto all = post_appends(on, 4);
  on.run();
  const errc expected[] = {errc::invalid, errc::corrupt, errc::unavailable, errc::unavailable};
  for (std::size_t i = 0; i < all.size(); ++i) {
    INFO("append " << i);
    REQUIRE(all[i]->answer);
    CHECK(all[i]->answer->value.error().code == expected[i]);
  }
  CHECK(on.fatal.size() == 1);
}

TEST_CASE("when nobody knows, the node ends once and nothing is acknowledged", "[journal]") {
  const auto code = GENERATE(errc::outcome_unknown, errc::fenced, errc::corrupt);
  const bool happened = GENERATE(true, false);
  const recalld::error lost{code, "the disk hung up"};
  stage on(storage::open_model());
  if (happened)
    on.store->after = [&](auto&) { return lost; };
  else
    on.store->before = [&](auto) { return lost; };
  on.around->limits.batch_facts = 3;

  std::size_t heard = 0;
  auto sink = on.cast([&](caf::event_based_actor*) -> caf::behavior {
    return {[&heard](const std::string&, const std::string&) { ++heard; }};
  });
  actors::start_watch watch;
  watch.filter.parts = stream_id(stream_kind::scope, {"default"}).bytes().substr(1);
  watch.credit = 10;
  watch.sink = sink;
  CHECK(on.ask<actors::reply<actors::watch_started>>(on.around->feed, watch).value.has_value());

  auto all = post_appends(on, 8);
  on.run();
  for (std::size_t i = 0; i < all.size(); ++i) {
    INFO("append " << i);
    REQUIRE(all[i]->answer);
    REQUIRE_FALSE(all[i]->answer->value.has_value());
    // Those behind the lost batch never reached the store: they may be repeated without doubt.
    CHECK(all[i]->answer->value.error().code == (i < 3 ? code : errc::unavailable));
  }
  auto later = post_appends(on, 1);
  on.run();
  CHECK(later[0]->answer->value.error().code == errc::unavailable);
  CHECK(on.fatal.size() == 1);
  CHECK(on.store->batches == std::vector<std::size_t>{3});
  CHECK(heard == 0);
  CHECK(on.log().size() == (happened ? 3 : 0));
}

TEST_CASE("what one commit did to another stream is seen before its answer", "[journal]") {
  // The scope is awake with its old state; who has the answer must read the new one.
  stage on(storage::open_model());
  CHECK(on.call("session.create", session_of("s")).ok());
  CHECK(on.call("app.list_state", json{{"app", "a"}}).ok());
  const auto written = on.start(
    "session.append",
    with(session_of("s"), {{"entry", entry_of("e1")}, {"state", {{"app:theme", "dark"}}}}));
  // The reader comes by the very moment the answer is there, whatever else is still in mailboxes.
  while (written->open())
    REQUIRE(on.step());
  const auto seen = on.call("app.list_state", json{{"app", "a"}});
  CHECK(seen.body.dump().find("dark") != std::string::npos);
}

}  // namespace recalld::tests

#include "tests/actors/scratch.hpp"
#include "tests/actors/stage.hpp"
#include "tests/catch.hpp"

namespace recalld::tests {

namespace {

using namespace std::chrono_literals;
using committed = actors::reply<actors::committed>;
using seen = actors::reply<actors::stream_view>;

constexpr auto idle = std::chrono::seconds(301);

void touch(stage& on, std::string app) {
  on.ask<seen>(on.around->directory, actors::view{app_stream("default", std::move(app)), 0});
}

}  // namespace

TEST_CASE("a command that meets its stream leaving is executed once, by the next actor",
          "[directory]") {
  stage on(storage::open_model());
  const auto directory = on.around->directory;
  REQUIRE(on.ask<committed>(directory, scope_submit("a", "k", "0")).value.has_value());
  on.pass(idle);
  caf::anon_send(directory, actors::tick_atom::value);
  // These are in the directory's mailbox behind the tick, so they find the stream leaving.
  std::vector<letter_ptr<committed>> writes;
  for (int i = 1; i <= 3; ++i)
    writes.push_back(on.post<committed>(
      directory, scope_submit("a", "k", std::to_string(i), "c" + std::to_string(i), 1)));
  auto read = on.post<seen>(directory, actors::view{app_stream("default", "a"), 0});
  on.run();
  CHECK(on.around->passivated == 1);
  for (std::size_t i = 0; i < writes.size(); ++i) {
    REQUIRE(writes[i]->answer);
    CHECK(writes[i]->answer->value->version == i + 2);
    CHECK_FALSE(writes[i]->answer->value->duplicate);
  }
  // What was parked keeps its order.
  CHECK(read->answer->value->version == 4);
  CHECK(on.log().size() == 4);
  CHECK(on.around->live == 1);
}

TEST_CASE("commands that are on their way when a stream leaves are executed first", "[directory]") {
  stage on(storage::open_model());
  const auto directory = on.around->directory;
  touch(on, "a");
  on.pass(idle);
  auto before = on.post<committed>(directory, scope_submit("a", "k", "1"));
  caf::anon_send(directory, actors::tick_atom::value);
  on.run();
  CHECK(before->answer->value->version == 1);
  // It was just used, though the directory's clock is as old as its last tick.
  touch(on, "a");
  CHECK(on.log().size() == 1);
}

TEST_CASE("no interleaving of leaving and commands loses or repeats one", "[directory]") {
  check_property("each command is executed exactly once", [](const std::uint32_t seed) {
    std::mt19937 random(seed);
    stage on(storage::open_model());
    const auto directory = on.around->directory;
    std::vector<letter_ptr<committed>> all;
    for (int i = 0; i < 60; ++i) {
      const auto which = std::string(1, static_cast<char>('a' + random() % 3));
      all.push_back(
        on.post<committed>(directory, scope_submit(which, "k" + std::to_string(i), "1")));
      if (random() % 3 == 0) {
        on.pass(0s);
        caf::anon_send(directory, actors::tick_atom::value);
      }
      if (random() % 4 == 0)
        on.around->limits.idle_s = on.around->limits.idle_s == 0 ? 300 : 0;
      for (auto n = random() % 12; n > 0; --n)
        on.step(random());
    }
    on.run();
    for (const auto& one : all) {
      RC_ASSERT(one->answer.has_value());
      RC_ASSERT(one->answer->value.has_value());
    }
    RC_ASSERT(on.log().size() == all.size());
  });
}

TEST_CASE("an idle stream leaves, one in use stays", "[directory]") {
  stage on(storage::open_model());
  touch(on, "a");
  touch(on, "b");
  CHECK(on.around->live == 2);
  on.pass(200s);
  caf::anon_send(on.around->directory, actors::tick_atom::value);
  on.run();
  touch(on, "b");
  on.pass(150s);
  caf::anon_send(on.around->directory, actors::tick_atom::value);
  on.run();
  CHECK(on.around->live == 1);
  CHECK(on.around->passivated == 1);
  const auto woken = on.around->woken.load();
  touch(on, "b");
  CHECK(on.around->woken == woken);
  touch(on, "a");
  CHECK(on.around->woken == woken + 1);
}

TEST_CASE("when memory is short the longest unused leave, and no more than needed", "[directory]") {
  stage_options o;
  o.limits.memory_bytes = 1 << 20;
  stage on(storage::open_model(), o);
  const std::string big(100'000, 'x');
  for (int i = 0; i < 20; ++i)
    REQUIRE(on.ask<committed>(on.around->directory,
                              scope_submit("a" + std::to_string(i), "k", '"' + big + '"'))
              .value.has_value());
  CHECK(on.around->live == 20);
  touch(on, "a0");
  caf::anon_send(on.around->directory, actors::tick_atom::value);
  on.run();
  const auto left = on.around->live.load();
  CHECK(on.around->state_bytes <= (1 << 20));
  CHECK(left >= 8);
  const auto woken = on.around->woken.load();
  touch(on, "a0");
  touch(on, "a19");
  CHECK(on.around->woken == woken);
  touch(on, "a1");
  CHECK(on.around->woken == woken + 1);
}

TEST_CASE("the bytes of streams are given back when they leave", "[directory]") {
  stage on(storage::open_model());
  for (int i = 0; i < 5; ++i)
    touch(on, "a" + std::to_string(i));
  REQUIRE(on.call("session.create", session_of("s")).ok());
  REQUIRE(on.call("session.append", with(session_of("s"), {{"entry", entry_of("e")}})).ok());
  CHECK(on.around->state_bytes > 0);
  on.pass(idle);
  caf::anon_send(on.around->directory, actors::tick_atom::value);
  on.run();
  CHECK(on.around->live == 0);
  CHECK(on.around->state_bytes == 0);
}

TEST_CASE("at the end every stream leaves a snapshot, and nothing that waits is lost",
          "[directory]") {
  scratch_directory at;
  const auto disk = storage::make_model_disk();
  {
    stage_options o;
    o.cache_directory = at.path();
    stage on(storage::open_model(disk), o);
    for (int i = 0; i < 5; ++i)
      REQUIRE(
        on.ask<committed>(on.around->directory, scope_submit("a" + std::to_string(i), "k", "1"))
          .value.has_value());
    auto accepted = on.post<committed>(on.around->directory, scope_submit("a0", "k", "2"));
    auto gone = on.post_plain(on.around->directory, actors::leave_atom::value);
    auto late = on.post<committed>(on.around->directory, scope_submit("a0", "k", "3"));
    on.run();
    CHECK(accepted->answer->value->version == 2);
    CHECK_FALSE(late->open());
    CHECK(gone->answer.has_value());
    CHECK(on.around->live == 0);
    CHECK(on.around->cache->count().puts >= 5);
  }
  stage_options o;
  o.cache_directory = at.path();
  stage on(storage::open_model(disk), o);
  touch(on, "a1");
  CHECK(on.around->cache->count().hits == 1);
}

}  // namespace recalld::tests

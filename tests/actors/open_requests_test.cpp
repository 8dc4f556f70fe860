#include "actors/open_requests.hpp"
#include "tests/actors/stage.hpp"
#include "tests/catch.hpp"

namespace recalld::tests {

namespace {

using actors::read_rows;
using answered = result<std::vector<projections::row>>;

/// Takes requests and answers none until it is told to.
struct keeper {
  std::vector<caf::typed_response_promise<actors::reply<std::vector<projections::row>>>> kept;
};

caf::behavior keeping(caf::stateful_actor<keeper>* self) {
  return {
    [self](const read_rows&) {
      self->state.kept.push_back(
        self->make_response_promise<actors::reply<std::vector<projections::row>>>());
      return self->state.kept.back();
    },
    // Answers the newest first, each with as many rows as requests were older.
    [self](caf::ok_atom) {
      while (!self->state.kept.empty()) {
        auto promise = std::move(self->state.kept.back());
        self->state.kept.pop_back();
        promise.deliver(actors::reply<std::vector<projections::row>>{
          std::vector<projections::row>(self->state.kept.size())});
      }
    },
  };
}

struct asker {
  actors::open_requests open;
};

/// Asks `n` times as soon as it lives.
auto asking(caf::actor whom, std::size_t n, std::vector<std::pair<std::size_t, answered>>& into) {
  return [whom = std::move(whom), n, &into](caf::stateful_actor<asker>* self) -> caf::behavior {
    self->state.open.start(self);
    for (std::size_t i = 0; i < n; ++i)
      self->state.open.ask<std::vector<projections::row>>(
        whom, read_rows{}, [&into, i](answered a) { into.emplace_back(i, std::move(a)); });
    return {[self](caf::get_atom) { return static_cast<std::uint64_t>(self->state.open.size()); }};
  };
}

}  // namespace

TEST_CASE("each of many open requests gets its own answer, once, in any order", "[open_requests]") {
  stage on(storage::open_model());
  const auto whom = on.system().spawn(keeping);
  std::vector<std::pair<std::size_t, answered>> answers;
  const auto who = on.system().spawn(asking(whom, 2'000, answers));
  on.run();
  CHECK(answers.empty());
  caf::anon_send(whom, caf::ok_atom::value);
  on.run();
  REQUIRE(answers.size() == 2'000);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    REQUIRE(answers[i].first == 1'999 - i);
    REQUIRE(answers[i].second->size() == answers[i].first);
  }
  CHECK(on.ask<std::uint64_t>(who, caf::get_atom::value) == 0);
  caf::anon_send_exit(who, caf::exit_reason::kill);
  caf::anon_send_exit(whom, caf::exit_reason::kill);
}

TEST_CASE("a request to somebody who is gone is answered: unavailable", "[open_requests]") {
  stage on(storage::open_model());
  const auto whom = on.system().spawn(keeping);
  caf::anon_send_exit(whom, caf::exit_reason::kill);
  on.run();
  std::vector<std::pair<std::size_t, answered>> answers;
  const auto who = on.system().spawn(asking(whom, 3, answers));
  on.run();
  REQUIRE(answers.size() == 3);
  for (const auto& [at, answer] : answers)
    CHECK(answer.error().code == errc::unavailable);
  caf::anon_send_exit(who, caf::exit_reason::kill);
}

TEST_CASE("who asked and left is not called any more", "[open_requests]") {
  stage on(storage::open_model());
  const auto whom = on.system().spawn(keeping);
  std::vector<std::pair<std::size_t, answered>> answers;
  {
    const auto who = on.system().spawn(asking(whom, 3, answers));
    on.run();
    caf::anon_send_exit(who, caf::exit_reason::kill);
  }
  on.run();
  caf::anon_send(whom, caf::ok_atom::value);
  on.run();
  CHECK(answers.empty());
  caf::anon_send_exit(whom, caf::exit_reason::kill);
}

}  // namespace recalld::tests

#include "retrieval/ranking.hpp"

#include "retrieval/evaluation.hpp"
#include "retrieval/words.hpp"
#include "tests/catch.hpp"


#include <algorithm>

using namespace recalld;
using namespace recalld::retrieval;

namespace {

constexpr time_us_t day_us = 86'400'000'000;

indexed_memory said(std::string id, const std::string& text, std::string session = {},
                    std::vector<std::string> speakers = {}, time_us_t time = 0) {
  return {std::move(id), std::move(session), std::move(speakers), time, passages_of(text)};
}

std::vector<std::string> ids(const memory_index& index, const std::vector<hit>& hits) {
  std::vector<std::string> out;
  for (const auto& h : hits)
    out.push_back(index.memories()[h.slot].id);
  return out;
}

std::vector<std::string> ask(const memory_index& index, const std::string& question,
                             std::size_t limit = 10) {
  return ids(index, rank(index, question, {}, {}, 0, limit));
}

using found = std::vector<std::string>;

}  // namespace

TEST_CASE("words of a whole question match", "[ranking]") {
  memory_index index;
  index.put(said("a", "Anna's favourite colour is blue"));
  index.put(said("b", "Ben drives to the office"));
  CHECK(ask(index, "Which colours does Anna like best?") == found{"a"});
  CHECK(ask(index, "who drove to an office") == found{"b"});
  CHECK(ask(index, "nothing of that kind").empty());
  CHECK(ask(index, "").empty());
}

TEST_CASE("an unknown word is read as a known one that is spelt nearly so", "[ranking]") {
  memory_index index;
  index.put(said("a", "the pride festival was wonderful"));
  index.put(said("b", "we went fishing"));
  CHECK(ask(index, "fesetival") == found{"a"});
  CHECK(ask(index, "festvial") == found{"a"});
  CHECK(ask(index, "xyz").empty());
}

TEST_CASE("the answer to a question is found by the question's words", "[ranking]") {
  memory_index index;
  index.put(said("q", "Anna: Which instrument do you play, Ben?", "s", {"anna"}));
  index.put(said("a", "Ben: The clarinet, since third grade.", "s", {"ben"}));
  index.put(said("x", "Anna: Lovely.", "s", {"anna"}));
  index.put(said("y", "Ben: It rained.", "t", {"ben"}));
  const auto hits = ask(index, "Which instrument does Ben play?");
  REQUIRE(hits.size() >= 2);
  CHECK(std::find(hits.begin(), hits.begin() + 2, "a") != hits.begin() + 2);
}

TEST_CASE("neighbours and sessions lift a memory without own words", "[ranking]") {
  memory_index index;
  index.put(said("1", "We talked about the telescope", "s"));
  index.put(said("2", "It was expensive", "s"));
  index.put(said("3", "It was expensive", "t"));
  index.put(said("4", "Something else entirely", "t"));
  CHECK(ask(index, "telescope") == found{"1", "2"});
  CHECK(ask(index, "expensive telescope").front() == "1");
  const auto both = ask(index, "expensive telescope");
  CHECK(std::find(both.begin(), both.end(), "2") < std::find(both.begin(), both.end(), "3"));
}

TEST_CASE("a date in the question prefers what happened then", "[ranking]") {
  memory_index index;
  for (int day = 0; day < 10; ++day)
    index.put(
      said("d" + std::to_string(day), "a walk in the park", {}, {}, (19484 + day * 30) * day_us));
  CHECK(ask(index, "Which park did she walk in on 7 May 2023?").front() == "d0");
  CHECK(ask(index, "the walk in the park of August 2023").front() == "d3");
}

TEST_CASE("a named speaker is preferred", "[ranking]") {
  memory_index index;
  index.put(said("a", "I love hiking", "s", {"anna"}));
  index.put(said("b", "I love hiking", "s", {"ben"}));
  CHECK(ask(index, "What does Ben love?").front() == "b");
  CHECK(ask(index, "What does Anna love?").front() == "a");
}

TEST_CASE("a long text scores as its best passage", "[ranking]") {
  std::string filler;
  for (int i = 0; i < 400; ++i)
    filler += "word" + std::to_string(i) + " ";
  CHECK(passages_of(filler).size() == 4);
  CHECK(passages_of(filler, std::vector<std::string>{"topic"}).back().back() == "topic");
  memory_index index;
  index.put(said("long", filler + "zeppelin " + filler));
  index.put(said("short", "zeppelin"));
  CHECK(ask(index, "zeppelin") == found{"short", "long"});
}

TEST_CASE("filters choose what is found, not what speaks for it", "[ranking]") {
  memory_index index;
  index.put(said("1", "a telescope", "s"));
  index.put(said("2", "It was expensive", "s"));
  const auto only_2 = [&](memory_index::slot_t slot) { return index.memories()[slot].id == "2"; };
  CHECK(ids(index, rank(index, "telescope", {}, only_2, 0, 10)) == found{"2"});
  CHECK(rank(
          index, "telescope", {}, [](auto) { return false; }, 0, 10)
          .empty());
}

TEST_CASE("an outside signal brings memories that share no word", "[ranking]") {
  memory_index index;
  index.put(said("a", "the automobile"));
  index.put(said("b", "a car park"));
  const outside_signal vectors{1, {{index.find("a"), 0.9}}};
  CHECK(ids(index, rank(index, "vehicle", {}, {}, 0, 10, std::vector{vectors})) == found{"a"});
}

TEST_CASE("scores fall and lie in (0, 1]; pages join without a gap", "[ranking]") {
  memory_index index;
  for (int i = 0; i < 50; ++i)
    index.put(said("m" + std::to_string(i), "tea " + std::string(i % 7 == 0 ? "green" : "black"),
                   "s" + std::to_string(i % 5)));
  const auto all = rank(index, "green tea", {}, {}, 0, 100);
  REQUIRE(all.size() == 50);
  for (std::size_t i = 0; i < all.size(); ++i) {
    CHECK(all[i].score > 0);
    CHECK(all[i].score <= 1);
    if (i > 0)
      CHECK(all[i].score <= all[i - 1].score);
  }
  auto paged = ids(index, rank(index, "green tea", {}, {}, 0, 20));
  for (const auto& id : ids(index, rank(index, "green tea", {}, {}, 20, 100)))
    paged.push_back(id);
  CHECK(paged == ids(index, all));
  CHECK(rank(index, "green tea", {}, {}, 50, 10).empty());
}

TEST_CASE("what is taken out is never found again", "[ranking]") {
  memory_index index;
  index.put(said("a", "green tea", "s"));
  index.put(said("b", "black tea", "s"));
  index.erase("a");
  index.erase("a");
  index.erase("never there");
  CHECK(ask(index, "green tea") == found{"b"});
  CHECK(index.size() == 1);
  index.put(said("b", "coffee", "s"));
  CHECK(ask(index, "tea").empty());
  CHECK(ask(index, "coffee") == found{"b"});
  index.clear();
  CHECK(ask(index, "coffee").empty());
}

TEST_CASE("an index is a function of what is in it", "[ranking]") {
  check_property("changes in between leave no trace", [] {
    static const std::vector<std::string> vocabulary = {"tea",   "green", "walk",  "river", "Anna",
                                                        "plays", "chess", "when?", "book",  "June"};
    const auto text = [&] {
      std::string out;
      const auto n = *rc::gen::inRange(1, 6);
      for (int i = 0; i < n; ++i)
        out += *rc::gen::elementOf(vocabulary) + " ";
      return out;
    };
    const auto count = *rc::gen::inRange(1, 30);
    memory_index changed;
    std::vector<indexed_memory> last;
    for (int i = 0; i < count; ++i) {
      auto m = said("m" + std::to_string(i), text(), "s" + std::to_string(i % 3));
      changed.put(m);
      last.push_back(m);
    }
    const auto changes = *rc::gen::inRange(0, 30);
    for (int i = 0; i < changes && !last.empty(); ++i) {
      const auto at = static_cast<std::size_t>(*rc::gen::inRange(0, static_cast<int>(last.size())));
      if (*rc::gen::arbitrary<bool>()) {
        changed.erase(last[at].id);
        last.erase(last.begin() + static_cast<std::ptrdiff_t>(at));
      } else {
        last[at].passages = passages_of(text());
        changed.put(last[at]);
      }
    }
    memory_index fresh;
    for (const auto& m : last)
      fresh.put(m);
    for (const auto* question : {"green tea when", "Anna plays chess", "river in June 2023"}) {
      const auto a = rank(changed, question, {}, {}, 0, 100);
      const auto b = rank(fresh, question, {}, {}, 0, 100);
      RC_ASSERT(ids(changed, a) == ids(fresh, b));
      for (std::size_t i = 0; i < a.size(); ++i)
        RC_ASSERT(a[i].score == b[i].score);
    }
  });
}

TEST_CASE("dead weight is thrown out", "[ranking]") {
  memory_index index;
  index.put(said("kept", "green tea", "s"));
  index.put(said("other", "something", "s"));
  for (int i = 0; i < 10'000; ++i)
    index.put(said("kept", "green tea number " + std::to_string(i), "s"));
  CHECK(index.passages().size() < 3000);
  CHECK(ask(index, "green tea 9999").front() == "kept");
}

TEST_CASE("measures", "[evaluation]") {
  measures m;
  m.add(std::vector<std::string>{"x", "a", "b"}, {"a", "b"});
  CHECK(m.recall5 == 1);
  CHECK(m.mrr == 0.5);
  CHECK(m.ndcg10 == Catch::Approx(0.693426));
  m.add({}, {"a"});
  CHECK(m.questions == 2);
  CHECK(m.recall10 == 0.5);
  CHECK(m.mrr == 0.25);
  std::vector<std::string> late(20, "x");
  late[10] = "a";
  m.add(late, {"a"});
  CHECK(m.recall10 == Catch::Approx(1.0 / 3));
  CHECK(m.recall20 == Catch::Approx(2.0 / 3));
}

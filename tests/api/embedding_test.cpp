// Memories that are found by what they mean, through the gateway of a real node. What HTTP does to
// vectors is tested in tests/providers, and the whole way with the real program in tests/cli.

#include "tests/api/running_node.hpp"
#include "tests/storage/subject.hpp"

#include <mutex>
#include <set>
#include <thread>

namespace recalld::test {

namespace {

using namespace std::chrono_literals;
using storage::testing::postgres_backend;
using storage::testing::sqlite_backend;
using strings = std::vector<std::string>;

/// A model that knows what few words mean.
class small_model {
public:
  actors::embedding_model named(const std::string& name) {
    return {name, [this] {
              return [this](std::span<const std::string> texts, std::chrono::milliseconds,
                            const std::atomic<bool>&) { return embed(texts); };
            }};
  }
  void fail_with(std::optional<errc> code) {
    std::lock_guard guard(lock_);
    fails_ = code;
  }
  std::size_t asked(const std::string& text) {
    std::lock_guard guard(lock_);
    return asked_.count(text);
  }

private:
  result<std::vector<std::vector<float>>> embed(std::span<const std::string> texts) {
    std::lock_guard guard(lock_);
    if (fails_)
      return fail(*fails_, "the model is away");
    std::vector<std::vector<float>> out;
    for (const auto& text : texts) {
      asked_.insert(text);
      if (text.find("unspeakable") != std::string::npos)
        return fail(errc::rejected, "not this one");
      std::vector<float> v{0, 0, 0};
      for (const auto* word : {"tea", "beverage", "coffee"})
        if (text.find(word) != std::string::npos)
          v[0] += 1;
      for (const auto* word : {"dog", "puppy", "animal"})
        if (text.find(word) != std::string::npos)
          v[1] += 1;
      if (v == std::vector<float>{0, 0, 0})
        v[2] = 1;  // It means something else.
      out.push_back(v);
    }
    return out;
  }

  std::mutex lock_;
  std::optional<errc> fails_;
  std::multiset<std::string> asked_;
};

const json ada{{"app", "shop"}, {"user", "ada"}};

json of_ada(const json& more) {
  auto out = ada;
  out.update(more);
  return out;
}

template <class Backend>
struct meaningful_node {
  Backend backend;
  small_model model;
  running_node n{[this] { return backend.open(); }};

  meaningful_node() { use("small"); }
  void use(const std::string& name) {
    n.embedding_model = model.named(name);
    n.restart();
  }
  json search(const std::string& query, const json& more = json::object()) {
    auto request = of_ada({{"query", query}});
    request.update(more);
    return n.ok("memory.search", request);
  }
  strings found(const std::string& query, const json& more = json::object()) {
    strings out;
    const auto answer = search(query, more);
    for (const auto& hit : answer["hits"])
      out.push_back(hit["memory"]["text"]);
    return out;
  }
  std::string remember(const std::string& text, const json& more = json::object()) {
    auto request = of_ada({{"text", text}});
    request.update(more);
    return n.ok("memory.add", request)["id"];
  }
  /// Vectors are made a moment later.
  template <class Check>
  bool soon(Check check) {
    for (int i = 0; i < 3'000; ++i) {
      if (check())
        return true;
      std::this_thread::sleep_for(10ms);
    }
    return false;
  }
};

}  // namespace

TEMPLATE_TEST_CASE("a memory is found by what it means", "[embeddings]", sqlite_backend,
                   postgres_backend) {
  meaningful_node<TestType> on;
  const auto tea = on.remember("Anna likes green tea");
  on.remember("Ben has a puppy", {{"topics", {"ben"}}});
  REQUIRE(on.soon([&] { return on.found("Which beverage?") == strings{"Anna likes green tea"}; }));
  CHECK_FALSE(on.search("Which beverage?").contains("note"));
  CHECK(on.found("Which animal?") == strings{"Ben has a puppy"});
  // Filters hold for what is near as for what is said.
  CHECK(on.found("Which animal?", {{"topics", {"ben"}}}) == strings{"Ben has a puppy"});
  CHECK(on.found("Which animal?", {{"topics", {"anna"}}}).empty());
  // Nobody else's.
  CHECK(
    on.n
      .ok("memory.search", {{"app", "shop"}, {"user", "eve"}, {"query", "Which beverage?"}})["hits"]
      .empty());

  // The vectors are in the log: a restart asks for none of them again, a rebuild gives the same.
  const auto before = on.search("Which beverage?");
  on.n.restart();
  CHECK(on.search("Which beverage?") == before);
  on.n.ok("node.rebuild", {{"tables", {"memory_words", "memory_vectors", "memories"}}});
  on.n.restart();
  CHECK(on.search("Which beverage?") == before);
  CHECK(on.model.asked("Anna likes green tea") == 1);

  // A changed text means something else, and what is gone means nothing.
  on.n.ok("memory.update", of_ada({{"id", tea}, {"text", "Anna has a dog"}}));
  CHECK(on.found("Which beverage?").empty());
  REQUIRE(on.soon([&] { return on.found("Which animal?").size() == 2; }));
  on.n.ok("memory.delete", of_ada({{"id", tea}}));
  CHECK(on.found("Which animal?") == strings{"Ben has a puppy"});
}

TEST_CASE("without the model words have to do, and the answer says so", "[embeddings]") {
  meaningful_node<sqlite_backend> on;
  on.model.fail_with(errc::unavailable);
  on.remember("Anna likes green tea");
  const auto answer = on.search("green beverage");
  REQUIRE(answer["hits"].size() == 1);
  CHECK(answer["note"].get<std::string>().find("(unavailable)") != std::string::npos);
  CHECK(on.found("Which beverage?").empty());
  on.model.fail_with(std::nullopt);
  REQUIRE(on.soon([&] { return on.found("Which beverage?").size() == 1; }));
  CHECK_FALSE(on.search("green beverage").contains("note"));
}

TEST_CASE("another model makes all vectors anew", "[embeddings]") {
  meaningful_node<sqlite_backend> on;
  for (int i = 0; i < 150; ++i)
    on.remember("tea number " + std::to_string(i));
  on.remember("an unspeakable thing");
  const json many{{"limit", 100}};
  REQUIRE(on.soon([&] { return on.found("Which beverage?", many).size() == 100; }));
  on.use("other");
  REQUIRE(on.soon([&] { return on.model.asked("tea number 0") == 2; }));
  REQUIRE(on.soon([&] { return on.found("Which beverage?", many).size() == 100; }));
  // What the model does not take is found by its words, and is not asked about again and again.
  CHECK(on.found("unspeakable") == strings{"an unspeakable thing"});
  const auto asked = on.model.asked("an unspeakable thing");
  std::this_thread::sleep_for(2500ms);
  CHECK(on.model.asked("an unspeakable thing") == asked);
  CHECK(on.model.asked("tea number 0") == 2);
}

}  // namespace recalld::test

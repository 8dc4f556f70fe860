#include "storage/faulty_store.hpp"

#include "tests/storage/subject.hpp"

namespace recalld::storage::testing {

namespace {

struct faulty_backend {
  std::shared_ptr<model_disk> disk = make_model_disk();
  fault_plan plan{};
  result<std::unique_ptr<store>> open() { return make_faulty(open_model(disk), plan); }
};

result<std::vector<unit_outcome>> commit_one(store& s, epoch_t epoch, const char* name) {
  const std::vector<append_unit> units{unit(session_named(name), 0, {created()}, "c")};
  return s.writer().commit(0, epoch, units);
}

}  // namespace

TEST_CASE("planned faults come in their turn", "[faults]") {
  faulty_backend backend;
  backend.plan.commits = {{2, fault::refused}, {3, fault::fenced}, {4, fault::unknown_lost}};
  std::vector<std::string> places;
  backend.plan.hook = [&](std::string_view place) { places.emplace_back(place); };
  auto s = must(backend.open());
  const auto epoch = must(s->writer().take_shard(0));
  CHECK(commit_one(*s, epoch, "1"));
  CHECK(code_of(commit_one(*s, epoch, "2")) == errc::unavailable);
  CHECK(code_of(commit_one(*s, epoch, "3")) == errc::fenced);
  CHECK(code_of(commit_one(*s, epoch, "4")) == errc::outcome_unknown);
  // Nobody may use it after that.
  CHECK(code_of(commit_one(*s, epoch, "5")) == errc::outcome_unknown);
  CHECK(code_of(s->writer().sweep(0, epoch, 0, 1)) == errc::outcome_unknown);
  CHECK(places == std::vector<std::string>{"commit", "committed", "commit", "commit", "commit"});
  CHECK(backend.disk->log.head() == 1);
}

TEST_CASE("an unknown outcome may have happened", "[faults]") {
  faulty_backend backend;
  backend.plan.commits = {{1, fault::unknown_committed}};
  auto s = must(backend.open());
  CHECK(code_of(commit_one(*s, must(s->writer().take_shard(0)), "1")) == errc::outcome_unknown);
  CHECK(backend.disk->log.head() == 1);
  backend.plan = {};
  auto restarted = must(backend.open());
  const auto out = must(commit_one(*restarted, must(restarted->writer().take_shard(0)), "1"));
  REQUIRE(out.front().refused);
  CHECK(out.front().refused->why == refusal::reason::duplicate_command);
}

TEST_CASE("the same seed deals the same faults, another one others", "[faults]") {
  auto faults_of = [](std::uint64_t seed) {
    faulty_backend backend;
    backend.plan = {.seed = seed, .refused = 200, .fenced = 100, .reads_refused = 300};
    auto s = must(backend.open());
    auto reader = must(s->open_reader());
    const auto epoch = must(s->writer().take_shard(0));
    std::string out;
    for (int i = 0; i < 100; ++i) {
      out += static_cast<char>('a' + static_cast<int>(code_of(commit_one(*s, epoch, std::to_string(i).c_str()))));
      out += reader->head(0) ? '.' : '!';
    }
    return out;
  };
  CHECK(faults_of(1) == faults_of(1));
  CHECK(faults_of(1) != faults_of(2));
  const auto one = faults_of(1);
  const auto refused = std::count(one.begin(), one.end(), 'a' + static_cast<int>(errc::unavailable));
  CHECK(refused > 5);
  CHECK(refused < 45);
  CHECK(std::count(one.begin(), one.end(), '!') > 10);
}

}  // namespace recalld::storage::testing

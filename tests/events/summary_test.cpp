#include "events/summary.hpp"

#include "tests/events/given.hpp"

/// Summaries and their jobs as decisions.
namespace recalld::summary {

using namespace recalld::testing;

namespace {

constexpr version_t life = 2;
constexpr time_us_t minute = 60 * second;

auto given(const std::vector<fact>& facts) {
  return told_past<aggregate>(facts).in(stream_of("acme", "chat", "ada", "s1"));
}
content about(std::string text, version_t through, std::uint64_t ordinal) {
  return {std::move(text), {"tea"}, through, ordinal, "e" + std::to_string(ordinal), "w1"};
}
stored first(std::string key = {}) { return {life, std::move(key), about("They met.", 12, 10)}; }
store storing(content c, std::string key = {}, version_t fence = 0) {
  return {life, std::move(key), std::move(c), fence};
}
job_due due(std::string key = {}, std::uint64_t until = 10, std::string why = "entries") {
  return {life, std::move(key), std::move(why), until};
}
/// A claim that is the second fact of its story has the fence 2; it is made one second after `start`.
job_claimed taken(std::string key = {}, std::uint64_t attempt = 1) {
  return {std::move(key), "w1", attempt, start + minute};
}
const std::string lease_over = R"({"cause":"lease","message":"the lease was over"})";

}  // namespace

TEST_CASE("filter keys match their ancestors and descendants by parts", "[summary]") {
  for (const auto& [a, b] : std::vector<std::pair<std::string, std::string>>{
         {"", ""}, {"", "root"}, {"root", "root"}, {"root", "root/a"}, {"root", "root/a/b"}}) {
    CHECK(matches(a, b));
    CHECK(matches(b, a));
  }
  for (const auto& [a, b] : std::vector<std::pair<std::string, std::string>>{
         {"root", "rooted"}, {"root/a", "root/b"}, {"root/a", "root/ab"}, {"a", "b/a"}}) {
    CHECK_FALSE(matches(a, b));
    CHECK_FALSE(matches(b, a));
  }
}

TEST_CASE("a session is due for one of the application's reasons", "[summary]") {
  const triggers all{10, 1'000, 60};
  CHECK(why_due(all, 11, 0, 0) == "entries");
  CHECK(why_due(all, 10, 1'001, 0) == "tokens");
  CHECK(why_due(all, 10, 1'000, 60 * second) == "idle");
  CHECK(why_due(all, 10, 1'000, 60 * second - 1).empty());
  CHECK(why_due(all, 0, 5'000, 90 * second).empty());
  CHECK(why_due({}, 1'000'000, 1'000'000, 90 * second).empty());
  CHECK(tokens_in(0) == 0);
  CHECK(tokens_in(1) == 1);
  CHECK(tokens_in(4) == 1);
  CHECK(tokens_in(5) == 2);
}

TEST_CASE("a summary is stored, and never replaced by one that covers less", "[summary]") {
  given({}).when(storing(first().content)).then({first()});
  given({first()}).when(storing(first().content)).nothing();
  const auto newer = about("They met and parted.", 20, 15);
  given({first()}).when(storing(newer)).then({stored{life, "", newer}});
  const auto reworded = about("Two met.", 12, 10);
  given({first()}).when(storing(reworded)).then({stored{life, "", reworded}});
  given({first()}).when(storing(about("Late.", 11, 9))).fails(errc::stale, "through_version");
  // Each filter key has its own.
  const auto branch = about("They searched.", 11, 9);
  given({first()}).when(storing(branch, "root/a")).then({stored{life, "root/a", branch}});
}

TEST_CASE("what cannot be a summary is refused by field", "[summary]") {
  const auto with = [](auto change) {
    auto c = first().content;
    change(c);
    return storing(c);
  };
  given({}).when(with([](content& c) { c.text.clear(); })).fails(errc::invalid, "text");
  given({})
    .when(with([](content& c) { c.text = std::string(text_bytes_max + 1, 'x'); }))
    .fails(errc::invalid, "text");
  given({}).when(with([](content& c) { c.topics = {"a", ""}; })).fails(errc::invalid, "topics[1]");
  given({})
    .when(with([](content& c) { c.topics.assign(101, "t"); }))
    .fails(errc::invalid, "topics");
  given({})
    .when(storing(first().content, std::string(513, 'k')))
    .fails(errc::invalid, "filter_key");
  given({}).when(store{0, "", first().content, 0}).fails(errc::not_found, "session");
  std::vector<fact> many;
  for (std::size_t i = 0; i < filter_keys_max; ++i)
    many.push_back(first("k" + std::to_string(i)));
  given(many).when(storing(about("x", 13, 11), "one more")).fails(errc::rejected, "filter_key");
  given(many)
    .when(storing(about("x", 13, 11), "k7"))
    .then({stored{life, "k7", about("x", 13, 11)}});
}

TEST_CASE("a life of the session that is over takes its summaries with it", "[summary]") {
  const auto gone = given({first(), due("root"), taken("root")}).when(clear{30});
  gone.then({job_done{"root"}, cleared{30}});
  CHECK(gone.after().summaries.empty());
  CHECK(gone.after().jobs.empty());
  const auto base = aggregate::base_of(gone.decision().facts.back(), 5);
  REQUIRE(base);
  CHECK(base->through == 4);
  CHECK_FALSE(base->carries_state);
  given({first(), cleared{30}}).when(clear{30}).nothing();
  given({}).when(clear{30}).nothing();
  // Who comes late, with a text of that life, finds nothing to put it into.
  given({first(), cleared{30}})
    .when(storing(about("Late.", 29, 11)))
    .fails(errc::not_found, "session");
  given({first(), cleared{30}})
    .when(want{life, "", "forced", 11})
    .fails(errc::not_found, "session");
  // The next life begins empty, also when nobody cleared; a late clearing does not reach it.
  const store second_life{31, "", about("Anew.", 33, 1), 0};
  given({first()}).when(second_life).then({cleared{31}, stored{31, "", about("Anew.", 33, 1)}});
  given({first(), due(), taken()})
    .when(second_life)
    .then({job_done{""}, cleared{31}, stored{31, "", about("Anew.", 33, 1)}});
  const stored anew{31, "", about("Anew.", 33, 1)};
  given({anew}).when(clear{30}).nothing();
  given({anew}).when(storing(about("Late.", 29, 11))).fails(errc::not_found, "session");
}

TEST_CASE("a summary is wanted once, until one covers what was wanted", "[summary][jobs]") {
  const want wish{life, "", "entries", 10};
  given({}).when(wish).then({due()});
  given({due()}).when(wish).nothing();
  given({first()}).when(wish).nothing();
  given({first()}).when(want{life, "", "entries", 11}).then({due("", 11)});
  // An open job takes on more.
  given({due()}).when(want{life, "", "idle", 14}).then({job_raised{"", 14}});
  given({due(), taken()}).when(want{life, "", "forced", 14}).then({job_raised{"", 14}});
  given({due(), taken(), job_failed{"", job_status::resting, start + minute, "{}"}})
    .when(want{life, "", "forced", 10})
    .then({job_released{""}});
  given({due(), taken(), job_failed{"", job_status::resting, start + minute, "{}"}})
    .when(wish)
    .nothing();
}

TEST_CASE("a job is claimed by one worker at a time", "[summary][jobs]") {
  const claim wish{"", "w1", 59 * second};
  given({due()}).when(wish).then({taken()});
  given({due(), taken()}).when(wish).fails(errc::already_claimed, "filter_key");
  given({}).when(wish).fails(errc::not_found, "filter_key");
  given({due(), taken()})
    .when(extend{"", 2, minute})
    .then({job_extended{"", start + 2 * second + minute}});
  given({due(), taken()}).when(extend{"", 1, minute}).fails(errc::already_claimed, "fence");
  given({due(), taken()})
    .at(start + minute)
    .when(extend{"", 2, minute})
    .fails(errc::expired, "fence");
}

TEST_CASE("storing under the claim's token ends the job", "[summary][jobs]") {
  given({due(), taken()}).when(storing(first().content, "", 2)).then({first(), job_done{""}});
  // What was there already may be brought again: the job still ends.
  given({due(), taken(), first()}).when(storing(first().content, "", 2)).then({job_done{""}});
  given({due(), taken()})
    .when(storing(first().content, "", 1))
    .fails(errc::already_claimed, "fence");
  given({due(), taken()})
    .at(start + minute)
    .when(storing(first().content, "", 2))
    .fails(errc::expired, "fence");
  given({due(), taken(), job_done{""}})
    .when(storing(first().content, "", 2))
    .fails(errc::not_found, "filter_key");
  given({due(), taken()})
    .when(store{31, "", about("x", 33, 1), 2})
    .fails(errc::not_found, "filter_key");
  // Entries that were wanted are left: the rest is due at once.
  given({due("", 15), taken()})
    .when(storing(first().content, "", 2))
    .then({first(), job_done{""}, due("", 15, "rest")});
}

TEST_CASE("the job of a branch is followed by that of the whole session", "[summary][jobs]") {
  const auto text = first("root/a");
  given({due("root/a"), taken("root/a")})
    .when(storing(text.content, "root/a", 2))
    .then({text, job_done{"root/a"}, due("", 10, "branch")});
  given({due("root/a"), taken("root/a"), due("", 10)})
    .when(storing(text.content, "root/a", 2))
    .then({text, job_done{"root/a"}});
  given({due("root/a"), taken("root/a")})
    .when(settle{"root/a", 2})
    .then({job_done{"root/a"}, due("", 10, "branch")});
  given({due("root/a"), taken("root/a"), first()})
    .when(settle{"root/a", 2})
    .then({job_done{"root/a"}});
  given({due(), taken()}).when(settle{"", 2}).then({job_done{""}});
}

TEST_CASE("a failed attempt is made again after pauses that grow, up to a bound",
          "[summary][jobs]") {
  const give_up wish{"", 2, R"({"m":1})", 0};
  const auto now = start + 2 * second;
  given({due(), taken()})
    .when(wish)
    .then({job_failed{"", job_status::resting, now + pause_us, R"({"m":1})"}});
  given({due(), taken("", 3)})
    .when(wish)
    .then({job_failed{"", job_status::resting, now + 4 * pause_us, R"({"m":1})"}});
  given({due(), taken()})
    .when(give_up{"", 2, "", 90 * second})
    .then({job_failed{"", job_status::resting, now + 90 * second, ""}});
  given({due(), taken("", attempts_max)})
    .when(wish)
    .then({job_failed{"", job_status::failed, 0, R"({"m":1})"}});
  given({due(), taken()}).when(give_up{"", 1, "", 0}).fails(errc::already_claimed, "fence");
  const job_failed rests{"", job_status::resting, start + minute, "{}"};
  given({due(), taken(), rests}).when(fall_due{"job ", start + minute}).nothing();
  given({due(), taken(), rests})
    .at(start + minute)
    .when(fall_due{"job ", start + minute})
    .then({job_released{""}});
}

TEST_CASE("the job of a worker that vanished is due again after its lease", "[summary][jobs]") {
  const fall_due over{"job ", start + minute};
  given({due(), taken()}).when(over).nothing();
  given({due(), taken()})
    .at(start + minute)
    .when(over)
    .then({job_failed{"", job_status::due, 0, lease_over}});
  const auto again = given({due(), taken(), job_failed{"", job_status::due, 0, lease_over}})
                       .at(start + minute)
                       .when(claim{"", "w2", minute});
  again.then({job_claimed{"", "w2", 2, start + 2 * minute}});
  // The one that vanished comes back with the old token.
  given({due(), taken(), job_failed{"", job_status::due, 0, lease_over},
         job_claimed{"", "w2", 2, start + 2 * minute}})
    .when(storing(first().content, "", 2))
    .fails(errc::already_claimed, "fence");
  given({due(), taken("", attempts_max)})
    .at(start + minute)
    .when(over)
    .then({job_failed{"", job_status::failed, 0, lease_over}});
}

TEST_CASE("an application says once when its sessions are due", "[summary]") {
  const triggers t{20, 0, 3'600};
  given({}).when(configure{t}).then({configured{t}});
  given({configured{t}}).when(configure{t}).nothing();
  given({configured{t}}).when(configure{}).then({configured{}});
}

TEST_CASE("a state of summaries lives on in a snapshot", "[summary]") {
  const auto s =
    given({configured{{1, 2, 3}}, first(), first("root/a"), due("root"), taken("root"), due("x"),
           job_claimed{"x", "w", 2, start}, job_failed{"x", job_status::resting, start, "{}"}})
      .state();
  const auto back = codec::decode_state<aggregate>(codec::encode_state(s));
  REQUIRE(back);
  CHECK(*back == s);
  const auto ended = given({first(), cleared{30}}).state();
  CHECK(codec::decode_state<aggregate>(codec::encode_state(ended)).value() == ended);
}

}  // namespace recalld::summary

#include "tests/events/given.hpp"

#include "events/canonical.hpp"

/// Approvals, questions, schedules and effects as decisions.
namespace recalld {

using namespace recalld::testing;

namespace {

constexpr time_us_t minute = 60 * second;

template <class Aggregate>
auto given_facts(const std::vector<typename Aggregate::fact>& facts) {
  return told_past<Aggregate>(facts);
}

// -- approvals --

approval::question mail(std::string by = "ada") {
  approval::question q;
  q.run = "r1";
  q.tool = "mail";
  q.args = R"({"to":"x"})";
  q.args_hash = sha256_hex(q.args);
  q.created_by = std::move(by);
  return q;
}
const approval::requested asked{"first.1", mail(), start + minute};

auto approvals(const std::vector<approval::fact>& facts) {
  return given_facts<approval::aggregate>(facts);
}
approval::resolve decide(std::string decision, std::string by, std::string role = "user") {
  return {"first.1", std::move(decision), std::move(by), std::move(role), {}, {}};
}

}  // namespace

TEST_CASE("a request is pending until somebody decides, once", "[approval]") {
  approvals({}).when(approval::request{mail(), start + minute, {}}).then({asked});
  approvals({asked}).when(approval::request{mail(), start + minute, {}}).nothing();
  approvals({asked})
    .when(decide("approved", "ada"))
    .then({approval::resolved{"first.1", approval::status::approved, "ada", ""}});
  approvals({asked}).when(decide("approved", "eve")).fails(errc::forbidden, "by");
  approvals({asked})
    .when(decide("approved", "eve", "admin"))
    .then({approval::resolved{"first.1", approval::status::approved, "eve", ""}});
  approvals({asked}).when(decide("approved", "ada", "agent")).fails(errc::forbidden, "role");
  approvals({asked}).when(decide("maybe", "ada")).fails(errc::invalid, "decision");
  approvals({asked}).when(decide("expired", "ada")).fails(errc::invalid, "decision");
  approvals({}).when(decide("approved", "ada")).fails(errc::not_found, "approval");
  const approval::resolved no{"first.1", approval::status::rejected, "ada", ""};
  approvals({asked, no}).when(decide("approved", "ada")).fails(errc::already_resolved, "approval");
  approvals({asked, no})
    .when(approval::cancel{"first.1", "ada"})
    .fails(errc::already_resolved, "approval");
  approvals({asked})
    .at(start + minute)
    .when(decide("approved", "ada"))
    .fails(errc::expired, "approval");
  approvals({asked}).when(approval::request{{}, 0, {}}).fails(errc::invalid, "tool");
  approvals({}).when(approval::request{mail(), start, {}}).fails(errc::invalid, "expires_at");
}

TEST_CASE("a call is forgotten at once, whatever became of it", "[approval]") {
  const approval::resolved yes{"first.1", approval::status::approved, "ada", ""};
  approvals({}).when(forget_now{}).nothing();
  approvals({asked}).when(forget_now{}).then({approval::forgotten{}});
  auto outcome = approvals({asked, yes}).when(forget_now{});
  outcome.then({approval::forgotten{}});
  CHECK(outcome.after().rounds.empty());
  approvals({asked, yes, approval::forgotten{}}).when(forget_now{}).nothing();
  approvals({asked, yes, approval::forgotten{}})
    .when(approval::claim{"first.1", mail().args_hash, "w1", ""})
    .fails(errc::not_found, "approval");
}

TEST_CASE("grants of somebody who is gone are revoked, and those for their sessions", "[permission]") {
  const auto of = [](std::string id, std::string principal, std::string app, std::string user) {
    permission::grant g;
    g.id = std::move(id);
    g.principal = std::move(principal);
    g.app = std::move(app);
    g.user = std::move(user);
    g.session = g.app.empty() ? "" : "s";
    g.tool = "mail";
    g.expires_at = start + minute;
    return permission::fact{permission::granted{g}};
  };
  const std::vector<permission::fact> past{of("1", "ada", "", ""), of("2", "eve", "", ""),
                                           of("3", "", "talk", "ada"), of("4", "", "other", "ada"),
                                           of("5", "", "talk", "eve"), of("6", "", "", "")};
  given_facts<permission::aggregate>(past)
    .when(permission::revoke_all_of{"ada", "talk", "purge"})
    .then({permission::revoked{"1", "purge"}, permission::revoked{"3", "purge"}});
  given_facts<permission::aggregate>(past)
    .when(permission::revoke_all_of{"bob", "talk", "purge"})
    .nothing();
}

TEST_CASE("anybody decides where nobody is the creator", "[approval]") {
  const approval::requested open{"first.1", mail(""), 0};
  approvals({open})
    .when(decide("rejected", "eve"))
    .then({approval::resolved{"first.1", approval::status::rejected, "eve", ""}});
}

TEST_CASE("a deadline falls once, and not before it has come", "[approval]") {
  const fall_due due{"", start + minute};
  approvals({asked}).when(due).nothing();
  approvals({asked})
    .at(start + minute)
    .when(due)
    .then({approval::resolved{"first.1", approval::status::expired, "clock", ""}});
  approvals({asked, approval::resolved{"first.1", approval::status::expired, "clock", ""}})
    .at(start + minute)
    .when(due)
    .nothing();
  approvals({}).when(due).nothing();
}

TEST_CASE("what is approved is claimed once, for exactly these arguments", "[approval]") {
  const approval::resolved yes{"first.1", approval::status::approved, "ada", ""};
  const approval::claimed taken{"first.1", "w1", "e1"};
  const approval::claim wish{"first.1", mail().args_hash, "w1", "e1"};
  approvals({asked, yes}).when(wish).then({taken});
  approvals({asked, yes, taken}).when(wish).fails(errc::already_claimed, "approval");
  approvals({asked}).when(wish).fails(errc::rejected, "approval");
  approvals({asked, yes})
    .when(approval::claim{"first.1", "other", "w1", ""})
    .fails(errc::rejected, "args_hash");
  approvals({asked, approval::resolved{"first.1", approval::status::approved, "ada", "smaller"}})
    .when(wish)
    .fails(errc::rejected, "approval");
  approvals({asked, approval::resolved{"first.1", approval::status::rejected, "ada", ""}})
    .when(wish)
    .fails(errc::rejected, "approval");
  approvals({asked}).at(start + minute).when(wish).fails(errc::expired, "approval");
  // A new round does not take away the claim of the one before.
  const approval::requested again{"first.3", mail(), 0};
  approvals({asked, yes, again}).when(wish).then({taken});
  approvals({asked, yes}).when(approval::request{mail(), 0, {}}).then({again});
}

TEST_CASE("rules and grants answer a request at once", "[approval][permission]") {
  const permission::state s{
    {"rm*"},
    {"Read"},
    {{"g", {"g", "ada", "", "", "", "mail", "\"to\":\"x\"", start + minute, "eve", ""}}}};
  const auto judged = [&](std::string_view tool, std::string_view who = "ada",
                          std::string_view args = R"({"to":"x"})", time_us_t now = start) {
    const auto v = permission::judge(s, {who, "", "", "", tool, args}, now);
    return v ? std::string(v->approved ? "yes " : "no ") + v->by : std::string("ask");
  };
  CHECK(judged("RM_all") == "no rule:deny rm*");
  CHECK(judged("read") == "yes rule:allow Read");
  CHECK(judged("reader") == "ask");
  CHECK(judged("mail") == "yes grant:g");
  CHECK(judged("mail", "eve") == "ask");
  CHECK(judged("mail", "ada", R"({"to":"y"})") == "ask");
  CHECK(judged("mail", "ada", R"({"to":"x"})", start + minute) == "ask");
  approvals({})
    .when(approval::request{mail(), 0, permission::verdict{true, "rule:allow *"}})
    .then({approval::requested{"first.1", mail(), 0},
           approval::resolved{"first.1", approval::status::approved, "rule:allow *", ""}});
  auto wish = decide("approved", "ada");
  wish.grant = permission::grant{};
  wish.grant->tool = "mail";
  wish.grant->expires_at = start + minute;
  auto given = approvals({asked}).when(wish).decision();
  REQUIRE(given.foreign.size() == 1);
  CHECK(given.foreign[0].stream == permission::stream_of("acme"));
  wish.decision = "rejected";
  approvals({asked}).when(wish).fails(errc::invalid, "grant");
  wish = decide("approved", "ada");
  wish.grant = permission::grant{};
  wish.grant->tool = "a*b";
  wish.grant->expires_at = start + minute;
  approvals({asked}).when(wish).fails(errc::invalid, "grant.tool");
}

TEST_CASE("arguments that mean the same have one hash", "[canonical]") {
  CHECK(canonical_json(R"({ "b" : [1.0, 2e0, -0], "a":"\u0041" })") == R"({"a":"A","b":[1,2,0]})");
  CHECK(canonical_json("12345678901234567890") == "12345678901234567890");
  CHECK(canonical_json("0.10") == canonical_json("0.1"));
  CHECK(canonical_json("1") != canonical_json("\"1\""));
  CHECK(canonical_json("null") == "null");
  CHECK(hash_of_parts({"a", "bc"}) != hash_of_parts({"ab", "c"}));
  CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

// -- questions --

TEST_CASE("a question is answered once", "[clarification]") {
  clarification::question q;
  q.run = "r1";
  q.text = "Which?";
  const clarification::asked open{"first.1", q, start + minute};
  const auto past = [](const std::vector<clarification::fact>& facts) {
    return given_facts<clarification::aggregate>(facts);
  };
  past({}).when(clarification::ask{q, start + minute}).then({open});
  past({open}).when(clarification::ask{q, 0}).nothing();
  past({}).when(clarification::ask{{}, 0}).fails(errc::invalid, "question");
  const clarification::ended done{"first.1", clarification::status::answered, "this", "ada"};
  past({open}).when(clarification::answer{"first.1", "this", "ada", "user"}).then({done});
  past({open}).when(clarification::answer{"first.1", " ", "ada", "user"}).fails(errc::invalid, "answer");
  past({open})
    .when(clarification::answer{"first.9", "x", "ada", "user"})
    .fails(errc::not_found, "clarification");
  past({open, done})
    .when(clarification::answer{"first.1", "that", "eve", "user"})
    .fails(errc::already_answered, "clarification");
  past({open})
    .at(start + minute)
    .when(clarification::answer{"first.1", "x", "ada", "user"})
    .fails(errc::expired, "clarification");
  past({open, done}).when(forget_now{}).then({clarification::forgotten{}});
  past({open}).when(forget_now{}).then({clarification::forgotten{}});
  past({}).when(forget_now{}).nothing();
  // Expired ones free the question.
  const clarification::ended over{"first.1", clarification::status::expired, "", "clock"};
  past({open}).at(start + minute).when(fall_due{}).then({over});
  past({open})
    .at(start + minute)
    .when(clarification::ask{q, 0})
    .then({over, clarification::asked{"first.3", q, 0}});
}

// -- effects --

TEST_CASE("an effect happens at most once, or is in doubt", "[effect]") {
  const auto past = [](const std::vector<effect::fact>& facts) {
    return given_facts<effect::aggregate>(facts);
  };
  const effect::begin wish{"h", "mail", "a1", "w1", minute};
  const effect::begun begun{"h", "mail", "a1", "w1", start + minute};
  past({}).when(wish).then({begun});
  past({begun}).when(wish).fails(errc::already_claimed, "key");
  past({begun}).at(start + minute).when(wish).fails(errc::in_doubt, "key");
  past({begun}).at(start + minute).when(fall_due{}).then({effect::doubted{}});
  past({begun}).when(fall_due{}).nothing();
  const effect::ended done{effect::status::completed, "7", ""};
  past({begun}).when(effect::complete{1, "7"}).then({done});
  past({begun}).when(effect::complete{2, "7"}).fails(errc::already_claimed, "fence");
  past({}).when(effect::complete{1, "7"}).fails(errc::not_found, "key");
  past({begun, done}).when(wish).nothing();
  past({begun, done}).when(effect::complete{1, "7"}).nothing();
  past({begun, done}).when(effect::complete{1, "8"}).fails(errc::closed, "key");
  past({begun, done})
    .when(effect::begin{"other", "", "", "w", minute})
    .fails(errc::rejected, "args_hash");
  const effect::ended failed{effect::status::failed, "", ""};
  past({begun, failed})
    .when(wish)
    .then({effect::begun{"h", "mail", "a1", "w1", start + 2 * second + minute}});
  // Late, but nobody has decided otherwise: who did it knows best.
  past({begun, effect::doubted{}}).when(effect::complete{1, "7"}).then({done});
  past({begun, effect::doubted{}})
    .when(effect::reconcile{effect::status::completed, "7", "eve"})
    .then({effect::ended{effect::status::completed, "7", "eve"}});
  past({begun})
    .when(effect::reconcile{effect::status::failed, "", "eve"})
    .fails(errc::rejected, "key");
  past({begun})
    .when(effect::extend{1, 2 * minute})
    .then({effect::extended{start + second + 2 * minute}});
}

// -- schedules --

namespace {

using schedule::run_status;

schedule::defined every(std::string expression, schedule::definition d = {}) {
  d.expression = std::move(expression);
  d.kind = "k";
  return {d, true, start + minute};
}
auto schedules(const std::vector<schedule::fact>& facts) {
  return given_facts<schedule::aggregate>(facts);
}
std::string id(time_us_t due) { return std::to_string(due); }
schedule::run_due due(time_us_t at, std::uint64_t missed = 0, bool queued = false) {
  return {id(at), at, queued, missed, "", "k", ""};
}

}  // namespace

TEST_CASE("a due time leads to one run", "[schedule]") {
  const auto d = every("@every 1m");
  const auto first = start + minute;
  schedules({}).when(schedule::define{d.definition, true}).then({d});
  schedules({d}).when(fall_due{}).nothing();
  schedules({d}).at(first).when(fall_due{}).then({due(first), schedule::advanced{first + minute}});
  schedules({d, due(first), schedule::advanced{first + minute}})
    .at(first)
    .when(fall_due{})
    .nothing();
  schedules({d, schedule::paused{}}).at(first).when(fall_due{}).nothing();
  schedules({d}).when(schedule::define{d.definition, false}).nothing();
  schedules({}).when(schedule::pause{}).fails(errc::not_found, "schedule");
  schedules({d})
    .when(schedule::trigger{"ada"})
    .then({schedule::run_due{"t2", start + second, false, 0, "ada", "k", ""}});
  auto bad = d.definition;
  bad.expression = "0 0 30 2 *";
  schedules({}).when(schedule::define{bad, true}).fails(errc::invalid, "expression");
  bad = d.definition;
  bad.zone = "Mars/Olympus";
  schedules({}).when(schedule::define{bad, true}).fails(errc::invalid, "zone");
}

TEST_CASE("missed due times are skipped, made up for once, or caught up with", "[schedule]") {
  const auto first = start + minute;
  const auto now = first + 4 * minute + 30 * second;  // Five due times, the last 30 s ago.
  const auto last = first + 4 * minute;
  const schedule::advanced on{last + minute};
  schedule::definition d;
  schedules({every("@every 1m")}).at(now).when(fall_due{}).then({due(last, 4), on});
  d.misfire = schedule::misfire::skip;
  schedules({every("@every 1m", d)})
    .at(now)
    .when(fall_due{})
    .then({schedule::runs_skipped{last, 5, "misfire"}, on});
  d.misfire = schedule::misfire::catch_up;
  d.catch_up = 2;
  schedules({every("@every 1m", d)})
    .at(now)
    .when(fall_due{})
    .then({schedule::runs_skipped{first + 2 * minute, 3, "misfire"}, due(last - minute), due(last),
           on});
}

TEST_CASE("runs that overlap are allowed, skipped or queued", "[schedule]") {
  const auto first = start + minute;
  const schedule::advanced on{first + minute};
  schedule::definition d;
  d.overlap = schedule::overlap::skip;
  const auto open = schedule::run_due{"t2", start, false, 0, "ada", "k", ""};
  schedules({every("@every 1m", d), open})
    .at(first)
    .when(fall_due{})
    .then({schedule::runs_skipped{first, 1, "overlap"}, on});
  d.overlap = schedule::overlap::queue_one;
  const auto queued = every("@every 1m", d);
  schedules({queued, open}).at(first).when(fall_due{}).then({due(first, 0, true), on});
  schedules({queued, open, due(first, 0, true), on})
    .at(first + minute)
    .when(fall_due{})
    .then({schedule::runs_skipped{first + minute, 1, "overlap"},
           schedule::advanced{first + 2 * minute}});
  const schedule::run_claimed taken{"t2", start, "w", start + 10 * minute, 0};
  schedules({queued, open, due(first, 0, true), on, taken})
    .when(schedule::end_run{"t2", 5, true, "1"})
    .then({schedule::run_ended{"t2", start, run_status::succeeded, false, "1"},
           schedule::run_released{id(first), first}});
}

TEST_CASE("a run is held under a lease, and given to another when that is over", "[schedule]") {
  schedule::definition d;
  d.attempts = 2;
  d.deadline_s = 90;
  const auto first = start + minute;
  const std::vector<schedule::fact> past{every("@every 1m", d), due(first),
                                         schedule::advanced{first + 60 * minute}};
  const auto with = [&](std::vector<schedule::fact> more) {
    auto all = past;
    all.insert(all.end(), more.begin(), more.end());
    return schedules(all);
  };
  const auto claimed_at = start + 3 * second;
  const schedule::run_claimed taken{id(first), first, "w1", claimed_at + minute,
                                    claimed_at + 90 * second};
  const schedule::claim_run wish{id(first), "w1", minute};
  with({}).when(wish).then({taken});
  with({taken}).when(wish).fails(errc::already_claimed, "run");
  with({}).when(schedule::claim_run{"nope", "w", minute}).fails(errc::not_found, "run");
  with({taken})
    .when(schedule::end_run{id(first), 3, true, ""})
    .fails(errc::already_claimed, "fence");
  with({taken})
    .when(schedule::end_run{id(first), 4, true, ""})
    .then({schedule::run_ended{id(first), first, run_status::succeeded, false, ""}});
  with({taken})
    .when(schedule::end_run{id(first), 4, false, "1"})
    .then({schedule::run_ended{id(first), first, run_status::failed, true, "1"}});
  with({taken})
    .at(claimed_at + minute)
    .when(schedule::end_run{id(first), 4, true, ""})
    .fails(errc::expired, "fence");
  const schedule::run_ended lost{id(first), first, run_status::abandoned, true, ""};
  with({taken}).at(claimed_at + minute).when(fall_due{}).then({lost});
  // Heartbeats do not help behind the deadline.
  const schedule::run_extended more{id(first), claimed_at + 10 * minute, taken.deadline};
  with({taken, more}).at(claimed_at + 89 * second).when(fall_due{}).nothing();
  with({taken, more}).at(claimed_at + 90 * second).when(fall_due{}).then({lost});
  // The second attempt is the last.
  auto again = taken;
  again.lease_until = claimed_at + minute;
  with({taken, lost, again})
    .at(claimed_at + minute)
    .when(fall_due{})
    .then({schedule::run_ended{id(first), first, run_status::abandoned, false, ""}});
}

TEST_CASE("old runs are forgotten, and what is deleted leaves no run behind", "[schedule]") {
  const auto d = every("@every 1m");
  const auto later = start + 40 * schedule::day_us;
  auto told = schedules({d, due(start + minute), schedule::advanced{later}}).at(later);
  const auto facts = told.when(fall_due{}).decision().facts;
  REQUIRE_FALSE(facts.empty());
  CHECK(facts.back()
        == schedule::fact{schedule::runs_forgotten{(start + minute) / schedule::day_us,
                                                   later / schedule::day_us - 31}});
  schedules({d, due(start + minute)})
    .when(schedule::remove{})
    .then(
      {schedule::run_ended{id(start + minute), start + minute, run_status::abandoned, false, ""},
       schedule::deleted{(start / schedule::day_us + 31) * schedule::day_us}});
}

TEST_CASE("runs of a schedule that has no due times any more are forgotten, too", "[schedule]") {
  const auto d = every("@every 1m");
  const auto ran = due(start + minute);
  const schedule::run_ended over{id(start + minute), start + minute, run_status::succeeded, false, ""};
  const auto day = start / schedule::day_us;
  const auto then = (day + 31) * schedule::day_us;
  const fall_due forget{std::string(forget_item), then};
  const schedule::runs_forgotten gone{day, day, true};
  const schedule::run_claimed taken{id(start + minute), start + minute, "w", start + 9 * minute, 0};
  for (const schedule::fact& end : {schedule::fact{schedule::paused{then}},
                                    schedule::fact{schedule::deleted{then}}}) {
    schedules({d, ran, taken, over, end}).at(then).when(forget).then({gone});
    schedules({d, ran, taken, over, end, gone}).at(then).when(forget).nothing();
  }
  schedules({d, ran, taken, over, schedule::paused{then}, schedule::resumed{then + minute}})
    .at(then)
    .when(forget)
    .nothing();
  schedules({d, ran, taken, over}).at(start + 10 * minute).when(schedule::pause{}).then({schedule::paused{then}});
  schedules({d}).when(schedule::pause{}).then({schedule::paused{}});
  // A run by hand forgets those that are too old, and keeps the deadline of the others.
  const auto facts =
    schedules({d, ran, taken, over, schedule::paused{then}}).at(then + minute).when(schedule::trigger{"ada"}).decision().facts;
  REQUIRE(facts.size() == 2);
  CHECK(facts[0] == schedule::fact{schedule::runs_forgotten{day, day, false}});
}

TEST_CASE("states of everything that waits come back from their text", "[codec]") {
  const auto same = [](const auto& past) {
    const auto text = codec::encode_state(past.state());
    using aggregate = aggregate_of_t<std::decay_t<decltype(past.state())>>;
    const auto back = codec::decode_state<aggregate>(text);
    REQUIRE(back.has_value());
    CHECK(*back == past.state());
  };
  same(
    approvals({asked, approval::resolved{"first.1", approval::status::approved, "ada", "x"},
               approval::claimed{"first.1", "w", "e"}, approval::requested{"first.4", mail(), 0}}));
  same(schedules(
    {every("@every 1m"), due(start), schedule::run_claimed{id(start), start, "w", 5, 9}}));
  same(given_facts<effect::aggregate>({effect::begun{"h", "t", "a", "w", 7},
                                       effect::ended{effect::status::completed, "[1]", "eve"}}));
  same(given_facts<permission::aggregate>(
    {permission::rules_set{{"a"}, {"b*"}},
     permission::granted{{"g", "p", "a", "u", "s", "t", "c", start + minute, "by", "ap"}}}));
}

}  // namespace recalld

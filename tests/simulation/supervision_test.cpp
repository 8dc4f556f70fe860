#include "events/codec.hpp"
#include "events/cron.hpp"
#include "tests/actors/stage.hpp"
#include "tests/catch.hpp"

#include <cstdlib>
#include <iostream>
#include <map>
#include <set>

/// Everything that waits, out of one seed: people who decide at the same time, workers that vanish,
/// a clock that jumps, a supervisor that is killed, a second one beside it, a node that crashes.
/// Afterwards the log must tell a story without a contradiction or a gap.
///
///   RECALLD_SIM_RUNS, RECALLD_SIM_SEED, RECALLD_SIM_STEPS: as in simulation_test.cpp
namespace recalld::tests {

namespace {

using namespace std::chrono_literals;
using std::chrono::microseconds;

constexpr time_us_t second = 1'000'000;

std::optional<std::uint64_t> number_in(const char* variable) {
  const char* text = std::getenv(variable);
  return text == nullptr ? std::nullopt
                         : std::optional<std::uint64_t>(std::strtoull(text, nullptr, 10));
}

struct broken : std::runtime_error {
  using std::runtime_error::runtime_error;
};
void law(bool holds, const std::string& what) {
  if (!holds)
    throw broken(what);
}

/// Every due time is accounted for, once, whatever happened to the clock.
class schedule_story {
public:
  explicit schedule_story(std::string name) : name_(std::move(name)) {}

  void tell(const recorded& r, const schedule::fact& f) {
    // The id stands at the first fact of a command.
    if (!r.at.command.empty())
      left_ = r.at.command_facts;
    if (!r.at.command.empty() || left_ == 0)
      told_ = runs_told_ = 0;  // What an overlap let fall through by hand is no due time.
    left_ -= left_ > 0;
    std::visit([&](const auto& one) { on(r, one); }, f);
  }

  std::uint64_t runs = 0;
  std::uint64_t made_up_for = 0;  ///< Due times that led to no run of their own.

private:
  void on(const recorded& r, const schedule::defined& f) {
    if (!defined_)
      anchor_ = r.at.time;
    defined_ = true;
    is_ = f.definition;
    next_ = f.next_at;
  }
  void on(const recorded&, const schedule::paused&) { next_ = 0; }
  void on(const recorded&, const schedule::resumed& f) { next_ = f.next_at; }
  void on(const recorded&, const schedule::deleted&) {
    defined_ = false;
    next_ = 0;
  }
  void on(const recorded& r, const schedule::run_due& f) {
    law(!open_.contains(f.id), name_ + ": a run is due that is open already");
    open_[f.id] = {};
    if (!f.by.empty())
      return;
    law(due_.insert(f.due_at).second, name_ + ": two runs for one due time");
    law(f.due_at <= r.at.time, name_ + ": a run before its time");
    ++runs;
    ++runs_told_;
    told_ += 1 + f.missed;
  }
  void on(const recorded&, const schedule::runs_skipped& f) { told_ += f.count; }
  void on(const recorded&, const schedule::advanced& f) {
    const auto e = cron::parse(is_.expression, "expression");
    std::uint64_t there_were = 0;
    auto at = next_;
    for (; at != 0 && (f.next_at == 0 || at < f.next_at); ++there_were)
      at = cron::next(*e, is_.zone, &actors::system_zones(), at, anchor_).value_or(0);
    law(at == f.next_at, name_ + ": the next due time is none");
    law(told_ == there_were, name_ + ": of " + std::to_string(there_were) + " due times "
                               + std::to_string(told_) + " are accounted for");
    made_up_for += told_ - runs_told_;
    next_ = f.next_at;
  }
  void on(const recorded&, const schedule::run_claimed& f) {
    auto& run = open(f.id);
    law(!run.held, name_ + ": a run was claimed twice");
    run.held = true;
    ++run.attempts;
    law(run.attempts <= is_.attempts, name_ + ": too many attempts");
  }
  void on(const recorded&, const schedule::run_extended& f) {
    law(open(f.id).held, name_ + ": a run that nobody holds was extended");
  }
  void on(const recorded&, const schedule::run_ended& f) {
    open(f.id).held = false;
    if (!f.again)
      open_.erase(f.id);
  }
  void on(const recorded&, const schedule::run_released& f) { open(f.id); }
  void on(const recorded&, const schedule::runs_forgotten&) {}

  struct open_run {
    bool held = false;
    std::uint64_t attempts = 0;
  };
  open_run& open(const std::string& id) {
    const auto found = open_.find(id);
    law(found != open_.end(), name_ + ": a run that is not open");
    return found->second;
  }

  std::string name_;
  std::uint64_t left_ = 0;  ///< Facts of the present command.
  bool defined_ = false;
  schedule::definition is_;
  time_us_t anchor_ = 0;
  time_us_t next_ = 0;
  std::uint64_t told_ = 0;
  std::uint64_t runs_told_ = 0;
  std::set<time_us_t> due_;
  std::map<std::string, open_run> open_;
};

/// A request or a question ends once, a claim is granted once and for what was approved.
class approval_story {
public:
  void tell(const recorded& r, const approval::fact& f) {
    std::visit([&](const auto& one) { on(r, one); }, f);
  }
  struct round {
    time_us_t expires_at = 0;
    std::optional<approval::resolved> end;
    std::size_t claims = 0;
  };
  std::map<std::string, round> rounds;

private:
  void on(const recorded&, const approval::requested& f) {
    law(rounds.emplace(f.id, round{f.expires_at, {}, 0}).second, "an id was given twice");
  }
  void on(const recorded& r, const approval::resolved& f) {
    auto& one = rounds.at(f.id);
    law(!one.end, f.id + " ended twice");
    law(f.status != approval::status::expired || one.expires_at <= r.at.time,
        f.id + " expired before its deadline");
    one.end = f;
  }
  void on(const recorded& r, const approval::forgotten&) {
    const auto of_stream = std::string(r.at.stream.parts().back()) + ".";
    for (const auto& [id, one] : rounds)
      law(one.end || !id.starts_with(of_stream), id + " was forgotten while it was pending");
  }
  void on(const recorded&, const approval::claimed& f) {
    auto& one = rounds.at(f.id);
    law(one.end && one.end->status == approval::status::approved, f.id + " was claimed unapproved");
    law(++one.claims == 1, f.id + " was claimed twice");
  }
};

/// Between two beginnings somebody said that the first one came to nothing.
class effect_story {
public:
  void tell(const recorded&, const effect::fact& f) {
    if (std::holds_alternative<effect::begun>(f)) {
      law(may_begin_, "an effect was begun twice");
      may_begin_ = false;
      ++begun;
    } else if (const auto* end = std::get_if<effect::ended>(&f)) {
      may_begin_ = end->status == effect::status::failed;
    }
  }
  std::size_t begun = 0;

private:
  bool may_begin_ = true;
};

class waiting_world {
public:
  struct figures {
    std::uint64_t operations = 0, kills = 0, crashes = 0, jumps = 0, runs = 0, made_up_for = 0,
                  ended = 0, effects = 0;
  };

  explicit waiting_world(std::uint64_t seed) : random_(seed) { open(); }
  ~waiting_world() { close(); }

  void run(std::uint64_t steps) {
    for (std::uint64_t i = 0; i < steps; ++i)
      turn();
    // Nothing goes wrong any more: what is due falls, what has a deadline ends.
    if (second_)
      end_second();
    node_->run();
    for (int i = 0; i < 400; ++i)
      node_->pass(2s);
    check();
  }
  const figures& count() const { return count_; }

private:
  std::uint64_t chance(std::uint64_t n) { return random_() % n; }
  bool one_in(std::uint64_t n) { return chance(n) == 0; }

  void open() {
    stage_options o;
    o.supervisor = true;
    node_ = std::make_unique<stage>(storage::open_model(disk_), o, now_);
  }
  void close() {
    if (!node_)
      return;
    if (second_)
      end_second();
    now_ = node_->now();
    node_.reset();
  }
  void end_second() {
    caf::anon_send_exit(second_, caf::exit_reason::kill);
    second_ = nullptr;
    node_->run();
  }

  void turn() {
    if (one_in(60)) {
      close();
      open();
      ++count_.crashes;
    } else if (one_in(15)) {
      caf::anon_send_exit(node_->supervisor, caf::exit_reason::kill);
      node_->supervisor = node_->system().spawn(actors::supervisor, node_->around);
      ++count_.kills;
    } else if (one_in(40)) {
      if (second_)
        end_second();
      else
        second_ = node_->system().spawn(actors::supervisor, node_->around);
    } else if (one_in(25)) {
      const auto far = static_cast<std::int64_t>(chance(3'600));
      node_->jump_clock(std::chrono::seconds(one_in(3) ? -far : far));
      ++count_.jumps;
    } else if (one_in(2)) {
      node_->move_clock(microseconds(chance(one_in(4) ? 30'000'000 : 400'000)));
    } else {
      ask();
    }
    for (auto steps = chance(40); steps > 0 && node_->step(chance(64)); --steps) {
    }
  }

  json someone() { return one_in(2) ? "ada" : "eve"; }
  std::string any_approval() {
    return approvals_.empty() ? "none.1" : approvals_[chance(approvals_.size())];
  }

  void ask() {
    ++count_.operations;
    switch (chance(12)) {
      case 0:
      case 1: {
        json wish{{"tool", "t"}, {"run", "r" + std::to_string(chance(12))}};
        if (!one_in(4))
          wish["expires_s"] = 1 + chance(60);
        keep("approval.request", wish);
        break;
      }
      case 2:
      case 3:
        keep("approval.resolve", {{"approval", any_approval()},
                                  {"decision", one_in(2) ? "approved" : "rejected"},
                                  {"by", someone()}});
        break;
      case 4: keep("approval.claim", {{"approval", any_approval()}, {"args", nullptr}}); break;
      case 5:
        keep("approval.wait", {{"approval", any_approval()}, {"wait_ms", chance(20'000)}});
        break;
      case 6: define(); break;
      case 7: {
        constexpr const char* what[] = {"schedule.pause", "schedule.resume", "schedule.trigger"};
        keep(what[chance(3)], {{"schedule", any_schedule()}});
        break;
      }
      case 8:
        keep("run.claim",
             {{"worker", "w"}, {"lease_s", 1 + chance(30)}, {"wait_ms", chance(5'000)}});
        break;
      case 9:
        if (!held_.empty())
          keep(one_in(3) ? "run.fail" : "run.complete", held_[chance(held_.size())]);
        break;
      case 10:
        keep("effect.begin", {{"key", any_effect()}, {"holder", "w"}, {"lease_s", 1 + chance(20)}});
        break;
      default:
        if (one_in(2) && !begun_.empty())
          keep(one_in(3) ? "effect.fail" : "effect.complete", begun_[chance(begun_.size())]);
        else
          keep("effect.reconcile", {{"key", any_effect()},
                                    {"outcome", one_in(4) ? "completed" : "failed"},
                                    {"by", "ada"}});
    }
    collect();
  }
  std::string any_schedule() { return "s" + std::to_string(chance(4)); }
  std::string any_effect() { return "e" + std::to_string(chance(6)); }

  void define() {
    constexpr const char* expressions[] = {"@every 7s", "@every 60s", "* * * * *", "*/10 * * * * *",
                                           "0 30 * * * *"};
    constexpr const char* misfires[] = {"skip", "once", "catch_up"};
    constexpr const char* overlaps[] = {"allow", "skip", "queue_one"};
    json wish{{"schedule", any_schedule()},
              {"expression", expressions[chance(5)]},
              {"zone", one_in(2) ? "UTC" : "Europe/Berlin"},
              {"kind", "k"},
              {"misfire", misfires[chance(3)]},
              {"overlap", overlaps[chance(3)]},
              {"attempts", 3}};
    if (wish["misfire"] == "catch_up")
      wish["catch_up"] = 1 + chance(5);
    keep("schedule.define", wish);
  }

  struct asked {
    std::string operation;
    json request;
    letter_ptr<answer> letter;
  };
  void keep(std::string operation, const json& request) {
    auto letter = node_->start(operation, request);
    open_.push_back({std::move(operation), request, std::move(letter)});
  }

  /// Takes the answers that have come; what they promise is compared with the log in the end.
  void collect() {
    std::vector<asked> still;
    for (auto& w : open_) {
      if (w.letter->open() && still.size() < 200)
        still.push_back(std::move(w));
      else if (w.letter->answer && w.letter->answer->ok())
        learn(w, w.letter->answer->body);
    }
    open_ = std::move(still);
  }
  void learn(const asked& w, const json& body) {
    if (w.operation == "approval.request") {
      approvals_.push_back(body["approval"]["id"]);
    } else if (w.operation == "approval.resolve") {
      const auto& a = body["approval"];
      law(winners_.emplace(a["id"], w.request["by"].get<std::string>()).second,
          "two people were told that their decision holds");
    } else if (w.operation == "approval.claim") {
      law(claimed_.insert(body["approval"]["id"]).second, "two claims were granted");
    } else if (w.operation == "run.claim" && body.contains("run")) {
      held_.push_back({{"schedule", body["run"]["schedule"]},
                       {"run", body["run"]["run"]},
                       {"fence", body["run"]["fence"]}});
    } else if (w.operation == "effect.begin" && body["begun"] == true) {
      begun_.push_back({{"key", body["effect"]["key"]}, {"fence", body["effect"]["fence"]}});
    }
  }

  void check() {
    collect();
    law(node_->fatal.empty(), "the node wanted to end");
    std::map<std::string, schedule_story> schedules;
    approval_story approvals;
    std::map<std::string, effect_story> effects;
    for (const auto& r : node_->log()) {
      const auto f = codec::decode(r).value();
      const auto name = std::string(r.at.stream.parts().back());
      if (const auto* s = std::get_if<schedule::fact>(&f))
        schedules.try_emplace(name, name).first->second.tell(r, *s);
      else if (const auto* a = std::get_if<approval::fact>(&f))
        approvals.tell(r, *a);
      else if (const auto* e = std::get_if<effect::fact>(&f))
        effects[name].tell(r, *e);
    }
    for (auto& [name, story] : schedules) {
      count_.runs += story.runs;
      count_.made_up_for += story.made_up_for;
    }
    for (const auto& [name, story] : effects)
      count_.effects += story.begun;
    for (const auto& [id, round] : approvals.rounds) {
      law(round.end || round.expires_at == 0 || round.expires_at > node_->now(),
          id + " is pending behind its deadline");
      count_.ended += round.end.has_value();
      if (const auto won = winners_.find(id); won != winners_.end())
        law(round.end && round.end->by == won->second, id + " has another winner than was told");
      law(!claimed_.contains(id) || round.claims == 1, id + " was claimed, but not in the log");
    }
    for (const auto* status : {"due", "claimed"})
      law(node_->call("schedule.runs", json{{"status", status}}).ok(), "runs cannot be listed");
    for (const auto& s : node_->call("schedule.list", json::object()).body["schedules"])
      law(!s.contains("next_at")
            || parse_time(s["next_at"].get<std::string>(), "").value() > node_->now(),
          "a due time was missed: " + s.dump());
    for (const auto& e : node_->call("effect.list", json{{"status", "begun"}}).body["effects"])
      law(parse_time(e["lease_until"].get<std::string>(), "").value() > node_->now(),
          "a lease is over and nobody was told: " + e.dump());
  }

  std::mt19937_64 random_;
  std::shared_ptr<storage::model_disk> disk_ = storage::make_model_disk();
  time_us_t now_ = stage::first_moment;
  std::unique_ptr<stage> node_;
  caf::actor second_;
  std::vector<asked> open_;
  std::vector<std::string> approvals_;
  std::map<std::string, std::string> winners_;
  std::set<std::string> claimed_;
  std::vector<json> held_;
  std::vector<json> begun_;
  figures count_;
};

}  // namespace

TEST_CASE("what waits is neither lost nor done twice in any world", "[simulation][supervisor]") {
  const auto runs = number_in("RECALLD_SIM_RUNS").value_or(24);
  const auto steps = number_in("RECALLD_SIM_STEPS").value_or(1'200);
  const auto asked_for = number_in("RECALLD_SIM_SEED");
  auto seed = asked_for.value_or(1);
  waiting_world::figures sum;
  for (std::uint64_t i = 0; i < runs; ++i, ++seed) {
    if (!asked_for && i == runs / 2)
      seed = std::random_device{}() | (1ull << 32);
    INFO("to see it again: RECALLD_SIM_RUNS=1 RECALLD_SIM_SEED=" << seed);
    waiting_world w(seed);
    try {
      w.run(steps);
    } catch (const std::exception& e) {
      FAIL(e.what());
    }
    const auto& c = w.count();
    sum.operations += c.operations;
    sum.kills += c.kills;
    sum.crashes += c.crashes;
    sum.jumps += c.jumps;
    sum.runs += c.runs;
    sum.made_up_for += c.made_up_for;
    sum.ended += c.ended;
    sum.effects += c.effects;
  }
  std::cout << "waiting: " << runs << " worlds up to seed " << seed - 1 << ", " << sum.operations
            << " operations, " << sum.kills << " supervisors killed, " << sum.crashes
            << " crashes, " << sum.jumps << " jumps of the clock, " << sum.runs
            << " runs came due, " << sum.made_up_for << " due times passed over with a reason, "
            << sum.ended << " requests ended, " << sum.effects << " effects begun\n";
}

}  // namespace recalld::tests

#pragma once

#include "actors/directory.hpp"
#include "actors/feed.hpp"
#include "actors/gateway_actor.hpp"
#include "actors/journal.hpp"
#include "actors/reader.hpp"
#include "actors/supervisor.hpp"
#include "actors/system_zones.hpp"
#include "actors/surroundings.hpp"
#include "actors/timers.hpp"
#include "api/catalogue.hpp"
#include "storage/model_store.hpp"

#include <caf/all.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

/// A whole node on a stage: the actors that `node::start` spawns, with every one of them in the
/// open, on CAF's testing scheduler and an injected clock. Nothing runs unless a test says so, and
/// the same steps give the same result.
namespace recalld::tests {

using nlohmann::json;

/// What a client saw of one operation.
struct answer {
  std::uint16_t status = 0;  ///< 0, or the number of an `errc`.
  json body;

  bool ok() const { return status == 0; }
  errc code() const { return static_cast<errc>(status); }
  const json& error() const { return body.at("error"); }
  std::string field() const { return error().value("field", ""); }
  std::string message() const { return error().value("message", ""); }
};

/// An answer that may still be on its way.
template <class T>
struct letter {
  std::optional<T> answer;
  std::optional<caf::error> broken;
  bool open() const { return !answer && !broken; }
};
template <class T>
using letter_ptr = std::shared_ptr<letter<T>>;

/// A store that asks before it commits, tells after it did, and passes everything else on.
class watched_store final : public storage::store {
public:
  /// Returns an error instead of committing.
  using before_commit =
    std::function<std::optional<recalld::error>(std::span<const storage::append_unit>)>;
  /// The commit happened; returns an error to hide that.
  using after_commit =
    std::function<std::optional<recalld::error>(const std::vector<storage::unit_outcome>&)>;

  explicit watched_store(std::unique_ptr<storage::store> inner)
    : inner_(std::move(inner)), writer_(*this) {}

  storage::log_writer& writer() override { return writer_; }
  result<std::unique_ptr<storage::log_reader>> open_reader() override {
    return inner_->open_reader();
  }

  before_commit before;
  after_commit after;
  std::function<void(std::vector<storage::append_unit>&)> alter;  ///< Writes something else.
  std::vector<std::size_t> batches;  ///< How many units each commit had.
  bool resolves_unknown = false;     ///< As a store that finds out later what it did.

private:
  class watched_writer final : public storage::log_writer {
  public:
    explicit watched_writer(watched_store& store) : store_(store) {}
    storage::log_identity identity() const override { return inner().identity(); }
    std::vector<storage::shard_t> shards() const override { return inner().shards(); }
    storage::shard_t shard_of(const stream_id& s) const override { return inner().shard_of(s); }
    result<storage::shard_rights> take(std::span<const storage::shard_t> s) override {
      return inner().take(s);
    }
    result<std::vector<storage::unit_outcome>> commit(
      const storage::shard_rights& rights,
      std::span<const storage::append_unit> units) override {
      store_.batches.push_back(units.size());
      if (store_.before)
        if (auto e = store_.before(units))
          return fail(*e);
      std::vector<storage::append_unit> altered;
      if (store_.alter) {
        altered.assign(units.begin(), units.end());
        store_.alter(altered);
        units = altered;
      }
      auto outcome = inner().commit(rights, units);
      if (outcome && store_.after)
        if (auto e = store_.after(*outcome))
          return fail(*e);
      return outcome;
    }
    result<storage::sweep_report> sweep(const storage::shard_rights& rights,
                                        const storage::receipt_age& receipts,
                                        std::size_t budget) override {
      return inner().sweep(rights, receipts, budget);
    }
    bool resolves_unknown() const noexcept override { return store_.resolves_unknown; }
    result<void> checkpoint() override { return inner().checkpoint(); }
    result<std::vector<const projections::table*>> outdated_tables() override {
      return inner().outdated_tables();
    }
    result<void> begin_shadow(std::span<const projections::table* const> tables) override {
      return inner().begin_shadow(tables);
    }
    result<void> apply_to_shadow(std::vector<projections::change> changes) override {
      return inner().apply_to_shadow(std::move(changes));
    }
    result<void> swap_shadow() override { return inner().swap_shadow(); }

  private:
    storage::log_writer& inner() const { return store_.inner_->writer(); }
    watched_store& store_;
  };

  std::unique_ptr<storage::store> inner_;
  watched_writer writer_;
};

struct stage_options {
  actors::limits limits{};
  std::size_t readers = 1;
  bool timers = false;
  bool supervisor = false;
  std::filesystem::path cache_directory{};
  std::span<const actors::operation> operations = api::catalogue();
};

class stage {
public:
  using options = stage_options;
  static constexpr time_us_t first_moment = 1'800'000'000'000'000;

  /// Opens the curtain on a log; `on` is used up.
  explicit stage(std::unique_ptr<storage::store> on, options o = {}, time_us_t now = first_moment)
    : store(std::make_unique<watched_store>(std::move(on))),
      now_(std::make_shared<time_us_t>(now)),
      system_(configured(config_)),
      scheduler_(dynamic_cast<caf::scheduler::test_coordinator&>(system_.scheduler())) {
    auto& writer = store->writer();
    around->limits = o.limits;
    around->limits.slow_commit_us = ~std::uint32_t{0};  // Real time does not matter here.
    around->name = "stage";
    around->log = writer.identity();
    around->clock = [now = now_] { return *now; };
    around->zones = &actors::system_zones();
    around->fatal = [this](const std::string& why) { fatal.push_back(why); };
    const auto rights = writer.take_all().value();
    epoch = rights.at(0);
    if (!o.cache_directory.empty())
      around->cache = storage::snapshot_cache::open(o.cache_directory, around->log).value();
    actors::log_place heads;
    for (std::size_t i = 0; i < o.readers; ++i) {
      std::shared_ptr<storage::log_reader> log = store->open_reader().value();
      heads = log->heads().value();
      around->readers.push_back(system_.spawn(actors::reader, around, std::move(log)));
    }
    around->shard_of = [&writer](const stream_id& s) { return writer.shard_of(s); };
    around->journals = {system_.spawn(actors::journal, around, &writer, rights, rights)};
    around->feed = system_.spawn(actors::feed, around, std::move(heads));
    around->directory = system_.spawn(actors::directory, around);
    if (o.timers)
      timers = system_.spawn(actors::timers, around);
    if (o.supervisor)
      supervisor = system_.spawn(actors::supervisor, around);
    gateway = system_.spawn(actors::gateway, around, o.operations);
    run();
  }

  stage(const stage&) = delete;
  stage& operator=(const stage&) = delete;

  /// As a crash: what is not committed is lost.
  ~stage() {
    store->before = [](auto) { return recalld::error{errc::unavailable, "the stage is dark"}; };
    // Whoever waits for an answer for ever is kept alive by its own continuation: answer them all.
    run();
    const auto end = [&](const auto& handle) {
      if (handle)
        caf::anon_send_exit(handle, caf::exit_reason::kill);
    };
    end(gateway);
    end(timers);
    end(supervisor);
    end(around->directory);
    end(around->feed);
    end(around->journals.front());
    for (auto& r : around->readers)
      end(r);
    for (auto& one : extras_)
      end(one);
    extras_.clear();
    gateway = nullptr;
    timers = nullptr;
    supervisor = nullptr;
    run();
    // Handles in the surroundings keep each other alive.
    around->journals.clear();
    around->directory = around->feed = nullptr;
    around->readers.clear();
    run();
    while (scheduler_.has_pending_timeout()) {
      scheduler_.trigger_timeouts();
      run();
    }
    if (const auto left = system_.registry().running(); left > 0) {
      std::fprintf(stderr, "%zu actors outlived the stage\n", left);
      system_.await_actors_before_shutdown(false);
    }
  }

  // -- time --

  time_us_t now() const { return *now_; }

  /// Moves the clocks, no more.
  void move_clock(std::chrono::microseconds time) {
    *now_ += time.count();
    scheduler_.advance_time(time);
  }
  /// Puts the wall clock elsewhere, back or forth; timers that run do not notice.
  void jump_clock(std::chrono::microseconds by) { *now_ += by.count(); }
  /// Lets time pass, and whatever that leads to.
  void pass(std::chrono::microseconds time) {
    move_clock(time);
    run();
  }

  /// Runs until nothing is left to do now.
  void run() {
    while (scheduler_.has_job())
      scheduler_.run_once();
  }
  /// Runs one actor's turn, chosen by `choice` among those that have something to do.
  bool step(std::size_t choice = 0) {
    auto& jobs = scheduler_.jobs;
    if (jobs.empty())
      return false;
    std::rotate(jobs.begin(), jobs.begin() + static_cast<std::ptrdiff_t>(choice % jobs.size()),
                jobs.begin() + static_cast<std::ptrdiff_t>(choice % jobs.size()) + 1);
    scheduler_.run_once();
    return true;
  }
  bool idle() const { return !scheduler_.has_job(); }

  // -- messages --

  /// Sends a request and lets the answer arrive when it does.
  template <class Answer, class Message>
  letter_ptr<Answer> post(const caf::actor& to, Message message) {
    auto out = std::make_shared<letter<Answer>>();
    // Sent by an actor that is there for this only; it is known to nobody and ends by itself.
    auto sender = system_.spawn([out, to, message](caf::event_based_actor* self) {
      self->request(to, caf::infinite, message)
        .then([out](Answer& a) { out->answer = std::move(a); },
              [out](const caf::error& e) { out->broken = e; });
    });
    launch(sender);
    return out;
  }

  /// As `post`, for requests whose answer is empty.
  template <class Message>
  letter_ptr<caf::unit_t> post_plain(const caf::actor& to, Message message) {
    auto out = std::make_shared<letter<caf::unit_t>>();
    auto sender = system_.spawn([out, to, message](caf::event_based_actor* self) {
      self->request(to, caf::infinite, message)
        .then([out] { out->answer = caf::unit; }, [out](const caf::error& e) { out->broken = e; });
    });
    launch(sender);
    return out;
  }

  /// Sends a request and runs until it is answered.
  template <class Answer, class Message>
  Answer ask(const caf::actor& to, Message message) {
    auto out = post<Answer>(to, std::move(message));
    run();
    if (!out->answer)
      throw std::logic_error("a request was not answered");
    return std::move(*out->answer);
  }

  letter_ptr<answer> start(std::string operation, std::string request) {
    auto out = std::make_shared<letter<answer>>();
    auto sender =
      system_.spawn([out, to = gateway, operation, request](caf::event_based_actor* self) {
        self->request(to, caf::infinite, actors::protocol_version, operation, request)
          .then(
            [out](std::uint16_t status, const std::string& text) {
              out->answer = answer{status, json::parse(text)};
            },
            [out](const caf::error& e) { out->broken = e; });
      });
    launch(sender);
    return out;
  }
  letter_ptr<answer> start(std::string operation, const json& request) {
    return start(std::move(operation), request.dump());
  }

  template <class Request>
  answer call(std::string operation, const Request& request) {
    auto out = start(std::move(operation), request);
    run();
    if (!out->answer)
      throw std::logic_error("an operation was not answered");
    return std::move(*out->answer);
  }

  /// An actor of the test; ends with the stage.
  template <class F>
  caf::actor cast(F f) {
    auto one = system_.spawn(std::move(f));
    extras_.push_back(one);
    run();
    return one;
  }

  caf::actor_system& system() { return system_; }

  // -- what is in the log --

  std::vector<recorded> log() {
    auto reader = store->open_reader().value();
    std::vector<recorded> all;
    for (position_t after = 0;;) {
      auto page = reader->scan(0, after, 1'000).value();
      for (auto& f : page.facts)
        all.push_back(std::move(f));
      if (page.through == after)
        return all;
      after = page.through;
    }
  }

  std::unique_ptr<watched_store> store;
  actors::surroundings_ptr around = std::make_shared<actors::surroundings>();
  epoch_t epoch = 0;
  actors::gateway_handle gateway;
  caf::actor timers;
  caf::actor supervisor;
  std::vector<std::string> fatal;  ///< Why the node wanted to end.

private:
  static caf::actor_system_config& configured(caf::actor_system_config& config) {
    config.set("scheduler.policy", caf::atom("testing"));
    return config;
  }

  /// Lets a fresh sender send before anything else happens.
  void launch(const caf::actor& sender) {
    if (scheduler_.prioritize(sender))
      scheduler_.run_once();
  }

  caf::actor_system_config config_;
  std::shared_ptr<time_us_t> now_;
  caf::actor_system system_;
  caf::scheduler::test_coordinator& scheduler_;
  std::vector<caf::actor> extras_;
};

// -- words for tests --

/// A session of user u in application a, as request members.
inline json session_of(std::string name) {
  return {{"app", "a"}, {"user", "u"}, {"session", std::move(name)}};
}
inline json with(json members, const json& more) {
  members.update(more);
  return members;
}
inline json entry_of(std::string id, std::string role = "user", std::string content = "hello") {
  return {{"id", std::move(id)}, {"role", std::move(role)}, {"content", std::move(content)}};
}

/// A fact that every scope takes.
inline any_fact scope_fact(std::string key, std::string value) {
  return scope::fact(scope::state_changed{{{std::move(key), std::move(value)}}, {}});
}
/// One fact for the shared state of an application.
inline actors::append scope_append(std::string app, std::string key, std::string value,
                                   std::optional<version_t> expected = {}) {
  actors::append a;
  storage::stream_append part;
  part.stream = app_stream("default", app);
  part.expected = expected;
  part.facts.push_back(scope_fact(std::move(key), std::move(value)));
  a.unit.parts.push_back(std::move(part));
  a.unit.time = stage::first_moment;
  return a;
}

/// A wish to set one key of an application's shared state.
inline actors::submit scope_submit(std::string app, std::string key, std::string value,
                                   std::string command_id = {}, std::uint64_t body_hash = 0) {
  actors::submit s;
  s.stream = app_stream("default", app);
  s.command = std::make_shared<const any_command>(
    scope::command(scope::update_state{{{std::move(key), std::move(value)}}}));
  s.command_id = std::move(command_id);
  s.body_hash = body_hash;
  s.now = stage::first_moment;
  return s;
}

}  // namespace recalld::tests

#include "tests/actors/scratch.hpp"
#include "tests/actors/stage.hpp"
#include "tests/catch.hpp"

namespace recalld::tests {

namespace {

using rng = std::mt19937;

/// A random window, mostly one that makes sense.
json random_window(rng& random, std::uint64_t entries, version_t head, time_us_t last) {
  const auto maybe = [&](unsigned one_in) { return random() % one_in == 0; };
  json w = json::object();
  switch (random() % 5) {
    case 0: break;
    case 1:
    case 2: w["last"] = random() % (entries + 3); break;
    case 3:
      w["anchor"] = "e" + std::to_string(random() % (entries + 2));
      w["before"] = random() % 6;
      w["after"] = random() % 6;
      break;
    default: w["limit"] = 1 + random() % 8; break;
  }
  if (maybe(5))
    w["after_version"] = random() % (head + 2);
  if (maybe(5))
    w["before_version"] = 1 + random() % (head + 2);
  if (maybe(5))
    w["since"] = format_time(last - static_cast<time_us_t>(random() % 60) * 1'000'000);
  if (maybe(5))
    w["max_bytes"] = 1 + random() % 2'000;
  if (maybe(5))
    w["roles"] = maybe(2) ? json{"user"} : json{"assistant", "tool"};
  if (maybe(4))
    w["turn_aligned"] = maybe(2);
  return w;
}

answer window_of(stage& on, const json& window, const std::string& session = "s") {
  return on.call("session.entries", with(session_of(session), window));
}

/// Everything a reader sees, whether it is an answer or a refusal.
std::string seen(const answer& a) { return std::to_string(a.status) + a.body.dump(); }

constexpr std::string_view roles[] = {"user", "assistant", "tool", "assistant", "tool"};

/// Appends one to three entries, and state besides now and then.
void append_some(stage& on, rng& random, std::uint64_t& entries, const std::string& session = "s") {
  json list = json::array();
  for (auto n = 1 + random() % 3; n > 0; --n)
    list.push_back(entry_of("e" + std::to_string(entries++),
                            std::string(roles[random() % std::size(roles)]),
                            std::string(random() % 200, 'x')));
  json request = with(session_of(session), {{"entries", std::move(list)}});
  if (random() % 3 == 0)
    request["state"] = {{"k", random() % 10}, {"app:k", 1}};
  const auto a = on.call("session.append", request);
  RC_ASSERT(a.ok());
}

}  // namespace

TEST_CASE("a window is the same from memory, from the log and after a restart", "[window]") {
  check_property("tail == log == restarted == from a snapshot", [](const std::uint32_t seed) {
    rng random(seed);
    scratch_directory cache;
    const bool with_cache = random() % 6 == 0;  // Opening one takes longer than all the rest.
    const auto disk = storage::make_model_disk();
    std::vector<json> windows;
    std::vector<std::string> answers;
    time_us_t now = stage::first_moment;
    const bool forked = random() % 3 == 0;
    const std::string session = forked ? "fork" : "s";
    {
      stage_options o;
      o.limits.tail_entries = 1 + random() % 40;
      o.limits.tail_bytes = random() % 2 == 0 ? 128 << 10 : 500;
      if (with_cache)
        o.cache_directory = cache.path();
      stage on(storage::open_model(disk), o);
      std::uint64_t entries = 0;
      RC_ASSERT(on.call("session.create", session_of("s")).ok());
      for (auto n = random() % 30; n > 0; --n) {
        append_some(on, random, entries);
        on.pass(std::chrono::milliseconds(random() % 4'000));
      }
      if (forked) {
        RC_ASSERT(on.call("session.fork", with(session_of("s"), {{"new_session", "fork"}})).ok());
        for (auto n = random() % 10; n > 0; --n)
          append_some(on, random, entries, session);
      }
      if (random() % 2 == 0) {
        // Now the tail is what a stream has right after waking.
        on.pass(std::chrono::seconds(400));
        caf::anon_send(on.around->directory, actors::tick_atom::value);
        on.run();
      }
      const auto head = on.call("session.get", session_of(session)).body.at("version");
      for (int i = 0; i < 10; ++i) {
        windows.push_back(random_window(random, entries, head, on.now()));
        answers.push_back(seen(window_of(on, windows.back(), session)));
        RC_ASSERT(answers.back() == seen(window_of(on, windows.back(), session)));
      }
      now = on.now();
      if (random() % 2 == 0) {
        on.post_plain(on.around->directory, actors::leave_atom::value);
        on.run();
      }
    }
    for (const bool cached : {false, true}) {
      if (cached && !with_cache)
        continue;
      stage_options o;
      o.limits.tail_entries = cached ? 8 : 1;
      if (cached)
        o.cache_directory = cache.path();
      stage on(storage::open_model(disk), o, now);
      for (std::size_t i = 0; i < windows.size(); ++i) {
        RC_LOG() << windows[i].dump() << "\n";
        RC_ASSERT(seen(window_of(on, windows[i], session)) == answers[i]);
      }
    }
  });
}

TEST_CASE("paging meets every entry once, whatever the page size", "[window]") {
  check_property("forwards and backwards", [](const std::uint32_t seed) {
    rng random(seed);
    stage_options o;
    o.limits.tail_entries = 1 + random() % 10;
    stage on(storage::open_model(), o);
    std::uint64_t entries = 0;
    RC_ASSERT(on.call("session.create", session_of("s")).ok());
    for (auto n = 1 + random() % 15; n > 0; --n)
      append_some(on, random, entries);
    const bool forwards = random() % 2 == 0;
    const auto size = 1 + random() % 7;
    json request = forwards ? json{{"limit", size}} : json{{"last", size}, {"turn_aligned", false}};
    std::vector<version_t> met;
    for (int pages = 0; pages < 100; ++pages) {
      const auto page = window_of(on, request);
      RC_ASSERT(page.ok());
      RC_ASSERT(page.body.at("entries").size() <= size);
      std::vector<version_t> versions;
      for (const auto& e : page.body.at("entries"))
        versions.push_back(e.at("version"));
      met.insert(forwards ? met.end() : met.begin(), versions.begin(), versions.end());
      const auto* next = forwards ? "next_cursor" : "previous_cursor";
      RC_ASSERT(page.body.at(forwards ? "more_after" : "more_before") == page.body.contains(next));
      if (!page.body.contains(next))
        break;
      request["cursor"] = page.body.at(next);
    }
    RC_ASSERT(met.size() == entries);
    RC_ASSERT(std::is_sorted(met.begin(), met.end()));
    RC_ASSERT(std::adjacent_find(met.begin(), met.end()) == met.end());
  });
}

TEST_CASE("trimming changes no window", "[window]") {
  check_property("before trimming, trimmed, blanked and merged", [](const std::uint32_t seed) {
    rng random(seed);
    const auto disk = storage::make_model_disk();
    stage_options o;
    o.timers = true;
    stage on(storage::open_model(disk), o);
    const auto keep = 1 + random() % 6;
    std::uint64_t entries = 0;
    RC_ASSERT(on.call("session.create", session_of("s")).ok());
    RC_ASSERT(on.call("app.set_retention", json{{"app", "a"}, {"keep_entries", keep}}).ok());
    for (int round = 0; round < 8; ++round) {
      // A trim is started by an append; hold it back, look, let it go, look again.
      append_some(on, random, entries);
      on.store->before = [](auto) { return recalld::error{errc::unavailable, "not now"}; };
      const auto head = on.call("session.get", session_of("s")).body.at("version").get<version_t>();
      std::vector<json> windows;
      std::vector<json> answers;
      const auto look = [&](const json& w) {
        auto a = window_of(on, w);
        auto& body = a.body;
        body.erase("version");  // A trim is a fact too.
        if (!a.ok())
          body = {{"status", a.status}};
        return body;
      };
      for (int i = 0; i < 5; ++i) {
        windows.push_back(random_window(random, entries, head, on.now()));
        answers.push_back(look(windows.back()));
      }
      on.store->before = nullptr;
      on.call("session.update_state", with(session_of("s"), {{"state", {{"k", round}}}}));
      on.pass(std::chrono::seconds(round % 3 == 0 ? 2 : 0));
      for (std::size_t i = 0; i < windows.size(); ++i) {
        RC_LOG() << windows[i].dump() << "\n";
        RC_ASSERT(look(windows[i]) == answers[i]);
      }
    }
    RC_ASSERT(on.fatal.empty());
    if (entries > 4 * keep + 10) {
      const auto log = on.log();
      RC_ASSERT(std::any_of(log.begin(), log.end(),
                            [](const recorded& r) { return r.type == "session.trimmed"; }));
    }
  });
}

}  // namespace recalld::tests

#pragma once

#include "tests/catch.hpp"

#include "events/aggregates.hpp"
#include "events/codec.hpp"
#include "events/fold.hpp"

#include <algorithm>
#include <map>
#include <ostream>
#include <string>
#include <vector>

/// Random histories of a session: what a log would hold after any commands, accepted or not.
namespace recalld::testing {

/// One thing that happens in a history; small numbers are plain things, so that it shrinks well.
struct step {
  unsigned op = 0;
  unsigned a = 0;
  unsigned b = 0;
};

inline std::ostream& operator<<(std::ostream& out, const step& s) {
  return out << "{" << s.op << "," << s.a << "," << s.b << "}";
}

/// A stream as a log would hold it, nothing forgotten, together with the state folded on the way.
struct history {
  static constexpr time_us_t begin = 1'700'000'000'000'000;

  stream_id self = session_stream("acme", "chat", "ada", "s1");
  stream_no_t stream_no = 7;
  session::state state;
  version_t version = 0;
  time_us_t now = begin;
  position_t position = 100;
  retention policy{};
  std::vector<recorded> facts;
  std::vector<recorded> shared;  ///< A fork's past, in other streams.
  std::uint64_t commands = 0;    ///< That led to facts.

  bool run(const session::command& c) {
    context ctx{now, {position * 7919, version}, version, policy, {}, false};
    for (const auto& key : session::aggregate::lookups(state, c))
      find(key, ctx.known);
    auto decided = session::aggregate::decide(state, c, ctx, self);
    if (!decided)
      return false;
    if (auto taken = taken_keys(decided->facts); !taken.empty()) {
      ctx.known.insert(taken.begin(), taken.end());
      ctx.looked_up = true;
      decided = session::aggregate::decide(state, c, ctx, self);
    }
    record(decided->facts);
    return true;
  }

  /// Everything with an entry in it, the shared past included.
  std::vector<recorded> all() const {
    auto out = shared;
    out.insert(out.end(), facts.begin(), facts.end());
    return out;
  }

  /// The state as of a version, folded from the beginning.
  session::state state_at(version_t at) const {
    versioned<session::aggregate> folded;
    for (const auto& r : all())
      if (r.at.version <= at)
        RC_ASSERT(fold(folded, r).has_value());
    return folded.state;
  }

private:
  void find(const std::string& key, std::map<std::string, version_t, std::less<>>& known) const {
    for (const auto& r : all())
      if (r.key == key)
        known.emplace(key, r.at.version);
  }

  std::map<std::string, version_t, std::less<>> taken_keys(
    const std::vector<session::fact>& fresh) const {
    std::map<std::string, version_t, std::less<>> known;
    for (const auto& f : fresh)
      if (auto key = codec::encode(f, 0).key; key.starts_with('e'))
        find(key, known);
    return known;
  }

  void record(const std::vector<session::fact>& fresh) {
    bool first = true;
    for (const auto& f : fresh) {
      auto base = session::aggregate::base_of(f, version + 1);
      if (version == 0 && base && base->carries_state)
        version = base->through;
      auto e = codec::encode(f, ++version);
      recorded r{{++position, stream_no, self, version, now},
                 std::string(e.type),
                 e.schema,
                 e.lane,
                 std::move(e.key),
                 std::move(e.payload)};
      if (first) {
        r.at.command = "c" + std::to_string(position);
        r.at.body_hash = position << 50;
        r.at.command_facts = static_cast<std::uint32_t>(fresh.size());
        ++commands;
      }
      first = false;
      session::aggregate::evolve(state, f, r.at);
      facts.push_back(std::move(r));
    }
  }
};

/// Lets one thing happen.
inline void happen(history& h, const step& s) {
  using namespace session;
  const std::string names[] = {"a", "b", "c", "d"};
  const std::string roles[] = {"user", "assistant", "tool", "system"};
  auto name = names[s.a % 4];
  h.now += s.b % 5 * 1'000'000;
  auto some_entries = [&] {
    append c;
    for (unsigned i = 0; i <= s.a % 3; ++i) {
      bool named = (s.a + i) % 4 == 0;
      c.entries.push_back({named ? "e" + std::to_string((s.b + i) % 20) : "", roles[(s.b + i) % 4],
                           s.a % 11 == 10, "{\"n\":\"" + std::string(s.b % 7 * 10, 'x') + "\"}"});
    }
    return c;
  };
  // A session that is gone comes back soon.
  auto alive = h.state.status == status::open || h.state.status == status::closed;
  switch (alive || s.b % 3 == 0 ? s.op % 18 : 0) {
    case 0: h.run(create{{{{name, "0"}}, {}, {}, {}}, s.b % 2 ? R"({"m":1})" : ""}); break;
    case 1:
    case 2:
    case 3:
    case 4:
    case 5:
    case 6: h.run(some_entries()); break;
    case 7: {
      auto c = some_entries();
      c.delta.session = {{name, std::to_string(s.b)}};
      c.delta.app = {{name, "1"}};
      h.run(c);
      break;
    }
    case 8: h.run(update_state{{{{name, R"("x")"}}, {}, {{"u", "1"}}, {}}}); break;
    case 9: h.run(delete_state_keys{{name, names[s.b % 4]}}); break;
    case 10:
      if (s.b % 3 != 0)
        h.run(add_context{name, roles[s.b % 4], std::to_string(s.a)});
      else
        h.run(remove_context{name});
      break;
    case 11: h.run(append_track{name, {"1", "{}"}}); break;
    case 12:
      if (s.a % 4 == 0)
        h.run(close{});
      else if (s.a % 4 == 1)
        h.run(remove{});
      break;
    case 13: h.policy = {s.a % 5, s.b % 3 * 20}; break;
    case 14:
      h.now += s.a * 1'000'000;
      h.run(expire{});
      break;
    case 15:
    case 16:
    case 17:
      if (h.version > 0) {
        auto through = h.version - s.a % h.version;
        h.run(trim{through, h.state_at(through)});
      }
      break;
  }
}

/// A history in which all that happened; with `fork_after` steps it goes on as a fork.
inline history history_of(const std::vector<step>& steps, std::size_t fork_after, unsigned back) {
  history h;
  h.run(session::create{});
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (i == fork_after && h.version > 0) {
      auto at = h.version - back % h.version;
      auto origin = h.state_at(at);
      history fork;
      fork.self = session_stream("acme", "chat", "ada", "s2");
      fork.stream_no = 8;
      fork.now = h.now;
      fork.position = h.position;
      fork.policy = h.policy;
      if (fork.run(session::begin_fork{h.self, at, origin})) {
        for (auto& r : h.facts)
          if (r.at.version <= at)
            fork.shared.push_back(std::move(r));
        h = std::move(fork);
      }
    }
    happen(h, steps[i]);
  }
  return h;
}

/// Any history; about every second one is a fork. Always of full size: small ones meet too little.
inline history any_history() {
  auto upto = [](auto most) {
    return rc::gen::resize(rc::kNominalSize, rc::gen::inRange(0 * most, most));
  };
  auto length = *upto(std::size_t{60});
  auto steps = *rc::gen::container<std::vector<step>>(
    length,
    rc::gen::build<step>(rc::gen::set(&step::op, upto(18u)), rc::gen::set(&step::a, upto(40u)),
                         rc::gen::set(&step::b, upto(40u))));
  auto fork_after = *upto(2 * length + 1);
  auto back = *upto(5u);
  return history_of(steps, fork_after, back);
}

}  // namespace recalld::testing

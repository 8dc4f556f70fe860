#include "tests/events/histories.hpp"

#include "events/window.hpp"

#include <set>

/// Laws that hold for every history, whatever happened in it.
namespace recalld {

using namespace recalld::testing;

namespace {

using folded = versioned<session::aggregate>;

std::string tell(const session::state& s) { return codec::encode_state(s); }

/// Where a stream's newest base lets its own facts begin.
struct beginning {
  session::state state;
  version_t through = 0;
};

beginning base_in(const history& h) {
  beginning b;
  for (const auto& r : h.facts) {
    auto f = std::get<session::fact>(codec::decode(r).value());
    if (auto base = session::aggregate::base_of(f, r.at.version)) {
      b.through = base->through;
      b.state = base->carries_state ? session::aggregate::carried_state(f) : session::state{};
    }
  }
  return b;
}

/// What waking an aggregate reads: the folded lane, and the last fact of each paged lane.
std::vector<recorded> read_on_wake(const std::vector<recorded>& facts, version_t after) {
  std::vector<recorded> out;
  std::map<lane, recorded> last;
  for (const auto& r : facts) {
    if (r.at.version <= after)
      continue;
    if (r.lane == lane::folded)
      out.push_back(r);
    else
      last.insert_or_assign(r.lane, r);
  }
  for (const auto& [lane, r] : last)
    out.push_back(r);
  std::sort(out.begin(), out.end(),
            [](const auto& a, const auto& b) { return a.at.version < b.at.version; });
  return out;
}

void fold_all(folded& into, const std::vector<recorded>& facts) {
  for (const auto& r : facts)
    RC_ASSERT(fold(into, r).has_value());
}

}  // namespace

TEST_CASE("random histories meet every fact of a session, and forks", "[laws]") {
  std::set<std::string, std::less<>> met;
  const auto unmet = [&] {
    std::vector<std::string_view> all;
    for (auto type : codec::fact_types())
      if (type.starts_with("session.") && !met.contains(type))
        all.push_back(type);
    return all;
  };
  // A hundred histories miss a rare fact now and then; that many hundreds miss none they can make.
  for (int hundreds = 0; hundreds < 50 && !unmet().empty(); ++hundreds)
    check_property("meet", [&] {
      // Every run has one seed: only what was drawn before makes these hundred others.
      for (int drawn = 0; drawn < hundreds; ++drawn)
        static_cast<void>(*rc::gen::arbitrary<int>());
      auto h = any_history();
      for (const auto& r : h.facts)
        met.insert(r.type);
    });
  CHECK(unmet() == std::vector<std::string_view>{});
}

TEST_CASE("folding what was recorded gives the state that was folded on the way", "[laws]") {
  check_property("from the first fact", [] {
    auto h = any_history();
    folded f;
    fold_all(f, h.facts);
    RC_ASSERT(tell(f.state) == tell(h.state));
    RC_ASSERT(f.version == h.version);
  });
}

TEST_CASE("only the last fact of a paged lane counts for the state", "[laws]") {
  check_property("folded facts and the last of each paged lane", [] {
    auto h = any_history();
    folded f;
    fold_all(f, read_on_wake(h.facts, 0));
    RC_ASSERT(tell(f.state) == tell(h.state));
    RC_ASSERT(f.version == h.version);
  });
}

TEST_CASE("a state is folded from its base", "[laws]") {
  check_property("nothing at or below the base is needed", [] {
    auto h = any_history();
    auto base = base_in(h);
    folded f{base.state, base.through, 0};
    fold_all(f, read_on_wake(h.facts, base.through));
    RC_ASSERT(tell(f.state) == tell(h.state));
  });
}

TEST_CASE("bases only grow", "[laws]") {
  check_property("a later base never lies below an earlier one", [] {
    auto h = any_history();
    version_t floor = 0;
    for (const auto& r : h.facts)
      if (auto base = session::aggregate::base_of(std::get<session::fact>(codec::decode(r).value()),
                                                  r.at.version)) {
        RC_ASSERT(base->through >= floor);
        RC_ASSERT(base->through < r.at.version);
        for (const auto& range : base->borrows)
          RC_ASSERT(range.through <= base->through);
        floor = base->through;
      }
    RC_ASSERT(h.state.floor <= floor || h.state.floor < h.state.created_version
              || !h.shared.empty());
  });
}

TEST_CASE("a state lives on in a snapshot", "[laws]") {
  check_property("folding goes on from a decoded state at any version", [] {
    auto h = any_history();
    RC_PRE(!h.facts.empty());
    auto cut = *rc::gen::inRange<std::size_t>(0, h.facts.size());
    folded f;
    for (std::size_t i = 0; i < h.facts.size(); ++i) {
      RC_ASSERT(fold(f, h.facts[i]).has_value());
      if (i == cut) {
        auto back = codec::decode_state<session::aggregate>(codec::encode_state(f.state));
        RC_ASSERT(back.has_value());
        RC_ASSERT(*back == f.state);
        f.state = std::move(*back);
      }
    }
    RC_ASSERT(f.state == h.state);
  });
}

TEST_CASE("entries are numbered without a gap, and turns begin with the user", "[laws]") {
  check_property("counts of each life", [] {
    auto h = any_history();
    std::uint64_t ordinal = 0;
    std::uint64_t turn = 0;
    version_t turn_version = 0;
    std::set<std::string> ids;
    for (const auto& r : h.all()) {
      auto f = std::get<session::fact>(codec::decode(r).value());
      if (std::holds_alternative<session::created>(f)) {
        ordinal = turn = turn_version = 0;
        ids.clear();
      }
      auto* e = std::get_if<session::entry_appended>(&f);
      if (e == nullptr)
        continue;
      RC_ASSERT(e->ordinal == ++ordinal);
      if (e->role == "user") {
        turn = ordinal;
        turn_version = r.at.version;
      }
      RC_ASSERT(e->turn_ordinal == turn);
      RC_ASSERT(e->turn_version == turn_version);
      RC_ASSERT(ids.insert(e->id).second);
      RC_ASSERT(json::validate(e->raw.view(), "entry").has_value());
    }
  });
}

TEST_CASE("keys of facts are unique in their stream", "[laws]") {
  check_property("over all lives", [] {
    auto h = any_history();
    std::set<std::string> keys;
    for (const auto& r : h.facts)
      RC_ASSERT(r.key.empty() || keys.insert(r.key).second);
  });
}

TEST_CASE("every fact that refreshes the time says how long", "[laws]") {
  check_property("ttl_s is the state's", [] {
    auto h = any_history();
    folded f;
    for (const auto& r : h.facts) {
      RC_ASSERT(fold(f, r).has_value());
      auto fact = std::get<session::fact>(codec::decode(r).value());
      std::visit(
        [&](const auto& one) {
          if constexpr (requires { one.ttl_s; })
            RC_ASSERT(one.ttl_s == f.state.retention.ttl_s);
        },
        fact);
    }
  });
}

}  // namespace recalld

#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "events/aggregates.hpp"
#include "events/codec.hpp"
#include "tests/catch.hpp"

/// A decision told in three lines: `given({facts}).when(command).then({facts})`.
///
/// The facts happened one second apart, the first of them at `start`; the command comes one second
/// after the last one. Whatever a decision gives is folded and sent through the codec on the way.
namespace recalld::testing {

inline constexpr time_us_t second = 1'000'000;
inline constexpr time_us_t start = 1'700'000'000 * second;

/// Where the facts of a story happen, unless it says otherwise.
template <class Aggregate>
stream_id self_of(Aggregate) {
  return {Aggregate::kind, {"acme", "first"}};
}
inline stream_id self_of(session::aggregate) { return session_stream("acme", "chat", "ada", "s1"); }
inline stream_id self_of(scope::aggregate) { return app_stream("acme", "chat"); }

inline stream_id self_of(memory_space::aggregate) {
  return {stream_kind::memory_space, {"acme", "chat", "ada"}};
}

inline std::string tell(const any_fact& f) {
  auto e = codec::encode(f, 1);
  return std::string(e.type) + " " + e.payload.str();
}

template <class Facts>
std::vector<std::string> tell_all(const Facts& facts) {
  std::vector<std::string> out;
  for (const auto& f : facts)
    out.push_back(tell(f));
  return out;
}

/// The version that a fact gets behind `version`: a fork begins behind its shared past.
template <class Aggregate>
version_t version_behind(version_t version, const typename Aggregate::fact& f) {
  auto base = Aggregate::base_of(f, version + 1);
  return version == 0 && base && base->carries_state ? base->through + 1 : version + 1;
}

/// What came out of a command.
template <class Aggregate>
class told {
public:
  using fact = typename Aggregate::fact;
  using state = typename Aggregate::state;

  told(result<typename Aggregate::decision> outcome, state before, version_t version, time_us_t now,
       stream_id self)
    : outcome_(std::move(outcome)), after_(std::move(before)) {
    if (!outcome_)
      return;
    for (const auto& f : outcome_->facts) {
      envelope at;
      at.stream = self;
      at.time = now;
      at.version = version = version_behind<Aggregate>(version, f);
      Aggregate::evolve(after_, f, at);
      auto stored = codec::encode(f, version);
      auto back = codec::decode(stored.type, stored.schema, stored.payload);
      INFO("stored as " << stored.payload.view());
      REQUIRE(back.has_value());
      REQUIRE(*back == any_fact{f});
    }
  }

  /// Exactly these facts, and none for other streams.
  const told& then(const std::vector<fact>& expected) const {
    require_accepted();
    CHECK(tell_all(outcome_->facts) == tell_all(expected));
    CHECK(outcome_->facts == expected);
    CHECK(outcome_->foreign.size() == expected_foreign_);
    return *this;
  }
  const told& nothing() const { return then({}); }

  /// Also facts for another stream; asked for before `then`.
  told& elsewhere(const stream_id& stream, const std::vector<any_fact>& expected) {
    require_accepted();
    ++expected_foreign_;
    auto found = std::find_if(outcome_->foreign.begin(), outcome_->foreign.end(),
                              [&](const auto& f) { return f.stream == stream; });
    REQUIRE(found != outcome_->foreign.end());
    CHECK(tell_all(found->facts) == tell_all(expected));
    CHECK(found->facts == expected);
    return *this;
  }

  void fails(errc code, std::string_view field = {}) const {
    REQUIRE_FALSE(outcome_.has_value());
    CHECK(to_string(outcome_.error().code) == to_string(code));
    CHECK(outcome_.error().field == field);
    CHECK_FALSE(outcome_.error().message.empty());
  }

  const typename Aggregate::decision& decision() const {
    require_accepted();
    return *outcome_;
  }
  /// The state once the facts are recorded.
  const state& after() const { return after_; }

private:
  void require_accepted() const {
    INFO((outcome_ ? std::string() : outcome_.error().field + ": " + outcome_.error().message));
    REQUIRE(outcome_.has_value());
  }

  result<typename Aggregate::decision> outcome_;
  state after_;
  std::size_t expected_foreign_ = 0;
};

/// A stream's past, and what a command knows besides.
template <class Aggregate>
class told_past {
public:
  explicit told_past(const std::vector<typename Aggregate::fact>& facts) {
    context_.now = start;
    context_.random = {0x0123'4567'89ab'cdef, 0};
    for (const auto& f : facts) {
      envelope at;
      at.stream = self_;
      at.time = context_.now;
      at.version = context_.version = version_behind<Aggregate>(context_.version, f);
      Aggregate::evolve(state_, f, at);
      context_.now += second;
    }
    if constexpr (requires { state_.retention; })
      context_.policy = state_.retention;
  }

  told_past& in(stream_id self) {
    self_ = std::move(self);
    return *this;
  }
  told_past& at(time_us_t now) {
    context_.now = now;
    return *this;
  }
  told_past& policy(const retention& r) {
    context_.policy = r;
    return *this;
  }
  told_past& known(std::string key, version_t version) {
    context_.known.emplace(std::move(key), version);
    context_.looked_up = true;
    return *this;
  }
  told<Aggregate> when(const typename Aggregate::command& c) const {
    return {Aggregate::decide(state_, c, context_, self_), state_, context_.version, context_.now,
            self_};
  }
  const typename Aggregate::state& state() const { return state_; }
  time_us_t now() const { return context_.now; }

private:
  stream_id self_ = self_of(Aggregate{});
  typename Aggregate::state state_;
  context context_;
};

inline auto given(const std::vector<session::fact>& facts) {
  return told_past<session::aggregate>(facts);
}
inline auto given_scope(const std::vector<scope::fact>& facts) {
  return told_past<scope::aggregate>(facts);
}

inline auto given_values(const std::vector<value_space::fact>& facts) {
  return told_past<value_space::aggregate>(facts);
}
inline auto given_principal(const std::vector<principal::fact>& facts) {
  return told_past<principal::aggregate>(facts);
}
inline auto given_memories(const std::vector<memory_space::fact>& facts) {
  return told_past<memory_space::aggregate>(facts);
}

/// A caller's entry, and the fact it leads to in the first life of a session.
inline session::entry entry(std::string id, std::string role = "user") {
  auto raw = R"({"id":)" + json::quote(id) + R"(,"role":)" + json::quote(role) + "}";
  return {std::move(id), std::move(role), false, raw};
}
inline session::entry_appended appended(const session::entry& e, std::uint64_t ordinal,
                                        version_t turn_version, std::uint64_t turn_ordinal,
                                        version_t life = 1, std::uint64_t ttl_s = 0) {
  return {e.id, e.role, ordinal, turn_version, turn_ordinal, e.raw, life, ttl_s};
}

}  // namespace recalld::testing

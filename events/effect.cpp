#include "events/effect.hpp"

#include "events/aggregates.hpp"
#include "events/envelope.hpp"
#include "events/json.hpp"

namespace recalld::effect {

namespace {

using outcome = result<aggregate::decision>;

constexpr std::string_view words[] = {"absent", "begun", "completed", "failed", "in_doubt"};

outcome one(fact f) {
  aggregate::decision out;
  out.facts.push_back(std::move(f));
  return out;
}

tl::unexpected<error> doubt() {
  return fail({errc::in_doubt,
               "it was begun and its lease is over: nobody knows whether it happened; reconcile it",
               "key"});
}

/// Whoever tells how it ended must be who began it last.
result<void> check_fence(const state& s, version_t fence) {
  if (s.status == status::absent)
    return fail({errc::not_found, "there is no such effect", "key"});
  if (s.fence != fence)
    return fail({errc::already_claimed,
                 "the token is stale: it was begun again with " + std::to_string(s.fence),
                 "fence"});
  return {};
}

result<void> check_outcome(const std::string& raw, std::string_view field) {
  if (raw.size() > outcome_bytes_max)
    return fail_field(std::string(field), "must have at most 262144 bytes");
  return {};
}

outcome decide_on(const state& s, const begin& c, const context& ctx) {
  switch (s.seen_at(ctx.now)) {
    case status::begun: {
      json::object_writer w;
      w.str("holder", s.holder).str("lease_until", format_time(s.lease_until));
      error e{errc::already_claimed, "it is being done by " + s.holder, "key"};
      e.detail = std::move(w).done();
      return fail(std::move(e));
    }
    case status::in_doubt: return doubt();
    case status::completed:
      if (s.args_hash != c.args_hash)
        return fail({errc::rejected, "it was done with other arguments", "args_hash"});
      return aggregate::decision{};  // The caller finds the recorded result.
    case status::failed:
      if (s.args_hash != c.args_hash)
        return fail({errc::rejected, "it was begun with other arguments", "args_hash"});
      break;
    case status::absent: break;
  }
  return one(begun{c.args_hash, c.tool, c.approval, c.holder, ctx.now + c.lease_us});
}

outcome decide_on(const state& s, const extend& c, const context& ctx) {
  if (auto good = check_fence(s, c.fence); !good)
    return fail(std::move(good.error()));
  if (s.seen_at(ctx.now) == status::in_doubt)
    return doubt();
  if (s.status != status::begun)
    return fail({errc::closed, "it has ended", "key"});
  return one(extended{ctx.now + c.lease_us});
}

outcome end(const state& s, version_t fence, status how, const std::string& raw) {
  if (auto good = check_fence(s, fence); !good)
    return fail(std::move(good.error()));
  if (auto good = check_outcome(raw, how == status::completed ? "result" : "error"); !good)
    return fail(std::move(good.error()));
  // Even late: who did it knows best, as long as nobody has reconciled.
  if (s.status == how && s.outcome == raw)
    return aggregate::decision{};
  if (s.status != status::begun && s.status != status::in_doubt)
    return fail({errc::closed, "it has ended as " + std::string(to_string(s.status)), "key"});
  return one(ended{how, raw, {}});
}

outcome decide_on(const state& s, const complete& c, const context&) {
  return end(s, c.fence, status::completed, c.result);
}
outcome decide_on(const state& s, const give_up& c, const context&) {
  return end(s, c.fence, status::failed, c.failure);
}

outcome decide_on(const state& s, const reconcile& c, const context& ctx) {
  if (c.found != status::completed && c.found != status::failed)
    return fail_field("outcome", "must be `completed` or `failed`");
  if (auto good = check_outcome(c.outcome, "result"); !good)
    return fail(std::move(good.error()));
  if (s.status == status::absent)
    return fail({errc::not_found, "there is no such effect", "key"});
  if (s.seen_at(ctx.now) != status::in_doubt)
    return fail(
      {errc::rejected, "it is not in doubt but " + std::string(to_string(s.status)), "key"});
  return one(ended{c.found, c.outcome, c.by});
}

outcome decide_on(const state& s, const fall_due&, const context& ctx) {
  if (s.status != status::begun || s.seen_at(ctx.now) != status::in_doubt)
    return aggregate::decision{};
  return one(doubted{});
}

struct folding {
  state& s;
  const envelope& at;

  void operator()(const begun& f) const {
    s = {};
    s.status = status::begun;
    s.args_hash = f.args_hash;
    s.tool = f.tool;
    s.approval = f.approval;
    s.holder = f.holder;
    s.fence = at.version;
    s.begun_at = at.time;
    s.lease_until = f.lease_until;
  }
  void operator()(const extended& f) const { s.lease_until = f.lease_until; }
  void operator()(const ended& f) const {
    s.status = f.status;
    s.outcome = f.outcome;
    s.ended_by = f.by;
    s.ended_at = at.time;
  }
  void operator()(const doubted&) const { s.status = status::in_doubt; }
};

}  // namespace

std::string_view to_string(status s) noexcept { return words[static_cast<std::size_t>(s)]; }

std::optional<status> status_of(std::string_view word) noexcept {
  for (std::size_t i = 0; i < std::size(words); ++i)
    if (words[i] == word)
      return static_cast<status>(i);
  return std::nullopt;
}

status state::seen_at(time_us_t now) const noexcept {
  using enum effect::status;
  return status == begun && lease_until <= now ? in_doubt : status;
}

outcome aggregate::decide(const state& s, const command& c, const context& ctx, const stream_id&) {
  return std::visit([&](const auto& wish) { return decide_on(s, wish, ctx); }, c);
}

void aggregate::evolve(state& s, const fact& f, const envelope& at) {
  std::visit(folding{s, at}, f);
}

std::size_t aggregate::footprint(const state& s) noexcept {
  return sizeof(state) + s.outcome.size() + s.args_hash.size();
}

stream_id stream_of(std::string_view tenant, std::string_view key) {
  return {stream_kind::effect, {tenant, key}};
}

}  // namespace recalld::effect

#include "events/approval.hpp"

#include <algorithm>

#include "events/aggregates.hpp"
#include "events/canonical.hpp"
#include "events/envelope.hpp"

namespace recalld::approval {

namespace {

using outcome = result<aggregate::decision>;

constexpr std::string_view words[] = {"pending", "approved", "rejected", "expired", "cancelled"};

/// How the winner of a race is told to the others.
std::string winner_of(const round& r) {
  json::object_writer w;
  w.str("status", to_string(r.status)).str("resolved_by", r.resolved_by);
  w.str("resolved_at", format_time(r.resolved_at));
  if (!r.feedback.empty())
    w.str("feedback", r.feedback);
  return std::move(w).done();
}

tl::unexpected<error> unknown() {
  return fail({errc::not_found, "there is no such approval request", "approval"});
}

/// The round, if a decision can still be made.
result<const round*> open_round(const state& s, std::string_view id, time_us_t now) {
  const auto* r = s.find(id);
  if (r == nullptr)
    return unknown();
  if (r->seen_at(now) == status::expired)
    return fail({errc::expired, "the deadline of this request is over", "approval"});
  if (r->status != status::pending) {
    error e{errc::already_resolved,
            "was " + std::string(to_string(r->status)) + " by " + r->resolved_by, "approval"};
    e.detail = winner_of(*r);
    return fail(std::move(e));
  }
  return r;
}

outcome decide_on(const state& s, const request& c, const context& ctx, const stream_id& self) {
  if (auto good = check_id(c.what.tool, "tool"); !good)
    return fail(std::move(good.error()));
  if (c.what.args.size() > args_bytes_max)
    return fail_field("args", "must have at most 262144 bytes");
  if (c.what.text.size() > text_bytes_max)
    return fail_field("question", "must have at most 65536 bytes");
  if (c.expires_at != 0 && c.expires_at <= ctx.now)
    return fail_field("expires_at", "must be in the future");
  if (!s.rounds.empty() && s.rounds.back().seen_at(ctx.now) == status::pending)
    return aggregate::decision{};  // Attached: the caller finds the pending round.
  aggregate::decision out;
  if (!s.rounds.empty() && s.rounds.back().status == status::pending)
    out.facts.push_back(resolved{s.rounds.back().id, status::expired, "clock", {}});
  const auto version = ctx.version + out.facts.size() + 1;
  const auto id = std::string(self.parts().at(1)) + "." + std::to_string(version);
  out.facts.push_back(requested{id, c.what, c.expires_at});
  if (c.decided)
    out.facts.push_back(
      resolved{id, c.decided->approved ? status::approved : status::rejected, c.decided->by, {}});
  return out;
}

outcome decide_on(const state& s, const resolve& c, const context& ctx, const stream_id& self) {
  const auto how = status_of(c.decision);
  if (how != status::approved && how != status::rejected)
    return fail_field("decision", "must be `approved` or `rejected`");
  const auto r = open_round(s, c.id, ctx.now);
  if (!r)
    return fail(r.error());
  if (c.role == "agent")
    return fail({errc::forbidden, "agents never decide", "role"});
  if (!(*r)->what.created_by.empty() && c.by != (*r)->what.created_by && c.role != "admin")
    return fail({errc::forbidden, "only its creator or an admin may decide", "by"});
  if (c.feedback.size() > text_bytes_max)
    return fail_field("feedback", "must have at most 65536 bytes");
  if (c.grant && how != status::approved)
    return fail_field("grant", "goes with an approval only");
  aggregate::decision out;
  out.facts.push_back(resolved{c.id, *how, c.by, c.feedback});
  if (c.grant) {
    permission::give wish{*c.grant};
    wish.grant.given_by = c.by;
    wish.grant.approval = c.id;
    auto given = permission::aggregate::decide({}, wish, ctx, {});
    if (!given) {
      auto e = std::move(given.error());
      e.field = "grant." + e.field;
      return fail(std::move(e));
    }
    foreign f{permission::stream_of(self.parts().at(0)), {}};
    f.facts.emplace_back(std::move(given->facts.front()));
    out.foreign.push_back(std::move(f));
  }
  return out;
}

outcome decide_on(const state& s, const cancel& c, const context& ctx, const stream_id&) {
  const auto r = open_round(s, c.id, ctx.now);
  if (!r)
    return fail(r.error());
  return aggregate::decision{{resolved{c.id, status::cancelled, c.by, {}}}, {}};
}

outcome decide_on(const state& s, const claim& c, const context& ctx, const stream_id&) {
  const auto* r = s.find(c.id);
  if (r == nullptr)
    return unknown();
  const auto now = r->seen_at(ctx.now);
  if (now == status::expired)
    return fail({errc::expired, "it was never decided in time", "approval"});
  if (now != status::approved)
    return fail({errc::rejected,
                 "only what is approved may be executed; this is " + std::string(to_string(now)),
                 "approval"});
  if (!r->feedback.empty())
    return fail({errc::rejected, "it was approved with feedback: plan again with it", "approval"});
  if (c.args_hash != r->what.args_hash)
    return fail({errc::rejected, "the arguments are not those that were approved", "args_hash"});
  if (r->claimed_at != 0) {
    json::object_writer w;
    w.str("claimed_by", r->claimed_by).str("claimed_at", format_time(r->claimed_at));
    error e{errc::already_claimed, "the one claim was granted before", "approval"};
    e.detail = std::move(w).done();
    return fail(std::move(e));
  }
  return aggregate::decision{{claimed{c.id, c.by, c.effect}}, {}};
}

outcome decide_on(const state& s, const forget_now&, const context&, const stream_id&) {
  if (s.rounds.empty())
    return aggregate::decision{};
  return aggregate::decision{{forgotten{}}, {}};
}

outcome decide_on(const state& s, const fall_due&, const context& ctx, const stream_id&) {
  if (s.rounds.empty())
    return aggregate::decision{};
  const auto& r = s.rounds.back();
  aggregate::decision out;
  if (r.status == status::pending && r.seen_at(ctx.now) == status::expired)
    out.facts.push_back(resolved{r.id, status::expired, "clock", {}});
  else if (r.status != status::pending && r.resolved_at + ended_kept_us <= ctx.now)
    out.facts.push_back(forgotten{});
  return out;
}

struct folding {
  state& s;
  const envelope& at;

  round* find(std::string_view id) const { return const_cast<round*>(s.find(id)); }

  void operator()(const requested& f) const {
    if (!s.rounds.empty()) {
      auto& before = s.rounds.back().what;  // The hash stays: its claim may come yet.
      before.args.clear();
      before.text.clear();
      before.sender_context.clear();
    }
    if (s.rounds.size() >= rounds_max)
      s.rounds.erase(s.rounds.begin());
    round r;
    r.id = f.id;
    r.what = f.what;
    r.created_at = at.time;
    r.expires_at = f.expires_at;
    s.rounds.push_back(std::move(r));
  }
  void operator()(const resolved& f) const {
    if (auto* r = find(f.id)) {
      r->status = f.status;
      r->resolved_at = at.time;
      r->resolved_by = f.by;
      r->feedback = f.feedback;
    }
  }
  void operator()(const claimed& f) const {
    if (auto* r = find(f.id)) {
      r->claimed_at = at.time;
      r->claimed_by = f.by;
      r->effect = f.effect;
    }
  }
  void operator()(const forgotten&) const { s = {}; }
};

}  // namespace

std::string_view to_string(status s) noexcept { return words[static_cast<std::size_t>(s)]; }

std::optional<status> status_of(std::string_view word) noexcept {
  for (std::size_t i = 0; i < std::size(words); ++i)
    if (words[i] == word)
      return static_cast<status>(i);
  return std::nullopt;
}

status round::seen_at(time_us_t now) const noexcept {
  using enum approval::status;
  return status == pending && expires_at != 0 && expires_at <= now ? expired : status;
}

const round* state::find(std::string_view id) const noexcept {
  const auto r =
    std::find_if(rounds.begin(), rounds.end(), [&](const round& one) { return one.id == id; });
  return r == rounds.end() ? nullptr : &*r;
}

outcome aggregate::decide(const state& s, const command& c, const context& ctx,
                          const stream_id& self) {
  return std::visit([&](const auto& wish) { return decide_on(s, wish, ctx, self); }, c);
}

void aggregate::evolve(state& s, const fact& f, const envelope& at) {
  std::visit(folding{s, at}, f);
}

std::optional<base_mark> aggregate::base_of(const fact& f, version_t version) {
  return std::holds_alternative<forgotten>(f) ? std::optional(base_mark{version - 1, false, {}})
                                              : std::nullopt;
}

std::size_t aggregate::footprint(const state& s) noexcept {
  auto bytes = sizeof(state) + s.rounds.size() * sizeof(round);
  for (const auto& r : s.rounds)
    bytes += r.what.args.size() + r.what.text.size() + r.what.sender_context.size();
  return bytes;
}

stream_id call_stream(std::string_view tenant, const question& what, std::string_view fresh) {
  const auto call =
    what.run.empty() ? std::string(fresh) : hash_of_parts({what.run, what.tool, what.args_hash});
  return {stream_kind::approval, {tenant, call}};
}

result<stream_id> stream_of(std::string_view tenant, std::string_view id) {
  const auto dot = id.rfind('.');
  if (dot == id.npos || dot == 0)
    return unknown();
  return stream_id{stream_kind::approval, {tenant, id.substr(0, dot)}};
}

}  // namespace recalld::approval

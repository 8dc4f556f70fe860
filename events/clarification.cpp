#include "events/clarification.hpp"

#include <algorithm>

#include "events/aggregates.hpp"
#include "events/canonical.hpp"
#include "events/envelope.hpp"
#include "events/json.hpp"

namespace recalld::clarification {

namespace {

using outcome = result<aggregate::decision>;

constexpr std::string_view words[] = {"pending", "answered", "expired", "cancelled"};

tl::unexpected<error> unknown() {
  return fail({errc::not_found, "there is no such question", "clarification"});
}

/// The round, if an answer can still be given.
result<const round*> open_round(const state& s, std::string_view id, time_us_t now) {
  const auto* r = s.find(id);
  if (r == nullptr)
    return unknown();
  if (r->seen_at(now) == status::expired)
    return fail({errc::expired, "the deadline of this question is over", "clarification"});
  if (r->status != status::pending) {
    json::object_writer w;
    w.str("status", to_string(r->status)).str("by", r->ended_by).str("answer", r->answer);
    w.str("at", format_time(r->ended_at));
    error e{errc::already_answered,
            "was " + std::string(to_string(r->status)) + " by " + r->ended_by, "clarification"};
    e.detail = std::move(w).done();
    return fail(std::move(e));
  }
  return r;
}

outcome one(fact f) {
  aggregate::decision out;
  out.facts.push_back(std::move(f));
  return out;
}

outcome decide_on(const state& s, const ask& c, const context& ctx, const stream_id& self) {
  if (c.what.text.find_first_not_of(" \t\r\n") == c.what.text.npos)
    return fail_field("question", "must not be empty");
  if (c.what.text.size() > text_bytes_max)
    return fail_field("question", "must have at most 65536 bytes");
  if (c.expires_at != 0 && c.expires_at <= ctx.now)
    return fail_field("expires_at", "must be in the future");
  if (!s.rounds.empty() && s.rounds.back().seen_at(ctx.now) == status::pending)
    return aggregate::decision{};  // Attached.
  aggregate::decision out;
  if (!s.rounds.empty() && s.rounds.back().status == status::pending)
    out.facts.push_back(ended{s.rounds.back().id, status::expired, {}, "clock"});
  const auto version = ctx.version + out.facts.size() + 1;
  out.facts.push_back(
    asked{std::string(self.parts().at(1)) + "." + std::to_string(version), c.what, c.expires_at});
  return out;
}

outcome decide_on(const state& s, const answer& c, const context& ctx, const stream_id&) {
  if (c.text.find_first_not_of(" \t\r\n") == c.text.npos)
    return fail_field("answer", "must not be empty");
  if (c.text.size() > text_bytes_max)
    return fail_field("answer", "must have at most 65536 bytes");
  const auto r = open_round(s, c.id, ctx.now);
  if (!r)
    return fail(r.error());
  if (!(*r)->what.asked_by.empty() && c.by != (*r)->what.asked_by && c.role != "admin")
    return fail({errc::forbidden, "this is somebody else's question", "by"});
  return one(ended{c.id, status::answered, c.text, c.by});
}

outcome decide_on(const state& s, const cancel& c, const context& ctx, const stream_id&) {
  const auto r = open_round(s, c.id, ctx.now);
  if (!r)
    return fail(r.error());
  return one(ended{c.id, status::cancelled, {}, c.by});
}

outcome decide_on(const state& s, const forget_now&, const context&, const stream_id&) {
  return s.rounds.empty() ? aggregate::decision{} : one(forgotten{});
}

outcome decide_on(const state& s, const fall_due&, const context& ctx, const stream_id&) {
  if (s.rounds.empty())
    return aggregate::decision{};
  const auto& r = s.rounds.back();
  aggregate::decision out;
  if (r.status == status::pending && r.seen_at(ctx.now) == status::expired)
    out.facts.push_back(ended{r.id, status::expired, {}, "clock"});
  else if (r.status != status::pending && r.ended_at + ended_kept_us <= ctx.now)
    out.facts.push_back(forgotten{});
  return out;
}

struct folding {
  state& s;
  const envelope& at;

  void operator()(const asked& f) const {
    if (!s.rounds.empty())
      s.rounds.back().what = {};
    if (s.rounds.size() >= rounds_max)
      s.rounds.erase(s.rounds.begin());
    round r;
    r.id = f.id;
    r.what = f.what;
    r.created_at = at.time;
    r.expires_at = f.expires_at;
    s.rounds.push_back(std::move(r));
  }
  void operator()(const ended& f) const {
    for (auto& r : s.rounds)
      if (r.id == f.id) {
        r.status = f.status;
        r.ended_at = at.time;
        r.ended_by = f.by;
        r.answer = f.answer;
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
  using enum clarification::status;
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
    bytes += r.what.text.size() + r.what.context.size() + r.answer.size();
  return bytes;
}

stream_id question_stream(std::string_view tenant, const question& what, std::string_view fresh) {
  const auto key =
    what.run.empty()
      ? std::string(fresh)
      : hash_of_parts({what.run, what.app, what.user, what.session, what.asked_by, what.text});
  return {stream_kind::clarification, {tenant, key}};
}

result<stream_id> stream_of(std::string_view tenant, std::string_view id) {
  const auto dot = id.rfind('.');
  if (dot == id.npos || dot == 0)
    return unknown();
  return stream_id{stream_kind::clarification, {tenant, id.substr(0, dot)}};
}

}  // namespace recalld::clarification

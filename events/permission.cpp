#include "events/permission.hpp"

#include <algorithm>

#include "events/aggregates.hpp"
#include "events/envelope.hpp"

namespace recalld::permission {

namespace {

using outcome = result<aggregate::decision>;

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same(std::string_view a, std::string_view b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

result<void> check_pattern(std::string_view pattern, std::string_view field) {
  if (auto good = check_id(pattern, field); !good)
    return good;
  if (pattern.find('*') < pattern.size() - 1)
    return fail_field(std::string(field), "may have a * at its end only");
  return {};
}

result<void> check_patterns(const std::vector<std::string>& patterns, const std::string& field) {
  if (patterns.size() > rules_max)
    return fail_field(field, "at most 1000 patterns");
  for (std::size_t i = 0; i < patterns.size(); ++i)
    if (auto good = check_pattern(patterns[i], field + "[" + std::to_string(i) + "]"); !good)
      return good;
  return {};
}

outcome one(fact f) {
  aggregate::decision out;
  out.facts.push_back(std::move(f));
  return out;
}

outcome decide_on(const state& s, const set_rules& c, const context&) {
  for (const auto& [field, list] : {std::pair{"deny", &c.deny}, std::pair{"allow", &c.allow}})
    if (auto good = check_patterns(*list, field); !good)
      return fail(std::move(good.error()));
  if (s.deny == c.deny && s.allow == c.allow)
    return aggregate::decision{};
  return one(rules_set{c.deny, c.allow});
}

outcome decide_on(const state& s, const give& c, const context& ctx) {
  if (auto good = check_pattern(c.grant.tool, "tool"); !good)
    return fail(std::move(good.error()));
  if (c.grant.expires_at <= ctx.now)
    return fail_field("for_s", "must be in the future");
  if (c.grant.expires_at - ctx.now > grant_us_max)
    return fail_field("for_s", "must be at most 366 days");
  if (s.grants.size() >= grants_max)
    return fail(errc::rejected, "this tenant has 10000 grants; revoke some");
  auto g = c.grant;
  if (g.id.empty())
    g.id = uuid_v7(ctx.now, ctx.random);
  return one(granted{std::move(g)});
}

outcome decide_on(const state& s, const revoke& c, const context& ctx) {
  const auto found = s.grants.find(c.id);
  if (found == s.grants.end() || found->second.expires_at <= ctx.now)
    return fail({errc::not_found, "there is no such grant", "grant"});
  return one(revoked{c.id, c.by});
}

outcome decide_on(const state& s, const revoke_all_of& c, const context&) {
  aggregate::decision out;
  for (const auto& [id, g] : s.grants)
    if (g.principal == c.principal || (g.app == c.app && g.user == c.principal))
      out.facts.push_back(revoked{id, c.by});
  return out;
}

outcome decide_on(const state& s, const fall_due&, const context& ctx) {
  aggregate::decision out;
  for (const auto& [id, g] : s.grants)
    if (g.expires_at <= ctx.now)
      out.facts.push_back(revoked{id, "clock"});
  return out;
}

struct folding {
  state& s;
  void operator()(const rules_set& f) const {
    s.deny = f.deny;
    s.allow = f.allow;
  }
  void operator()(const granted& f) const { s.grants.insert_or_assign(f.grant.id, f.grant); }
  void operator()(const revoked& f) const { s.grants.erase(f.id); }
};

}  // namespace

bool matches(std::string_view pattern, std::string_view tool) noexcept {
  if (!pattern.ends_with('*'))
    return same(pattern, tool);
  pattern.remove_suffix(1);
  return tool.size() >= pattern.size() && same(pattern, tool.substr(0, pattern.size()));
}

std::optional<verdict> judge(const state& s, const attempt& a, time_us_t now) {
  for (const auto& pattern : s.deny)
    if (matches(pattern, a.tool))
      return verdict{false, "rule:deny " + pattern};
  for (const auto& pattern : s.allow)
    if (matches(pattern, a.tool))
      return verdict{true, "rule:allow " + pattern};
  for (const auto& [id, g] : s.grants) {
    const bool whose = g.principal.empty() || g.principal == a.principal;
    const bool where =
      g.session.empty() || (g.app == a.app && g.user == a.user && g.session == a.session);
    if (g.expires_at > now && whose && where && matches(g.tool, a.tool)
        && a.args.find(g.contains) != a.args.npos)
      return verdict{true, "grant:" + id};
  }
  return std::nullopt;
}

outcome aggregate::decide(const state& s, const command& c, const context& ctx, const stream_id&) {
  return std::visit([&](const auto& wish) { return decide_on(s, wish, ctx); }, c);
}

void aggregate::evolve(state& s, const fact& f, const envelope&) { std::visit(folding{s}, f); }

std::size_t aggregate::footprint(const state& s) noexcept {
  return sizeof(state) + (s.deny.size() + s.allow.size()) * 64 + s.grants.size() * 512;
}

stream_id stream_of(std::string_view tenant) { return {stream_kind::permission, {tenant}}; }

}  // namespace recalld::permission

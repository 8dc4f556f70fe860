#include "events/scope.hpp"

#include <set>

#include "events/aggregates.hpp"
#include "events/envelope.hpp"

namespace recalld::scope {

namespace {

using outcome = result<aggregate::decision>;

constexpr std::size_t state_bytes_max = session::state_bytes_max;

std::size_t bytes_of(const json::raw_map& map) {
  std::size_t sum = 0;
  for (const auto& [key, value] : map)
    sum += key.size() + value.size();
  return sum;
}

/// A stream of (tenant, app) is an application's, one of (tenant, app, user) a user's.
bool is_app(const stream_id& self) { return self.parts().size() == 2; }

/// `key` as it is stored: the scope's own prefix may be there, another one may not.
result<std::string> own_key(const std::string& key, const stream_id& self, std::string_view field) {
  std::string_view plain = key;
  std::string_view own = is_app(self) ? "app:" : "user:";
  if (plain.starts_with(own))
    plain.remove_prefix(own.size());
  else if (plain.starts_with("app:") || plain.starts_with("user:") || plain.starts_with("temp:"))
    return fail_field(std::string(field), "must not have the prefix of another scope");
  if (auto good = check_id(plain, field); !good)
    return fail(std::move(good.error()));
  return std::string(plain);
}

outcome one(fact f) {
  aggregate::decision out;
  out.facts.push_back(std::move(f));
  return out;
}

outcome decide_on(const state& s, const update_state& c, const context&, const stream_id& self) {
  json::raw_map set;
  for (const auto& [key, value] : c.set) {
    auto field = std::string("state.").append(key.substr(0, id_bytes_max));
    auto plain = own_key(key, self, field);
    if (!plain)
      return fail(std::move(plain.error()));
    if (!set.emplace(std::move(*plain), value).second)
      return fail_field(std::move(field), "is there twice, with and without its prefix");
  }
  if (auto good = session::split_scopes(set, "state"); !good)
    return fail(std::move(good.error()));
  if (set.empty())
    return aggregate::decision{};
  auto merged = s.values;
  for (const auto& [key, value] : set)
    merged.insert_or_assign(key, value);
  if (bytes_of(merged) > state_bytes_max)
    return fail_field("state", "would grow over 4 MiB");
  return one(state_changed{std::move(set), {}});
}

outcome decide_on(const state& s, const delete_keys& c, const context&, const stream_id& self) {
  std::set<std::string> known;
  if (c.all) {
    for (const auto& [key, value] : s.values)
      known.insert(key);
  } else {
    for (std::size_t i = 0; i < c.keys.size(); ++i) {
      auto plain = own_key(c.keys[i], self, "keys[" + std::to_string(i) + "]");
      if (!plain)
        return fail(std::move(plain.error()));
      if (s.values.contains(*plain))
        known.insert(std::move(*plain));
    }
  }
  if (known.empty())
    return aggregate::decision{};
  return one(state_changed{{}, {known.begin(), known.end()}});
}

outcome decide_on(const state& s, const set_retention& c, const context&, const stream_id& self) {
  if (!is_app(self))
    return fail_field("retention", "belongs to an application");
  if (c.value.ttl_s > ttl_s_max)
    return fail_field("ttl_s", "must be at most a hundred years");
  if (c.value == s.retention)
    return aggregate::decision{};
  return one(retention_changed{c.value});
}

outcome decide_on(const state&, const reserve_id& c, const context&, const stream_id&) {
  if (auto good = check_id(c.id, "id"); !good)
    return fail(std::move(good.error()));
  return one(id_reserved{c.id});
}

outcome decide_on(const state& s, const clear&, const context& ctx, const stream_id& self) {
  if (is_app(self))
    return fail_field("user", "is missing: an application is not cleared");
  return ctx.version == s.cleared_at ? outcome{aggregate::decision{}} : one(cleared{});
}

struct folding {
  state& s;
  const envelope& at;

  void operator()(const state_changed& f) const {
    for (const auto& key : f.deleted)
      s.values.erase(key);
    for (const auto& [key, value] : f.set)
      s.values.insert_or_assign(key, value);
    s.updated_at = at.time;
  }
  void operator()(const retention_changed& f) const {
    s.retention = f.value;
    s.updated_at = at.time;
  }
  void operator()(const id_reserved&) const {}
  void operator()(const cleared&) const {
    s = state{};
    s.facts = at.version;
    s.cleared_at = at.version;
    s.updated_at = at.time;
  }
};

}  // namespace

result<aggregate::decision> aggregate::decide(const state& s, const command& c, const context& ctx,
                                              const stream_id& self) {
  return std::visit([&](const auto& wish) { return decide_on(s, wish, ctx, self); }, c);
}

void aggregate::evolve(state& s, const fact& f, const envelope& at) {
  s.facts = at.version;
  std::visit(folding{s, at}, f);
}

std::optional<base_mark> aggregate::base_of(const fact& f, version_t version) {
  if (!std::holds_alternative<cleared>(f))
    return std::nullopt;
  return base_mark{.through = version - 1};
}

std::size_t aggregate::footprint(const state& s) noexcept {
  return sizeof(state) + bytes_of(s.values) + s.values.size() * 96;
}

}  // namespace recalld::scope

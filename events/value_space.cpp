#include "events/value_space.hpp"

#include <memory>

#include "events/aggregates.hpp"
#include "events/envelope.hpp"

namespace recalld::value_space {

namespace {

using outcome = result<aggregate::decision>;

constexpr time_us_t second = 1'000'000;

class deciding {
public:
  deciding(const state& s, const context& ctx) : s_(s), ctx_(ctx) {}

  outcome operator()(const set& c) const {
    if (auto good = check_id(c.key, "key"); !good)
      return fail(std::move(good.error()));
    if (c.json.size() > value_bytes_max)
      return fail_field("value", "must be at most " + std::to_string(value_bytes_max) + " bytes");
    if (c.ttl_s == 0 || c.ttl_s > ttl_s_max)
      return fail_field("ttl_s", "must be from 1 to " + std::to_string(ttl_s_max) + " seconds");
    const auto* lives = s_.find(c.key, ctx_.now);
    if (lives != nullptr && c.if_absent)
      return aggregate::decision{};
    auto out = anew_if_due(c.key);
    out.facts.push_back(value_set{c.key, c.json, lives != nullptr ? lives->created_at : ctx_.now,
                                  ctx_.now, ctx_.now + static_cast<time_us_t>(c.ttl_s) * second});
    return out;
  }

  outcome operator()(const remove& c) const {
    if (auto good = check_id(c.key, "key"); !good)
      return fail(std::move(good.error()));
    if (s_.find(c.key, ctx_.now) == nullptr)
      return aggregate::decision{};
    return ended({c.key});
  }

  outcome operator()(const expire&) const {
    std::vector<std::string> over;
    for (const auto& [when, key] : s_.by_expiry) {
      if (when > ctx_.now)
        break;
      over.push_back(key);
    }
    return over.empty() ? aggregate::decision{} : ended(over);
  }

private:
  aggregate::decision ended(const std::vector<std::string>& keys) const {
    aggregate::decision out;
    // The last one takes everything along.
    if (keys.size() == s_.values.size()) {
      out.facts.push_back(begun_anew{});
      return out;
    }
    for (const auto& key : keys)
      out.facts.push_back(value_ended{key});
    return out;
  }

  /// What is put before a value that is set: nothing, or a new beginning with all that lives besides.
  aggregate::decision anew_if_due(std::string_view except) const {
    aggregate::decision out;
    const auto facts = ctx_.version - s_.base;
    const auto over = facts - std::min<version_t>(facts, s_.values.size());
    if (over <= facts_over_max || over <= facts / 2)
      return out;
    out.facts.push_back(begun_anew{});
    for (const auto& [key, v] : s_.values)
      if (key != except && v.expires_at > ctx_.now)
        out.facts.push_back(value_set{key, v.json, v.created_at, v.updated_at, v.expires_at});
    return out;
  }

  const state& s_;
  const context& ctx_;
};

struct folding {
  state& s;
  const envelope& at;

  void take_out(std::string_view key) const {
    const auto found = s.values.find(key);
    if (found == s.values.end())
      return;
    s.bytes -= found->first.size() + found->second.json.size();
    s.by_expiry.erase({found->second.expires_at, found->first});
    s.values.erase(found);
  }

  void operator()(const value_set& f) const {
    take_out(f.key);
    s.bytes += f.key.size() + f.json.size();
    s.by_expiry.emplace(f.expires_at, f.key);
    s.values.emplace(f.key, held{f.json, f.created_at, f.updated_at, f.expires_at, at.version});
  }
  void operator()(const value_ended& f) const { take_out(f.key); }
  void operator()(const begun_anew&) const {
    s = state{};
    s.base = at.version - 1;
  }
};

}  // namespace

const held* state::find(std::string_view key, time_us_t now) const {
  const auto found = values.find(key);
  return found == values.end() || found->second.expires_at <= now ? nullptr : &found->second;
}

stream_id stream_of(std::string_view tenant, std::string_view app, std::string_view type,
                    std::string_view key) {
  const auto bucket = std::to_string(fnv1a(key) % buckets);
  return {stream_kind::value, {tenant, app, type, bucket}};
}

std::string key_prefix(std::string_view key) {
  return std::to_string(key.size()) + ':' + std::string(key) + '/';
}

result<aggregate::decision> aggregate::decide(const state& s, const command& c, const context& ctx,
                                              const stream_id&) {
  return std::visit(deciding{s, ctx}, c);
}

void aggregate::evolve(state& s, const fact& f, const envelope& at) {
  std::visit(folding{s, at}, f);
}

std::size_t aggregate::footprint(const state& s) noexcept {
  constexpr std::size_t one_value = sizeof(held) + 2 * sizeof(std::string) + 2 * 64;
  return sizeof(state) + 2 * s.bytes + s.values.size() * one_value;
}

std::optional<base_mark> aggregate::base_of(const fact& f, version_t version) {
  if (!std::holds_alternative<begun_anew>(f))
    return std::nullopt;
  return base_mark{.through = version - 1};
}

std::string aggregate::forgets(const fact& f) {
  if (const auto* set = std::get_if<value_set>(&f))
    return key_prefix(set->key);
  if (const auto* ended = std::get_if<value_ended>(&f))
    return key_prefix(ended->key);
  return {};
}

}  // namespace recalld::value_space

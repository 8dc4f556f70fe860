#include "events/principal.hpp"

#include <memory>

#include "events/aggregates.hpp"
#include "events/envelope.hpp"

namespace recalld::principal {

namespace {

using outcome = result<aggregate::decision>;

result<void> check_text(std::string_view text, std::string_view field) {
  if (text.size() > text_bytes_max)
    return fail_field(std::string(field),
                      "must be at most " + std::to_string(text_bytes_max) + " bytes");
  if (!json::valid_utf8(text))
    return fail_field(std::string(field), "must be valid UTF-8");
  return {};
}

struct named {
  std::string_view text;
  std::string_view field;
};

result<void> check_texts(std::initializer_list<named> all) {
  for (const auto& one : all)
    if (auto good = check_text(one.text, one.field); !good)
      return good;
  return {};
}

struct counted {
  std::string_view name;
  std::uint64_t usage::*number;
};
constexpr counted numbers[] = {
  {"calls", &usage::calls},
  {"prompt_tokens", &usage::prompt_tokens},
  {"completion_tokens", &usage::completion_tokens},
  {"reasoning_tokens", &usage::reasoning_tokens},
  {"total_tokens", &usage::total_tokens},
  {"duration_ms", &usage::duration_ms},
};

class deciding {
public:
  deciding(const state& s, const context& ctx) : s_(s), ctx_(ctx) {}

  outcome operator()(const put& c) const {
    const auto& r = c.record;
    if (auto good =
          check_texts({{r.username, "username"}, {r.status, "status"}, {r.network, "network"}});
        !good)
      return fail(std::move(good.error()));
    if (r.topics.size() > things_max)
      return fail_field("topics", "must be at most " + std::to_string(things_max));
    for (const auto& topic : r.topics)
      if (auto good = check_text(topic, "topics"); !good)
        return fail(std::move(good.error()));
    if (s_.created_at != 0 && s_.record == r)
      return aggregate::decision{};
    return one(record_put{r, s_.created_at != 0 ? s_.created_at : ctx_.now});
  }

  outcome operator()(const put_session& c) const {
    if (auto good = check_id(c.name, "session"); !good)
      return fail(std::move(good.error()));
    const auto& m = c.session;
    if (auto good = check_texts({{m.endpoint, "endpoint"},
                                 {m.base_url, "base_url"},
                                 {m.model, "model"},
                                 {m.type, "type"}});
        !good)
      return fail(std::move(good.error()));
    if (m.sealed.size() > sealed_bytes_max)
      return fail_field("credential", "is too long");
    const auto there = s_.sessions.find(c.name);
    if (there == s_.sessions.end() && s_.sessions.size() >= things_max)
      return too_many("session");
    auto whole = m;
    if (c.keep_credential && there != s_.sessions.end())
      whole.sealed = there->second.sealed;
    if (there != s_.sessions.end() && there->second == whole)
      return aggregate::decision{};
    return one(session_put{c.name, std::move(whole)});
  }

  outcome operator()(const drop_session& c) const {
    if (auto good = check_id(c.name, "session"); !good)
      return fail(std::move(good.error()));
    return s_.sessions.contains(c.name) ? one(session_dropped{c.name}) : aggregate::decision{};
  }

  outcome operator()(const reseal& c) const {
    const auto there = s_.sessions.find(c.name);
    if (there == s_.sessions.end() || there->second.sealed != c.was || c.was == c.sealed)
      return aggregate::decision{};
    if (c.sealed.size() > sealed_bytes_max)
      return fail_field("credential", "is too long");
    auto whole = there->second;
    whole.sealed = c.sealed;
    return one(session_put{c.name, std::move(whole)});
  }

  outcome operator()(const attach& c) const {
    for (const auto& [id, field] :
         {named{c.name, "collection"}, named{c.what.app, "app"}, named{c.what.user, "user"}})
      if (auto good = check_id(id, field); !good)
        return fail(std::move(good.error()));
    const auto there = s_.collections.find(c.name);
    if (there != s_.collections.end() && there->second == c.what)
      return aggregate::decision{};
    if (there == s_.collections.end() && s_.collections.size() >= things_max)
      return too_many("collection");
    return one(collection_attached{c.name, c.what});
  }

  outcome operator()(const detach& c) const {
    if (auto good = check_id(c.name, "collection"); !good)
      return fail(std::move(good.error()));
    return s_.collections.contains(c.name) ? one(collection_detached{c.name})
                                           : aggregate::decision{};
  }

  outcome operator()(const record_usage& c) const {
    if (auto good = check_id(c.call, "call"); !good)
      return fail(std::move(good.error()));
    if (auto good = check_texts({{c.session, "session"}, {c.model, "model"}}); !good)
      return fail(std::move(good.error()));
    for (const auto& n : numbers)
      if (c.used.*n.number > number_max)
        return fail_field(std::string(n.name), "must be at most 2^53");
    if (ctx_.known.contains(usage_key(c.call)))
      return aggregate::decision{};
    if (!c.session.empty() && !s_.sessions.contains(c.session))
      return fail({errc::not_found, "there is no such model session", "session"});
    if (!sum(s_.all.total, c.used)) {
      for (const auto& n : numbers)
        if (s_.all.total.*n.number + c.used.*n.number > number_max)
          return fail({errc::rejected, "the total would pass 2^53", std::string(n.name)});
      return fail(errc::rejected, "the total would pass 2^53");
    }
    auto model = c.model;
    if (const auto of = s_.sessions.find(c.session); model.empty() && of != s_.sessions.end())
      model = of->second.model;
    if (!model.empty() && !s_.by_model.contains(model) && s_.by_model.size() >= things_max)
      return too_many("model");
    return one(usage_recorded{c.call, c.session, std::move(model), c.used});
  }

  outcome operator()(const purge&) const {
    return s_ == state{} ? aggregate::decision{} : one(purged{});
  }

private:
  static aggregate::decision one(fact f) {
    aggregate::decision out;
    out.facts.push_back(std::move(f));
    return out;
  }
  static outcome too_many(std::string_view field) {
    return fail(
      {errc::rejected, "at most " + std::to_string(things_max) + " of them", std::string(field)});
  }

  const state& s_;
  const context& ctx_;
};

struct folding {
  state& s;
  const envelope& at;

  static void count(spent& into, const usage& used) {
    into.last = used;
    into.total = sum(into.total, used).value_or(into.total);
  }

  void operator()(const record_put& f) const {
    s.created_at = f.created_at;
    s.record = f.record;
  }
  void operator()(const session_put& f) const { s.sessions.insert_or_assign(f.name, f.session); }
  void operator()(const session_dropped& f) const {
    s.sessions.erase(f.name);
    s.by_session.erase(f.name);
  }
  void operator()(const collection_attached& f) const {
    s.collections.insert_or_assign(f.name, f.what);
  }
  void operator()(const collection_detached& f) const { s.collections.erase(f.name); }
  void operator()(const usage_recorded& f) const {
    count(s.all, f.used);
    if (!f.session.empty())
      count(s.by_session[f.session], f.used);
    if (!f.model.empty())
      count(s.by_model[f.model], f.used);
  }
  void operator()(const purged&) const { s = state{}; }
};

}  // namespace

std::optional<usage> sum(const usage& a, const usage& b) noexcept {
  usage out;
  for (const auto& n : numbers) {
    if (a.*n.number > number_max || b.*n.number > number_max - a.*n.number)
      return std::nullopt;
    out.*n.number = a.*n.number + b.*n.number;
  }
  return out;
}

std::string usage_key(std::string_view call) { return "usage/" + std::string(call); }

std::string session_prefix(std::string_view name) {
  return "session/" + std::to_string(name.size()) + ':' + std::string(name) + '/';
}

std::vector<std::string> aggregate::lookups(const state& s, const command& c) {
  // What was counted needs no session any more. Otherwise the commit tells whether it was counted.
  const auto* wish = std::get_if<record_usage>(&c);
  if (wish == nullptr
      || ((wish->session.empty() || s.sessions.contains(wish->session))
          && sum(s.all.total, wish->used)))
    return {};
  return {usage_key(wish->call)};
}

result<aggregate::decision> aggregate::decide(const state& s, const command& c, const context& ctx,
                                              const stream_id&) {
  return std::visit(deciding{s, ctx}, c);
}

void aggregate::evolve(state& s, const fact& f, const envelope& at) {
  std::visit(folding{s, at}, f);
  if (!std::holds_alternative<purged>(f))
    s.updated_at = at.time;
}

std::size_t aggregate::footprint(const state& s) noexcept {
  constexpr std::size_t one = 512;
  return sizeof(state)
         + one
             * (s.sessions.size() + s.collections.size() + s.by_session.size() + s.by_model.size());
}

std::optional<base_mark> aggregate::base_of(const fact& f, version_t version) {
  if (!std::holds_alternative<purged>(f))
    return std::nullopt;
  return base_mark{.through = version - 1};
}

std::string aggregate::forgets(const fact& f) {
  // A credential that was replaced or dropped leaves nothing behind.
  if (const auto* put = std::get_if<session_put>(&f))
    return session_prefix(put->name);
  if (const auto* dropped = std::get_if<session_dropped>(&f))
    return session_prefix(dropped->name);
  return {};
}

}  // namespace recalld::principal

#include "events/memory_space.hpp"

#include <array>
#include <memory>

#include <openssl/evp.h>

#include "events/aggregates.hpp"
#include "events/envelope.hpp"

namespace recalld::memory_space {

namespace {

using outcome = result<aggregate::decision>;

void append_sized(std::string& out, std::string_view part) {
  out.append(std::to_string(part.size())).push_back(':');
  out.append(part);
}

result<void> check_text(std::string_view text, std::string_view field, std::size_t most) {
  if (text.size() > most)
    return fail_field(std::string(field), "must be at most " + std::to_string(most) + " bytes");
  if (!json::valid_utf8(text))
    return fail_field(std::string(field), "must be valid UTF-8");
  return {};
}

result<void> check_words(const std::vector<std::string>& words, std::string_view field) {
  if (words.size() > topics_max)
    return fail_field(std::string(field), "must be at most " + std::to_string(topics_max));
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto path = std::string(field) + "[" + std::to_string(i) + "]";
    if (words[i].empty())
      return fail_field(path, "must not be empty");
    if (auto good = check_text(words[i], path, topic_bytes_max); !good)
      return good;
  }
  return {};
}

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos;
}

result<void> check(const content& c) {
  if (is_blank(c.text))
    return fail_field("text", "must not be empty");
  if (auto good = check_text(c.text, "text", text_bytes_max); !good)
    return good;
  if (auto good = check_words(c.topics, "topics"); !good)
    return good;
  if (auto good = check_words(c.participants, "participants"); !good)
    return good;
  if (auto good = check_text(c.location, "location", topic_bytes_max); !good)
    return good;
  return check_text(c.metadata, "metadata", metadata_bytes_max);
}

class deciding {
public:
  deciding(const state& s, const context& ctx) : s_(s), ctx_(ctx) {}

  outcome operator()(const add& c) const {
    if (auto good = check(c.content); !good)
      return fail(std::move(good.error()));
    auto hash = hash_of(c.content);
    if (auto same = s_.by_hash.find(hash); same != s_.by_hash.end()) {
      const auto& m = s_.memories.find(same->second)->second;
      return one(
        retold{same->second, m.revision + 1, c.content.topics, c.content.metadata, c.origin});
    }
    aggregate::decision out;
    if (auto room = make_room(out.facts); !room)
      return fail(std::move(room.error()));
    out.facts.push_back(
      added{uuid_v7(ctx_.now, ctx_.random), std::move(hash), c.content, c.origin});
    return out;
  }

  outcome operator()(const update& c) const {
    auto* m = find(c.id);
    if (m == nullptr)
      return missing();
    if (c.of_revision != 0 && c.of_revision != m->revision)
      return fail(errc::conflict, "the memory is at revision " + std::to_string(m->revision));
    if (auto good = check(c.content); !good)
      return fail(std::move(good.error()));
    auto hash = hash_of(c.content);
    if (m->status == status::active)
      if (auto other = holder_of(hash, c.id); !other.empty())
        return taken(other);
    return one(updated{c.id, m->revision + 1, std::move(hash), c.content, c.reason, c.origin});
  }

  outcome operator()(const set_status& c) const {
    auto* m = find(c.id);
    if (m == nullptr)
      return missing();
    if (!c.replaced_by.empty()) {
      if (c.to != status::superseded || c.replaced_by == c.id)
        return fail_field("replaced_by", "must be another memory, of one that is superseded");
      if (find(c.replaced_by) == nullptr)
        return fail_field("replaced_by", "there is no such memory");
    }
    if (m->status == c.to)
      return aggregate::decision{};
    aggregate::decision out;
    if (c.to == status::active) {
      if (auto other = holder_of(m->hash, c.id); !other.empty())
        return taken(other);
      if (auto room = make_room(out.facts); !room)
        return fail(std::move(room.error()));
    }
    out.facts.push_back(
      status_changed{c.id, m->revision + 1, c.to, c.replaced_by, c.reason, c.origin});
    return out;
  }

  outcome operator()(const remove& c) const {
    if (auto good = check_id(c.id, "id"); !good)
      return fail(std::move(good.error()));
    return find(c.id) == nullptr ? aggregate::decision{} : one(removed{c.id});
  }

  outcome operator()(const clear&) const {
    return s_.memories.empty() ? aggregate::decision{} : one(cleared{s_.limit});
  }

  outcome operator()(const set_limit& c) const {
    return c.value == s_.limit ? aggregate::decision{} : one(limit_changed{c.value});
  }

  outcome operator()(const embed& c) const {
    if (c.all.size() > embeddings_max)
      return fail_field("embeddings", "must be at most " + std::to_string(embeddings_max));
    aggregate::decision out;
    for (const auto& e : c.all) {
      if (e.vector.empty() || e.vector.size() > dimensions_max)
        return fail_field("vector",
                          "must have 1 to " + std::to_string(dimensions_max) + " dimensions");
      if (auto good = check_id(e.model, "model"); !good)
        return fail(std::move(good.error()));
      if (const auto* m = find(e.id); m != nullptr && m->hash == e.hash)
        out.facts.emplace_back(embedded{e});
    }
    return out;
  }

private:
  static aggregate::decision one(fact f) {
    aggregate::decision out;
    out.facts.push_back(std::move(f));
    return out;
  }
  static error full(std::uint64_t there, std::uint64_t most) {
    json::object_writer detail;
    detail.num("memories", there).num("most", most);
    error e{errc::rejected, "the owner has " + std::to_string(there) + " memories, the limit is "
                              + std::to_string(most)};
    e.detail = std::move(detail).done();
    return e;
  }
  static outcome missing() { return fail({errc::not_found, "there is no such memory", "id"}); }
  static outcome taken(const std::string& by) {
    return fail(errc::already_exists, "the memory " + by + " says the same");
  }
  const known* find(std::string_view id) const {
    auto at = s_.memories.find(id);
    return at == s_.memories.end() ? nullptr : &at->second;
  }
  /// The active memory besides `id` that says the same; empty = none.
  std::string holder_of(std::string_view hash, std::string_view id) const {
    auto at = s_.by_hash.find(hash);
    return at == s_.by_hash.end() || at->second == id ? std::string() : at->second;
  }
  /// For one more active memory. A limit that was lowered is kept to from the next addition on.
  result<void> make_room(std::vector<fact>& out) const {
    const auto most = s_.limit.most;
    if (most == 0 || s_.by_change.size() < most)
      return {};
    if (!s_.limit.evict)
      return fail(full(s_.by_change.size(), most));
    auto next = s_.by_change.begin();
    for (auto over = s_.by_change.size() - most + 1; over > 0; --over, ++next)
      out.push_back(removed{next->second, true});
    return {};
  }

  const state& s_;
  const context& ctx_;
};

struct folding {
  state& s;
  const envelope& at;

  void take_out(const std::string& id, const known& m) const {
    if (m.status != status::active)
      return;
    s.by_change.erase({m.changed, id});
    s.by_hash.erase(m.hash);
  }
  void put_in(const std::string& id, const known& m) const {
    if (m.status != status::active)
      return;
    s.by_change.emplace(m.changed, id);
    s.by_hash.insert_or_assign(m.hash, id);
  }
  template <class Change>
  void change(const std::string& id, std::uint64_t revision, Change how) const {
    auto found = s.memories.find(id);
    if (found == s.memories.end())
      return;
    take_out(id, found->second);
    found->second.revision = revision;
    found->second.changed = at.version;
    how(found->second);
    put_in(id, found->second);
  }

  void operator()(const added& f) const {
    const known m{f.hash, status::active, 1, at.version};
    s.memories.insert_or_assign(f.id, m);
    put_in(f.id, m);
  }
  void operator()(const retold& f) const {
    change(f.id, f.revision, [](known&) {});
  }
  void operator()(const updated& f) const {
    change(f.id, f.revision, [&](known& m) { m.hash = f.hash; });
  }
  void operator()(const status_changed& f) const {
    change(f.id, f.revision, [&](known& m) { m.status = f.to; });
  }
  void operator()(const removed& f) const {
    auto found = s.memories.find(f.id);
    if (found == s.memories.end())
      return;
    take_out(f.id, found->second);
    s.memories.erase(found);
  }
  void operator()(const cleared&) const {
    s.memories.clear();
    s.by_hash.clear();
    s.by_change.clear();
  }
  void operator()(const limit_changed& f) const { s.limit = f.value; }
  void operator()(const embedded&) const {}  // It changes what is found, not what there is.
};

}  // namespace

std::string_view to_string(status s) noexcept {
  switch (s) {
    case status::active: return "active";
    case status::superseded: return "superseded";
    case status::invalidated: return "invalidated";
  }
  return "active";
}

std::string_view to_string(memory_kind k) noexcept {
  return k == memory_kind::episode ? "episode" : "fact";
}

std::string key_prefix(std::string_view id) { return std::string(id) + '/'; }

std::string hash_of(const content& c) {
  std::string all;
  append_sized(all, c.text);
  append_sized(all, to_string(c.kind));
  append_sized(all, c.event_time ? std::to_string(*c.event_time) : "");
  append_sized(all, c.location);
  for (const auto& who : c.participants)
    append_sized(all, who);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  EVP_Digest(all.data(), all.size(), digest.data(), &size, EVP_sha256(), nullptr);
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (unsigned int i = 0; i < size; ++i) {
    out.push_back(digits[digest[i] >> 4]);
    out.push_back(digits[digest[i] & 0xf]);
  }
  return out;
}

result<aggregate::decision> aggregate::decide(const state& s, const command& c, const context& ctx,
                                              const stream_id&) {
  return std::visit(deciding{s, ctx}, c);
}

void aggregate::evolve(state& s, const fact& f, const envelope& at) {
  std::visit(folding{s, at}, f);
}

std::optional<base_mark> aggregate::base_of(const fact& f, version_t version) {
  if (!std::holds_alternative<cleared>(f))
    return std::nullopt;
  return base_mark{.through = version - 1, .carries_state = true};
}

state aggregate::carried_state(const fact& f) {
  state s;
  if (const auto* c = std::get_if<cleared>(&f))
    s.limit = c->kept;
  return s;
}

std::string aggregate::forgets(const fact& f) {
  const auto* gone = std::get_if<removed>(&f);
  return gone == nullptr ? std::string() : key_prefix(gone->id);
}

std::size_t aggregate::footprint(const state& s) noexcept {
  // Ids and hashes have one length each: counted, not visited.
  constexpr std::size_t one_memory = 36 * 3 + 64 * 2 + sizeof(known) + 3 * 64;
  return sizeof(state) + s.memories.size() * one_memory;
}

}  // namespace recalld::memory_space

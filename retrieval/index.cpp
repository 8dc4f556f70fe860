#include "retrieval/index.hpp"

#include <algorithm>

#include "retrieval/words.hpp"

namespace recalld::retrieval {

std::vector<std::vector<std::string>> passages_of(std::string_view text,
                                                  std::span<const std::string> more) {
  auto all = terms_of(text);
  std::vector<std::string> extra;
  for (const auto& field : more) {
    auto words = terms_of(field);
    std::erase(words, question_mark);
    extra.insert(extra.end(), words.begin(), words.end());
  }
  std::vector<std::vector<std::string>> out;
  if (all.size() <= passage_cut_words) {
    out.push_back(std::move(all));
  } else {
    constexpr auto step = passage_words - passage_overlap_words;
    for (std::size_t begin = 0;; begin += step) {
      const auto end = std::min(begin + passage_words, all.size());
      out.emplace_back(all.begin() + static_cast<std::ptrdiff_t>(begin),
                       all.begin() + static_cast<std::ptrdiff_t>(end));
      if (end == all.size())
        break;
    }
  }
  for (auto& passage : out)
    add_words(passage, extra);
  return out;
}

void add_words(std::vector<std::string>& passage, std::span<const std::string> more) {
  // The mark stays last.
  const bool marked = !passage.empty() && passage.back() == question_mark;
  passage.insert(passage.end() - (marked ? 1 : 0), more.begin(), more.end());
}

void memory_index::put(const indexed_memory& m) {
  auto [at, fresh] = slots_.try_emplace(m.id, static_cast<slot_t>(memories_.size()));
  const auto slot = at->second;
  if (fresh) {
    memories_.emplace_back();
    memories_[slot].id = m.id;
    if (!m.session.empty()) {
      auto [s, unseen] =
        session_numbers_.try_emplace(m.session, static_cast<std::uint32_t>(sessions_.size()));
      if (unseen)
        sessions_.emplace_back();
      memories_[slot].session = s->second;
      auto& in = sessions_[s->second];
      memories_[slot].place = static_cast<std::uint32_t>(in.slots.size());
      in.slots.push_back(slot);
      if (in.living++ == 0)
        ++living_sessions_;
    }
    memories_[slot].alive = true;
    ++living_;
  } else {
    drop_passages(memories_[slot]);
  }
  auto& kept = memories_[slot];
  kept.time = m.time;
  kept.speakers.clear();
  for (const auto& name : m.speakers) {
    auto [n, unseen] = name_numbers_.try_emplace(name, static_cast<std::uint32_t>(names_.size()));
    if (unseen)
      names_.push_back(name);
    kept.speakers.push_back(n->second);
  }
  add_passages(slot, m);
  compact_if_due();
}

void memory_index::add_passages(slot_t slot, const indexed_memory& m) {
  auto& kept = memories_[slot];
  kept.first_passage = static_cast<std::uint32_t>(passages_.size());
  kept.passages = static_cast<std::uint32_t>(m.passages.size());
  kept.asks = false;
  std::vector<term_t> sorted;
  for (const auto& words : m.passages) {
    passage p{slot, static_cast<std::uint32_t>(pool_.size()), 0};
    for (const auto& word : words) {
      if (word == question_mark) {
        kept.asks = true;
        continue;
      }
      auto [t, unseen] = term_numbers_.try_emplace(word, static_cast<std::uint32_t>(terms_.size()));
      if (unseen)
        terms_.push_back({word, {}, 0});
      pool_.push_back(t->second);
      ++p.length;
    }
    const auto number = static_cast<std::uint32_t>(passages_.size());
    sorted.assign(pool_.begin() + p.begin, pool_.end());
    std::sort(sorted.begin(), sorted.end());
    for (std::size_t i = 0; i < sorted.size();) {
      auto end = i;
      while (end < sorted.size() && sorted[end] == sorted[i])
        ++end;
      auto& t = terms_[sorted[i]];
      t.postings.push_back({number, static_cast<std::uint32_t>(end - i)});
      ++t.passages;
      i = end;
    }
    living_words_ += p.length;
    if (kept.session != none) {
      sessions_[kept.session].words += p.length;
      living_session_words_ += p.length;
    }
    ++living_passages_;
    passages_.push_back(p);
  }
}

void memory_index::drop_passages(memory& m) {
  std::vector<term_t> sorted;
  for (auto n = m.first_passage; n < m.first_passage + m.passages; ++n) {
    auto& p = passages_[n];
    const auto words = words_of(p);
    sorted.assign(words.begin(), words.end());
    std::sort(sorted.begin(), sorted.end());
    sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
    for (auto t : sorted)
      --terms_[t].passages;
    living_words_ -= p.length;
    if (m.session != none) {
      sessions_[m.session].words -= p.length;
      living_session_words_ -= p.length;
    }
    --living_passages_;
    p.slot = none;
  }
  m.passages = 0;
}

void memory_index::erase(std::string_view id) {
  auto at = slots_.find(id);
  if (at == slots_.end())
    return;
  auto& m = memories_[at->second];
  drop_passages(m);
  if (m.session != none) {
    auto& in = sessions_[m.session];
    in.slots[m.place] = none;
    if (--in.living == 0)
      --living_sessions_;
  }
  m.alive = false;
  m.id.clear();
  --living_;
  slots_.erase(at);
  compact_if_due();
}

void memory_index::compact_if_due() {
  constexpr std::size_t too_few_to_care = 1024;
  // Paid by what made it necessary: at least as much was dropped as is kept.
  if (passages_.size() > too_few_to_care && living_passages_ * 2 < passages_.size())
    compact();
}

void memory_index::clear() { *this = memory_index{}; }

void memory_index::compact() {
  memory_index fresh;
  // Sessions keep the order of their memories because slots grow in order of creation.
  std::vector<std::string> session_names(sessions_.size());
  for (const auto& [name, number] : session_numbers_)
    session_names[number] = name;
  for (const auto& m : memories_) {
    if (!m.alive)
      continue;
    indexed_memory again{
      m.id, m.session == none ? std::string() : session_names[m.session], {}, m.time, {}};
    for (auto name : m.speakers)
      again.speakers.push_back(names_[name]);
    for (auto n = m.first_passage; n < m.first_passage + m.passages; ++n) {
      auto& words = again.passages.emplace_back();
      for (auto t : words_of(passages_[n]))
        words.push_back(terms_[t].word);
    }
    if (m.asks && !again.passages.empty())
      again.passages.back().emplace_back(question_mark);
    fresh.put(again);
  }
  *this = std::move(fresh);
}

std::size_t memory_index::footprint() const {
  return passages_.size() * sizeof(passage) + pool_.size() * (sizeof(term_t) + sizeof(posting))
         + terms_.size() * (sizeof(term) + 96) + memories_.size() * (sizeof(memory) + 160)
         + sessions_.size() * (sizeof(session) + 80);
}

memory_index::term_t memory_index::find_term(std::string_view word) const {
  auto at = term_numbers_.find(word);
  return at == term_numbers_.end() ? none : at->second;
}

memory_index::slot_t memory_index::find(std::string_view id) const {
  auto at = slots_.find(id);
  return at == slots_.end() ? none : at->second;
}

memory_index::slot_t memory_index::neighbour(slot_t slot, int distance) const {
  const auto& m = memories_[slot];
  if (m.session == none)
    return none;
  const auto& slots = sessions_[m.session].slots;
  const int step = distance < 0 ? -1 : 1;
  auto place = static_cast<std::ptrdiff_t>(m.place);
  for (int left = distance * step; left > 0;) {
    place += step;
    if (place < 0 || place >= static_cast<std::ptrdiff_t>(slots.size()))
      return none;
    if (slots[static_cast<std::size_t>(place)] != none)
      --left;
  }
  return slots[static_cast<std::size_t>(place)];
}

}  // namespace recalld::retrieval

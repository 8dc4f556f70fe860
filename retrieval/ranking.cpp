#include "retrieval/ranking.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "retrieval/dates.hpp"
#include "retrieval/words.hpp"

namespace recalld::retrieval {

namespace {

using slot_t = memory_index::slot_t;
using term_t = memory_index::term_t;
constexpr auto none = memory_index::none;

/// What is looked for, in order of words: sums of rounded numbers depend on the order, numbers of
/// terms on what was in the index before.
struct wish {
  struct wanted_term {
    term_t term;
    double weight;
  };
  std::map<std::string_view, wanted_term> words;

  void add(std::string_view word, term_t term, double weight) {
    words.try_emplace(word, wanted_term{term, weight});
  }
  bool contains(std::string_view word) const { return words.contains(word); }
  bool empty() const { return words.empty(); }
};

/// Inverse document frequency, never negative (Lucene's form of Robertson and Spärck Jones 1976).
double idf(double all, double with) { return std::log(1 + (all - with + 0.5) / (with + 0.5)); }

/// BM25's value of a term that is `count` times in a text `length_ratio` times as long as the mean.
double saturated(double count, double length_ratio, const parameters& by) {
  return count * (by.k1 + 1) / (count + by.k1 * (1 - by.b + by.b * length_ratio));
}

double ratio(double part, double whole) { return whole > 0 ? part / whole : 0; }

/// A misspelt word often keeps the ending that its right form loses to the stemmer, so what is
/// behind the length of the known one may be cut off.
bool may_mean(std::string_view unknown, std::string_view known, int edits) {
  constexpr std::size_t sure_of_stem = 5;
  return within_edits(unknown, known, edits)
         || (known.size() >= sure_of_stem && unknown.size() > known.size()
             && within_edits(unknown.substr(0, known.size()), known, edits));
}

class ranking {
public:
  ranking(const memory_index& index, std::string_view question, const parameters& by)
    : index_(index),
      by_(by),
      memories_(index.memories()),
      passages_(index.passages()),
      said_(plain_words(question)),
      passage_count_(static_cast<double>(index.living_passages())),
      passage_mean_(ratio(static_cast<double>(index.living_words()), passage_count_)) {
    read(question);
    match();
  }

  void choose(const wanted& may_be, std::span<const outside_signal> outside);
  void weigh(std::string_view question, std::span<const outside_signal> outside);
  std::vector<hit> best(std::size_t skip, std::size_t limit) const;

private:
  void read(std::string_view question);
  void add_stand_ins(std::string_view unknown);
  void match();
  bool is_said(std::string_view word) const {
    return std::find(said_.begin(), said_.end(), word) != said_.end();
  }

  double own(slot_t slot) const { return slot == none ? 0 : lexical_[slot]; }
  /// BM25 of a memory with its neighbours'.
  double in_context(slot_t slot) const;
  double session_evidence(slot_t slot) const;

  void weigh_context();
  void weigh_sessions();
  void weigh_dates(std::string_view question);
  void weigh_speakers();
  void weigh_times();
  void weigh_feedback();
  void weigh_outside(std::span<const outside_signal> outside);
  /// Adds `weight` times the signal, divided by its largest value.
  void add(double weight, const std::vector<double>& signal);

  template <class Visit>
  void for_each_word(slot_t slot, Visit visit) const {
    const auto& m = memories_[slot];
    for (auto n = m.first_passage; n < m.first_passage + m.passages; ++n)
      for (auto t : index_.words_of(passages_[n]))
        visit(t);
  }
  wish shared_words() const;
  double bm25_of(slot_t slot, const wish& terms) const;
  bool before(std::size_t a, std::size_t b) const {
    return totals_[a] != totals_[b] ? totals_[a] > totals_[b]
                                    : memories_[candidates_[a]].id < memories_[candidates_[b]].id;
  }
  std::vector<std::size_t> order(std::size_t most) const;

  const memory_index& index_;
  const parameters& by_;
  std::span<const memory_index::memory> memories_;
  std::span<const memory_index::passage> passages_;
  std::vector<std::string> said_;
  double passage_count_;
  double passage_mean_;
  wish terms_;

  std::vector<float> lexical_;   ///< BM25 by slot.
  std::vector<float> sessions_;  ///< BM25 by session.
  std::vector<slot_t> met_;      ///< Memories with any of the terms.
  std::vector<slot_t> candidates_;
  std::vector<double> totals_;  ///< By candidate.
  double in_play_ = 0;          ///< Sum of the weights of all signals that say anything.
};

void ranking::read(std::string_view question) {
  for (const auto& word : query_terms(question)) {
    const auto t = index_.find_term(word);
    if (t != none && index_.terms()[t].passages > 0)
      terms_.add(index_.terms()[t].word, t, 1);
    else
      add_stand_ins(word);
  }
}

void ranking::add_stand_ins(std::string_view unknown) {
  if (by_.misspelt <= 0 || unknown.size() < by_.short_word_bytes)
    return;
  const int edits = unknown.size() >= by_.long_word_bytes ? 2 : 1;
  const auto known = index_.terms();
  for (int within = 1; within <= edits; ++within) {
    bool found = false;
    for (term_t t = 0; t < known.size(); ++t)
      if (known[t].passages > 0 && may_mean(unknown, known[t].word, within)) {
        terms_.add(known[t].word, t, by_.misspelt);
        found = true;
      }
    if (found)
      return;
  }
}

/// One walk over the postings of each term gives the BM25 of every passage and every session.
void ranking::match() {
  lexical_.assign(memories_.size(), 0);
  sessions_.assign(index_.sessions(), 0);
  std::vector<float> of_passage(passages_.size(), 0);
  std::vector<std::uint32_t> in_session(index_.sessions(), 0);
  std::vector<std::uint32_t> met_passages;
  std::vector<std::uint32_t> met_sessions;
  const auto session_count = static_cast<double>(index_.living_sessions());
  const auto session_mean =
    ratio(static_cast<double>(index_.living_session_words()), session_count);
  for (const auto& [word, wanted] : terms_.words) {
    const auto& term = index_.terms()[wanted.term];
    const auto weight = wanted.weight;
    const double value = weight * idf(passage_count_, term.passages);
    met_sessions.clear();
    for (const auto& [number, count] : term.postings) {
      const auto& p = passages_[number];
      if (p.slot == none)
        continue;
      if (of_passage[number] == 0)
        met_passages.push_back(number);
      of_passage[number] +=
        static_cast<float>(value * saturated(count, p.length / passage_mean_, by_));
      const auto session = memories_[p.slot].session;
      if (session == none)
        continue;
      if (in_session[session] == 0)
        met_sessions.push_back(session);
      in_session[session] += count;
    }
    const double session_value =
      weight * idf(session_count, static_cast<double>(met_sessions.size()));
    for (auto s : met_sessions) {
      sessions_[s] += static_cast<float>(
        session_value * saturated(in_session[s], index_.session_words(s) / session_mean, by_));
      in_session[s] = 0;
    }
  }
  for (auto number : met_passages) {
    const auto slot = passages_[number].slot;
    if (lexical_[slot] == 0)
      met_.push_back(slot);
    lexical_[slot] = std::max(lexical_[slot], of_passage[number]);
  }
}

void ranking::choose(const wanted& may_be, std::span<const outside_signal> outside) {
  std::vector<bool> seen(memories_.size(), false);
  const auto take = [&](slot_t slot) {
    if (slot == none || seen[slot])
      return false;
    seen[slot] = true;
    if (may_be && !may_be(slot))
      return false;
    candidates_.push_back(slot);
    return true;
  };
  const auto worse = [&](slot_t a, slot_t b) {
    return lexical_[a] != lexical_[b] ? lexical_[a] < lexical_[b]
                                      : memories_[a].id > memories_[b].id;
  };
  // A heap, so that a filter is asked about no more memories than it takes to find enough.
  auto heap = met_;
  std::make_heap(heap.begin(), heap.end(), worse);
  std::vector<slot_t> centres;
  for (auto end = heap.end(); end != heap.begin() && centres.size() < by_.candidates; --end) {
    std::pop_heap(heap.begin(), end, worse);
    // What may not be in the answer itself may still have a neighbour that does.
    if (take(*(end - 1)) || centres.size() < by_.candidates / 4)
      centres.push_back(*(end - 1));
  }
  for (auto slot : centres)
    for (int distance : {1, -1})
      take(index_.neighbour(slot, distance));
  for (const auto& signal : outside)
    for (const auto& [slot, value] : signal.values)
      take(slot);
  totals_.assign(candidates_.size(), 0);
}

void ranking::add(double weight, const std::vector<double>& signal) {
  const auto most = signal.empty() ? 0 : *std::max_element(signal.begin(), signal.end());
  if (weight <= 0 || most <= 0)
    return;
  in_play_ += weight;
  for (std::size_t i = 0; i < signal.size(); ++i)
    totals_[i] += weight * signal[i] / most;
}

double ranking::in_context(slot_t slot) const {
  const auto before = index_.neighbour(slot, -1);
  const bool answers = before != none && memories_[before].asks;
  return own(slot) + (by_.previous + (answers ? by_.answers : 0)) * own(before)
         + by_.next * own(index_.neighbour(slot, 1))
         + by_.second * (own(index_.neighbour(slot, -2)) + own(index_.neighbour(slot, 2)));
}

/// Neighbours are measured with the memory itself, so this sum is divided by the best lone memory.
void ranking::weigh_context() {
  double most = 0;
  for (auto slot : candidates_)
    most = std::max(most, own(slot));
  if (most <= 0)
    return;
  in_play_ += 1;
  for (std::size_t i = 0; i < candidates_.size(); ++i)
    totals_[i] += in_context(candidates_[i]) / most;
}

double ranking::session_evidence(slot_t slot) const {
  const auto session = memories_[slot].session;
  if (session == none || index_.session_size(session) > by_.session_memories_max)
    return -1;
  return sessions_[session];
}

void ranking::weigh_sessions() {
  double most_session = 0;
  double most_own = 0;
  for (auto slot : candidates_) {
    most_session = std::max(most_session, session_evidence(slot));
    most_own = std::max(most_own, own(slot));
  }
  std::vector<double> signal;
  signal.reserve(candidates_.size());
  for (auto slot : candidates_) {
    const auto evidence = session_evidence(slot);
    signal.push_back(evidence < 0 ? ratio(own(slot), most_own) : ratio(evidence, most_session));
  }
  add(by_.session, signal);
}

void ranking::weigh_dates(std::string_view question) {
  const auto dates = dates_in(question);
  if (dates.empty() || by_.date <= 0)
    return;
  in_play_ += by_.date;
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    constexpr time_us_t day_us = 86'400'000'000;
    const auto time = memories_[candidates_[i]].time;
    const auto day = time / day_us - (time % day_us < 0 ? 1 : 0);
    const auto gap = static_cast<double>(days_from(dates, day));
    totals_[i] += by_.date * std::exp(-gap / by_.date_scale_days);
  }
}

void ranking::weigh_speakers() {
  constexpr std::size_t short_name = 3;  // bytes; shorter ones are words of many languages
  const auto names = index_.names();
  std::vector<bool> named(names.size(), false);
  bool any = false;
  for (std::size_t i = 0; i < names.size(); ++i)
    for (const auto& word : plain_words(names[i]))
      if (word.size() >= short_name && is_said(word))
        named[i] = any = true;
  if (!any || by_.speaker <= 0)
    return;
  in_play_ += by_.speaker;
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    const auto& speakers = memories_[candidates_[i]].speakers;
    if (std::any_of(speakers.begin(), speakers.end(), [&](auto n) { return named[n]; }))
      totals_[i] += by_.speaker;
  }
}

void ranking::weigh_times() {
  if (!is_said("when"))
    return;
  static constexpr std::string_view told =
    "yesterday today tomorrow tonight morning night day week weekend month year ago since last "
    "next "
    "soon recently monday tuesday wednesday thursday friday saturday sunday january february march "
    "april june july august september october november december";
  std::unordered_set<term_t> times;
  for (const auto& word : query_terms(told))
    if (const auto t = index_.find_term(word); t != none)
      times.insert(t);
  std::vector<double> signal;
  signal.reserve(candidates_.size());
  for (auto slot : candidates_) {
    bool tells = false;
    for_each_word(slot, [&](term_t t) { tells = tells || times.contains(t); });
    signal.push_back(tells ? 1 : 0);
  }
  add(by_.when, signal);
}

std::vector<std::size_t> ranking::order(std::size_t most) const {
  std::vector<std::size_t> out(candidates_.size());
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = i;
  most = std::min(most, out.size());
  std::partial_sort(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(most), out.end(),
                    [this](std::size_t a, std::size_t b) { return before(a, b); });
  out.resize(most);
  return out;
}

/// The words that tell the best memories from the others, the strongest with weight 1.
wish ranking::shared_words() const {
  std::map<term_t, double> sums;
  for (auto i : order(by_.feedback_memories)) {
    std::unordered_set<term_t> once;
    for_each_word(candidates_[i], [&](term_t t) {
      // A word of one memory only finds no other.
      if (index_.terms()[t].passages > 1 && !terms_.contains(index_.terms()[t].word)
          && once.insert(t).second)
        sums[t] += totals_[i] * idf(passage_count_, index_.terms()[t].passages);
    });
  }
  std::vector<std::pair<double, term_t>> ranked;
  for (const auto& [t, sum] : sums)
    ranked.emplace_back(sum, t);
  const auto by_word = [&](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first
                              : index_.terms()[a.second].word < index_.terms()[b.second].word;
  };
  const auto most = std::min(by_.feedback_terms, ranked.size());
  std::partial_sort(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(most),
                    ranked.end(), by_word);
  ranked.resize(most);
  wish out;
  for (const auto& [sum, t] : ranked)
    out.add(index_.terms()[t].word, t, sum / ranked.front().first);
  return out;
}

double ranking::bm25_of(slot_t slot, const wish& terms) const {
  const auto& m = memories_[slot];
  double best = 0;
  for (auto n = m.first_passage; n < m.first_passage + m.passages; ++n) {
    const auto& p = passages_[n];
    const auto words = index_.words_of(p);
    double sum = 0;
    for (const auto& [word, wanted] : terms.words)
      if (const auto count = std::count(words.begin(), words.end(), wanted.term); count > 0)
        sum += wanted.weight * idf(passage_count_, index_.terms()[wanted.term].passages)
               * saturated(static_cast<double>(count), p.length / passage_mean_, by_);
    best = std::max(best, sum);
  }
  return best;
}

void ranking::weigh_feedback() {
  if (by_.feedback <= 0 || candidates_.empty())
    return;
  const auto more = shared_words();
  if (more.empty())
    return;
  std::unordered_map<slot_t, double> known;
  const auto of = [&](slot_t slot) {
    if (slot == none)
      return 0.0;
    auto [at, fresh] = known.try_emplace(slot, 0);
    if (fresh)
      at->second = bm25_of(slot, more);
    return at->second;
  };
  std::vector<double> signal;
  signal.reserve(candidates_.size());
  for (auto slot : candidates_)
    signal.push_back(of(slot) + by_.previous * of(index_.neighbour(slot, -1))
                     + by_.next * of(index_.neighbour(slot, 1)));
  add(by_.feedback, signal);
}

void ranking::weigh_outside(std::span<const outside_signal> outside) {
  for (const auto& from : outside) {
    std::unordered_map<slot_t, double> values(from.values.begin(), from.values.end());
    std::vector<double> signal;
    signal.reserve(candidates_.size());
    for (auto slot : candidates_) {
      auto at = values.find(slot);
      signal.push_back(at == values.end() ? 0 : at->second);
    }
    add(from.weight, signal);
  }
}

void ranking::weigh(std::string_view question, std::span<const outside_signal> outside) {
  weigh_context();
  weigh_sessions();
  weigh_outside(outside);
  weigh_dates(question);
  weigh_speakers();
  weigh_times();
  weigh_feedback();  // Last: it asks which are the best so far.
}

std::vector<hit> ranking::best(std::size_t skip, std::size_t limit) const {
  std::vector<hit> out;
  const auto ranked =
    order(skip > candidates_.size() ? candidates_.size()
                                    : skip + std::min(limit, candidates_.size() - skip));
  for (std::size_t i = skip; i < ranked.size(); ++i)
    if (totals_[ranked[i]] > 0)
      out.push_back({candidates_[ranked[i]], std::min(1.0, totals_[ranked[i]] / in_play_)});
  return out;
}

}  // namespace

std::vector<hit> rank(const memory_index& index, std::string_view question, const parameters& by,
                      const wanted& may_be, std::size_t skip, std::size_t limit,
                      std::span<const outside_signal> outside) {
  ranking r(index, question, by);
  r.choose(may_be, outside);
  r.weigh(question, outside);
  return r.best(skip, limit);
}

}  // namespace recalld::retrieval

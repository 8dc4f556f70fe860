#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "events/ids.hpp"

/// The memories of one owner, ready to be searched: an inverted index in memory.
///
/// It is a function of what is in it: two indexes that hold the same memories in the same order
/// give the same answers, whatever was put in and taken out before.
namespace recalld::retrieval {

/// What the index keeps of a memory.
struct indexed_memory {
  std::string id;
  std::string session;                ///< Where it was said; empty: nowhere in particular.
  std::vector<std::string> speakers;  ///< Folded names.
  time_us_t time = 0;                 ///< When it happened, else when it was written down.
  /// Terms (see `terms_of`), in order; a long text is cut into several passages.
  std::vector<std::vector<std::string>> passages;
};

/// Cuts a text into passages and adds words of other fields (topics, names) to each of them.
/// Texts of up to `passage_cut_words` terms are one passage, longer ones overlapping windows.
std::vector<std::vector<std::string>> passages_of(std::string_view text,
                                                  std::span<const std::string> more = {});
/// Adds words of another field to a passage.
void add_words(std::vector<std::string>& passage, std::span<const std::string> more);
inline constexpr std::size_t passage_cut_words = 180;
inline constexpr std::size_t passage_words = 120;
inline constexpr std::size_t passage_overlap_words = 20;

/// Not safe for several threads at once while it changes; any number may read.
class memory_index {
public:
  using slot_t = std::uint32_t;
  using term_t = std::uint32_t;
  static constexpr std::uint32_t none = ~0u;

  struct posting {
    std::uint32_t passage;
    std::uint32_t count;
  };
  struct term {
    std::string word;
    std::vector<posting> postings;  ///< In order of passages; some are of dead passages.
    std::uint32_t passages = 0;     ///< How many living passages have it.
  };
  struct passage {
    slot_t slot = none;  ///< `none`: dead.
    std::uint32_t begin = 0;
    std::uint32_t length = 0;
  };
  struct memory {
    std::string id;
    std::uint32_t session = none;  ///< `none`: nowhere in particular, without neighbours.
    std::uint32_t place = 0;
    time_us_t time = 0;
    std::uint32_t first_passage = 0;
    std::uint32_t passages = 0;
    std::vector<std::uint32_t> speakers;  ///< Numbers of names.
    bool asks = false;                    ///< Ends as a question.
    bool alive = false;
  };

  /// Puts a memory in. One with this id is replaced and keeps its place in its session.
  void put(const indexed_memory& m);
  /// Takes a memory out; unknown ids are fine.
  void erase(std::string_view id);
  void clear();

  std::size_t size() const { return living_; }
  bool contains(std::string_view id) const { return slots_.find(id) != slots_.end(); }
  /// `none` when there is no such memory.
  slot_t find(std::string_view id) const;
  /// Rough count of the bytes it takes.
  std::size_t footprint() const;

  // -- for the ranking --

  term_t find_term(std::string_view word) const;
  std::span<const term> terms() const { return terms_; }
  std::span<const passage> passages() const { return passages_; }
  std::span<const memory> memories() const { return memories_; }
  std::span<const term_t> words_of(const passage& p) const {
    return {pool_.data() + p.begin, p.length};
  }
  /// Of living memories, in all of a session.
  std::uint32_t session_words(std::uint32_t number) const { return sessions_[number].words; }
  std::uint32_t session_size(std::uint32_t number) const { return sessions_[number].living; }
  std::size_t sessions() const { return sessions_.size(); }
  std::size_t living_sessions() const { return living_sessions_; }
  std::size_t living_passages() const { return living_passages_; }
  std::uint64_t living_words() const { return living_words_; }
  std::uint64_t living_session_words() const { return living_session_words_; }
  std::span<const std::string> names() const { return names_; }
  /// The living memory `distance` places away in the same session; `none`.
  slot_t neighbour(slot_t slot, int distance) const;

private:
  struct session {
    std::vector<slot_t> slots;
    std::uint32_t words = 0;
    std::uint32_t living = 0;
  };
  struct hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
  };
  using numbers = std::unordered_map<std::string, std::uint32_t, hash, std::equal_to<>>;

  void add_passages(slot_t slot, const indexed_memory& m);
  void drop_passages(memory& m);
  void compact_if_due();
  void compact();

  std::vector<term> terms_;
  std::vector<passage> passages_;
  std::vector<term_t> pool_;
  std::vector<memory> memories_;
  std::vector<session> sessions_;
  std::vector<std::string> names_;
  numbers term_numbers_;
  numbers session_numbers_;
  numbers name_numbers_;
  numbers slots_;
  std::size_t living_ = 0;
  std::size_t living_sessions_ = 0;
  std::size_t living_passages_ = 0;
  std::uint64_t living_words_ = 0;
  std::uint64_t living_session_words_ = 0;  ///< Of memories that are in a session.
};

}  // namespace recalld::retrieval

#include "retrieval/words.hpp"

#include <libstemmer.h>
#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/uscript.h>
#include <unicode/utf16.h>

#include <algorithm>
#include <array>
#include <memory>
#include <unordered_map>
#include <unordered_set>

/// Folding after Unicode Standard Annex 15 (normalization forms) and Unicode chapter 3.13
/// (NFKC_Casefold), by ICU. Stemming by Snowball (Porter 2001, "Snowball: a language for stemming
/// algorithms"). Pairs of characters for scripts without spaces as in Lucene's CJKBigramFilter.
namespace recalld::retrieval {

namespace {

constexpr std::size_t word_bytes_max = 64;

// -- folding --

bool is_ascii(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](unsigned char c) { return c < 0x80; });
}

/// UTF-8 to code points; anything malformed becomes U+FFFD.
std::u32string decode(std::string_view s) {
  std::u32string out;
  out.reserve(s.size());
  for (std::size_t i = 0; i < s.size();) {
    const auto lead = static_cast<unsigned char>(s[i]);
    const std::size_t length = lead < 0x80   ? 1
                               : lead < 0xc2 ? 0
                               : lead < 0xe0 ? 2
                               : lead < 0xf0 ? 3
                               : lead < 0xf5 ? 4
                                             : 0;
    if (length == 1) {
      out.push_back(lead);
      ++i;
      continue;
    }
    char32_t point = length == 2 ? lead & 0x1fu : length == 3 ? lead & 0x0fu : lead & 0x07u;
    bool good = length != 0 && i + length <= s.size();
    for (std::size_t k = 1; good && k < length; ++k) {
      const auto c = static_cast<unsigned char>(s[i + k]);
      good = (c & 0xc0) == 0x80;
      point = point << 6 | (c & 0x3fu);
    }
    if (good
        && ((length == 3 && (point < 0x800 || (point >= 0xd800 && point < 0xe000)))
            || (length == 4 && (point < 0x10000 || point > 0x10ffff))))
      good = false;
    out.push_back(good ? point : U'\ufffd');
    i += good ? length : 1;
  }
  return out;
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | c >> 6);
    put(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3f));
    put(0x80 | (c & 0x3f));
  } else {
    put(0xf0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3f));
    put(0x80 | (c >> 6 & 0x3f));
    put(0x80 | (c & 0x3f));
  }
}

std::u16string normalized(const UNormalizer2* by, const std::u16string& in) {
  UErrorCode error = U_ZERO_ERROR;
  std::u16string out(in.size() * 2 + 16, u'\0');
  for (;;) {
    error = U_ZERO_ERROR;
    const auto size = unorm2_normalize(by, in.data(), static_cast<int32_t>(in.size()), out.data(),
                                       static_cast<int32_t>(out.size()), &error);
    if (error == U_BUFFER_OVERFLOW_ERROR) {
      out.resize(static_cast<std::size_t>(size));
      continue;
    }
    if (U_FAILURE(error))
      return in;
    out.resize(static_cast<std::size_t>(size));
    return out;
  }
}

/// Folded code points. The combining marks U+0300…U+036F are what accents decompose to; marks of
/// other scripts carry sounds and stay.
std::u32string fold_points(std::string_view s) {
  std::u16string wide;
  for (auto c : decode(s)) {
    if (c < 0x10000) {
      wide.push_back(static_cast<char16_t>(c));
    } else {
      wide.push_back(U16_LEAD(c));
      wide.push_back(U16_TRAIL(c));
    }
  }
  UErrorCode error = U_ZERO_ERROR;
  const auto* casefold = unorm2_getNFKCCasefoldInstance(&error);
  const auto* decompose = unorm2_getNFDInstance(&error);
  const auto* compose = unorm2_getNFCInstance(&error);
  if (U_SUCCESS(error)) {
    wide = normalized(decompose, normalized(casefold, wide));
    std::erase_if(wide, [](char16_t c) { return c >= 0x0300 && c <= 0x036f; });
    wide = normalized(compose, wide);
  }
  std::u32string out;
  for (std::size_t i = 0; i < wide.size();) {
    UChar32 c = 0;
    U16_NEXT(wide.data(), i, wide.size(), c);
    out.push_back(static_cast<char32_t>(c));
  }
  return out;
}

// -- splitting --

/// Scripts whose words have no blanks between them.
bool is_unspaced(char32_t c) {
  if (c < 0x0e00)
    return false;
  UErrorCode error = U_ZERO_ERROR;
  switch (uscript_getScript(static_cast<UChar32>(c), &error)) {
    case USCRIPT_HAN:
    case USCRIPT_HIRAGANA:
    case USCRIPT_KATAKANA:
    case USCRIPT_HANGUL:
    case USCRIPT_BOPOMOFO:
    case USCRIPT_THAI:
    case USCRIPT_LAO:
    case USCRIPT_KHMER:
    case USCRIPT_MYANMAR: return true;
    default: return c == U'\u30fc';  // The long vowel mark belongs to no single script.
  }
}

bool is_word_point(char32_t c) {
  if (c < 0x80)
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  const auto point = static_cast<UChar32>(c);
  return u_isalnum(point) || (U_GET_GC_MASK(point) & (U_GC_M_MASK | U_GC_NO_MASK)) != 0;
}

enum class script : std::uint8_t { latin, cyrillic, greek, arabic, other, unspaced };

script script_of(char32_t c) {
  if (c < 0x250)
    return script::latin;
  if (c >= 0x370 && c < 0x400)
    return script::greek;
  if (c >= 0x400 && c < 0x530)
    return script::cyrillic;
  if (c >= 0x600 && c < 0x700)
    return script::arabic;
  return is_unspaced(c) ? script::unspaced : script::other;
}

struct word {
  std::string text;
  retrieval::script script = script::other;
  std::size_t points = 0;
};

constexpr bool is_apostrophe(char32_t c) { return c == '\'' || c == U'\u2019' || c == U'\u02bc'; }

/// Words of folded text. An apostrophe inside a word ends it; what follows is dropped when it is
/// one of the endings of English ("Anna's", "we'll").
std::vector<word> split(std::string_view text) {
  std::u32string points;
  if (is_ascii(text)) {
    points.reserve(text.size());
    for (char c : text)
      points.push_back(static_cast<char32_t>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c));
  } else {
    points = fold_points(text);
  }
  std::vector<word> out;
  const auto in_word = [](char32_t c) { return is_word_point(c); };
  for (std::size_t i = 0; i < points.size();) {
    if (!in_word(points[i])) {
      ++i;
      continue;
    }
    const auto kind = script_of(points[i]);
    const bool pairs = kind == script::unspaced;
    word w{{}, kind, 0};
    auto end = i;
    while (end < points.size() && in_word(points[end]) && is_unspaced(points[end]) == pairs) {
      append_utf8(w.text, points[end++]);
      ++w.points;
    }
    const bool after_mark = i > 0 && is_apostrophe(points[i - 1]) && !out.empty();
    i = end;
    if (after_mark) {
      static constexpr std::array<std::string_view, 7> endings = {"s",  "t",  "d", "m",
                                                                  "ll", "re", "ve"};
      if (std::find(endings.begin(), endings.end(), w.text) != endings.end()) {
        if (w.text == "t" && out.back().text.ends_with('n') && out.back().text.size() > 1)
          out.back().text += "t";  // "don't" is one word, and one of no content.
        continue;
      }
    }
    out.push_back(std::move(w));
  }
  return out;
}

// -- words of no content, irregular forms, stems --

const std::unordered_set<std::string_view>& contentless() {
  // clang-format off
  static const std::unordered_set<std::string_view> words = {
    "a", "an", "the", "and", "or", "but", "if", "then", "than", "so", "as", "of", "at", "by", "for",
    "with", "about", "to", "from", "in", "on", "into", "onto", "over", "under", "up", "down", "out",
    "off", "through", "during", "between", "among", "upon", "i", "me", "my", "mine", "myself", "you",
    "your", "yours", "yourself", "he", "him", "his", "himself", "she", "her", "hers", "herself", "it",
    "its", "itself", "we", "us", "our", "ours", "ourselves", "they", "them", "their", "theirs",
    "themselves", "this", "that", "these", "those", "there", "here", "what", "which", "who", "whom",
    "whose", "when", "where", "why", "how", "am", "is", "are", "was", "were", "be", "been", "being",
    "have", "has", "had", "having", "do", "does", "did", "doing", "done", "will", "would", "shall",
    "should", "can", "could", "may", "might", "must", "not", "no", "nor", "only", "own", "same",
    "such", "too", "very", "just", "also", "some", "any", "each", "both", "all", "more", "most",
    "other", "again", "because", "while", "until", "against", "s", "t", "d", "m", "ll", "re", "ve",
    "dont", "didnt", "doesnt", "isnt", "arent", "wasnt", "werent", "cant", "couldnt", "wont",
    "wouldnt", "havent", "hasnt", "hadnt", "shouldnt", "im", "ive", "id", "youre", "yes", "oh",
  };
  // clang-format on
  return words;
}

/// Irregular forms of English, each with its base: what no suffix rule can find.
const std::unordered_map<std::string_view, std::string_view>& irregular() {
  // clang-format off
  static const std::unordered_map<std::string_view, std::string_view> forms = {
    {"went", "go"}, {"gone", "go"}, {"goes", "go"}, {"going", "go"},
    {"bought", "buy"}, {"brought", "bring"}, {"thought", "think"}, {"taught", "teach"},
    {"caught", "catch"}, {"fought", "fight"}, {"sought", "seek"}, {"found", "find"},
    {"got", "get"}, {"gotten", "get"}, {"gave", "give"}, {"given", "give"}, {"took", "take"},
    {"taken", "take"}, {"made", "make"}, {"came", "come"}, {"became", "become"}, {"saw", "see"},
    {"seen", "see"}, {"knew", "know"}, {"known", "know"}, {"grew", "grow"}, {"grown", "grow"},
    {"threw", "throw"}, {"thrown", "throw"}, {"flew", "fly"}, {"flown", "fly"}, {"drew", "draw"},
    {"drawn", "draw"}, {"blew", "blow"}, {"blown", "blow"}, {"wrote", "write"},
    {"written", "write"}, {"drove", "drive"}, {"driven", "drive"}, {"rode", "ride"},
    {"ridden", "ride"}, {"rose", "rise"}, {"risen", "rise"}, {"chose", "choose"},
    {"chosen", "choose"}, {"broke", "break"}, {"broken", "break"}, {"spoke", "speak"},
    {"spoken", "speak"}, {"stole", "steal"}, {"stolen", "steal"}, {"woke", "wake"},
    {"woken", "wake"}, {"wore", "wear"}, {"worn", "wear"}, {"tore", "tear"}, {"torn", "tear"},
    {"bore", "bear"}, {"born", "bear"}, {"swore", "swear"}, {"sworn", "swear"}, {"ate", "eat"},
    {"eaten", "eat"}, {"fell", "fall"}, {"fallen", "fall"}, {"forgot", "forget"},
    {"forgotten", "forget"}, {"forgave", "forgive"}, {"forgiven", "forgive"}, {"hid", "hide"},
    {"hidden", "hide"}, {"bit", "bite"}, {"bitten", "bite"}, {"shook", "shake"},
    {"shaken", "shake"}, {"began", "begin"}, {"begun", "begin"}, {"drank", "drink"},
    {"drunk", "drink"}, {"sang", "sing"}, {"sung", "sing"}, {"rang", "ring"}, {"rung", "ring"},
    {"swam", "swim"}, {"swum", "swim"}, {"ran", "run"}, {"sank", "sink"}, {"sunk", "sink"},
    {"sat", "sit"}, {"won", "win"}, {"met", "meet"}, {"led", "lead"}, {"fed", "feed"},
    {"bled", "bleed"}, {"bred", "breed"}, {"sped", "speed"}, {"fled", "flee"}, {"held", "hold"},
    {"told", "tell"}, {"sold", "sell"}, {"said", "say"}, {"paid", "pay"}, {"laid", "lay"},
    {"heard", "hear"}, {"left", "leave"}, {"lost", "lose"}, {"kept", "keep"}, {"slept", "sleep"},
    {"wept", "weep"}, {"swept", "sweep"}, {"felt", "feel"}, {"dealt", "deal"}, {"meant", "mean"},
    {"dreamt", "dream"}, {"learnt", "learn"}, {"built", "build"}, {"sent", "send"},
    {"spent", "spend"}, {"lent", "lend"}, {"bent", "bend"}, {"stood", "stand"},
    {"understood", "understand"}, {"hung", "hang"}, {"stuck", "stick"}, {"struck", "strike"},
    {"dug", "dig"}, {"spun", "spin"}, {"shot", "shoot"}, {"shone", "shine"}, {"lit", "light"},
    {"slid", "slide"}, {"froze", "freeze"}, {"frozen", "freeze"}, {"wound", "wind"},
    {"did", "do"}, {"done", "do"}, {"children", "child"}, {"men", "man"}, {"women", "woman"},
    {"people", "person"}, {"feet", "foot"}, {"teeth", "tooth"}, {"mice", "mouse"},
    {"geese", "goose"}, {"lives", "life"}, {"wives", "wife"}, {"knives", "knife"},
    {"leaves", "leaf"}, {"shelves", "shelf"}, {"wolves", "wolf"}, {"halves", "half"},
    {"better", "good"}, {"best", "good"}, {"worse", "bad"}, {"worst", "bad"},
  };
  // clang-format on
  return forms;
}

/// Stemmers are not shared between threads; making one costs some microseconds.
class stemmers {
public:
  void stem(word& w) {
    auto* by = of(w.script);
    if (by == nullptr || w.text.size() > word_bytes_max)
      return;
    const auto* out = sb_stemmer_stem(by, reinterpret_cast<const sb_symbol*>(w.text.data()),
                                      static_cast<int>(w.text.size()));
    if (out != nullptr)
      w.text.assign(reinterpret_cast<const char*>(out),
                    static_cast<std::size_t>(sb_stemmer_length(by)));
  }

private:
  struct gone {
    void operator()(sb_stemmer* s) const { sb_stemmer_delete(s); }
  };
  using owned = std::unique_ptr<sb_stemmer, gone>;

  sb_stemmer* of(script s) const {
    switch (s) {
      case script::latin: return english_.get();
      case script::cyrillic: return russian_.get();
      case script::greek: return greek_.get();
      case script::arabic: return arabic_.get();
      default: return nullptr;
    }
  }

  owned english_{sb_stemmer_new("english", "UTF_8")};
  owned russian_{sb_stemmer_new("russian", "UTF_8")};
  owned greek_{sb_stemmer_new("greek", "UTF_8")};
  owned arabic_{sb_stemmer_new("arabic", "UTF_8")};
};

void cut_to(std::string& text, std::size_t bytes) {
  if (text.size() <= bytes)
    return;
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xc0) == 0x80)
    --bytes;
  text.resize(bytes);
}

/// Single characters and pairs of a run without spaces.
void split_run(const std::string& run, bool singles, std::vector<std::string>& out) {
  const auto points = decode(run);
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (singles || points.size() == 1) {
      out.emplace_back();
      append_utf8(out.back(), points[i]);
    }
    if (i + 1 < points.size()) {
      out.emplace_back();
      append_utf8(out.back(), points[i]);
      append_utf8(out.back(), points[i + 1]);
    }
  }
}

std::vector<std::string> terms(std::vector<word> words, bool singles, bool keep_contentless) {
  thread_local stemmers by;
  std::vector<std::string> out;
  out.reserve(words.size());
  for (auto& w : words) {
    if (w.script == script::unspaced) {
      split_run(w.text, singles, out);
      continue;
    }
    if (!keep_contentless && contentless().contains(w.text))
      continue;
    if (auto base = irregular().find(w.text); base != irregular().end())
      w.text = base->second;
    by.stem(w);
    cut_to(w.text, word_bytes_max);
    out.push_back(std::move(w.text));
  }
  return out;
}

bool ends_as_question(std::string_view text) {
  for (auto i = text.size(); i-- > 0;) {
    const char c = text[i];
    if (c == '?')
      return true;
    if (c != ' ' && c != '\n' && c != '"' && c != '\'' && c != ')' && c != '!')
      return text.substr(0, i + 1).ends_with("\xef\xbc\x9f")  // U+FF1F, full width
             || text.substr(0, i + 1).ends_with("\xd8\x9f");  // U+061F, Arabic
  }
  return false;
}

}  // namespace

std::vector<std::string> terms_of(std::string_view text) {
  auto out = terms(split(text), true, false);
  if (ends_as_question(text))
    out.emplace_back(question_mark);
  return out;
}

std::vector<std::string> query_terms(std::string_view text) {
  return terms(split(text), false, false);
}

std::vector<std::string> plain_words(std::string_view text) {
  std::vector<std::string> out;
  for (auto& w : split(text))
    out.push_back(std::move(w.text));
  return out;
}

std::string folded(std::string_view text) {
  std::string out;
  for (const auto& w : split(text)) {
    if (!out.empty())
      out.push_back(' ');
    out += w.text;
  }
  return out;
}

/// Optimal string alignment (Damerau 1964) over three rows, cut off beyond `limit`.
bool within_edits(std::string_view a, std::string_view b, int limit) {
  if (a.size() > b.size())
    std::swap(a, b);
  if (static_cast<int>(b.size() - a.size()) > limit)
    return false;
  constexpr std::size_t longest = word_bytes_max + 1;
  if (b.size() >= longest)
    return a == b;
  std::array<std::array<int, longest + 1>, 3> rows{};
  for (std::size_t j = 0; j <= b.size(); ++j)
    rows[0][j] = static_cast<int>(j);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto& row = rows[i % 3];
    const auto& above = rows[(i - 1) % 3];
    const auto& above2 = rows[(i + 1) % 3];
    row[0] = static_cast<int>(i);
    int least = row[0];
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const int differs = a[i - 1] == b[j - 1] ? 0 : 1;
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + differs});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], above2[j - 2] + 1);
      least = std::min(least, row[j]);
    }
    if (least > limit)
      return false;
  }
  return rows[a.size() % 3][b.size()] <= limit;
}

}  // namespace recalld::retrieval

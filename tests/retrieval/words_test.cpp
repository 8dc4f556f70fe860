#include "retrieval/words.hpp"

#include "tests/catch.hpp"

using namespace recalld::retrieval;
using words = std::vector<std::string>;

TEST_CASE("case, accents and widths are folded", "[words]") {
  CHECK(folded("Ärger im CAFÉ") == "arger im cafe");
  CHECK(folded("ﬁne ＡＢＣ１２３") == "fine abc123");
  CHECK(folded("Straße") == folded("STRASSE"));
  CHECK(folded("ЙОД") == folded("йод"));
  CHECK(terms_of("naïve café") == terms_of("NAIVE CAFE"));
}

TEST_CASE("marks that carry sounds stay", "[words]") {
  CHECK(folded("が") != folded("か"));
  CHECK(folded("की") != folded("का"));
}

TEST_CASE("forms of a word are one term", "[words]") {
  CHECK(terms_of("running runs") == words{"run", "run"});
  CHECK(terms_of("She went hiking") == terms_of("go hikes"));
  CHECK(terms_of("bought children") == words{"buy", "child"});
  CHECK(terms_of("книги") == terms_of("книга"));
  CHECK(terms_of("university") != terms_of("universe of things"));
}

TEST_CASE("words of no content are left out", "[words]") {
  CHECK(terms_of("What is the capital of France") == words{"capit", "franc"});
  CHECK(terms_of("I don't think she'll be at Anna's") == words{"think", "anna"});
  CHECK(terms_of("I don\u2019t") == terms_of("I don't"));
  CHECK(query_terms("who are you").empty());
}

TEST_CASE("scripts without spaces give characters and pairs", "[words]") {
  CHECK(terms_of("東京都") == words{"東", "東京", "京", "京都", "都"});
  CHECK(query_terms("東京都") == words{"東京", "京都"});
  CHECK(query_terms("東") == words{"東"});
  CHECK(query_terms("iPhoneを買う") == words{"iphon", "を買", "買う"});
  CHECK_FALSE(query_terms("กรุงเทพ").empty());
}

TEST_CASE("a question is marked as one", "[words]") {
  CHECK(terms_of("Where was Anna?").back() == question_mark);
  CHECK(terms_of("元気ですか？").back() == question_mark);
  CHECK(terms_of("Really?!").back() == question_mark);
  CHECK(terms_of("Was it? Never mind.").back() != question_mark);
  CHECK(query_terms("Where was Anna?").back() != question_mark);
}

TEST_CASE("signs of query languages are no words", "[words]") {
  CHECK(query_terms("100% \"snake_case\" OR NEAR(a*)") == query_terms("100 snake case or near"));
  CHECK(query_terms("%").empty());
  CHECK(query_terms("'; DROP TABLE memories; --") == query_terms("drop table memories"));
}

TEST_CASE("broken UTF-8 separates words and harms nothing", "[words]") {
  CHECK(terms_of("caf\xc3 hat\xff").size() == 2);
  CHECK(terms_of("\xf5\x80\x80\x80").empty());
  CHECK(terms_of("\xed\xa0\x80").empty());
  CHECK(terms_of(std::string(100'000, 'x')).front().size() <= 64);
}

TEST_CASE("edits are counted with swaps", "[words]") {
  CHECK(within_edits("festival", "fesetival", 1));
  CHECK(within_edits("recieve", "receive", 1));
  CHECK(within_edits("abc", "abc", 1));
  CHECK_FALSE(within_edits("abcd", "abxy", 1));
  CHECK(within_edits("abcd", "abxy", 2));
  CHECK_FALSE(within_edits("a", "abcd", 2));
}

#include "events/near_word.hpp"

#include "tests/catch.hpp"

namespace recalld::tests {

TEST_CASE("an edit is an insertion, a deletion or a replacement", "[near_word]") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("flaw", "lawn") == 2);
}

TEST_CASE("the nearest word is near", "[near_word]") {
  const std::string_view words[] = {"serve", "session", "import"};
  CHECK(nearest("sesion", words) == "session");
  CHECK(nearest("server", words) == "serve");
  CHECK(nearest("xyz", words).empty());
}

TEST_CASE("a missing section is near", "[near_word]") {
  const std::string_view words[] = {"listen.port", "limits.tail_bytes"};
  CHECK(nearest("port", words) == "listen.port");
  CHECK(nearest("prot", words).empty());
}

}  // namespace recalld::tests

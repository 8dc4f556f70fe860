#include "events/base64.hpp"

#include "tests/catch.hpp"

namespace recalld {

TEST_CASE("bytes are written as the standard's examples are", "[base64]") {
  // RFC 4648, section 10.
  const std::pair<std::string_view, std::string_view> examples[] = {{"", ""},
                                                                    {"f", "Zg=="},
                                                                    {"fo", "Zm8="},
                                                                    {"foo", "Zm9v"},
                                                                    {"foob", "Zm9vYg=="},
                                                                    {"fooba", "Zm9vYmE="},
                                                                    {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : examples) {
    CHECK(to_base64(bytes) == text);
    CHECK(from_base64(text) == std::string(bytes));
  }
}

TEST_CASE("what nobody wrote so is nothing", "[base64]") {
  for (const auto* text : {"Z", "Zg", "Zg=", "Zg===", "====", "Z===", "Zh==", "Zg==Zg==", "Zm9v\n",
                           " Zm9v", "Zm9v    ", "Zm-_", "Zm9vZ"})
    CHECK_FALSE(from_base64(text));
}

TEST_CASE("any bytes come back", "[base64]") {
  check_property("there and back", [](const std::string& bytes) {
    RC_ASSERT(from_base64(to_base64(bytes)) == bytes);
  });
}

}  // namespace recalld

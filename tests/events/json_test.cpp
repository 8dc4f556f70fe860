#include "events/json.hpp"

#include <thread>
#include <nlohmann/json.hpp>

#include "tests/catch.hpp"

using namespace recalld;
using json::kind;

namespace {

bool accepted(std::string_view value) { return json::validate(value, "body").has_value(); }

std::string nested(std::size_t depth, std::string_view inside = "") {
  std::string out(depth, '[');
  return out.append(inside).append(depth, ']');
}

/// Any JSON value, with names and strings of all kinds.
nlohmann::json make_value(int depth) {
  auto text = [] {
    return *rc::gen::container<std::string>(
      rc::gen::element('a', '"', '\\', '\n', ' ', '{', '[', ']', '}', ',', ':', '/', '\x01'));
  };
  switch (*rc::gen::inRange(0, depth > 0 ? 7 : 5)) {
    case 0: return nullptr;
    case 1: return *rc::gen::arbitrary<bool>();
    case 2: return *rc::gen::arbitrary<std::int64_t>();
    case 3: return *rc::gen::arbitrary<std::int32_t>() / 8.0;
    case 4: return text();
    case 5: {
      auto array = nlohmann::json::array();
      for (int n = *rc::gen::inRange(0, 4); n > 0; --n)
        array.push_back(make_value(depth - 1));
      return array;
    }
    default: {
      auto object = nlohmann::json::object();
      for (int n = *rc::gen::inRange(0, 4); n > 0; --n)
        object[text()] = make_value(depth - 1);
      return object;
    }
  }
}

}  // namespace

TEST_CASE("valid JSON is accepted", "[json]") {
  for (auto value : {"{}", "[]", "0", "-0", "1.5e-3", "\"\"", "true", "false", "null", " [1 , 2] ",
                     "\t{\"a\" :\r\n[]}\n", R"("\u00e9\n\/\b")", R"("\ud83d\ude00")",
                     R"({"a":{"b":[{"c":null}]}})", "\"Grüße 你好\"", "\"\x7f\""}) {
    INFO(value);
    CHECK(accepted(value));
  }
}

TEST_CASE("what is not exactly one JSON value is invalid", "[json]") {
  for (auto value :
       {"",      " ",        "{",      "}",       "[1,]",        "{\"a\":1,}", "{\"a\"}",
        "{a:1}", "{1:1}",    "[1 2]",  "1 2",     "nul",         "nullx",      "True",
        "'a'",   "\"a",      "\"\n\"", "\"\\x\"", "\"\\u12g4\"", "01",         "1.",
        ".5",    "+1",       "-",      "1e",      "1e+",         "--1",        "0x10",
        "NaN",   "Infinity", "[]]",    "{}{}",    "// x\n1",     "[1]//",      "\xef\xbb\xbf{}",
        ","}) {
    INFO(value);
    auto valid = json::validate(value, "entries[0]");
    REQUIRE_FALSE(valid.has_value());
    CHECK(valid.error().code == errc::invalid);
    CHECK(valid.error().field == "entries[0]");
  }
  CHECK_FALSE(accepted(std::string_view("\0", 1)));
  CHECK_FALSE(accepted(std::string_view("1\0", 2)));
}

TEST_CASE("numbers of any size are somebody else's", "[json]") {
  for (auto value :
       {"123456789012345678901234567890", "-123456789012345678901234567890", "1e999", "-1e999",
        "[1e400,2]", "1e-999", "18446744073709551616", "{\"n\":99999999999999999999,\"s\":\"-1e\"}",
        "[1e999, \"\\\"1e999\"]", "0.00000000000000000000000000000000000000000000000000000001",
        "[ 99999999999999999999 , 1E+9999]"}) {
    INFO(value);
    CHECK(accepted(value));
  }
}

TEST_CASE("a huge number excuses nothing beside it", "[json]") {
  for (auto value :
       {"[1e999", "[1e999 2]", "[1e999,01]", "[1e999,1.]", "[1e999,-]", "{1e999:1}", "1e999x",
        "1e9991e9", "[1e999,nul]", "1e999\"a\"", "x1e999", "[1e999,\"\\x\"]", "00e999", "1e+999+1",
        "[1e999,\"\xff\"]", "99999999999999999999-1", ".1e999", "1.e999"}) {
    INFO(value);
    CHECK_FALSE(accepted(value));
  }
  CHECK_FALSE(accepted("[1e999," + nested(64) + "]"));
}

TEST_CASE("nesting ends at 64 levels", "[json]") {
  CHECK(accepted(nested(64)));
  CHECK(accepted(nested(63, "{\"a\":1}")));
  CHECK(accepted(nested(64, "1e999")));
  CHECK_FALSE(accepted(nested(65)));
  CHECK_FALSE(accepted(nested(64, "{}")));
  CHECK_FALSE(accepted(nested(100'000)));
  CHECK_FALSE(accepted(std::string(100'000, '[')));
  CHECK_THAT(json::validate(nested(65), "x").error().message,
             Catch::Matchers::ContainsSubstring("64"));
}

TEST_CASE("invalid UTF-8 is invalid", "[json]") {
  for (auto bytes : {"\x80", "\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xff"}) {
    CHECK_FALSE(accepted(std::string("\"") + bytes + "\""));
    CHECK_FALSE(accepted(std::string("{\"") + bytes + "\":1}"));
    CHECK_FALSE(json::valid_utf8(bytes));
  }
  CHECK(json::valid_utf8(""));
  CHECK(json::valid_utf8("\xf0\x9f\x98\x80"));
  CHECK_THAT(json::validate("\"\xff\"", "x").error().message,
             Catch::Matchers::ContainsSubstring("UTF-8"));
}

TEST_CASE("texts of any size are validated", "[json]") {
  for (std::size_t size : {10u, 4'095u, 4'096u, 4'097u, 70'000u, 1u << 20, 3u << 20}) {
    auto value = json::quote(std::string(size, 'x'));
    CHECK(accepted(value));
    value.pop_back();
    CHECK_FALSE(accepted(value));
    CHECK(accepted("1"));
  }
}

TEST_CASE("every thread can begin with any text", "[json]") {
  for (auto value : {"", "1", "["}) {
    bool valid = false;
    std::thread([&] { valid = accepted(value); }).join();
    CHECK(valid == (std::string_view(value) == "1"));
  }
}

TEST_CASE("a text is judged as nlohmann_json does", "[json]") {
  check_property("small texts of structural characters", [] {
    auto text = *rc::gen::container<std::string>(
      rc::gen::element('{', '}', '[', ']', ',', ':', '"', '\\', '1', '0', '-', '.', 'e', ' ', 't'));
    RC_ASSERT(accepted(text) == nlohmann::json::accept(text));
  });
  check_property("values with one byte changed", [] {
    auto text = make_value(3).dump();
    auto at = *rc::gen::inRange<std::size_t>(0, text.size());
    text[at] = *rc::gen::element('{', '}', '[', ']', ',', ':', '"', '\\', '9', '-', '.', 'E');
    if (text.find('E') == std::string::npos)  // It refuses huge exponents, we do not.
      RC_ASSERT(accepted(text) == nlohmann::json::accept(text));
  });
}

TEST_CASE("members are sliced raw, in order", "[json]") {
  auto all =
    json::members(R"( { "a" : 1 , "b":{"c":"}"},"d" :[1, "]"] ,"e":"x\"y", "":null } )", "f");
  REQUIRE(all.has_value());
  REQUIRE(all->size() == 5);
  CHECK((*all)[0].name == "a");
  CHECK((*all)[0].raw == "1");
  CHECK((*all)[1].raw == R"({"c":"}"})");
  CHECK((*all)[2].raw == R"([1, "]"])");
  CHECK((*all)[3].raw == R"("x\"y")");
  CHECK((*all)[4].name == "");
  CHECK((*all)[4].raw == "null");
  CHECK(json::members("{}", "f")->empty());
  CHECK(json::members(" { } ", "f")->empty());
}

TEST_CASE("names are unescaped", "[json]") {
  auto all = json::members(R"({"\u0061\"\\\/\b\f\n\r\t":1,"\ud83d\ude00é":2})", "f");
  REQUIRE(all.has_value());
  CHECK((*all)[0].name == "a\"\\/\b\f\n\r\t");
  CHECK((*all)[1].name == "\xf0\x9f\x98\x80\xc3\xa9");
}

TEST_CASE("a name that occurs twice is invalid", "[json]") {
  auto twice = json::members(R"({"a":1,"\u0061":2})", "body");
  REQUIRE_FALSE(twice.has_value());
  CHECK(twice.error().code == errc::invalid);
  CHECK(twice.error().field == "body");
  std::string many = "{";
  for (int i = 0; i < 100; ++i)
    many += "\"k" + std::to_string(i) + "\":1,";
  CHECK(json::members(many + "\"last\":1}", "body")->size() == 101);
  CHECK_FALSE(json::members(many + "\"k50\":1}", "body").has_value());
  CHECK(json::members(R"({"a":{"b":1},"c":{"b":1}})", "body").has_value());
}

TEST_CASE("only objects have members and only arrays elements", "[json]") {
  for (auto value : {"[]", "1", "\"{}\"", "null", "true", ""}) {
    CHECK_FALSE(json::members(value, "f").has_value());
    CHECK_FALSE(json::to_raw_map(value, "f").has_value());
  }
  for (auto value : {"{}", "1", "\"[]\"", "null", ""})
    CHECK_FALSE(json::elements(value, "f").has_value());
}

TEST_CASE("elements are sliced raw, in order", "[json]") {
  auto all = json::elements(R"( [ 1, [2,[3]] ,{"a":[4]}, "],\"" ,null ] )", "f");
  REQUIRE(all.has_value());
  CHECK(*all == std::vector<std::string_view>{"1", "[2,[3]]", R"({"a":[4]})", R"("],\"")", "null"});
  CHECK(json::elements("[]", "f")->empty());
  CHECK(json::elements("[ ]", "f")->empty());
}

TEST_CASE("slicing agrees with nlohmann_json", "[json]") {
  check_property("every member and element is the same value", [] {
    auto value = make_value(4);
    auto text = value.dump(*rc::gen::element(-1, 0, 3));
    RC_ASSERT(accepted(text));
    RC_ASSERT(nlohmann::json::parse(json::minify(text)) == value);
    RC_ASSERT(json::minify(text) == value.dump());
    if (value.is_object()) {
      auto all = json::members(text, "f");
      RC_ASSERT(all.has_value());
      RC_ASSERT(all->size() == value.size());
      for (const auto& m : *all)
        RC_ASSERT(nlohmann::json::parse(m.raw) == value.at(m.name));
      auto map = json::to_raw_map(text, "f");
      RC_ASSERT(map.has_value());
      RC_ASSERT(nlohmann::json::parse(json::object_of(*map)) == value);
    } else if (value.is_array()) {
      auto all = json::elements(text, "f");
      RC_ASSERT(all.has_value());
      RC_ASSERT(all->size() == value.size());
      for (std::size_t i = 0; i < all->size(); ++i)
        RC_ASSERT(nlohmann::json::parse((*all)[i]) == value[i]);
    } else if (value.is_string()) {
      RC_ASSERT(json::as_string(text, "f").value() == value.get<std::string>());
    }
  });
}

TEST_CASE("long strings and deep brackets are skipped whole", "[json]") {
  for (std::size_t size = 0; size < 70; ++size) {
    auto filler = std::string(size, 'x');
    auto object = R"({"a":")" + filler + R"(\"]}","b":[{"c":")" + filler + R"(\\"}],"d":2})";
    REQUIRE(accepted(object));
    auto all = json::members(object, "f");
    REQUIRE(all.has_value());
    REQUIRE(all->size() == 3);
    CHECK((*all)[0].raw == "\"" + filler + "\\\"]}\"");
    CHECK((*all)[1].raw == "[{\"c\":\"" + filler + "\\\\\"}]");
    CHECK((*all)[2].raw == "2");
  }
}

TEST_CASE("slicing text that is cut off stays inside it", "[json]") {
  // It must have been validated; what was not may give nonsense, but never reads outside.
  std::string whole = R"({"a":"x\"yyyyyyyyyyyyyyyyyyyyyy\\","b":[1,{"c":"d"}],"e":-1.5})";
  for (std::size_t size = 0; size < whole.size(); ++size) {
    std::string part(whole, 0, size);
    (void)json::members(part, "f");
    (void)json::elements("[" + part, "f");
    (void)json::minify(part);
    (void)json::as_string(part, "f");
  }
}

TEST_CASE("the kind of a raw value shows in its first character", "[json]") {
  CHECK(json::kind_of(" {}") == kind::object);
  CHECK(json::kind_of("[]") == kind::array);
  CHECK(json::kind_of("\"\"") == kind::string);
  CHECK(json::kind_of("true") == kind::boolean);
  CHECK(json::kind_of("false") == kind::boolean);
  CHECK(json::kind_of("null") == kind::null);
  CHECK(json::kind_of("-1") == kind::number);
  CHECK(json::kind_of("0") == kind::number);
  CHECK(json::kind_of("") == kind::null);
}

TEST_CASE("scalars are read, other types refused with their field", "[json]") {
  CHECK(json::as_string(R"( "a\u0000b" )", "f") == result<std::string>(std::string("a\0b", 3)));
  CHECK(json::as_integer("9007199254740992", "f") == result<std::int64_t>(9007199254740992));
  CHECK(json::as_integer("-9007199254740992", "f") == result<std::int64_t>(-9007199254740992));
  CHECK(json::as_integer(" 0 ", "f") == result<std::int64_t>(0));
  CHECK(json::as_bool("true", "f") == result<bool>(true));
  CHECK(json::as_bool("false", "f") == result<bool>(false));
  for (auto raw : {"9007199254740993", "-9007199254740993", "1.5", "1e3", "\"1\"", "null", "",
                   "99999999999999999999"}) {
    INFO(raw);
    REQUIRE_FALSE(json::as_integer(raw, "n").has_value());
    CHECK(json::as_integer(raw, "n").error().field == "n");
  }
  for (auto raw : {"1", "null", "{}", "\"", "", R"("\ud800")", R"("\udc00x")", R"("\ud800\u0041")",
                   R"("\ud800x")"}) {
    INFO(raw);
    REQUIRE_FALSE(json::as_string(raw, "s").has_value());
    CHECK(json::as_string(raw, "s").error().field == "s");
  }
  for (auto raw : {"1", "null", "\"true\"", "True", ""}) {
    REQUIRE_FALSE(json::as_bool(raw, "b").has_value());
    CHECK(json::as_bool(raw, "b").error().field == "b");
  }
}

TEST_CASE("quoting escapes what JSON needs, and nothing else", "[json]") {
  CHECK(json::quote("") == "\"\"");
  CHECK(json::quote("a/é\x7f") == "\"a/é\x7f\"");
  CHECK(json::quote("\"\\\b\f\n\r\t") == R"("\"\\\b\f\n\r\t")");
  CHECK(json::quote(std::string_view("\0\x1f", 2)) == R"("\u0000\u001f")");
  check_property("quoted text is valid and says the same", [] {
    auto plain = *rc::gen::container<std::string>(rc::gen::inRange<char>(0, 127));
    RC_ASSERT(accepted(json::quote(plain)));
    RC_ASSERT(json::as_string(json::quote(plain), "f").value() == plain);
  });
}

TEST_CASE("minify drops white space outside of strings only", "[json]") {
  CHECK(json::minify(" { \"a b\" : [ 1 ,\n\t2 ] } ") == R"({"a b":[1,2]})");
  CHECK(json::minify(R"("a \" b")") == R"("a \" b")");
  CHECK(json::minify("1e5") == "1e5");
}

TEST_CASE("an object is spliced from raw parts", "[json]") {
  json::object_writer w;
  w.str("a\"", "x\ny").raw("b", "[1]").num("c", std::int64_t{-5}).num("d", ~std::uint64_t{0});
  w.boolean("e", true).boolean("f", false);
  CHECK(std::move(w).done()
        == R"({"a\"":"x\ny","b":[1],"c":-5,"d":18446744073709551615,"e":true,"f":false})");
  CHECK(json::object_writer{}.done() == "{}");
}

TEST_CASE("a raw map holds minified values in key order", "[json]") {
  auto map = json::to_raw_map(R"({"b": [1, 2], "a" :"x y"})", "f");
  REQUIRE(map.has_value());
  CHECK(json::object_of(*map) == R"({"a":"x y","b":[1,2]})");
  CHECK(json::object_of({}) == "{}");
  CHECK_FALSE(json::to_raw_map(R"({"a":1,"a":2})", "f").has_value());
}

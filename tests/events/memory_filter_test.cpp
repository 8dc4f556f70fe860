#include "events/memory_filter.hpp"

#include "events/json.hpp"
#include "tests/catch.hpp"

namespace recalld::memory_space {

namespace {

const std::string trip =
  R"({"city":"Oslo","cost":10.0,"big":9007199254740993,"tags":["work","north"],)"
  R"("plan":{"days":3,"done":false},"note":null})";

result<condition> parsed(const std::string& json) {
  REQUIRE(json::validate(json, "where"));
  return condition::parse(json, "where");
}

bool holds(const std::string& json, const std::string& object = trip) {
  auto c = parsed(json);
  INFO(json << (c ? "" : ": " + c.error().field + " " + c.error().message));
  REQUIRE(c);
  return c->holds(object);
}

std::string wrong(const std::string& json) {
  auto c = parsed(json);
  REQUIRE_FALSE(c);
  CHECK(c.error().code == errc::invalid);
  return c.error().field;
}

}  // namespace

TEST_CASE("numbers compare as numbers, texts as texts, and never with each other", "[filter]") {
  for (const auto* ten : {"10", "10.0", "1e1", "1.0E+1"}) {
    CHECK(holds(std::string(R"({"field":"cost","is":)") + ten + "}"));
    CHECK(holds(std::string(R"({"field":"cost","at_most":)") + ten + "}"));
    CHECK_FALSE(holds(std::string(R"({"field":"cost","less":)") + ten + "}"));
    CHECK_FALSE(holds(std::string(R"({"field":"cost","is_not":)") + ten + "}"));
  }
  CHECK(holds(R"({"field":"cost","more":9.5})"));
  CHECK(holds(R"({"field":"cost","less":100})"));
  CHECK(holds(R"({"field":"cost","at_least":-1})"));
  CHECK_FALSE(holds(R"({"field":"cost","is":"10"})"));
  CHECK_FALSE(holds(R"({"field":"cost","more":"1"})"));
  CHECK(holds(R"({"field":"city","is":"Oslo"})"));
  CHECK(holds(R"({"field":"city","is":"\u004fslo"})"));
  CHECK(holds(R"({"field":"city","more":"Bergen"})"));
  CHECK_FALSE(holds(R"({"field":"city","less":5})"));
}

TEST_CASE("arrays, lists of values, nested members and null", "[filter]") {
  CHECK(holds(R"({"field":"tags","contains":"work"})"));
  CHECK_FALSE(holds(R"({"field":"tags","contains":"wor"})"));
  CHECK_FALSE(holds(R"({"field":"city","contains":"Oslo"})"));
  CHECK(holds(R"({"field":"city","one_of":["Bergen","Oslo"]})"));
  CHECK_FALSE(holds(R"({"field":"city","one_of":[]})"));
  CHECK(holds(R"({"field":["plan","days"],"is":3})"));
  CHECK(holds(R"({"field":["plan","done"],"is":false})"));
  CHECK_FALSE(holds(R"({"field":["plan","done"],"is":true})"));
  CHECK(holds(R"({"field":"note","is":null})"));
  CHECK(holds(R"({"field":"note","exists":true})"));
}

TEST_CASE("of a member that is not there only is_not and exists false are true", "[filter]") {
  for (const auto* object : {"{}", ""}) {
    for (const auto* no :
         {R"("is":null)", R"("less":9)", R"("more":0)", R"("at_most":9)", R"("at_least":0)",
          R"("one_of":[null])", R"("contains":1)", R"("exists":true)"})
      CHECK_FALSE(holds(std::string(R"({"field":"x",)") + no + "}", object));
    CHECK(holds(R"({"field":"x","is_not":1})", object));
    CHECK(holds(R"({"field":"x","exists":false})", object));
  }
  CHECK_FALSE(holds(R"({"field":["city","x"],"is":1})"));
  CHECK_FALSE(holds(R"({"field":["no","x"],"exists":true})"));
}

TEST_CASE("conditions are joined by and, or and not", "[filter]") {
  const std::string yes = R"({"field":"city","is":"Oslo"})";
  const std::string no = R"({"field":"city","is":"Rome"})";
  CHECK(holds(R"({"and":[]})"));
  CHECK_FALSE(holds(R"({"or":[]})"));
  CHECK(holds(R"({"and":[)" + yes + "," + yes + "]}"));
  CHECK_FALSE(holds(R"({"and":[)" + yes + "," + no + "]}"));
  CHECK(holds(R"({"or":[)" + no + "," + yes + "]}"));
  CHECK_FALSE(holds(R"({"or":[)" + no + "," + no + "]}"));
  CHECK(holds(R"({"not":)" + no + "}"));
  CHECK(holds(R"({"not":{"and":[)" + yes + R"(,{"not":)" + yes + "}]}}"));
}

TEST_CASE("a condition that is none is refused with the part that is wrong", "[filter]") {
  CHECK(wrong("[]") == "where");
  CHECK(wrong("{}") == "where.field");
  CHECK(wrong(R"({"field":"x"})") == "where");
  CHECK(wrong(R"({"is":1})") == "where.field");
  CHECK(wrong(R"({"field":1,"is":1})") == "where.field");
  CHECK(wrong(R"({"field":[],"is":1})") == "where.field");
  CHECK(wrong(R"({"field":["a",1],"is":1})") == "where.field");
  CHECK(wrong(R"({"field":"x","like":"a%"})") == "where.like");
  CHECK(wrong(R"({"field":"x","is":1,"less":2})") == "where.less");
  CHECK(wrong(R"({"field":"x","is":[1]})") == "where.is");
  CHECK(wrong(R"({"field":"x","less":true})") == "where.less");
  CHECK(wrong(R"({"field":"x","exists":"yes"})") == "where.exists");
  CHECK(wrong(R"({"field":"x","one_of":1})") == "where.one_of");
  CHECK(wrong(R"({"field":"x","one_of":[1,{}]})") == "where.one_of[1]");
  CHECK(wrong(R"({"field":"x","is":9007199254740993})") == "where.is");
  CHECK(wrong(R"({"field":"x","less":1e999})") == "where.less");
  CHECK(wrong(R"({"and":{}})") == "where.and");
  CHECK(wrong(R"({"and":[],"or":[]})") == "where");
  CHECK(wrong(R"({"or":[{"field":"x","is":1},{"not":3}]})") == "where.or[1].not");
  std::string many;
  for (std::size_t i = 0; i < condition::parts_max; ++i)
    many += (many.empty() ? "" : ",") + std::string(R"({"field":"x","is":1})");
  CHECK(wrong(R"({"and":[)" + many + "]}") == "where.and[255]");
}

TEST_CASE("a filter looks at topics, kind, time and metadata", "[filter]") {
  const traits m{memory_kind::episode, {"tea", "travel"}, 50, trip};
  CHECK(filter{}.wants(m));
  CHECK(filter{}.empty());
  CHECK(filter{.topics = {"coffee", "travel"}}.wants(m));
  CHECK_FALSE(filter{.topics = {"trave"}}.wants(m));
  CHECK(filter{.kind = memory_kind::episode}.wants(m));
  CHECK_FALSE(filter{.kind = memory_kind::fact}.wants(m));
  CHECK(filter{.since = 50, .until = 50}.wants(m));
  CHECK_FALSE(filter{.since = 51}.wants(m));
  CHECK_FALSE(filter{.until = 49}.wants(m));
  CHECK(filter{.metadata = *parsed(R"({"field":"city","is":"Oslo"})")}.wants(m));
  CHECK_FALSE(filter{.metadata = *parsed(R"({"field":"city","is":"Rome"})")}.wants(m));
}

}  // namespace recalld::memory_space

#include "api/catalogue.hpp"

#include "actors/gateway.hpp"
#include "tests/catch.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

using namespace recalld;

namespace {

bool has(std::span<const actors::field> fields, std::string_view name) {
  return std::any_of(fields.begin(), fields.end(), [&](const auto& f) { return f.name == name; });
}

std::vector<std::string> parts_of(std::string_view path) {
  std::vector<std::string> parts;
  for (auto open = path.find('{'); open != std::string_view::npos; open = path.find('{', open + 1))
    parts.emplace_back(path.substr(open + 1, path.find('}', open) - open - 1));
  return parts;
}

void check_fields(const actors::operation& op, std::span<const actors::field> fields) {
  std::set<std::string_view> names;
  for (const auto& f : fields) {
    INFO(op.name << " " << f.name);
    CHECK_FALSE(f.name.empty());
    CHECK(names.insert(f.name).second);
    CHECK_FALSE(f.meaning.empty());
    CHECK(f.meaning.ends_with('.'));
    for (char c : f.name)
      CHECK(((c >= 'a' && c <= 'z') || c == '_'));
  }
}

}  // namespace

TEST_CASE("the catalogue is sorted by name, without doubles") {
  const auto all = api::catalogue();
  REQUIRE(all.size() >= 25);
  CHECK(std::adjacent_find(all.begin(), all.end(),
                           [](const auto& a, const auto& b) { return !(a.name < b.name); })
        == all.end());
  for (const auto& op : all)
    CHECK(api::find_operation(op.name) == &op);
  CHECK(api::find_operation("session.appendix") == nullptr);
  CHECK(api::find_operation("") == nullptr);
}

TEST_CASE("every operation says all there is to say about itself") {
  for (const auto& op : api::catalogue()) {
    INFO(op.name);
    CHECK(op.handle != nullptr);
    CHECK(op.summary.ends_with('.'));
    CHECK(op.path.starts_with("/v1/"));
    CHECK(std::set<std::string_view>{"GET", "POST", "PUT", "PATCH", "DELETE"}.contains(op.method));
    CHECK_FALSE(op.answer.empty());
    check_fields(op, op.request);
    check_fields(op, op.answer);
  }
}

TEST_CASE("the parts of a path are required fields of the request") {
  for (const auto& op : api::catalogue())
    for (const auto& part : parts_of(op.path)) {
      INFO(op.name << " " << op.path);
      const auto field = std::find_if(op.request.begin(), op.request.end(),
                                      [&](const auto& f) { return f.name == part; });
      REQUIRE(field != op.request.end());
      CHECK(field->required);
      CHECK(field->type == actors::field_type::string);
    }
}

TEST_CASE("no two operations answer to the same method and path") {
  std::set<std::pair<std::string_view, std::string_view>> routes;
  for (const auto& op : api::catalogue()) {
    INFO(op.method << " " << op.path);
    CHECK(routes.emplace(op.method, op.path).second);
  }
}

TEST_CASE("reads are asked for with GET, writes with anything else") {
  for (const auto& op : api::catalogue()) {
    INFO(op.name);
    if (op.needs == actors::right::write)
      CHECK(op.method != "GET");
    if (op.needs == actors::right::read)
      CHECK(op.method == "GET");
  }
}

TEST_CASE("the answer to a write begins with what every write answers") {
  for (const auto& op : api::catalogue())
    if (op.needs == actors::right::write)
      for (const auto* name : {"version", "position", "recorded_at", "duplicate"}) {
        INFO(op.name << " " << name);
        CHECK(has(op.answer, name));
      }
}

TEST_CASE("no operation takes a common field under its own name") {
  for (const auto& op : api::catalogue())
    for (const auto& common : actors::common_fields()) {
      INFO(op.name << " " << common.name);
      CHECK_FALSE(has(op.request, common.name));
    }
}

TEST_CASE("the catalogue as JSON says the same") {
  const auto json = nlohmann::json::parse(api::catalogue_json());
  REQUIRE(json.size() == api::catalogue().size());
  for (std::size_t i = 0; i < json.size(); ++i) {
    CHECK(json[i]["name"] == api::catalogue()[i].name);
    CHECK(json[i]["request"].size() == api::catalogue()[i].request.size());
  }
}

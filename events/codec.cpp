#include "events/codec.hpp"

#include <unordered_map>

namespace recalld::codec {

namespace {

constexpr std::uint16_t newest_schema = 1;

tl::unexpected<error> unreadable(std::string_view what, std::string_view why) {
  return fail(errc::corrupt, std::string(what).append(": ").append(why));
}

template <class Aggregate>
const auto& type_at(std::size_t index) {
  return Aggregate::stored_as().types[index];
}

/// Reads the fact type of one aggregate that has the place `index` in its list.
template <class Aggregate>
any_fact read_fact(std::size_t index, payload_reader& r, const text& payload) {
  return type_at<Aggregate>(index).read(r, payload);
}

template <class Aggregate>
bool read_fact_quickly(std::size_t index, const text& payload, any_fact& into) {
  const auto quickly = type_at<Aggregate>(index).read_quickly;
  return quickly != nullptr && quickly(payload, into.template emplace<typename Aggregate::fact>());
}

struct known_type {
  any_fact (*read)(std::size_t, payload_reader&, const text&);
  bool (*read_quickly)(std::size_t, const text&, any_fact&);
  std::size_t index = 0;
};

using type_table = std::unordered_map<std::string_view, known_type>;

type_table all_types() {
  type_table all;
  for_each_aggregate(aggregates{}, [&]<class A>() {
    const auto& types = A::stored_as().types;
    for (std::size_t i = 0; i < types.size(); ++i)
      all.emplace(types[i].name, known_type{read_fact<A>, read_fact_quickly<A>, i});
  });
  return all;
}

}  // namespace

encoded encode(const any_fact& fact, version_t version) {
  return std::visit(
    [version]<class Fact>(const Fact& f) {
      const auto& format = aggregate_of_t<Fact>::stored_as();
      const auto& type = format.types[f.index()];
      return encoded{type.name, newest_schema, type.lane,
                     format.key == nullptr ? std::string() : format.key(f, version),
                     format.write(f)};
    },
    fact);
}

result<any_fact> decode(std::string_view type, std::uint16_t schema, const text& payload) {
  static const type_table types = all_types();
  const auto known = types.find(type);
  if (known != types.end() && schema == newest_schema) {
    any_fact f;
    if (known->second.read_quickly(known->second.index, payload, f))
      return f;
  }
  if (known == types.end() || schema > newest_schema)
    return fail(errc::unavailable, "fact " + std::string(type) + " of schema "
                                     + std::to_string(schema) + " is newer than this program");
  if (schema == 0)
    return unreadable(type, "there is no schema 0");
  if (auto valid = json::validate(payload.view(), "payload"); !valid)
    return unreadable(type, valid.error().message);
  payload_reader r(payload.view());
  auto fact = r.good() ? known->second.read(known->second.index, r, payload) : any_fact{};
  if (!r.good())
    return unreadable(type, r.wrong());
  return fact;
}

result<void> read_state_with(std::string_view text, std::string_view kind,
                             const std::function<void(payload_reader&)>& read) {
  const auto what = std::string(kind) + " state";
  if (auto valid = json::validate(text, "state"); !valid)
    return unreadable(what, valid.error().message);
  payload_reader r(text);
  read(r);
  if (!r.good())
    return unreadable(what, r.wrong());
  return {};
}

std::vector<std::string_view> fact_types() {
  std::vector<std::string_view> names;
  for_each_aggregate(aggregates{}, [&]<class A>() {
    for (const auto& type : A::stored_as().types)
      names.push_back(type.name);
  });
  return names;
}

}  // namespace recalld::codec

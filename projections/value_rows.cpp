#include "projections/projections.hpp"

/// The rows of values that live for a time.
namespace recalld::projections::short_values {

const table spec{
  .name = "short_values",
  .version = 1,
  .columns = {{"stream", column_type::integer},
              {"key"},
              {"tenant"},
              {"app"},
              {"type"},
              {"json"},
              {"created_at", column_type::integer},
              {"updated_at", column_type::integer},
              {"expires_at", column_type::integer}},
  .key_columns = 2,
  .indexes = {{"by_type", {tenant, app, type, key}}, {"by_expiry", {expires_at}}},
};

namespace {

struct value_projection {
  const envelope& at;
  std::vector<change>& out;
  std::int64_t stream = static_cast<std::int64_t>(at.stream_no);

  void operator()(const value_space::value_set& f) const {
    const auto parts = at.stream.parts();
    const auto part = [&](std::size_t i) { return std::string(i < parts.size() ? parts[i] : ""); };
    out.push_back(put{&spec,
                      {stream, f.key, part(0), part(1), part(2), f.json, f.created_at, f.updated_at,
                       f.expires_at}});
  }
  void operator()(const value_space::value_ended& f) const {
    out.push_back(erase{&spec, {stream, f.key}});
  }
  void operator()(const value_space::begun_anew&) const { out.push_back(erase{&spec, {stream}}); }
};

}  // namespace

void project(const envelope& at, const value_space::fact& fact, std::vector<change>& out) {
  std::visit(value_projection{at, out}, fact);
}

}  // namespace recalld::projections::short_values

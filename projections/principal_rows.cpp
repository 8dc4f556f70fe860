#include "projections/projections.hpp"

/// The rows of principals: who there is, and under which keys their credentials are sealed.
namespace recalld::projections {

namespace model_sessions {

const table spec{
  .name = "model_sessions",
  .version = 1,
  .columns =
    {{"stream", column_type::integer}, {"session"}, {"tenant"}, {"principal"}, {"sealed_by"}},
  .key_columns = 2,
  .indexes = {{"by_key", {sealed_by, stream, session}}},
};

std::string_view key_of(std::string_view sealed) {
  const auto first = sealed.find('.');
  const auto second = sealed.find('.', first + 1);
  return first == sealed.npos || second == sealed.npos
           ? std::string_view()
           : sealed.substr(first + 1, second - first - 1);
}

}  // namespace model_sessions

namespace principals {

const table spec{
  .name = "principals",
  .version = 1,
  .columns = {{"stream", column_type::integer},
              {"tenant"},
              {"principal"},
              {"username"},
              {"status"},
              {"admin", column_type::integer},
              {"network"},
              {"topics"},
              {"metadata"},
              {"created_at", column_type::integer},
              {"updated_at", column_type::integer}},
  .key_columns = 1,
  .indexes = {{"by_tenant", {tenant, principal}}},
};

namespace {

std::string array_of(const std::vector<std::string>& words) {
  std::string out = "[";
  for (const auto& word : words) {
    if (out.size() > 1)
      out.push_back(',');
    json::append_quoted(out, word);
  }
  return out.append("]");
}

struct principal_projection {
  const envelope& at;
  std::vector<change>& out;
  row key{static_cast<std::int64_t>(at.stream_no)};

  std::string part(std::size_t i) const {
    const auto parts = at.stream.parts();
    return std::string(i < parts.size() ? parts[i] : "");
  }
  void touch() const { out.push_back(set{&spec, key, {{updated_at, at.time}}}); }

  void operator()(const principal::record_put& f) const {
    const auto& r = f.record;
    out.push_back(put{&spec,
                      {key.front(), part(0), part(1), r.username, r.status,
                       std::int64_t{r.admin ? 1 : 0}, r.network, array_of(r.topics),
                       r.metadata.empty() ? "{}" : r.metadata, f.created_at, at.time}});
  }
  void operator()(const principal::session_put& f) const {
    touch();
    out.push_back(put{&model_sessions::spec,
                      {key.front(), f.name, part(0), part(1),
                       std::string(model_sessions::key_of(f.session.sealed))}});
  }
  void operator()(const principal::session_dropped& f) const {
    touch();
    out.push_back(erase{&model_sessions::spec, {key.front(), f.name}});
  }
  void operator()(const principal::purged&) const {
    out.push_back(erase{&spec, key});
    out.push_back(erase{&model_sessions::spec, key});
  }
  template <class Fact>
  void operator()(const Fact&) const {
    touch();
  }
};

}  // namespace

void project(const envelope& at, const principal::fact& fact, std::vector<change>& out) {
  std::visit(principal_projection{at, out}, fact);
}

}  // namespace principals

}  // namespace recalld::projections

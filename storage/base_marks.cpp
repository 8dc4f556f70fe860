#include "storage/base_marks.hpp"

namespace recalld::storage {

namespace {

/// Calls `f` with the aggregate type whose fact `fact` is, and that fact.
template <class... As, class F>
void with_aggregate(aggregate_list<As...>, const any_fact& fact, F&& f) {
  auto attempt = [&]<class A>() {
    if (const auto* own = std::get_if<typename A::fact>(&fact))
      f.template operator()<A>(*own);
  };
  (attempt.template operator()<As>(), ...);
}

}  // namespace

std::optional<base_mark> base_of(const any_fact& fact, version_t version) {
  std::optional<base_mark> out;
  with_aggregate(aggregates{}, fact,
                 [&]<class A>(const typename A::fact& own) { out = A::base_of(own, version); });
  return out;
}

std::vector<forgetting> forgets_of(const append_unit& unit, const unit_outcome& accepted) {
  std::vector<forgetting> out;
  auto recorded = accepted.facts.begin();
  for (const auto& part : unit.parts)
    for (const auto& fact : part.facts) {
      const auto& at = (recorded++)->at;
      with_aggregate(aggregates{}, fact, [&]<class A>(const typename A::fact& own) {
        if constexpr (requires { A::forgets(own); })
          if (auto prefix = A::forgets(own); !prefix.empty())
            out.push_back({at.stream_no, at.version, std::move(prefix)});
      });
    }
  return out;
}

version_t initial_version(const any_fact& first) {
  const auto mark = base_of(first, 1);
  return mark ? mark->through : 0;
}

void project_base(const envelope& at, const any_fact& fact, std::vector<projections::change>& out) {
  with_aggregate(aggregates{}, fact, [&]<class A>(const typename A::fact& own) {
    const auto state = A::carried_state(own);
    if constexpr (requires { projections::project_state(at, state, out); })
      projections::project_state(at, state, out);
  });
}

}  // namespace recalld::storage

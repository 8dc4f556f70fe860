#include "storage/base_marks.hpp"

#include "events/codec.hpp"

namespace recalld::storage {

std::optional<base_mark> base_of(const any_fact& fact, version_t version) {
  std::optional<base_mark> out;
  with_aggregate(fact,
                 [&]<class A>(const typename A::fact& own) { out = A::base_of(own, version); });
  return out;
}

namespace {

template <class... As>
bool forgets_by_key_in(aggregate_list<As...>, stream_kind kind) {
  return ((As::kind == kind && requires(const typename As::fact& f) { As::forgets(f); }) || ...);
}

template <class... As>
bool has_brief_receipts_in(aggregate_list<As...>, stream_kind kind) {
  return ((As::kind == kind && As::brief_receipts) || ...);
}

}  // namespace

bool has_brief_receipts(stream_kind kind) { return has_brief_receipts_in(aggregates{}, kind); }

bool forgets_by_key(stream_kind kind) { return forgets_by_key_in(aggregates{}, kind); }

std::vector<forgetting> forgets_of(const append_unit& unit, const unit_outcome& accepted) {
  std::vector<forgetting> out;
  auto recorded = accepted.facts.begin();
  for (const auto& part : unit.parts)
    for (const auto& fact : part.facts) {
      const auto& at = (recorded++)->at;
      with_aggregate(fact, [&]<class A>(const typename A::fact& own) {
        if constexpr (requires { A::forgets(own); })
          if (auto prefix = A::forgets(own); !prefix.empty())
            out.push_back({at.stream_no, at.version, std::move(prefix)});
      });
    }
  return out;
}

result<std::vector<borrowed_range>> borrows_of(log_reader& log, const stream_position& at) {
  if (at.base_fact == 0)
    return std::vector<borrowed_range>{};
  auto facts = log.stream_forth(at.stream_no, at.base_fact - 1, 1);
  if (!facts)
    return fail(facts.error());
  if (facts->empty() || facts->front().at.version != at.base_fact || facts->front().blanked)
    return fail(errc::corrupt, "the fact that carries the base of stream "
                                 + std::to_string(at.stream_no) + " is missing");
  const auto fact = codec::decode(facts->front());
  if (!fact)
    return fail(fact.error());
  auto mark = base_of(*fact, at.base_fact);
  return mark ? std::move(mark->borrows) : std::vector<borrowed_range>{};
}

version_t initial_version(const any_fact& first) {
  const auto mark = base_of(first, 1);
  return mark ? mark->through : 0;
}

void project_base(const envelope& at, const any_fact& fact, std::vector<projections::change>& out) {
  with_aggregate(fact, [&]<class A>(const typename A::fact& own) {
    const auto state = A::carried_state(own);
    if constexpr (requires { projections::project_state(at, state, out); })
      projections::project_state(at, state, out);
  });
}

}  // namespace recalld::storage

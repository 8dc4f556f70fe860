#pragma once

#include <functional>
#include <optional>
#include <string>

#include "api/families.hpp"
#include "projections/projections.hpp"

/// Claims of work that are repeated. Whoever got no answer to a claim sends it again under the same
/// command id; it must be given the same thing, and no second one.
namespace recalld::api {

/// Where a table of claimed things says what is asked here. Its first key column is the stream.
struct claim_columns {
  const projections::table* table = nullptr;
  std::size_t tenant = 0;
  std::size_t worker = 0;
  std::size_t claimed_at = 0;
};

struct claimed_before {
  actors::committed done;  ///< As the claim was committed.
  projections::row row;    ///< As it is now.
};

/// Goes on with what this call's command id claimed for the worker, if that is still its claim;
/// nothing without a command id.
void find_claim(const call_ptr& call, const claim_columns& in, const std::string& worker,
                std::function<void(std::optional<claimed_before>)> then);

}  // namespace recalld::api

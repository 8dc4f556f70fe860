#pragma once

#include "storage/postgres_connection.hpp"
#include "storage/store.hpp"

#include <string>

/// Inside `storage/` only.
namespace recalld::storage::postgres {

/// The row of the table `lease`, over a connection of its own. Whoever holds it is an incarnation: a
/// node that starts again is another one.
class lease final : public log_lease {
public:
  /// Throws `failure`.
  lease(const postgres_options& options, std::string incarnation, std::string node);

  result<standing> hold(std::chrono::milliseconds length) override;
  result<void> release() override;

private:
  template <class F>
  auto asking(F&& body) -> decltype(body());

  connection db_;
  std::string incarnation_, node_;
  const statement hold_, look_, release_;
};

}  // namespace recalld::storage::postgres

#include "cli/offline_lease.hpp"

namespace recalld::cli {

namespace {
constexpr std::chrono::seconds length{30};
}

result<offline_lease> offline_lease::take(storage::store& store, const std::string& what) {
  offline_lease out;
  auto lease = store.open_lease(what);
  if (!lease)
    return fail(lease.error());
  if (*lease == nullptr)
    return out;
  const auto standing = (*lease)->hold(length);
  if (!standing)
    return fail(standing.error());
  if (!standing->ours)
    return fail(errc::unavailable,
                "the node " + standing->holder + " serves the log; stop it first");
  out.lease_ = std::move(*lease);
  out.kept_ = std::chrono::steady_clock::now();
  return out;
}

offline_lease::~offline_lease() {
  if (lease_)
    static_cast<void>(lease_->release());
}

void offline_lease::keep() {
  const auto now = std::chrono::steady_clock::now();
  if (!lease_ || now - kept_ < length / 6)
    return;
  // Whoever has it now is found out by what it does to the log: epochs and heads move.
  static_cast<void>(lease_->hold(length));
  kept_ = now;
}

}  // namespace recalld::cli

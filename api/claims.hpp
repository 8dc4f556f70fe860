#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "api/families.hpp"
#include "projections/projections.hpp"

/// Claims of work: how they wait for something to claim, and how they are repeated. Whoever got no
/// answer to a claim sends it again under the same command id; it must be given the same thing, and no
/// second one.
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

/// A claim that waits. It looks at once, and again whenever a stream of its kind is written to, until
/// it has found something or its time is over; then the answer is that nothing was written.
class waiting_claim : public std::enable_shared_from_this<waiting_claim> {
public:
  /// `until`: as of the call's clock; may be over.
  waiting_claim(call_ptr call, stream_kind kind, time_us_t until);
  virtual ~waiting_claim() = default;
  waiting_claim(const waiting_claim&) = delete;
  waiting_claim& operator=(const waiting_claim&) = delete;

  void begin();

protected:
  /// Answers the call with what it claims, or calls `found_nothing`.
  virtual void look() = 0;
  void found_nothing();
  const call_ptr& call() const noexcept { return call_; }

private:
  call_ptr call_;
  stream_kind kind_;
  time_us_t until_;
  bool looking_ = false;  ///< Between `look` and what it comes to.
  bool again_ = false;    ///< Something happened meanwhile.
  bool over_ = false;     ///< The time to wait is over.
};

}  // namespace recalld::api

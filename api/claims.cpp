#include "api/claims.hpp"

#include "api/answers.hpp"
#include "api/row_pages.hpp"

namespace recalld::api {

namespace receipts = projections::receipts;

namespace {

using rows_t = std::vector<projections::row>;

/// Looks at the streams of some receipts one after the other.
void look_at(const call_ptr& call, const claim_columns& in, const std::string& worker,
             const rows_t& told, std::size_t at,
             std::function<void(std::optional<claimed_before>)> then) {
  if (at == told.size()) {
    then(std::nullopt);
    return;
  }
  const auto& receipt = told[at];
  const auto time = number_at(receipt, receipts::time);
  projections::row_query query;
  query.table = in.table;
  query.equals = {receipt[receipts::stream]};
  query.where = {{in.claimed_at, time, time, false}};
  call->rows(std::move(query), call->on<rows_t>([=](rows_t rows) {
    for (auto& row : rows)
      if (text_at(row, in.tenant) == call->tenant() && text_at(row, in.worker) == worker) {
        const auto& of = told[at];
        claimed_before found;
        found.done.first_version = static_cast<version_t>(number_at(of, receipts::first_version));
        found.done.version = static_cast<version_t>(number_at(of, receipts::last_version));
        found.done.position = static_cast<position_t>(number_at(of, receipts::position));
        found.done.time = number_at(of, receipts::time);
        found.done.duplicate = true;
        found.row = std::move(row);
        then(std::move(found));
        return;
      }
    look_at(call, in, worker, told, at + 1, then);
  }));
}

}  // namespace

void find_claim(const call_ptr& call, const claim_columns& in, const std::string& worker,
                std::function<void(std::optional<claimed_before>)> then) {
  if (call->command_id().empty()) {
    then(std::nullopt);
    return;
  }
  projections::row_query query;
  query.table = &receipts::spec;
  query.equals = {call->command_id()};
  call->rows(std::move(query), call->on<rows_t>([=](const rows_t& told) {
    look_at(call, in, worker, told, 0, then);
  }));
}

waiting_claim::waiting_claim(call_ptr call, stream_kind kind, time_us_t until)
  : call_(std::move(call)), kind_(kind), until_(until) {}

void waiting_claim::begin() {
  looking_ = true;
  again_ = false;
  if (until_ <= call_->now())
    over_ = true;
  else
    call_->wait(actors::topic_of(kind_, call_->tenant()), until_,
                [self = shared_from_this()](bool woken) {
                  (woken ? self->again_ : self->over_) = true;
                  if (!self->looking_)
                    self->found_nothing();
                });
  look();
}

void waiting_claim::found_nothing() {
  looking_ = false;
  if (again_)
    begin();
  else if (over_)
    call_->answer(written(actors::committed{}).done());
}

}  // namespace recalld::api

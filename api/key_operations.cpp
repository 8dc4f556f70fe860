#include "api/answers.hpp"
#include "api/row_pages.hpp"
#include "api/steps.hpp"

/// The keys that credentials are sealed with.
namespace recalld::api {

namespace {

using actors::committed;
using actors::operation;
using actors::right;
namespace rows = projections::model_sessions;

constexpr auto rotate_answer = std::to_array<field>({
  {"key", field_type::string, true, "The fresh key's name; it is no secret."},
  {"resealed", field_type::integer, true, "Credentials that are under the fresh key now."},
  {"unreadable", field_type::integer, true,
   "Credentials that no key of the file opens; they stayed as they were."},
});

struct rotation {
  std::string key;
  std::uint64_t resealed = 0;
  std::uint64_t unreadable = 0;
};
using rotation_ptr = std::shared_ptr<rotation>;

/// Seals the credential behind a row again, unless it is another one by then.
void seal_again(const call_ptr& call, const projections::row& r, const rotation_ptr& sums,
                std::function<void()> then) {
  const stream_id stream(stream_kind::principal,
                         {text_at(r, rows::tenant), text_at(r, rows::principal)});
  const auto name = text_at(r, rows::session);
  call->view(stream, 0, call->on<actors::stream_view>([=](const actors::stream_view& view) {
    const auto& state = state_of<principal::state>(view);
    const auto found = state.sessions.find(name);
    if (found == state.sessions.end() || found->second.sealed.empty()
        || projections::model_sessions::key_of(found->second.sealed) == sums->key) {
      then();
      return;
    }
    const auto& was = found->second.sealed;
    auto plain = call->unseal(was);
    if (!plain) {
      ++sums->unreadable;
      then();
      return;
    }
    auto sealed = call->seal(*plain);
    if (!sealed) {
      call->fail(std::move(sealed.error()));
      return;
    }
    call->submit_as(
      stream, {}, any_command(principal::command(principal::reseal{name, was, std::move(*sealed)})),
      {}, call->on<committed>([=](const committed& done) {
        sums->resealed += done.first_version != 0 ? 1 : 0;
        then();
      }));
  }));
}

void rotate_from(const call_ptr& call, projections::row_query query, const rotation_ptr& sums) {
  call->rows(query, call->on<std::vector<projections::row>>([=](const std::vector<projections::row>&
                                                                  found) {
    if (found.empty()) {
      json::object_writer out;
      out.str("key", sums->key).num("resealed", sums->resealed).num("unreadable", sums->unreadable);
      call->answer(std::move(out).done());
      return;
    }
    const auto& r = found.front();
    auto next = query;
    next.after = {r[rows::sealed_by], r[rows::stream], r[rows::session], r[rows::stream],
                  r[rows::session]};
    seal_again(call, r, sums, [=] { rotate_from(call, next, sums); });
  }));
}

void rotate(call_ptr call) {
  if (auto rotated = call->rotate_keys(); !rotated) {
    call->fail(std::move(rotated.error()));
    return;
  }
  const auto sums = std::make_shared<rotation>();
  sums->key = call->sealing_key();
  projections::row_query query;
  query.table = &rows::spec;
  query.index = rows::by_key;
  query.limit = 1;
  rotate_from(call, std::move(query), sums);
}

constexpr operation operations[] = {
  {"key.rotate",
   "Makes a fresh key and seals all credentials under it; older keys still open.",
   right::admin,
   "POST",
   "/v1/keys/rotate",
   false,
   {},
   rotate_answer,
   rotate},
};

}  // namespace

std::span<const operation> key_operations() { return operations; }

}  // namespace recalld::api

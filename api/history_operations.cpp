#include "api/answers.hpp"
#include "api/cursor.hpp"
#include "api/histories.hpp"
#include "api/row_pages.hpp"
#include "events/canonical.hpp"

/// The histories of principals. What is said in them is read and written as any session's.
namespace recalld::api {

namespace {

using actors::committed;
using actors::operation;
using actors::right;
namespace rows = projections::sessions;

// -- fields --

constexpr auto principal_field = std::to_array<field>({
  {"principal", field_type::string, true, "The principal's id; 1 to 512 bytes."},
});
constexpr auto place_fields =
  join(principal_field,
       std::to_array<field>({
         {"endpoint", field_type::string, true, "Through whom the model is asked; 1 to 512 bytes."},
         {"chat", field_type::string, true, "Where people talk; 1 to 512 bytes."},
         {"thread", field_type::string, false, "A thread of the chat; absent: the chat itself."},
         {"model", field_type::string, true, "The model that is talked to; 1 to 512 bytes."},
       }));
constexpr auto open_answer =
  join(written_fields, session_fields,
       std::to_array<field>({
         {"created", field_type::boolean, true, "False when there was one already."},
       }));
constexpr auto list_request = join(principal_field, page_fields);
constexpr auto list_answer = std::to_array<field>({
  {"histories", field_type::array, true,
   "Newest update first: `{endpoint, chat, thread, model, app, user, session, entries_total, "
   "created_at, updated_at}`."},
  {"next_cursor", field_type::string, false, "To the next page, when there is one."},
});

// -- steps --

struct history_place {
  std::string tenant;
  std::string principal;
  std::string endpoint;
  std::string chat;
  std::string thread;
  std::string model;

  /// The id says nothing: it outlives the history in the log's list of streams.
  session_key session() const {
    return {tenant, std::string(histories_app), principal,
            hash_of_parts({endpoint, chat, thread, model})};
  }
};

history_place read_place(request_reader& in, const call_ptr& call) {
  history_place at;
  at.tenant = call->tenant();
  at.principal = in.id("principal");
  at.endpoint = in.id("endpoint");
  at.chat = in.id("chat");
  at.thread = in.optional_id("thread").value_or("");
  at.model = in.id("model");
  return at;
}

projections::row_query all_of_principal(const call_ptr& call, const std::string& principal) {
  projections::row_query query;
  query.table = &rows::spec;
  query.index = rows::by_user;
  query.equals = {call->tenant(), std::string(histories_app), principal};
  query.descending = true;
  return query;
}

// -- operations --

void open(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto at = read_place(in, call);
  if (refused(call, in))
    return;
  json::object_writer place;
  place.str("endpoint", at.endpoint).str("chat", at.chat);
  place.str("thread", at.thread).str("model", at.model);
  session::create wish;
  wish.metadata = std::move(place).done();
  wish.return_existing = true;
  const auto key = at.session();
  submit_to_session(call, key, std::move(wish), [=](const committed& done) {
    auto out = written(done);
    out.str("app", key.app).str("user", key.user).str("session", key.session);
    out.boolean("created", done.first_version != 0);
    call->answer(std::move(out).done());
  });
}

void drop(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_place(in, call).session();
  if (refused(call, in))
    return;
  // Whoever waits for an answer hears that it was cancelled, before it is forgotten.
  submit_to_session(call, key, session::remove{}, [=](const committed& done) {
    cancel_waiting(call, key, [=] {
      forget_asked(call, key, [=] { call->answer(written(done).done()); });
    });
  });
}

std::string history_json(const projections::row& r) {
  const auto metadata = text_at(r, rows::metadata);
  json::object_writer out;
  if (const auto place = json::members(metadata, "metadata"))
    for (const auto& m : *place)
      out.raw(m.name, m.raw);
  out.str("app", text_at(r, rows::app))
    .str("user", text_at(r, rows::user))
    .str("session", text_at(r, rows::session))
    .num("entries_total", number_at(r, rows::entries));
  add_time(out, "created_at", r, rows::created_at);
  add_time(out, "updated_at", r, rows::updated_at);
  return std::move(out).done();
}

void list(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto principal = in.id("principal");
  row_page page;
  page.query = all_of_principal(call, principal);
  page.query.where = {{rows::expires_at, call->now() + 1, std::nullopt, true}};
  page.place = {rows::updated_slot, rows::updated_at, rows::session, rows::stream};
  page.list = list_name({"history.list", call->tenant(), principal});
  page.member = "histories";
  page.render = history_json;
  answer_page(call, in, std::move(page));
}

constexpr std::string_view all_path = "/v1/principals/{principal}/histories";

constexpr operation operations[] = {
  {"history.open",
   "Answers the session of a principal's conversation with a model in a chat; begins it if need "
   "be.",
   right::write, "PUT", all_path, false, place_fields, open_answer, open},
  {"history.drop", "Deletes a history with everything in it; deleting twice is fine.", right::write,
   "DELETE", all_path, false, place_fields, written_fields, drop},
  {"history.list", "Lists the histories of a principal.", right::read, "GET", all_path, false,
   list_request, list_answer, list},
};

/// What was asked in histories, also in those that were dropped before, and what they wrote as the
/// user's state. Whoever waits for an answer hears that it was cancelled, before it is forgotten.
void forget_rest(const call_ptr& call, const session_key& all, std::function<void()> then) {
  const auto clear_state = [=] {
    const auto shared = user_stream(all.tenant, all.app, all.user);
    call->view(shared, 0, call->on<actors::stream_view>([=](const actors::stream_view& v) {
      if (v.stream_no == 0) {
        then();
        return;
      }
      call->submit_as(shared, {}, any_command(scope::command(scope::clear{})), {},
                      call->on<committed>([=](const committed&) { then(); }));
    }));
  };
  cancel_waiting(call, all, [=] { forget_asked(call, all, clear_state); });
}

/// Many at once share a commit.
constexpr std::size_t dropped_at_once = 64;

void drop_next(const call_ptr& call, const session_key& all, std::uint64_t dropped,
               std::function<void(std::uint64_t)> then) {
  auto query = all_of_principal(call, all.user);
  query.limit = dropped_at_once;
  call->rows(
    query, call->on<std::vector<projections::row>>([=](const std::vector<projections::row>& found) {
      if (found.empty()) {
        forget_rest(call, all, [=] { then(dropped); });
        return;
      }
      const auto one =
        all_of(call, found.size(), [=] { drop_next(call, all, dropped + found.size(), then); });
      for (const auto& row : found) {
        auto key = all;
        key.session = text_at(row, rows::session);
        call->submit_as(key.stream(), {}, any_command(session::command(session::remove{})), {}, one);
      }
    }));
}

void count_next(const call_ptr& call, projections::row_query query, std::uint64_t before,
                std::function<void(std::uint64_t)> then) {
  call->rows(
    query, call->on<std::vector<projections::row>>([=](const std::vector<projections::row>& found) {
      const auto all = before + found.size();
      if (found.size() < query.limit) {
        then(all);
        return;
      }
      auto next = query;
      const auto& last = found.back();
      next.after = {last[rows::updated_slot], last[rows::updated_at], last[rows::session],
                    last[rows::stream]};
      count_next(call, std::move(next), all, then);
    }));
}

}  // namespace

void drop_histories(const call_ptr& call, const std::string& principal,
                    std::function<void(std::uint64_t)> then) {
  drop_next(call, {call->tenant(), std::string(histories_app), principal, {}}, 0, std::move(then));
}

void count_histories(const call_ptr& call, const std::string& principal,
                     std::function<void(std::uint64_t)> then) {
  auto query = all_of_principal(call, principal);
  query.limit = page_max;
  count_next(call, std::move(query), 0, std::move(then));
}

std::span<const operation> history_operations() { return operations; }

}  // namespace recalld::api

#include "api/answers.hpp"
#include "api/cursor.hpp"
#include "api/steps.hpp"
#include "projections/projections.hpp"

#include <algorithm>

/// Everything that is done to a session, and the list of sessions.
namespace recalld::api {

namespace {

using actors::committed;
using actors::operation;
using actors::right;
namespace rows = projections::sessions;

// -- fields --

constexpr auto create_request =
  join(user_fields, std::to_array<field>({
                      {"session", field_type::string, false,
                       "The new session's id, 1 to 512 bytes; absent or empty: a UUIDv7 is made."},
                      {"state", field_type::object, false,
                       "Keys to begin with; `app:`, `user:` and `temp:` keys go to their scopes."},
                      {"metadata", field_type::object, false, "Opaque, kept with the session."},
                      {"if_exists", field_type::string, false,
                       "`error` (default) or `return`: an existing session is left untouched."},
                    }));
constexpr auto create_answer =
  join(written_fields, session_fields,
       std::to_array<field>({
         {"created", field_type::boolean, true, "False when the session existed already."},
         {"state", field_type::object, true,
          "The keys of this request as it sees them, `temp:` included."},
       }));

constexpr auto append_request = join(
  session_fields,
  std::to_array<field>({
    {"entries", field_type::array, false,
     "Up to 500 entries of at most 256 KiB, recorded together and in order. Interpreted are id, "
     "role, author, content, type, invocation_id, branch, filter_key, tag, client_time, "
     "tool_calls, tool_results, usage, metadata and partial; everything else comes back as it went "
     "in."},
    {"entry", field_type::object, false, "One entry, instead of `entries`."},
    {"state", field_type::object, false,
     "Keys to set together with the entries; `app:`, `user:` and `temp:` keys go to their scopes."},
  }));
constexpr auto append_answer =
  join(written_fields,
       std::to_array<field>({
         {"entries", field_type::array, true,
          "What became of each entry: `{id, version, duplicate}`; `partial` ones are not stored."},
         {"state", field_type::object, true,
          "The keys of this request as it sees them, `temp:` included."},
       }));

constexpr auto update_state_request =
  join(session_fields,
       std::to_array<field>({
         {"state", field_type::object, true,
          "Keys to set; `null` stores null. `app:`, `user:` and `temp:` keys go to their scopes."},
       }));
constexpr auto update_state_answer =
  join(written_fields, std::to_array<field>({
                         {"state", field_type::object, true,
                          "The keys of this request as it sees them, `temp:` included."},
                       }));

constexpr auto delete_state_key_request =
  join(session_fields, std::to_array<field>({
                         {"key", field_type::string, false, "One key of the session."},
                         {"keys", field_type::array, false, "Several keys, instead of `key`."},
                       }));

constexpr auto fork_request = join(
  session_fields,
  std::to_array<field>({
    {"at", field_type::integer, false, "The last version that both share; absent: all there is."},
    {"new_session", field_type::string, false,
     "The new session's id; absent or empty: a UUIDv7 is made."},
  }));
constexpr auto fork_answer =
  join(written_fields, session_fields,
       std::to_array<field>({
         {"source", field_type::string, true, "The session it was forked from."},
         {"at", field_type::integer, true, "The last version that both share."},
       }));

constexpr auto list_request =
  join(app_field,
       std::to_array<field>({
         {"user", field_type::string, false, "Only the sessions of this user."},
         {"limit", field_type::integer, false, "Sessions on a page, 1 to 1000; default 100."},
         {"cursor", field_type::string, false, "Go on where the last answer's `next_cursor` says."},
       }));
constexpr auto list_answer = std::to_array<field>({
  {"sessions", field_type::array, true,
   "Newest update first, then id descending: `{app, user, session, version, status, created_at, "
   "updated_at, closed_at, expires_at, entries_total, metadata, forked_from}`."},
  {"next_cursor", field_type::string, false, "To the next page, when there is one."},
});

// -- writes --

void create(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  session_key key{call->tenant(), in.id("app"), in.id("user"), {}};
  auto session = in.string("session");
  if (session && session->empty())
    session.reset();
  else
    in.optional_id("session");
  session::create wish;
  wish.state = read_delta(in, "state");
  wish.metadata = in.object("metadata").value_or("");
  wish.return_existing = in.choice("if_exists", {"error", "return"}) == "return";
  if (refused(call, in))
    return;
  auto seen = seen_delta(wish.state);
  choose_session_id(call, key, std::move(session), [=](std::string id) {
    auto whole = key;
    whole.session = std::move(id);
    submit_to_session(call, whole, wish, [=](const committed& done) {
      const bool created = done.first_version != 0;
      auto out = written(done);
      out.str("app", whole.app).str("user", whole.user).str("session", whole.session);
      out.boolean("created", created).raw("state", created ? seen : "{}");
      call->answer(std::move(out).done());
    });
  });
}

/// Whether it is not known yet which version an entry has that was there before.
bool lacks_version(const entry_outcome& one) {
  return one.version == 0 && !one.partial && !one.id.empty();
}

/// Looks for the versions of entries that an earlier execution met as duplicates, one by one, then
/// answers. Only a retry of such a request comes here.
void complete_outcomes(const call_ptr& call, const session_key& key,
                       std::shared_ptr<std::vector<entry_outcome>> outcomes, std::size_t from,
                       std::function<void()> then) {
  while (from < outcomes->size() && !lacks_version((*outcomes)[from]))
    ++from;
  if (from == outcomes->size()) {
    then();
    return;
  }
  call->view(key.stream(), 0, [=](result<actors::stream_view> view) {
    if (!view) {
      call->fail(std::move(view.error()));
      return;
    }
    session::window around;
    around.anchor = (*outcomes)[from].id;
    call->cut(around, std::move(*view), [=](result<session::page> page) {
      // An entry that was forgotten since has no version any more; that is no error.
      if (page && !page->entries.empty())
        (*outcomes)[from].version = page->entries.front().version;
      complete_outcomes(call, key, outcomes, from + 1, then);
    });
  });
}

void append(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_session_key(in, call->tenant());
  session::append wish;
  wish.entries = read_entries(in, call->request(), call->now());
  wish.delta = read_delta(in, "state");
  if (wish.entries.empty() && wish.delta.empty() && wish.delta.temp.empty())
    in.refuse("entries", "give at least one entry, or `state`");
  if (refused(call, in))
    return;
  auto seen = seen_delta(wish.delta);
  const auto command = std::make_shared<const any_command>(session::command(std::move(wish)));
  submit_to_session(call, key, command, [=, seen = std::move(seen)](const committed& done) {
    const auto& sent = std::get<session::append>(std::get<session::command>(*command)).entries;
    auto outcomes = outcomes_of(sent, done);
    const auto answer = [call, seen](const committed& first,
                                     const std::vector<entry_outcome>& became) {
      auto out = written(first);
      out.raw("entries", outcomes_json(became)).raw("state", seen);
      call->answer(std::move(out).done());
    };
    if (std::none_of(outcomes.begin(), outcomes.end(), lacks_version)) {
      answer(done, outcomes);
      return;
    }
    const auto all = std::make_shared<std::vector<entry_outcome>>(std::move(outcomes));
    complete_outcomes(call, key, all, 0, [=] { answer(done, *all); });
  });
}

void update_state(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_session_key(in, call->tenant());
  session::update_state wish{read_delta(in, "state")};
  if (!in.has("state"))
    in.refuse("state", "is required");
  if (refused(call, in))
    return;
  auto seen = seen_delta(wish.delta);
  submit_to_session(call, key, std::move(wish), [=](const committed& done) {
    auto out = written(done);
    out.raw("state", seen);
    call->answer(std::move(out).done());
  });
}

/// The rest of an operation that answers nothing but that it was written.
void submit_plain(const call_ptr& call, const request_reader& in, const session_key& key,
                  session::command command) {
  if (refused(call, in))
    return;
  submit_to_session(call, key, std::move(command),
                    [=](const committed& done) { call->answer(written(done).done()); });
}

void delete_state_key(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_session_key(in, call->tenant());
  submit_plain(call, in, key, session::delete_state_keys{read_session_keys(in)});
}

void close(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_session_key(in, call->tenant());
  submit_plain(call, in, key, session::close{});
}

void remove(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_session_key(in, call->tenant());
  if (refused(call, in))
    return;
  // Whoever gets no answer deletes again, which cancels and clears what the first time left.
  submit_to_session(call, key, session::remove{}, [=](const committed& done) {
    cancel_waiting(call, key, [=] {
      clear_summaries(call, key, done.version, [=] { call->answer(written(done).done()); });
    });
  });
}

// -- fork --

/// The state that a fork begins with must belong to the session that is there now.
result<std::shared_ptr<const session::state>> fork_origin(const session_view& source,
                                                          const actors::stream_view& past) {
  const auto* held = std::get_if<std::shared_ptr<const session::state>>(&past.state);
  if (held == nullptr || *held == nullptr || past.version < source.state->created_version)
    return fail_field("at", "the session did not exist at that version");
  return *held;
}

void answer_fork(const call_ptr& call, const session_key& source, const session_key& target,
                 const committed& done) {
  auto out = written(done);
  out.str("app", target.app).str("user", target.user).str("session", target.session);
  // A fork's first fact stands right behind the past it shares, also on a retry without `at`.
  out.str("source", source.session).num("at", done.first_version - 1);
  call->answer(std::move(out).done());
}

/// A fork that cannot be made any more may have been made before, under the same command id, when
/// its original was still there: then it gets its first answer.
void refuse_fork(const call_ptr& call, const session_key& source, std::optional<std::string> wanted,
                 const error& why) {
  if (call->command_id().empty()) {
    call->fail(why);
    return;
  }
  choose_session_id(call, source, std::move(wanted), [=](std::string id) {
    auto target = source;
    target.session = std::move(id);
    // Version 0 is always refused; all that this can lead to is the receipt of the first execution.
    call->submit(target.stream(),
                 any_command(session::command(session::begin_fork{source.stream(), 0, {}})), {},
                 [=](result<committed> done) {
                   if (done)
                     answer_fork(call, source, target, *done);
                   else if (const auto code = done.error().code;
                            code == errc::key_reuse || code == errc::unavailable
                            || code == errc::overloaded || code == errc::outcome_unknown)
                     call->fail(std::move(done.error()));
                   else
                     call->fail(why);
                 });
  });
}

/// `past` is where the shared past ends: in the source itself, or in what that borrows from.
void begin_fork(const call_ptr& call, const session_key& source, std::optional<std::string> wanted,
                const actors::stream_view& past, std::shared_ptr<const session::state> origin) {
  choose_session_id(call, source, std::move(wanted), [=](std::string id) {
    auto target = source;
    target.session = std::move(id);
    submit_to_session(call, target, session::begin_fork{past.stream, past.version, *origin},
                      [=](const committed& done) { answer_fork(call, source, target, done); });
  });
}

/// The stream in which the past of a session lies at a version: that of a fork begins elsewhere.
stream_id stream_at(const session_view& of, version_t at) {
  for (const auto& range : of.state->borrowed)
    if (at <= range.through)
      return range.stream;
  return of.stream.stream;
}

void fork(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_session_key(in, call->tenant());
  const auto at = in.count("at", 1, 1ULL << 53);
  auto wanted = in.string("new_session");
  if (wanted && wanted->empty())
    wanted.reset();
  else
    in.optional_id("new_session");
  if (wanted == key.session)
    in.refuse("new_session", "a session cannot be its own fork");
  if (call->raw("expected_version"))
    in.refuse("expected_version", "a fork begins a new session: say `at` instead");
  if (refused(call, in))
    return;
  const auto refuse = [=](const error& why) { refuse_fork(call, key, wanted, why); };
  call->view(key.stream(), 0, call->on<actors::stream_view>([=](actors::stream_view view) {
    auto state = readable(view, call->now());
    if (!state) {
      refuse(state.error());
      return;
    }
    const session_view source{std::move(view), std::move(*state)};
    const auto head = source.stream.version;
    if (at && *at > head) {
      refuse(invalid("at", "the session is at version " + std::to_string(head)));
      return;
    }
    const auto go_on = [=](const actors::stream_view& past) {
      auto origin = fork_origin(source, past);
      if (origin)
        begin_fork(call, key, wanted, past, std::move(*origin));
      else
        refuse(origin.error());
    };
    if (!at || *at == head) {
      go_on(source.stream);
      return;
    }
    call->view_at(stream_at(source, *at), *at, [=](result<actors::stream_view> past) {
      if (past)
        go_on(*past);
      else if (past.error().code == errc::not_found)
        refuse(past.error());
      else
        call->fail(std::move(past.error()));
    });
  }));
}

// -- list --

std::string text_of(const projections::row& row, std::size_t column) {
  const auto* text = std::get_if<std::string>(&row[column]);
  return text == nullptr ? std::string() : *text;
}

std::optional<std::int64_t> number_of(const projections::row& row, std::size_t column) {
  const auto* number = std::get_if<std::int64_t>(&row[column]);
  return number == nullptr ? std::nullopt : std::optional(*number);
}

std::string session_json(const projections::row& row) {
  json::object_writer out;
  out.str("app", text_of(row, rows::app))
    .str("user", text_of(row, rows::user))
    .str("session", text_of(row, rows::session))
    .num("version", number_of(row, rows::version).value_or(0))
    .str("status", text_of(row, rows::status))
    .str("created_at", format_time(number_of(row, rows::created_at).value_or(0)))
    .str("updated_at", format_time(number_of(row, rows::updated_at).value_or(0)));
  if (const auto closed = number_of(row, rows::closed_at))
    out.str("closed_at", format_time(*closed));
  if (const auto expires = number_of(row, rows::expires_at))
    out.str("expires_at", format_time(*expires));
  out.num("entries_total", number_of(row, rows::entries).value_or(0));
  const auto metadata = text_of(row, rows::metadata);
  out.raw("metadata", metadata.empty() ? "{}" : metadata);
  if (const auto from = text_of(row, rows::forked_from); !from.empty())
    out.raw("forked_from", from);
  return std::move(out).done();
}

/// Columns of the order behind those that a query fixes: where the next page begins.
std::vector<std::size_t> order_of(const projections::row_query& query) {
  const auto& index = query.table->indexes[static_cast<std::size_t>(query.index)];
  std::vector<std::size_t> columns(
    index.columns.begin() + static_cast<std::ptrdiff_t>(query.equals.size()), index.columns.end());
  for (std::size_t i = 0; i < query.table->key_columns; ++i)
    columns.push_back(i);
  return columns;
}

/// A cursor's parts must be of the columns' types; a store may rely on it.
bool fits(const std::vector<cursor_part>& place, const projections::row_query& query) {
  const auto columns = order_of(query);
  if (place.size() != columns.size())
    return false;
  for (std::size_t i = 0; i < place.size(); ++i) {
    const bool is_number = std::holds_alternative<std::int64_t>(place[i]);
    const auto& column = query.table->columns[columns[i]];
    if (std::holds_alternative<std::monostate>(place[i])
          ? !column.nullable
          : is_number != (column.type == projections::column_type::integer))
      return false;
  }
  return true;
}

void list(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto app = in.id("app");
  const auto user = in.optional_id("user");
  const auto limit = in.count("limit", 1, page_max).value_or(100);
  projections::row_query query;
  query.table = &rows::spec;
  query.index = user ? rows::by_user : rows::by_app;
  query.equals = {call->tenant(), app};
  if (user)
    query.equals.emplace_back(*user);
  query.descending = true;
  query.limit = limit + 1;  // One more tells whether there is another page.
  query.where = {{rows::expires_at, call->now() + 1, std::nullopt, true}};
  const auto name =
    list_name({"session.list", call->tenant(), app, user ? "user" : "", user.value_or("")});
  if (const auto cursor = in.string("cursor")) {
    auto place = read_cursor(*cursor, name, "cursor");
    if (!place)
      in.refuse(std::move(place.error()));
    else if (!fits(*place, query))
      in.refuse("cursor", "this is not a cursor that an answer gave");
    else
      query.after = std::move(*place);
  }
  if (refused(call, in))
    return;
  const auto order = order_of(query);
  call->rows(std::move(query), call->on<std::vector<projections::row>>(
                                 [=](const std::vector<projections::row>& found) {
                                   array_writer sessions;
                                   const auto count = std::min<std::size_t>(found.size(), limit);
                                   for (std::size_t i = 0; i < count; ++i)
                                     sessions.raw(session_json(found[i]));
                                   json::object_writer out;
                                   out.raw("sessions", std::move(sessions).done());
                                   if (found.size() > count) {
                                     std::vector<cursor_part> place;
                                     for (auto column : order)
                                       place.push_back(found[count - 1][column]);
                                     out.str("next_cursor", write_cursor(name, place));
                                   }
                                   call->answer(std::move(out).done());
                                 }));
}

constexpr std::string_view of_user = "/v1/apps/{app}/users/{user}/sessions";
constexpr std::string_view one = "/v1/apps/{app}/users/{user}/sessions/{session}";

constexpr operation operations[] = {
  {"session.create", "Creates a session.", right::write, "POST", of_user, true, create_request,
   create_answer, create},
  {"session.append", "Appends entries and state to a session, all of it or nothing.", right::write,
   "POST", "/v1/apps/{app}/users/{user}/sessions/{session}/entries", true, append_request,
   append_answer, append},
  {"session.update_state", "Sets state keys of a session.", right::write, "PATCH",
   "/v1/apps/{app}/users/{user}/sessions/{session}/state", true, update_state_request,
   update_state_answer, update_state},
  {"session.delete_state_key", "Deletes state keys of a session.", right::write, "DELETE",
   "/v1/apps/{app}/users/{user}/sessions/{session}/state", false, delete_state_key_request,
   written_fields, delete_state_key},
  {"session.close", "Closes a session: reads go on, writes are refused as `closed`.", right::write,
   "POST", "/v1/apps/{app}/users/{user}/sessions/{session}/close", false, session_fields,
   written_fields, close},
  {"session.delete", "Deletes a session with everything in it; deleting twice is fine.",
   right::write, "DELETE", one, false, session_fields, written_fields, remove},
  {"session.fork", "Begins a new session that shares the past of another one.", right::write,
   "POST", "/v1/apps/{app}/users/{user}/sessions/{session}/fork", false, fork_request, fork_answer,
   fork},
  {"session.list", "Lists the sessions of an application or of one of its users.", right::read,
   "GET", "/v1/apps/{app}/sessions", true, list_request, list_answer, list},
};

}  // namespace

std::span<const operation> session_operations() { return operations; }

}  // namespace recalld::api

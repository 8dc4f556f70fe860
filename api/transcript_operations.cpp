#include "api/answers.hpp"
#include "api/steps.hpp"

/// Reads of one session: the whole of it, its entries, its conversation.
namespace recalld::api {

namespace {

using actors::operation;
using actors::right;

constexpr auto window_fields = std::to_array<field>({
  {"last", field_type::integer, false,
   "The last so many entries, 0 to 10000; without any option the last 100."},
  {"after_version", field_type::integer, false, "Only entries behind this version."},
  {"before_version", field_type::integer, false, "Only entries before this version."},
  {"since", field_type::string, false, "Only entries recorded at or after this RFC 3339 time."},
  {"max_bytes", field_type::integer, false,
   "Entries whose JSON fits into so many bytes, at least one; default and at most 16 MiB."},
  {"anchor", field_type::string, false,
   "The id of an entry around which `before` and `after` count."},
  {"before", field_type::integer, false, "So many entries before the anchor, 0 to 1000."},
  {"after", field_type::integer, false, "So many entries after the anchor, 0 to 1000."},
  {"roles", field_type::array, false, "Only entries of these roles; at most 32."},
  {"limit", field_type::integer, false,
   "Page size for paging from the oldest entry on, 1 to 10000."},
  {"cursor", field_type::string, false,
   "Go on where an answer's `next_cursor` or `previous_cursor` says; repeat the other options."},
  {"turn_aligned", field_type::boolean, false,
   "Begin at a user turn; if there is none in the window the last user turn is put before it. "
   "Default: true when `last` is given alone."},
});

constexpr auto paging_fields = std::to_array<field>({
  {"more_before", field_type::boolean, true, "Older entries exist."},
  {"more_after", field_type::boolean, true, "Newer entries exist."},
  {"next_cursor", field_type::string, false, "To newer entries, when there are any."},
  {"previous_cursor", field_type::string, false, "To older entries, when there are any."},
});

constexpr auto read_request = join(session_fields, window_fields);

constexpr auto get_request = join(
  read_request,
  std::to_array<field>({
    {"include_state", field_type::boolean, false, "Answer the merged state as well; default true."},
  }));

constexpr auto get_answer =
  join(session_fields,
       std::to_array<field>({
         {"version", field_type::integer, true, "The session's version."},
         {"status", field_type::string, true, "`open` or `closed`."},
         {"created_at", field_type::string, true, "When it was created, UTC."},
         {"updated_at", field_type::string, true, "When it was last written to, UTC."},
         {"closed_at", field_type::string, false, "When it was closed, UTC."},
         {"expires_at", field_type::string, false, "When it expires unless written to, UTC."},
         {"entries_total", field_type::integer, true, "How many entries were ever appended."},
         {"metadata", field_type::object, true, "As it was given at creation."},
         {"forked_from", field_type::object, false,
          "What it is a fork of: `{app, user, session, version}`."},
         {"state", field_type::object, false,
          "Session keys, application keys as `app:k`, user keys as `user:k`."},
         {"entries", field_type::array, true,
          "The window, oldest first: `{version, position, recorded_at, entry}`."},
       }),
       paging_fields);

constexpr auto entries_answer =
  join(std::to_array<field>({
         {"version", field_type::integer, true, "The session's version."},
         {"entries", field_type::array, true,
          "The window, oldest first: `{version, position, recorded_at, entry}`."},
       }),
       paging_fields);

constexpr auto messages_answer =
  join(std::to_array<field>({
         {"version", field_type::integer, true, "The session's version."},
         {"messages", field_type::array, true,
          "The window, oldest first: `{version, id, role, content, timestamp, metadata}`."},
       }),
       paging_fields);

std::string entries_json(const session::page& page) {
  array_writer entries;
  for (const auto& e : page.entries)
    entries.raw(entry_json(e));
  return std::move(entries).done();
}

/// A session with the window that was asked for.
struct transcript {
  session_key key;
  window_request wanted;
  session_view seen;
  session::page page;
};
using transcript_ptr = std::shared_ptr<transcript>;

/// Reads the request, views the session and cuts the window.
void read_transcript(const call_ptr& call, std::function<void(transcript_ptr)> then) {
  const call_members given(*call);
  request_reader in(given);
  auto read = std::make_shared<transcript>();
  read->key = read_session_key(in, call->tenant());
  read->wanted = read_window(in, call->what().name, read->key);
  if (refused(call, in))
    return;
  // One more than the window, which tells whether there is one before it.
  const auto newest = read->wanted.window.last.value_or(session::window_entries_max) + 1;
  view_session(call, read->key, newest, [=](session_view seen) {
    read->seen = std::move(seen);
    call->cut(read->wanted.window, read->seen.stream,
              call->on<session::page>([=](session::page page) {
                read->page = std::move(page);
                then(read);
              }));
  });
}

/// Answers `session.get`; without `state` when that is empty.
void answer_session(const call_ptr& call, const transcript& read, const std::string& state) {
  json::object_writer out;
  add_session(out, read.key, *read.seen.state, read.seen.stream.version);
  if (!state.empty())
    out.raw("state", state);
  out.raw("entries", entries_json(read.page));
  add_paging(out, read.wanted, read.page);
  call->answer(std::move(out).done());
}

void get(call_ptr call) {
  const bool include_state = call->boolean("include_state").value_or(true);
  read_transcript(call, [=](transcript_ptr read) {
    if (!include_state) {
      answer_session(call, *read, {});
      return;
    }
    const auto& key = read->key;
    call->view(key.of_app(), 0, call->on<actors::stream_view>([=](actors::stream_view app) {
      call->view(read->key.of_user(), 0,
                 call->on<actors::stream_view>([=](const actors::stream_view& user) {
                   answer_session(call, *read,
                                  merged_state(*read->seen.state, scope_of(app), scope_of(user)));
                 }));
    }));
  });
}

void entries(call_ptr call) {
  read_transcript(call, [=](transcript_ptr read) {
    json::object_writer out;
    out.num("version", read->seen.stream.version).raw("entries", entries_json(read->page));
    add_paging(out, read->wanted, read->page);
    call->answer(std::move(out).done());
  });
}

void messages(call_ptr call) {
  read_transcript(call, [=](transcript_ptr read) {
    array_writer all;
    for (const auto& e : read->page.entries) {
      auto message = message_json(e);
      if (!message) {
        call->fail(std::move(message.error()));
        return;
      }
      all.raw(*message);
    }
    json::object_writer out;
    out.num("version", read->seen.stream.version).raw("messages", std::move(all).done());
    add_paging(out, read->wanted, read->page);
    call->answer(std::move(out).done());
  });
}

constexpr operation operations[] = {
  {"session.get", "Reads a session: times, merged state and a window of its entries.", right::read,
   "GET", "/v1/apps/{app}/users/{user}/sessions/{session}", true, get_request, get_answer, get},
  {"session.entries", "Reads a window of a session's entries.", right::read, "GET",
   "/v1/apps/{app}/users/{user}/sessions/{session}/entries", false, read_request, entries_answer,
   entries},
  {"session.messages", "Reads a window of a session as a conversation.", right::read, "GET",
   "/v1/apps/{app}/users/{user}/sessions/{session}/messages", true, read_request, messages_answer,
   messages},
};

}  // namespace

std::span<const operation> transcript_operations() { return operations; }

}  // namespace recalld::api

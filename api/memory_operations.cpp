#include <algorithm>
#include <array>
#include <charconv>

#include "api/answers.hpp"
#include "api/cursor.hpp"
#include "api/row_pages.hpp"
#include "api/steps.hpp"

/// The memories of an owner: an application's user.
namespace recalld::api {

namespace {

using actors::committed;
using actors::operation;
using actors::right;
using memory_space::status;
namespace rows = projections::memories;
namespace revisions = projections::memory_revisions;

// -- limits --

constexpr std::size_t query_bytes_max = 16 * 1024;
constexpr std::uint64_t hits_max = 100;
/// How often an update begins again because another write came between its reading and writing.
constexpr int update_tries = 3;

// -- fields --

constexpr auto id_field = std::to_array<field>({
  {"id", field_type::string, true, "The memory's id."},
});
constexpr auto content_fields = std::to_array<field>({
  {"kind", field_type::string, false, "`fact` (default) or `episode`."},
  {"topics", field_type::array, false, "Up to 64 texts of at most 256 bytes."},
  {"event_time", field_type::any, false, "When it happened, RFC 3339; null: not known."},
  {"participants", field_type::array, false,
   "Who takes part, up to 64 names of at most 256 bytes."},
  {"location", field_type::string, false, "Where it happened; at most 256 bytes."},
  {"importance", field_type::any, false, "A number that is kept with it; null: none."},
  {"metadata", field_type::object, false,
   "Opaque, at most 64 KiB; `where` of a search looks at it."},
});
constexpr auto origin_fields = std::to_array<field>({
  {"by", field_type::string, false, "Who says so; 1 to 512 bytes."},
  {"source", field_type::object, false,
   "Where it comes from: `kind` (`session`, `tool`, `user` or `import`), `session`, `entries` "
   "(ids); "
   "further members are kept."},
});
constexpr auto reason_field = std::to_array<field>({
  {"reason", field_type::string, false, "Why; kept in the history, at most 512 bytes."},
});
constexpr auto filter_fields = std::to_array<field>({
  {"topics", field_type::array, false, "Only memories with at least one of these topics."},
  {"kind", field_type::string, false, "Only `fact` or only `episode`."},
  {"since", field_type::string, false,
   "Only what happened (else: was added) at or after this time, RFC 3339."},
  {"until", field_type::string, false,
   "Only what happened (else: was added) at or before this time."},
  {"where", field_type::object, false,
   "A condition on the metadata: `{field, is|is_not|less|at_most|more|at_least|one_of|contains|"
   "exists}`, `{and: […]}`, `{or: […]}` or `{not: …}`. Numbers compare as numbers."},
});

constexpr auto one_request = join(user_fields, id_field);
constexpr auto add_request =
  join(user_fields,
       std::to_array<field>({
         {"text", field_type::string, true, "What to remember; at most 64 KiB."},
       }),
       content_fields, origin_fields);
constexpr auto add_answer =
  join(written_fields, std::to_array<field>({
                         {"id", field_type::string, false, "The memory's id; it never changes."},
                         {"created", field_type::boolean, true,
                          "False when the same memory existed: topics and metadata are replaced."},
                         {"evicted", field_type::array, true,
                          "Ids of memories that were deleted to keep to the owner's limit."},
                       }));
constexpr auto update_request =
  join(one_request,
       std::to_array<field>({
         {"text", field_type::string, false, "What to remember; at most 64 KiB."},
       }),
       content_fields, reason_field, origin_fields,
       std::to_array<field>({
         {"revision", field_type::integer, false,
          "The revision that the caller has seen; another one is a `conflict`."},
       }));
constexpr auto status_request = join(one_request, reason_field, origin_fields);
constexpr auto supersede_request =
  join(status_request,
       std::to_array<field>({
         {"replaced_by", field_type::string, false, "The id of the memory that holds instead."},
       }));
constexpr auto changed_answer =
  join(written_fields,
       std::to_array<field>({
         {"id", field_type::string, true, "The memory's id."},
         {"revision", field_type::integer, false, "Its revision, when something had to change."},
       }));
constexpr auto memory_answer = std::to_array<field>({
  {"version", field_type::integer, true, "The version of the owner's memories."},
  {"memory", field_type::object, true,
   "`{id, text, kind, status, topics, event_time, participants, location, importance, metadata, "
   "source, by, revision, hash, created_at, updated_at, replaced_by}`."},
});
constexpr auto read_request = join(user_fields,
                                   std::to_array<field>({
                                     {"status", field_type::string, false,
                                      "`active` (default), `superseded`, `invalidated` or `all`."},
                                   }),
                                   filter_fields, page_fields);
constexpr auto read_answer = std::to_array<field>({
  {"memories", field_type::array, true,
   "Newest update first, then newest creation, then id descending; see `memory.get`."},
  {"next_cursor", field_type::string, false, "To the next page, when there is one."},
});
constexpr auto search_request = join(
  user_fields,
  std::to_array<field>({
    {"query", field_type::string, true,
     "A whole question or words in any language, taken literally; at most 16 KiB."},
    {"scope", field_type::string, false,
     "`memories` (default), `entries` of a session, or `both`."},
    {"session", field_type::string, false,
     "Whose entries, with `entries` or `both`. With `memories` or `both` the collections are "
     "searched, too, that are attached to this session now: its contexts of type `collection`, "
     "with the content `{app, user}`."},
    {"principal", field_type::string, false,
     "Search the collections, too, that are attached to this principal now."},
  }),
  filter_fields,
  std::to_array<field>({
    {"min_score", field_type::any, false, "Leave out hits below this score, 0 to 1."},
    {"limit", field_type::integer, false, "Hits on a page, 1 to 100; default 10."},
    {"cursor", field_type::string, false, "Go on where the last answer's `next_cursor` says."},
  }));
constexpr auto search_answer = std::to_array<field>({
  {"version", field_type::integer, true, "The version of the owner's memories that was searched."},
  {"session_version", field_type::integer, false,
   "The version of the session, when it was searched."},
  {"hits", field_type::array, true,
   "Best first: `{score, memory}`, from a collection also `{owner: {app, user}}`, or `{score, "
   "entry}` "
   "as `session.get` has it. A score is between 0 and 1 and compares hits of one owner or session "
   "in "
   "one answer."},
  {"next_cursor", field_type::string, false, "To the next page, when there is one."},
  {"note", field_type::string, false,
   "What could not be done: an embedding model is configured and gave no vector of the question, "
   "or a "
   "context of the session that should name a collection does not."},
});
constexpr auto history_request = join(one_request, page_fields);
constexpr auto history_answer = std::to_array<field>({
  {"revisions", field_type::array, true,
   "Oldest first: `{revision, what, time, version, content, reason, by, source}`; what is `added`, "
   "`retold`, `updated`, `superseded`, `invalidated` or `restored`."},
  {"next_cursor", field_type::string, false, "To the next page, when there is one."},
});
constexpr auto limit_fields = std::to_array<field>({
  {"most", field_type::integer, true, "Memories that may be active; 0 = no limit."},
  {"when_full", field_type::string, false,
   "`reject` (default) what is one too many, or `evict` the least recently updated one."},
});
constexpr auto set_limits_request = join(user_fields, limit_fields);
constexpr auto limits_answer = std::to_array<field>({
  {"version", field_type::integer, true, "The version of the owner's memories."},
  {"most", field_type::integer, true, "Memories that may be active; 0 = no limit."},
  {"when_full", field_type::string, true, "`reject` or `evict`."},
  {"active", field_type::integer, true, "Memories that are active."},
  {"memories", field_type::integer, true, "Memories in all, superseded and invalidated ones too."},
});

// -- reading requests --

/// Whose memories.
struct owner_key {
  std::string tenant;
  std::string app;
  std::string user;
  stream_id stream() const { return {stream_kind::memory_space, {tenant, app, user}}; }
};

owner_key read_owner(request_reader& in, const call_ptr& call) {
  return {call->tenant(), in.id("app"), in.id("user")};
}

std::optional<memory_space::memory_kind> read_kind(request_reader& in) {
  const auto kind = in.choice("kind", {"fact", "episode"});
  if (!kind)
    return std::nullopt;
  return *kind == "episode" ? memory_space::memory_kind::episode : memory_space::memory_kind::fact;
}

/// The given fields in place of those of `was`.
memory_space::content read_content(request_reader& in, memory_space::content was) {
  const auto is_null = [](std::string_view raw) { return json::kind_of(raw) == json::kind::null; };
  if (auto text = in.string("text"))
    was.text = std::move(*text);
  was.kind = read_kind(in).value_or(was.kind);
  if (in.has("topics"))
    was.topics = in.strings("topics", memory_space::topics_max);
  if (in.has("participants"))
    was.participants = in.strings("participants", memory_space::topics_max);
  if (auto location = in.string("location"))
    was.location = std::move(*location);
  if (const auto raw = in.raw("event_time"))
    was.event_time = is_null(*raw) ? std::nullopt : in.time("event_time");
  if (const auto raw = in.raw("importance")) {
    if (!is_null(*raw) && json::kind_of(*raw) != json::kind::number)
      in.refuse("importance", "must be a number");
    was.importance = is_null(*raw) ? std::string() : std::string(*raw);
  }
  if (auto metadata = in.object("metadata"))
    was.metadata = std::move(*metadata);
  return was;
}

result<void> check_source(std::string_view source) {
  const auto members = json::members(source, "source");
  if (!members)
    return fail(members.error());
  for (const auto& m : *members) {
    const auto field = "source." + m.name;
    if (m.name == "kind") {
      const auto kind = json::as_string(m.raw, field);
      static constexpr auto kinds =
        std::to_array<std::string_view>({"session", "tool", "user", "import"});
      if (!kind || std::find(kinds.begin(), kinds.end(), *kind) == kinds.end())
        return fail_field(field, "must be one of `session`, `tool`, `user`, `import`");
    } else if (m.name == "session") {
      const auto session = json::as_string(m.raw, field);
      if (!session)
        return fail(session.error());
      if (auto good = check_id(*session, field); !good)
        return good;
    } else if (m.name == "entries") {
      const auto ids = json::elements(m.raw, field);
      if (!ids)
        return fail(ids.error());
      for (auto raw : *ids)
        if (auto id = json::as_string(raw, field); !id)
          return fail(id.error());
    }
  }
  return {};
}

memory_space::origin read_origin(request_reader& in) {
  memory_space::origin from{in.optional_id("by").value_or(""), in.object("source").value_or("")};
  if (!from.source.empty())
    if (auto good = check_source(from.source); !good)
      in.refuse(good.error());
  return from;
}

std::string read_reason(request_reader& in) {
  auto reason = in.string("reason").value_or("");
  if (reason.size() > id_bytes_max)
    in.refuse("reason", "at most " + std::to_string(id_bytes_max) + " bytes");
  return reason;
}

memory_space::filter read_filter(request_reader& in) {
  memory_space::filter out;
  out.topics = in.strings("topics", memory_space::topics_max);
  out.kind = read_kind(in);
  out.since = in.time("since");
  out.until = in.time("until");
  if (out.since && out.until && *out.until < *out.since)
    in.refuse("until", "must not be before `since`");
  if (const auto where = in.raw("where")) {
    auto metadata = memory_space::condition::parse(*where, "where");
    if (metadata)
      out.metadata = std::move(*metadata);
    else
      in.refuse(metadata.error());
  }
  return out;
}

/// The list that pages with the same filters belong to.
std::string list_of(std::string_view operation, const owner_key& owner, const request_reader& in,
                    std::initializer_list<std::string_view> members) {
  auto name = list_name({operation, owner.tenant, owner.app, owner.user});
  for (auto member : members)
    name += list_name({member, in.raw(member).value_or("")});
  return name;
}

// -- answers --

std::string memory_json(const projections::row& r) {
  json::object_writer w;
  w.str("id", text_at(r, rows::id))
    .str("text", text_at(r, rows::text))
    .str("kind", text_at(r, rows::kind))
    .str("status", text_at(r, rows::status))
    .raw("topics", text_at(r, rows::topics));
  add_time(w, "event_time", r, rows::event_time);
  w.raw("participants", text_at(r, rows::participants));
  add_text(w, "location", r, rows::location);
  if (!null_at(r, rows::importance))
    w.raw("importance", text_at(r, rows::importance));
  w.raw("metadata", text_at(r, rows::metadata));
  if (!null_at(r, rows::source))
    w.raw("source", text_at(r, rows::source));
  add_text(w, "by", r, rows::made_by);
  w.num("revision", number_at(r, rows::revision)).str("hash", text_at(r, rows::hash));
  add_time(w, "created_at", r, rows::created_at);
  add_time(w, "updated_at", r, rows::updated_at);
  add_text(w, "replaced_by", r, rows::replaced_by);
  return std::move(w).done();
}

std::vector<std::string> words_at(const projections::row& r, std::size_t column) {
  std::vector<std::string> out;
  const auto all = text_at(r, column);
  if (const auto elements = json::elements(all, ""))
    for (auto raw : *elements)
      out.push_back(json::as_string(raw, "").value_or(""));
  return out;
}

memory_space::memory_kind kind_at(const projections::row& r) {
  return text_at(r, rows::kind) == to_string(memory_space::memory_kind::episode)
           ? memory_space::memory_kind::episode
           : memory_space::memory_kind::fact;
}

memory_space::content content_of(const projections::row& r) {
  memory_space::content c;
  c.text = text_at(r, rows::text);
  c.kind = kind_at(r);
  c.topics = words_at(r, rows::topics);
  if (!null_at(r, rows::event_time))
    c.event_time = number_at(r, rows::event_time);
  c.participants = words_at(r, rows::participants);
  c.location = text_at(r, rows::location);
  c.importance = text_at(r, rows::importance);
  c.metadata = text_at(r, rows::metadata);
  return c;
}

memory_space::traits traits_of(const projections::row& r) {
  const auto time = null_at(r, rows::event_time) ? rows::created_at : rows::event_time;
  return {kind_at(r), words_at(r, rows::topics), number_at(r, time), text_at(r, rows::metadata)};
}

std::string number_text(double n) {
  std::array<char, 32> digits{};
  const auto end =
    std::to_chars(digits.data(), digits.data() + digits.size(), n, std::chars_format::fixed, 6);
  return {digits.data(), end.ptr};
}

// -- steps --

using view_ptr = std::shared_ptr<const memory_space::state>;

/// The owner's memories as they are now.
void view_owner(const call_ptr& call, const owner_key& owner,
                std::function<void(actors::stream_view, view_ptr)> then) {
  call->view(owner.stream(), 0, call->on<actors::stream_view>([=](actors::stream_view view) {
    auto state = std::get<view_ptr>(view.state);
    then(std::move(view), std::move(state));
  }));
}

/// The row of a memory, or none.
void find_row(const call_ptr& call, stream_no_t stream, const std::string& id,
              std::function<void(const projections::row*)> then) {
  projections::row_query query;
  query.table = &rows::spec;
  query.equals = {static_cast<std::int64_t>(stream), id};
  query.limit = 1;
  call->rows(std::move(query), call->on<std::vector<projections::row>>(
                                 [=](const std::vector<projections::row>& found) {
                                   then(found.empty() ? nullptr : &found.front());
                                 }));
}

void fail_missing(const call_ptr& call) {
  call->fail({errc::not_found, "there is no such memory", "id", 0, 0});
}

/// Which revision facts of a change led to; the last counts.
std::optional<std::uint64_t> revision_of(const committed& done) {
  std::optional<std::uint64_t> revision;
  for (const auto& r : done.facts)
    if (const auto updated = fact_as<memory_space::updated>(*r))
      revision = updated->revision;
    else if (const auto changed = fact_as<memory_space::status_changed>(*r))
      revision = changed->revision;
  return revision;
}

void answer_changed(const call_ptr& call, const std::string& id, const committed& done) {
  auto out = written(done);
  out.str("id", id);
  if (const auto revision = revision_of(done))
    out.num("revision", *revision);
  call->answer(std::move(out).done());
}

void submit_plain(const call_ptr& call, const request_reader& in, const owner_key& owner,
                  memory_space::command command) {
  if (refused(call, in))
    return;
  call->submit(
    owner.stream(), any_command(std::move(command)), {},
    call->on<committed>([=](const committed& done) { call->answer(written(done).done()); }));
}

// -- writes --

void answer_added(const call_ptr& call, const committed& done) {
  std::string id;
  bool created = false;
  array_writer evicted;
  for (const auto& r : done.facts) {
    if (const auto added = fact_as<memory_space::added>(*r)) {
      id = added->id;
      created = true;
    } else if (const auto retold = fact_as<memory_space::retold>(*r)) {
      id = retold->id;
    } else if (const auto removed = fact_as<memory_space::removed>(*r)) {
      evicted.raw(json::quote(removed->id));
    }
  }
  auto out = written(done);
  if (!id.empty())
    out.str("id", id);
  out.boolean("created", created).raw("evicted", std::move(evicted).done());
  call->answer(std::move(out).done());
}

void add(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto owner = read_owner(in, call);
  memory_space::add wish{read_content(in, {}), read_origin(in)};
  if (refused(call, in))
    return;
  call->submit(owner.stream(), any_command(memory_space::command(std::move(wish))), {},
               call->on<committed>([=](const committed& done) { answer_added(call, done); }));
}

/// What an update was asked for, as far as the memory it changes need not be known.
struct update_wish {
  owner_key owner;
  std::string id;
  std::uint64_t revision = 0;  ///< 0 = whatever it is.
  std::string reason;
  memory_space::origin origin;
};

/// Reads the memory, puts the new fields in and submits it under the revision that was read.
void try_update(const call_ptr& call, const std::shared_ptr<const update_wish>& wish, int tries) {
  view_owner(call, wish->owner, [=](const actors::stream_view& view, const view_ptr&) {
    find_row(call, view.stream_no, wish->id, [=](const projections::row* row) {
      const call_members given(*call);
      request_reader in(given);
      memory_space::update command;
      command.id = wish->id;
      // A memory that is gone is left to the command to refuse: it may have been executed before.
      command.content =
        read_content(in, row == nullptr ? memory_space::content{} : content_of(*row));
      if (row != nullptr)
        command.of_revision = static_cast<std::uint64_t>(number_at(*row, rows::revision));
      if (wish->revision != 0)
        command.of_revision = wish->revision;
      command.reason = wish->reason;
      command.origin = wish->origin;
      const bool again = wish->revision == 0 && !in.has("expected_version") && tries > 1;
      call->submit(wish->owner.stream(), any_command(memory_space::command(std::move(command))), {},
                   [=](result<committed> done) {
                     if (done)
                       answer_changed(call, wish->id, *done);
                     else if (done.error().code == errc::conflict && again)
                       try_update(call, wish, tries - 1);
                     else
                       call->fail(std::move(done.error()));
                   });
    });
  });
}

void update(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  auto wish = std::make_shared<update_wish>();
  wish->owner = read_owner(in, call);
  wish->id = in.id("id");
  wish->revision = in.count("revision", 1, 1ULL << 53).value_or(0);
  wish->reason = read_reason(in);
  wish->origin = read_origin(in);
  read_content(in, {});
  if (refused(call, in))
    return;
  try_update(call, wish, update_tries);
}

template <status To>
void set_status(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto owner = read_owner(in, call);
  memory_space::set_status wish{in.id("id"), To};
  if (To == status::superseded)
    wish.replaced_by = in.optional_id("replaced_by").value_or("");
  wish.reason = read_reason(in);
  wish.origin = read_origin(in);
  if (refused(call, in))
    return;
  auto id = wish.id;
  call->submit(owner.stream(), any_command(memory_space::command(std::move(wish))), {},
               call->on<committed>([=](const committed& done) { answer_changed(call, id, done); }));
}

void remove(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto owner = read_owner(in, call);
  submit_plain(call, in, owner, memory_space::remove{in.id("id")});
}

void clear(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  submit_plain(call, in, read_owner(in, call), memory_space::clear{});
}

void set_limits(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto owner = read_owner(in, call);
  memory_space::limit value;
  value.most = in.count("most", 0, 1ULL << 53).value_or(0);
  value.evict = in.choice("when_full", {"reject", "evict"}) == "evict";
  submit_plain(call, in, owner, memory_space::set_limit{value});
}

// -- reads --

void get(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto owner = read_owner(in, call);
  const auto id = in.id("id");
  if (refused(call, in))
    return;
  view_owner(call, owner, [=](const actors::stream_view& view, const view_ptr&) {
    find_row(call, view.stream_no, id, [=, version = view.version](const projections::row* row) {
      if (row == nullptr) {
        fail_missing(call);
        return;
      }
      json::object_writer out;
      out.num("version", version).raw("memory", memory_json(*row));
      call->answer(std::move(out).done());
    });
  });
}

void read(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto owner = read_owner(in, call);
  const auto status =
    in.choice("status", {"active", "superseded", "invalidated", "all"}).value_or("active");
  const auto filter = read_filter(in);
  const auto list =
    list_of("memory.read", owner, in, {"status", "topics", "kind", "since", "until", "where"});
  if (refused(call, in))
    return;
  view_owner(call, owner, [=](const actors::stream_view& view, const view_ptr&) {
    const call_members members(*call);
    request_reader again(members);
    row_page page;
    page.query.table = &rows::spec;
    page.query.index = rows::by_update;
    page.query.equals = {static_cast<std::int64_t>(view.stream_no)};
    page.query.descending = true;
    page.place = {rows::updated_at, rows::created_at, rows::stream, rows::id};
    page.list = list;
    page.member = "memories";
    page.wanted = [=](const projections::row& r) {
      return (status == "all" || text_at(r, rows::status) == status)
             && (filter.empty() || filter.wants(traits_of(r)));
    };
    page.render = memory_json;
    answer_page(call, again, std::move(page));
  });
}

std::string revision_json(const projections::row& r) {
  json::object_writer w;
  w.num("revision", number_at(r, revisions::revision)).str("what", text_at(r, revisions::what));
  add_time(w, "time", r, revisions::time);
  w.num("version", number_at(r, revisions::version));
  if (!null_at(r, revisions::content))
    w.raw("content", text_at(r, revisions::content));
  add_text(w, "reason", r, revisions::reason);
  add_text(w, "by", r, revisions::made_by);
  if (!null_at(r, revisions::source))
    w.raw("source", text_at(r, revisions::source));
  return std::move(w).done();
}

void history(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto owner = read_owner(in, call);
  const auto id = in.id("id");
  const auto list = list_of("memory.history", owner, in, {"id"});
  if (refused(call, in))
    return;
  view_owner(call, owner, [=](const actors::stream_view& view, const view_ptr& state) {
    if (!state->memories.contains(id)) {
      fail_missing(call);
      return;
    }
    const call_members members(*call);
    request_reader again(members);
    row_page page;
    page.query.table = &revisions::spec;
    page.query.equals = {static_cast<std::int64_t>(view.stream_no), id};
    page.place = {revisions::revision};
    page.list = list;
    page.member = "revisions";
    page.render = revision_json;
    answer_page(call, again, std::move(page));
  });
}

void limits(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto owner = read_owner(in, call);
  if (refused(call, in))
    return;
  view_owner(call, owner, [=](const actors::stream_view& view, const view_ptr& state) {
    json::object_writer out;
    out.num("version", view.version)
      .num("most", state->limit.most)
      .str("when_full", state->limit.evict ? "evict" : "reject")
      .num("active", static_cast<std::uint64_t>(state->by_change.size()))
      .num("memories", static_cast<std::uint64_t>(state->memories.size()));
    call->answer(std::move(out).done());
  });
}

// -- search --

/// Where a page of hits begins.
std::size_t read_skip(request_reader& in, const std::string& list) {
  const auto cursor = in.string("cursor");
  if (!cursor)
    return 0;
  const auto place = read_cursor(*cursor, list, "cursor");
  if (!place) {
    in.refuse(place.error());
    return 0;
  }
  const auto* skip = place->size() == 1 ? std::get_if<std::int64_t>(place->data()) : nullptr;
  if (skip == nullptr || *skip < 0) {
    in.refuse("cursor", "this is not a cursor that an answer gave");
    return 0;
  }
  return static_cast<std::size_t>(*skip);
}

/// What a search was asked for, what it covers, and what was found so far.
struct searching {
  struct hit {
    double score = 0;
    std::string json;
  };

  std::string list;  ///< Names the question in cursors.
  std::size_t skip = 0;
  std::size_t limit = 0;
  bool memories = false;
  bool entries = false;
  actors::search_memories of_owner;
  actors::search_entries of_session;
  std::vector<owner_key> owners;  ///< The user first, then the collections.
  std::vector<hit> hits;
  bool more = false;
  version_t version = 0;
  version_t session_version = 0;
  std::string note;

  void cover(owner_key key) {
    const auto same = [&](const owner_key& k) { return k.stream() == key.stream(); };
    if (std::none_of(owners.begin(), owners.end(), same))
      owners.push_back(std::move(key));
  }
  void remark(const std::string& what) { note += (note.empty() ? "" : "; ") + what; }
  /// How many ranked lists the answer is made of.
  std::size_t parts() const { return (memories ? owners.size() : 0) + (entries ? 1 : 0); }
};
using searching_ptr = std::shared_ptr<searching>;

void answer_hits(const call_ptr& call, const searching& found) {
  array_writer hits;
  for (const auto& one : found.hits)
    hits.raw(one.json);
  json::object_writer out;
  out.num("version", found.version);
  if (found.session_version != 0)
    out.num("session_version", found.session_version);
  out.raw("hits", std::move(hits).done());
  if (found.more) {
    const cursor_part next = static_cast<std::int64_t>(found.skip + found.hits.size());
    out.str("next_cursor", write_cursor(found.list, std::span(&next, 1)));
  }
  if (!found.note.empty())
    out.str("note", found.note);
  call->answer(std::move(out).done());
}

/// Several ranked lists as one; equal scores stay in the lists' order. Each begins at its first hit.
void merge_lists(searching& all) {
  std::stable_sort(all.hits.begin(), all.hits.end(),
                   [](const auto& a, const auto& b) { return a.score > b.score; });
  all.hits.erase(all.hits.begin(),
                 all.hits.begin()
                   + static_cast<std::ptrdiff_t>(std::min(all.skip, all.hits.size())));
  if (all.hits.size() > all.limit) {
    all.hits.resize(all.limit);
    all.more = true;
  }
}

void search_session(const call_ptr& call, const searching_ptr& all) {
  const auto finish = [=] {
    if (all->parts() > 1)
      merge_lists(*all);
    answer_hits(call, *all);
  };
  if (!all->entries) {
    finish();
    return;
  }
  call->search(std::move(all->of_session),
               call->on<actors::found_entries>([=](const actors::found_entries& some) {
                 all->session_version = some.version;
                 all->more |= some.more;
                 for (const auto& hit : some.hits) {
                   json::object_writer one;
                   one.raw("score", number_text(hit.score)).raw("entry", entry_json(hit.entry));
                   all->hits.push_back({hit.score, std::move(one).done()});
                 }
                 finish();
               }));
}

/// One owner after the other, and then the session.
void search_owners(const call_ptr& call, const searching_ptr& all, std::size_t at = 0) {
  if (!all->memories || at == all->owners.size()) {
    search_session(call, all);
    return;
  }
  auto wish = all->of_owner;
  wish.owner = all->owners[at].stream();
  call->search(std::move(wish),
               call->on<actors::found_memories>([=](const actors::found_memories& some) {
                 if (at == 0)
                   all->version = some.version;
                 all->more |= some.more;
                 for (const auto& hit : some.hits) {
                   json::object_writer one;
                   one.raw("score", number_text(hit.score)).raw("memory", memory_json(hit.row));
                   if (at > 0) {
                     json::object_writer owner;
                     owner.str("app", all->owners[at].app).str("user", all->owners[at].user);
                     one.raw("owner", std::move(owner).done());
                   }
                   all->hits.push_back({hit.score, std::move(one).done()});
                 }
                 search_owners(call, all, at + 1);
               }));
}

/// Searches all that is covered. Where there are several lists, any place of the one may be behind
/// the other's.
void search_covered(const call_ptr& call, const searching_ptr& all) {
  const bool several = all->parts() > 1;
  const auto skip = several ? 0 : all->skip;
  const auto limit = several ? all->skip + all->limit : all->limit;
  all->of_owner.skip = all->of_session.skip = skip;
  all->of_owner.limit = all->of_session.limit = limit;
  search_owners(call, all);
}

/// Asks for a vector of the question, where there is a model for that; without an answer, words have to
/// do.
void embed_question(const call_ptr& call, const searching_ptr& all) {
  if (!all->memories || !call->embeds()) {
    search_covered(call, all);
    return;
  }
  call->embed(all->of_owner.query, [=](result<std::string> vector) {
    if (vector)
      all->of_owner.vector = std::move(*vector);
    else
      all->remark("found by words only: the embedding model gave no vector ("
                  + std::string(to_string(vector.error().code)) + ")");
    search_covered(call, all);
  });
}

/// The owner that a context of type `collection` names.
std::optional<owner_key> collection_in(const call_ptr& call, std::string_view content) {
  owner_key key{call->tenant(), {}, {}};
  const auto all = json::members(content, "content");
  if (!all)
    return std::nullopt;
  for (const auto& m : *all) {
    auto text = json::as_string(m.raw, m.name);
    if (!text || (m.name != "app" && m.name != "user"))
      return std::nullopt;
    (m.name == "app" ? key.app : key.user) = std::move(*text);
  }
  return check_id(key.app, "app") && check_id(key.user, "user") ? std::optional(key) : std::nullopt;
}

/// Looks at the session, if one is named, and covers what is attached to it.
void cover_session(const call_ptr& call, const std::optional<session_key>& session,
                   const searching_ptr& all) {
  if (!session) {
    embed_question(call, all);
    return;
  }
  view_session(call, *session, 0, [=](const session_view& seen) {
    all->of_session.view = seen.stream;
    for (const auto& [id, item] : seen.state->contexts) {
      if (item.type != "collection" || !all->memories)
        continue;
      auto named = collection_in(call, item.content);
      if (named)
        all->cover(std::move(*named));
      else
        all->remark("the context '" + id
                    + "' names no collection: its content is not {\"app\", \"user\"}");
    }
    embed_question(call, all);
  });
}

/// Covers what is attached to a principal, if one is named, and goes on with the session.
void cover_principal(const call_ptr& call, const std::optional<std::string>& principal,
                     const std::optional<session_key>& session, const searching_ptr& all) {
  if (!principal) {
    cover_session(call, session, all);
    return;
  }
  const stream_id stream(stream_kind::principal, {call->tenant(), *principal});
  call->view(stream, 0, call->on<actors::stream_view>([=](const actors::stream_view& view) {
    const auto& state = state_of<principal::state>(view);
    if (state == principal::state{}) {
      call->fail({errc::not_found, "there is no such principal", "principal", 0, 0});
      return;
    }
    for (const auto& [name, what] : state.collections)
      all->cover({call->tenant(), what.app, what.user});
    cover_session(call, session, all);
  }));
}

void search(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto owner = read_owner(in, call);
  const auto all = std::make_shared<searching>();
  const auto scope = in.choice("scope", {"memories", "entries", "both"}).value_or("memories");
  all->memories = scope != "entries";
  all->entries = scope != "memories";
  auto query = in.string("query").value_or("");
  if (query.find_first_not_of(" \t\r\n") == std::string::npos)
    in.refuse("query", "must not be empty");
  if (query.size() > query_bytes_max)
    in.refuse("query", "at most " + std::to_string(query_bytes_max) + " bytes");
  auto filter = read_filter(in);
  const auto min_score = in.number("min_score", 0, 1).value_or(0);
  const auto principal = in.optional_id("principal");
  std::optional<session_key> session;
  if (all->entries || in.raw("session"))
    session = {call->tenant(), owner.app, owner.user, in.id("session")};
  for (const auto* only : {"topics", "kind", "where"})
    if (all->entries && in.raw(only))
      in.refuse(only, "goes with the scope `memories`: entries have none");
  if (principal && !all->memories)
    in.refuse("principal", "goes with the scope `memories` or `both`");
  all->limit = in.count("limit", 1, hits_max).value_or(10);
  all->list = list_of("memory.search", owner, in,
                      {"query", "scope", "session", "principal", "topics", "kind", "since", "until",
                       "where", "min_score"});
  all->skip = read_skip(in, all->list);
  if (refused(call, in))
    return;
  all->of_session.query = query;
  all->of_session.since = filter.since;
  all->of_session.until = filter.until;
  all->of_session.min_score = min_score;
  all->of_owner.query = std::move(query);
  all->of_owner.filter = std::move(filter);
  all->of_owner.min_score = min_score;
  all->cover(owner);
  cover_principal(call, principal, session, all);
}

constexpr std::string_view all_path = "/v1/apps/{app}/users/{user}/memories";
constexpr std::string_view one_path = "/v1/apps/{app}/users/{user}/memories/{id}";

constexpr operation operations[] = {
  {"memory.add", "Remembers something about an owner; the same again is the memory that exists.",
   right::write, "POST", all_path, true, add_request, add_answer, add},
  {"memory.update", "Changes a memory: a new revision under the same id.", right::write, "PATCH",
   one_path, true, update_request, changed_answer, update},
  {"memory.supersede", "Takes a memory out of search because another one holds instead.",
   right::write, "POST", "/v1/apps/{app}/users/{user}/memories/{id}/supersede", true,
   supersede_request, changed_answer, set_status<status::superseded>},
  {"memory.invalidate", "Takes a memory out of search because it does not hold.", right::write,
   "POST", "/v1/apps/{app}/users/{user}/memories/{id}/invalidate", true, status_request,
   changed_answer, set_status<status::invalidated>},
  {"memory.restore", "Puts a superseded or invalidated memory back.", right::write, "POST",
   "/v1/apps/{app}/users/{user}/memories/{id}/restore", false, status_request, changed_answer,
   set_status<status::active>},
  {"memory.delete", "Deletes a memory with its history; deleting twice is fine.", right::write,
   "DELETE", one_path, true, one_request, written_fields, remove},
  {"memory.clear", "Deletes all memories of an owner.", right::write, "DELETE", all_path, false,
   user_fields, written_fields, clear},
  {"memory.get", "Answers one memory.", right::read, "GET", one_path, true, one_request,
   memory_answer, get},
  {"memory.read", "Lists the memories of an owner.", right::read, "GET", all_path, true,
   read_request, read_answer, read},
  {"memory.search", "Finds the memories of an owner that answer a question.", right::read, "GET",
   "/v1/apps/{app}/users/{user}/memory-search", true, search_request, search_answer, search},
  {"memory.history", "Answers everything that happened to a memory.", right::read, "GET",
   "/v1/apps/{app}/users/{user}/memories/{id}/history", true, history_request, history_answer,
   history},
  {"memory.set_limits", "Sets how many memories an owner may have.", right::admin, "PUT",
   "/v1/apps/{app}/users/{user}/memory-limits", false, set_limits_request, written_fields,
   set_limits},
  {"memory.limits", "Answers how many memories an owner has and may have.", right::read, "GET",
   "/v1/apps/{app}/users/{user}/memory-limits", false, user_fields, limits_answer, limits},
};

}  // namespace

std::span<const operation> memory_operations() { return operations; }

}  // namespace recalld::api

#include <memory>

#include <CLI/App.hpp>
#include <fmt/format.h>

#include "cli/addressing.hpp"
#include "cli/commands.hpp"
#include "cli/entry_view.hpp"
#include "cli/operation_run.hpp"

namespace recalld::cli {

namespace {

constexpr auto audience = used_by::client | used_by::store | used_by::session;

/// The request's members that say whose memories are meant; values are raw JSON.
result<std::vector<std::pair<std::string_view, std::string>>> owner_members(
  const invocation& call) {
  std::vector<std::pair<std::string_view, std::string>> members;
  for (const std::string_view name : {"app", "user"}) {
    const auto value = required_setting(call, name);
    if (!value)
      return fail(value.error());
    members.emplace_back(name, json::quote(*value));
  }
  return members;
}

/// A request that begins with them.
result<json::object_writer> owner_of(const invocation& call) {
  const auto members = owner_members(call);
  if (!members)
    return fail(members.error());
  json::object_writer w;
  for (const auto& [name, raw] : *members)
    w.raw(name, raw);
  return w;
}

void add_word(json::object_writer& w, std::string_view name, const std::string& value) {
  if (!value.empty())
    w.str(name, value);
}

std::string array_of(const std::vector<std::string>& words) {
  std::string array = "[";
  for (const auto& word : words)
    array += (array.size() > 1 ? "," : "") + json::quote(word);
  return array + "]";
}

void add_words(json::object_writer& w, std::string_view name,
               const std::vector<std::string>& words) {
  if (!words.empty())
    w.raw(name, array_of(words));
}

// -- add --

struct content_options : write_options {
  std::string text;
  std::string kind;
  std::vector<std::string> topics;
  std::vector<std::string> participants;
  std::string event_time;
  std::string location;
  std::string metadata;
  std::string by;
  std::string session;
};

result<std::string> add_request(const invocation& call, const content_options& o) {
  auto w = owner_of(call);
  if (!w)
    return fail(w.error());
  w->str("text", o.text);
  add_word(*w, "kind", o.kind);
  add_words(*w, "topics", o.topics);
  add_words(*w, "participants", o.participants);
  add_word(*w, "event_time", o.event_time);
  add_word(*w, "location", o.location);
  if (auto added = add_json(*w, "metadata", o.metadata); !added)
    return fail(added.error());
  add_word(*w, "by", o.by);
  if (!o.session.empty()) {
    json::object_writer source;
    source.str("kind", "session").str("session", o.session);
    w->raw("source", std::move(source).done());
  }
  return std::move(*w).done();
}

command add_command() {
  return {
    .name = "add",
    .summary = "Remember something; the same again is the memory that exists.",
    .audience = audience,
    .examples =
      {"recalld memory add 'Anna drinks her tea without milk' --app demo --user anna --topic tea",
       "recalld memory add 'We met at the harbour' --app demo --user anna --kind episode "
       "--event-time 2026-05-07T18:00:00Z"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<content_options>();
      app.add_option("TEXT", o->text, "What to remember.")->required();
      app.add_option("--kind", o->kind, "fact or episode. Default: fact.")->type_name("WORD");
      app.add_option("--topic", o->topics, "A topic. May be repeated.")
        ->type_name("WORD")
        ->allow_extra_args(false);
      app.add_option("--participant", o->participants, "Who takes part. May be repeated.")
        ->type_name("NAME")
        ->allow_extra_args(false);
      app.add_option("--event-time", o->event_time, "When it happened.")->type_name("TIME");
      app.add_option("--location", o->location, "Where it happened.")->type_name("PLACE");
      app.add_option("--metadata", o->metadata, "Kept with it; searches can look at it.")
        ->type_name("JSON");
      app.add_option("--by", o->by, "Who says so.")->type_name("NAME");
      app.add_option("--session", o->session, "The session that it comes from.")->type_name("ID");
      add_write_options(app, *o);
      return [o](const invocation& call) {
        auto request = add_request(call, *o);
        if (!request)
          return call.fail(request.error());
        return run_operation(
          call, o->embedded, "memory.add", std::move(*request), o->write(), [](const json_view& a) {
            print_written(
              a, fmt::format("{} {}", a.flag("created") ? "added" : "exists", a.str("id")));
          });
      };
    },
  };
}

// -- search, list --

struct filter_options {
  std::vector<std::string> topics;
  std::string kind;
  std::string since;
  std::string until;
  std::string where;
};

void add_filter_options(CLI::App& app, filter_options& o) {
  app.add_option("--topic", o.topics, "With this topic. May be repeated: one of them.")
    ->type_name("WORD")
    ->allow_extra_args(false);
  app.add_option("--kind", o.kind, "Only facts or only episodes.")->type_name("WORD");
  app.add_option("--since", o.since, "What happened at or after this time.")->type_name("TIME");
  app.add_option("--until", o.until, "What happened at or before this time.")->type_name("TIME");
  app
    .add_option("--where", o.where,
                R"(A condition on the metadata, such as {"field":"cost","less":100}.)")
    ->type_name("JSON");
}

result<void> add_filter_members(json::object_writer& w, const filter_options& o) {
  add_words(w, "topics", o.topics);
  add_word(w, "kind", o.kind);
  add_word(w, "since", o.since);
  add_word(w, "until", o.until);
  return add_json(w, "where", o.where);
}

void print_hits(const invocation& call, const json_view& a) {
  text_table table({{.title = "SCORE", .side = text_table::align::right},
                    {.title = "ID", .paint = style::cyan},
                    {.title = "WHEN"},
                    {.title = "TEXT", .shrinks = true},
                    {.title = "TOPICS", .shrinks = true, .paint = style::dim}});
  for (const auto& hit : a.array("hits")) {
    if (const auto said = hit.raw("entry")) {
      const json_view recorded(*said);
      const json_view e(recorded.raw("entry").value_or("{}"));
      const auto content = e.str("content");
      table.add({std::string(hit.raw("score").value_or("")).substr(0, 5), e.str("id"),
                 short_time(recorded.str("recorded_at")),
                 e.str("role") + ": "
                   + (content.empty() ? std::string(e.raw("content").value_or("")) : content),
                 ""});
      continue;
    }
    const json_view m(hit.raw("memory").value_or("{}"));
    const auto event = m.str("event_time");
    table.add({std::string(hit.raw("score").value_or("")).substr(0, 5), m.str("id"),
               short_time(event.empty() ? m.str("created_at") : event), m.str("text"),
               std::string(m.raw("topics").value_or(""))});
  }
  if (table.empty())
    call.note("Nothing was found.");
  else
    fmt::print("{}", table.render(call.out));
  if (const auto note = a.str("note"); !note.empty())
    call.note(note);
  if (const auto next = a.str("next_cursor"); !next.empty())
    call.note(fmt::format("more: --cursor {}", next));
}

command search_command() {
  struct options : filter_options {
    bool embedded = false;
    std::string query;
    std::uint64_t limit = 10;
    std::string min_score;
    std::string cursor;
    std::string scope;
    std::string session;
    std::string principal;
  };
  return {
    .name = "search",
    .summary = "Find the memories, or a session's entries, that answer a question.",
    .audience = audience,
    .examples = {"recalld memory search 'How does Anna like her tea?' --app demo --user anna",
                 "recalld memory search 'harbour' --app demo --user anna --kind episode --limit 3",
                 "recalld memory search 'harbour' --app demo --user anna --scope both --session s1"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app.add_option("QUERY", o->query, "A question or words; taken literally.")->required();
      app.add_option("--scope", o->scope, "memories, entries or both. Default: memories.")
        ->type_name("WORD");
      app
        .add_option("--session", o->session,
                    "Whose entries; also searches collections that are attached to it.")
        ->type_name("ID");
      app
        .add_option("--principal", o->principal,
                    "Also search collections that are attached to this principal.")
        ->type_name("ID");
      app.add_option("--limit", o->limit, "Hits on a page, up to 100. Default: 10.")
        ->type_name("N");
      app.add_option("--min-score", o->min_score, "Leave out hits below this, 0 to 1.")
        ->type_name("SCORE");
      app.add_option("--cursor", o->cursor, "Go on where the last page ended.")
        ->type_name("CURSOR");
      add_filter_options(app, *o);
      add_embedded_flag(app, o->embedded);
      return [o](const invocation& call) {
        auto w = owner_of(call);
        if (!w)
          return call.fail(w.error());
        w->str("query", o->query).num("limit", o->limit);
        add_word(*w, "scope", o->scope);
        add_word(*w, "session", o->session);
        add_word(*w, "principal", o->principal);
        if (auto added = add_filter_members(*w, *o); !added)
          return call.fail(added.error());
        if (auto added = add_json(*w, "min_score", o->min_score); !added)
          return call.fail(added.error());
        add_word(*w, "cursor", o->cursor);
        return run_operation(call, o->embedded, "memory.search", std::move(*w).done(), {},
                             [&](const json_view& a) { print_hits(call, a); });
      };
    },
  };
}

result<listing> memories_listing(const invocation& call, const filter_options& o,
                                 const std::string& status) {
  auto owner = owner_members(call);
  if (!owner)
    return fail(owner.error());
  listing memories{
    .operation = "memory.read",
    .member = "memories",
    .request = std::move(*owner),
    .table = text_table({{.title = "ID", .paint = style::cyan},
                         {.title = "STATUS"},
                         {.title = "KIND"},
                         {.title = "UPDATED"},
                         {.title = "TEXT", .shrinks = true},
                         {.title = "TOPICS", .shrinks = true, .paint = style::dim}}),
    .cells = [](const json_view& m) -> std::vector<std::string> {
      return {m.str("id"),   m.str("status"),
              m.str("kind"), short_time(m.str("updated_at")),
              m.str("text"), std::string(m.raw("topics").value_or(""))};
    },
    .nothing = fmt::format("{} has no such memories.", call.settings.text("user")),
  };
  add_filters(memories,
              {{"status", &status}, {"kind", &o.kind}, {"since", &o.since}, {"until", &o.until}});
  if (!o.topics.empty())
    memories.request.emplace_back("topics", array_of(o.topics));
  if (!o.where.empty()) {
    if (auto good = json::validate(o.where, "--where"); !good)
      return fail(good.error());
    memories.request.emplace_back("where", o.where);
  }
  return memories;
}

command list_command() {
  struct options : filter_options {
    page_options page;
    std::string status;
  };
  return {
    .name = "list",
    .summary = "List the memories of a user, newest update first.",
    .audience = audience,
    .examples = {"recalld memory list --app demo --user anna",
                 "recalld memory list --app demo --user anna --status all --all --json"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app
        .add_option("--status", o->status,
                    "active, superseded, invalidated or all. Default: active.")
        ->type_name("WORD");
      add_filter_options(app, *o);
      add_page_options(app, o->page, "Memories");
      return [o](const invocation& call) {
        auto memories = memories_listing(call, *o, o->status);
        if (!memories)
          return call.fail(memories.error());
        return list_pages(call, o->page, std::move(*memories));
      };
    },
  };
}

// -- one memory --

struct one_options : write_options {
  std::string id;
  std::string reason;
  std::string by;
};

result<json::object_writer> one_of(const invocation& call, const std::string& id) {
  auto w = owner_of(call);
  if (w)
    w->str("id", id);
  return w;
}

void print_memory(const invocation& call, const json_view& a) {
  const json_view m(a.raw("memory").value_or("{}"));
  const auto status = m.str("status");
  fmt::print("{}  {}  {}  revision {}\n", call.out.paint(style::bold, m.str("id")),
             call.out.paint(status == "active" ? style::green : style::yellow, status),
             m.str("kind"), m.num("revision"));
  fmt::print("  {}\n", printable(m.str("text")));
  text_table fields(
    {{.title = "FIELD", .paint = style::cyan}, {.title = "VALUE", .shrinks = true}});
  for (const auto* name : {"topics", "event_time", "participants", "location", "importance",
                           "metadata", "source", "by", "created_at", "updated_at", "replaced_by"})
    if (const auto raw = m.raw(name); raw && *raw != "[]" && *raw != "{}")
      fields.add(
        {name, json::kind_of(*raw) == json::kind::string ? m.str(name) : std::string(*raw)});
  fmt::print("\n{}", fields.render(call.out));
}

command show_command() {
  return {
    .name = "show",
    .summary = "Print one memory.",
    .audience = audience,
    .examples = {"recalld memory show 0197f2a0-… --app demo --user anna"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<one_options>();
      app.add_option("ID", o->id, "The memory's id.")->required();
      add_embedded_flag(app, o->embedded);
      return [o](const invocation& call) {
        auto w = one_of(call, o->id);
        if (!w)
          return call.fail(w.error());
        return run_operation(call, o->embedded, "memory.get", std::move(*w).done(), {},
                             [&](const json_view& a) { print_memory(call, a); });
      };
    },
  };
}

command history_command() {
  struct options : page_options {
    std::string id;
  };
  return {
    .name = "history",
    .summary = "Print everything that happened to a memory: what, when, by whom, from where.",
    .audience = audience,
    .examples = {"recalld memory history 0197f2a0-… --app demo --user anna"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app.add_option("ID", o->id, "The memory's id.")->required();
      add_page_options(app, *o, "Revisions");
      return [o](const invocation& call) {
        auto owner = owner_members(call);
        if (!owner)
          return call.fail(owner.error());
        listing revisions{
          .operation = "memory.history",
          .member = "revisions",
          .request = std::move(*owner),
          .table = text_table({{.title = "REVISION", .side = text_table::align::right},
                               {.title = "WHAT"},
                               {.title = "TIME"},
                               {.title = "BY", .shrinks = true},
                               {.title = "REASON", .shrinks = true},
                               {.title = "CONTENT", .shrinks = true},
                               {.title = "SOURCE", .shrinks = true, .paint = style::dim}}),
          .cells = [](const json_view& r) -> std::vector<std::string> {
            const json_view content(r.raw("content").value_or("{}"));
            const auto text = content.str("text");
            return {std::to_string(r.num("revision")),
                    r.str("what"),
                    short_time(r.str("time")),
                    r.str("by"),
                    r.str("reason"),
                    text.empty() ? std::string(r.raw("content").value_or("")) : text,
                    std::string(r.raw("source").value_or(""))};
          },
          .nothing = "Nothing happened to it.",
        };
        add_filters(revisions, {{"id", &o->id}});
        return list_pages(call, *o, std::move(revisions));
      };
    },
  };
}

command invalidate_command() {
  return {
    .name = "invalidate",
    .summary = "Take a memory out of search because it does not hold; it stays in the history.",
    .audience = audience,
    .examples =
      {"recalld memory invalidate 0197f2a0-… --app demo --user anna --reason 'she moved'"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<one_options>();
      app.add_option("ID", o->id, "The memory's id.")->required();
      app.add_option("--reason", o->reason, "Why.")->type_name("TEXT");
      app.add_option("--by", o->by, "Who says so.")->type_name("NAME");
      add_write_options(app, *o);
      return [o](const invocation& call) {
        auto w = one_of(call, o->id);
        if (!w)
          return call.fail(w.error());
        add_word(*w, "reason", o->reason);
        add_word(*w, "by", o->by);
        return run_operation(call, o->embedded, "memory.invalidate", std::move(*w).done(),
                             o->write(),
                             [](const json_view& a) { print_written(a, "invalidated"); });
      };
    },
  };
}

command delete_command() {
  return {
    .name = "delete",
    .summary = "Delete a memory with its history.",
    .audience = audience,
    .examples = {"recalld memory delete 0197f2a0-… --app demo --user anna"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<one_options>();
      app.add_option("ID", o->id, "The memory's id.")->required();
      add_write_options(app, *o);
      return [o](const invocation& call) {
        auto w = one_of(call, o->id);
        if (!w)
          return call.fail(w.error());
        return run_operation(call, o->embedded, "memory.delete", std::move(*w).done(), o->write(),
                             [](const json_view& a) { print_written(a, "deleted"); });
      };
    },
  };
}

}  // namespace

command memory_command() {
  return {
    .name = "memory",
    .summary = "Remember, find and forget statements of a user.",
    .details = "Memories belong to a user of an application: --tenant, --app and --user, or "
               "RECALLD_TENANT,\n"
               "RECALLD_APP and RECALLD_USER.",
    .children = {add_command(), search_command(), list_command(), show_command(), history_command(),
                 invalidate_command(), delete_command()},
    .heading = "Memories",
  };
}

}  // namespace recalld::cli

#include <iostream>
#include <iterator>
#include <memory>

#include <CLI/App.hpp>
#include <fmt/format.h>

#include "cli/addressing.hpp"
#include "cli/commands.hpp"
#include "cli/entry_view.hpp"
#include "cli/operation_run.hpp"

namespace recalld::cli {

namespace {

/// What every command on sessions can be told.
struct common : write_options {
  std::string session;
  std::optional<std::uint64_t> expected_version;

  call_options write() const {
    auto o = write_options::write();
    o.expected_version = expected_version;
    return o;
  }
};

void add_session_write_options(CLI::App& app, common& o) {
  add_write_options(app, o);
  app
    .add_option("--expected-version", o.expected_version,
                "Refuse when the session is at another version.")
    ->type_name("N");
}

/// The request's members that address a session.
json::object_writer address(const api::session_key& key) {
  json::object_writer w;
  w.str("app", key.app).str("user", key.user).str("session", key.session);
  return w;
}

// -- create --

command create_command() {
  struct options : common {
    std::string state;
    std::string metadata;
    bool return_existing = false;
  };
  return {
    .name = "create",
    .summary = "Create a session.",
    .audience = used_by::client | used_by::store | used_by::session,
    .examples = {"recalld session create s1 --app demo --user anna",
                 "recalld session create --app demo --user anna",
                 "recalld session create s2 --app demo --user anna --state "
                 "'{\"mood\":\"good\",\"user:lang\":\"de\"}'"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app.add_option("SESSION", o->session, "Its id. Default: a fresh UUID.");
      app
        .add_option("--state", o->state,
                    "Keys to begin with; `app:`, `user:` and `temp:` go to their scopes.")
        ->type_name("JSON");
      app.add_option("--metadata", o->metadata, "Kept with the session.")->type_name("JSON");
      app.add_flag("--return-existing", o->return_existing, "An existing session is no error.");
      add_session_write_options(app, *o);
      return [o](const invocation& call) {
        auto key = session_key_of(call, o->session.empty() ? "-" : o->session);
        if (!key)
          return call.fail(key.error());
        json::object_writer w;
        w.str("app", key->app).str("user", key->user);
        if (!o->session.empty())
          w.str("session", o->session);
        for (const auto& [name, raw] :
             {std::pair("state", o->state), std::pair("metadata", o->metadata)})
          if (auto added = add_json(w, name, raw); !added)
            return call.fail(added.error());
        w.str("if_exists", o->return_existing ? "return" : "error");
        return run_operation(call, o->embedded, "session.create", std::move(w).done(), o->write(),
                             [](const json_view& a) {
                               print_written(
                                 a, fmt::format("{} {}", a.flag("created") ? "created" : "exists",
                                                printable(a.str("session"))));
                             });
      };
    },
  };
}

// -- append --

struct append_options : common {
  std::string role = "user";
  std::string author;
  std::string text;
  std::vector<std::string> entries;
  std::string state;
};

/// The entries of the command line, or of stdin, one JSON object a line.
result<std::string> entries_of(const append_options& o) {
  std::vector<std::string> all;
  if (!o.text.empty()) {
    json::object_writer w;
    w.str("role", o.role);
    if (!o.author.empty())
      w.str("author", o.author);
    w.str("content", o.text);
    all.push_back(std::move(w).done());
  }
  for (const auto& entry : o.entries) {
    if (entry != "-") {
      all.push_back(entry);
      continue;
    }
    for (std::string line; std::getline(std::cin, line);)
      if (line.find_first_not_of(" \t\r") != std::string::npos)
        all.push_back(std::move(line));
  }
  if (all.empty() && o.state.empty())
    return fail(errc::invalid, "nothing to append: give --text, --entry or --state");
  std::string array = "[";
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto name = fmt::format("entries[{}]", i);
    if (auto good = json::validate(all[i], name); !good)
      return fail_field(name, fmt::format("is not JSON: {}", good.error().message));
    array += (i > 0 ? "," : "") + all[i];
  }
  return array + "]";
}

int append(const invocation& call, const append_options& o) {
  auto key = session_key_of(call, o.session);
  if (!key)
    return call.fail(key.error());
  auto entries = entries_of(o);
  if (!entries)
    return call.fail(entries.error());
  auto w = address(*key);
  w.raw("entries", *entries);
  if (auto added = add_json(w, "state", o.state); !added)
    return call.fail(added.error());
  return run_operation(
    call, o.embedded, "session.append", std::move(w).done(), o.write(), [](const json_view& a) {
      std::size_t fresh = 0;
      std::size_t known = 0;
      for (const auto& e : a.array("entries"))
        ++(e.flag("duplicate") ? known : fresh);
      print_written(a, known == 0
                         ? fmt::format("appended {}", fresh)
                         : fmt::format("appended {}, {} were there already", fresh, known));
    });
}

command append_command() {
  return {
    .name = "append",
    .summary = "Append entries and state to a session, all of it or nothing.",
    .audience = used_by::client | used_by::store | used_by::session,
    .examples =
      {"recalld session append s1 --app demo --user anna --text 'Where were we?'",
       "recalld session append s1 --app demo --user anna --role assistant --text 'At the harbour.'",
       "recalld session append s1 --app demo --user anna --entry - < entries.jsonl"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<append_options>();
      app.add_option("SESSION", o->session, "Its id.")->required();
      app.add_option("--text", o->text, "An entry with this content.")->type_name("TEXT");
      app.add_option("--role", o->role, "Who speaks the text. Default: user.")->type_name("WORD");
      app.add_option("--author", o->author, "The speaker's name.")->type_name("NAME");
      app
        .add_option("--entry", o->entries,
                    "An entry as JSON; - reads one a line from stdin. May be repeated.")
        ->type_name("JSON")
        ->allow_extra_args(false);
      app.add_option("--state", o->state, "Keys to set in the same step.")->type_name("JSON");
      add_session_write_options(app, *o);
      return [o](const invocation& call) { return append(call, *o); };
    },
  };
}

// -- get, messages --

struct window_options : common {
  std::optional<std::uint64_t> last;
  std::optional<std::uint64_t> after_version;
  std::optional<std::uint64_t> before_version;
  std::optional<std::uint64_t> max_bytes;
  std::string since;
  std::string anchor;
  std::optional<std::uint64_t> before;
  std::optional<std::uint64_t> after;
  std::vector<std::string> roles;
  std::optional<std::uint64_t> limit;
  std::string cursor;
};

void add_window_options(CLI::App& app, window_options& o) {
  app.add_option("SESSION", o.session, "Its id.")->required();
  app.add_option("--last", o.last, "The last N entries. Default: 100.")->type_name("N");
  app.add_option("--after-version", o.after_version, "Only entries behind this version.")
    ->type_name("N");
  app.add_option("--before-version", o.before_version, "Only entries before this version.")
    ->type_name("N");
  app.add_option("--since", o.since, "Only entries recorded at or after this time.")
    ->type_name("TIME");
  app.add_option("--max-bytes", o.max_bytes, "The newest entries that fit.")->type_name("N");
  app.add_option("--anchor", o.anchor, "An entry's id, around which --before and --after count.")
    ->type_name("ID");
  app.add_option("--before", o.before, "Entries before the anchor.")->type_name("N");
  app.add_option("--after", o.after, "Entries after the anchor.")->type_name("N");
  app.add_option("--role", o.roles, "Only entries of this role. May be repeated.")
    ->type_name("WORD")
    ->allow_extra_args(false);
  app.add_option("--limit", o.limit, "Page size, from the oldest entry on.")->type_name("N");
  app.add_option("--cursor", o.cursor, "Go on where the last page ended.")->type_name("CURSOR");
  add_embedded_flag(app, o.embedded);
}

std::string window_request(const api::session_key& key, const window_options& o) {
  auto w = address(key);
  const auto number = [&](std::string_view name, const std::optional<std::uint64_t>& n) {
    if (n)
      w.num(name, *n);
  };
  const auto word = [&](std::string_view name, const std::string& s) {
    if (!s.empty())
      w.str(name, s);
  };
  number("last", o.last);
  number("after_version", o.after_version);
  number("before_version", o.before_version);
  number("max_bytes", o.max_bytes);
  number("before", o.before);
  number("after", o.after);
  number("limit", o.limit);
  word("since", o.since);
  word("anchor", o.anchor);
  word("cursor", o.cursor);
  if (!o.roles.empty()) {
    std::string array = "[";
    for (const auto& role : o.roles)
      array += (array.size() > 1 ? "," : "") + json::quote(role);
    w.raw("roles", array + "]");
  }
  return std::move(w).done();
}

void print_cursors(const invocation& call, const json_view& a) {
  if (const auto next = a.str("next_cursor"); !next.empty())
    call.note(fmt::format("newer: --cursor {}", next));
  if (const auto previous = a.str("previous_cursor"); !previous.empty())
    call.note(fmt::format("older: --cursor {}", previous));
}

void print_session(const invocation& call, const json_view& a, const std::string& id) {
  const auto status = a.str("status");
  fmt::print("{}  version {}  {}  {} entries\n", call.out.paint(style::bold, printable(id)),
             a.num("version"),
             call.out.paint(status == "open" ? style::green : style::yellow, status),
             grouped(static_cast<std::uint64_t>(a.num("entries_total"))));
  fmt::print("created {}, updated {}\n", a.str("created_at"), a.str("updated_at"));
  if (const auto metadata = a.raw("metadata"); metadata && *metadata != "{}")
    fmt::print("metadata {}\n", printable(*metadata));
  text_table state({{.title = "STATE", .paint = style::cyan}, {.title = "VALUE", .shrinks = true}});
  for (const auto& m : a.object("state"))
    state.add({m.name, std::string(m.raw)});
  if (!state.empty())
    fmt::print("\n{}", state.render(call.out));
  auto entries = entry_table();
  for (const auto& e : a.array("entries"))
    add_entry_row(entries, static_cast<std::uint64_t>(e.num("version")), e.str("recorded_at"),
                  e.raw("entry").value_or("{}"));
  if (!entries.empty())
    fmt::print("\n{}", entries.render(call.out));
  print_cursors(call, a);
}

void print_messages(const invocation& call, const json_view& a) {
  for (const auto& m : a.array("messages")) {
    const auto role = m.str("role");
    const auto who = call.out.paint(role == "user" ? style::cyan : style::green, printable(role));
    fmt::print("{} {}\n", who, call.out.paint(style::dim, short_time(m.str("timestamp"))));
    const auto content = m.raw("content").value_or("\"\"");
    const auto text =
      json::kind_of(content) == json::kind::string ? m.str("content") : std::string(content);
    // Line ends are part of what was said; everything else that a terminal obeys is not.
    for (std::size_t at = 0; at <= text.size();) {
      const auto end = std::min(text.find('\n', at), text.size());
      fmt::print("  {}\n", printable(std::string_view(text).substr(at, end - at)));
      at = end + 1;
    }
  }
  print_cursors(call, a);
}

command window_command(std::string_view name, std::string_view operation, std::string_view summary,
                       std::vector<std::string_view> examples) {
  return {
    .name = name,
    .summary = summary,
    .audience = used_by::client | used_by::store | used_by::session,
    .examples = std::move(examples),
    .prepare = [operation](CLI::App& app) -> runner {
      auto o = std::make_shared<window_options>();
      add_window_options(app, *o);
      return [o, operation](const invocation& call) {
        auto key = session_key_of(call, o->session);
        if (!key)
          return call.fail(key.error());
        return run_operation(call, o->embedded, operation, window_request(*key, *o), {},
                             [&](const json_view& a) {
                               if (operation == "session.messages")
                                 print_messages(call, a);
                               else
                                 print_session(call, a, o->session);
                             });
      };
    },
  };
}

// -- list --

command list_command() {
  return {
    .name = "list",
    .summary = "List the sessions of an application or of one of its users, newest update first.",
    .audience = used_by::client | used_by::store | used_by::session,
    .examples = {"recalld session list --app demo",
                 "recalld session list --app demo --user anna --all --json"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<page_options>();
      add_page_options(app, *o, "Sessions");
      return [o](const invocation& call) -> int {
        const auto app_name = required_setting(call, "app");
        if (!app_name)
          return call.fail(app_name.error());
        listing sessions{
          .operation = "session.list",
          .member = "sessions",
          .request = {},
          .table = text_table({{.title = "SESSION", .shrinks = true, .paint = style::cyan},
                               {.title = "USER", .shrinks = true},
                               {.title = "STATUS"},
                               {.title = "ENTRIES", .side = text_table::align::right},
                               {.title = "VERSION", .side = text_table::align::right},
                               {.title = "UPDATED"},
                               {.title = "METADATA", .shrinks = true, .paint = style::dim}}),
          .cells = [](const json_view& s) -> std::vector<std::string> {
            const auto metadata = s.raw("metadata").value_or("{}");
            return {s.str("session"),
                    s.str("user"),
                    s.str("status"),
                    grouped(static_cast<std::uint64_t>(s.num("entries_total"))),
                    std::to_string(s.num("version")),
                    short_time(s.str("updated_at")),
                    metadata == "{}" ? "" : std::string(metadata)};
          },
          .nothing = fmt::format("{} has no sessions.", *app_name),
        };
        const auto& user = call.settings.text("user");
        add_filters(sessions, {{"app", &*app_name}, {"user", &user}});
        return list_pages(call, *o, std::move(sessions));
      };
    },
  };
}

// -- close, delete, fork, state --

command plain_write(std::string_view name, std::string_view operation, std::string_view summary,
                    std::string_view done, std::string_view example) {
  return {
    .name = name,
    .summary = summary,
    .audience = used_by::client | used_by::store | used_by::session,
    .examples = {example},
    .prepare = [operation, done](CLI::App& app) -> runner {
      auto o = std::make_shared<common>();
      app.add_option("SESSION", o->session, "Its id.")->required();
      add_session_write_options(app, *o);
      return [o, operation, done](const invocation& call) {
        auto key = session_key_of(call, o->session);
        if (!key)
          return call.fail(key.error());
        return run_operation(call, o->embedded, operation, address(*key).done(), o->write(),
                             [&](const json_view& a) { print_written(a, done); });
      };
    },
  };
}

command fork_command() {
  struct options : common {
    std::optional<std::uint64_t> at;
    std::string as;
  };
  return {
    .name = "fork",
    .summary = "Begin a new session that shares the past of this one.",
    .audience = used_by::client | used_by::store | used_by::session,
    .examples = {"recalld session fork s1 --app demo --user anna --at 12 --as s1-retry"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app.add_option("SESSION", o->session, "The session to fork.")->required();
      app.add_option("--at", o->at, "The last version that both share. Default: all there is.")
        ->type_name("VERSION");
      app.add_option("--as", o->as, "The new session's id. Default: a fresh UUID.")
        ->type_name("ID");
      add_session_write_options(app, *o);
      return [o](const invocation& call) {
        auto key = session_key_of(call, o->session);
        if (!key)
          return call.fail(key.error());
        auto w = address(*key);
        if (o->at)
          w.num("at", *o->at);
        if (!o->as.empty())
          w.str("new_session", o->as);
        return run_operation(call, o->embedded, "session.fork", std::move(w).done(), o->write(),
                             [](const json_view& a) {
                               print_written(a,
                                             fmt::format("forked {} at version {}",
                                                         printable(a.str("session")), a.num("at")));
                             });
      };
    },
  };
}

command state_command() {
  struct options : common {
    std::vector<std::string> set;
    std::vector<std::string> remove;
  };
  return {
    .name = "state",
    .summary = "Print a session's state; set or delete keys first.",
    .audience = used_by::client | used_by::store | used_by::session,
    .examples = {"recalld session state s1 --app demo --user anna",
                 "recalld session state s1 --app demo --user anna --set mood=good --set 'count=3' "
                 "--delete draft"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app.add_option("SESSION", o->session, "Its id.")->required();
      app
        .add_option("--set", o->set,
                    "Set a key; a value that is not JSON is taken as text. May be repeated.")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
      app.add_option("--delete", o->remove, "Delete a key. May be repeated.")
        ->type_name("KEY")
        ->allow_extra_args(false);
      add_session_write_options(app, *o);
      return [o](const invocation& call) -> int {
        auto key = session_key_of(call, o->session);
        if (!key)
          return call.fail(key.error());
        json::raw_map delta;
        for (const auto& pair : o->set) {
          const auto equals = pair.find('=');
          if (equals == std::string::npos || equals == 0)
            return call.fail(invalid("--set", fmt::format("'{}' is not KEY=VALUE", pair)));
          const auto value = pair.substr(equals + 1);
          delta.insert_or_assign(pair.substr(0, equals),
                                 json::validate(value, "") ? value : json::quote(value));
        }
        if (!delta.empty() && !o->remove.empty() && !o->command_id.empty())
          return call.fail(invalid("--command-id", "names one write: set or delete"));
        auto to = connection::open(call, o->embedded);
        if (!to)
          return call.fail(to.error());
        auto write = o->write();
        if (!delta.empty()) {
          auto w = address(*key);
          w.raw("state", json::object_of(delta));
          const auto done = (*to)->call("session.update_state", std::move(w).done(), write);
          if (!done)
            return call.fail(done.error());
          write.expected_version.reset();
        }
        if (!o->remove.empty()) {
          auto w = address(*key);
          std::string keys = "[";
          for (const auto& k : o->remove)
            keys += (keys.size() > 1 ? "," : "") + json::quote(k);
          w.raw("keys", keys + "]");
          const auto done = (*to)->call("session.delete_state_key", std::move(w).done(), write);
          if (!done)
            return call.fail(done.error());
        }
        auto w = address(*key);
        w.num("last", std::uint64_t{0});
        const auto answer = (*to)->call("session.get", std::move(w).done());
        if (!answer)
          return call.fail(answer.error());
        const json_view a(*answer);
        if (call.json) {
          fmt::print("{}\n", a.raw("state").value_or("{}"));
          return exit_code::success;
        }
        text_table table(
          {{.title = "KEY", .paint = style::cyan}, {.title = "VALUE", .shrinks = true}});
        for (const auto& m : a.object("state"))
          table.add({m.name, std::string(m.raw)});
        if (table.empty())
          call.note("The session has no state.");
        else
          fmt::print("{}", table.render(call.out));
        return exit_code::success;
      };
    },
  };
}

}  // namespace

command session_command() {
  return {
    .name = "session",
    .summary = "Create, read, change and list sessions.",
    .details = "A session is addressed by --tenant, --app, --user and its id; the first three may "
               "come from\n"
               "RECALLD_TENANT, RECALLD_APP, RECALLD_USER or the configuration file.",
    .children =
      {create_command(), append_command(),
       window_command(
         "get", "session.get", "Print a session with a window of its entries.",
         {"recalld session get s1 --app demo --user anna --last 20",
          "recalld session get s1 --app demo --user anna --anchor e7 --before 3 --after 3"}),
       window_command("messages", "session.messages", "Print a session as a conversation.",
                      {"recalld session messages s1 --app demo --user anna"}),
       list_command(), state_command(), fork_command(),
       plain_write("close", "session.close", "Close a session: reads go on, appends are refused.",
                   "closed", "recalld session close s1 --app demo --user anna"),
       plain_write("delete", "session.delete", "Delete a session with everything in it.", "deleted",
                   "recalld session delete s1 --app demo --user anna")},
    .heading = "Sessions",
  };
}

}  // namespace recalld::cli

#include <iostream>
#include <iterator>
#include <memory>

#include <CLI/App.hpp>

#include "cli/addressing.hpp"
#include "cli/commands.hpp"
#include "cli/entry_view.hpp"
#include "cli/operation_run.hpp"

namespace recalld::cli {

namespace {

constexpr auto audience = used_by::client | used_by::store | used_by::session;

struct keyed : write_options {
  std::string session;
  std::string filter_key;
};

void add_key(CLI::App& app, keyed& o) {
  app.add_option("SESSION", o.session, "Its id.")->required();
  app
    .add_option("--filter-key", o.filter_key,
                "A branch such as root/search. Default: the whole session.")
    ->type_name("KEY");
}

result<json::object_writer> address(const invocation& call, const keyed& o) {
  const auto key = session_key_of(call, o.session);
  if (!key)
    return fail(key.error());
  json::object_writer w;
  w.str("app", key->app).str("user", key->user).str("session", key->session);
  if (!o.filter_key.empty())
    w.str("filter_key", o.filter_key);
  return w;
}

void print_summary(const json_view& s) {
  const auto key = s.str("filter_key");
  fmt::print("{}, {} entries, through version {}, {}\n",
             key.empty() ? std::string("whole session") : printable(key), s.num("entries"),
             s.num("through_version"), short_time(s.str("stored_at")));
  fmt::print("{}\n", printable(s.str("text")));
}

command get_summary() {
  return {
    .name = "get",
    .summary = "Print the summary of a branch, or else of the whole session.",
    .audience = audience,
    .examples = {"recalld summary get s1 --app demo --user anna",
                 "recalld summary get s1 --app demo --user anna --filter-key root/search"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<keyed>();
      add_key(app, *o);
      add_embedded_flag(app, o->embedded);
      return [o](const invocation& call) {
        auto w = address(call, *o);
        if (!w)
          return call.fail(w.error());
        return run_operation(call, o->embedded, "summary.get", std::move(*w).done(), {},
                             [](const json_view& a) {
                               print_summary(json_view(a.raw("summary").value_or("{}")));
                               if (const auto since = a.num("entries_since"); since > 0)
                                 fmt::print("{} entries came after it\n", since);
                             });
      };
    },
  };
}

command list_summaries() {
  return {
    .name = "list",
    .summary = "List a session's summaries and open jobs by filter key.",
    .audience = audience,
    .examples = {"recalld summary list s1 --app demo --user anna"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<keyed>();
      add_key(app, *o);
      add_embedded_flag(app, o->embedded);
      return [o](const invocation& call) {
        auto w = address(call, *o);
        if (!w)
          return call.fail(w.error());
        return run_operation(call, o->embedded, "summary.list", std::move(*w).done(), {},
                             [&](const json_view& a) {
                               for (const auto& one : a.array("summaries"))
                                 print_summary(one);
                               for (const auto& j : a.array("jobs"))
                                 fmt::print("job {} {} ({})\n", printable(j.str("filter_key")),
                                            j.str("status"), j.str("why"));
                               if (a.array("summaries").empty() && a.array("jobs").empty())
                                 call.note("There are no summaries.");
                             });
      };
    },
  };
}

command store_summary() {
  struct options : keyed {
    std::string text;
    std::optional<std::uint64_t> through;
    std::string entry;
    std::vector<std::string> topics;
    std::optional<std::uint64_t> fence;
    std::string by;
  };
  return {
    .name = "store",
    .summary = "Store a summary; refused when the one that is there covers more.",
    .audience = audience,
    .examples =
      {"recalld summary store s1 'They planned the trip.' --app demo --user anna --through 12",
       "recalld summary store s1 - --app demo --user anna --through-entry e7 < summary.txt"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      add_key(app, *o);
      app.add_option("TEXT", o->text, "The summary; - reads it from stdin.")->required();
      app.add_option("--through", o->through, "It covers the entries up to this version.")
        ->type_name("N");
      app.add_option("--through-entry", o->entry, "It covers the entries up to this one.")
        ->type_name("ID");
      app.add_option("--topic", o->topics, "What it is about. May be repeated.")->type_name("WORD");
      app.add_option("--fence", o->fence, "The token of the claimed job that this ends.")
        ->type_name("N");
      app.add_option("--by", o->by, "Who wrote it.")->type_name("WHO");
      add_write_options(app, *o);
      return [o](const invocation& call) {
        auto w = address(call, *o);
        if (!w)
          return call.fail(w.error());
        auto text = o->text;
        if (text == "-")
          text.assign(std::istreambuf_iterator<char>(std::cin), {});
        w->str("text", text);
        if (o->through)
          w->num("through_version", *o->through);
        if (!o->entry.empty())
          w->str("through_entry", o->entry);
        if (!o->topics.empty()) {
          std::string topics;
          for (const auto& topic : o->topics)
            topics += (topics.empty() ? "[" : ",") + json::quote(topic);
          w->raw("topics", topics + "]");
        }
        if (o->fence)
          w->num("fence", *o->fence);
        if (!o->by.empty())
          w->str("made_by", o->by);
        return run_operation(call, o->embedded, "summary.store", std::move(*w).done(), o->write(),
                             [](const json_view& a) { print_written(a, "stored"); });
      };
    },
  };
}

command force_summary() {
  return {
    .name = "force",
    .summary = "Make a summary due now, whatever the triggers say.",
    .audience = audience,
    .examples = {"recalld summary force s1 --app demo --user anna"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<keyed>();
      add_key(app, *o);
      add_write_options(app, *o);
      return [o](const invocation& call) {
        auto w = address(call, *o);
        if (!w)
          return call.fail(w.error());
        return run_operation(
          call, o->embedded, "summary.force", std::move(*w).done(), o->write(),
          [](const json_view& a) { print_written(a, a.flag("open") ? "due" : "nothing is new"); });
      };
    },
  };
}

command claim_summary() {
  struct options : write_options {
    std::string worker;
    std::optional<std::uint64_t> lease_s;
    std::uint64_t wait_s = 0;
  };
  return {
    .name = "claim",
    .summary = "Take a due job and print what is to be summarised, as JSON.",
    .details =
      "Prints the job: the summary so far, the entries behind it, and the fence with which\n"
      "`recalld summary store` ends it. Without a due job it prints {}.",
    .audience = audience,
    .examples = {"recalld summary claim --worker me --wait 5"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app.add_option("--worker", o->worker, "Who is going to write it.")
        ->required()
        ->type_name("WHO");
      app.add_option("--lease", o->lease_s, "Seconds until it is due again. Default: 60.")
        ->type_name("SECONDS");
      app.add_option("--wait", o->wait_s, "Wait so many seconds for a due job. Default: 0.")
        ->type_name("SECONDS");
      add_write_options(app, *o);
      return [o](const invocation& call) {
        json::object_writer w;
        w.str("worker", o->worker).num("wait_ms", o->wait_s * 1'000);
        if (const auto& only = call.settings.text("app"); !only.empty())
          w.str("app", only);
        if (o->lease_s)
          w.num("lease_s", *o->lease_s);
        return run_operation(
          call, o->embedded, "summary.claim", std::move(w).done(), o->write(),
          [](const json_view& a) { fmt::print("{}\n", a.raw("job").value_or("{}")); });
      };
    },
  };
}

command list_jobs() {
  struct options : page_options {
    std::string status;
  };
  return {
    .name = "jobs",
    .summary = "List jobs of writing summaries, newest first.",
    .audience = audience,
    .examples = {"recalld summary jobs --status failed"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app.add_option("--status", o->status, "One of due|claimed|resting|done|failed.")
        ->type_name("WORD");
      add_page_options(app, *o, "Jobs");
      return [o](const invocation& call) {
        listing what{.operation = "summary.jobs",
                     .member = "jobs",
                     .request = {},
                     .table = text_table({{.title = "DUE", .paint = style::cyan},
                                          {.title = "SESSION", .shrinks = true},
                                          {.title = "BRANCH", .shrinks = true},
                                          {.title = "STATUS"},
                                          {.title = "WHY"},
                                          {.title = "ATTEMPT", .side = text_table::align::right},
                                          {.title = "WORKER", .shrinks = true},
                                          {.title = "ERROR", .shrinks = true}}),
                     .cells = [](const json_view& r) -> std::vector<std::string> {
                       return {short_time(r.str("due_at")),
                               r.str("app") + "/" + r.str("user") + "/" + r.str("session"),
                               r.str("filter_key"),
                               r.str("status"),
                               r.str("why"),
                               grouped(static_cast<std::uint64_t>(r.num("attempt"))),
                               r.str("worker"),
                               std::string(r.raw("error").value_or(""))};
                     },
                     .nothing = "There are no jobs."};
        add_filters(what, {{"status", &o->status}});
        return list_pages(call, *o, std::move(what));
      };
    },
  };
}

command set_triggers() {
  struct options : write_options {
    std::uint64_t entries = 0;
    std::uint64_t tokens = 0;
    std::uint64_t idle_s = 0;
  };
  return {
    .name = "triggers",
    .summary = "Set when sessions of an application are due for a summary.",
    .audience = audience,
    .examples = {"recalld summary triggers --app demo --entries 50 --idle-seconds 3600"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app.add_option("--entries", o->entries, "More new entries than this. Default: never.")
        ->type_name("N");
      app.add_option("--tokens", o->tokens, "More tokens of new entries. Default: never.")
        ->type_name("N");
      app
        .add_option("--idle-seconds", o->idle_s, "Nothing was written for so long. Default: never.")
        ->type_name("SECONDS");
      add_write_options(app, *o);
      return [o](const invocation& call) {
        const auto name = required_setting(call, "app");
        if (!name)
          return call.fail(name.error());
        json::object_writer w;
        w.str("app", *name).num("entries", o->entries).num("tokens", o->tokens);
        w.num("idle_s", o->idle_s);
        return run_operation(call, o->embedded, "summary.set_triggers", std::move(w).done(),
                             o->write(), [](const json_view& a) { print_written(a, "set"); });
      };
    },
  };
}

}  // namespace

command summary_command() {
  return {
    .name = "summary",
    .summary = "Read and write summaries of sessions, and the jobs of writing them.",
    .children = {get_summary(), list_summaries(), store_summary(), force_summary(), claim_summary(),
                 list_jobs(), set_triggers()},
    .heading = "Sessions",
  };
}

}  // namespace recalld::cli

#include <CLI/App.hpp>

#include "cli/commands.hpp"
#include "cli/entry_view.hpp"
#include "cli/operation_run.hpp"

namespace recalld::cli {

namespace {

constexpr auto audience = used_by::client | used_by::store | used_by::session;

struct named : write_options {
  std::string name;
};

void add_name(CLI::App& app, named& o) {
  app.add_option("SCHEDULE", o.name, "Its name.")->required();
}

json::object_writer address(const named& o) {
  json::object_writer w;
  w.str("schedule", o.name);
  return w;
}

command add_schedule() {
  struct options : named {
    std::string expression;
    std::string zone;
    std::string kind;
    std::string action;
    std::string misfire;
    std::string overlap;
    std::optional<std::uint64_t> catch_up;
    std::optional<std::uint64_t> attempts;
    std::optional<std::uint64_t> deadline_s;
    std::optional<std::uint64_t> keep_days;
    bool paused = false;
  };
  return {
    .name = "add",
    .summary = "Define a schedule, or define it again; its history stays.",
    .audience = audience,
    .examples =
      {"recalld schedules add digest '0 9 * * MON-FRI' --zone Europe/Berlin --kind digest",
       "recalld schedules add poll '@every 90s' --kind poll --action '{\"feed\":7}' "
       "--overlap skip --attempts 3"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      add_name(app, *o);
      app
        .add_option("EXPRESSION", o->expression,
                    "5 fields, or 6 with seconds in front, @hourly and the like, or @every 90s.")
        ->required();
      app.add_option("--kind", o->kind, "What workers understand it as.")
        ->required()
        ->type_name("WORD");
      app.add_option("--action", o->action, "For the worker.")->type_name("JSON");
      app.add_option("--zone", o->zone, "Time zone. Default: UTC.")->type_name("NAME");
      app.add_option("--misfire", o->misfire, "once|skip|catch_up. Default: once.")
        ->type_name("WORD");
      app.add_option("--catch-up", o->catch_up, "With catch_up: at most so many runs.")
        ->type_name("N");
      app.add_option("--overlap", o->overlap, "allow|skip|queue_one. Default: allow.")
        ->type_name("WORD");
      app.add_option("--attempts", o->attempts, "Attempts of a run. Default: 1.")->type_name("N");
      app.add_option("--deadline", o->deadline_s, "Seconds within which an attempt must end.")
        ->type_name("N");
      app.add_option("--keep-days", o->keep_days, "Ended runs are listed so long. Default: 30.")
        ->type_name("N");
      app.add_flag("--paused", o->paused, "A new schedule begins paused.");
      add_write_options(app, *o);
      return [o](const invocation& call) {
        auto w = address(*o);
        w.str("expression", o->expression).str("kind", o->kind);
        w.boolean("enabled", !o->paused);
        for (const auto& [name, value] :
             {std::pair("zone", &o->zone), std::pair("misfire", &o->misfire),
              std::pair("overlap", &o->overlap)})
          if (!value->empty())
            w.str(name, *value);
        for (const auto& [name, value] :
             {std::pair("catch_up", &o->catch_up), std::pair("attempts", &o->attempts),
              std::pair("deadline_s", &o->deadline_s), std::pair("keep_days", &o->keep_days)})
          if (*value)
            w.num(name, **value);
        if (auto added = add_json(w, "action", o->action); !added)
          return call.fail(added.error());
        return run_operation(call, o->embedded, "schedule.define", std::move(w).done(), o->write(),
                             [](const json_view& a) {
                               print_written(a, "defined");
                               if (const auto next = a.str("next_at"); !next.empty())
                                 fmt::print("next run {}\n", next);
                             });
      };
    },
  };
}

command list_schedules() {
  return {
    .name = "list",
    .summary = "List schedules by name.",
    .audience = audience,
    .examples = {"recalld schedules list"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<page_options>();
      add_page_options(app, *o, "Schedules");
      return [o](const invocation& call) {
        return list_pages(call, *o,
                          {.operation = "schedule.list",
                           .member = "schedules",
                           .request = {},
                           .table = text_table({{.title = "SCHEDULE", .paint = style::cyan},
                                                {.title = "EXPRESSION"},
                                                {.title = "ZONE"},
                                                {.title = "KIND", .shrinks = true},
                                                {.title = "NEXT"},
                                                {.title = "ACTION", .shrinks = true}}),
                           .cells = [](const json_view& s) -> std::vector<std::string> {
                             const auto action = s.raw("action").value_or("null");
                             return {s.str("schedule"),
                                     s.str("expression"),
                                     s.str("zone"),
                                     s.str("kind"),
                                     s.flag("enabled") ? short_time(s.str("next_at")) : "paused",
                                     action == "null" ? "" : std::string(action)};
                           },
                           .nothing = "There are no schedules."});
      };
    },
  };
}

command plain_write(std::string_view name, std::string_view operation, std::string_view summary,
                    std::string_view done, std::string_view example) {
  return {
    .name = name,
    .summary = summary,
    .audience = audience,
    .examples = {example},
    .prepare = [operation, done](CLI::App& app) -> runner {
      auto o = std::make_shared<named>();
      add_name(app, *o);
      add_write_options(app, *o);
      return [o, operation, done](const invocation& call) {
        return run_operation(call, o->embedded, operation, address(*o).done(), o->write(),
                             [&](const json_view& a) {
                               print_written(a, done);
                               if (const auto run = a.str("run"); !run.empty())
                                 fmt::print("run {}\n", run);
                             });
      };
    },
  };
}

command next_runs() {
  struct options {
    bool embedded = false;
    std::string name;
    std::string expression;
    std::string zone;
    std::string after;
    std::uint64_t count = 5;
  };
  return {
    .name = "next",
    .summary = "Print when a schedule, or an expression, comes due next.",
    .audience = audience,
    .examples =
      {"recalld schedules next digest",
       "recalld schedules next --expression '0 9 * * MON#1' --zone Asia/Tokyo --count 12"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app.add_option("SCHEDULE", o->name, "Its name; or give --expression.");
      app.add_option("--expression", o->expression, "An expression to try out.")->type_name("TEXT");
      app.add_option("--zone", o->zone, "With --expression. Default: UTC.")->type_name("NAME");
      app.add_option("--after", o->after, "Due times behind this one. Default: now.")
        ->type_name("TIME");
      app.add_option("--count", o->count, "How many, up to 100. Default: 5.")->type_name("N");
      add_embedded_flag(app, o->embedded);
      return [o](const invocation& call) {
        json::object_writer w;
        for (const auto& [name, value] :
             {std::pair("schedule", &o->name), std::pair("expression", &o->expression),
              std::pair("zone", &o->zone), std::pair("after", &o->after)})
          if (!value->empty())
            w.str(name, *value);
        w.num("count", o->count);
        return run_operation(call, o->embedded, "schedule.next", std::move(w).done(), {},
                             [](const json_view& a) {
                               const auto all = json::elements(a.raw("next").value_or("[]"), "next")
                                                  .value_or(std::vector<std::string_view>{});
                               for (const auto at : all)
                                 fmt::print("{}\n", json::as_string(at, "next").value_or(""));
                             });
      };
    },
  };
}

command list_runs() {
  struct options : page_options {
    std::string name;
    std::string status;
    std::string since;
  };
  return {
    .name = "runs",
    .summary = "List the runs of a schedule, or of all, newest first.",
    .audience = audience,
    .examples = {"recalld schedules runs digest",
                 "recalld schedules runs --status failed --since 2026-11-01T00:00:00Z"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app.add_option("SCHEDULE", o->name, "Its name. Default: all of them.");
      app
        .add_option("--status", o->status, "One of queued|due|claimed|succeeded|failed|abandoned.")
        ->type_name("WORD");
      app.add_option("--since", o->since, "Only runs that were due then or later.")
        ->type_name("TIME");
      add_page_options(app, *o, "Runs");
      return [o](const invocation& call) {
        listing what{.operation = "schedule.runs",
                     .member = "runs",
                     .request = {},
                     .table = text_table({{.title = "DUE", .paint = style::cyan},
                                          {.title = "SCHEDULE", .shrinks = true},
                                          {.title = "RUN"},
                                          {.title = "STATUS"},
                                          {.title = "MISSED", .side = text_table::align::right},
                                          {.title = "WORKER", .shrinks = true},
                                          {.title = "ENDED"},
                                          {.title = "OUTCOME", .shrinks = true}}),
                     .cells = [](const json_view& r) -> std::vector<std::string> {
                       return {short_time(r.str("due_at")),
                               r.str("schedule"),
                               r.str("run"),
                               r.str("status"),
                               grouped(static_cast<std::uint64_t>(r.num("missed"))),
                               r.str("worker"),
                               short_time(r.str("ended_at")),
                               std::string(r.raw("outcome").value_or(""))};
                     },
                     .nothing = "There are no runs."};
        add_filters(what, {{"schedule", &o->name}, {"status", &o->status}, {"since", &o->since}});
        return list_pages(call, *o, std::move(what));
      };
    },
  };
}

// -- effects --

command list_effects() {
  struct options : page_options {
    std::string status;
  };
  return {
    .name = "list",
    .summary = "List effects of which nobody knows whether they happened, or others.",
    .audience = audience,
    .examples = {"recalld effects list", "recalld effects list --status completed"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app
        .add_option("--status", o->status,
                    "One of in_doubt|begun|completed|failed. Default: in_doubt.")
        ->type_name("WORD");
      add_page_options(app, *o, "Effects");
      return [o](const invocation& call) {
        listing what{.operation = "effect.list",
                     .member = "effects",
                     .request = {},
                     .table = text_table({{.title = "EFFECT", .paint = style::cyan},
                                          {.title = "STATUS"},
                                          {.title = "TOOL", .shrinks = true},
                                          {.title = "HOLDER", .shrinks = true},
                                          {.title = "BEGUN"},
                                          {.title = "LEASE UNTIL"},
                                          {.title = "OUTCOME", .shrinks = true}}),
                     .cells = [](const json_view& e) -> std::vector<std::string> {
                       return {e.str("key"),
                               e.str("status"),
                               e.str("tool"),
                               e.str("holder"),
                               short_time(e.str("begun_at")),
                               short_time(e.str("lease_until")),
                               std::string(e.raw("outcome").value_or(""))};
                     },
                     .nothing = "There are none."};
        add_filters(what, {{"status", &o->status}});
        return list_pages(call, *o, std::move(what));
      };
    },
  };
}

command reconcile_effect() {
  struct options : write_options {
    std::string key;
    std::string outcome;
    std::string result;
    std::string by;
  };
  return {
    .name = "reconcile",
    .summary = "Say whether an effect in doubt happened.",
    .details = "`completed`: it did, and whoever begins it again gets the result. `failed`: it did "
               "not,\nand may be begun again.",
    .audience = audience,
    .examples = {"recalld effects reconcile run7/call3 completed --result '{\"id\":41}' --by ada",
                 "recalld effects reconcile run7/call3 failed --by ada"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app.add_option("EFFECT", o->key, "Its key.")->required();
      app.add_option("OUTCOME", o->outcome, "completed or failed.")->required();
      app.add_option("--result", o->result, "What later begins get.")->type_name("JSON");
      app.add_option("--by", o->by, "Who found out. Default: --user.")->type_name("NAME");
      add_write_options(app, *o);
      return [o](const invocation& call) {
        const auto by = acting(call, o->by);
        if (!by)
          return call.fail(by.error());
        json::object_writer w;
        w.str("key", o->key).str("outcome", o->outcome).str("by", *by);
        if (auto added = add_json(w, "result", o->result); !added)
          return call.fail(added.error());
        return run_operation(call, o->embedded, "effect.reconcile", std::move(w).done(), o->write(),
                             [&](const json_view& a) { print_written(a, o->outcome); });
      };
    },
  };
}

}  // namespace

command schedules_command() {
  return {
    .name = "schedules",
    .summary = "Define what comes due by the clock, and look at its runs.",
    .children = {add_schedule(), list_schedules(),
                 plain_write("pause", "schedule.pause", "Let no more runs come due.", "paused",
                             "recalld schedules pause digest"),
                 plain_write("resume", "schedule.resume", "Let runs come due again, from now on.",
                             "resumed", "recalld schedules resume digest"),
                 plain_write("trigger", "schedule.trigger",
                             "Make a run due now; the next due time stays.", "triggered",
                             "recalld schedules trigger digest"),
                 plain_write("delete", "schedule.delete", "Delete a schedule; its history stays.",
                             "deleted", "recalld schedules delete digest"),
                 next_runs(), list_runs()},
    .heading = "Supervision",
  };
}

command effects_command() {
  return {
    .name = "effects",
    .summary = "Find and settle effects in doubt.",
    .children = {list_effects(), reconcile_effect()},
    .heading = "Supervision",
  };
}

}  // namespace recalld::cli

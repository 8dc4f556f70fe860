#include <CLI/App.hpp>

#include "cli/commands.hpp"
#include "cli/inbox_view.hpp"
#include "cli/inbox_watch.hpp"

namespace recalld::cli {

namespace {

constexpr auto audience = used_by::client | used_by::store | used_by::session;

struct filter_options : page_options {
  std::string status;
  std::string principal;
  std::string thread;
  std::string run;
  std::string tool;
  std::string in_session;
};

void add_filter_options(CLI::App& app, filter_options& o, std::string_view statuses) {
  app.add_option("--status", o.status, fmt::format("One of {}. Default: pending.", statuses))
    ->type_name("WORD");
  app.add_option("--principal", o.principal, "Only what this principal asked.")->type_name("NAME");
  app.add_option("--run", o.run, "Only of this run.")->type_name("ID");
  app.add_option("--session", o.in_session, "Only of the sessions with this id.")->type_name("ID");
}

void add_filters_of(const filter_options& o, listing& what) {
  add_filters(what, {{"status", &o.status},
                     {"principal", &o.principal},
                     {"thread", &o.thread},
                     {"run", &o.run},
                     {"session", &o.in_session},
                     {"tool", &o.tool}});
}

command list_approvals() {
  return {
    .name = "list",
    .summary = "List requests for approval, newest first.",
    .audience = audience,
    .examples = {"recalld approvals list", "recalld approvals list --tool mail --status all"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<filter_options>();
      add_filter_options(app, *o, "pending|approved|rejected|expired|cancelled|all");
      app.add_option("--thread", o->thread, "Only of this thread.")->type_name("ID");
      app.add_option("--tool", o->tool, "Only for this tool.")->type_name("NAME");
      add_page_options(app, *o, "Requests");
      return [o](const invocation& call) {
        listing what{.operation = "approval.list",
                     .member = "approvals",
                     .request = {},
                     .table = approval_table(),
                     .cells = approval_cells,
                     .nothing = "There is nothing to decide."};
        add_filters_of(*o, what);
        return list_pages(call, *o, std::move(what));
      };
    },
  };
}

command show_approval() {
  struct options {
    bool embedded = false;
    std::string id;
  };
  return {
    .name = "show",
    .summary = "Print a request for approval and what became of it.",
    .audience = audience,
    .examples = {"recalld approvals show 5f1c….1"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app.add_option("APPROVAL", o->id, "Its id.")->required();
      add_embedded_flag(app, o->embedded);
      return [o](const invocation& call) {
        json::object_writer w;
        w.str("approval", o->id);
        return run_operation(call, o->embedded, "approval.get", std::move(w).done(), {},
                             [&](const json_view& a) {
                               print_members(call, json_view(a.raw("approval").value_or("{}")));
                             });
      };
    },
  };
}

struct decide_options : write_options {
  std::string id;
  std::string by;
  bool admin = false;
  std::string feedback;
  std::optional<std::uint64_t> grant_s;
  std::string contains;
};

void add_person_options(CLI::App& app, std::string& by, bool& admin) {
  app.add_option("--by", by, "Who you are. Default: --user.")->type_name("NAME");
  app.add_flag("--admin", admin, "Act as an admin, also on what somebody else's agent asked.");
}

int decide(const invocation& call, const decide_options& o, std::string_view decision) {
  const auto by = acting(call, o.by);
  if (!by)
    return call.fail(by.error());
  json::object_writer w;
  w.str("approval", o.id).str("decision", decision).str("by", *by);
  w.str("role", o.admin ? "admin" : "user");
  if (!o.feedback.empty())
    w.str("feedback", o.feedback);
  if (o.grant_s) {
    json::object_writer grant;
    grant.num("for_s", *o.grant_s);
    if (!o.contains.empty())
      grant.str("contains", o.contains);
    w.raw("grant", std::move(grant).done());
  } else if (!o.contains.empty()) {
    return call.fail(invalid("--contains", "goes with --grant"));
  }
  return run_operation(call, o.embedded, "approval.resolve", std::move(w).done(), o.write(),
                       [&](const json_view& a) { print_written(a, decision); });
}

command approve() {
  return {
    .name = "approve",
    .summary = "Approve a request; its caller may then execute it, once.",
    .audience = audience,
    .examples =
      {"recalld approvals approve 5f1c….1 --by ada",
       "recalld approvals approve 5f1c….1 --by ada --grant 600 --contains '\"to\":\"bob\"'",
       "recalld approvals approve 5f1c….1 --by ada --feedback 'only the first ten'"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<decide_options>();
      app.add_option("APPROVAL", o->id, "Its id.")->required();
      add_person_options(app, o->by, o->admin);
      app
        .add_option("--feedback", o->feedback,
                    "Instead of executing the caller plans again with this.")
        ->type_name("TEXT");
      app
        .add_option("--grant", o->grant_s,
                    "Allow further calls of the tool for so many seconds without asking.")
        ->type_name("N");
      app
        .add_option("--contains", o->contains,
                    "With --grant: only calls with this in their arguments, as JSON.")
        ->type_name("TEXT");
      add_write_options(app, *o);
      return [o](const invocation& call) { return decide(call, *o, "approved"); };
    },
  };
}

command reject() {
  return {
    .name = "reject",
    .summary = "Reject a request.",
    .audience = audience,
    .examples = {"recalld approvals reject 5f1c….1 --by ada --feedback 'not on a Friday'"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<decide_options>();
      app.add_option("APPROVAL", o->id, "Its id.")->required();
      add_person_options(app, o->by, o->admin);
      app.add_option("--feedback", o->feedback, "What the caller is told.")->type_name("TEXT");
      add_write_options(app, *o);
      return [o](const invocation& call) { return decide(call, *o, "rejected"); };
    },
  };
}

command watch() {
  return {
    .name = "watch",
    .summary = "Show what waits for a person, as it comes, and take decisions, until Ctrl-C.",
    .details = "Requests for approval and questions are numbered. On a terminal, lines decide:\n"
               "  a N           approve              a N TEXT   approve, but plan again with TEXT\n"
               "  g N SECONDS   approve, and allow the tool for so long\n"
               "  r N [TEXT]    reject               t N TEXT   answer a question\n"
               "  s N           show all of it       l          list what waits        q  quit\n"
               "Elsewhere every request and every end is a line of its own.",
    .audience = audience,
    .examples = {"recalld approvals watch --by ada",
                 "recalld approvals watch --json | jq -r .approval.tool"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<watch_options>();
      add_person_options(app, o->by, o->admin);
      app.add_option("--count", o->count, "End after so many lines.")->type_name("N");
      add_embedded_flag(app, o->embedded);
      return [o](const invocation& call) { return watch_inbox(call, *o); };
    },
  };
}

// -- questions --

command list_clarifications() {
  return {
    .name = "list",
    .summary = "List questions of agents, newest first.",
    .audience = audience,
    .examples = {"recalld clarifications list", "recalld clarifications list --status answered"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<filter_options>();
      add_filter_options(app, *o, "pending|answered|expired|cancelled|all");
      add_page_options(app, *o, "Questions");
      return [o](const invocation& call) {
        listing what{.operation = "clarification.list",
                     .member = "clarifications",
                     .request = {},
                     .table = clarification_table(),
                     .cells = clarification_cells,
                     .nothing = "There is nothing to answer."};
        add_filters_of(*o, what);
        return list_pages(call, *o, std::move(what));
      };
    },
  };
}

command answer() {
  struct options : write_options {
    std::string id;
    std::string text;
    std::string by;
    bool admin = false;
  };
  return {
    .name = "answer",
    .summary = "Answer a question.",
    .audience = audience,
    .examples = {"recalld clarifications answer 9ab0….1 'The second one' --by ada"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app.add_option("QUESTION", o->id, "Its id.")->required();
      app.add_option("TEXT", o->text, "The answer.")->required();
      add_person_options(app, o->by, o->admin);
      add_write_options(app, *o);
      return [o](const invocation& call) {
        const auto by = acting(call, o->by);
        if (!by)
          return call.fail(by.error());
        json::object_writer w;
        w.str("clarification", o->id).str("answer", o->text).str("by", *by);
        w.str("role", o->admin ? "admin" : "user");
        return run_operation(call, o->embedded, "clarification.answer", std::move(w).done(),
                             o->write(), [](const json_view& a) { print_written(a, "answered"); });
      };
    },
  };
}

}  // namespace

command approvals_command() {
  return {
    .name = "approvals",
    .summary = "Decide on what agents want to do.",
    .children = {list_approvals(), show_approval(), approve(), reject(), watch()},
    .heading = "Supervision",
  };
}

command clarifications_command() {
  return {
    .name = "clarifications",
    .summary = "Answer the questions of agents.",
    .children = {list_clarifications(), answer()},
    .heading = "Supervision",
  };
}

}  // namespace recalld::cli

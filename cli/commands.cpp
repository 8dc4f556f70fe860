#include "cli/commands.hpp"

namespace recalld::cli {

const command& program() {
  static const command root{
    .name = "recalld",
    .summary = "Agent memory: sessions on an append-only log, replayable to any point.",
    .examples =
      {"recalld serve                                    start a server on ./recalld-data",
       "recalld import conversation.jsonl                fill it",
       "recalld session list --app demo                  look at it",
       "recalld replay s1 --app demo --user anna --at 7  the session as it was at version 7",
       "recalld replay --verify                          compare every row with the log"},
    .children = {serve_command(),     doctor_command(),    certs_command(),
                 key_command(),       bench_command(),     session_command(),
                 memory_command(),    summary_command(),   usage_command(),
                 principal_command(), approvals_command(), clarifications_command(),
                 schedules_command(), effects_command(),   eval_command(),
                 tail_command(),      call_command(),      import_command(),
                 export_command(),    backup_command(),    restore_command(),
                 migrate_command(),   replay_command(),    config_command(),
                 completion_command()},
  };
  return root;
}

}  // namespace recalld::cli

#pragma once

#include "cli/command.hpp"

/// Every command, each in a file of its own.
namespace recalld::cli {

command serve_command();
command session_command();
command memory_command();
command summary_command();
command approvals_command();
command clarifications_command();
command schedules_command();
command effects_command();
command principal_command();
command usage_command();
command key_command();
command import_command();
command export_command();
command backup_command();
command migrate_command();
command restore_command();
command replay_command();
command tail_command();
command call_command();
command doctor_command();
command bench_command();
command eval_command();
command certs_command();
command config_command();
command completion_command();

}  // namespace recalld::cli

#pragma once

#include <string>

#include "cli/json_view.hpp"
#include "cli/operation_run.hpp"

/// How requests for approval and questions look to a person.
namespace recalld::cli {

/// What is asked, in one line: the tool with its arguments, and the question.
std::string asked_gist(const json_view& one);

/// Approvals as rows of a table.
text_table approval_table();
std::vector<std::string> approval_cells(const json_view& one);
/// Questions as rows of a table.
text_table clarification_table();
std::vector<std::string> clarification_cells(const json_view& one);

/// Every member on a line of its own.
void print_members(const invocation& call, const json_view& one);

}  // namespace recalld::cli

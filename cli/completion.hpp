#pragma once

#include <span>
#include <string>

#include "cli/command.hpp"

/// Completion scripts, written from the tree of commands.
namespace recalld::cli {

std::string bash_completion(std::span<const completion_entry> entries);
std::string zsh_completion(std::span<const completion_entry> entries);
std::string fish_completion(std::span<const completion_entry> entries);

}  // namespace recalld::cli

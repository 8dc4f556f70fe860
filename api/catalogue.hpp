#pragma once

#include <span>
#include <string>
#include <string_view>

#include "actors/operation.hpp"

/// What Recalld can do, as data: the one table from which the CAF gateway, the command line and
/// every later face are read off. Adding an operation is adding one row to its family's file.
namespace recalld::api {

/// Every operation, sorted by name. Never changes while the program runs.
std::span<const actors::operation> catalogue();

/// By name; null when there is none.
const actors::operation* find_operation(std::string_view name) noexcept;

/// The catalogue as a JSON array: name, summary, right, method, path, tool, request, answer.
const std::string& catalogue_json();

/// The word for a field type in help texts, as JSON schema spells it; `any` is `any`.
std::string_view to_string(actors::field_type type) noexcept;
std::string_view to_string(actors::right right) noexcept;

}  // namespace recalld::api

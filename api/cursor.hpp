#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "events/result.hpp"

/// Cursors: where a list goes on. Opaque to callers, versioned, and bound to the list that gave
/// them out, so that a mistyped cursor, or one of another list, is refused instead of followed.
namespace recalld::api {

/// A part of a place in a list.
using cursor_part = std::variant<std::monostate, std::int64_t, std::string>;

/// Names the list a cursor belongs to: the operation and every filter, never joined ambiguously.
std::string list_name(std::initializer_list<std::string_view> parts);

std::string write_cursor(std::string_view list, std::span<const cursor_part> place);

/// The place that `write_cursor` wrote for the same list; anything else is `invalid`, naming
/// `field`.
result<std::vector<cursor_part>> read_cursor(std::string_view cursor, std::string_view list,
                                             std::string_view field);

}  // namespace recalld::api

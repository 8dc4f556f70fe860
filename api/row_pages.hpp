#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/steps.hpp"
#include "projections/projections.hpp"

/// Lists over projection tables: pages by key cursor, with filters that no index has.
namespace recalld::api {

struct row_page {
  projections::row_query query;  ///< `after`, `limit` and the place are filled in.
  std::vector<std::size_t>
    place;             ///< The columns of a cursor: what follows `equals`, then the key.
  std::string list;    ///< See `list_name`.
  std::string member;  ///< Name of the array in the answer.
  std::function<bool(const projections::row&)> wanted;  ///< Null: every row.
  std::function<std::string(const projections::row&)> render;
};

/// `limit` and `cursor` of the request.
inline constexpr auto page_fields = std::to_array<field>({
  {"limit", field_type::integer, false, "Rows on a page, 1 to 1000; default 100."},
  {"cursor", field_type::string, false, "Go on where the last answer's `next_cursor` says."},
});

/// Answers the call with a page.
void answer_page(const call_ptr& call, request_reader& in, row_page page);

// -- cells --

std::string text_at(const projections::row& r, std::size_t column);
std::int64_t number_at(const projections::row& r, std::size_t column);
bool null_at(const projections::row& r, std::size_t column);
/// Adds what is there; times as text.
void add_text(json::object_writer& w, std::string_view name, const projections::row& r,
              std::size_t column);
void add_time(json::object_writer& w, std::string_view name, const projections::row& r,
              std::size_t column);

}  // namespace recalld::api

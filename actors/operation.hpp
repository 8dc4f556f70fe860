#pragma once

#include "events/json.hpp"
#include "events/result.hpp"

#include <memory>
#include <span>
#include <string_view>

/// What an operation is, as data. The catalogue itself is in `api/`; the gateway runs it, and every
/// face (CAF, command line, HTTP, OpenAPI, MCP) is read off it.
namespace recalld::actors {

class call;

enum class field_type : std::uint8_t { string, integer, boolean, object, array, any };

/// A member of a request or answer object.
struct field {
  std::string_view name;
  field_type type = field_type::string;
  bool required = false;
  std::string_view meaning;  ///< One sentence with units and limits, for help texts and schemas.
};

enum class right : std::uint8_t { read, write, admin };

struct operation {
  std::string_view name;     ///< e.g. `session.append`.
  std::string_view summary;  ///< One sentence.
  right needs = right::read;
  std::string_view method;  ///< HTTP method.
  std::string_view path;    ///< HTTP path with `{field}` parts.
  bool tool = false;        ///< Shown as an MCP tool.
  std::span<const field> request;
  std::span<const field> answer;
  void (*handle)(std::shared_ptr<call>);
};

/// While the log's database cannot be reached, answers of operations that need `right::read` have one
/// more member, `stale_ms`: for so many milliseconds the node has been answering from memory.

/// Members that every request may have, besides those of its operation: `tenant` (default
/// `default`), `command_id`, `expected_version`.
std::span<const field> common_fields();

}  // namespace recalld::actors

#pragma once

#include <tl/expected.hpp>

#include "events/error.hpp"

namespace recalld {

/// A value or the typed reason why there is none. Nothing in this project throws over a folder's
/// border.
template <class T>
using result = tl::expected<T, error>;

/// Shorthand for `return fail(...)` in a function that returns a result.
inline tl::unexpected<error> fail(error e) { return tl::unexpected<error>(std::move(e)); }

inline tl::unexpected<error> fail(errc code, std::string message) {
  return tl::unexpected<error>(error{code, std::move(message)});
}

inline tl::unexpected<error> fail_field(std::string field, std::string message) {
  return tl::unexpected<error>(invalid(std::move(field), std::move(message)));
}

}  // namespace recalld

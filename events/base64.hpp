#pragma once

#include <optional>
#include <string>
#include <string_view>

/// Bytes as text (RFC 4648, section 4, with padding).
namespace recalld {

std::string to_base64(std::string_view bytes);
/// Nothing when it is not what `to_base64` writes.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace recalld

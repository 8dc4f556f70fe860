#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

namespace recalld {

/// One text for all JSON texts that mean the same: members sorted by name (bytes), no white space,
/// strings escaped one way, numbers in their shortest form. After RFC 8785, except that whole
/// numbers keep all their digits: two that a double cannot tell apart stay two. `valid` must have
/// been validated; an object with a name that occurs twice
/// keeps its text.
std::string canonical_json(std::string_view valid);

/// SHA-256 in 64 hex digits.
std::string sha256_hex(std::string_view bytes);

/// `sha256_hex` over parts, each behind its length: ("a","bc") and ("ab","c") differ.
std::string hash_of_parts(std::initializer_list<std::string_view> parts);

}  // namespace recalld

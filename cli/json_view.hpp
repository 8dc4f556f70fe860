#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "events/json.hpp"

namespace recalld::cli {

/// Looks into JSON that a server answered. What is missing or of another type reads as empty: the
/// answer's shape was agreed on elsewhere, here it is only shown. Borrows the text.
class json_view {
public:
  explicit json_view(std::string_view valid);

  /// Raw text of a member; absent when there is none (or this is no object).
  std::optional<std::string_view> raw(std::string_view name) const;
  std::string str(std::string_view name) const;
  std::int64_t num(std::string_view name) const;
  bool flag(std::string_view name) const;
  /// Members of a member that is an object.
  std::vector<json::member> object(std::string_view name) const;
  /// Elements of a member that is an array.
  std::vector<json_view> array(std::string_view name) const;
  std::string_view text() const noexcept { return text_; }

private:
  std::string_view text_;
  std::vector<json::member> members_;
};

}  // namespace recalld::cli

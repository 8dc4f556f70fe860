#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace recalld {

/// An immutable piece of text that shares its bytes: a copy costs one reference count, a slice
/// keeps the whole alive. Payloads travel between threads as this and are never copied.
/// Safe to read from any number of threads.
class text {
public:
  text() = default;
  // Implicit on purpose: a text is what a string becomes once nobody changes it any more.
  text(std::string whole)
    : owner_(std::make_shared<const std::string>(std::move(whole))), view_(*owner_) {}
  text(const char* whole) : text(std::string(whole)) {}

  /// The part of this text that `part` points at; `part` must lie inside `view()`.
  text slice(std::string_view part) const {
    text out;
    out.owner_ = owner_;
    out.view_ = part;
    return out;
  }

  std::string_view view() const noexcept { return view_; }
  bool empty() const noexcept { return view_.empty(); }
  std::size_t size() const noexcept { return view_.size(); }
  std::string str() const { return std::string(view_); }

  friend bool operator==(const text& a, const text& b) noexcept { return a.view_ == b.view_; }

private:
  std::shared_ptr<const std::string> owner_;
  std::string_view view_;
};

}  // namespace recalld

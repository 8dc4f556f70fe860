#pragma once

#include <memory>

namespace recalld::api {

/// Deleter for what a C library frees with a function: `owned<X509, X509_free>`.
template <auto Free>
struct freed_by {
  template <class T>
  void operator()(T* t) const noexcept {
    Free(t);
  }
};
template <class T, auto Free>
using owned = std::unique_ptr<T, freed_by<Free>>;

}  // namespace recalld::api

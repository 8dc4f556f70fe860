#pragma once

namespace recalld::api {

/// Makes sure that what stands in `openssl_errors.cpp` is part of a program that speaks TLS: without
/// it an error of one connection may close another. Does nothing by itself.
void keep_errors_apart() noexcept;

}  // namespace recalld::api

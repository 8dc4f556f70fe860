#include "api/openssl_errors.hpp"

#include <dlfcn.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

/// OpenSSL keeps errors in a queue of the thread, and `SSL_get_error` takes any that lies there for
/// the error of the call before it. CAF 0.17 reads and writes all connections in one thread and never
/// clears the queue: after one peer went away without a farewell, the next read of another connection
/// that finds nothing is taken for its failure, and a healthy connection is closed. These two stand
/// before OpenSSL's functions of that name and clear the queue, as its manual asks for.
namespace {

template <class F>
F next(const char* name) {
  return reinterpret_cast<F>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

int SSL_read(SSL* ssl, void* into, int bytes) {
  static const auto read = next<int (*)(SSL*, void*, int)>("SSL_read");
  ERR_clear_error();
  return read(ssl, into, bytes);
}

int SSL_write(SSL* ssl, const void* from, int bytes) {
  static const auto write = next<int (*)(SSL*, const void*, int)>("SSL_write");
  ERR_clear_error();
  return write(ssl, from, bytes);
}

}  // extern "C"

namespace recalld::api {

void keep_errors_apart() noexcept {}

}  // namespace recalld::api

#include "api/tls.hpp"

#include "api/openssl_errors.hpp"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <caf/openssl/all.hpp>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/freed_by.hpp"

namespace recalld::api {

namespace {

namespace fs = std::filesystem;

using key_ptr = owned<EVP_PKEY, EVP_PKEY_free>;
using certificate_ptr = owned<X509, X509_free>;
using file_ptr = owned<FILE, std::fclose>;
using trust_ptr = owned<X509_STORE, X509_STORE_free>;
using verification_ptr = owned<X509_STORE_CTX, X509_STORE_CTX_free>;

tl::unexpected<error> refuse(std::string_view what, const fs::path& file, const std::string& why) {
  ERR_clear_error();
  return fail_field(std::string(what), file.string() + ": " + why);
}

result<file_ptr> open_file(std::string_view what, const fs::path& path) {
  if (path.empty())
    return fail_field(std::string(what), "no file was named; without certificates connections "
                                         "would be anonymous, so nothing is started");
  std::error_code why;
  if (!fs::is_regular_file(path, why))
    return refuse(what, path, why ? why.message() : "is no file");
  file_ptr file{std::fopen(path.c_str(), "re")};
  if (!file)
    return refuse(what, path, "cannot be read");
  return file;
}

result<certificate_ptr> read_certificate(std::string_view what, const fs::path& path) {
  auto file = open_file(what, path);
  if (!file)
    return fail(std::move(file.error()));
  certificate_ptr certificate{PEM_read_X509(file->get(), nullptr, nullptr, nullptr)};
  if (!certificate)
    return refuse(what, path, "holds no PEM certificate");
  if (X509_cmp_current_time(X509_get0_notBefore(certificate.get())) > 0)
    return refuse(what, path, "is not valid yet");
  if (X509_cmp_current_time(X509_get0_notAfter(certificate.get())) < 0)
    return refuse(what, path, "has expired");
  return certificate;
}

result<key_ptr> read_key(std::string_view what, const fs::path& path) {
  auto file = open_file(what, path);
  if (!file)
    return fail(std::move(file.error()));
  struct stat about {};
  constexpr mode_t others = S_IRWXO | S_IWGRP;
  if (::fstat(::fileno(file->get()), &about) == 0 && (about.st_mode & others) != 0)
    return refuse(what, path,
                  "others than its owner may read or change this key; chmod it to 0600");
  // A key with a pass phrase would be asked for on the terminal; an empty answer refuses it.
  const auto no_phrase = [](char*, int, int, void*) { return 0; };
  key_ptr key{PEM_read_PrivateKey(file->get(), nullptr, no_phrase, nullptr)};
  if (!key)
    return refuse(what, path, "holds no PEM private key (without a pass phrase)");
  return key;
}

result<void> check_signed_by(X509* certificate, X509* authority, const tls_files& files) {
  const trust_ptr trusted{X509_STORE_new()};
  const verification_ptr verification{X509_STORE_CTX_new()};
  if (!trusted || !verification || X509_STORE_add_cert(trusted.get(), authority) != 1
      || X509_STORE_CTX_init(verification.get(), trusted.get(), certificate, nullptr) != 1)
    return refuse("certificate", files.certificate, "cannot be checked");
  if (X509_verify_cert(verification.get()) != 1) {
    const auto code = X509_STORE_CTX_get_error(verification.get());
    return refuse("certificate", files.certificate,
                  "is not good under " + files.ca.string() + ": "
                    + X509_verify_cert_error_string(code));
  }
  return {};
}

}  // namespace

tls_files node_files(const fs::path& directory) {
  const auto paths = paths_in(directory);
  return {paths.node, paths.node_key, paths.ca};
}

tls_files client_files(const fs::path& directory) {
  const auto paths = paths_in(directory);
  return {paths.client, paths.client_key, paths.ca};
}

result<void> check_tls(const tls_files& files) {
  const auto authority = read_certificate("ca", files.ca);
  if (!authority)
    return fail(authority.error());
  const auto certificate = read_certificate("certificate", files.certificate);
  if (!certificate)
    return fail(certificate.error());
  const auto key = read_key("key", files.key);
  if (!key)
    return fail(key.error());
  if (X509_check_private_key(certificate->get(), key->get()) != 1)
    return refuse("key", files.key, "does not belong to " + files.certificate.string());
  return check_signed_by(certificate->get(), authority->get(), files);
}

system_config::system_config(std::size_t threads) {
  if (threads == 0)
    threads = std::max(1u, std::thread::hardware_concurrency());
  // Sharing hands work to an idle thread in microseconds and sleeps when there is none.
  set("scheduler.policy", caf::atom("sharing"));
  set("scheduler.max-threads", threads);
  // One busy actor must not keep a thread to itself.
  set("scheduler.max-throughput", std::size_t{300});
  set("middleman.heartbeat-interval", caf::timespan(std::chrono::milliseconds(500)));
  set("middleman.connection-timeout", caf::timespan(std::chrono::milliseconds(2'000)));
}

result<void> system_config::use_tls(const tls_files& files) {
  keep_errors_apart();
  if (auto good = check_tls(files); !good)
    return good;
  openssl_certificate = files.certificate.string();
  openssl_key = files.key.string();
  openssl_cafile = files.ca.string();
  load<caf::io::middleman>();
  load<caf::openssl::manager>();
  return {};
}

void system_config::use_plain_network() { load<caf::io::middleman>(); }

}  // namespace recalld::api

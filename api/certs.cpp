#include "api/certs.hpp"

#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include "api/freed_by.hpp"

namespace recalld::api {

namespace {

namespace fs = std::filesystem;

using key_ptr = owned<EVP_PKEY, EVP_PKEY_free>;
using certificate_ptr = owned<X509, X509_free>;
using bio_ptr = owned<BIO, BIO_free_all>;
using number_ptr = owned<BIGNUM, BN_free>;
using extension_ptr = owned<X509_EXTENSION, X509_EXTENSION_free>;

/// A key with the certificate that belongs to it.
struct identity {
  key_ptr key;
  certificate_ptr certificate;
};

struct extension {
  int kind;
  std::string value;
};

tl::unexpected<error> openssl_failed(std::string_view doing) {
  char why[256] = "unknown";
  if (const auto code = ERR_get_error(); code != 0)
    ERR_error_string_n(code, why, sizeof(why));
  ERR_clear_error();
  return fail(errc::unavailable, "OpenSSL could not " + std::string(doing) + ": " + why);
}

bool add_extension(X509* certificate, X509* issuer, const extension& e) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const extension_ptr made{X509V3_EXT_conf_nid(nullptr, &context, e.kind, e.value.c_str())};
  return made && X509_add_ext(certificate, made.get(), -1) == 1;
}

bool set_name(X509* certificate, const std::string& common_name) {
  auto* name = X509_get_subject_name(certificate);
  const auto add = [&](const char* part, std::string_view value) {
    return X509_NAME_add_entry_by_txt(name, part, MBSTRING_UTF8,
                                      reinterpret_cast<const unsigned char*>(value.data()),
                                      static_cast<int>(value.size()), -1, 0)
           == 1;
  };
  return add("O", "Recalld") && add("CN", common_name);
}

bool set_serial(X509* certificate) {
  const number_ptr number{BN_new()};
  return number && BN_rand(number.get(), 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1
         && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

/// Makes a key and its certificate, signed by `issuer`, or by itself when there is none.
result<identity> issue(const std::string& common_name, const identity* issuer,
                       std::chrono::hours lifetime, const std::vector<extension>& extensions) {
  identity made{key_ptr{EVP_EC_gen("P-256")}, certificate_ptr{X509_new()}};
  if (!made.key || !made.certificate)
    return openssl_failed("make a key");
  auto* certificate = made.certificate.get();
  auto* signer = issuer == nullptr ? certificate : issuer->certificate.get();
  constexpr int x509_v3 = 2;
  constexpr long an_hour_ago = -3600;
  const bool filled =
    X509_set_version(certificate, x509_v3) == 1 && set_serial(certificate)
    && X509_gmtime_adj(X509_getm_notBefore(certificate), an_hour_ago) != nullptr
    && X509_time_adj_ex(X509_getm_notAfter(certificate), static_cast<int>(lifetime.count() / 24),
                        static_cast<long>(lifetime.count() % 24) * 3600, nullptr)
         != nullptr
    && X509_set_pubkey(certificate, made.key.get()) == 1 && set_name(certificate, common_name)
    && X509_set_issuer_name(certificate, X509_get_subject_name(signer)) == 1;
  if (!filled)
    return openssl_failed("fill in a certificate");
  for (const auto& e : extensions)
    if (!add_extension(certificate, signer, e))
      return openssl_failed("write " + e.value + " into a certificate");
  auto* signing_key = issuer == nullptr ? made.key.get() : issuer->key.get();
  if (X509_sign(certificate, signing_key, EVP_sha256()) == 0)
    return openssl_failed("sign a certificate");
  return made;
}

bool is_address(const std::string& name) {
  unsigned char bytes[sizeof(in6_addr)];
  return inet_pton(AF_INET, name.c_str(), bytes) == 1
         || inet_pton(AF_INET6, name.c_str(), bytes) == 1;
}

result<void> check_name(const std::string& name) {
  if (is_address(name))
    return {};
  const bool good = !name.empty() && name.size() <= 253
                    && name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                              "0123456789-._*")
                         == std::string::npos;
  if (!good)
    return fail_field("names", '"' + name + "\" is no host name and no address");
  return {};
}

std::string alternative_names(const std::vector<std::string>& names) {
  std::string list = "DNS:localhost,IP:127.0.0.1,IP:::1";
  for (const auto& name : names)
    list += (is_address(name) ? ",IP:" : ",DNS:") + name;
  return list;
}

result<std::string> pem_of(const EVP_PKEY* key) {
  const bio_ptr out{BIO_new(BIO_s_mem())};
  if (!out
      || PEM_write_bio_PKCS8PrivateKey(out.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return openssl_failed("write a key");
  char* bytes = nullptr;
  const auto size = BIO_get_mem_data(out.get(), &bytes);
  return std::string(bytes, static_cast<std::size_t>(size));
}

result<std::string> pem_of(X509* certificate) {
  const bio_ptr out{BIO_new(BIO_s_mem())};
  if (!out || PEM_write_bio_X509(out.get(), certificate) != 1)
    return openssl_failed("write a certificate");
  char* bytes = nullptr;
  const auto size = BIO_get_mem_data(out.get(), &bytes);
  return std::string(bytes, static_cast<std::size_t>(size));
}

tl::unexpected<error> write_failed(const fs::path& path) {
  const auto why = errno;
  if (why == EEXIST)
    return fail(errc::already_exists, path.string() + " exists; nothing was overwritten");
  return fail(errc::unavailable, "cannot write " + path.string() + ": " + std::strerror(why));
}

/// Writes a file that must not exist yet.
result<void> write_new(const fs::path& path, std::string_view content, mode_t mode) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (file < 0)
    return write_failed(path);
  while (!content.empty()) {
    const auto n = ::write(file, content.data(), content.size());
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0) {
      auto failed = write_failed(path);
      ::close(file);
      return failed;
    }
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  const bool kept = ::fsync(file) == 0;
  const bool closed = ::close(file) == 0;
  if (!kept || !closed)
    return write_failed(path);
  return {};
}

result<void> write_identity(const identity& who, const fs::path& certificate, const fs::path& key) {
  constexpr mode_t owner_only = 0600;
  constexpr mode_t everybody_reads = 0644;
  const auto secret = pem_of(who.key.get());
  const auto open = pem_of(who.certificate.get());
  if (!secret || !open)
    return fail((secret ? open : secret).error());
  if (auto done = write_new(key, *secret, owner_only); !done)
    return done;
  return write_new(certificate, *open, everybody_reads);
}

}  // namespace

certificate_paths paths_in(const fs::path& directory) {
  return {directory / "ca.pem",   directory / "ca.key",     directory / "node.pem",
          directory / "node.key", directory / "client.pem", directory / "client.key"};
}

result<certificate_paths> init_certificates(const fs::path& directory,
                                            const std::vector<std::string>& names,
                                            certificate_lifetimes lifetimes) {
  for (const auto& name : names)
    if (auto good = check_name(name); !good)
      return fail(good.error());
  std::error_code why;
  fs::create_directories(directory, why);
  if (why)
    return fail(errc::unavailable, "cannot make " + directory.string() + ": " + why.message());
  const auto paths = paths_in(directory);
  for (const auto& path :
       {paths.ca, paths.ca_key, paths.node, paths.node_key, paths.client, paths.client_key})
    if (fs::exists(fs::symlink_status(path, why)))
      return fail(errc::already_exists, path.string() + " exists; nothing was overwritten");

  const auto authority = issue("Recalld cluster authority", nullptr, lifetimes.authority,
                               {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                                {NID_key_usage, "critical,keyCertSign,cRLSign"},
                                {NID_subject_key_identifier, "hash"}});
  if (!authority)
    return fail(authority.error());
  const std::vector<extension> leaf{{NID_basic_constraints, "critical,CA:FALSE"},
                                    {NID_key_usage, "critical,digitalSignature"},
                                    {NID_subject_key_identifier, "hash"},
                                    {NID_authority_key_identifier, "keyid:always"}};
  auto of_node = leaf;
  of_node.push_back({NID_ext_key_usage, "serverAuth,clientAuth"});
  of_node.push_back({NID_subject_alt_name, alternative_names(names)});
  // A stolen client certificate must not do for a node.
  auto of_client = leaf;
  of_client.push_back({NID_ext_key_usage, "clientAuth"});
  const auto node = issue("Recalld node", &*authority, lifetimes.leaf, of_node);
  if (!node)
    return fail(node.error());
  const auto client = issue("Recalld client", &*authority, lifetimes.leaf, of_client);
  if (!client)
    return fail(client.error());

  struct place {
    const identity& who;
    const fs::path& certificate;
    const fs::path& key;
  };
  for (const auto& [who, certificate, key] :
       {place{*authority, paths.ca, paths.ca_key}, place{*node, paths.node, paths.node_key},
        place{*client, paths.client, paths.client_key}})
    if (auto done = write_identity(who, certificate, key); !done)
      return fail(done.error());
  return paths;
}

}  // namespace recalld::api

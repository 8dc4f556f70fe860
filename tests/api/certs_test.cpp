#include "api/certs.hpp"

#include "api/tls.hpp"
#include "tests/api/running_node.hpp"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <fstream>

namespace recalld::test {

namespace {

namespace fs = std::filesystem;

mode_t mode_of(const fs::path& path) {
  struct stat about {};
  REQUIRE(::stat(path.c_str(), &about) == 0);
  return about.st_mode & 07777;
}

struct certificate {
  X509* x509 = nullptr;
  explicit certificate(const fs::path& path) {
    auto* file = std::fopen(path.c_str(), "r");
    REQUIRE(file != nullptr);
    x509 = PEM_read_X509(file, nullptr, nullptr, nullptr);
    std::fclose(file);
    REQUIRE(x509 != nullptr);
  }
  ~certificate() { X509_free(x509); }
  bool is_for_host(const char* host) const {
    return X509_check_host(x509, host, 0, 0, nullptr) == 1;
  }
  bool is_for_address(const char* ip) const { return X509_check_ip_asc(x509, ip, 0) == 1; }
  bool may(int purpose) const { return X509_check_purpose(x509, purpose, 0) == 1; }
};

api::certificate_paths made_in(const fs::path& directory, std::vector<std::string> names = {},
                               api::certificate_lifetimes lifetimes = {}) {
  auto paths = api::init_certificates(directory, names, lifetimes);
  REQUIRE(paths);
  return *paths;
}

void check_refused(const api::tls_files& files, const std::string& field, const fs::path& named,
                   const std::string& why) {
  const auto good = api::check_tls(files);
  REQUIRE_FALSE(good);
  CHECK(good.error().code == errc::invalid);
  CHECK(good.error().field == field);
  CHECK_THAT(good.error().message, Catch::Matchers::ContainsSubstring(named.string()));
  CHECK_THAT(good.error().message, Catch::Matchers::ContainsSubstring(why));
}

}  // namespace

TEST_CASE("certificates of a cluster: who may do what") {
  temporary_directory dir;
  const auto paths =
    made_in(dir.path() / "new" / "certs", {"node1.example", "10.1.2.3", "fd00::1"});
  const certificate node(paths.node);
  for (const auto* host : {"localhost", "node1.example"})
    CHECK(node.is_for_host(host));
  for (const auto* address : {"127.0.0.1", "::1", "10.1.2.3", "fd00::1"})
    CHECK(node.is_for_address(address));
  CHECK_FALSE(node.is_for_host("elsewhere.example"));
  CHECK(node.may(X509_PURPOSE_SSL_SERVER));
  CHECK(node.may(X509_PURPOSE_SSL_CLIENT));
  const certificate client(paths.client);
  CHECK(client.may(X509_PURPOSE_SSL_CLIENT));
  CHECK_FALSE(client.may(X509_PURPOSE_SSL_SERVER));
  CHECK(X509_check_ca(certificate(paths.ca).x509) == 1);
  for (const auto& key : {paths.ca_key, paths.node_key, paths.client_key})
    CHECK(mode_of(key) == 0600);
}

TEST_CASE("certificates are never overwritten") {
  temporary_directory dir;
  const auto paths = made_in(dir.path());
  const auto size = fs::file_size(paths.ca);
  fs::remove(paths.client_key);
  const auto again = api::init_certificates(dir.path());
  REQUIRE_FALSE(again);
  CHECK(again.error().code == errc::already_exists);
  CHECK(fs::file_size(paths.ca) == size);
  CHECK_FALSE(fs::exists(paths.client_key));
}

TEST_CASE("names of nodes are checked") {
  temporary_directory dir;
  for (const std::string name : {"", "a b", "x,DNS:evil", "ä", "a/b", "[::1]"}) {
    const auto made = api::init_certificates(dir.path(), {name});
    INFO(name);
    REQUIRE_FALSE(made);
    CHECK(made.error().field == "names");
  }
  CHECK(fs::is_empty(dir.path()));
  std::ofstream(dir.path() / "file") << "x";
  CHECK(api::init_certificates(dir.path() / "file").error().code == errc::unavailable);
}

TEST_CASE("good certificates pass, bad ones are named") {
  temporary_directory dir;
  const auto paths = made_in(dir.path() / "ours");
  const auto others = made_in(dir.path() / "others");
  const auto good = api::node_files(dir.path() / "ours");
  CHECK(api::check_tls(good));
  CHECK(api::check_tls(api::client_files(dir.path() / "ours")));

  check_refused({}, "ca", "", "no file was named");
  auto files = good;
  files.certificate = dir.path() / "none.pem";
  check_refused(files, "certificate", files.certificate, "");
  files = good;
  files.key = dir.path();
  check_refused(files, "key", files.key, "is no file");
  files = good;
  files.certificate = paths.node_key;
  check_refused(files, "certificate", files.certificate, "no PEM certificate");
  files = good;
  files.key = paths.node;
  fs::permissions(files.key, fs::perms::owner_read);
  check_refused(files, "key", files.key, "no PEM private key");
  files = good;
  files.key = paths.client_key;
  check_refused(files, "key", files.key, "does not belong to");
  files = good;
  files.ca = others.ca;
  check_refused(files, "certificate", files.certificate, others.ca.string());

  fs::permissions(paths.node_key, fs::perms::others_read, fs::perm_options::add);
  check_refused(good, "key", paths.node_key, "0600");
}

TEST_CASE("expired certificates are refused before anything starts") {
  temporary_directory dir;
  api::certificate_lifetimes over;
  over.leaf = std::chrono::hours(-1);
  made_in(dir.path() / "leaf", {}, over);
  const auto of_leaf = api::node_files(dir.path() / "leaf");
  check_refused(of_leaf, "certificate", of_leaf.certificate, "has expired");
  over = {};
  over.authority = std::chrono::hours(-1);
  made_in(dir.path() / "authority", {}, over);
  const auto of_authority = api::node_files(dir.path() / "authority");
  check_refused(of_authority, "ca", of_authority.ca, "has expired");
  api::system_config config{2};
  CHECK_FALSE(config.use_tls(of_leaf));
}

}  // namespace recalld::test

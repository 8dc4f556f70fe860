#include "actors/key_ring.hpp"

#include "tests/actors/scratch.hpp"
#include "tests/catch.hpp"

#include <sys/stat.h>

#include <fstream>

namespace recalld::tests {

using actors::key_ring;

TEST_CASE("a key file is made once, for its owner only, and opens what it sealed", "[key_ring]") {
  scratch_directory place;
  const auto file = place.path() / "data" / "recalld.key";
  const auto ring = key_ring::open(file);
  REQUIRE(ring);
  struct stat about {};
  REQUIRE(::stat(file.c_str(), &about) == 0);
  CHECK((about.st_mode & 0777) == 0600);
  const auto sealed = ring->seal("secret");
  CHECK(sealed.find("secret") == std::string::npos);
  CHECK(ring->seal("secret") != sealed);
  const auto again = key_ring::open(file);
  REQUIRE(again);
  CHECK(again->unseal(sealed) == std::string("secret"));
  CHECK(again->unseal(again->seal("")) == std::string());
}

TEST_CASE("a new first line rotates; an old key still opens", "[key_ring]") {
  scratch_directory place;
  const auto file = place.path() / "recalld.key";
  const auto old = key_ring::open(file)->seal("old");
  std::string was;
  std::getline(std::ifstream(file), was);
  std::ofstream(file, std::ios::trunc) << std::string(64, 'a') << "\n" << was << "\n";
  const auto ring = key_ring::open(file);
  REQUIRE(ring);
  CHECK(ring->unseal(old) == std::string("old"));
  const auto young = ring->seal("young");
  std::ofstream(file, std::ios::trunc) << was << "\n";
  CHECK(key_ring::open(file)->unseal(young).error().code == errc::not_found);
}

TEST_CASE("a ring that rotates seals with a fresh key, keeps the old ones, and tells its copies",
          "[key_ring]") {
  scratch_directory place;
  const auto file = place.path() / "recalld.key";
  auto ring = key_ring::open(file);
  REQUIRE(ring);
  const auto copy = *ring;
  const auto was = ring->newest();
  const auto old = ring->seal("old");
  CHECK(old.starts_with("1." + was + "."));
  REQUIRE(ring->rotate());
  CHECK(ring->newest() != was);
  CHECK(copy.newest() == ring->newest());
  CHECK(ring->unseal(old) == std::string("old"));
  const auto young = ring->seal("young");
  CHECK(young.starts_with("1." + ring->newest() + "."));
  struct stat about {};
  REQUIRE(::stat(file.c_str(), &about) == 0);
  CHECK((about.st_mode & 0777) == 0600);
  const auto again = key_ring::open(file);
  REQUIRE(again);
  CHECK(again->unseal(young) == std::string("young"));
  CHECK(again->unseal(old) == std::string("old"));
  std::filesystem::remove(file);
  CHECK(ring->rotate().error().code == errc::unavailable);
  CHECK(ring->newest() == again->newest());
}

TEST_CASE("what was changed, and a file that is no key file, are refused", "[key_ring]") {
  scratch_directory place;
  const auto file = place.path() / "recalld.key";
  const auto ring = key_ring::open(file);
  REQUIRE(ring);
  auto sealed = ring->seal("secret");
  sealed[sealed.size() - 3] = sealed[sealed.size() - 3] == 'A' ? 'B' : 'A';
  CHECK(ring->unseal(sealed).error().code == errc::corrupt);
  CHECK(ring->unseal("plain").error().code == errc::corrupt);
  CHECK(ring->unseal("1.x.y").error().code == errc::corrupt);
  std::ofstream(file, std::ios::trunc) << "no key\n";
  CHECK(key_ring::open(file).error().code == errc::corrupt);
  ::chmod(file.c_str(), 0644);
  CHECK(key_ring::open(file).error().code == errc::forbidden);
}

}  // namespace recalld::tests

// Keys of credentials, rotated by a real node.

#include "tests/api/running_node.hpp"

#include <sys/stat.h>

#include <fstream>
#include <string>
#include <vector>

namespace recalld::test {

namespace {

std::vector<std::string> lines_of(const std::filesystem::path& file) {
  std::vector<std::string> lines;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);)
    lines.push_back(line);
  return lines;
}

json credential_of(const std::string& principal, const std::string& tenant = "default") {
  return {{"tenant", tenant}, {"principal", principal}, {"session", "main"}};
}

void seal(running_node& n, json of, const std::string& secret) {
  of["credential"] = secret;
  n.ok("principal.put_session", of);
}

}  // namespace

TEST_CASE("a rotation seals every credential under the fresh key", "[key]") {
  running_node n;
  const auto file = n.directory() / "recalld.key";
  for (int i = 0; i < 20; ++i)
    seal(n, credential_of("p" + std::to_string(i)), "secret " + std::to_string(i));
  seal(n, credential_of("p", "t2"), "of another tenant");
  n.ok("principal.put_session", {{"principal", "none"}, {"session", "main"}});
  const auto rotated = n.ok("key.rotate", json::object());
  CHECK(rotated["resealed"] == 21);
  CHECK(rotated["unreadable"] == 0);
  const auto lines = lines_of(file);
  REQUIRE(lines.size() == 2);
  CHECK(n.ok("principal.credential", credential_of("p3"))["credential"] == "secret 3");
  // Without the old key: nothing is sealed under it any more.
  n.stop();
  std::ofstream(file, std::ios::trunc) << lines[0] << "\n";
  n.start();
  for (int i = 0; i < 20; ++i)
    CHECK(n.ok("principal.credential", credential_of("p" + std::to_string(i)))["credential"]
          == "secret " + std::to_string(i));
  CHECK(n.ok("principal.credential", credential_of("p", "t2"))["credential"]
        == "of another tenant");
  CHECK(n.ok("principal.get", {{"principal", "none"}})["sessions"][0]["has_credential"] == false);
}

TEST_CASE("what the key file opens no more is told, and the rest is sealed again", "[key]") {
  running_node n;
  const auto file = n.directory() / "recalld.key";
  seal(n, credential_of("lost"), "a");
  n.stop();
  std::ofstream(file, std::ios::trunc) << std::string(64, 'b') << "\n";
  n.start();
  seal(n, credential_of("kept"), "b");
  CHECK(n.bad("principal.credential", credential_of("lost")).code == errc::not_found);
  const auto rotated = n.ok("key.rotate", json::object());
  CHECK(rotated["resealed"] == 1);
  CHECK(rotated["unreadable"] == 1);
  CHECK(n.ok("principal.credential", credential_of("kept"))["credential"] == "b");
}

TEST_CASE("a rotation whose key file cannot be used changes nothing", "[key]") {
  running_node n;
  const auto file = n.directory() / "recalld.key";
  seal(n, credential_of("p"), "a");
  ::chmod(file.c_str(), 0644);
  CHECK(n.bad("key.rotate", json::object()).code == errc::forbidden);
  CHECK(lines_of(file).size() == 1);
  CHECK(n.ok("principal.credential", credential_of("p"))["credential"] == "a");
}

}  // namespace recalld::test

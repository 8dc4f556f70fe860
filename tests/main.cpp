// The one main function of every test executable, for Catch2 2.13 and 3 alike.
#define CATCH_CONFIG_RUNNER
#include "tests/catch.hpp"
#include "tests/postgres_server.hpp"

#include <iostream>

int main(int argc, char** argv) {
  Catch::Session session;
  if (const int bad = session.applyCommandLine(argc, argv); bad != 0)
    return bad;
  // Without Postgres what needs it is left out, and that is said: it is not the same as passing.
  const bool without = !recalld::tests::postgres_server::binaries();
  std::size_t skipped = 0;
  if (without) {
    const auto& names = session.config();
    for (const auto& test : Catch::getAllTestCasesSorted(names)) {
#if __has_include(<catch2/catch_all.hpp>)
      const auto& info = test.getTestCaseInfo();
#else
      const auto& info = test;
#endif
      skipped += info.name.find("postgres_backend") != std::string::npos
                 || info.tagsAsString().find("[postgres]") != std::string::npos;
    }
    auto& specs = session.configData().testsOrTags;
    if (specs.empty())
      specs.emplace_back("~[.]");
    for (auto& spec : specs)
      if (spec != ",")
        spec += "~*postgres_backend*~[postgres]";
  }
  const int failed = session.run();
  if (skipped != 0)
    std::cerr << "SKIPPED " << skipped
              << " test cases, which need Postgres: install the package postgresql\n";
  return failed;
}

// Recalld inside your own program: a node beside your agents in one CAF actor system.
//
//   embedded_node [DIRECTORY]     keeps its log there; without one, in a temporary directory
//
// Exits with 0 when everything went as it should.

#include "actors/node.hpp"
#include "api/catalogue.hpp"
#include "api/client.hpp"
#include "api/tls.hpp"
#include "storage/sqlite_store.hpp"

#include <caf/all.hpp>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace {

[[noreturn]] void give_up(const recalld::error& e) {
  std::fprintf(stderr, "%s: %s\n", std::string(to_string(e.code)).c_str(), e.message.c_str());
  std::exit(1);
}

template <class T>
T value(recalld::result<T> r) {
  if (!r)
    give_up(r.error());
  return std::move(*r);
}

void remember_a_conversation(recalld::client& memory) {
  const recalld::session_address chat{"shop", "ada", ""};
  // Without an id the session gets a fresh one.
  const auto made = value(memory.create(chat, R"({"language":"en"})"));
  const recalld::session_address here{"shop", "ada", made.session};

  // Entries and state go in together, or not at all. Members we do not know come back untouched.
  value(memory.append(here, R"({"role":"user","content":"Where is my order?","mood":"curious"})"));
  value(memory.append(here, R"([{"role":"assistant","content":"On its way."}])",
                      R"({"order":17,"user:name":"Ada"})"));

  const auto read = value(memory.get(here, R"({"last":20})"));
  std::printf("session %s at version %llu\n", made.session.c_str(),
              static_cast<unsigned long long>(read.version));
  for (const auto& e : read.entries)
    std::printf("  %s\n", e.entry.c_str());
  std::printf("  state %s\n", read.state.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  const bool temporary = argc < 2;
  auto name = (fs::temp_directory_path() / "recalld-example-XXXXXX").string();
  const fs::path directory = temporary ? fs::path(mkdtemp(name.data())) : fs::path(argv[1]);

  {
    recalld::api::system_config config;
    caf::actor_system system{config};

    recalld::storage::sqlite_options where;
    where.directory = directory;
    recalld::actors::node_options options;
    options.store = value(recalld::storage::open_sqlite(where));
    options.operations = recalld::api::catalogue();
    const auto node = value(recalld::actors::node::start(system, std::move(options)));

    recalld::client memory(system, node->gateway());
    remember_a_conversation(memory);
    // Going out of scope ends them in the right order: client, node, actor system.
  }
  if (temporary)
    fs::remove_all(directory);
  return 0;
}

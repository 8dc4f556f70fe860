#pragma once

#include "actors/gateway.hpp"
#include "actors/node.hpp"
#include "api/catalogue.hpp"
#include "api/client.hpp"
#include "api/tls.hpp"
#include "storage/sqlite_store.hpp"
#include "tests/catch.hpp"

#include <caf/all.hpp>
#include <nlohmann/json.hpp>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace recalld::test {

using nlohmann::json;

/// A directory that goes away with its owner.
class temporary_directory {
public:
  temporary_directory() {
    auto name = (std::filesystem::temp_directory_path() / "recalld-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr)
      throw std::runtime_error("cannot make a temporary directory");
    path_ = name;
  }
  temporary_directory(const temporary_directory&) = delete;
  temporary_directory& operator=(const temporary_directory&) = delete;
  ~temporary_directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

private:
  std::filesystem::path path_;
};

/// A node inside this process, on SQLite unless it is told otherwise, with a clock that can be put
/// forward.
class running_node {
public:
  /// Opens the same log again and again.
  using opener = std::function<result<std::unique_ptr<storage::store>>()>;

  explicit running_node(std::unique_ptr<api::system_config> config = plain())
    : config_(std::move(config)), system_(std::make_unique<caf::actor_system>(*config_)) {
    start();
  }
  explicit running_node(opener open)
    : open_(std::move(open)),
      config_(plain()),
      system_(std::make_unique<caf::actor_system>(*config_)) {
    start();
  }
  ~running_node() { stop(); }

  void start() {
    auto store = open_ ? open_() : storage::open_sqlite({.directory = directory_.path() / "log"});
    if (!store)
      throw std::runtime_error(store.error().message);
    actors::node_options wanted;
    wanted.store = std::move(*store);
    wanted.cache_directory = directory_.path() / "cache";
    wanted.key_file = directory_.path() / "recalld.key";
    wanted.operations = api::catalogue();
    wanted.limits = limits;
    wanted.clock = [this] { return now(); };
    wanted.embedding_model = embedding_model;
    auto started = actors::node::start(*system_, std::move(wanted));
    if (!started)
      throw std::runtime_error(started.error().message);
    node_ = std::move(*started);
    client_.emplace(*system_, node_->gateway());
  }
  void stop() {
    client_.reset();
    node_.reset();
  }
  void restart() {
    stop();
    start();
  }

  std::int64_t now() const {
    const auto since = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::microseconds>(since).count() + ahead_us_;
  }
  void put_clock_forward(std::chrono::seconds by) {
    ahead_us_ += std::chrono::microseconds(by).count();
  }

  recalld::client& client() { return *client_; }
  actors::node& node() { return *node_; }
  caf::actor_system& system() { return *system_; }
  const std::filesystem::path& directory() const { return directory_.path(); }

  /// The answer of an operation that has to succeed.
  json ok(std::string_view operation, const json& request) {
    auto answer = client_->call(operation, request.dump());
    INFO(operation << " " << request.dump(-1, ' ', false, json::error_handler_t::replace));
    if (!answer) {
      FAIL(to_string(answer.error().code)
           << " " << answer.error().field << ": " << answer.error().message);
    }
    return json::parse(*answer);
  }
  /// The error of an operation that has to fail.
  error bad(std::string_view operation, const json& request) {
    return bad_text(operation, request.dump());
  }
  error bad_text(std::string_view operation, std::string request) {
    INFO(operation << " " << request);
    auto answer = client_->call(operation, std::move(request));
    if (answer)
      FAIL("was answered with " << *answer);
    return answer.error();
  }

  actors::limits limits{};
  actors::embedding_model embedding_model{};

private:
  static std::unique_ptr<api::system_config> plain() {
    return std::make_unique<api::system_config>(2);
  }

  opener open_;
  temporary_directory directory_;
  std::atomic<std::int64_t> ahead_us_{0};
  std::unique_ptr<api::system_config> config_;
  std::unique_ptr<caf::actor_system> system_;
  std::unique_ptr<actors::node> node_;
  std::optional<recalld::client> client_;
};

}  // namespace recalld::test

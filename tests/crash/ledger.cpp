#include "tests/crash/ledger.hpp"

#include "api/tls.hpp"
#include "storage/sqlite_store.hpp"

#include <caf/all.hpp>
#include <nlohmann/json.hpp>

#include <future>
#include <stdexcept>

namespace recalld::tests {

using namespace std::chrono_literals;
using nlohmann::json;

namespace {

// Sanitizers make the program ten times slower.
constexpr auto ready_within = 60s;

std::vector<std::string> serve_words(const std::filesystem::path& directory) {
  return {recalld_binary(),      "serve", "--data", directory.string(), "--port", "0",
          "--insecure-loopback", "--json"};
}

}  // namespace

std::string recalld_binary() {
  const char* other = std::getenv("RECALLD_BINARY");
  return other == nullptr ? RECALLD_BINARY : other;
}

// -- server --

server::server(const std::filesystem::path& directory,
               std::map<std::string, std::string> environment, bool may_die)
  : program_(serve_words(directory), environment, directory.string() + ".log") {
  if (auto said = program_.line(ready_within)) {
    said_ = *said;
    const auto listen = json::parse(said_).at("listen").get<std::string>();
    port_ = static_cast<std::uint16_t>(std::stoi(listen.substr(listen.rfind(':') + 1)));
  } else if (!may_die) {
    throw std::runtime_error("the server was not ready, see " + directory.string() + ".log");
  }
}

std::pair<int, std::string> run_recalld(std::vector<std::string> words,
                                        const std::filesystem::path& directory) {
  words.insert(words.begin(), recalld_binary());
  words.push_back("--data");
  words.push_back(directory.string());
  process p(words, {}, directory.string() + ".log");
  auto out = p.rest();
  return {p.wait(60s).value_or(-1), std::move(out)};
}

// -- door --

result<std::string> door::call(std::string_view operation, std::string request,
                               std::chrono::milliseconds timeout) {
  std::promise<result<std::string>> answered;
  auto answer = answered.get_future();
  {
    std::shared_lock held(lock_);
    if (!client_)
      return fail(errc::outcome_unknown, "the door is shut");
    call_options how;
    how.timeout = timeout;
    client_->call_async(operation, std::move(request), how,
                        [&](result<std::string> r) { answered.set_value(std::move(r)); });
  }
  return answer.get();
}

void door::shut() {
  std::unique_lock held(lock_);
  client_.reset();
}

// -- writer --

void writer::make() {
  request one;
  const auto n = next_++;
  one.command = name_ + "-" + std::to_string(n);
  const bool own = random_() % 10 < 7;
  one.session = own ? name_ : "shared";
  if (own)
    one.expected = version_;
  json list = json::array();
  for (auto i = 1 + random_() % 3; i > 0; --i) {
    auto id = one.command + "-" + std::to_string(i);
    list.push_back({{"id", id},
                    {"role", random_() % 2 ? "user" : "assistant"},
                    {"content", std::string(random_() % (2 * entry_bytes), 'x')}});
    one.entries.push_back(std::move(id));
  }
  json body{{"app", "a"},
            {"user", "u"},
            {"session", one.session},
            {"entries", list},
            {"command_id", one.command}};
  if (random_() % 5 == 0)
    body["state"] = {{"user:" + name_, n}};
  if (own)
    body["expected_version"] = version_;
  one.entries_json = body.dump();
  open_ = std::move(one);
}

bool writer::settle(door& through) {
  auto answer = through.call("session.append", open_->entries_json, timeout);
  if (!answer) {
    last_error = answer.error();
    const auto code = last_error->code;
    if (code != errc::unavailable && code != errc::overloaded && code != errc::outcome_unknown)
      complaints_.push_back(open_->command + " was refused as " + std::string(to_string(code))
                            + ": " + last_error->message);
    return false;
  }
  const auto body = json::parse(*answer);
  receipt r{*open_, body.at("version"), body.at("position")};
  if (r.what.expected) {
    version_ = r.version;
    if (r.version != *r.what.expected + r.what.entries.size())
      complaints_.push_back(open_->command + " was expected at another version: " + *answer);
  }
  std::size_t i = 0;
  for (const auto& e : body.at("entries"))
    if (e.at("id") != r.what.entries.at(i++) || e.at("duplicate").get<bool>())
      complaints_.push_back(open_->command + " was told of other entries: " + *answer);
  acknowledged_.push_back(std::move(r));
  open_.reset();
  return true;
}

bool writer::append_once(door& through) {
  const bool good = append(through);
  refused_ = !good;
  return good;
}

bool writer::append(door& through) {
  if (!created_) {
    for (const auto& session : {name_, std::string("shared")}) {
      auto made = through.call(
        "session.create",
        json{{"app", "a"}, {"user", "u"}, {"session", session}, {"if_exists", "return"}}.dump(),
        timeout);
      if (!made) {
        last_error = made.error();
        return false;
      }
      if (session == name_)
        version_ = json::parse(*made).at("version");
    }
    created_ = true;
  }
  if (!open_)
    make();
  return settle(through);
}

void writer::work(door& through, const std::atomic<bool>& stop) {
  while (!stop && append_once(through)) {
  }
}

// -- load --

load::load(std::size_t count, std::uint64_t seed) : compared_(count) {
  for (std::size_t i = 0; i < count; ++i)
    writers.emplace_back("w" + std::to_string(i), seed * 1'000 + i);
  auto config = std::make_unique<api::system_config>(2);
  config->use_plain_network();
  config_ = std::move(config);
  system_ = std::make_unique<caf::actor_system>(*config_);
}

load::~load() { stop(); }

bool load::start(std::uint16_t port) {
  stop_ = false;
  auto connected = client::connect(*system_, "127.0.0.1", port, false, 5s);
  if (!connected)
    return false;
  door_ = std::make_shared<door>(std::move(*connected));
  for (auto& w : writers)
    threads_.emplace_back([this, &w] { w.work(*door_, stop_); });
  if (churn)
    threads_.emplace_back([this] { churn_through(); });
  return true;
}

void load::stop() {
  stop_ = true;
  if (door_)
    door_->shut();
  for (auto& t : threads_)
    t.join();
  threads_.clear();
  door_.reset();
}

void load::churn_through() {
  while (!stop_) {
    const json key{{"app", "churn"}, {"user", "u"}, {"session", std::to_string(churned_++)}};
    auto append = key;
    append["entries"] = json::array();
    for (int i = 0; i < 20; ++i)
      append["entries"].push_back({{"role", "user"}, {"content", "soon forgotten"}});
    if (!door_->call("session.create", key.dump()) || !door_->call("session.append", append.dump())
        || !door_->call("session.delete", key.dump()))
      return;
  }
}

std::uint64_t load::acknowledged() const {
  std::uint64_t n = 0;
  for (const auto& w : writers)
    n += w.acknowledged().size();
  return n;
}

std::string load::compare(const std::filesystem::path& directory, bool from_start) {
  if (from_start) {
    read_ = 0;
    where_.clear();
    versions_.clear();
    std::fill(compared_.begin(), compared_.end(), 0);
  }
  storage::sqlite_options o;
  o.directory = directory;
  auto store = storage::open_sqlite(o);
  if (!store)
    return "the log cannot be opened: " + store.error().message;
  auto log = (*store)->open_reader();
  if (!log)
    return "the log cannot be read: " + log.error().message;
  for (;;) {
    auto page = (*log)->scan(0, read_, 4'096);  // Finds gaps between positions by itself.
    if (!page)
      return "the log cannot be read behind " + std::to_string(read_) + ": " + page.error().message;
    for (const auto& f : page->facts) {
      if (f.at.stream.parts().at(1) == "churn")
        continue;
      auto& version = versions_[f.at.stream_no];
      if (f.at.version != version + 1)
        return to_string(f.at.stream) + ": version " + std::to_string(f.at.version) + " behind "
               + std::to_string(version);
      version = f.at.version;
      if (f.lane != lane::entries)
        continue;
      const auto id = json::parse(f.payload.view()).at("id").get<std::string>();
      const auto session = std::string(f.at.stream.parts().back());
      if (!where_.emplace(id, place{session, f.at.version, f.at.position}).second)
        return "entry " + id + " is in the log twice";
    }
    if (page->through == read_)
      break;
    read_ = page->through;
  }
  for (std::size_t w = 0; w < writers.size(); ++w) {
    for (const auto& c : writers[w].complaints())
      return c;
    const auto& acknowledged = writers[w].acknowledged();
    for (auto& i = compared_[w]; i < acknowledged.size(); ++i) {
      const auto& r = acknowledged[i];
      version_t last = 0;
      for (const auto& id : r.what.entries) {
        const auto found = where_.find(id);
        if (found == where_.end())
          return "entry " + id + " was acknowledged and is lost";
        if (found->second.session != r.what.session || found->second.version <= last)
          return "entry " + id + " is at another place than it should be";
        last = found->second.version;
      }
      // Entries may be followed by a change of state in the same command.
      if (last > r.version || r.version > last + 1)
        return r.what.command + " was acknowledged at version " + std::to_string(r.version)
               + " and is at " + std::to_string(last);
    }
  }
  return {};
}

}  // namespace recalld::tests

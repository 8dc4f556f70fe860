#include "tests/crash/ledger.hpp"

#include "api/tls.hpp"
#include "storage/postgres_store.hpp"
#include "storage/sqlite_store.hpp"

#include <caf/all.hpp>
#include <nlohmann/json.hpp>

#include <fstream>
#include <future>
#include <stdexcept>

namespace recalld::tests {

using namespace std::chrono_literals;
using nlohmann::json;

namespace {

// Sanitizers make the program ten times slower.
constexpr auto ready_within = 60s;

std::vector<std::string> with_log(std::vector<std::string> words, const log_home& log) {
  words.insert(words.begin(), recalld_binary());
  words.insert(words.end(), {"--data", log.directory.string()});
  if (!log.store.empty())
    words.insert(words.end(), {"--store", log.store});
  return words;
}

std::vector<std::string> serve_words(const log_home& log) {
  return with_log({"serve", "--port", "0", "--insecure-loopback", "--json"}, log);
}

}  // namespace

std::string recalld_binary() {
  const char* other = std::getenv("RECALLD_BINARY");
  return other == nullptr ? RECALLD_BINARY : other;
}

// -- server --

server::server(const log_home& log, std::map<std::string, std::string> environment, bool may_die)
  : server(standing_by{}, log, std::move(environment)) {
  if (!wait_until_ready(ready_within) && !may_die)
    throw std::runtime_error("the server was not ready, see " + log.directory.string() + ".log");
}

server::server(standing_by, const log_home& log, std::map<std::string, std::string> environment)
  : program_(serve_words(log), environment, log.directory.string() + ".log") {}

bool server::wait_until_ready(std::chrono::milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      until - std::chrono::steady_clock::now());
    auto said = program_.line(std::max(left, 0ms));
    if (!said)
      return false;
    const auto what = json::parse(*said);
    if (!what.contains("listen"))
      continue;
    said_ = *said;
    const auto listen = what.at("listen").get<std::string>();
    port_ = static_cast<std::uint16_t>(std::stoi(listen.substr(listen.rfind(':') + 1)));
    return true;
  }
}

result<std::unique_ptr<storage::store>> log_home::open() const {
  if (!store.empty())
    return storage::open_postgres({.url = store, .read_only = true});
  storage::sqlite_options o;
  o.directory = directory;
  return storage::open_sqlite(o);
}

std::pair<int, std::string> run_recalld(std::vector<std::string> words, const log_home& log) {
  process p(with_log(std::move(words), log), {}, log.directory.string() + ".log");
  auto out = p.rest();
  return {p.wait(60s).value_or(-1), std::move(out)};
}

std::string verify(const log_home& log) {
  const auto [status, output] = run_recalld({"replay", "--verify"}, log);
  if (status == 0)
    return {};
  std::ifstream said(log.directory.string() + ".log");
  return "replay --verify: status " + std::to_string(status) + "\n" + output
         + std::string(std::istreambuf_iterator<char>(said), {});
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

/// Text that no database makes smaller.
std::string writer::noise(std::size_t bytes) {
  std::string out;
  out.reserve(bytes + 8);
  while (out.size() < bytes)
    for (auto bits = random_(), i = std::uint64_t{0}; i < 10; ++i, bits >>= 6)
      out += static_cast<char>('0' + bits % 43);
  out.resize(bytes);
  return out;
}

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
                    {"content", noise(random_() % (2 * entry_bytes))}});
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

std::string load::compare(const log_home& home, bool from_start) {
  if (from_start) {
    read_.clear();
    where_.clear();
    versions_.clear();
    std::fill(compared_.begin(), compared_.end(), 0);
  }
  auto store = home.open();
  if (!store)
    return "the log cannot be opened: " + store.error().message;
  auto log = (*store)->open_reader();
  if (!log)
    return "the log cannot be read: " + log.error().message;
  auto heads = (*log)->heads();
  if (!heads)
    return "the log cannot be read: " + heads.error().message;
  read_.resize(heads->size());
  for (storage::shard_t shard = 0; shard < read_.size();) {
    auto& read = read_[shard];
    auto page = (*log)->scan(shard, read, 4'096);  // Finds gaps between positions by itself.
    if (!page)
      return "the log cannot be read behind " + std::to_string(read) + ": " + page.error().message;
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
    if (page->through == read)
      ++shard;
    else
      read = page->through;
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

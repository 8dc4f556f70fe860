#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <numeric>

#include <CLI/App.hpp>
#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "api/tls.hpp"
#include "cli/addressing.hpp"
#include "cli/commands.hpp"
#include "cli/connection.hpp"
#include "cli/exit_code.hpp"
#include "cli/hosting.hpp"
#include "cli/json_view.hpp"
#include "cli/text_table.hpp"
#include "events/codec.hpp"
#include "storage/postgres_store.hpp"

namespace recalld::cli {

namespace {

namespace fs = std::filesystem;

struct finding {
  enum class grade { good, note, bad };
  grade how = grade::good;
  std::string what;
  std::string detail;
};
using grade = finding::grade;

class examination {
public:
  explicit examination(const invocation& call) : call_(call) {}

  std::vector<finding> run() {
    configuration();
    directory();
    disk();
    log();
    cache();
    certificates();
    server();
    return std::move(found_);
  }

private:
  void tell(grade how, std::string what, std::string detail) {
    found_.push_back({how, std::move(what), std::move(detail)});
  }
  const settings& s() const { return call_.settings; }
  fs::path data() const { return s().path("data"); }

  void configuration() {
    const auto& file = s().file();
    tell(grade::good, "configuration",
         file.empty() ? "no file, defaults and environment" : file.string());
    for (const auto& warning : s().warnings())
      tell(grade::note, "configuration", warning);
  }

  void directory() {
    std::error_code e;
    if (!fs::exists(data(), e))
      return tell(grade::note, "data directory",
                  data().string() + " does not exist yet; `recalld serve` makes it");
    if (!fs::is_directory(data(), e))
      return tell(grade::bad, "data directory", data().string() + " is not a directory");
    if (::access(data().c_str(), R_OK | W_OK | X_OK) != 0)
      return tell(grade::bad, "data directory",
                  fmt::format("{}: {}", data().string(), std::strerror(errno)));
    tell(grade::good, "data directory", data().string());
  }

  void disk() {
    std::error_code e;
    auto where = fs::absolute(data(), e);
    while (!fs::exists(where, e) && where.has_relative_path())
      where = where.parent_path();
    struct statvfs disk {};
    if (::statvfs(where.c_str(), &disk) != 0)
      return tell(grade::bad, "disk", fmt::format("{}: {}", where.string(), std::strerror(errno)));
    if ((disk.f_flag & ST_RDONLY) != 0)
      return tell(grade::bad, "disk", "is mounted read-only");
    const auto free = static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize;
    const auto all = static_cast<std::uint64_t>(disk.f_blocks) * disk.f_frsize;
    constexpr std::uint64_t scarce = 1ull << 30;
    constexpr std::uint64_t gone = 64ull << 20;
    tell(free < gone     ? grade::bad
         : free < scarce ? grade::note
                         : grade::good,
         "disk", fmt::format("{} free of {}", human_bytes(free), human_bytes(all)));
  }

  void log() {
    const bool remote = log_is_remote(s());
    const auto file = log_directory(s()) / "recalld.db";
    std::error_code e;
    if (!remote && !fs::exists(file, e))
      return tell(grade::note, "log", "there is none yet");
    auto store = open_log_to_read(call_);
    if (!store && remote && store.error().code == errc::not_found) {
      tell(grade::note, "log", "there is none yet in " + log_place(s()));
      return durability();
    }
    if (!store)
      return tell(grade::bad, "log", store.error().message);
    auto reader = (*store)->open_reader();
    if (!reader)
      return tell(grade::bad, "log", reader.error().message);
    log_id_ = (*reader)->identity().log_id;
    const auto heads = (*reader)->heads();
    if (!heads)
      return tell(grade::bad, "log", heads.error().message);
    const auto facts = std::accumulate(heads->begin(), heads->end(), position_t{0});
    tell(grade::good, "log",
         fmt::format("{}, generation {}, {} facts, {}", log_id_, (*reader)->identity().generation,
                     grouped(facts),
                     remote ? log_place(s()) : human_bytes(fs::file_size(file, e))));
    if (remote)
      durability();
    schema(**reader, *heads);
  }

  /// What of the database's settings may lose acknowledged writes.
  void durability() {
    const auto risks = storage::postgres_risks(s().text("store"));
    if (!risks)
      return tell(grade::bad, "durability", risks.error().message);
    if (risks->empty())
      return tell(grade::good, "durability", "the database keeps what it acknowledged");
    for (const auto& risk : *risks)
      tell(grade::bad, "durability", risk);
  }

  /// Reads the newest facts: their sums are checked, and this program must understand them.
  void schema(storage::log_reader& reader, const std::vector<position_t>& heads) {
    constexpr position_t sample = 10'000;
    std::uint64_t read = 0;
    for (storage::shard_t shard = 0; shard < heads.size(); ++shard)
      if (!schema_of(reader, shard, heads[shard], sample / heads.size(), read))
        return;
    tell(grade::good, "schema",
         fmt::format("the newest {} facts are readable; `replay --verify` checks everything",
                     grouped(read)));
  }

  bool schema_of(storage::log_reader& reader, storage::shard_t shard, position_t head,
                 position_t sample, std::uint64_t& read) {
    const auto bad = [&](const std::string& why) {
      tell(grade::bad, "schema", why);
      return false;
    };
    for (auto after = head > sample ? head - sample : 0; after < head;) {
      const auto page = reader.scan(shard, after, 1000);
      if (!page)
        return bad(page.error().message);
      if (page->through == after)
        return bad(fmt::format("the log ends at {} instead of {}", after, head));
      for (const auto& fact : page->facts) {
        if (fact.blanked)
          continue;
        if (const auto known = codec::decode(fact); !known)
          return bad(fmt::format("fact {}: {}", fact.at.position, known.error().message));
        ++read;
      }
      after = page->through;
    }
    return true;
  }

  void cache() {
    if (s().number("cache.bytes") == 0)
      return tell(grade::good, "cache", "switched off");
    const auto directory = s().path("cache.directory");
    std::error_code e;
    if (!fs::exists(directory, e))
      return tell(grade::good, "cache", "empty; it fills by itself");
    std::ifstream in(directory / "recalld-cache");
    std::string name;
    int format = 0;
    std::string log;
    in >> name >> format >> log;
    if (!in && !fs::is_empty(directory, e))
      return tell(grade::bad, "cache",
                  directory.string()
                    + " holds files that are not a cache's; the server refuses it");
    if (!log_id_.empty() && !log.empty() && log != log_id_)
      return tell(grade::note, "cache",
                  fmt::format("belongs to another log ({}); the server empties it", log));
    std::uint64_t bytes = 0;
    for (fs::recursive_directory_iterator at(directory, e), end; !e && at != end; at.increment(e))
      if (std::error_code ignored; at->is_regular_file(ignored))
        bytes += at->file_size(ignored);
    tell(grade::good, "cache", fmt::format("{}, {}", directory.string(), human_bytes(bytes)));
  }

  void certificates() {
    if (s().flag("tls.insecure_loopback"))
      return tell(grade::note, "certificates", "TLS is switched off");
    const auto directory = s().path("tls.certs");
    std::error_code e;
    if (!fs::exists(directory, e))
      return tell(grade::note, "certificates",
                  "there are none yet; `recalld serve` or `recalld certs init` makes them");
    for (const auto& [name, files] :
         {std::pair("node certificate", api::node_files(directory)),
          std::pair("client certificate", api::client_files(directory))}) {
      const auto good = api::check_tls(files);
      tell(good ? grade::good : grade::bad, name,
           good ? files.certificate.string() : good.error().message);
    }
  }

  void server() {
    const auto& address = s().text("server");
    const auto at = parse_host_and_port(address, "server");
    if (!at)
      return tell(grade::bad, "server", at.error().message);
    if (!check_reachable(*at))
      return tell(grade::note, "server", "none runs on " + address);
    auto to = connection::open(call_, false);
    if (!to)
      return tell(grade::bad, "server", to.error().message);
    const auto begin = std::chrono::steady_clock::now();
    const auto answer = (*to)->call("node.health", "{}");
    const auto took =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
    if (!answer)
      return tell(grade::bad, "server", answer.error().message);
    tell(grade::good, "server",
         fmt::format("{} on {}, answers in {:.1f} ms", json_view(*answer).str("status"), address,
                     took));
  }

  const invocation& call_;
  std::vector<finding> found_;
  std::string log_id_;
};

std::string_view word_of(grade g) {
  return g == grade::good ? "ok" : g == grade::note ? "note" : "bad";
}

int doctor(const invocation& call) {
  const auto found = examination(call).run();
  bool healthy = true;
  std::string array = "[";
  text_table table(
    {{.title = "CHECK", .paint = style::cyan}, {.title = "RESULT"}, {.title = "DETAIL"}});
  for (const auto& f : found) {
    healthy = healthy && f.how != grade::bad;
    table.add({f.what, std::string(word_of(f.how)), f.detail});
    json::object_writer w;
    w.str("check", f.what).str("result", word_of(f.how)).str("detail", f.detail);
    array += (array.size() > 1 ? "," : "") + std::move(w).done();
  }
  if (call.json) {
    json::object_writer w;
    w.boolean("healthy", healthy).raw("checks", array + "]");
    fmt::print("{}\n", std::move(w).done());
  } else {
    fmt::print("{}", table.render({.colour = call.out.colour}));
    fmt::print("\n{}\n", healthy ? call.out.paint(style::green, "healthy")
                                 : call.out.paint(style::red, "not healthy"));
  }
  return healthy ? exit_code::success : exit_code::findings;
}

}  // namespace

command doctor_command() {
  return {
    .name = "doctor",
    .summary = "Check configuration, disk, log, cache, certificates and server; changes nothing.",
    .details = "Exit status 1 when something is bad. A server may be running.",
    .audience = used_by::store | used_by::client | used_by::server,
    .examples = {"recalld doctor", "recalld doctor --data /var/lib/recalld --json"},
    .prepare = [](CLI::App&) -> runner { return doctor; },
    .heading = "Server",
  };
}

}  // namespace recalld::cli

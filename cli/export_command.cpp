#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <numeric>
#include <ostream>
#include <streambuf>

#include <CLI/App.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "cli/addressing.hpp"
#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "cli/export_lines.hpp"
#include "cli/progress.hpp"
#include "cli/session_listing.hpp"
#include "cli/text_table.hpp"
#include "storage/dump.hpp"

namespace recalld::cli {

namespace {

struct options {
  std::string session;
  std::string format = "sessions";
  std::string output;
};

/// Where the lines go. Knows whether all of them arrived.
class line_file {
public:
  explicit line_file(const std::string& path) : path_(path) {
    file_ = path.empty() || path == "-" ? stdout : std::fopen(partial().c_str(), "w");
  }
  ~line_file() {
    if (owned()) {
      std::fclose(file_);
      std::remove(partial().c_str());
    }
  }
  line_file(const line_file&) = delete;
  line_file& operator=(const line_file&) = delete;

  bool good() const { return file_ != nullptr && std::ferror(file_) == 0; }
  void write(const std::string& line) {
    std::fwrite(line.data(), 1, line.size(), file_);
    std::fputc('\n', file_);
  }
  bool write_raw(const char* bytes, std::size_t n) { return std::fwrite(bytes, 1, n, file_) == n; }
  /// A file appears under its name only when it is whole and on the disk.
  bool finish() {
    const bool written = good() && std::fflush(file_) == 0;
    if (!owned())
      return written;
    const bool synced = written && ::fsync(::fileno(file_)) == 0;
    std::fclose(std::exchange(file_, nullptr));
    return synced && std::rename(partial().c_str(), path_.c_str()) == 0;
  }
  error failure() const {
    const auto why = std::strerror(errno);
    return {errc::unavailable,
            fmt::format("cannot write {}: {}", path_.empty() ? "the output" : path_, why)};
  }

private:
  bool owned() const { return file_ != nullptr && file_ != stdout; }
  std::string partial() const { return path_ + ".partial"; }

  std::string path_;
  std::FILE* file_ = nullptr;
};

int export_sessions(const invocation& call, const options& o) {
  auto store = open_log_to_read(call);
  if (!store)
    return call.fail(store.error());
  auto log = (*store)->open_reader();
  if (!log)
    return call.fail(log.error());
  line_file out(o.output);
  if (!out.good())
    return call.fail(out.failure());
  // The tenant has a default, so it only narrows when somebody gave it.
  const session_filter filter{call.settings.given("tenant") ? call.settings.text("tenant") : "",
                              call.settings.text("app"), call.settings.text("user"), o.session};
  std::uint64_t sessions = 0;
  progress bar(call.err, "export", "entries", 0, call.out.tty && o.output.empty());
  auto listed = filter.session.empty()
                  ? each_scope(**log, filter,
                               [&](const stream_id& stream, const json::raw_map& values) {
                                 out.write(export_scope(stream, values));
                               })
                  : result<void>();
  result<void> exported;
  if (listed)
    listed = each_session(**log, filter, [&](const stream_id& stream) {
      auto past = session_past::open(**log, stream);
      auto count = past ? export_session(*past, [&](const std::string& line) { out.write(line); })
                        : result<std::uint64_t>(fail(past.error()));
      if (!count)
        exported = fail(count.error());
      else
        bar.advance(*count);
      ++sessions;
      return exported && out.good();
    });
  if (!listed || !exported)
    return call.fail((listed ? exported : listed).error());
  if (!out.finish())
    return call.fail(out.failure());
  bar.finish();
  if (sessions == 0 && !o.session.empty())
    return call.fail({errc::not_found, fmt::format("there is no session {}", o.session)});
  return exit_code::success;
}

/// Lets the storage's own writer of dumps write to where the lines go.
class stream_to_lines : public std::streambuf {
public:
  explicit stream_to_lines(line_file& out) : out_(&out) {}

protected:
  std::streamsize xsputn(const char* bytes, std::streamsize n) override {
    return out_->write_raw(bytes, static_cast<std::size_t>(n)) ? n : 0;
  }
  int overflow(int c) override {
    const auto byte = static_cast<char>(c);
    return out_->write_raw(&byte, 1) ? c : traits_type::eof();
  }

private:
  line_file* out_;
};

int export_log(const invocation& call, const options& o) {
  auto store = open_log_to_read(call);
  if (!store)
    return call.fail(store.error());
  auto log = (*store)->open_reader();
  if (!log)
    return call.fail(log.error());
  const auto heads = (*log)->heads();
  if (!heads)
    return call.fail(heads.error());
  const auto facts = std::accumulate(heads->begin(), heads->end(), position_t{0});
  line_file out(o.output);
  if (!out.good())
    return call.fail(out.failure());
  stream_to_lines buffer(out);
  std::ostream stream(&buffer);
  progress bar(call.err, "export", "facts", facts, call.out.tty && o.output.empty());
  auto written = storage::write_dump(**log, stream, [&](position_t at) { bar.at(at); });
  if (!out.good())
    return call.fail(out.failure());
  if (!written)
    return call.fail(written.error());
  if (!out.finish())
    return call.fail(out.failure());
  bar.at(facts);
  bar.finish();
  return exit_code::success;
}

}  // namespace

command export_command() {
  return {
    .name = "export",
    .summary =
      "Write sessions as JSON Lines that `import` reads, or the whole log for `replay --from`.",
    .details =
      "Reads the store itself; a server may be running on it. Without a file, lines go to stdout.",
    .audience = used_by::store | used_by::session,
    .examples = {"recalld export > everything.jsonl",
                 "recalld export --app demo --user anna -o anna.jsonl",
                 "recalld export --format log -o log.jsonl"},
    .prepare = [](CLI::App& app) -> runner {
      auto o = std::make_shared<options>();
      app.add_option("SESSION", o->session, "Only this session.");
      app.add_option("--format", o->format, "sessions: what there is now. log: every fact.")
        ->type_name("sessions|log")
        ->check(CLI::IsMember({"sessions", "log"}));
      app.add_option("-o,--output", o->output, "The file; it appears when it is whole.")
        ->type_name("FILE");
      return [o](const invocation& call) {
        if (o->format == "log" && !o->session.empty())
          return call.fail(invalid("SESSION", "a log is exported whole"));
        return o->format == "log" ? export_log(call, *o) : export_sessions(call, *o);
      };
    },
    .heading = "Data",
  };
}

}  // namespace recalld::cli

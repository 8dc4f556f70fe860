#include "bench/workload.hpp"

#include "storage/sqlite_store.hpp"

#include <stdexcept>

namespace recalld::bench {

namespace {

constexpr std::size_t facts_in_commit = 4'096;
constexpr time_us_t some_time = 1'767'225'600'000'000;

}  // namespace

std::string session_members(std::size_t n) {
  const auto digits = std::to_string(n);
  return R"("app":"bench","user":"u)" + digits + R"(","session":"s)" + digits + '"';
}

stream_id session_of(std::size_t n) {
  const auto digits = std::to_string(n);
  return session_stream("default", "bench", "u" + digits, "s" + digits);
}

std::string entry_json(std::size_t n) {
  static constexpr std::string_view words =
    "The harbour was quiet that morning, and the boats lay in two rows behind the pier. "
    "She asked whether the ferry would still run, because the forecast had spoken of wind. ";
  const bool user = n % 2 == 0;
  std::string out =
    user ? R"({"role":"user","author":"mara",)" : R"({"role":"assistant","author":"agent",)";
  out += R"("type":"message","filter_key":"main","content":")";
  constexpr std::string_view tail = R"("})";
  for (std::size_t at = 0; out.size() + tail.size() < entry_bytes; ++at)
    out += words[at % words.size()];
  out += tail;
  return out;
}

void create_sessions(server& node, std::size_t count) {
  std::size_t next = 0;
  drive(
    node, "session.create", std::min<std::size_t>(count, 512),
    [&](std::size_t) -> std::optional<std::string> {
      if (next == count)
        return std::nullopt;
      return "{" + session_members(next++) + "}";
    },
    0);
}

append_load::append_load(std::size_t sessions, bool command_ids, std::size_t entries)
  : lanes_(sessions),
    command_ids_(command_ids),
    at_once_(entries),
    entries_{entry_json(0), entry_json(1)} {
  for (std::size_t n = 0; n < sessions; ++n)
    lanes_[n].front = "{" + session_members(n) + (command_ids ? R"(,"command_id":")" : "");
}

std::string append_load::next(std::size_t lane) {
  auto& l = lanes_[lane];
  std::string out;
  out.reserve(l.front.size() + at_once_ * (entry_bytes + 1) + 80);
  out += l.front;
  if (command_ids_) {
    const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
    out += uuid_v7(now, {l.sent, lane});
    out += '"';
  }
  out += R"(,"entries":[)";
  for (std::size_t i = 0; i < at_once_; ++i) {
    if (i > 0)
      out += ',';
    out += entries_[l.sent++ % 2];
  }
  out += "]}";
  return out;
}

log_filler::log_filler(const std::filesystem::path& directory, bool command_ids)
  : command_ids_(command_ids) {
  storage::sqlite_options options;
  options.directory = directory;
  auto opened = storage::open_sqlite(options);
  if (!opened)
    throw std::runtime_error(opened.error().message);
  store_ = std::move(*opened);
  auto epoch = store_->writer().take_shard(0);
  if (!epoch)
    throw std::runtime_error(epoch.error().message);
  epoch_ = *epoch;
}

log_filler::~log_filler() = default;

std::string log_filler::fresh_id() {
  auto id = uuid_v7(some_time, {0, 0}, 0);
  return id.replace(id.size() - 12, 12, std::to_string(100'000'000'000 + ++ids_));
}

void log_filler::add(std::size_t session, session::fact fact) {
  auto& past = pasts_[session];
  ++past.version;
  storage::stream_append one;
  one.stream = session_of(session);
  one.facts.push_back(any_fact{std::in_place_type<session::fact>, std::move(fact)});
  storage::append_unit unit;
  unit.parts.push_back(std::move(one));
  unit.time = some_time;
  if (command_ids_)
    unit.command = fresh_id();
  units_.push_back(std::move(unit));
  if (units_.size() == facts_in_commit)
    finish();
}

void log_filler::create(std::size_t session) {
  add(session, session::created{});
  pasts_[session].created = pasts_[session].version;
}

void log_filler::append(std::size_t session) {
  auto& past = pasts_[session];
  session::entry_appended entry;
  entry.id = fresh_id();
  entry.ordinal = ++past.entries;
  const bool user = entry.ordinal % 2 == 1;
  entry.role = user ? "user" : "assistant";
  if (user) {
    past.turn_version = past.version + 1;
    past.turn_ordinal = entry.ordinal;
  }
  entry.life = past.created;
  entry.turn_version = past.turn_version;
  entry.turn_ordinal = past.turn_ordinal;
  auto raw = entry_json(user ? 0 : 1);
  raw.insert(1, R"("id":")" + entry.id + R"(",)");
  entry.raw = text(std::move(raw));
  add(session, std::move(entry));
}

void log_filler::set_state(std::size_t session, std::string key, std::string raw_value) {
  session::state_changed change;
  change.set.emplace(std::move(key), std::move(raw_value));
  add(session, std::move(change));
}

void log_filler::finish() {
  if (units_.empty())
    return;
  auto outcome = store_->writer().commit(0, epoch_, units_);
  if (!outcome)
    throw std::runtime_error(outcome.error().message);
  for (const auto& one : *outcome)
    if (one.refused)
      throw std::runtime_error("the store refused a prepared fact");
  units_.clear();
}

}  // namespace recalld::bench

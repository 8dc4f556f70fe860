#include "tests/simulation/world.hpp"

#include "projections/projections.hpp"
#include "storage/replay.hpp"
#include "storage/sqlite_store.hpp"

#include <unordered_map>

namespace recalld::tests {

namespace {

using namespace std::chrono_literals;

constexpr std::string_view roles[] = {"user", "assistant", "tool"};

bool worth_repeating(errc code) {
  return code == errc::unavailable || code == errc::overloaded || code == errc::outcome_unknown;
}

std::string describe(const answer& a) { return std::to_string(a.status) + " " + a.body.dump(); }

}  // namespace

std::string difference_to_replay(storage::store& store) {
  auto reader = store.open_reader();
  if (!reader)
    return reader.error().message;
  auto report = storage::verify(**reader);
  if (!report)
    return report.error().message;
  if (report->good())
    return {};
  std::string text = std::to_string(report->different) + " cells differ";
  for (const auto& d : report->differences)
    text += "\n  " + d.table + "." + d.column + ": the log says \"" + d.expected
            + "\", the table \"" + d.found + '"';
  return text;
}

world::world(std::uint64_t seed, world_options o)
  : options_(o), seed_(seed), random_(seed), disk_(storage::make_model_disk()) {
  if (options_.sqlite)
    directory_ = std::make_unique<scratch_directory>();
  if (one_in(4))
    cache_ = std::make_unique<scratch_directory>();
  for (std::size_t i = 0; i < 2 + chance(4); ++i)
    sessions_.push_back("s" + std::to_string(i));
}

world::~world() {
  // Its actors know the rest of this object.
  sink_ = nullptr;
  node_.reset();
}

std::unique_ptr<storage::store> world::open_disk() {
  if (!options_.sqlite)
    return storage::open_model(disk_);
  storage::sqlite_options o;
  o.directory = directory_->path();
  return storage::open_sqlite(o).value();
}

// -- the node, and what is done to it --

void world::open_node() {
  stage_options o;
  o.timers = true;
  o.limits.tail_entries = 1 + chance(12);
  o.limits.requests_per_stream_max = one_in(3) ? 4 : 512;
  o.limits.batch_facts = one_in(3) ? 4 : 4'096;
  o.limits.memory_bytes = one_in(3) ? 20'000 : 512 << 20;
  if (cache_)
    o.cache_directory = cache_->path();
  for (int tries = 0;; ++tries) {
    storage::fault_plan plan;
    plan.seed = seed_ * 1'000 + ++opened_;
    if (!calm_) {
      plan.refused = one_in(2) ? 30 : 0;
      plan.unknown_committed = one_in(2) ? 8 : 0;
      plan.unknown_lost = one_in(2) ? 8 : 0;
      plan.reads_refused = one_in(3) ? 20 : 0;
    }
    try {
      node_ = std::make_unique<stage>(storage::make_faulty(open_disk(), plan), o, now_);
      break;
    } catch (const tl::bad_expected_access<recalld::error>& e) {
      if (tries == 100)
        throw law_broken(4, "the node does not start: " + e.error().message);
      // The disk refused a read while the node started: a process would be started again.
    }
  }
  auto& store = *node_->store;
  if (options_.bug == planted::forgetful_disk)
    store.before = [this](auto) -> std::optional<recalld::error> {
      forgotten_ = std::make_shared<storage::model_log>(disk_->log);
      return std::nullopt;
    };
  if (options_.bug == planted::no_receipts)
    store.alter = [](auto& units) {
      for (auto& u : units)
        u.command.clear();
    };
  if (options_.bug == planted::torn_unit)
    store.alter = [](auto& units) {
      for (auto& u : units)
        u.parts.resize(1);
    };
  if (options_.bug != planted::forgetful_disk)
    watch();  // A watcher would notice, too.
}

void world::crash() {
  ++count_.crashes;
  now_ = node_->now();
  for (const auto& one : unsettled_) {
    one->lost = one->lost || !one->open.empty();
    one->open.clear();
  }
  sink_ = nullptr;
  node_.reset();
  if (forgotten_)
    disk_->log = *std::exchange(forgotten_, nullptr);
}

void world::watch() {
  sink_ = node_->cast([this, node = node_.get()](caf::event_based_actor*) -> caf::behavior {
    return {[this, node](const std::string& id, const std::string& batch) {
      caf::anon_send(caf::actor_cast<caf::actor>(node->gateway), id, std::uint32_t{1});
      const auto read = json::parse(batch);
      if (options_.bug == planted::blind_watch && !std::exchange(blinded_, true))
        return;
      for (const auto& f : read.at("facts")) {
        const auto position = f.at("position").get<position_t>();
        if (position <= watched_)
          heard_ = "a watcher was told twice of position " + std::to_string(position);
        watched_ = position;
        watched_all_.insert(position);
      }
      cursor_ = read.at("cursor");
    }};
  });
  json request{{"credit", 2}};
  if (cursor_.empty())
    request["from_start"] = true;
  else
    request["after"] = cursor_;
  node_->cast([this, text = request.dump(), to = node_->gateway](caf::event_based_actor* self) {
    self->request(to, caf::infinite, actors::protocol_version, text, sink_)
      .then([this](std::uint16_t status, const std::string& body) {
        if (status != 0)
          heard_ = "a watch was refused: " + body;
      });
  });
}

// -- clients --

world::wish_ptr world::write(std::string operation, json request) {
  auto one = std::make_shared<wish>();
  one->operation = std::move(operation);
  one->command = "c" + std::to_string(next_id_++);
  request["command_id"] = one->command;
  one->request = std::move(request);
  ++count_.operations;
  wishes_.push_back(one);
  unsettled_.push_back(one);
  return one;
}

void world::begin() {
  const auto session = sessions_[chance(sessions_.size())];
  const auto here = session_of(session);
  const auto fresh = [&](const char* prefix) { return prefix + std::to_string(next_id_++); };
  wish_ptr one;
  const auto dice = chance(100);
  if (dice < 40) {
    json list = json::array();
    std::set<std::string> own;
    for (auto n = 1 + chance(3); n > 0; --n) {
      const auto kind = chance(10);
      auto id = kind < 6 ? fresh("e") : "shared-" + std::to_string(chance(10));
      if (kind < 6)
        own.insert(id);
      auto entry = entry_of(id, std::string(roles[chance(3)]), std::string(chance(60), 'x'));
      if (kind >= 8)
        entry.erase("id");
      list.push_back(std::move(entry));
    }
    auto request = with(here, {{"entries", std::move(list)}});
    std::string key;
    if (one_in(3)) {
      key = fresh("x");
      request["state"] = {{"app:" + key, 1}};
      if (one_in(2))
        request["state"]["k" + std::to_string(chance(3))] = chance(9);
    }
    std::optional<version_t> expected;
    if (one_in(4)) {
      expected = acknowledged_[session];
      if (*expected > 0 && one_in(4))
        --*expected;
      request["expected_version"] = *expected;
    }
    one = write("session.append", std::move(request));
    one->stream = session;
    one->entry_ids = std::move(own);
    one->scope_key = key;
    one->expected = expected;
  } else if (dice < 50) {
    auto request = here;
    if (one_in(2))
      request["if_exists"] = "return";
    one = write("session.create", std::move(request));
    one->stream = session;
  } else if (dice < 56) {
    one = write("session.update_state", with(here, {{"state", {{"k", chance(9)}}}}));
    one->stream = session;
  } else if (dice < 58) {
    one = write("session.delete_state_key", with(here, {{"key", "k"}}));
    one->stream = session;
  } else if (dice < 62) {
    one = write("track.append", with(here, {{"track", "t"}, {"items", {1, 2}}}));
    one->stream = session;
  } else if (dice < 65) {
    one = write("context.add", with(here, {{"id", "c"}, {"type", "file"}, {"content", chance(9)}}));
    one->stream = session;
  } else if (dice < 67) {
    const auto key = fresh("x");
    one = write("app.update_state", json{{"app", "a"}, {"state", {{key, 1}}}});
    one->scope_key = key;
  } else if (dice < 69) {
    one = write("app.set_retention",
                json{{"app", "a"}, {"keep_entries", chance(6)}, {"ttl_s", one_in(2) ? 600 : 0}});
  } else if (dice < 71) {
    one = write(one_in(3) ? "session.close" : "session.delete", here);
    one->stream = session;
  } else if (dice < 73) {
    const auto name = fresh("fork");
    one = write("session.fork", with(here, {{"new_session", name}}));
    one->stream = name;
    sessions_.push_back(name);
  } else {
    one = std::make_shared<wish>();
    one->operation = one_in(2) ? "session.get" : one_in(2) ? "session.entries" : "session.list";
    one->request = one->operation == "session.list" ? json{{"app", "a"}} : here;
    if (one->operation == "session.entries")
      one->request["last"] = chance(12);
    if (one->operation != "session.list")
      one->stream = session;
    ++count_.operations;
    wishes_.push_back(one);
    unsettled_.push_back(one);
  }
  // The request may get lost, or come twice.
  if (!one_in(20))
    ask(one);
  if (one_in(20))
    ask(one);
}

void world::ask(const wish_ptr& one) {
  auto request = one->request;
  if (options_.bug == planted::ignored_version)
    request.erase("expected_version");
  if (one->command.empty() && one->asked == 0)
    one->floor = acknowledged_[one->stream];
  ++one->asked;
  one->open.push_back({node_->start(one->operation, request), one->acknowledged});
}

void world::settle(wish& one, const answer& a, bool after_receipt) {
  if (!a.ok() && worth_repeating(a.code()))
    return;
  if (!a.ok()
      && (a.code() == errc::corrupt || a.code() == errc::key_reuse || a.code() == errc::invalid
          || a.code() == errc::fenced))
    throw law_broken(1, one.operation + " " + one.request.dump() + " was answered " + describe(a));
  one.sure = true;
  if (!a.ok()) {
    // Of two questions on their way at once the one may come too early, and say so too late.
    if (after_receipt && one.position > 0 && !one.command.empty())
      throw law_broken(1, one.operation + " " + one.request.dump()
                            + " was acknowledged, then refused: " + describe(a));
    one.refused = true;
    return;
  }
  if (one.command.empty()) {
    if (a.body.contains("version") && a.body.at("version").get<version_t>() < one.floor)
      throw law_broken(1, "a read of " + one.stream + " does not see version "
                            + std::to_string(one.floor) + ": " + describe(a));
    return;
  }
  const auto version = a.body.at("version").get<version_t>();
  const auto position = a.body.at("position").get<position_t>();
  if (a.body.at("duplicate").get<bool>())
    ++count_.duplicates;
  if (one.acknowledged && one.position > 0 && (version != one.version || position != one.position))
    throw law_broken(1, one.command + " has two receipts: version " + std::to_string(one.version)
                          + " and " + describe(a));
  one.acknowledged = true;
  one.version = version;
  one.position = position;
  if (position > 0 && !one.stream.empty())
    acknowledged_[one.stream] = std::max(acknowledged_[one.stream], version);
}

void world::collect(bool all) {
  for (const auto& one : unsettled_) {
    std::erase_if(one->open, [&](const wish::question& asked) {
      const auto& letter = asked.letter;
      if (letter->broken)
        throw law_broken(4, one->operation + " was dropped: " + caf::to_string(*letter->broken));
      if (letter->open())
        return false;
      if (!all && one_in(12)) {
        one->lost = true;  // The answer gets lost.
        return true;
      }
      settle(*one, *letter->answer, asked.after_receipt);
      return true;
    });
  }
  std::erase_if(unsettled_, [&](const wish_ptr& one) {
    if (!one->sure || !one->open.empty())
      return false;
    if (one->command.empty())
      return true;
    ++(one->acknowledged ? count_.acknowledged : count_.refused);
    return true;
  });
}

void world::turn() {
  const auto dice = chance(100);
  if (dice < 30) {
    if (unsettled_.size() < 40)
      begin();
  } else if (dice < 80) {
    for (auto n = 1 + chance(12); n > 0; --n)
      node_->step(random_());
  } else if (dice < 88) {
    collect(false);
  } else if (dice < 92) {
    if (!unsettled_.empty()) {
      const auto& one = unsettled_[chance(unsettled_.size())];
      if (one->open.size() < 2) {
        ++count_.retries;
        ask(one);
      }
    }
  } else if (dice < 97) {
    node_->move_clock(std::chrono::milliseconds(chance(2'000)));
  } else if (dice < 98) {
    if (one_in(4))
      node_->move_clock(std::chrono::seconds(chance(900)));
    node_->around->limits.idle_s = one_in(2) ? 0 : 300;
    caf::anon_send(node_->around->directory, actors::tick_atom::value);
  } else if (one_in(3) && !(options_.bug == planted::lost_request && blinded_)) {
    crash();  // A crash would take the planted bug away again.
    open_node();
  }
  if (!heard_.empty())
    throw law_broken(4, heard_);
  if (!node_->fatal.empty()) {
    // The process ends before anybody else can be answered.
    crash();
    open_node();
  }
  if (options_.bug == planted::lost_request && one_in(200) && !std::exchange(blinded_, true))
    caf::anon_send_exit(node_->around->journals.front(), caf::exit_reason::kill);
}

void world::run() {
  open_node();
  for (std::size_t i = 0; i < options_.steps; ++i)
    turn();
  finish();
  check();
}

/// No more harm: everything that waits must come to its end now.
void world::finish() {
  const auto broken = options_.bug == planted::lost_request;
  const auto calm_down = [&] {
    crash();
    calm_ = true;
    open_node();
  };
  if (!broken)
    calm_down();
  for (int round = 0; round < 60; ++round) {
    node_->run();
    collect(true);
    for (const auto& one : unsettled_)
      if (!one->open.empty())
        throw law_broken(4, one->operation + " " + one->request.dump() + " is never answered");
    if (unsettled_.empty())
      break;
    for (const auto& one : unsettled_)
      ask(one);
    node_->pass(300ms);
  }
  if (!unsettled_.empty())
    throw law_broken(4, unsettled_.front()->operation + " is never settled");
  node_->pass(2s);
  node_->run();
  if (!heard_.empty())
    throw law_broken(4, heard_);
  if (!node_->fatal.empty())
    throw law_broken(4, "the node cannot go on: " + node_->fatal.front());
  if (broken)
    calm_down();
}

// -- the laws --

void world::check() {
  if (options_.bug == planted::version_gap)
    for (auto& f : disk_->log.facts)
      if (f && f->at.version > 1)
        ++f->at.version;
  if (options_.bug == planted::other_rows)
    for (auto& f : disk_->log.facts)
      if (f && f->at.stream.kind() == stream_kind::scope && !f->blanked) {
        const auto& table = projections::scope_state::spec;
        disk_->log.rows.apply(projections::put{
          &table,
          {static_cast<std::int64_t>(f->at.stream_no), std::string("never"), std::string("1")}});
        break;
      }
  const auto log = node_->log();
  count_.facts = log.size();
  check_writes(log);
  check_streams(log);
  check_rows();
  check_watch(log);
}

/// Law 1: every acknowledged write is in the log exactly once, no other one twice.
void world::check_writes(const std::vector<recorded>& log) {
  std::unordered_map<std::string, std::vector<const recorded*>> by_command;
  std::unordered_map<std::string, int> by_scope_key;
  std::unordered_map<position_t, const recorded*> by_position;
  for (const auto& f : log) {
    by_position[f.at.position] = &f;
    if (!f.at.command.empty())
      by_command[f.at.command].push_back(&f);
    if (f.type == "scope.state_changed" && !f.blanked) {
      const auto payload = json::parse(f.payload.view());
      const auto set = payload.value("set", json::object());
      for (const auto& [key, value] : set.items())
        ++by_scope_key[key];
    }
  }
  for (const auto& one : wishes_) {
    if (one->command.empty())
      continue;
    const auto& facts = by_command[one->command];
    const auto what = one->command + " (" + one->operation + ")";
    if (facts.size() > 1)
      throw law_broken(1, what + " is in the log " + std::to_string(facts.size()) + " times");
    if (!one->scope_key.empty() && by_scope_key[one->scope_key] > 1)
      throw law_broken(1, what + " set its key " + std::to_string(by_scope_key[one->scope_key])
                            + " times");
    if (one->refused && !one->acknowledged && one->asked == 1 && !facts.empty())
      throw law_broken(1, what + " was refused and is in the log");
    if (one->acknowledged && one->position > 0) {
      if (facts.empty())
        throw law_broken(1, what + " was acknowledged and is not in the log");
      const auto& at = facts.front()->at;
      if (at.version + at.command_facts - 1 != one->version
          || at.position + at.command_facts - 1 != one->position)
        throw law_broken(1, what + " is in the log at another place than its receipt says");
      // All of it or nothing.
      if (!one->scope_key.empty() && by_scope_key[one->scope_key] != 1)
        throw law_broken(1, what + " left its key out");
      auto missing = one->entry_ids;
      bool forgotten = false;
      for (std::uint32_t i = 0; i < at.command_facts; ++i) {
        const auto f = by_position.find(at.position + i);
        forgotten = forgotten || f == by_position.end() || f->second->blanked;
        if (!forgotten && f->second->type == "session.entry_appended")
          missing.erase(json::parse(f->second->payload.view()).at("id").get<std::string>());
      }
      if (!forgotten && !missing.empty())
        throw law_broken(1, what + " left out entry " + *missing.begin());
    } else if (!one->scope_key.empty() && !one->acknowledged
               && by_scope_key[one->scope_key] != static_cast<int>(facts.size())) {
      throw law_broken(1, what + " is in the log in part");
    }
    if (one->expected && !facts.empty() && facts.front()->at.version != *one->expected + 1)
      throw law_broken(2, what + " expected version " + std::to_string(*one->expected)
                            + " and was written as " + std::to_string(facts.front()->at.version));
  }
}

/// Law 2: versions are 1, 2, 3 … in each stream, positions in the log.
void world::check_streams(const std::vector<recorded>& log) {
  auto reader = node_->store->open_reader().value();
  std::map<stream_no_t, version_t> last;
  std::uint64_t skipped = 0;
  position_t before = 0;
  for (const auto& f : log) {
    skipped += f.at.position - before - 1;
    if (f.at.position <= before)
      throw law_broken(2, "positions go back behind " + std::to_string(before));
    before = f.at.position;
    auto [head, fresh] = last.try_emplace(f.at.stream_no, 0);
    if (fresh && f.type == "session.forked")
      head->second = f.at.version - 1;
    if (f.at.version <= head->second)
      throw law_broken(2, to_string(f.at.stream) + " goes back to version "
                            + std::to_string(f.at.version));
    // Only what was merged into ranges may be missing, one version a position.
    const auto hole = f.at.version - head->second - 1;
    if (hole > skipped)
      throw law_broken(2, to_string(f.at.stream) + " has a gap before version "
                            + std::to_string(f.at.version));
    skipped -= hole;
    head->second = f.at.version;
  }
  const auto end = reader->head(0).value();
  if (before > end)
    throw law_broken(2, "facts lie behind the head");
  skipped += end - before;
  for (const auto& [no, version] : last) {
    const auto stream = reader->stream_of(no).value();
    const auto head = reader->find_stream(stream).value().head;
    if (head < version || head - version > skipped)
      throw law_broken(2, to_string(stream) + " is said to end at version " + std::to_string(head)
                            + " and ends at " + std::to_string(version));
    skipped -= head - version;
  }
  if (skipped != 0)
    throw law_broken(2, std::to_string(skipped) + " positions belong to no stream");
}

/// Law 3: rows are what a replay from nothing gives.
void world::check_rows() {
  if (const auto difference = difference_to_replay(*node_->store); !difference.empty())
    throw law_broken(3, difference);
}

/// Law 4, the part about watchers: who goes on behind his last cursor misses nothing.
void world::check_watch(const std::vector<recorded>& log) {
  auto reader = node_->store->open_reader().value();
  if (options_.bug == planted::forgetful_disk)
    return;
  for (const auto& f : log)
    if (!f.blanked && !watched_all_.contains(f.at.position)
        && f.at.version > reader->find_stream(f.at.stream).value().base)
      throw law_broken(4, "a watcher never heard of position " + std::to_string(f.at.position));
}

}  // namespace recalld::tests

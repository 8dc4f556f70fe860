#include "storage/model_store.hpp"

#include "projections/projections.hpp"
#include "storage/base_marks.hpp"
#include "storage/one_shard.hpp"

#include <algorithm>
#include <mutex>
#include <type_traits>

namespace recalld::storage {

// -- model_log --

model_log::stream* model_log::find(const stream_id& id) {
  const auto found = numbers.find(id);
  return found == numbers.end() ? nullptr : &streams[found->second - 1];
}

version_t model_log::borrowed_through(stream_no_t source) const {
  version_t out = 0;
  for (const auto& s : streams)
    if (const auto found = s.borrows.find(source); found != s.borrows.end())
      out = std::max(out, found->second);
  return out;
}

void model_log::note(const recorded& fact) {
  auto& s = streams[fact.at.stream_no - 1];
  s.all.emplace(fact.at.version, fact.at.position);
  if (!fact.blanked) {
    s.lanes[static_cast<std::size_t>(fact.lane)].emplace(fact.at.version, fact.at.position);
    if (!fact.key.empty())
      s.keys.emplace(fact.key, fact.at.version);
  }
  if (fact.at.version >= s.at.head) {
    s.at.head = fact.at.version;
    s.time = fact.at.time;
  }
}

std::shared_ptr<model_disk> make_model_disk() {
  auto out = std::make_shared<model_disk>();
  for (const auto* t : projections::tables())
    out->log.table_versions[std::string(t->name)] = t->version;
  return out;
}

namespace {

using projections::table;

// -- writing --

class model_writer final : public log_writer {
public:
  explicit model_writer(std::shared_ptr<model_disk> disk) : disk_(std::move(disk)) {}

  log_identity identity() const override { return disk_->log.identity; }
  std::vector<shard_t> shards() const override { return {0}; }
  shard_t shard_of(const stream_id&) const override { return 0; }

  result<shard_rights> take(std::span<const shard_t> shards) override {
    const std::unique_lock held(disk_->lock);
    return take_only(shards, [&] { return ++log().epoch; });
  }

  using log_writer::commit;
  result<std::vector<unit_outcome>> commit(const shard_rights& rights,
                                           std::span<const append_unit> units) override {
    const std::unique_lock held(disk_->lock);
    if (auto mine = check(rights); !mine)
      return fail(mine.error());
    if (!current(projections::receipts::spec))
      return fail(errc::unavailable, "the receipts are being rebuilt");
    std::vector<unit_outcome> out;
    for (const auto& unit : units)
      out.push_back(append(unit));
    return out;
  }

  using log_writer::sweep;
  result<sweep_report> sweep(const shard_rights& rights, const receipt_age& receipts,
                             std::size_t budget) override {
    const std::unique_lock held(disk_->lock);
    if (auto mine = check(rights); !mine)
      return fail(mine.error());
    sweep_report out;
    if (begun_)
      return out;
    std::vector<time_us_t> before(log().streams.size(), receipts.before);
    for (const auto& [id, no] : log().numbers)
      before[no - 1] = receipts.before_in(has_brief_receipts(id.kind()));
    for (std::size_t i = 0; i < before.size(); ++i)
      sweep_stream(log().streams[i], before[i], budget, out);
    return out;
  }

  result<void> checkpoint() override { return {}; }

  result<std::vector<const table*>> outdated_tables() override {
    const std::shared_lock held(disk_->lock);
    std::vector<const table*> out;
    for (const auto* t : projections::tables())
      if (!current(*t))
        out.push_back(t);
    return out;
  }

  result<void> begin_shadow(std::span<const table* const> tables) override {
    const std::unique_lock held(disk_->lock);
    log().shadow = {};
    log().shadow_tables.assign(tables.begin(), tables.end());
    begun_ = true;
    return {};
  }

  result<void> apply_to_shadow(std::vector<projections::change> changes) override {
    const std::unique_lock held(disk_->lock);
    if (!begun_)
      return fail(errc::invalid, "no shadow was begun");
    const auto& known = log().shadow_tables;
    for (const auto& c : changes) {
      const auto* t = std::visit([](const auto& one) { return one.table; }, c);
      if (std::find(known.begin(), known.end(), t) != known.end())
        log().shadow.apply(c);
    }
    return {};
  }

  result<void> swap_shadow() override {
    const std::unique_lock held(disk_->lock);
    if (!begun_)
      return fail(errc::invalid, "no shadow was begun");
    for (const auto* t : log().shadow_tables) {
      log().rows.take(*t, log().shadow);
      log().table_versions[std::string(t->name)] = t->version;
    }
    log().shadow_tables.clear();
    begun_ = false;
    return {};
  }

private:
  model_log& log() noexcept { return disk_->log; }

  bool current(const table& t) {
    const auto found = log().table_versions.find(t.name);
    return found != log().table_versions.end() && found->second == t.version;
  }

  result<void> check(const shard_rights& rights) {
    const auto epoch = only_epoch(rights);
    if (!epoch)
      return fail(epoch.error());
    if (*epoch != log().epoch)
      return fail(errc::fenced, "shard 0 is written under epoch " + std::to_string(log().epoch)
                                  + ", not " + std::to_string(*epoch));
    return {};
  }

  /// A stream as a unit would leave it.
  struct planned {
    model_log::stream stream;
    bool fresh = false;
    bool has_base = false;
  };

  /// What a unit would do, if nothing refuses it.
  struct plan {
    std::vector<planned> streams;
    std::vector<projections::change> changes;
    unit_outcome outcome;
  };

  planned& planned_stream(plan& p, const stream_append& in) {
    for (auto& s : p.streams)
      if (s.stream.id == in.stream)
        return s;
    auto& out = p.streams.emplace_back();
    if (const auto* known = log().find(in.stream)) {
      out.stream.id = known->id;
      out.stream.at = known->at;
      out.stream.time = known->time;
      return out;
    }
    out.fresh = true;
    out.stream.id = in.stream;
    if (in.facts.empty())
      return out;
    const auto numbered = std::count_if(p.streams.begin(), p.streams.end(), [](const planned& s) {
      return s.fresh && s.stream.at.stream_no != 0;
    });
    out.stream.at.stream_no = log().streams.size() + static_cast<std::size_t>(numbered) + 1;
    out.stream.at.head = initial_version(in.facts.front());
    return out;
  }

  void plan_part(plan& p, const append_unit& unit, std::size_t part) {
    const auto& in = unit.parts[part];
    auto& target = planned_stream(p, in);
    auto& s = target.stream;
    if (in.expected && *in.expected != s.at.head) {
      p.outcome.refused =
        refusal{refusal::reason::wrong_version, part, target.fresh ? 0 : s.at.head, {}, {}};
      return;
    }
    s.time = target.fresh ? unit.time : std::max(s.time, unit.time);
    committed_part done{s.at.stream_no, s.at.head + 1, s.at.head + in.facts.size(), 0, s.time};
    for (std::size_t i = 0; i < in.facts.size(); ++i) {
      recorded fact;
      fact.at.position = log().head() + p.outcome.facts.size() + 1;
      fact.at.stream_no = s.at.stream_no;
      fact.at.stream = in.stream;
      fact.at.version = ++s.at.head;
      fact.at.time = s.time;
      if (part == 0 && i == 0 && !unit.command.empty()) {
        fact.at.command = unit.command;
        fact.at.body_hash = unit.body_hash;
        fact.at.command_facts = static_cast<std::uint32_t>(in.facts.size());
      }
      auto encoded = in.encoded.size() == in.facts.size()
                       ? in.encoded[i]
                       : codec::encode(in.facts[i], fact.at.version);
      fact.type = encoded.type;
      fact.schema = encoded.schema;
      fact.lane = encoded.lane;
      fact.key = std::move(encoded.key);
      fact.payload = std::move(encoded.payload);
      if (auto mark = base_of(in.facts[i], fact.at.version)) {
        target.has_base = true;
        s.at.base = mark->through;
        s.at.base_fact = mark->carries_state ? fact.at.version : 0;
        s.borrows.clear();
        for (const auto& range : mark->borrows)
          if (const auto* source = log().find(range.stream))
            s.borrows[source->at.stream_no] =
              std::max(s.borrows[source->at.stream_no], range.through);
      }
      if (key_taken(p, target, fact)) {
        p.outcome.refused =
          refusal{refusal::reason::key_taken, part, done.first_version - 1, {}, fact.key};
        return;
      }
      projections::project(fact.at, in.facts[i], p.changes);
      done.position = fact.at.position;
      p.outcome.facts.push_back(std::move(fact));
    }
    p.outcome.parts.push_back(done);
  }

  /// A key is taken by a fact of the unit itself or by one in the log.
  bool key_taken(const plan& p, const planned& target, const recorded& fact) {
    if (fact.key.empty())
      return false;
    for (const auto& earlier : p.outcome.facts)
      if (earlier.at.stream_no == fact.at.stream_no && earlier.key == fact.key)
        return true;
    if (target.fresh)
      return false;
    return log().streams[fact.at.stream_no - 1].keys.contains(fact.key);
  }

  unit_outcome append(const append_unit& unit) {
    plan p;
    for (std::size_t part = 0; part < unit.parts.size() && !p.outcome.refused; ++part)
      plan_part(p, unit, part);
    // A repeated command is told its receipt, whatever else has changed since.
    if (!unit.command.empty() && !p.streams.empty()) {
      const projections::row key = {
        unit.command, static_cast<std::int64_t>(p.streams.front().stream.at.stream_no)};
      if (const auto* receipt = log().rows.find(projections::receipts::spec, key))
        p.outcome.refused = refusal{refusal::reason::duplicate_command,
                                    p.outcome.refused ? p.outcome.refused->part : 0,
                                    0,
                                    *receipt,
                                    {}};
    }
    if (p.outcome.refused)
      return {{}, {}, std::move(p.outcome.refused)};
    apply(p);
    for (const auto& what : forgets_of(unit, p.outcome))
      forget(what);
    return std::move(p.outcome);
  }

  void apply(plan& p) {
    for (auto& s : p.streams) {
      if (s.fresh && s.stream.at.stream_no == 0)
        continue;
      if (s.fresh) {
        log().numbers.emplace(s.stream.id, s.stream.at.stream_no);
        log().streams.push_back(s.stream);
        continue;
      }
      auto& known = log().streams[s.stream.at.stream_no - 1];
      known.at = s.stream.at;
      known.time = s.stream.time;
      if (s.has_base)
        known.borrows = s.stream.borrows;
    }
    for (const auto& fact : p.outcome.facts) {
      log().facts.emplace_back(fact);
      log().note(fact);
    }
    for (auto& c : p.changes)
      if (current(*std::visit([](const auto& one) { return one.table; }, c)))
        log().rows.apply(std::move(c));
  }

  static void blank(model_log::stream& s, recorded& fact) {
    s.lanes[static_cast<std::size_t>(fact.lane)].erase(fact.at.version);
    s.keys.erase(fact.key);
    fact.blanked = true;
    fact.key.clear();
    fact.payload = {};
  }

  void forget(const forgetting& what) {
    auto& s = log().streams[what.stream - 1];
    std::vector<version_t> versions;
    for (auto at = s.keys.lower_bound(what.prefix);
         at != s.keys.end() && at->first.starts_with(what.prefix); ++at)
      if (at->second < what.below)
        versions.push_back(at->second);
    for (const auto version : versions)
      if (auto& fact = *log().facts[s.all.at(version) - 1]; fact.lane != lane::entries)
        blank(s, fact);
  }

  void sweep_stream(model_log::stream& s, time_us_t receipts_before, std::size_t budget,
                    sweep_report& out) {
    const auto borrowed = log().borrowed_through(s.at.stream_no);
    for (auto at = s.all.begin(); at != s.all.end() && at->first <= s.at.base;) {
      auto& place = log().facts[at->second - 1];
      auto& fact = *place;
      const bool may_blank = !fact.blanked && at->first > borrowed;
      const bool may_merge =
        (fact.blanked || may_blank) && (fact.at.command.empty() || fact.at.time < receipts_before);
      if (!may_blank && !may_merge) {
        ++at;
        continue;
      }
      if (out.blanked + out.merged >= budget) {
        out.more = true;
        return;
      }
      if (may_blank) {
        blank(s, fact);
        ++out.blanked;
      }
      if (!may_merge) {
        ++at;
        continue;
      }
      if (!fact.at.command.empty())
        log().rows.apply(
          projections::erase{&projections::receipts::spec,
                             {fact.at.command, static_cast<std::int64_t>(fact.at.stream_no)}});
      place.reset();
      at = s.all.erase(at);
      ++out.merged;
    }
  }

  std::shared_ptr<model_disk> disk_;
  bool begun_ = false;
};

// -- reading --

class model_reader final : public log_reader {
public:
  explicit model_reader(std::shared_ptr<model_disk> disk) : disk_(std::move(disk)) {}

  log_identity identity() const override { return disk_->log.identity; }

  result<stream_position> find_stream(const stream_id& stream) override {
    return look([&](const model_log& log) -> result<stream_position> {
      const auto found = log.numbers.find(stream);
      if (found == log.numbers.end())
        return fail(errc::not_found, "no such stream: " + to_string(stream));
      return log.streams[found->second - 1].at;
    });
  }

  result<stream_id> stream_of(stream_no_t stream_no) override {
    return look([&](const model_log& log) -> result<stream_id> {
      if (stream_no == 0 || stream_no > log.streams.size())
        return fail(errc::not_found, "no stream has the number " + std::to_string(stream_no));
      return log.streams[stream_no - 1].id;
    });
  }

  result<std::vector<recorded>> lane_back(stream_no_t stream, lane l, version_t before,
                                          std::size_t limit) override {
    return look([&](const model_log& log) {
      std::vector<recorded> out;
      if (const auto* s = known(log, stream)) {
        const auto& facts = s->lanes[static_cast<std::size_t>(l)];
        for (auto at = facts.lower_bound(before); at != facts.begin() && out.size() < limit;)
          out.push_back(*log.facts[(--at)->second - 1]);
      }
      return result<std::vector<recorded>>(std::move(out));
    });
  }

  result<std::vector<recorded>> lane_forth(stream_no_t stream, lane l, version_t after,
                                           std::size_t limit) override {
    return look([&](const model_log& log) {
      const auto* s = known(log, stream);
      return forth(log, s ? &s->lanes[static_cast<std::size_t>(l)] : nullptr, after, limit);
    });
  }

  result<std::vector<recorded>> stream_forth(stream_no_t stream, version_t after,
                                             std::size_t limit) override {
    return look([&](const model_log& log) {
      const auto* s = known(log, stream);
      return forth(log, s ? &s->all : nullptr, after, limit);
    });
  }

  result<std::optional<recorded>> by_key(stream_no_t stream, std::string_view key) override {
    return look([&](const model_log& log) {
      std::optional<recorded> out;
      if (const auto* s = known(log, stream))
        if (const auto found = s->keys.find(key); found != s->keys.end())
          out = log.facts[s->all.at(found->second) - 1];
      return result<std::optional<recorded>>(std::move(out));
    });
  }

  result<std::vector<recorded>> by_key_prefix(stream_no_t stream, std::string_view prefix,
                                              std::string_view after, std::size_t limit) override {
    return look([&](const model_log& log) {
      std::vector<recorded> out;
      if (const auto* s = known(log, stream)) {
        for (auto at = s->keys.upper_bound(std::max(prefix, after));
             at != s->keys.end() && at->first.starts_with(prefix) && out.size() < limit; ++at)
          if (const auto& f = *log.facts[s->all.at(at->second) - 1]; f.lane != lane::entries)
            out.push_back(f);
      }
      return result<std::vector<recorded>>(std::move(out));
    });
  }

  result<version_t> first_since(stream_no_t stream, lane l, time_us_t t) override {
    return look([&](const model_log& log) -> result<version_t> {
      if (const auto* s = known(log, stream))
        for (const auto& [version, position] : s->lanes[static_cast<std::size_t>(l)])
          if (log.facts[position - 1]->at.time >= t)
            return version;
      return version_t{0};
    });
  }

  result<position_t> head(shard_t shard) override {
    return look([&](const model_log& log) -> result<position_t> {
      if (shard != 0)
        return fail(errc::not_found, "no such shard: " + std::to_string(shard));
      return log.head();
    });
  }

  result<log_page> scan(shard_t shard, position_t after, std::size_t limit) override {
    return look([&](const model_log& log) -> result<log_page> {
      if (shard != 0)
        return fail(errc::not_found, "no such shard: " + std::to_string(shard));
      log_page out;
      out.through = after;
      while (out.through < log.head() && out.facts.size() < limit) {
        const auto& fact = log.facts[out.through++];
        if (fact)
          out.facts.push_back(*fact);
        else if (!out.blanks.empty() && out.blanks.back().last + 1 == out.through)
          out.blanks.back().last = out.through;
        else
          out.blanks.push_back({out.through, out.through});
      }
      return out;
    });
  }

  result<std::vector<stream_position>> based_streams(shard_t shard, stream_no_t after,
                                                     std::size_t limit) override {
    return look([&](const model_log& log) -> result<std::vector<stream_position>> {
      if (shard != 0)
        return fail(errc::not_found, "no such shard: " + std::to_string(shard));
      std::vector<stream_position> out;
      for (auto no = after; no < log.streams.size() && out.size() < limit; ++no)
        if (log.streams[no].at.base > 0)
          out.push_back(log.streams[no].at);
      return out;
    });
  }

  result<std::vector<projections::row>> rows(const projections::row_query& query) override {
    return look([&](const model_log& log) -> result<std::vector<projections::row>> {
      const auto& t = *query.table;
      const auto version = log.table_versions.find(t.name);
      if (version == log.table_versions.end() || version->second != t.version)
        return fail(errc::unavailable, "the table " + std::string(t.name) + " is being rebuilt");
      const auto columns =
        t.key_columns
        + (query.index < 0 ? 0
                           : t.indexes.at(static_cast<std::size_t>(query.index)).columns.size());
      if (query.equals.size() > columns)
        return fail(errc::invalid, "more fixed columns than the index has");
      if (query.after && query.after->size() != columns - query.equals.size())
        return fail(errc::invalid, "the cursor does not fit the index");
      return log.rows.rows(query);
    });
  }

  result<void> begin_snapshot() override {
    if (frozen_)
      return fail(errc::invalid, "the view is frozen already");
    const std::shared_lock held(disk_->lock);
    frozen_ = std::make_unique<const model_log>(disk_->log);
    return {};
  }

  result<void> end_snapshot() override {
    if (!frozen_)
      return fail(errc::invalid, "the view is not frozen");
    frozen_.reset();
    return {};
  }

private:
  template <class F>
  auto look(F&& f) -> std::invoke_result_t<F, const model_log&> {
    if (frozen_)
      return f(*frozen_);
    const std::shared_lock held(disk_->lock);
    return f(static_cast<const model_log&>(disk_->log));
  }

  static const model_log::stream* known(const model_log& log, stream_no_t stream) {
    return stream == 0 || stream > log.streams.size() ? nullptr : &log.streams[stream - 1];
  }

  static result<std::vector<recorded>> forth(const model_log& log,
                                             const std::map<version_t, position_t>* facts,
                                             version_t after, std::size_t limit) {
    std::vector<recorded> out;
    if (facts != nullptr)
      for (auto at = facts->upper_bound(after); at != facts->end() && out.size() < limit; ++at)
        out.push_back(*log.facts[at->second - 1]);
    return out;
  }

  std::shared_ptr<model_disk> disk_;
  std::unique_ptr<const model_log> frozen_;
};

class model_store final : public store {
public:
  explicit model_store(std::shared_ptr<model_disk> disk) : disk_(std::move(disk)), writer_(disk_) {}

  log_writer& writer() override { return writer_; }
  result<std::unique_ptr<log_reader>> open_reader() override {
    return std::make_unique<model_reader>(disk_);
  }

private:
  std::shared_ptr<model_disk> disk_;
  model_writer writer_;
};

}  // namespace

std::unique_ptr<store> open_model(std::shared_ptr<model_disk> disk) {
  return std::make_unique<model_store>(std::move(disk));
}

}  // namespace recalld::storage

#include "storage/copy_state.hpp"
#include "storage/log_copy.hpp"
#include "storage/log_row.hpp"
#include "storage/postgres_log.hpp"
#include "storage/postgres_schema.hpp"

#include <map>
#include <unordered_map>

namespace recalld::storage {

namespace postgres {

namespace {

class target final : public copy_target {
public:
  explicit target(postgres_options options)
    : options_([&] {
        options.unfinished = true;
        return std::move(options);
      }()),
      db_(options_, connection::mode::write) {
    check_durability(db_, options_);
    create_or_migrate(db_, options_);
    shards_.resize(read_log_facts(db_, options_).shards);
  }

  result<std::vector<position_t>> begin(const log_identity& source, std::size_t shards) override {
    return guarded([&]() -> result<std::vector<position_t>> {
      const auto noted = db_.query("SELECT value FROM meta WHERE name = 'copying'");
      if (noted.rows() != 0) {
        const auto known = copy_state::parse(noted.view_at(0, 0));
        if (!known)
          return fail(errc::corrupt, "the unfinished copy does not say what it is of");
        if (auto fine = known->fits(source, shards); !fine)
          return fail(fine.error());
        state_ = *known;
      } else {
        if (db_.number("SELECT count(*) FROM (SELECT FROM streams LIMIT 1) AS s") != 0)
          return fail(errc::conflict,
                      "there is a log in the schema " + options_.schema + " already");
        state_ = {source.log_id, std::vector<position_t>(shards, 0)};
        transaction change(db_);
        db_.exec("UPDATE meta SET value = " + sql_text(source.log_id) + " WHERE name = 'log_id'");
        note();
        change.commit();
      }
      const auto rows = db_.query("SELECT head, streams FROM shards ORDER BY shard");
      for (std::size_t i = 0; i < rows.rows(); ++i)
        shards_[i] = {rows.uint_at(i, 0), rows.uint_at(i, 1)};
      return state_.through;
    });
  }

  result<void> add(shard_t shard, position_t through, std::vector<recorded> facts) override {
    return guarded([&]() -> result<void> {
      transaction change(db_);
      std::map<stream_no_t, const stream_id*> named;
      for (const auto& f : facts)
        named.emplace(f.at.stream_no, &f.at.stream);
      know(named);
      fact_rows rows;
      for (auto& f : facts) {
        f.at.stream_no = numbers_.at(f.at.stream_no);
        const auto there = static_cast<shard_t>(f.at.stream_no % shards_.size());
        f.at.position = ++shards_[there].head;
        rows.add(f, there, f.blanked);
      }
      if (!rows.empty())
        db_.query(insert_facts(), rows.take());
      write_shards();
      state_.through[shard] = through;
      note();
      change.commit();
      return {};
    });
  }

  result<void> settle(std::vector<copied_stream> streams) override {
    return guarded([&]() -> result<void> {
      transaction change(db_);
      std::map<stream_no_t, const stream_id*> named;
      for (const auto& s : streams)
        named.emplace(s.at.stream_no, &s.stream);
      know(named);
      write_shards();
      array no(type::int8), base(type::int8), fact(type::int8), head(type::int8);
      array borrower(type::int8), source(type::bytea), until(type::int8);
      for (const auto& s : streams) {
        const auto here = numbers_.at(s.at.stream_no);
        no.integer(here);
        base.integer(s.at.base);
        fact.integer(s.at.base_fact);
        head.integer(s.at.head);
        for (const auto& b : s.borrows) {
          borrower.integer(here);
          source.bytes(b.stream.bytes());
          until.integer(b.through);
        }
      }
      parameters debtors;
      debtors.column(no);
      parameters bases;
      bases.column(std::move(no))
        .column(std::move(base))
        .column(std::move(fact))
        .column(std::move(head));
      db_.query("UPDATE streams SET base = u.base, base_fact = u.fact, merged = CASE WHEN (SELECT "
                "max(version) FROM log WHERE log.stream = u.no) >= u.head THEN 0 ELSE u.head END "
                "FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[]) AS u(no, base, fact, "
                "head) WHERE streams.no = u.no",
                std::move(bases));
      db_.query("INSERT INTO sweep_debt(stream, shard, due) SELECT no, shard, 0 FROM streams WHERE "
                "no = ANY($1) ON CONFLICT (stream) DO UPDATE SET due = 0",
                std::move(debtors));
      parameters borrows;
      borrows.column(std::move(borrower)).column(std::move(source)).column(std::move(until));
      db_.query(
        "INSERT INTO borrows(stream, source, through) SELECT u.stream, s.no, max(u.through) "
        "FROM unnest($1::int8[], $2::bytea[], $3::int8[]) AS u(stream, source, through) JOIN "
        "streams AS s ON s.id = u.source GROUP BY 1, 2 ON CONFLICT (stream, source) DO "
        "UPDATE SET through = excluded.through",
        std::move(borrows));
      change.commit();
      return {};
    });
  }

  result<std::unique_ptr<store>> open_unfinished() override { return open_postgres(options_); }

  result<log_identity> finish(std::uint64_t after) override {
    return guarded([&]() -> result<log_identity> {
      transaction change(db_);
      db_.exec("UPDATE meta SET value = " + sql_text(std::to_string(next_generation(after)))
               + " WHERE name = 'generation'");
      db_.exec("DELETE FROM meta WHERE name = 'copying'");
      change.commit();
      return read_log_facts(db_, options_).identity;
    });
  }

private:
  struct standing {
    position_t head = 0;
    std::uint64_t streams = 0;
  };

  void note() {
    db_.exec("INSERT INTO meta VALUES('copying', " + sql_text(state_.text())
             + ") ON CONFLICT (name) DO UPDATE SET value = excluded.value");
  }

  void write_shards() {
    array shard(type::int4), head(type::int8), streams(type::int8);
    for (std::size_t s = 0; s < shards_.size(); ++s) {
      shard.integer(s);
      head.integer(shards_[s].head);
      streams.integer(shards_[s].streams);
    }
    parameters p;
    p.column(std::move(shard)).column(std::move(head)).column(std::move(streams));
    db_.query("UPDATE shards SET head = u.head, streams = u.streams FROM unnest($1::int4[], "
              "$2::int8[], $3::int8[]) AS u(shard, head, streams) WHERE shards.shard = u.shard",
              std::move(p));
  }

  /// Makes sure that streams of the source have numbers here.
  void know(const std::map<stream_no_t, const stream_id*>& named) {
    array ids(type::bytea);
    for (const auto& [there, id] : named)
      if (!numbers_.contains(there))
        ids.bytes(id->bytes());
    if (ids.empty())
      return;
    parameters p;
    p.column(std::move(ids));
    const auto found = db_.query("SELECT no, id FROM streams WHERE id = ANY($1)", std::move(p));
    std::map<std::string, stream_no_t, std::less<>> known;
    for (std::size_t i = 0; i < found.rows(); ++i)
      known.emplace(found.view_at(i, 1), found.uint_at(i, 0));
    array shard(type::int4), no(type::int8), sum(type::int4), id_column(type::bytea);
    for (const auto& [there, id] : named) {
      auto& here = numbers_[there];
      if (here != 0)
        continue;
      if (const auto old = known.find(id->bytes()); old != known.end()) {
        here = old->second;
        continue;
      }
      const auto s = shard_of(*id, shards_.size());
      here = ++shards_[s].streams * shards_.size() + s;
      shard.integer(s);
      no.integer(here);
      sum.integer(static_cast<std::int32_t>(stream_sum(here, id->bytes())));
      id_column.bytes(id->bytes());
    }
    parameters fresh;
    fresh.column(std::move(shard))
      .column(std::move(no))
      .column(std::move(sum))
      .column(std::move(id_column));
    db_.query(
      "INSERT INTO streams(shard, no, sum, id) SELECT * FROM unnest($1::int4[], $2::int8[], "
      "$3::int4[], $4::bytea[])",
      std::move(fresh));
  }

  postgres_options options_;
  connection db_;
  std::vector<standing> shards_;
  copy_state state_;
  std::unordered_map<stream_no_t, stream_no_t> numbers_;
};

}  // namespace

}  // namespace postgres

result<std::unique_ptr<copy_target>> copy_into_postgres(const postgres_options& options) {
  return postgres::guarded([&]() -> result<std::unique_ptr<copy_target>> {
    return std::make_unique<postgres::target>(options);
  });
}

}  // namespace recalld::storage

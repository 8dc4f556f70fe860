#include "storage/sqlite_log.hpp"

namespace recalld::storage::sqlite {

std::string_view read_fact(const statement& s, const stream_id& stream, recorded& out) {
  const int stored_lane = static_cast<int>(s.int_at(3));
  out.at.position = s.uint_at(0);
  out.at.stream_no = s.uint_at(1);
  out.at.stream = stream;
  out.at.version = s.uint_at(2);
  out.lane = lane_of(stored_lane);
  out.type = s.view_at(4);
  out.schema = static_cast<std::uint16_t>(s.int_at(5));
  out.at.time = s.int_at(6);
  out.key = s.view_at(7);
  out.at.command = s.view_at(8);
  out.at.body_hash = s.uint_at(9);
  out.at.command_facts = static_cast<std::uint32_t>(s.int_at(10));
  out.blanked = stored_lane < 0;
  const auto payload = s.view_at(12);
  const auto sum = row_sum({out.at.position, out.at.stream_no, out.at.version, stored_lane,
                            out.type, out.schema, out.at.time, out.key, out.at.command,
                            out.at.body_hash, out.at.command_facts, payload});
  if (sum != static_cast<std::uint32_t>(s.int_at(11)))
    refuse(errc::corrupt,
           "the fact at position " + std::to_string(out.at.position) + " is not what was written");
  return payload;
}

stream_id checked_id(stream_no_t no, std::string_view bytes, std::int64_t sum) {
  auto id = stream_id::from_bytes(std::string(bytes));
  if (!id || stream_sum(no, bytes) != static_cast<std::uint32_t>(sum))
    refuse(errc::corrupt, "the id of stream " + std::to_string(no) + " is not what was written");
  return std::move(*id);
}

stream_finder::stream_finder(const connection& db)
  : by_id_(db.prepare("SELECT no, base, base_fact, merged, merged_time FROM streams WHERE id = ?")),
    by_no_(db.prepare("SELECT id, sum FROM streams WHERE no = ?")),
    last_(db.prepare("SELECT version, time FROM log WHERE stream = ? AND lane = ? "
                     "ORDER BY version DESC LIMIT 1")) {}

std::optional<stream_row> stream_finder::find(const stream_id& id) {
  by_id_.blob(1, id.bytes());
  if (!by_id_.step())
    return {};
  stream_row out;
  out.at = {by_id_.uint_at(0), 0, by_id_.uint_at(1), by_id_.uint_at(2)};
  const version_t merged = by_id_.uint_at(3);
  const time_us_t merged_time = by_id_.int_at(4);
  by_id_.reset();
  auto consider = [&](version_t version, time_us_t time) {
    if (version > out.at.head) {
      out.at.head = version;
      out.time = time;
    }
  };
  auto consider_lane = [&](int stored_lane) {
    last_.integer(1, out.at.stream_no).integer(2, stored_lane);
    const reset_on_exit done(last_);
    if (last_.step())
      consider(last_.uint_at(0), last_.int_at(1));
  };
  for (int l = 0; l < lane_count; ++l)
    consider_lane(l);
  // Blanked and merged facts lie at or below the base, so they matter only if nothing lies above.
  if (out.at.head <= out.at.base) {
    for (int l = 0; l < lane_count; ++l)
      consider_lane(blanked_lane(static_cast<lane>(l)));
    consider(merged, merged_time);
  }
  return out;
}

std::optional<stream_id> stream_finder::id_of(stream_no_t no) {
  by_no_.integer(1, no);
  const reset_on_exit done(by_no_);
  if (!by_no_.step())
    return {};
  return checked_id(no, by_no_.view_at(0), by_no_.int_at(1));
}

std::string insert_fact_sql() {
  return std::string("INSERT INTO log(") + log_columns + ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)";
}

void bind_fact(statement& insert, const recorded& fact) {
  const auto& at = fact.at;
  insert.integer(1, at.position)
    .integer(2, at.stream_no)
    .integer(3, at.version)
    .integer(4, stored_lane(fact))
    .text(5, fact.type)
    .integer(6, static_cast<int>(fact.schema))
    .integer(7, at.time);
  if (fact.key.empty() || fact.blanked)
    insert.null(8);
  else
    insert.blob(8, fact.key);
  if (at.command.empty())
    insert.null(9).null(10).null(11);
  else
    insert.text(9, at.command).integer(10, at.body_hash).integer(11, at.command_facts);
  insert.integer(12, row_sum(fact));
  if (fact.blanked)
    insert.null(13);
  else
    insert.text(13, fact.payload.view());
}

}  // namespace recalld::storage::sqlite

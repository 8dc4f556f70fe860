#include "storage/postgres_log.hpp"

namespace recalld::storage::postgres {

std::string_view read_fact(const answer& a, std::size_t row, const stream_id& stream,
                           recorded& out) {
  const int stored_lane = static_cast<int>(a.int_at(row, 3));
  out.at.position = a.uint_at(row, 0);
  out.at.stream_no = a.uint_at(row, 1);
  out.at.stream = stream;
  out.at.version = a.uint_at(row, 2);
  out.lane = lane_of(stored_lane);
  out.type = a.view_at(row, 4);
  out.schema = static_cast<std::uint16_t>(a.int_at(row, 5));
  out.at.time = a.int_at(row, 6);
  out.key = a.view_at(row, 7);
  out.at.command = a.view_at(row, 8);
  out.at.body_hash = a.uint_at(row, 9);
  out.at.command_facts = static_cast<std::uint32_t>(a.int_at(row, 10));
  out.blanked = stored_lane < 0;
  const auto payload = a.view_at(row, 12);
  const auto sum = row_sum({out.at.position, out.at.stream_no, out.at.version, stored_lane,
                            out.type, out.schema, out.at.time, out.key, out.at.command,
                            out.at.body_hash, out.at.command_facts, payload});
  if (sum != static_cast<std::uint32_t>(a.int_at(row, 11)))
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

std::string stream_rows_sql(const std::string& from) {
  // The newest fact of a stream is the newest of its lanes, whole or blanked: six looks into one
  // index. Merged facts lie at or below the base.
  return "SELECT s.no, s.id, s.sum, s.base, s.base_fact, s.merged, s.merged_time, l.version, "
         "l.time FROM "
         + from
         + " LEFT JOIN LATERAL (SELECT one.version, one.time FROM "
           "(VALUES (0::int2), (1), (2), (-1), (-2), (-3)) AS lanes(lane) CROSS JOIN LATERAL "
           "(SELECT version, time FROM log WHERE log.stream = s.no AND log.lane = lanes.lane "
           "ORDER BY version DESC LIMIT 1) AS one ORDER BY one.version DESC LIMIT 1) AS l ON true";
}

std::pair<stream_id, stream_row> read_stream_row(const answer& a, std::size_t row) {
  stream_row out;
  out.at = {a.uint_at(row, 0), a.uint_at(row, 7), a.uint_at(row, 3), a.uint_at(row, 4)};
  out.time = a.int_at(row, 8);
  if (a.uint_at(row, 5) > out.at.head) {
    out.at.head = a.uint_at(row, 5);
    out.time = a.int_at(row, 6);
  }
  return {checked_id(out.at.stream_no, a.view_at(row, 1), a.int_at(row, 2)), out};
}

}  // namespace recalld::storage::postgres

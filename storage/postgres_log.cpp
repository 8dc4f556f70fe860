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

namespace {

enum column : std::size_t {
  c_shard, c_position, c_stream, c_version, c_lane, c_type, c_schema, c_time, c_key, c_command,
  c_body_hash, c_command_facts, c_sum, c_payload
};
constexpr type column_types[] = {type::int4, type::int8, type::int8, type::int8, type::int2,
                                 type::text, type::int2, type::int8, type::bytea, type::text,
                                 type::int8, type::int4, type::int4, type::text};

}  // namespace

const statement& insert_facts() {
  static const statement one(
    "INSERT INTO log(shard, position, stream, version, lane, type, schema, time, key, command, "
    "body_hash, command_facts, sum, payload) SELECT unnest($1::int4[]), unnest($2::int8[]), "
    "unnest($3::int8[]), unnest($4::int8[]), unnest($5::int2[]), unnest($6::text[]), "
    "unnest($7::int2[]), unnest($8::int8[]), unnest($9::bytea[]), unnest($10::text[]), "
    "unnest($11::int8[]), unnest($12::int4[]), unnest($13::int4[]), unnest($14::text[])");
  return one;
}

fact_rows::fact_rows() {
  for (const auto t : column_types)
    columns_.emplace_back(t);
}

void fact_rows::add(const recorded& fact, shard_t shard, bool blanked) {
  const auto& at = fact.at;
  columns_[c_shard].integer(shard);
  columns_[c_position].integer(at.position);
  columns_[c_stream].integer(at.stream_no);
  columns_[c_version].integer(at.version);
  columns_[c_lane].integer(blanked ? blanked_lane(fact.lane) : static_cast<int>(fact.lane));
  columns_[c_type].bytes(fact.type);
  columns_[c_schema].integer(fact.schema);
  columns_[c_time].integer(at.time);
  if (fact.key.empty() || blanked)
    columns_[c_key].null();
  else
    columns_[c_key].bytes(fact.key);
  if (at.command.empty()) {
    for (const auto c : {c_command, c_body_hash, c_command_facts})
      columns_[c].null();
  } else {
    columns_[c_command].bytes(at.command);
    columns_[c_body_hash].integer(at.body_hash);
    columns_[c_command_facts].integer(at.command_facts);
  }
  columns_[c_sum].integer(static_cast<std::int32_t>(blanked ? blanked_sum(fact) : row_sum(fact)));
  if (blanked)
    columns_[c_payload].null();
  else
    columns_[c_payload].bytes(fact.payload.view());
}

parameters fact_rows::take() {
  parameters out;
  for (auto& c : columns_)
    out.column(std::move(c));
  return out;
}

}  // namespace recalld::storage::postgres

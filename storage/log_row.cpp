#include "storage/log_row.hpp"

#include "events/checksum.hpp"
#include "events/codec.hpp"

#include <chrono>
#include <random>

namespace recalld::storage {

std::uint32_t row_sum(const summed& row) noexcept {
  const std::uint64_t numbers[] = {
    row.position,
    row.stream,
    row.version,
    static_cast<std::uint64_t>(static_cast<std::int64_t>(row.stored_lane)),
    row.schema | (std::uint64_t{row.command_facts} << 32),
    static_cast<std::uint64_t>(row.time),
    row.body_hash,
    row.key.size() | (static_cast<std::uint64_t>(row.command.size()) << 32)};
  auto sum = checksum({reinterpret_cast<const char*>(numbers), sizeof numbers}, 0);
  sum = checksum(row.type, sum);
  sum = checksum(row.key, sum);
  sum = checksum(row.command, sum);
  return static_cast<std::uint32_t>(checksum(row.payload, sum));
}

int stored_lane(const recorded& fact) noexcept {
  return fact.blanked ? blanked_lane(fact.lane) : static_cast<int>(fact.lane);
}

std::uint32_t row_sum(const recorded& fact) noexcept {
  const auto& at = fact.at;
  if (fact.blanked)
    return blanked_sum(fact);
  return row_sum({at.position, at.stream_no, at.version, static_cast<int>(fact.lane), fact.type,
                  fact.schema, at.time, fact.key, at.command, at.body_hash, at.command_facts,
                  fact.payload.view()});
}

std::uint32_t blanked_sum(const recorded& fact) noexcept {
  return row_sum({fact.at.position,
                  fact.at.stream_no,
                  fact.at.version,
                  blanked_lane(fact.lane),
                  fact.type,
                  fact.schema,
                  fact.at.time,
                  {},
                  fact.at.command,
                  fact.at.body_hash,
                  fact.at.command_facts,
                  {}});
}

std::uint32_t stream_sum(stream_no_t no, std::string_view id) noexcept {
  return static_cast<std::uint32_t>(checksum(id, no));
}

std::string behind_prefix(std::string_view prefix) {
  std::string out(prefix);
  while (!out.empty() && static_cast<unsigned char>(out.back()) == 0xff)
    out.pop_back();
  if (!out.empty())
    out.back() = static_cast<char>(static_cast<unsigned char>(out.back()) + 1);
  return out;
}

std::string fresh_log_id() {
  std::random_device chance;
  auto word = [&] { return (static_cast<std::uint64_t>(chance()) << 32) | chance(); };
  const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
    std::chrono::system_clock::now().time_since_epoch());
  return uuid_v7(now.count(), entropy{word(), word()});
}

std::string fresh_key() {
  std::random_device chance;
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  while (out.size() < 64)
    for (auto bits = chance(), i = 0u; i < 8; ++i, bits >>= 4)
      out += digits[bits & 15];
  return out;
}

recorded fact_of(const append_unit& unit, std::size_t part, std::size_t i, version_t version) {
  const auto& in = unit.parts[part];
  recorded out;
  out.at.stream = in.stream;
  out.at.version = version;
  if (part == 0 && i == 0 && !unit.command.empty()) {
    out.at.command = unit.command;
    out.at.body_hash = unit.body_hash;
    out.at.command_facts = static_cast<std::uint32_t>(in.facts.size());
  }
  const auto take = [&](auto&& e) {
    out.type = e.type;
    out.schema = e.schema;
    out.lane = e.lane;
    out.key = std::forward<decltype(e)>(e).key;
    out.payload = std::forward<decltype(e)>(e).payload;
  };
  if (in.encoded.size() == in.facts.size())
    take(in.encoded[i]);
  else
    take(codec::encode(in.facts[i], version));
  return out;
}

shard_t shard_of(const stream_id& stream, std::size_t shards) noexcept {
  return static_cast<shard_t>(checksum(stream.bytes(), 0) % shards);
}

}  // namespace recalld::storage

#pragma once

#include "storage/postgres_log.hpp"
#include "storage/postgres_rows.hpp"
#include "storage/postgres_schema.hpp"

#include <functional>
#include <unordered_map>

/// Inside `storage/` only.
namespace recalld::storage::postgres {

/// Read access to a log over a connection of its own, which is made anew when it breaks. What one
/// call gives comes from one view of the log, in one round trip wherever possible.
class reader final : public log_reader {
public:
  /// Throws `failure`.
  explicit reader(const postgres_options& options);

  log_identity identity() const override { return facts_.identity; }
  std::uint32_t shards() const noexcept { return facts_.shards; }
  result<stream_position> find_stream(const stream_id& stream) override;
  result<stream_id> stream_of(stream_no_t stream_no) override;
  result<std::vector<recorded>> lane_back(stream_no_t stream, lane l, version_t before,
                                          std::size_t limit) override;
  result<std::vector<recorded>> lane_forth(stream_no_t stream, lane l, version_t after,
                                           std::size_t limit) override;
  result<std::vector<recorded>> stream_forth(stream_no_t stream, version_t after,
                                             std::size_t limit) override;
  result<std::optional<recorded>> by_key(stream_no_t stream, std::string_view key) override;
  result<std::vector<recorded>> by_key_prefix(stream_no_t stream, std::string_view prefix,
                                              std::string_view after, std::size_t limit) override;
  result<version_t> first_since(stream_no_t stream, lane l, time_us_t t) override;
  result<position_t> head(shard_t shard) override;
  result<std::vector<position_t>> heads() override;
  result<log_page> scan(shard_t shard, position_t after, std::size_t limit) override;
  result<std::vector<stream_position>> based_streams(shard_t shard, stream_no_t after,
                                                     std::size_t limit) override;
  result<std::vector<projections::row>> rows(const row_query& query) override;
  result<void> begin_snapshot() override;
  result<void> end_snapshot() override;

private:
  /// Runs a call; once more over a new connection when the old one turns out to be dead.
  template <class F>
  auto reading(F&& body) -> decltype(body());
  /// Runs all in one view of the log.
  std::vector<answer> look(std::vector<request> requests);
  answer look(const statement& s, parameters values);
  void learn_names(const answer& facts, int column);
  const stream_id& name_of(stream_no_t no);
  std::vector<recorded> facts(const statement& s, parameters values);
  void reconnect();
  void warm();

  postgres_options options_;
  connection db_;
  log_facts facts_;
  std::unordered_map<stream_no_t, stream_id> names_;
  bool frozen_ = false;
  const statement begin_, end_, find_, names_of_, lane_back_, lane_forth_, forth_, by_key_, prefix_,
    since_, head_, heads_, scan_, blanks_, based_, table_version_;
};

}  // namespace recalld::storage::postgres

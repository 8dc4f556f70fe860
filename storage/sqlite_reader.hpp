#pragma once

#include "storage/sqlite_log.hpp"
#include "storage/sqlite_rows.hpp"
#include "storage/sqlite_store.hpp"

#include <unordered_map>

/// Inside `storage/` only.
namespace recalld::storage::sqlite {

/// Read access to a log over a connection of its own.
class reader final : public log_reader {
public:
  /// Throws `failure`.
  static std::unique_ptr<reader> open(const std::filesystem::path& file,
                                      const sqlite_options& options);

  reader(connection db, bool unfinished);

  log_identity identity() const override { return identity_; }
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
  result<log_page> scan(shard_t shard, position_t after, std::size_t limit) override;
  result<std::vector<stream_position>> based_streams(shard_t shard, stream_no_t after,
                                                     std::size_t limit) override;
  result<std::vector<projections::row>> rows(const row_query& query) override;
  result<void> begin_snapshot() override;
  result<void> end_snapshot() override;

private:
  class view;
  const stream_id& name_of(stream_no_t no);
  std::vector<recorded> facts(statement& s, stream_no_t stream);

  connection db_;
  log_identity identity_;
  stream_finder streams_;
  row_finder rows_;
  std::unordered_map<stream_no_t, stream_id> names_;
  bool frozen_ = false;
  statement begin_, end_, lane_back_, lane_forth_, entry_by_key_, other_by_key_, prefix_, since_,
    ends_, head_, scan_, blank_at_, based_, table_version_;
};

}  // namespace recalld::storage::sqlite

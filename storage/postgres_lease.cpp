#include "storage/postgres_lease.hpp"

namespace recalld::storage::postgres {

lease::lease(const postgres_options& options, std::string incarnation, std::string node)
  : db_(options, connection::mode::write),
    incarnation_(std::move(incarnation)),
    node_(std::move(node)),
    hold_("UPDATE lease SET holder = $1, node = $2, "
          "until = clock_timestamp() + $3 * interval '1 millisecond' "
          "WHERE holder = $1 OR until < clock_timestamp()"),
    look_("SELECT node, greatest(0, extract(epoch FROM until - clock_timestamp()) * 1000)::int8 "
          "FROM lease"),
    release_("UPDATE lease SET until = '-infinity' WHERE holder = $1") {}

template <class F>
auto lease::asking(F&& body) -> decltype(body()) {
  return guarded([&]() -> decltype(body()) {
    if (!db_.alive())
      db_.reconnect();
    return body();
  });
}

result<log_lease::standing> lease::hold(std::chrono::milliseconds length) {
  return asking([&]() -> result<standing> {
    parameters p;
    p.text(incarnation_).text(node_).integer(length.count());
    if (db_.query(hold_, std::move(p)).touched() != 0)
      return standing{true, node_, length};
    const auto row = db_.query(look_);
    if (row.rows() == 0)
      refuse(errc::corrupt, "the log has lost the row of its lease");
    return standing{false, std::string(row.view_at(0, 0)),
                    std::chrono::milliseconds(row.int_at(0, 1))};
  });
}

result<void> lease::release() {
  return asking([&]() -> result<void> {
    parameters p;
    p.text(incarnation_);
    db_.query(release_, std::move(p));
    return {};
  });
}

}  // namespace recalld::storage::postgres

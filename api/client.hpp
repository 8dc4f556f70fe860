#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <caf/fwd.hpp>

#include "actors/gateway_protocol.hpp"
#include "events/ids.hpp"
#include "events/result.hpp"

/// The one header to open when using Recalld from C++. A client looks the same over a node that is
/// embedded in this process and over one that runs elsewhere:
///
///   recalld::client memory(system, node->gateway());
///   auto memory = recalld::client::connect(system, "10.0.0.7", 4242);
///
///   memory.append({"shop", "ada", "s1"}, R"({"role":"user","content":"hello"})");
///
/// Writes are repeated by themselves when their outcome is not known (a timeout, a lost
/// connection, `unavailable`, `overloaded`), always under the same command id, so they happen once.
namespace recalld {

/// How one call is made.
struct call_options {
  /// When it has not succeeded by then, the call fails: a read as `unavailable`, a write whose
  /// outcome nobody knows as `outcome_unknown` (repeat it with the same command id). What the
  /// request itself asks the server to wait (`wait_ms`) comes on top.
  std::chrono::milliseconds timeout{10'000};
  /// Names a write, so that whoever repeats it gets the first answer. Empty: the client makes one,
  /// which covers its own repetitions.
  std::string command_id = {};
  /// The stream must be at this version; another one is a `conflict`.
  std::optional<version_t> expected_version = {};
  std::string tenant = {};  ///< Empty: `default`.
};

/// Where a session lives.
struct session_address {
  std::string app;
  std::string user;
  std::string session;
};

/// What every write answers.
struct written {
  version_t version = 0;
  position_t position = 0;  ///< 0 = nothing had to be recorded.
  time_us_t recorded_at = 0;
  bool duplicate = false;  ///< The command was executed before; this is its first answer.
};

struct created_session : written {
  std::string session;
  bool created = false;  ///< False: it existed and was left untouched.
};

struct appended_entry {
  std::string id;
  version_t version = 0;   ///< 0 = not stored (partial), or forgotten since.
  bool duplicate = false;  ///< An entry with this id was there before.
};
struct appended_entries : written {
  std::vector<appended_entry> entries;
  std::string state;  ///< JSON: the keys of this request as it sees them, `temp:` included.
};

struct read_entry {
  version_t version = 0;
  position_t position = 0;
  time_us_t recorded_at = 0;
  std::string entry;  ///< JSON, as it was appended.
};
struct read_session {
  version_t version = 0;
  std::string status;
  time_us_t created_at = 0;
  time_us_t updated_at = 0;
  std::string metadata;  ///< JSON object.
  std::string state;     ///< JSON object; application and user keys carry their prefix.
  std::vector<read_entry> entries;
  std::string next_cursor;      ///< To newer entries; empty = none.
  std::string previous_cursor;  ///< To older entries; empty = none.
};

struct listed_session {
  session_address address;
  version_t version = 0;
  std::string status;
  time_us_t created_at = 0;
  time_us_t updated_at = 0;
  std::uint64_t entries_total = 0;
  std::string metadata;  ///< JSON object.
};
struct session_page {
  std::vector<listed_session> sessions;
  std::string next_cursor;  ///< Empty: this was the last page.
};

/// What to watch. Parts narrow the one before them: `user` needs `app`, `session` needs `user`.
struct watch_request {
  std::string app = {};
  std::string user = {};
  std::string session = {};
  std::string kind = {};      ///< `session` or `scope`; empty: both.
  std::string after = {};     ///< A cursor of an earlier batch; empty: from now on.
  bool from_start = false;    ///< Begin with the first fact of the log.
  std::string tenant = {};    ///< Empty: `default`.
  std::uint32_t credit = 64;  ///< Batches that may be on their way unseen.
};
struct watch_batch {
  std::string cursor;  ///< Where to go on after this batch.
  std::string facts;   ///< JSON array of `{position, stream, version, type, recorded_at, payload}`.
};

/// A watch that goes on until this object is gone. Every fact comes at least once and in order,
/// also over lost connections and restarted nodes; the place after the last batch whose callback
/// returned is where it goes on.
class watch {
public:
  watch(watch&&) noexcept;
  watch& operator=(watch&&) noexcept;
  /// Waits for a running callback and ends the watch. Not from within the callback.
  ~watch();

  /// The cursor behind the last batch that was handed over.
  std::string cursor() const;

private:
  friend class client;
  struct running;
  explicit watch(std::unique_ptr<running> r);
  std::unique_ptr<running> running_;
};

/// Thread-safe. Blocking calls wait for their answer and must not be made from within an actor;
/// actors and everybody else with many calls in flight use `call_async`.
class client {
public:
  using answer = result<std::string>;
  using callback = std::function<void(answer)>;

  /// Over a node in this process. The client must go before the node does.
  client(caf::actor_system& system, actors::gateway_handle gateway);

  /// Over a node elsewhere; `tls` needs an actor system that was configured with certificates (see
  /// `api/tls.hpp`). `unavailable` when there is no node within `patience`. Once connected, a lost
  /// connection is made again in the background for as long as the client lives.
  static result<client> connect(caf::actor_system& system, std::string host, std::uint16_t port,
                                bool tls = true,
                                std::chrono::milliseconds patience = std::chrono::seconds(5));

  client(client&&) noexcept;
  client& operator=(client&&) noexcept;
  /// Calls in flight fail as `unavailable`; no callback runs any more when this returns.
  ~client();

  /// Runs any operation of the catalogue with a JSON object as its request.
  answer call(std::string_view operation, std::string request, call_options options = {});
  /// As `call`. `then` runs exactly once, on a thread of the actor system: keep it short, never
  /// block in it. Calls in flight together are not ordered among each other.
  void call_async(std::string_view operation, std::string request, call_options options,
                  callback then);

  // -- the usual operations, typed; JSON goes in and out as text --

  /// An empty `session` makes a fresh id.
  result<created_session> create(const session_address& where, std::string_view state = "{}",
                                 bool return_existing = false, call_options options = {});
  /// `window`: a JSON object with the options of `session.get`, e.g. `{"last":20}`.
  result<read_session> get(const session_address& where, std::string_view window = "{}",
                           call_options options = {});
  /// `entries`: one JSON object, or an array of them.
  result<appended_entries> append(const session_address& where, std::string_view entries,
                                  std::string_view state = "{}", call_options options = {});
  result<written> update_state(const session_address& where, std::string_view state,
                               call_options options = {});
  /// All sessions of an application, or of one user when that is not empty.
  result<session_page> list(std::string_view app, std::string_view user = {},
                            std::size_t limit = 100, std::string_view cursor = {},
                            call_options options = {});
  result<written> close(const session_address& where, call_options options = {});
  result<written> remove(const session_address& where, call_options options = {});
  /// `at` = 0: everything there is. An empty `new_session` makes a fresh id.
  result<created_session> fork(const session_address& where, version_t at = 0,
                               std::string_view new_session = {}, call_options options = {});

  /// Hands over facts as they are committed, `each` being called on a thread of the actor system,
  /// one batch after the other; a slow callback slows down its own watch only. `ended` is told
  /// when the watch cannot go on, e.g. because its cursor belongs to another log.
  result<recalld::watch> watch(watch_request what, std::function<void(const watch_batch&)> each,
                               std::function<void(const error&)> ended = {});

private:
  struct lanes;
  explicit client(std::unique_ptr<lanes> l);
  std::unique_ptr<lanes> lanes_;
};

}  // namespace recalld

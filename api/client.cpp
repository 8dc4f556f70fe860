#include "api/client.hpp"

#include <future>
#include <utility>

#include <caf/all.hpp>
#include <openssl/rand.h>

#include "api/catalogue.hpp"
#include "api/courier.hpp"
#include "api/watcher.hpp"
#include "events/json.hpp"

namespace recalld {

namespace {

/// Actors that carry a client's calls. CAF looks through a list of open requests for each answer,
/// so one actor is slow with thousands of them; a few share them.
constexpr std::size_t lane_count = 16;
constexpr std::size_t calls_before_next_lane = 64;

std::string fresh_command_id() {
  entropy random{};
  RAND_bytes(reinterpret_cast<unsigned char*>(random.data()), sizeof(random));
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return uuid_v7(std::chrono::duration_cast<std::chrono::microseconds>(now).count(), random);
}

/// The request with the members of its options put in front.
std::string compose(std::string request, const call_options& options, bool writes) {
  const auto open = request.find_first_not_of(" \t\r\n");
  // What is no object goes as it is: the gateway says what is wrong with it.
  if (open == std::string::npos || request[open] != '{')
    return request;
  const auto first = request.find_first_not_of(" \t\r\n", open + 1);
  const bool empty = first != std::string::npos && request[first] == '}';
  json::object_writer more;
  bool any = false;
  const auto add = [&](bool wanted, auto write) {
    if (wanted) {
      write();
      any = true;
    }
  };
  add(!options.tenant.empty(), [&] { more.str("tenant", options.tenant); });
  add(options.expected_version.has_value(),
      [&] { more.num("expected_version", *options.expected_version); });
  const bool named = !options.command_id.empty();
  // A command id that is in the request already counts.
  const auto has_id = [&] {
    if (request.find("\"command_id\"") == std::string::npos)
      return false;
    if (!json::validate(request, ""))
      return true;
    const auto members = json::members(request, "");
    return !members || std::any_of(members->begin(), members->end(), [](const json::member& m) {
      return m.name == "command_id";
    });
  };
  add(named || (writes && !has_id()),
      [&] { more.str("command_id", named ? options.command_id : fresh_command_id()); });
  if (!any)
    return request;
  auto head = std::move(more).done();
  head.pop_back();
  if (!empty)
    head.push_back(',');
  return head.append(request, open + 1, std::string::npos);
}

/// An answer's members; what is missing reads as nothing.
class answer_reader {
public:
  explicit answer_reader(std::string_view object) {
    if (auto members = json::members(object, "answer"))
      members_ = std::move(*members);
  }
  std::string_view raw(std::string_view name) const {
    for (const auto& m : members_)
      if (m.name == name)
        return m.raw;
    return {};
  }
  std::string json(std::string_view name) const { return std::string(raw(name)); }
  std::string string(std::string_view name) const {
    const auto value = raw(name);
    return value.empty() ? std::string() : json::as_string(value, name).value_or("");
  }
  std::uint64_t number(std::string_view name) const {
    const auto value = raw(name);
    return value.empty() ? 0
                         : static_cast<std::uint64_t>(json::as_integer(value, name).value_or(0));
  }
  bool flag(std::string_view name) const { return raw(name) == "true"; }
  time_us_t time(std::string_view name) const {
    const auto value = string(name);
    return value.empty() ? 0 : parse_time(value, name).value_or(0);
  }
  std::vector<std::string_view> elements(std::string_view name) const {
    const auto value = raw(name);
    return value.empty() ? std::vector<std::string_view>{}
                         : json::elements(value, name).value_or(std::vector<std::string_view>{});
  }

private:
  std::vector<json::member> members_;
};

void read_written(const answer_reader& in, written& out) {
  out.version = in.number("version");
  out.position = in.number("position");
  out.recorded_at = in.time("recorded_at");
  out.duplicate = in.flag("duplicate");
}

written written_of(const std::string& answer) {
  written out;
  read_written(answer_reader(answer), out);
  return out;
}

created_session created_of(const std::string& answer) {
  const answer_reader in(answer);
  created_session out;
  read_written(in, out);
  out.session = in.string("session");
  out.created = in.raw("created").empty() || in.flag("created");
  return out;
}

appended_entries appended_of(const std::string& answer) {
  const answer_reader in(answer);
  appended_entries out;
  read_written(in, out);
  out.state = in.json("state");
  for (auto raw : in.elements("entries")) {
    const answer_reader one(raw);
    out.entries.push_back({one.string("id"), one.number("version"), one.flag("duplicate")});
  }
  return out;
}

read_session session_of(const std::string& answer) {
  const answer_reader in(answer);
  read_session out;
  out.version = in.number("version");
  out.status = in.string("status");
  out.created_at = in.time("created_at");
  out.updated_at = in.time("updated_at");
  out.metadata = in.json("metadata");
  out.state = in.json("state");
  out.next_cursor = in.string("next_cursor");
  out.previous_cursor = in.string("previous_cursor");
  for (auto raw : in.elements("entries")) {
    const answer_reader one(raw);
    out.entries.push_back(
      {one.number("version"), one.number("position"), one.time("recorded_at"), one.json("entry")});
  }
  return out;
}

session_page page_of(const std::string& answer) {
  const answer_reader in(answer);
  session_page out;
  out.next_cursor = in.string("next_cursor");
  for (auto raw : in.elements("sessions")) {
    const answer_reader one(raw);
    out.sessions.push_back({{one.string("app"), one.string("user"), one.string("session")},
                            one.number("version"),
                            one.string("status"),
                            one.time("created_at"),
                            one.time("updated_at"),
                            one.number("entries_total"),
                            one.json("metadata")});
  }
  return out;
}

json::object_writer address(const session_address& where) {
  json::object_writer out;
  out.str("app", where.app).str("user", where.user).str("session", where.session);
  return out;
}

/// Splices the members of `object` behind those of `out`; checked by the gateway as a whole.
result<std::string> with_members(json::object_writer out, std::string_view object,
                                 std::string_view field) {
  if (auto good = json::validate(object, field); !good)
    return fail(good.error());
  const auto members = json::members(object, field);
  if (!members)
    return fail(members.error());
  for (const auto& m : *members)
    out.raw(m.name, m.raw);
  return std::move(out).done();
}

/// JSON that is spliced into a request has to be JSON by itself.
result<void> check_part(std::string_view part, std::string_view field) {
  return json::validate(part, field);
}

template <class Read>
auto read_with(result<std::string> answer, Read read) -> result<decltype(read(*answer))> {
  if (!answer)
    return fail(std::move(answer.error()));
  return read(*answer);
}

/// Ends actors and waits until they are gone.
void end_actors(caf::actor_system& system, const std::vector<caf::actor>& actors) {
  caf::scoped_actor self{system};
  for (const auto& each : actors)
    self->send_exit(each, caf::exit_reason::user_shutdown);
  for (const auto& each : actors)
    self->wait_for(each);
}

}  // namespace

// -- watch --

struct watch::running {
  caf::actor_system& system;
  std::shared_ptr<api::watch_state> shared;
  caf::actor actor;

  ~running() { end_actors(system, {actor}); }
};

watch::watch(std::unique_ptr<running> r) : running_(std::move(r)) {}
watch::watch(watch&&) noexcept = default;
watch& watch::operator=(watch&&) noexcept = default;
watch::~watch() = default;

std::string watch::cursor() const {
  std::lock_guard guard{running_->shared->lock};
  return running_->shared->cursor;
}

// -- client --

struct client::lanes {
  caf::actor_system& system;
  actors::gateway_handle gateway;       ///< Of this process, or null.
  std::optional<api::endpoint> remote;  ///< Of another process.
  std::vector<caf::actor> couriers{};
  std::shared_ptr<std::atomic<std::size_t>> in_flight =
    std::make_shared<std::atomic<std::size_t>>(0);

  lanes(caf::actor_system& s, actors::gateway_handle g, std::optional<api::endpoint> r)
    : system(s), gateway(std::move(g)), remote(std::move(r)) {
    for (std::size_t i = 0; i < lane_count; ++i)
      couriers.push_back(remote ? system.spawn<api::courier>(*remote, api::patience{})
                                : system.spawn<api::courier>(gateway, api::patience{}));
  }
  ~lanes() { end_actors(system, couriers); }

  const caf::actor& next() const {
    const auto busy = in_flight->load(std::memory_order_relaxed);
    return couriers[busy / calls_before_next_lane % couriers.size()];
  }
};

client::client(std::unique_ptr<lanes> l) : lanes_(std::move(l)) {}
client::client(caf::actor_system& system, actors::gateway_handle gateway)
  : lanes_(std::make_unique<lanes>(system, std::move(gateway), std::nullopt)) {}
client::client(client&&) noexcept = default;
client& client::operator=(client&&) noexcept = default;
client::~client() = default;

result<client> client::connect(caf::actor_system& system, std::string host, std::uint16_t port,
                               bool tls, std::chrono::milliseconds patience) {
  if (tls ? !system.has_openssl_manager() : !system.has_middleman())
    return fail(errc::invalid, "the actor system was started without its network module");
  client fresh(std::make_unique<lanes>(system, actors::gateway_handle{},
                                       api::endpoint{std::move(host), port, tls}));
  call_options options;
  options.timeout = patience;
  if (auto alive = fresh.call("node.health", "{}", options); !alive)
    return fail(std::move(alive.error()));
  return fresh;
}

void client::call_async(std::string_view operation, std::string request, call_options options,
                        callback then) {
  const auto* known = api::find_operation(operation);
  // An operation that only a newer node knows might write.
  const bool writes = known == nullptr || known->needs != actors::right::read;
  request = compose(std::move(request), options, writes);
  const auto& lane = lanes_->next();
  auto call = std::make_shared<api::outgoing>(std::string(operation), std::move(request), writes,
                                              options.timeout, std::move(then), lanes_->in_flight);
  caf::anon_send(lane, api::post{std::move(call)});
}

client::answer client::call(std::string_view operation, std::string request, call_options options) {
  std::promise<answer> promise;
  auto answered = promise.get_future();
  call_async(operation, std::move(request), std::move(options),
             [&](answer a) { promise.set_value(std::move(a)); });
  return answered.get();
}

result<created_session> client::create(const session_address& where, std::string_view state,
                                       bool return_existing, call_options options) {
  if (auto good = check_part(state, "state"); !good)
    return fail(good.error());
  auto out = address(where);
  out.raw("state", state).str("if_exists", return_existing ? "return" : "error");
  return read_with(call("session.create", std::move(out).done(), std::move(options)), created_of);
}

result<read_session> client::get(const session_address& where, std::string_view window,
                                 call_options options) {
  auto request = with_members(address(where), window, "window");
  if (!request)
    return fail(std::move(request.error()));
  return read_with(call("session.get", std::move(*request), std::move(options)), session_of);
}

result<appended_entries> client::append(const session_address& where, std::string_view entries,
                                        std::string_view state, call_options options) {
  if (auto good = check_part(entries, "entries"); !good)
    return fail(good.error());
  if (auto good = check_part(state, "state"); !good)
    return fail(good.error());
  auto out = address(where);
  const bool many = entries[entries.find_first_not_of(" \t\r\n")] == '[';
  out.raw(many ? "entries" : "entry", entries);
  out.raw("state", state);
  return read_with(call("session.append", std::move(out).done(), std::move(options)), appended_of);
}

result<written> client::update_state(const session_address& where, std::string_view state,
                                     call_options options) {
  if (auto good = check_part(state, "state"); !good)
    return fail(good.error());
  auto out = address(where);
  out.raw("state", state);
  return read_with(call("session.update_state", std::move(out).done(), std::move(options)),
                   written_of);
}

result<session_page> client::list(std::string_view app, std::string_view user, std::size_t limit,
                                  std::string_view cursor, call_options options) {
  json::object_writer out;
  out.str("app", app).num("limit", std::uint64_t{limit});
  if (!user.empty())
    out.str("user", user);
  if (!cursor.empty())
    out.str("cursor", cursor);
  return read_with(call("session.list", std::move(out).done(), std::move(options)), page_of);
}

result<written> client::close(const session_address& where, call_options options) {
  return read_with(call("session.close", address(where).done(), std::move(options)), written_of);
}

result<written> client::remove(const session_address& where, call_options options) {
  return read_with(call("session.delete", address(where).done(), std::move(options)), written_of);
}

result<created_session> client::fork(const session_address& where, version_t at,
                                     std::string_view new_session, call_options options) {
  auto out = address(where);
  if (at != 0)
    out.num("at", at);
  if (!new_session.empty())
    out.str("new_session", new_session);
  return read_with(call("session.fork", std::move(out).done(), std::move(options)), created_of);
}

result<recalld::watch> client::watch(watch_request what,
                                     std::function<void(const watch_batch&)> each,
                                     std::function<void(const error&)> ended) {
  std::promise<result<void>> promise;
  auto begun = promise.get_future();
  auto shared = std::make_shared<api::watch_state>();
  shared->cursor = what.after;
  shared->what = std::move(what);
  shared->each = std::move(each);
  shared->ended = std::move(ended);
  shared->begun = [&](result<void> r) { promise.set_value(std::move(r)); };
  auto actor = lanes_->remote ? lanes_->system.spawn<api::watcher>(*lanes_->remote, shared)
                              : lanes_->system.spawn<api::watcher>(lanes_->gateway, shared);
  std::unique_ptr<watch::running> running{
    new watch::running{lanes_->system, std::move(shared), std::move(actor)}};
  if (begun.wait_for(std::chrono::seconds(10)) != std::future_status::ready) {
    running.reset();  // Ends the actor, which tells `begun` if nobody did.
    begun.wait();
    return fail(errc::unavailable, "the watch did not begin within 10 s");
  }
  if (auto r = begun.get(); !r)
    return fail(std::move(r.error()));
  return recalld::watch(std::move(running));
}

}  // namespace recalld

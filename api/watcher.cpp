#include "api/watcher.hpp"

#include <algorithm>

#include <caf/all.hpp>

#include "actors/gateway.hpp"
#include "events/json.hpp"

namespace recalld::api {

using namespace std::chrono_literals;

namespace {

constexpr auto answer_patience = 5s;
constexpr auto pause = 500ms;

std::string request_of(const watch_request& what, const std::string& after) {
  json::object_writer out;
  const auto give = [&](std::string_view name, const std::string& value) {
    if (!value.empty())
      out.str(name, value);
  };
  give("tenant", what.tenant);
  give("kind", what.kind);
  give("app", what.app);
  give("user", what.user);
  give("session", what.session);
  give("after", after);
  if (after.empty() && what.from_start)
    out.boolean("from_start", true);
  out.num("credit", std::uint64_t{what.credit});
  return std::move(out).done();
}

/// A member of an object of the gateway's; empty when there is none.
std::string member(const std::string& object, std::string_view name, bool raw = false) {
  if (!json::validate(object, ""))
    return {};
  const auto members = json::members(object, "");
  if (!members)
    return {};
  for (const auto& m : *members)
    if (m.name == name)
      return raw ? std::string(m.raw) : json::as_string(m.raw, name).value_or("");
  return {};
}

}  // namespace

watcher::watcher(caf::actor_config& config, actors::gateway_handle gateway,
                 std::shared_ptr<watch_state> s)
  : caf::event_based_actor(config), line_(this, std::move(gateway)), shared_(std::move(s)) {}

watcher::watcher(caf::actor_config& config, endpoint to, std::shared_ptr<watch_state> s)
  : caf::event_based_actor(config), line_(this, std::move(to)), shared_(std::move(s)) {}

caf::behavior watcher::make_behavior() {
  line_.open([this] { subscribe(); },
             [this] {
               id_.clear();
               asking_ = false;
               early_.clear();
               multiplexed_responses_.clear();
               if (line_.final())
                 end({errc::unavailable, "the node of this watch has ended"});
             },
             [](const error&) {});
  return {
    [this](const std::string& id, std::string& batch) { receive(id, std::move(batch)); },
    [this](caf::tick_atom) { subscribe(); },
    [this](caf::connect_atom) { line_.connect(); },
  };
}

void watcher::on_exit() {
  if (line_.is_up() && !id_.empty())
    send(line_.gateway(), id_, std::uint32_t{0});
  line_.close();
  if (shared_->begun)
    std::exchange(shared_->begun, nullptr)(fail(errc::unavailable, "the watch was ended"));
}

void watcher::subscribe() {
  if (!line_.is_up() || asking_ || !id_.empty())
    return;
  asking_ = true;
  used_ = 0;
  request(line_.gateway(), answer_patience, actors::protocol_version,
          request_of(shared_->what, cursor()), caf::actor_cast<caf::actor>(this))
    .then([this](std::uint16_t status, const std::string& answer) { subscribed(status, answer); },
          [this](const caf::error&) {
            asking_ = false;
            delayed_send(this, jittered(pause), caf::tick_atom::value);
          });
}

void watcher::subscribed(std::uint16_t status, const std::string& answer) {
  asking_ = false;
  if (status != 0) {
    const auto why = actors::parse_error(status, answer);
    if (!may_succeed_later(why.code) || shared_->begun)
      end(why);
    else
      delayed_send(this,
                   jittered(std::max<std::chrono::milliseconds>(
                     pause, std::chrono::milliseconds(why.retry_after_ms))),
                   caf::tick_atom::value);
    return;
  }
  id_ = member(answer, "watch");
  if (std::lock_guard guard{shared_->lock}; shared_->cursor.empty())
    shared_->cursor = member(answer, "cursor");
  if (shared_->begun)
    std::exchange(shared_->begun, nullptr)({});
  // A batch may overtake the answer that tells its watch's name.
  for (auto& [id, batch] : std::exchange(early_, {}))
    receive(id, std::move(batch));
}

void watcher::receive(const std::string& id, std::string batch) {
  if (id_.empty()) {
    early_.emplace_back(id, std::move(batch));
    return;
  }
  if (id != id_) {
    // Of a watch that was given up because its answer was late.
    if (line_.is_up())
      send(line_.gateway(), id, std::uint32_t{0});
    return;
  }
  if (const auto why = member(batch, "error", true); !why.empty()) {
    // The gateway let go of the watch: begin again behind the last batch.
    id_.clear();
    delayed_send(this, jittered(pause), caf::tick_atom::value);
    return;
  }
  hand_over(batch);
  const auto half = std::max<std::uint32_t>(1, shared_->what.credit / 2);
  if (++used_ >= half && line_.is_up()) {
    send(line_.gateway(), id_, used_);
    used_ = 0;
  }
}

void watcher::hand_over(const std::string& batch) {
  watch_batch one{member(batch, "cursor"), member(batch, "facts", true)};
  shared_->each(one);
  std::lock_guard guard{shared_->lock};
  shared_->cursor = std::move(one.cursor);
}

void watcher::end(const error& why) {
  if (shared_->begun)
    std::exchange(shared_->begun, nullptr)(fail(why));
  else if (shared_->ended)
    shared_->ended(why);
  quit();
}

std::string watcher::cursor() const {
  std::lock_guard guard{shared_->lock};
  return shared_->cursor;
}

}  // namespace recalld::api

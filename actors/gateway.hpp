#pragma once

#include "actors/gateway_protocol.hpp"
#include "actors/operation.hpp"
#include "actors/protocol.hpp"
#include "events/window.hpp"
#include "projections/table.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

/// One request on its way through the node. Handlers of operations are written over this: they
/// start steps, each of which calls back at most once, on the gateway's own turn, and finally
/// `answer` or `fail`. A step that fails answers the call with that error by itself, unless the
/// handler asked for the `result`.
namespace recalld::actors {

/// A command that nobody changes any more; copies share it.
class shared_command {
public:
  // Implicit on purpose: this is what a command becomes on its way.
  shared_command(any_command command)
    : held_(std::make_shared<const any_command>(std::move(command))) {}
  shared_command(std::shared_ptr<const any_command> held) : held_(std::move(held)) {}
  const std::shared_ptr<const any_command>& held() const noexcept { return held_; }

private:
  std::shared_ptr<const any_command> held_;
};

class call : public std::enable_shared_from_this<call> {
public:
  virtual ~call() = default;

  // -- the request --

  virtual const operation& what() const = 0;
  virtual const std::string& tenant() const = 0;
  /// The caller's command id; empty when there was none.
  virtual const std::string& command_id() const = 0;
  /// The raw JSON of a request member; absent when it was not given. Types were checked already.
  virtual std::optional<std::string_view> raw(std::string_view name) const = 0;
  /// The request's own text, which all raw slices point into.
  virtual const text& request() const = 0;
  virtual time_us_t now() const = 0;  ///< When the request came, or its last wait ended.
  virtual entropy random() = 0;

  /// Values of members whose types were checked: absent -> nothing.
  std::optional<std::string> str(std::string_view name) const;
  std::optional<std::int64_t> integer(std::string_view name) const;
  std::optional<bool> boolean(std::string_view name) const;

  // -- steps --

  /// Sends a command to a stream under this call's command id and expected version.
  virtual void submit(stream_id stream, shared_command command, retention policy,
                      std::function<void(result<committed>)> then) = 0;
  /// As above, under a command id of its own and without an expected version: a step before the
  /// operation's real one.
  virtual void submit_as(stream_id stream, std::string command_id, shared_command command,
                         retention policy, std::function<void(result<committed>)> then) = 0;
  /// The stream's present state, with up to `newest` of its newest entries in `tail`.
  virtual void view(stream_id stream, std::size_t newest,
                    std::function<void(result<stream_view>)> then) = 0;
  /// The stream's state as of a version (history before its base is `not_found`).
  virtual void view_at(stream_id stream, version_t version,
                       std::function<void(result<stream_view>)> then) = 0;
  /// Cuts a window out of a session that was viewed.
  virtual void cut(session::window window, stream_view view,
                   std::function<void(result<session::page>)> then) = 0;
  /// Facts of a viewed stream by key prefix, in key order, behind `after` (empty: from the start).
  virtual void by_key(stream_view view, std::string prefix, std::string after, std::size_t limit,
                      std::function<void(result<std::vector<shared_fact>>)> then) = 0;
  /// Rows of a projection table.
  virtual void rows(projections::row_query query,
                    std::function<void(result<std::vector<projections::row>>)> then) = 0;
  /// The memories of an owner that answer a question, best first.
  virtual void search(search_memories wish, std::function<void(result<found_memories>)> then) = 0;
  /// The entries of a session that answer a question, best first.
  virtual void search(search_entries wish, std::function<void(result<found_entries>)> then) = 0;
  /// A vector of a question, for `search_memories`. `unavailable` when there is no model to ask, and
  /// what `embed_texts` says when it gives none.
  virtual void embed(std::string question, std::function<void(result<std::string>)> then) = 0;
  /// Whether there is a model to ask.
  virtual bool embeds() const = 0;
  /// Goes on with true when the next fact of the topic was committed, or with false at `until`; see
  /// `wait_for`. Meanwhile the call counts as no request in progress. To miss nothing: wait first,
  /// then look.
  virtual void wait(std::string topic, time_us_t until, std::function<void(bool)> then) = 0;
  /// The time zones there are.
  virtual const zone_rules* zones() const = 0;
  /// What must not be readable at rest, and back; see `key_ring.hpp`. `unavailable` without keys.
  virtual result<std::string> seal(std::string_view plain) const = 0;
  virtual result<std::string> unseal(std::string_view sealed) const = 0;
  /// The name of the key that seals, as it stands in what it sealed; empty without keys.
  virtual std::string sealing_key() const = 0;
  /// Seals with a fresh key from now on; what older keys sealed still opens.
  virtual result<void> rotate_keys() = 0;
  /// The retention rules of an application, if the node knows them without asking.
  virtual std::optional<retention> known_retention(const std::string& app) const = 0;
  /// The retention rules of an application.
  virtual void retention_of(std::string app, std::function<void(retention)> then) = 0;
  /// Writes the rows of tables again from the log while commits go on.
  virtual void rebuild(std::vector<const projections::table*> tables,
                       std::function<void(result<rebuilt>)> then) = 0;
  /// Figures about the node as a JSON object.
  virtual void figures(std::function<void(std::string)> then) = 0;

  // -- the end --

  virtual void answer(std::string json) = 0;
  virtual void fail(error e) = 0;

  /// Wraps a continuation: an error answers the call, a value goes on.
  template <class T, class F>
  std::function<void(result<T>)> on(F go) {
    return [self = shared_from_this(), go = std::move(go)](result<T> r) mutable {
      if (r)
        go(std::move(*r));
      else
        self->fail(std::move(r.error()));
    };
  }
};

/// `{"error":{…}}` as the gateway answers it.
std::string render(const error& e);
/// Reads what `render` wrote.
error parse_error(std::uint16_t status, std::string_view answer);

}  // namespace recalld::actors

#include "actors/gateway_actor.hpp"

#include "actors/delivery.hpp"
#include "actors/entry_sources.hpp"
#include "actors/feed.hpp"
#include "events/checksum.hpp"
#include "events/near_word.hpp"

#include <caf/all.hpp>

#include <algorithm>
#include <array>

namespace recalld::actors {

namespace {

constexpr std::uint32_t retry_soon_ms = 50;
// How long an application's retention rules may be out of date when another node changed them.
constexpr time_us_t retention_fresh_us = 5'000'000;

std::string_view type_name(field_type t) {
  switch (t) {
    case field_type::string: return "a string";
    case field_type::integer: return "a whole number";
    case field_type::boolean: return "true or false";
    case field_type::object: return "an object";
    case field_type::array: return "an array";
    case field_type::any: break;
  }
  return "any JSON value";
}

result<void> check_type(const field& f, std::string_view raw) {
  using json::kind;
  const auto k = json::kind_of(raw);
  const auto wrong = [&] {
    return fail_field(std::string(f.name), "must be " + std::string(type_name(f.type)));
  };
  switch (f.type) {
    case field_type::string:
      if (k != kind::string)
        return wrong();
      break;
    case field_type::integer:
      if (k != kind::number)
        return wrong();
      if (auto n = json::as_integer(raw, f.name); !n)
        return fail(n.error());
      break;
    case field_type::boolean:
      if (k != kind::boolean)
        return wrong();
      break;
    case field_type::object:
      if (k != kind::object)
        return wrong();
      break;
    case field_type::array:
      if (k != kind::array)
        return wrong();
      break;
    case field_type::any: break;
  }
  return {};
}

/// Checks the members of a request against what the operation takes.
result<void> check_members(const operation& op, const std::vector<json::member>& members) {
  const auto known = [&](std::string_view name) -> const field* {
    for (const auto& f : op.request)
      if (f.name == name)
        return &f;
    for (const auto& f : common_fields())
      if (f.name == name)
        return &f;
    return nullptr;
  };
  for (const auto& m : members) {
    const auto* f = known(m.name);
    if (f == nullptr) {
      std::vector<std::string_view> names;
      for (const auto& each : op.request)
        names.push_back(each.name);
      for (const auto& each : common_fields())
        names.push_back(each.name);
      const std::string hint(nearest(m.name, names));
      return fail_field(m.name, std::string(op.name) + " has no such field"
                                  + (hint.empty() ? "" : "; did you mean \"" + hint + "\"?"));
    }
    // null is the same as leaving an optional field out.
    if (!f->required && f->type != field_type::any && json::kind_of(m.raw) == json::kind::null)
      continue;
    if (auto ok = check_type(*f, m.raw); !ok)
      return ok;
  }
  for (const auto& f : op.request)
    if (f.required
        && std::none_of(members.begin(), members.end(), [&](auto& m) { return m.name == f.name; }))
      return fail_field(std::string(f.name),
                        "is missing; it must be " + std::string(type_name(f.type)));
  return {};
}

/// The same for the same wish, however its members are ordered and spaced; without `command_id`.
std::uint64_t hash_of(std::string_view operation, const std::vector<json::member>& members) {
  auto sum = checksum(operation, 0);
  for (const auto& m : members)
    if (m.name != "command_id")
      sum += checksum(m.raw, checksum(m.name, 0));
  return sum;
}

}  // namespace

std::span<const field> common_fields() {
  static constexpr std::array<field, 3> fields{{
    {"tenant", field_type::string, false, "Isolation unit; `default` when absent."},
    {"command_id", field_type::string, false,
     "Makes a repeated write return the first receipt. At most 512 bytes; kept at least 7 days."},
    {"expected_version", field_type::integer, false,
     "The version the caller has seen; another one is a `conflict` that tells the present one."},
  }};
  return fields;
}

std::string render(const error& e) {
  json::object_writer w;
  w.str("code", to_string(e.code)).str("message", e.message);
  if (!e.field.empty())
    w.str("field", e.field);
  if (e.code == errc::conflict)
    w.num("current_version", static_cast<std::uint64_t>(e.current_version));
  if (e.retry_after_ms > 0)
    w.num("retry_after_ms", static_cast<std::uint64_t>(e.retry_after_ms));
  if (!e.detail.empty())
    w.raw("detail", e.detail);
  json::object_writer outer;
  outer.raw("error", std::move(w).done());
  return std::move(outer).done();
}

error parse_error(std::uint16_t status, std::string_view answer) {
  error e;
  e.code = status >= 1 && status <= static_cast<std::uint16_t>(errc_last)
             ? static_cast<errc>(status)
             : errc::corrupt;
  e.message = std::string(answer);
  if (!json::validate(answer, "answer"))
    return e;
  auto outer = json::members(answer, "answer");
  if (!outer || outer->size() != 1 || outer->front().name != "error")
    return e;
  auto inner = json::members(outer->front().raw, "error");
  if (!inner)
    return e;
  for (const auto& m : *inner) {
    if (m.name == "message")
      e.message = json::as_string(m.raw, m.name).value_or(e.message);
    else if (m.name == "field")
      e.field = json::as_string(m.raw, m.name).value_or("");
    else if (m.name == "current_version")
      e.current_version = static_cast<std::uint64_t>(json::as_integer(m.raw, m.name).value_or(0));
    else if (m.name == "retry_after_ms")
      e.retry_after_ms = static_cast<std::uint32_t>(json::as_integer(m.raw, m.name).value_or(0));
    else if (m.name == "detail")
      e.detail = std::string(m.raw);
  }
  return e;
}

// -- call --

std::optional<std::string> call::str(std::string_view name) const {
  const auto r = raw(name);
  if (!r)
    return std::nullopt;
  auto s = json::as_string(*r, name);
  return s ? std::optional<std::string>(std::move(*s)) : std::nullopt;
}

std::optional<std::int64_t> call::integer(std::string_view name) const {
  const auto r = raw(name);
  if (!r)
    return std::nullopt;
  const auto n = json::as_integer(*r, name);
  return n ? std::optional<std::int64_t>(*n) : std::nullopt;
}

std::optional<bool> call::boolean(std::string_view name) const {
  const auto r = raw(name);
  if (!r)
    return std::nullopt;
  const auto b = json::as_bool(*r, name);
  return b ? std::optional<bool>(*b) : std::nullopt;
}

/// A call of this gateway. It gives its credits back when the last continuation is gone.
class live_call final : public call {
public:
  live_call(gateway_state& gateway, const operation& op, text request,
            std::vector<json::member> members, gateway_state::promise_type promise)
    : gateway_(gateway),
      op_(op),
      request_(std::move(request)),
      members_(std::move(members)),
      promise_(std::move(promise)),
      now_(gateway.around_->clock()) {
    gateway_.around_->requests.fetch_add(1);
    gateway_.bytes_ += request_.size();
  }
  live_call(const live_call&) = delete;
  live_call& operator=(const live_call&) = delete;

  ~live_call() override {
    gateway_.around_->requests.fetch_sub(1);
    gateway_.bytes_ -= request_.size();
    if (answered_)
      return;
    // What was on its way when the node ended may have been written.
    if (gateway_.around_->ending)
      deliver(error{op_.needs == right::read ? errc::unavailable : errc::outcome_unknown,
                    "the node is ending"});
    else
      deliver(error{errc::corrupt, "the operation " + std::string(op_.name) + " gave no answer"});
  }

  result<void> read_common() {
    if (auto t = str("tenant"))
      tenant_ = std::move(*t);
    if (auto ok = check_id(tenant_, "tenant"); !ok)
      return ok;
    if (auto c = str("command_id")) {
      if (auto ok = check_id(*c, "command_id"); !ok)
        return ok;
      command_id_ = std::move(*c);
    }
    if (auto v = integer("expected_version")) {
      if (*v < 0)
        return fail_field("expected_version", "must not be negative");
      expected_ = static_cast<version_t>(*v);
    }
    return {};
  }

  const operation& what() const override { return op_; }
  const std::string& tenant() const override { return tenant_; }
  const std::string& command_id() const override { return command_id_; }
  const text& request() const override { return request_; }
  time_us_t now() const override { return now_; }
  entropy random() override { return {gateway_.random_(), gateway_.random_()}; }

  std::optional<std::string_view> raw(std::string_view name) const override {
    for (const auto& m : members_)
      if (m.name == name)
        return m.raw == "null" && !takes_null(name) ? std::nullopt : std::optional(m.raw);
    return std::nullopt;
  }

  void submit(stream_id stream, shared_command command, retention policy,
              std::function<void(result<committed>)> then) override {
    const auto hash = command_id_.empty() ? 0 : hash_of(op_.name, members_);
    send(std::move(stream), std::move(command), policy, command_id_, hash, expected_,
         std::move(then));
  }

  void submit_as(stream_id stream, std::string command_id, shared_command command, retention policy,
                 std::function<void(result<committed>)> then) override {
    send(std::move(stream), std::move(command), policy, std::move(command_id), 0, std::nullopt,
         std::move(then));
  }

  void view(stream_id stream, std::size_t newest,
            std::function<void(result<stream_view>)> then) override {
    ask<stream_view>(gateway_.around_->directory, actors::view{std::move(stream), newest},
                     std::move(then));
  }

  void view_at(stream_id stream, version_t version,
               std::function<void(result<stream_view>)> then) override {
    const auto& reader = gateway_.around_->reader_for(stream);
    ask<woken>(reader, wake{stream, version}, [stream, then = std::move(then)](result<woken> r) {
      if (!r) {
        then(fail_with(r.error()));
        return;
      }
      stream_view v;
      v.stream = stream;
      v.stream_no = r->stream_no;
      v.version = r->version;
      v.time = r->time;
      v.state = std::move(r->state);
      v.tail_after = v.version;
      then(std::move(v));
    });
  }

  void cut(session::window window, stream_view view,
           std::function<void(result<session::page>)> then) override {
    const auto* state = std::get_if<std::shared_ptr<const session::state>>(&view.state);
    if (state == nullptr) {
      then(fail_with({errc::corrupt, "not a session"}));
      return;
    }
    tail_source memory(view);
    auto page = session::cut(window, **state, view.version, memory);
    if (!memory.missed()) {
      then(std::move(page));
      return;
    }
    const auto& reader = gateway_.around_->reader_for(view.stream);
    view.tail.clear();
    ask<session::page>(reader, cut_window{std::move(window), std::move(view)}, std::move(then));
  }

  void by_key(stream_view view, std::string prefix, std::string after, std::size_t limit,
              std::function<void(result<std::vector<shared_fact>>)> then) override {
    const auto& reader = gateway_.around_->reader_for(view.stream);
    view.tail.clear();
    ask<std::vector<shared_fact>>(
      reader, read_keys{std::move(view), std::move(prefix), std::move(after), limit},
      std::move(then));
  }

  void rows(projections::row_query query,
            std::function<void(result<std::vector<projections::row>>)> then) override {
    const auto& readers = gateway_.around_->readers;
    ask<std::vector<projections::row>>(readers[gateway_.random_() % readers.size()],
                                       read_rows{std::move(query)}, std::move(then));
  }

  void search(search_memories wish, std::function<void(result<found_memories>)> then) override {
    ask<found_memories>(gateway_.around_->searcher, std::move(wish), std::move(then));
  }

  void search(search_entries wish, std::function<void(result<found_entries>)> then) override {
    wish.view.tail.clear();
    ask<found_entries>(gateway_.around_->searcher, std::move(wish), std::move(then));
  }

  bool embeds() const override { return gateway_.around_->question_embedder != nullptr; }

  void embed(std::string question, std::function<void(result<std::string>)> then) override {
    if (embeds())
      ask<std::string>(gateway_.around_->question_embedder,
                       embed_question{std::move(question), std::chrono::steady_clock::now()},
                       std::move(then));
    else
      then(fail_with({errc::unavailable, "no embedding model is configured"}));
  }

  void wait(std::string topic, time_us_t until, std::function<void(bool)> then) override {
    gateway_.around_->requests.fetch_sub(1);
    ask<bool>(gateway_.around_->feed, wait_for{std::move(topic), until},
              [this, then = std::move(then)](result<bool> woken) {
                gateway_.around_->requests.fetch_add(1);
                if (answered_)
                  return;
                now_ = gateway_.around_->clock();
                if (!woken)
                  fail(woken.error());
                else if (gateway_.around_->ending)
                  fail({errc::unavailable, "the node is ending", {}, 0, 1000});
                else if (asker_is_gone())
                  fail({errc::unavailable, "nobody waits for the answer any more"});
                else
                  then(*woken);
              });
  }

  const zone_rules* zones() const override { return gateway_.around_->zones; }

  result<std::string> seal(std::string_view plain) const override {
    if (!gateway_.around_->keys)
      return fail_with(no_keys());
    return gateway_.around_->keys->seal(plain);
  }
  result<std::string> unseal(std::string_view sealed) const override {
    if (!gateway_.around_->keys)
      return fail_with(no_keys());
    return gateway_.around_->keys->unseal(sealed);
  }
  std::string sealing_key() const override {
    return gateway_.around_->keys ? gateway_.around_->keys->newest() : std::string();
  }
  result<void> rotate_keys() override {
    if (!gateway_.around_->keys)
      return fail_with(no_keys());
    return gateway_.around_->keys->rotate();
  }

  std::optional<retention> known_retention(const std::string& app) const override {
    const auto known = gateway_.retentions_.find(app_stream(tenant_, app));
    if (known == gateway_.retentions_.end() || now_ - known->second.read_at >= retention_fresh_us)
      return std::nullopt;
    return known->second.value;
  }

  void retention_of(std::string app, std::function<void(retention)> then) override {
    if (const auto known = known_retention(app)) {
      then(*known);
      return;
    }
    const auto stream = app_stream(tenant_, app);
    view(stream, 0, on<stream_view>([this, stream, then = std::move(then)](stream_view v) {
           const auto& state = *std::get<std::shared_ptr<const scope::state>>(v.state);
           if (gateway_.retentions_.size() > 10'000)
             gateway_.retentions_.clear();
           gateway_.retentions_[stream] = {state.retention, now_};
           then(state.retention);
         }));
  }

  void rebuild(std::vector<const projections::table*> tables,
               std::function<void(result<rebuilt>)> then) override {
    ask<rebuilt>(gateway_.around_->projector, rebuild_tables{std::move(tables)}, std::move(then));
  }

  void figures(std::function<void(std::string)> then) override {
    const auto& a = *gateway_.around_;
    json::object_writer w;
    w.str("node", a.name).str("log_id", a.log.log_id).num("generation", a.log.generation);
    w.num("live_streams", a.live.load()).num("state_bytes", a.state_bytes.load());
    w.num("woken", a.woken.load()).num("passivated", a.passivated.load());
    w.num("commits", a.commits.load()).num("facts", a.facts.load());
    w.num("last_commit_us", a.commit_us.load());
    w.num("requests", a.requests.load() - 1);
    w.num("overloaded", a.overloaded.load()).num("watchers", a.watchers.load());
    w.num("deadlines", a.armed.load()).num("deadlines_fallen", a.fallen.load());
    if (a.cache) {
      const auto c = a.cache->count();
      w.num("cache_hits", c.hits).num("cache_misses", c.misses).num("cache_puts", c.puts);
      w.num("cache_ignored", c.ignored).num("cache_failures", c.failures);
    }
    then(std::move(w).done());
  }

  void answer(std::string json) override {
    if (answered_)
      return;
    answered_ = true;
    const auto alone_since = gateway_.around_->alone_since.load(std::memory_order_relaxed);
    if (alone_since != 0 && op_.needs == right::read && json.ends_with('}'))
      say_age(json, gateway_.around_->clock() - alone_since);
    promise_.deliver(std::uint16_t{0}, std::move(json));
  }

  void fail(error e) override {
    if (!answered_)
      deliver(e);
  }

private:
  static error no_keys() { return {errc::unavailable, "this node has no key file"}; }
  static tl::unexpected<error> fail_with(error e) { return recalld::fail(std::move(e)); }

  bool takes_null(std::string_view name) const {
    for (const auto& f : op_.request)
      if (f.name == name)
        return f.type == field_type::any;
    return false;
  }

  /// Tells in an answer that what it says may be that old.
  static void say_age(std::string& object, time_us_t age) {
    object.pop_back();
    object += object == "{" ? "" : ",";
    object += R"("stale_ms":)" + std::to_string(age / 1000) + '}';
  }

  /// Whether whoever asked has ended, or cannot be reached any more.
  bool asker_is_gone() {
    const caf::response_promise& promise = promise_;
    const auto& asker = promise.source();
    return asker && asker->get()->getf(caf::abstract_actor::is_cleaned_up_flag);
  }

  void deliver(const error& e) {
    answered_ = true;
    promise_.deliver(static_cast<std::uint16_t>(e.code), render(e));
  }

  template <class Answer, class Message, class Then>
  void ask(const caf::actor& whom, Message message, Then then) {
    gateway_.asked_.ask<Answer>(
      whom, std::move(message),
      [keep = shared_from_this(), then = std::move(then)](result<Answer> r) mutable {
        then(std::move(r));
      });
  }

  void send(stream_id stream, shared_command command, retention policy, std::string command_id,
            std::uint64_t hash, std::optional<version_t> expected,
            std::function<void(result<committed>)> then) {
    if (!gateway_.admit_to(stream)) {
      gateway_.around_->overloaded.fetch_add(1, std::memory_order_relaxed);
      then(fail_with({errc::overloaded,
                      "too many commands in progress on " + to_string(stream),
                      {},
                      0,
                      retry_soon_ms}));
      return;
    }
    actors::submit wish;
    wish.stream = stream;
    wish.command = command.held();
    wish.command_id = std::move(command_id);
    wish.body_hash = hash;
    wish.expected = expected;
    wish.policy = policy;
    wish.now = now_;
    wish.random = random();
    // Rules that were just set hold for the next request.
    if (const auto* s = std::get_if<scope::command>(wish.command.get());
        s != nullptr && std::holds_alternative<scope::set_retention>(*s))
      gateway_.retentions_.erase(stream);
    ask<committed>(gateway_.around_->directory, std::move(wish),
                   [this, stream = std::move(stream), then = std::move(then)](result<committed> r) {
                     gateway_.leave(stream);
                     then(std::move(r));
                   });
  }

  gateway_state& gateway_;
  const operation& op_;
  text request_;
  std::vector<json::member> members_;
  gateway_state::promise_type promise_;
  time_us_t now_;
  std::string tenant_ = "default";
  std::string command_id_;
  std::optional<version_t> expected_;
  bool answered_ = false;
};

// -- gateway_state --

void gateway_state::start(self_type self, surroundings_ptr around,
                          std::span<const operation> operations) {
  self_ = self;
  around_ = std::move(around);
  asked_.start(self);
  self_->set_down_handler([this](const caf::down_msg& down) {
    std::erase_if(deliveries_, [&](const auto& one) { return one.second == down.source; });
  });
  for (const auto& op : operations)
    operations_.emplace(op.name, &op);
}

result<void> gateway_state::admit(std::size_t bytes) {
  if (bytes > around_->limits.request_bytes_max)
    return fail_field("", "a request may have " + std::to_string(around_->limits.request_bytes_max)
                            + " bytes, this one has " + std::to_string(bytes));
  if (around_->ending)
    return fail({errc::unavailable, "the node is ending", {}, 0, 1000});
  if (around_->requests >= around_->limits.requests_max
      || bytes_ + bytes > around_->limits.requests_bytes_max) {
    around_->overloaded.fetch_add(1, std::memory_order_relaxed);
    return fail(
      {errc::overloaded, "too many requests in progress on this node", {}, 0, retry_soon_ms});
  }
  return {};
}

bool gateway_state::admit_to(const stream_id& stream) {
  auto& n = per_stream_[stream];
  if (n >= around_->limits.requests_per_stream_max)
    return false;
  ++n;
  return true;
}

void gateway_state::leave(const stream_id& stream) {
  auto it = per_stream_.find(stream);
  if (it != per_stream_.end() && --it->second == 0)
    per_stream_.erase(it);
}

result<std::shared_ptr<live_call>> gateway_state::open(std::uint16_t protocol,
                                                       const std::string& operation,
                                                       std::string request,
                                                       const promise_type& promise) {
  if (protocol != protocol_version)
    return fail_field("protocol", "this node speaks protocol " + std::to_string(protocol_version));
  const auto it = operations_.find(operation);
  if (it == operations_.end()) {
    std::vector<std::string_view> names;
    for (const auto& each : operations_)
      names.push_back(each.first);
    const std::string hint(nearest(operation, names));
    return fail_field("operation", "there is no operation \"" + operation + "\""
                                     + (hint.empty() ? "" : "; did you mean \"" + hint + "\"?"));
  }
  if (auto ok = admit(request.size()); !ok)
    return fail(ok.error());
  if (auto ok = json::validate(request, ""); !ok)
    return fail(ok.error());
  text whole(std::move(request));
  auto members = json::members(whole.view(), "");
  if (!members)
    return fail(members.error());
  if (auto ok = check_members(*it->second, *members); !ok)
    return fail(ok.error());
  return std::make_shared<live_call>(*this, *it->second, std::move(whole), std::move(*members),
                                     promise);
}

void gateway_state::run(std::uint16_t protocol, const std::string& operation, std::string request,
                        promise_type promise) {
  auto opened = open(protocol, operation, std::move(request), promise);
  if (!opened) {
    const auto& e = opened.error();
    promise.deliver(static_cast<std::uint16_t>(e.code), render(e));
    return;
  }
  auto& one = *opened;
  if (auto ok = one->read_common(); !ok) {
    one->fail(ok.error());
    return;
  }
  one->what().handle(one);
}

namespace {

constexpr std::array<field, 8> watch_fields{{
  {"kind", field_type::string, false,
   "Kind of stream such as `session` or `approval`; all when absent."},
  {"app", field_type::string, false, "Only streams of this application."},
  {"user", field_type::string, false, "Only streams of this user; needs `app`."},
  {"session", field_type::string, false, "Only this session; needs `user`."},
  {"after", field_type::string, false, "Cursor to go on behind; absent: from now on."},
  {"from_start", field_type::boolean, false, "Begin with the first fact of the log."},
  {"credit", field_type::integer, true, "How many batches may be sent, 1 to 1,000,000."},
  {"tenant", field_type::string, false, "Isolation unit; `default` when absent."},
}};

result<start_watch> parse_watch(const std::string& request) {
  if (auto ok = json::validate(request, ""); !ok)
    return fail(ok.error());
  auto members = json::members(request, "");
  if (!members)
    return fail(members.error());
  operation shape;
  shape.name = "watch";
  shape.request = watch_fields;
  if (auto ok = check_members(shape, *members); !ok)
    return fail(ok.error());
  start_watch out;
  std::map<std::string, std::string, std::less<>> words;
  for (const auto& m : *members) {
    const auto k = json::kind_of(m.raw);
    if (k == json::kind::string)
      words[m.name] = json::as_string(m.raw, m.name).value_or("");
    else if (m.name == "credit") {
      const auto n = json::as_integer(m.raw, m.name).value_or(0);
      if (n < 1 || n > 1'000'000)
        return fail_field("credit", "must be between 1 and 1,000,000");
      out.credit = static_cast<std::uint32_t>(n);
    } else if (m.name == "from_start" && m.raw == "true") {
      out.from_start = true;
    }
  }
  if (words.contains("after"))
    out.after = words["after"];
  if (words.contains("kind")) {
    const auto kind = stream_kind_of(words["kind"]);
    if (!kind)
      return fail_field("kind", "must be a kind of stream such as session, scope or approval");
    out.filter.kind = static_cast<std::uint8_t>(*kind);
  }
  const auto tenant = words.contains("tenant") ? words["tenant"] : std::string("default");
  if (auto ok = check_id(tenant, "tenant"); !ok)
    return fail(ok.error());
  static constexpr std::string_view levels[] = {"app", "user", "session"};
  out.filter.parts = stream_id(stream_kind::scope, {tenant}).bytes().substr(1);
  bool open = true;
  for (auto level : levels) {
    const auto word = words.find(level);
    if (word == words.end()) {
      open = false;
      continue;
    }
    if (!open)
      return fail_field(std::string(level), "needs the fields before it: app, user");
    if (auto ok = check_id(word->second, level); !ok)
      return fail(ok.error());
    out.filter.parts += stream_id(stream_kind::scope, {word->second}).bytes().substr(1);
  }
  return out;
}

}  // namespace

void gateway_state::watch(std::uint16_t protocol, const std::string& request,
                          const caf::actor& sink, promise_type promise) {
  auto refuse = [promise](const error& e) mutable {
    promise.deliver(static_cast<std::uint16_t>(e.code), render(e));
  };
  if (protocol != protocol_version) {
    refuse(invalid("protocol", "this node speaks protocol " + std::to_string(protocol_version)));
    return;
  }
  auto wish = parse_watch(request);
  if (!wish) {
    refuse(wish.error());
    return;
  }
  wish->sink = sink;
  asked_.ask<watch_started>(around_->feed, std::move(*wish),
                            [promise, refuse](result<watch_started> started) mutable {
                              if (!started) {
                                refuse(started.error());
                                return;
                              }
                              json::object_writer w;
                              w.str("watch", started->id).str("cursor", started->cursor);
                              promise.deliver(std::uint16_t{0}, std::move(w).done());
                            });
}

void gateway_state::deliver(std::uint16_t protocol, const std::string& operation,
                            std::string request, const caf::actor& sink, std::uint32_t credit,
                            promise_type promise) {
  const auto good = [&]() -> result<void> {
    if (protocol != protocol_version)
      return fail_field("protocol", "this node speaks protocol " + std::to_string(protocol_version));
    const auto known = operations_.find(operation);
    const auto waits = [](const field& f) { return f.name == "wait_ms"; };
    if (known == operations_.end() || known->second->needs != right::write
        || std::none_of(known->second->request.begin(), known->second->request.end(), waits))
      return fail_field("operation", "\"" + operation + "\" is no operation that takes work");
    if (sink == nullptr)
      return fail_field("sink", "is nobody");
    if (credit < 1 || credit > 1'000'000)
      return fail_field("credit", "must be between 1 and 1,000,000");
    if (deliveries_.size() >= around_->limits.watchers_max)
      return fail({errc::overloaded, "too many deliveries on this node", {}, 0, 1000});
    if (auto ok = admit(request.size()); !ok)
      return ok;
    if (auto ok = json::validate(request, ""); !ok)
      return ok;
    const auto members = json::members(request, "");
    if (!members)
      return fail(members.error());
    for (const auto& m : *members)
      if (m.name == "wait_ms" || m.name == "command_id")
        return fail_field(m.name, "a delivery has its own");
    return {};
  }();
  if (!good) {
    promise.deliver(static_cast<std::uint16_t>(good.error().code), render(good.error()));
    return;
  }
  while (!request.ends_with('}'))  // white space behind the object
    request.pop_back();
  auto id = "d" + std::to_string(around_->clock()) + "-" + std::to_string(random_());
  auto one = self_->spawn(delivery,
                          delivery_state::wish{caf::actor_cast<gateway_handle>(self_->ctrl()), id,
                                               operation, std::move(request), sink, credit},
                          std::move(promise));
  self_->monitor(one);
  deliveries_.emplace(std::move(id), std::move(one));
}

void gateway_state::credit(const std::string& id, std::uint32_t more) {
  if (const auto known = deliveries_.find(id); known != deliveries_.end())
    caf::anon_send(known->second, id, more);
  else
    caf::anon_send(around_->feed, more_credit{id, more});
}

gateway_handle::behavior_type gateway(gateway_handle::stateful_pointer<gateway_state> self,
                                      surroundings_ptr around,
                                      std::span<const operation> operations) {
  self->set_exception_handler([around](std::exception_ptr& raised) -> caf::error {
    try {
      std::rethrow_exception(raised);
    } catch (const std::exception& e) {
      around->fatal(std::string("the gateway raised: ") + e.what());
    } catch (...) {
      around->fatal("the gateway raised something unknown");
    }
    return caf::exit_reason::unhandled_exception;
  });
  self->state.start(self, around, operations);
  return {
    [self](std::uint16_t protocol, const std::string& operation, std::string& request) {
      auto promise = self->make_response_promise<std::uint16_t, std::string>();
      self->state.run(protocol, operation, std::move(request), promise);
      return promise;
    },
    [self](std::uint16_t protocol, const std::string& request, const caf::actor& sink) {
      auto promise = self->make_response_promise<std::uint16_t, std::string>();
      self->state.watch(protocol, request, sink, promise);
      return promise;
    },
    [self](std::uint16_t protocol, const std::string& operation, std::string& request,
           const caf::actor& sink, std::uint32_t credit) {
      auto promise = self->make_response_promise<std::uint16_t, std::string>();
      self->state.deliver(protocol, operation, std::move(request), sink, credit, promise);
      return promise;
    },
    [self](const std::string& id, std::uint32_t credit) { self->state.credit(id, credit); },
  };
}

}  // namespace recalld::actors

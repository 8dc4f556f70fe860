#include "cli/import_file.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <iterator>
#include <unordered_map>

#include <fmt/format.h>

#include "events/json.hpp"

namespace recalld::cli {

namespace {

using members = std::vector<json::member>;

const json::member* find(const members& all, std::string_view name) {
  const auto found =
    std::find_if(all.begin(), all.end(), [&](const auto& m) { return m.name == name; });
  return found == all.end() ? nullptr : &*found;
}

/// The error's text with the field it is about.
std::string reason_of(const error& e) {
  const bool named = e.field.empty() || e.message.find(e.field) != std::string::npos;
  return named ? e.message : e.field + ": " + e.message;
}

result<void> check_known(const members& all, std::initializer_list<std::string_view> known,
                         std::string_view where) {
  for (const auto& m : all)
    if (std::find(known.begin(), known.end(), m.name) == known.end())
      return fail_field(fmt::format("{}.{}", where, m.name), "is not known here");
  return {};
}

result<void> need_object(std::string_view raw, std::string_view field) {
  if (json::kind_of(raw) != json::kind::object)
    return fail_field(std::string(field), "must be an object");
  return {};
}

/// An id that stands in a line, or the default.
result<std::string> id_in(const members& all, std::string_view name, std::string_view path,
                          const std::string& otherwise) {
  const auto field = path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
  const auto* m = find(all, name);
  auto value = m == nullptr ? result<std::string>(otherwise) : json::as_string(m->raw, field);
  if (!value)
    return value;
  if (m == nullptr && value->empty())
    return fail_field(field, "is required");
  if (auto good = check_id(*value, field); !good)
    return fail(good.error());
  return value;
}

std::string key_text(const api::session_key& k) { return k.stream().bytes(); }

class json_lines_source final : public import_source {
public:
  json_lines_source(std::istream& in, import_defaults defaults, time_us_t now)
    : in_(in), defaults_(std::move(defaults)), now_(now) {}

  std::optional<import_run> next() override {
    for (std::string line; std::getline(in_, line);) {
      ++number_;
      bytes_ += line.size() + 1;
      if (line.find_first_not_of(" \t\r") == std::string::npos)
        continue;
      auto done = take(std::move(line));
      if (done)
        return done;
    }
    if (in_.bad())
      bad("the file cannot be read any further");
    return std::exchange(run_, std::nullopt);
  }

  std::uint64_t bytes() const override { return bytes_; }

private:
  std::string place() const { return fmt::format("line {}", number_); }

  void bad(std::string reason) {
    if (!run_)
      run_.emplace().place = place();
    run_->bad.push_back({place(), std::move(reason)});
  }

  /// Begins a run; gives the one before it.
  std::optional<import_run> begin(import_run fresh) {
    fresh.place = place();
    auto before = std::exchange(run_, std::move(fresh));
    return before;
  }

  std::optional<import_run> take(std::string line) {
    const auto checked = json::validate(line, "");
    if (!checked) {
      bad("is not JSON: " + checked.error().message);
      return std::nullopt;
    }
    auto all = json::members(line, "");
    if (!all) {
      bad("must be an object with each name once: " + reason_of(all.error()));
      return std::nullopt;
    }
    const auto* session = find(*all, "session");
    if (session != nullptr && json::kind_of(session->raw) == json::kind::object)
      return begin_session(*all, session->raw);
    if (session != nullptr)
      return take_owned_entry(*all);
    if (const auto* scope = find(*all, "scope"))
      return begin_scope(*all, scope->raw);
    if (const auto* entry = find(*all, "entry"))
      return owns_lines_ ? take_entry(*all, entry->raw) : orphan("an entry");
    if (const auto* track = find(*all, "track"))
      return owns_lines_ ? take_track(*all, track->raw) : orphan("an item of a track");
    bad("has none of the members session, entry, track and scope");
    return std::nullopt;
  }

  std::optional<import_run> begin_session(const members& line, std::string_view raw) {
    import_run fresh;
    auto read = read_session(line, raw, fresh);
    auto before = begin(std::move(fresh));
    if (!read)
      bad(reason_of(read.error()));
    owns_lines_ = true;
    return before;
  }

  result<void> read_session(const members& line, std::string_view raw, import_run& into) {
    if (auto r = check_known(line, {"session"}, "line"); !r)
      return r;
    const auto all = json::members(raw, "session");
    if (!all)
      return fail(all.error());
    if (auto r = check_known(
          *all, {"app", "user", "id", "tenant", "state", "metadata", "contexts", "closed"},
          "session");
        !r)
      return r;
    if (auto r = read_key(*all, "session", "id", into); !r)
      return r;
    if (const auto* state = find(*all, "state")) {
      into.state = state->raw;
      auto map = json::to_raw_map(state->raw, "session.state");
      if (!map)
        return fail(map.error());
      if (auto split = session::split_scopes(std::move(*map), "session.state"); !split)
        return fail(split.error());
      if (state->raw.size() > session::state_bytes_max)
        return fail_field("session.state", "has more than 4 MiB");
    }
    if (const auto* metadata = find(*all, "metadata")) {
      if (auto r = need_object(metadata->raw, "session.metadata"); !r)
        return r;
      into.metadata = metadata->raw;
    }
    if (const auto* closed = find(*all, "closed")) {
      const auto value = json::as_bool(closed->raw, "session.closed");
      if (!value)
        return fail(value.error());
      into.closed = *value;
    }
    if (const auto* contexts = find(*all, "contexts"))
      return read_contexts(contexts->raw, into);
    return {};
  }

  result<void> read_contexts(std::string_view raw, import_run& into) {
    const auto items = json::elements(raw, "session.contexts");
    if (!items)
      return fail(items.error());
    for (const auto item : *items) {
      const auto path = fmt::format("session.contexts[{}]", into.contexts.size());
      if (auto r = need_object(item, path); !r)
        return r;
      const auto all = json::members(item, path);
      if (!all)
        return fail(all.error());
      if (auto r = check_known(*all, {"id", "type", "content"}, path); !r)
        return r;
      const auto* type = find(*all, "type");
      const auto word =
        type == nullptr ? result<std::string>("") : json::as_string(type->raw, path + ".type");
      if (!word)
        return fail(word.error());
      if (word->empty() || word->size() > session::word_bytes_max)
        return fail_field(path + ".type",
                          fmt::format("must have 1 to {} bytes", session::word_bytes_max));
      if (find(*all, "content") == nullptr)
        return fail_field(path + ".content", "is required");
      if (find(*all, "id") == nullptr) {
        into.contexts.push_back(
          with_id(item, derived_id(into.key, "context", into.contexts.size(), item)));
        continue;
      }
      if (auto id = id_in(*all, "id", path, ""); !id)
        return fail(id.error());
      into.contexts.emplace_back(item);
    }
    return {};
  }

  std::optional<import_run> begin_scope(const members& line, std::string_view raw) {
    import_run fresh;
    fresh.scope = true;
    auto read = read_scope(line, raw, fresh);
    auto before = begin(std::move(fresh));
    if (!read)
      bad(reason_of(read.error()));
    owns_lines_ = false;
    return before;
  }

  result<void> read_scope(const members& line, std::string_view raw, import_run& into) {
    if (auto r = check_known(line, {"scope"}, "line"); !r)
      return r;
    if (auto r = need_object(raw, "scope"); !r)
      return r;
    const auto all = json::members(raw, "scope");
    if (!all)
      return fail(all.error());
    if (auto r = check_known(*all, {"app", "user", "tenant", "values"}, "scope"); !r)
      return r;
    auto app = id_in(*all, "app", "scope", defaults_.app);
    auto tenant = id_in(*all, "tenant", "scope", defaults_.tenant);
    auto user =
      find(*all, "user") == nullptr ? result<std::string>("") : id_in(*all, "user", "scope", "");
    for (const auto* id : {&app, &tenant, &user})
      if (!*id)
        return fail(id->error());
    const auto* values = find(*all, "values");
    if (values == nullptr)
      return fail_field("scope.values", "is required");
    auto map = json::to_raw_map(values->raw, "scope.values");
    if (!map)
      return fail(map.error());
    into.key = {*tenant, *app, *user, ""};
    into.state = values->raw;
    into.known = true;
    return {};
  }

  result<void> read_key(const members& all, std::string_view path, std::string_view id_name,
                        import_run& into) {
    auto tenant = id_in(all, "tenant", path, defaults_.tenant);
    auto app = id_in(all, "app", path, defaults_.app);
    auto user = id_in(all, "user", path, defaults_.user);
    auto id = id_in(all, id_name, path, "");
    for (const auto* part : {&tenant, &app, &user, &id})
      if (!*part)
        return fail(part->error());
    into.key = {std::move(*tenant), std::move(*app), std::move(*user), std::move(*id)};
    into.known = true;
    return {};
  }

  std::optional<import_run> take_entry(const members& line, std::string_view raw) {
    if (auto r = check_known(line, {"entry"}, "line"); !r)
      bad(reason_of(r.error()));
    else
      add_entry(raw, "entry");
    return std::nullopt;
  }

  /// A line that needs a session before it and has none: bad, and nobody's.
  std::optional<import_run> orphan(std::string_view what) {
    auto before = begin({});
    bad(fmt::format("{} needs a line with its session before it", what));
    return before;
  }

  void add_entry(std::string_view raw, std::string_view path) {
    if (!run_->known)
      return;  // its session is bad and was reported
    auto whole = std::string(raw);
    const text shared(whole);
    const auto entry = api::parse_entry(shared.view(), path, shared, now_);
    if (!entry)
      return bad(reason_of(entry.error()));
    if (entry->partial)
      return;  // a streaming piece is not stored by the server either
    const auto ordinal = ++ordinals_[key_text(run_->key)];
    if (entry->id.empty())
      whole = with_id(raw, derived_id(run_->key, "entry", ordinal, raw));
    if (whole.size() > session::entry_bytes_max)
      return bad(fmt::format("the entry has {} bytes; at most {} are allowed", whole.size(),
                             session::entry_bytes_max));
    run_->entries.push_back(std::move(whole));
  }

  std::optional<import_run> take_track(const members& line, std::string_view raw_name) {
    if (auto r = check_known(line, {"track", "item"}, "line"); !r) {
      bad(reason_of(r.error()));
      return std::nullopt;
    }
    const auto name = json::as_string(raw_name, "track");
    const auto* item = find(line, "item");
    if (!name)
      bad(reason_of(name.error()));
    else if (name->empty() || name->size() > session::word_bytes_max)
      bad(fmt::format("track: must have 1 to {} bytes", session::word_bytes_max));
    else if (item == nullptr)
      bad("item: is required");
    else
      run_->tracks.emplace_back(*name, std::string(item->raw));
    return std::nullopt;
  }

  std::optional<import_run> take_owned_entry(const members& line) {
    import_run fresh;
    auto key = read_key(line, "", "session", fresh);
    std::optional<import_run> before;
    // Neighbours of one session go together.
    const bool same = run_ && run_->known && fresh.known && !run_->scope && !owns_lines_
                      && key_text(run_->key) == key_text(fresh.key);
    if (!same) {
      before = begin(std::move(fresh));
      owns_lines_ = false;
    }
    if (!key) {
      bad(reason_of(key.error()));
      return before;
    }
    json::object_writer entry;
    for (const auto& m : line)
      if (m.name != "tenant" && m.name != "app" && m.name != "user" && m.name != "session")
        entry.raw(m.name, m.raw);
    add_entry(std::move(entry).done(), "entry");
    return before;
  }

  static std::string derived_id(const api::session_key& key, std::string_view kind,
                                std::uint64_t ordinal, std::string_view content) {
    const auto seed = fnv1a(fmt::format("{}{}", kind, ordinal), fnv1a(key_text(key)));
    return fmt::format("import-{:x}-{:016x}", ordinal, fnv1a(content, seed));
  }

  std::istream& in_;
  import_defaults defaults_;
  time_us_t now_;
  std::size_t number_ = 0;
  std::uint64_t bytes_ = 0;
  std::optional<import_run> run_;
  bool owns_lines_ = false;  ///< `{"entry":…}` lines belong to the present run.
  /// How many entries of a session came before; its derived ids depend on it.
  std::unordered_map<std::string, std::uint64_t> ordinals_;
};

class locomo_source final : public import_source {
public:
  locomo_source(std::unique_ptr<const std::string> whole, std::vector<std::string_view> samples,
                import_defaults defaults)
    : whole_(std::move(whole)), samples_(std::move(samples)), defaults_(std::move(defaults)) {}

  std::optional<import_run> next() override {
    while (ready_.empty() && at_ < samples_.size())
      read_sample(samples_[at_++]);
    if (ready_.empty())
      return std::nullopt;
    auto run = std::move(ready_.back());
    ready_.pop_back();
    return run;
  }

  std::uint64_t bytes() const override {
    return at_ == 0 ? 0
                    : static_cast<std::uint64_t>(samples_[at_ - 1].data() + samples_[at_ - 1].size()
                                                 - whole_->data());
  }

private:
  void refuse(std::string place, std::string reason) {
    import_run run;
    run.place = place;
    run.bad.push_back({std::move(place), std::move(reason)});
    ready_.push_back(std::move(run));
  }

  void read_sample(std::string_view raw) {
    const auto place = fmt::format("sample {}", at_);
    const auto sample = json::members(raw, "sample");
    if (!sample)
      return refuse(place, reason_of(sample.error()));
    const auto id = id_in(*sample, "sample_id", "", "");
    if (!id)
      return refuse(place, reason_of(id.error()));
    const auto* conversation = find(*sample, "conversation");
    const auto all = conversation == nullptr
                       ? result<members>(fail_field("conversation", "is required"))
                       : json::members(conversation->raw, "conversation");
    if (!all)
      return refuse(*id, reason_of(all.error()));
    const auto first = id_in(*all, "speaker_a", "", "");
    const auto second = id_in(*all, "speaker_b", "", "");
    if (!first || !second)
      return refuse(*id, reason_of((first ? second : first).error()));
    for (const auto& m : *all) {
      const bool turns =
        m.name.starts_with("session_") && json::kind_of(m.raw) == json::kind::array;
      if (turns)
        read_session(*id, m, find(*all, m.name + "_date_time"), *first);
    }
    // `next` takes them from the back.
    std::reverse(ready_.begin(), ready_.end());
  }

  void read_session(const std::string& sample, const json::member& session,
                    const json::member* when, const std::string& first_speaker) {
    import_run run;
    run.key = {defaults_.tenant, "locomo", sample, session.name};
    run.place = fmt::format("{} {}", sample, session.name);
    run.known = true;
    std::string time;
    if (when != nullptr) {
      const auto spoken = json::as_string(when->raw, when->name);
      const auto parsed =
        spoken ? parse_spoken_time(*spoken) : result<time_us_t>(fail(spoken.error()));
      if (parsed)
        time = format_time(*parsed);
      else
        run.bad.push_back({run.place, reason_of(parsed.error())});
    }
    json::object_writer metadata;
    metadata.str("source", "locomo");
    if (!time.empty())
      metadata.str("time", time);
    run.metadata = std::move(metadata).done();
    const auto turns = json::elements(session.raw, session.name);
    if (!turns)
      run.bad.push_back({run.place, reason_of(turns.error())});
    else
      for (std::size_t i = 0; i < turns->size(); ++i)
        if (auto entry = read_turn((*turns)[i], time, first_speaker))
          run.entries.push_back(std::move(*entry));
        else
          run.bad.push_back(
            {fmt::format("{} turn {}", run.place, i + 1), reason_of(entry.error())});
    ready_.push_back(std::move(run));
  }

  static result<std::string> read_turn(std::string_view raw, const std::string& time,
                                       const std::string& first_speaker) {
    if (auto r = need_object(raw, "turn"); !r)
      return fail(r.error());
    const auto all = json::members(raw, "turn");
    if (!all)
      return fail(all.error());
    const auto id = id_in(*all, "dia_id", "", "");
    const auto speaker = id_in(*all, "speaker", "", "");
    if (!id || !speaker)
      return fail((id ? speaker : id).error());
    const auto* content = find(*all, "text");
    if (content == nullptr || json::kind_of(content->raw) != json::kind::string)
      return fail_field("text", "must be a text");
    json::object_writer entry;
    entry.str("id", *id)
      .str("role", *speaker == first_speaker ? "user" : "assistant")
      .str("author", *speaker);
    entry.raw("content", content->raw);
    if (!time.empty())
      entry.str("client_time", time);
    if (const auto* caption = find(*all, "blip_caption"))
      entry.raw("caption", caption->raw);
    auto out = std::move(entry).done();
    if (out.size() > session::entry_bytes_max)
      return fail_field("text", "is too long for an entry");
    return out;
  }

  /// On the heap, so that moving it leaves the slices where they are.
  std::unique_ptr<const std::string> whole_;
  std::vector<std::string_view> samples_;
  import_defaults defaults_;
  std::size_t at_ = 0;
  std::vector<import_run> ready_;
};

}  // namespace

std::string with_id(std::string_view object, std::string_view id) {
  const auto open = object.find('{');
  const auto inside = object.find_first_not_of(" \t\r\n", open + 1);
  const bool empty = inside == std::string_view::npos || object[inside] == '}';
  std::string out = "{\"id\":" + json::quote(id);
  if (!empty)
    out += ',';
  out += object.substr(inside == std::string_view::npos ? object.size() : inside);
  return out;
}

import_format guess_format(std::istream& in) {
  while (in && std::isspace(in.peek()) != 0)
    in.get();
  return in.peek() == '[' ? import_format::locomo : import_format::json_lines;
}

std::unique_ptr<import_source> read_json_lines(std::istream& in, import_defaults defaults,
                                               time_us_t now) {
  return std::make_unique<json_lines_source>(in, std::move(defaults), now);
}

result<std::unique_ptr<import_source>> read_locomo(std::istream& in, import_defaults defaults) {
  auto whole = std::make_unique<std::string>(std::istreambuf_iterator<char>(in),
                                             std::istreambuf_iterator<char>());
  if (auto good = json::validate(*whole, "file"); !good)
    return fail(good.error());
  auto samples = json::elements(*whole, "file");
  if (!samples)
    return fail(samples.error());
  return std::unique_ptr<import_source>(
    std::make_unique<locomo_source>(std::move(whole), std::move(*samples), std::move(defaults)));
}

result<time_us_t> parse_spoken_time(std::string_view text) {
  constexpr std::array<std::string_view, 12> months{
    "January", "February", "March",     "April",   "May",      "June",
    "July",    "August",   "September", "October", "November", "December"};
  const std::string copy(text);
  unsigned hour = 0;
  unsigned minute = 0;
  unsigned day = 0;
  int year = 0;
  std::array<char, 3> half{};
  std::array<char, 16> month{};
  const auto read = std::sscanf(copy.c_str(), "%2u:%2u %2[apm] on %2u %15[A-Za-z], %4d", &hour,
                                &minute, half.data(), &day, month.data(), &year);
  const auto name = std::find(months.begin(), months.end(), std::string_view(month.data()));
  const bool good = read == 6 && hour >= 1 && hour <= 12 && minute < 60 && name != months.end();
  const auto date = std::chrono::year_month_day(
    std::chrono::year(year), std::chrono::month(static_cast<unsigned>(name - months.begin()) + 1),
    std::chrono::day(day));
  const std::string_view which = half.data();
  if (!good || !date.ok() || (which != "am" && which != "pm"))
    return fail(errc::invalid,
                fmt::format("'{}' is not a time such as `1:56 pm on 8 May, 2023`", text));
  const auto days = std::chrono::sys_days(date).time_since_epoch();
  const auto hours = hour % 12 + (which == "pm" ? 12u : 0u);
  return std::chrono::duration_cast<std::chrono::microseconds>(days).count()
         + (static_cast<time_us_t>(hours) * 60 + minute) * 60'000'000;
}

}  // namespace recalld::cli

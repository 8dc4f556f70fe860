#include "api/requests.hpp"

#include <algorithm>
#include <charconv>

#include "api/cursor.hpp"
#include "events/json.hpp"

namespace recalld::api {

namespace {

std::string at(std::string_view name, std::size_t index) {
  return std::string(name) + '[' + std::to_string(index) + ']';
}

std::string member_of(std::string_view path, std::string_view name) {
  return std::string(path) + '.' + std::string(name);
}

result<void> check_word(std::string_view value, std::string_view field) {
  if (value.empty())
    return fail_field(std::string(field), "must not be empty");
  if (value.size() > session::word_bytes_max)
    return fail_field(std::string(field),
                      "at most " + std::to_string(session::word_bytes_max) + " bytes");
  return {};
}

/// Exactly one of two members.
void need_one(request_reader& in, std::string_view one, std::string_view other) {
  if (in.has(one) && in.has(other))
    in.refuse(other, "give `" + std::string(one) + "` or `" + std::string(other) + "`, not both");
  if (!in.has(one) && !in.has(other))
    in.refuse(one, "give `" + std::string(one) + "` or `" + std::string(other) + "`");
}

// -- entries --

/// What a member of an entry that we interpret must look like.
enum class shape : std::uint8_t {
  id,
  word,
  string,
  content,
  flag,
  time,
  array,
  object,
  array_or_object
};
struct reserved_member {
  std::string_view name;
  shape must_be;
};
constexpr reserved_member reserved[] = {
  {"id", shape::id},
  {"role", shape::word},
  {"author", shape::string},
  {"content", shape::content},
  {"type", shape::word},
  {"invocation_id", shape::string},
  {"branch", shape::string},
  {"filter_key", shape::string},
  {"tag", shape::string},
  {"client_time", shape::time},
  {"tool_calls", shape::array},
  {"tool_results", shape::array_or_object},
  {"usage", shape::object},
  {"metadata", shape::object},
  {"partial", shape::flag},
};

/// Columns of texts take no NUL in every database.
result<std::string> text_of(std::string_view raw, std::string_view field) {
  auto text = json::as_string(raw, field);
  if (text && text->find('\0') != std::string::npos)
    return fail_field(std::string(field), "must not contain a NUL byte");
  return text;
}

result<void> check_time(std::string_view raw, std::string_view field, time_us_t now) {
  const auto written = json::as_string(raw, field);
  if (!written)
    return fail(written.error());
  const auto time = parse_time(*written, field);
  if (!time)
    return fail(time.error());
  if (*time > now + clock_skew_us_max)
    return fail_field(std::string(field),
                      "clocks in the future are not accepted: this is more than 5 "
                      "minutes ahead of the server's "
                        + format_time(now));
  return {};
}

result<void> check_shape(std::string_view raw, shape must_be, std::string_view field,
                         time_us_t now) {
  using json::kind;
  const auto is = json::kind_of(raw);
  const auto want = [&](bool good, const char* what) -> result<void> {
    if (good)
      return {};
    return fail_field(std::string(field), std::string("must be ") + what);
  };
  // `null` says the same as leaving the member out; but an id that is left out is put in.
  if (is == kind::null)
    return want(must_be != shape::id, "a text, or left out");
  switch (must_be) {
    case shape::id:
    case shape::word:
    case shape::string: {
      const auto value = json::as_string(raw, field);
      if (!value)
        return fail(value.error());
      if (must_be == shape::id)
        return check_id(*value, field);
      if (must_be == shape::word)
        return check_word(*value, field);
      if (value->size() > id_bytes_max)
        return fail_field(std::string(field), "at most " + std::to_string(id_bytes_max) + " bytes");
      return {};
    }
    case shape::content:
      return want(is == kind::string || is == kind::array || is == kind::object,
                  "a text, an array or an object");
    case shape::flag: return want(is == kind::boolean, "true or false");
    case shape::time: return check_time(raw, field, now);
    case shape::array: return want(is == kind::array, "an array");
    case shape::object: return want(is == kind::object, "an object");
    case shape::array_or_object:
      return want(is == kind::array || is == kind::object, "an array or an object");
  }
  return {};
}

// -- windows --

constexpr std::string_view forwards = "f";
constexpr std::string_view backwards = "b";

std::string window_list(std::string_view operation, const session_key& key,
                        const session::window& w) {
  std::string roles;
  for (const auto& role : w.roles)
    roles += list_name({role});
  return list_name({operation, key.tenant, key.app, key.user, key.session, roles,
                    w.since ? std::to_string(*w.since) : ""});
}

/// Puts the place of a cursor into a window that was read without it. The caller repeats the other
/// options; where they say where to begin, the cursor knows better.
void follow(window_request& wanted, request_reader& in, std::string_view cursor) {
  auto place = read_cursor(cursor, wanted.list, "cursor");
  if (!place) {
    in.refuse(place.error());
    return;
  }
  const auto* way = place->size() == 2 ? std::get_if<std::string>(place->data()) : nullptr;
  const auto* version = place->size() == 2 ? std::get_if<std::int64_t>(&(*place)[1]) : nullptr;
  if (way == nullptr || version == nullptr || (*way != forwards && *way != backwards)
      || *version < 0) {
    in.refuse("cursor", "this is not a cursor that an answer gave");
    return;
  }
  auto& w = wanted.window;
  const auto wish = w.limit ? *w.limit : w.last.value_or(session::window_default);
  const auto size = std::max<std::uint64_t>(1, wish);
  w.last.reset();
  w.limit.reset();
  w.anchor.reset();
  w.before = w.after = 0;
  w.turn_aligned = false;
  if (*way == forwards) {
    w.after_version = static_cast<version_t>(*version);
    w.limit = size;
  } else {
    w.before_version = static_cast<version_t>(*version);
    w.last = size;
    wanted.backwards = true;
  }
}

/// Gives a window the size that it has by default and an end to its bytes, so that no request makes
/// the node answer without measure. Which entries it begins with stays the same.
void bound(session::window& w) {
  if (w.anchor)
    return;
  const bool newest = !w.limit && (w.last || w.max_bytes || (!w.after_version && !w.since));
  if (!w.turn_aligned)
    w.turn_aligned = w.last && !w.after_version && !w.before_version && !w.since && !w.max_bytes
                     && !w.limit && w.roles.empty();
  if (newest && !w.last && !w.max_bytes)
    w.last = session::window_default;
  if (!newest && !w.limit)
    w.limit = session::window_entries_max;
  w.max_bytes = std::min(w.max_bytes.value_or(answer_bytes_max), answer_bytes_max);
}

/// The first version of a page from which it goes on without a hole. A turn's user entry that was
/// put before a window leaves one behind itself.
version_t unbroken_from(const window_request& wanted, const session::page& page) {
  const auto& e = page.entries;
  if (wanted.window.roles.empty() && e.size() > 1 && e[0].fact.ordinal + 1 != e[1].fact.ordinal)
    return e[1].version;
  return e[0].version;
}

}  // namespace

// -- request_reader --

template <class T>
std::optional<T> request_reader::keep(result<T> r) {
  if (r)
    return std::move(*r);
  refuse(std::move(r.error()));
  return std::nullopt;
}

void request_reader::refuse(error e) {
  if (!wrong_)
    wrong_ = std::move(e);
}

void request_reader::refuse(std::string_view field, std::string message) {
  refuse(invalid(std::string(field), std::move(message)));
}

std::optional<std::string> request_reader::string(std::string_view name) {
  const auto raw = of_.raw(name);
  return raw ? keep(text_of(*raw, name)) : std::nullopt;
}

std::optional<std::string> request_reader::optional_id(std::string_view name) {
  auto value = string(name);
  if (value)
    if (auto good = check_id(*value, name); !good)
      refuse(good.error());
  return value;
}

std::string request_reader::id(std::string_view name) {
  if (!has(name))
    refuse(name, "is required");
  return optional_id(name).value_or("");
}

std::optional<std::string> request_reader::word(std::string_view name) {
  auto value = string(name);
  if (value)
    if (auto good = check_word(*value, name); !good)
      refuse(good.error());
  return value;
}

std::optional<std::string> request_reader::choice(std::string_view name,
                                                  std::initializer_list<std::string_view> allowed) {
  auto value = string(name);
  if (value && std::find(allowed.begin(), allowed.end(), *value) == allowed.end()) {
    std::string words;
    for (auto word : allowed)
      words += (words.empty() ? "`" : ", `") + std::string(word) + '`';
    refuse(name, "must be one of " + words);
  }
  return value;
}

std::optional<bool> request_reader::flag(std::string_view name) {
  const auto raw = of_.raw(name);
  return raw ? keep(json::as_bool(*raw, name)) : std::nullopt;
}

std::optional<std::uint64_t> request_reader::count(std::string_view name, std::uint64_t min,
                                                   std::uint64_t max) {
  const auto raw = of_.raw(name);
  const auto number = raw ? keep(json::as_integer(*raw, name)) : std::nullopt;
  if (!number)
    return std::nullopt;
  if (*number < 0 || static_cast<std::uint64_t>(*number) < min
      || static_cast<std::uint64_t>(*number) > max) {
    refuse(name,
           "must be a whole number from " + std::to_string(min) + " to " + std::to_string(max));
    return std::nullopt;
  }
  return static_cast<std::uint64_t>(*number);
}

std::optional<double> request_reader::number(std::string_view name, double min, double max) {
  const auto raw = of_.raw(name);
  if (!raw || json::kind_of(*raw) == json::kind::null)
    return std::nullopt;
  double n = 0;
  const auto read = std::from_chars(raw->data(), raw->data() + raw->size(), n);
  if (json::kind_of(*raw) != json::kind::number || read.ec != std::errc{} || n < min || n > max) {
    refuse(name, "must be a number from " + std::to_string(min) + " to " + std::to_string(max));
    return std::nullopt;
  }
  return n;
}

std::optional<time_us_t> request_reader::time(std::string_view name) {
  const auto written = string(name);
  return written ? keep(parse_time(*written, name)) : std::nullopt;
}

std::vector<std::string> request_reader::strings(std::string_view name, std::size_t most) {
  const auto raw = of_.raw(name);
  const auto parts = raw ? keep(json::elements(*raw, name)) : std::nullopt;
  if (!parts)
    return {};
  if (parts->size() > most) {
    refuse(name, "at most " + std::to_string(most));
    return {};
  }
  std::vector<std::string> out;
  for (auto part : *parts) {
    auto value = keep(text_of(part, at(name, out.size())));
    if (!value)
      return {};
    if (value->empty())
      refuse(at(name, out.size()), "must not be empty");
    out.push_back(std::move(*value));
  }
  return out;
}

std::string request_reader::any(std::string_view name) {
  const auto raw = of_.raw(name);
  return raw ? json::minify(*raw) : std::string();
}

std::optional<std::string> request_reader::object(std::string_view name) {
  const auto raw = of_.raw(name);
  if (!raw)
    return std::nullopt;
  if (json::kind_of(*raw) != json::kind::object) {
    refuse(name, "must be an object");
    return std::nullopt;
  }
  return json::minify(*raw);
}

// -- parts of commands --

session_key read_session_key(request_reader& in, std::string_view tenant) {
  return {std::string(tenant), in.id("app"), in.id("user"), in.id("session")};
}

result<session::entry> parse_entry(std::string_view raw, std::string_view path, const text& request,
                                   time_us_t now) {
  if (json::kind_of(raw) != json::kind::object)
    return fail_field(std::string(path), "must be an object");
  if (raw.size() > session::entry_bytes_max)
    return fail_field(std::string(path), std::to_string(raw.size())
                                           + " bytes; an entry has at most "
                                           + std::to_string(session::entry_bytes_max));
  const auto members = json::members(raw, path);
  if (!members)
    return fail(members.error());
  session::entry entry;
  entry.raw = request.slice(raw);
  std::string author;
  std::string field = member_of(path, {});
  for (const auto& member : *members) {
    const auto known =
      std::find_if(std::begin(reserved), std::end(reserved),
                   [&](const reserved_member& r) { return r.name == member.name; });
    if (known == std::end(reserved))
      continue;
    field.replace(path.size() + 1, std::string::npos, member.name);
    if (auto good = check_shape(member.raw, known->must_be, field, now); !good)
      return fail(good.error());
    if (json::kind_of(member.raw) == json::kind::null)
      continue;
    if (member.name == "id")
      entry.id = *json::as_string(member.raw, field);
    else if (member.name == "role")
      entry.role = *json::as_string(member.raw, field);
    else if (member.name == "author")
      author = *json::as_string(member.raw, field);
    else if (member.name == "partial")
      entry.partial = *json::as_bool(member.raw, field);
  }
  // An entry that names its author only is spoken by that author: `user` begins a turn.
  if (entry.role.empty()) {
    if (author.empty())
      return fail_field(member_of(path, "role"), "is required (or an `author`)");
    if (auto good = check_word(author, member_of(path, "author")); !good)
      return fail(good.error());
    entry.role = std::move(author);
  }
  return entry;
}

std::vector<session::entry> read_entries(request_reader& in, const text& request, time_us_t now) {
  std::vector<session::entry> entries;
  const auto add = [&](std::string_view raw, std::string_view path) {
    auto entry = parse_entry(raw, path, request, now);
    if (entry)
      entries.push_back(std::move(*entry));
    else
      in.refuse(entry.error());
    return entry.has_value();
  };
  if (in.has("entry") && in.has("entries")) {
    in.refuse("entry", "give `entry` or `entries`, not both");
  } else if (const auto one = in.raw("entry")) {
    add(*one, "entry");
  } else if (const auto many = in.raw("entries")) {
    const auto parts = json::elements(*many, "entries");
    if (!parts)
      in.refuse(parts.error());
    else if (parts->size() > session::entries_per_append_max)
      in.refuse("entries", "at most " + std::to_string(session::entries_per_append_max)
                             + " entries in one request");
    else
      for (auto part : *parts)
        if (!add(part, at("entries", entries.size())))
          break;
  }
  return entries;
}

session::state_delta read_delta(request_reader& in, std::string_view name) {
  const auto raw = in.raw(name);
  if (!raw)
    return {};
  auto map = json::to_raw_map(*raw, name);
  if (!map) {
    in.refuse(map.error());
    return {};
  }
  if (map->size() > keys_max) {
    in.refuse(name, "at most " + std::to_string(keys_max) + " keys");
    return {};
  }
  auto delta = session::split_scopes(std::move(*map), name);
  if (!delta) {
    in.refuse(delta.error());
    return {};
  }
  return std::move(*delta);
}

std::string seen_delta(const session::state_delta& delta) {
  json::raw_map seen = delta.session;
  for (const auto& [key, value] : delta.app)
    seen.insert_or_assign("app:" + key, value);
  for (const auto& [key, value] : delta.user)
    seen.insert_or_assign("user:" + key, value);
  for (const auto& [key, value] : delta.temp)
    seen.insert_or_assign("temp:" + key, value);
  return json::object_of(seen);
}

std::vector<std::string> read_session_keys(request_reader& in) {
  need_one(in, "key", "keys");
  std::vector<std::string> keys;
  if (auto one = in.string("key"))
    keys.push_back(std::move(*one));
  else
    keys = in.strings("keys", keys_max);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const auto field = in.has("key") ? std::string("key") : at("keys", i);
    if (keys[i].empty())
      in.refuse(field, "must not be empty");
    for (std::string_view prefix : {"app:", "user:", "temp:"})
      if (keys[i].starts_with(prefix))
        in.refuse(field, "`" + std::string(prefix) + "` keys are not the session's own: use "
                           + (prefix == "temp:" ? "none, they are never stored"
                                                : std::string(prefix.substr(0, prefix.size() - 1))
                                                    + ".delete_state"));
  }
  if (keys.empty())
    in.refuse("keys", "name at least one key");
  return keys;
}

std::string_view prefix_of(scope_kind kind) noexcept {
  return kind == scope_kind::app ? "app:" : "user:";
}

result<std::string> scope_key(std::string_view key, scope_kind kind, std::string_view field) {
  for (std::string_view prefix : {"app:", "user:", "temp:"}) {
    if (!key.starts_with(prefix))
      continue;
    if (prefix != prefix_of(kind))
      return fail_field(std::string(field),
                        "a `" + std::string(prefix) + "` key does not belong here");
    key.remove_prefix(prefix.size());
    break;
  }
  if (key.empty())
    return fail_field(std::string(field), "a key must not be empty");
  return std::string(key);
}

json::raw_map read_scope_state(request_reader& in, scope_kind kind) {
  const auto raw = in.raw("state");
  if (!raw) {
    in.refuse("state", "is required");
    return {};
  }
  auto map = json::to_raw_map(*raw, "state");
  if (!map) {
    in.refuse(map.error());
    return {};
  }
  if (map->empty() || map->size() > keys_max)
    in.refuse("state", "set at least one key and at most " + std::to_string(keys_max));
  // The keys go through the same rules as those of a session's delta.
  json::raw_map prefixed;
  for (auto& [key, value] : *map) {
    const auto field = "state." + key;
    auto stripped = scope_key(key, kind, field);
    if (!stripped) {
      in.refuse(stripped.error());
      return {};
    }
    if (!prefixed.emplace(std::string(prefix_of(kind)) + *stripped, std::move(value)).second)
      in.refuse(field, "the key is given twice, with and without its prefix");
  }
  auto delta = session::split_scopes(std::move(prefixed), "state");
  if (!delta) {
    in.refuse(delta.error());
    return {};
  }
  return kind == scope_kind::app ? std::move(delta->app) : std::move(delta->user);
}

scope::delete_keys read_scope_deletion(request_reader& in, scope_kind kind) {
  scope::delete_keys wish;
  wish.all = in.flag("all").value_or(false);
  const int ways = (in.has("key") ? 1 : 0) + (in.has("keys") ? 1 : 0) + (wish.all ? 1 : 0);
  if (ways != 1) {
    in.refuse("key", "give exactly one of `key`, `keys` and `all`");
    return wish;
  }
  if (auto one = in.string("key"))
    wish.keys.push_back(std::move(*one));
  else
    wish.keys = in.strings("keys", keys_max);
  for (std::size_t i = 0; i < wish.keys.size(); ++i) {
    auto key = scope_key(wish.keys[i], kind, in.has("key") ? std::string("key") : at("keys", i));
    if (key)
      wish.keys[i] = std::move(*key);
    else
      in.refuse(key.error());
  }
  if (!wish.all && wish.keys.empty())
    in.refuse("keys", "name at least one key");
  return wish;
}

retention read_retention(request_reader& in) {
  constexpr std::uint64_t entries_max = 1'000'000'000;
  constexpr std::uint64_t seconds_max = 100ULL * 366 * 24 * 3600;
  retention value;
  value.keep_entries = in.count("keep_entries", 0, entries_max).value_or(0);
  value.ttl_s = in.count("ttl_s", 0, seconds_max).value_or(0);
  return value;
}

window_request read_window(request_reader& in, std::string_view operation, const session_key& key) {
  constexpr std::uint64_t any = 1ULL << 53;
  window_request wanted;
  auto& w = wanted.window;
  w.last = in.count("last", 0, session::window_entries_max);
  w.after_version = in.count("after_version", 0, any);
  w.before_version = in.count("before_version", 0, any);
  w.since = in.time("since");
  w.max_bytes = in.count("max_bytes", 1, any);
  w.anchor = in.optional_id("anchor");
  w.before = in.count("before", 0, page_max).value_or(0);
  w.after = in.count("after", 0, page_max).value_or(0);
  w.roles = in.strings("roles", 32);
  w.limit = in.count("limit", 1, session::window_entries_max);
  w.turn_aligned = in.flag("turn_aligned");
  if (!w.anchor && (in.has("before") || in.has("after")))
    in.refuse("anchor", "`before` and `after` count entries around an `anchor`");
  wanted.list = window_list(operation, key, w);
  if (const auto cursor = in.string("cursor"))
    follow(wanted, in, *cursor);
  if (in.wrong() == nullptr)
    if (auto good = session::check(w); !good)
      in.refuse(good.error());
  bound(w);
  return wanted;
}

page_cursors cursors_of(const window_request& wanted, const session::page& page) {
  page_cursors cursors;
  if (page.entries.empty())
    return cursors;
  const auto at_version = [&](std::string_view way, version_t version) {
    const cursor_part place[] = {std::string(way), static_cast<std::int64_t>(version)};
    return write_cursor(wanted.list, place);
  };
  if (page.more_after)
    cursors.next = at_version(forwards, page.entries.back().version);
  const auto from = unbroken_from(wanted, page);
  if (page.more_before || from != page.entries.front().version)
    cursors.previous = at_version(backwards, from);
  return cursors;
}

std::vector<std::string> read_track_items(request_reader& in) {
  need_one(in, "item", "items");
  std::vector<std::string> items;
  const auto add = [&](std::string_view raw, std::string_view path) {
    if (raw.size() > session::entry_bytes_max)
      in.refuse(path, "at most " + std::to_string(session::entry_bytes_max) + " bytes");
    items.push_back(json::minify(raw));
  };
  if (const auto one = in.raw("item")) {
    add(*one, "item");
  } else if (const auto many = in.raw("items")) {
    const auto parts = json::elements(*many, "items");
    if (!parts)
      in.refuse(parts.error());
    else if (parts->empty() || parts->size() > track_items_max)
      in.refuse("items", "from 1 to " + std::to_string(track_items_max) + " items in one request");
    else
      for (auto part : *parts)
        add(part, at("items", items.size()));
  }
  return items;
}

}  // namespace recalld::api

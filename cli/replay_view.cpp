#include "cli/replay_view.hpp"

#include <iostream>
#include <limits>

#include <fmt/format.h>
#include <unistd.h>

#include "cli/entry_view.hpp"
#include "cli/exit_code.hpp"
#include "cli/text_table.hpp"
#include "events/codec.hpp"
#include "events/json.hpp"

namespace recalld::cli {

namespace {

using moment = session_past::moment;

/// Session keys with those of the application and the user, as clients see them.
json::raw_map merged(const moment& m) {
  auto out = m.state.values;
  for (const auto& [key, value] : m.app)
    out.emplace("app:" + key, value);
  for (const auto& [key, value] : m.user)
    out.emplace("user:" + key, value);
  return out;
}

std::string array_of(const std::vector<std::string>& items) {
  std::string out = "[";
  for (const auto& item : items)
    out += (out.size() > 1 ? "," : "") + item;
  return out + "]";
}

std::string contexts_json(const session::state& s) {
  std::vector<std::string> items;
  for (const auto& [id, item] : s.contexts) {
    json::object_writer w;
    w.str("id", id).str("type", item.type).raw("content", item.content);
    w.str("created_at", format_time(item.created_at)).num("version", item.version);
    items.push_back(std::move(w).done());
  }
  return array_of(items);
}

std::string entries_json(const std::vector<session::recorded_entry>& entries) {
  std::vector<std::string> items;
  for (const auto& e : entries) {
    json::object_writer w;
    w.num("version", e.version).num("position", e.position).str("recorded_at", format_time(e.time));
    w.raw("entry", e.fact.raw.view());
    items.push_back(std::move(w).done());
  }
  return array_of(items);
}

std::string differences_json(const std::vector<difference>& all) {
  std::vector<std::string> items;
  for (const auto& d : all) {
    json::object_writer w;
    w.str("change", to_string(d.how)).str("what", d.what);
    if (!d.key.empty())
      w.str("key", d.key);
    if (!d.before.empty())
      w.raw("before", d.before);
    if (!d.after.empty())
      w.raw("after", d.after);
    items.push_back(std::move(w).done());
  }
  return array_of(items);
}

void add_address(json::object_writer& w, const stream_id& stream) {
  const auto parts = stream.parts();
  w.str("tenant", parts[0]).str("app", parts[1]).str("user", parts[2]).str("session", parts[3]);
}

void print_heading(const invocation& call, const session_past& past, const moment& m) {
  const auto word = session::to_string(m.state.status);
  const auto when = m.time == 0 ? std::string("before the first fact") : format_time(m.time);
  fmt::print("{}  version {} of {}  {}  {}\n",
             call.out.paint(style::bold, printable(to_string(past.stream()))), m.version,
             past.head(), call.out.paint(word == "open" ? style::green : style::yellow, word),
             when);
  if (m.state.created_at != 0)
    fmt::print("created {}, updated {}{}, {} entries\n", format_time(m.state.created_at),
               format_time(m.state.updated_at),
               m.state.closed_at == 0 ? "" : ", closed " + format_time(m.state.closed_at),
               grouped(m.state.entries));
  if (m.state.floor > 0)
    fmt::print("history up to version {} is forgotten\n", m.state.floor);
  for (const auto& source : m.state.borrowed)
    fmt::print("shares the past of {} up to version {}\n", printable(to_string(source.stream)),
               source.through);
}

style style_of(difference::kind k) {
  return k == difference::kind::added     ? style::green
         : k == difference::kind::removed ? style::red
                                          : style::yellow;
}

char sign_of(difference::kind k) {
  return k == difference::kind::added ? '+' : k == difference::kind::removed ? '-' : '~';
}

std::string line_of(const difference& d) {
  const auto name = d.key.empty() ? d.what : d.what + " " + d.key;
  const auto values = d.before.empty()  ? d.after
                      : d.after.empty() ? d.before
                                        : d.before + " → " + d.after;
  return printable(fmt::format("{} {}: {}", sign_of(d.how), name, values));
}

void print_difference(const invocation& call, const difference& d, std::size_t indent) {
  auto line = std::string(indent, ' ') + line_of(d);
  if (call.out.width > 0)
    line = cut_to(line, call.out.width);
  fmt::print("{}\n", call.out.paint(style_of(d.how), line));
}

/// What a fact adds that the state does not hold: entries and items of tracks.
std::string content_of(const recorded& r) {
  if (r.blanked)
    return "(forgotten)";
  const auto any = codec::decode(r);
  const auto* fact = any ? std::get_if<session::fact>(&*any) : nullptr;
  if (fact == nullptr)
    return {};
  if (const auto* entry = std::get_if<session::entry_appended>(fact))
    return fmt::format("#{} {}: {}", entry->ordinal, entry->role, entry_gist(entry->raw.view()));
  if (const auto* item = std::get_if<session::track_appended>(fact))
    return fmt::format("{}: {}", item->track, item->item.view());
  return {};
}

std::string step_json(const recorded& r, const std::vector<difference>& changes) {
  json::object_writer w;
  w.num("version", r.at.version)
    .num("position", r.at.position)
    .str("recorded_at", format_time(r.at.time));
  w.str("fact", r.type);
  if (!r.at.command.empty())
    w.str("command_id", r.at.command);
  if (r.blanked)
    w.boolean("forgotten", true);
  else
    w.raw("payload", r.payload.view());
  w.raw("changes", differences_json(changes));
  return std::move(w).done();
}

void print_step(const invocation& call, const recorded& r, const std::vector<difference>& changes) {
  const auto head = fmt::format("{:>6}  {}  ", r.at.version, short_time(r.at.time));
  const auto content = printable(content_of(r));
  const auto used = display_width(head) + r.type.size() + 2;
  const auto room = call.out.width == 0     ? content.size() + 1
                    : call.out.width > used ? call.out.width - used
                                            : 0;
  fmt::print("{}{}{}{}\n", call.out.paint(style::dim, head), call.out.paint(style::cyan, r.type),
             content.empty() ? "" : "  ", cut_to(content, room));
  for (const auto& d : changes)
    if (d.what != "entries")
      print_difference(call, d, 8);
}

}  // namespace

int show_moment(const invocation& call, session_past& past, version_t at, std::size_t limit) {
  auto m = past.at(at);
  if (!m)
    return call.fail(m.error());
  auto entries = past.entries(*m, 0, limit);
  if (!entries)
    return call.fail(entries.error());
  auto tracks = past.tracks(*m);
  if (!tracks)
    return call.fail(tracks.error());
  if (call.json) {
    json::object_writer w;
    add_address(w, past.stream());
    w.num("version", m->version)
      .num("head", past.head())
      .str("status", session::to_string(m->state.status));
    w.str("at", format_time(m->time)).str("created_at", format_time(m->state.created_at));
    w.str("updated_at", format_time(m->state.updated_at));
    if (m->state.closed_at != 0)
      w.str("closed_at", format_time(m->state.closed_at));
    w.raw("metadata", m->state.metadata.empty() ? "{}" : m->state.metadata);
    w.raw("state", json::object_of(merged(*m))).raw("contexts", contexts_json(m->state));
    w.num("entry_count", m->state.entries).raw("entries", entries_json(*entries));
    json::raw_map by_name;
    for (const auto& [name, item] : *tracks)
      by_name[name] += (by_name[name].empty() ? "[" : ",") + item;
    for (auto& [name, items] : by_name)
      items += "]";
    w.raw("tracks", json::object_of(by_name));
    fmt::print("{}\n", std::move(w).done());
    return exit_code::success;
  }
  print_heading(call, past, *m);
  text_table state({{
                      .title = "STATE",
                      .paint = style::cyan,
                    },
                    {.title = "VALUE", .shrinks = true}});
  for (const auto& [key, value] : merged(*m))
    state.add({key, value});
  if (!state.empty())
    fmt::print("\n{}", state.render(call.out));
  text_table contexts({{.title = "CONTEXT", .paint = style::cyan},
                       {.title = "TYPE"},
                       {.title = "CONTENT", .shrinks = true}});
  for (const auto& [id, item] : m->state.contexts)
    contexts.add({id, item.type, item.content});
  if (!contexts.empty())
    fmt::print("\n{}", contexts.render(call.out));
  text_table items({{.title = "TRACK", .paint = style::cyan}, {.title = "ITEM", .shrinks = true}});
  for (const auto& [name, item] : *tracks)
    items.add({name, item});
  if (!items.empty())
    fmt::print("\n{}", items.render(call.out));
  auto table = entry_table();
  for (const auto& e : *entries)
    add_entry_row(table, e.version, format_time(e.time), e.fact.raw.view());
  if (!table.empty())
    fmt::print("\n{}", table.render(call.out));
  if (entries->size() == limit && m->state.entries > limit)
    call.note(
      fmt::format("The newest {} of {} entries; --entries N shows more.", limit, m->state.entries));
  return exit_code::success;
}

int show_steps(const invocation& call, session_past& past, version_t to) {
  const bool waits = call.out.tty && !call.json && ::isatty(STDIN_FILENO) == 1;
  if (waits)
    call.note("Enter goes on, q ends.");
  bool first = true;
  const auto walked =
    past.walk(past.first(), to, [&](const recorded& r, const moment& before, const moment& after) {
      if (waits && !first) {
        std::string answer;
        if (!std::getline(std::cin, answer) || answer == "q")
          return false;
      }
      first = false;
      const auto changes = differences(before.state, after.state);
      if (call.json)
        fmt::print("{}\n", step_json(r, changes));
      else
        print_step(call, r, changes);
      std::fflush(stdout);
      return true;
    });
  return walked ? exit_code::success : call.fail(walked.error());
}

int show_difference(const invocation& call, session_past& past, version_t first, version_t last) {
  if (first > last)
    return call.fail(
      invalid("--diff", fmt::format("version {} is behind version {}", first, last)));
  auto before = past.at(first);
  if (!before)
    return call.fail(before.error());
  auto after = past.at(last);
  if (!after)
    return call.fail(after.error());
  auto entries = past.entries(*after, first, std::numeric_limits<std::size_t>::max());
  if (!entries)
    return call.fail(entries.error());
  const auto changes = differences(before->state, after->state);
  if (call.json) {
    json::object_writer w;
    add_address(w, past.stream());
    w.num("first", first).num("last", last).raw("changes", differences_json(changes));
    w.raw("entries_added", entries_json(*entries));
    fmt::print("{}\n", std::move(w).done());
    return exit_code::success;
  }
  fmt::print("{}  version {} ({}) → version {} ({})\n",
             call.out.paint(style::bold, printable(to_string(past.stream()))), first,
             before->time == 0 ? "the beginning" : format_time(before->time), last,
             format_time(after->time));
  for (const auto& d : changes)
    print_difference(call, d, 0);
  for (const auto& e : *entries) {
    auto line = printable(fmt::format("+ entry #{} {}: {}", e.fact.ordinal, e.fact.role,
                                      entry_gist(e.fact.raw.view())));
    if (call.out.width > 0)
      line = cut_to(line, call.out.width);
    fmt::print("{}\n", call.out.paint(style::green, line));
  }
  if (changes.empty() && entries->empty())
    fmt::print("nothing changed\n");
  return exit_code::success;
}

}  // namespace recalld::cli

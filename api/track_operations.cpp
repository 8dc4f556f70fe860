#include <algorithm>

#include "api/answers.hpp"
#include "api/cursor.hpp"
#include "api/steps.hpp"

/// Named side logs of a session.
namespace recalld::api {

namespace {

using actors::committed;
using actors::operation;
using actors::right;
using actors::shared_fact;

constexpr auto track_fields =
  join(session_fields, std::to_array<field>({
                         {"track", field_type::string, true, "The track's name, 1 to 128 bytes."},
                       }));
constexpr auto append_request =
  join(track_fields,
       std::to_array<field>({
         {"items", field_type::array, false, "Up to 500 JSON values of at most 256 KiB, in order."},
         {"item", field_type::any, false, "One JSON value, instead of `items`."},
       }));
constexpr auto append_answer = join(
  written_fields,
  std::to_array<field>({
    {"versions", field_type::array, true, "The version of each item, in the order of the request."},
  }));
constexpr auto list_request =
  join(track_fields,
       std::to_array<field>({
         {"limit", field_type::integer, false, "Items on a page, 1 to 1000; default 100."},
         {"cursor", field_type::string, false, "Go on where the last answer's `next_cursor` says."},
       }));
constexpr auto list_answer = std::to_array<field>({
  {"version", field_type::integer, true, "The session's version."},
  {"items", field_type::array, true, "Oldest first: `{version, position, recorded_at, item}`."},
  {"next_cursor", field_type::string, false, "To the next page, when there is one."},
});

std::string read_track(request_reader& in) {
  if (!in.has("track"))
    in.refuse("track", "is required");
  return in.word("track").value_or("");
}

void append(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_session_key(in, call->tenant());
  session::append_track wish;
  wish.track = read_track(in);
  wish.items = read_track_items(in);
  if (refused(call, in))
    return;
  submit_to_session(call, key, std::move(wish), [=](const committed& done) {
    array_writer versions;
    for (const auto& r : done.facts)
      if (r->lane == lane::tracks)
        versions.raw(std::to_string(r->at.version));
    auto out = written(done);
    out.raw("versions", std::move(versions).done());
    call->answer(std::move(out).done());
  });
}

result<std::string> item_json(const recorded& r) {
  const auto appended = fact_as<session::track_appended>(r);
  if (!appended)
    return fail(errc::corrupt, "a track item cannot be read");
  json::object_writer out;
  out.num("version", r.at.version)
    .num("position", r.at.position)
    .str("recorded_at", format_time(r.at.time))
    .raw("item", appended->item.view());
  return std::move(out).done();
}

/// The key behind which a page goes on; empty without a cursor.
std::string read_place(request_reader& in, std::string_view list, std::string_view prefix) {
  const auto cursor = in.string("cursor");
  if (!cursor)
    return {};
  auto place = read_cursor(*cursor, list, "cursor");
  if (!place) {
    in.refuse(std::move(place.error()));
    return {};
  }
  const auto* after = place->size() == 1 ? std::get_if<std::string>(place->data()) : nullptr;
  if (after == nullptr || !after->starts_with(prefix)) {
    in.refuse("cursor", "this is not a cursor that an answer gave");
    return {};
  }
  return *after;
}

void list(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_session_key(in, call->tenant());
  const auto track = read_track(in);
  const auto limit = in.count("limit", 1, page_max).value_or(100);
  const auto prefix = fact_key::track_prefix(track);
  const auto name = list_name({"track.list", key.tenant, key.app, key.user, key.session, track});
  const auto after = read_place(in, name, prefix);
  if (refused(call, in))
    return;
  view_session(call, key, 0, [=](const session_view& seen) {
    const auto version = seen.stream.version;
    const auto answer = [=](const std::vector<shared_fact>& found) {
      array_writer items;
      const auto count = std::min<std::size_t>(found.size(), limit);
      for (std::size_t i = 0; i < count; ++i) {
        auto item = item_json(*found[i]);
        if (!item) {
          call->fail(std::move(item.error()));
          return;
        }
        items.raw(*item);
      }
      json::object_writer out;
      out.num("version", version).raw("items", std::move(items).done());
      if (found.size() > count) {
        const cursor_part place[] = {found[count - 1]->key};
        out.str("next_cursor", write_cursor(name, place));
      }
      call->answer(std::move(out).done());
    };
    // What is forgotten, or of an earlier session of this id, may still lie in the log.
    const auto begin = std::max(after, fact_key::track_item(track, seen.state->floor));
    // One more tells whether there is another page.
    call->by_key(seen.stream, prefix, begin, limit + 1, call->on<std::vector<shared_fact>>(answer));
  });
}

constexpr std::string_view path = "/v1/apps/{app}/users/{user}/sessions/{session}/tracks/{track}";

constexpr operation operations[] = {
  {"track.append", "Appends items to a named side log of a session.", right::write, "POST", path,
   false, append_request, append_answer, append},
  {"track.list", "Pages through a named side log of a session, oldest first.", right::read, "GET",
   path, false, list_request, list_answer, list},
};

}  // namespace

std::span<const operation> track_operations() { return operations; }

}  // namespace recalld::api

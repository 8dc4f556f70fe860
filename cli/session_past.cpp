#include "cli/session_past.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

#include "actors/entry_sources.hpp"
#include "events/fold.hpp"

namespace recalld::cli {

namespace {

using aggregate = session::aggregate;
constexpr std::size_t chunk = 1024;

/// An application's or user's keys as the log had them up to a position.
result<json::raw_map> scope_at(storage::log_reader& log, const stream_id& stream,
                               position_t through) {
  const auto found = log.find_stream(stream);
  if (!found && found.error().code == errc::not_found)
    return json::raw_map{};
  if (!found)
    return fail(found.error());
  versioned<scope::aggregate> folded;
  folded.version = found->base;
  for (;;) {
    auto facts = log.stream_forth(found->stream_no, folded.version, chunk);
    if (!facts)
      return fail(facts.error());
    for (const auto& f : *facts) {
      if (f.at.position > through)
        return std::move(folded.state.values);
      if (auto r = fold(folded, f); !r)
        return fail(r.error());
    }
    if (facts->empty())
      return std::move(folded.state.values);
  }
}

/// A fact of an earlier life of the id, of a life that is over, or of a past that was let go.
bool forgotten(const session_past::moment& m, version_t version) {
  const auto word = m.state.status;
  const bool alive = word == session::status::open || word == session::status::closed;
  return !alive || version < m.state.created_version || version <= m.state.floor;
}

bool readable(const session_past::moment& m, const session::recorded_entry& e) {
  return !forgotten(m, e.version) && session::visible(m.state, e.fact);
}

/// The entries' view of a moment, for the sources that windows are cut from.
actors::stream_view view_of(const stream_id& stream, stream_no_t no,
                            const session_past::moment& m) {
  actors::stream_view view;
  view.stream = stream;
  view.stream_no = no;
  view.version = m.version;
  view.time = m.time;
  view.state = std::make_shared<const session::state>(m.state);
  return view;
}

}  // namespace

result<std::optional<point>> parse_point(std::string_view text, std::string_view field) {
  if (text.empty() || text == "head")
    return std::optional<point>{};
  version_t version = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (failed == std::errc{} && end == text.data() + text.size())
    return std::optional<point>(point{version});
  auto time = parse_time(text, field);
  if (!time)
    return fail_field(std::string(field),
                      std::string(text)
                        + " is neither a version nor a time such as 2026-01-31T12:00:00Z");
  point out;
  out.at.emplace<1>(*time);
  return std::optional<point>(out);
}

result<point_range> parse_point_range(std::string_view text, std::string_view field) {
  const auto dots = text.find("..");
  if (dots == std::string_view::npos)
    return fail_field(std::string(field), "expected A..B, each a version or a time");
  auto first = parse_point(text.substr(0, dots), field);
  if (!first)
    return fail(first.error());
  auto last = parse_point(text.substr(dots + 2), field);
  if (!last)
    return fail(last.error());
  return point_range{*first, *last};
}

result<session_past> session_past::open(storage::log_reader& log, stream_id session) {
  const auto found = log.find_stream(session);
  if (!found && found.error().code == errc::not_found)
    return fail(errc::not_found, "there never was a " + to_string(session) + " in this log");
  if (!found)
    return fail(found.error());
  return session_past(log, std::move(session), *found);
}

result<version_t> session_past::resolve(const point& p) {
  if (!p.is_time()) {
    const auto version = std::get<0>(p.at);
    if (version > at_.head)
      return fail(errc::not_found, "there is no version " + std::to_string(version)
                                     + "; the newest is " + std::to_string(at_.head));
    return version;
  }
  // The version before the first fact that is later than the point, in any lane.
  auto version = at_.head;
  const auto later = std::get<1>(p.at) + 1;
  for (std::uint8_t l = 0; l < lane_count; ++l) {
    const auto next = log_->first_since(at_.stream_no, static_cast<lane>(l), later);
    if (!next)
      return fail(next.error());
    if (*next > 0)
      version = std::min(version, *next - 1);
  }
  if (version == 0)
    return fail(errc::not_found, "the session did not exist at " + format_time(std::get<1>(p.at)));
  return version;
}

result<session_past::moment> session_past::beginning() {
  moment m;
  m.version = at_.base;
  if (at_.base_fact == 0)
    return m;
  auto facts = log_->stream_forth(at_.stream_no, at_.base_fact - 1, 1);
  if (!facts)
    return fail(facts.error());
  if (facts->empty() || facts->front().at.version != at_.base_fact)
    return fail(errc::corrupt, "the base of " + to_string(stream_) + " is missing");
  auto any = codec::decode(facts->front());
  if (!any)
    return fail(any.error());
  const auto* fact = std::get_if<session::fact>(&*any);
  if (fact == nullptr)
    return fail(errc::corrupt, "the base of " + to_string(stream_) + " is of another kind");
  m.state = aggregate::carried_state(*fact);
  m.time = m.state.updated_at;
  return m;
}

result<void> session_past::add_scopes(moment& m) {
  const auto parts = stream_.parts();
  // Where the facts themselves are forgotten, the state of the scopes is that of now.
  const auto through = m.position == 0 ? std::numeric_limits<position_t>::max() : m.position;
  auto app = scope_at(*log_, app_stream(parts[0], parts[1]), through);
  if (!app)
    return fail(app.error());
  auto user = scope_at(*log_, user_stream(parts[0], parts[1], parts[2]), through);
  if (!user)
    return fail(user.error());
  m.app = std::move(*app);
  m.user = std::move(*user);
  return {};
}

result<session_past::moment> session_past::at(version_t version) {
  if (version > at_.head)
    return resolve(point{version}).map([](version_t) { return moment{}; });
  if (version < at_.base)
    return fail(errc::not_found, "history before version " + std::to_string(at_.base)
                                   + " is forgotten (or lies in the session it was forked from)");
  auto m = beginning();
  if (!m)
    return m;
  versioned<aggregate> folded{std::move(m->state), m->version, m->time};
  while (folded.version < version) {
    auto facts = log_->stream_forth(at_.stream_no, folded.version,
                                    std::min<std::size_t>(chunk, version - folded.version));
    if (!facts)
      return fail(facts.error());
    if (facts->empty())
      return fail(errc::corrupt,
                  to_string(stream_) + " ends before version " + std::to_string(version));
    for (const auto& f : *facts) {
      if (auto r = fold(folded, f); !r)
        return fail(r.error());
      m->position = f.at.position;
    }
  }
  m->state = std::move(folded.state);
  m->version = folded.version;
  m->time = folded.time;
  if (auto r = add_scopes(*m); !r)
    return fail(r.error());
  return m;
}

result<void> session_past::walk(version_t from, version_t to, const visitor& visit) {
  auto start = at(from);
  if (!start)
    return fail(start.error());
  moment before = std::move(*start);
  while (before.version < to) {
    auto facts = log_->stream_forth(at_.stream_no, before.version,
                                    std::min<std::size_t>(chunk, to - before.version));
    if (!facts)
      return fail(facts.error());
    if (facts->empty())
      return fail(errc::corrupt, to_string(stream_) + " ends before version " + std::to_string(to));
    for (const auto& f : *facts) {
      versioned<aggregate> folded{before.state, before.version, before.time};
      if (auto r = fold(folded, f); !r)
        return r;
      moment after{std::move(folded.state), folded.version, folded.time, f.at.position, {}, {}};
      if (!visit(f, before, after))
        return {};
      before = std::move(after);
    }
  }
  return {};
}

result<std::vector<session::recorded_entry>> session_past::entries(const moment& m, version_t after,
                                                                   std::size_t limit) {
  auto source = actors::log_source::over(*log_, view_of(stream_, at_.stream_no, m));
  if (!source)
    return fail(source.error());
  std::vector<session::recorded_entry> out;
  auto before = m.version + 1;
  while (out.size() < limit) {
    auto some = source->back(before, std::min(limit - out.size(), chunk));
    if (!some)
      return fail(some.error());
    if (some->empty())
      break;
    before = some->back().version;
    bool reached = false;
    for (auto& e : *some) {
      reached = e.version <= after || !readable(m, e);
      if (reached)
        break;
      out.push_back(std::move(e));
    }
    if (reached)
      break;
  }
  std::reverse(out.begin(), out.end());
  return out;
}

result<void> session_past::each_entry(
  const moment& m, const std::function<void(const session::recorded_entry&)>& visit) {
  auto source = actors::log_source::over(*log_, view_of(stream_, at_.stream_no, m));
  if (!source)
    return fail(source.error());
  for (auto after = m.state.created_version;;) {
    auto some = source->forth(after, chunk);
    if (!some)
      return fail(some.error());
    if (some->empty())
      return {};
    after = some->back().version;
    for (const auto& e : *some)
      if (readable(m, e))
        visit(e);
  }
}

result<std::vector<std::pair<std::string, std::string>>> session_past::tracks(const moment& m) {
  std::vector<std::pair<std::string, std::string>> out;
  version_t after = 0;
  for (;;) {
    auto facts = log_->lane_forth(at_.stream_no, lane::tracks, after, chunk);
    if (!facts)
      return fail(facts.error());
    if (facts->empty())
      return out;
    for (const auto& f : *facts) {
      after = f.at.version;
      if (f.at.version > m.version)
        return out;
      if (forgotten(m, f.at.version))
        continue;
      auto any = codec::decode(f);
      if (!any)
        return fail(any.error());
      const auto* fact = std::get_if<session::fact>(&*any);
      const auto* item = fact == nullptr ? nullptr : std::get_if<session::track_appended>(fact);
      if (item == nullptr)
        return fail(errc::corrupt, "fact " + f.type + " among the tracks");
      out.emplace_back(item->track, item->item.str());
    }
  }
}

}  // namespace recalld::cli

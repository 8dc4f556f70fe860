#include "events/window.hpp"

#include <algorithm>

#include "events/envelope.hpp"

namespace recalld::session {

namespace {

/// Facts read in one go, at most.
constexpr std::size_t chunk_max = 512;
/// Facts read in one go when nobody can say how many are needed.
constexpr std::size_t chunk_blind = 32;

constexpr std::string_view user_role = "user";

/// What a window takes, all its choices made.
struct plan {
  bool from_oldest = false;
  bool turn_aligned = false;
  std::uint64_t count = window_default;  ///< Entries at most.
  std::optional<std::uint64_t> bytes;
  /// Entries with `above` < version < `below` may be shown.
  version_t above = 0;
  version_t below = 0;
};

/// The window says nothing of the oldest end.
bool takes_newest(const window& w) {
  return !w.anchor && !w.limit && (w.last || w.max_bytes || (!w.after_version && !w.since));
}

bool last_alone(const window& w) {
  return w.last && !w.after_version && !w.before_version && !w.since && !w.max_bytes && !w.anchor
         && !w.limit && w.roles.empty();
}

/// Cuts one window out of one source.
class cutter {
public:
  cutter(const window& w, const state& s, version_t head, entry_source& source)
    : w_(w),
      s_(s),
      source_(source),
      bottom_(std::max(s.floor, s.created_version)),
      top_(head + 1) {}

  result<page> operator()() {
    if (s_.status != status::open && s_.status != status::closed)
      return w_.anchor ? no_anchor() : result<page>{};
    if (auto planned = make_plan(); !planned)
      return fail(std::move(planned.error()));
    auto taken = w_.anchor ? take_around() : plan_.from_oldest ? take_oldest() : take_newest();
    if (!taken)
      return fail(std::move(taken.error()));
    return std::move(page_);
  }

private:
  // -- what may be shown --

  result<void> make_plan() {
    plan_.from_oldest = !w_.anchor && !takes_newest(w_);
    plan_.turn_aligned = w_.turn_aligned.value_or(last_alone(w_));
    if (w_.last)
      plan_.count = *w_.last;
    else if (w_.limit)
      plan_.count = *w_.limit;
    else if (plan_.from_oldest || w_.max_bytes)
      plan_.count = window_entries_max;
    plan_.bytes = w_.max_bytes;
    plan_.above = std::min(top_ - 1, std::max(bottom_, w_.after_version.value_or(0)));
    plan_.below = std::clamp(w_.before_version.value_or(top_), version_t{1}, top_);
    if (!w_.since)
      return {};
    auto first = source_.first_since(*w_.since);
    if (!first)
      return fail(std::move(first.error()));
    begin_at(*first);
    return {};
  }

  /// Nothing before this version is shown; nothing at all when it is 0.
  void begin_at(version_t first) {
    plan_.above = std::max(plan_.above, first == 0 || first > top_ ? top_ - 1 : first - 1);
  }

  /// It belongs to this life of the session and is inside its retention.
  bool shown(const recorded_entry& e) const {
    return e.version > bottom_ && e.version < top_ && visible(s_, e.fact);
  }
  bool wanted(const recorded_entry& e) const {
    return w_.roles.empty()
           || std::find(w_.roles.begin(), w_.roles.end(), e.fact.role) != w_.roles.end();
  }
  /// How many entries to read in one go when `need` are missing.
  std::size_t chunk(std::uint64_t need) const {
    if (plan_.bytes || !w_.roles.empty())
      return std::clamp<std::uint64_t>(need, 1, chunk_blind);
    return std::clamp<std::uint64_t>(need, 1, chunk_max);
  }

  /// And how many then: strides grow, but not where each entry may be large and the last one.
  std::size_t longer(std::size_t size) const {
    return plan_.bytes ? size : std::min(size * 2, chunk_max);
  }

  // -- walking: `visit` gets each entry between the bounds and says whether to go on --

  template <class Visit>
  result<void> walk_back(version_t before, std::uint64_t need, Visit visit) {
    for (auto size = chunk(need);; size = longer(size)) {
      auto read = source_.back(before, size);
      if (!read)
        return fail(std::move(read.error()));
      for (auto& e : *read) {
        before = e.version;
        if (e.version <= plan_.above || !shown(e) || (wanted(e) && !visit(std::move(e))))
          return {};
      }
      if (read->size() < size)
        return {};
    }
  }

  template <class Visit>
  result<void> walk_forth(version_t after, std::uint64_t need, Visit visit) {
    for (auto size = chunk(need);; size = longer(size)) {
      auto read = source_.forth(after, size);
      if (!read)
        return fail(std::move(read.error()));
      for (auto& e : *read) {
        after = e.version;
        if (e.version >= plan_.below)
          return {};
        if (shown(e) && wanted(e) && !visit(std::move(e)))
          return {};
      }
      if (read->size() < size)
        return {};
    }
  }

  /// Takes entries while count and bytes allow it; the first one always fits the bytes.
  bool take(recorded_entry&& e) {
    bytes_ += e.fact.raw.size();
    if (plan_.bytes && bytes_ > *plan_.bytes && !page_.entries.empty())
      return false;
    page_.entries.push_back(std::move(e));
    return page_.entries.size() < plan_.count;
  }

  // -- the three kinds of windows --

  result<void> take_newest() {
    if (plan_.count > 0) {
      auto walked = walk_back(plan_.below, plan_.count,
                              [this](recorded_entry&& e) { return take(std::move(e)); });
      if (!walked)
        return walked;
    }
    std::reverse(page_.entries.begin(), page_.entries.end());
    if (plan_.turn_aligned && !page_.entries.empty())
      if (auto aligned = align(); !aligned)
        return aligned;
    return look_around();
  }

  result<void> take_oldest() {
    if (auto skipped = skip_hidden(); !skipped)
      return skipped;
    auto walked = walk_forth(plan_.above, plan_.count,
                             [this](recorded_entry&& e) { return take(std::move(e)); });
    return walked ? look_around() : walked;
  }

  result<void> take_around() {
    auto anchor = find_anchor();
    if (!anchor)
      return fail(std::move(anchor.error()));
    auto& all = page_.entries;
    auto gather = [&all](std::uint64_t most) {
      return [&all, until = all.size() + most](recorded_entry&& e) {
        all.push_back(std::move(e));
        return all.size() < until;
      };
    };
    if (w_.before > 0)
      if (auto walked = walk_back(anchor->version, w_.before, gather(w_.before)); !walked)
        return walked;
    std::reverse(all.begin(), all.end());
    auto at = anchor->version;
    all.push_back(std::move(*anchor));
    if (w_.after > 0)
      if (auto walked = walk_forth(at, w_.after, gather(w_.after)); !walked)
        return walked;
    return look_around();
  }

  /// The entry with this version, if there is one to be shown inside the bounds.
  result<std::optional<recorded_entry>> shown_at(version_t version) {
    if (version <= plan_.above || version >= plan_.below)
      return std::nullopt;
    auto read = source_.back(version + 1, 1);
    if (!read)
      return fail(std::move(read.error()));
    if (read->empty() || read->front().version != version || !shown(read->front()))
      return std::nullopt;
    return std::move(read->front());
  }

  result<recorded_entry> find_anchor() {
    auto version = source_.find(fact_key::entry(s_.created_version, *w_.anchor));
    if (!version)
      return fail(std::move(version.error()));
    auto anchor = shown_at(*version);
    if (!anchor)
      return fail(std::move(anchor.error()));
    if (!*anchor)
      return no_anchor();
    return std::move(**anchor);
  }
  static tl::unexpected<error> no_anchor() {
    return fail({errc::not_found, "there is no such entry", "anchor"});
  }

  /// Lets the window begin with the entry of a user.
  result<void> align() {
    auto& all = page_.entries;
    auto first =
      std::find_if(all.begin(), all.end(), [](const auto& e) { return e.fact.role == user_role; });
    if (first != all.end()) {
      all.erase(all.begin(), first);
      return {};
    }
    auto turn = shown_at(all.front().fact.turn_version);
    if (!turn)
      return fail(std::move(turn.error()));
    if (*turn)
      all.insert(all.begin(), std::move(**turn));
    return {};
  }

  /// Raises the lower bound to the first visible entry, without walking over the hidden ones where
  /// they may be many: retention says how far back it can be.
  result<void> skip_hidden() {
    if (s_.retention.keep_entries == 0)
      return {};
    auto first = source_.forth(plan_.above, 1);
    if (!first)
      return fail(std::move(first.error()));
    if (first->empty() || shown(first->front()))
      return {};
    auto found = first_visible(s_, top_ - 1, source_);
    if (!found)
      return fail(std::move(found.error()));
    begin_at(*found);
    return {};
  }

  // -- what lies outside --

  result<void> look_around() {
    const auto& all = page_.entries;
    // An empty window lies where it would have begun to take.
    auto none = w_.last == std::optional<std::uint64_t>{0};
    auto begin = !all.empty() ? all.front().version : none ? plan_.below : plan_.above + 1;
    auto end = !all.empty() ? all.back().version : plan_.below - 1;
    if (all.empty() || all.front().fact.ordinal > 1) {
      auto before = source_.back(begin, 1);
      if (!before)
        return fail(std::move(before.error()));
      page_.more_before = !before->empty() && shown(before->front());
    }
    if (end + 1 >= top_ || (!all.empty() && all.back().fact.ordinal >= s_.entries))
      return {};
    auto after = source_.forth(end, 1);
    if (!after)
      return fail(std::move(after.error()));
    page_.more_after = !after->empty() && shown(after->front());
    return {};
  }

  const window& w_;
  const state& s_;
  entry_source& source_;
  version_t bottom_;  ///< Entries up to here are forgotten or of an earlier life.
  version_t top_;     ///< Entries from here on are not there yet.
  plan plan_;
  page page_;
  std::uint64_t bytes_ = 0;
};

}  // namespace

result<version_t> first_visible(const state& s, version_t head, entry_source& source) {
  const auto bottom = std::max(s.floor, s.created_version);
  version_t first = 0;
  auto before = head + 1;
  auto size = s.retention.keep_entries == 0
                ? chunk_max
                : std::clamp<std::uint64_t>(s.retention.keep_entries + 1, 1, chunk_max);
  for (;;) {
    auto read = source.back(before, size);
    if (!read)
      return fail(std::move(read.error()));
    for (const auto& e : *read) {
      if (e.version <= bottom || !visible(s, e.fact))
        return first;
      first = before = e.version;
    }
    if (read->size() < size)
      return first;
  }
}

result<void> check(const window& w) {
  auto over = [](const std::optional<std::uint64_t>& n) { return n && *n > window_entries_max; };
  if (over(w.last))
    return fail_field("last", "must be at most 10000");
  if (over(w.limit) || w.limit == std::optional<std::uint64_t>{0})
    return fail_field("limit", "must be from 1 to 10000");
  if (w.limit && w.last)
    return fail_field("limit", "does not go with `last`");
  if (w.after_version && w.before_version && *w.before_version <= *w.after_version)
    return fail_field("before_version", "must be greater than `after_version`");
  for (std::size_t i = 0; i < w.roles.size(); ++i)
    if (w.roles[i].empty() || w.roles[i].size() > word_bytes_max)
      return fail_field("roles[" + std::to_string(i) + "]", "must have 1 to 128 bytes");
  if (w.anchor) {
    if (auto good = check_id(*w.anchor, "anchor"); !good)
      return good;
    if (w.last || w.limit || w.max_bytes)
      return fail_field("anchor", "does not go with `last`, `limit` or `max_bytes`");
    if (w.before > window_entries_max || w.after > window_entries_max)
      return fail_field(w.before > window_entries_max ? "before" : "after",
                        "must be at most 10000");
  } else if (w.before > 0 || w.after > 0) {
    return fail_field(w.before > 0 ? "before" : "after", "needs an `anchor`");
  }
  if (w.turn_aligned.value_or(false)) {
    if (!takes_newest(w))
      return fail_field("turn_aligned", "needs a window that takes from the newest end");
    if (!w.roles.empty() && std::find(w.roles.begin(), w.roles.end(), user_role) == w.roles.end())
      return fail_field("turn_aligned", "does not go with roles other than `user`");
  }
  return {};
}

result<page> cut(const window& w, const state& s, version_t head, entry_source& source) {
  if (auto good = check(w); !good)
    return fail(std::move(good.error()));
  return cutter(w, s, head, source)();
}

}  // namespace recalld::session

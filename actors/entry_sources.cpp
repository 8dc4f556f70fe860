#include "actors/entry_sources.hpp"

#include "events/codec.hpp"

#include <algorithm>

namespace recalld::actors {

using session::recorded_entry;

result<recorded_entry> entry_of(const recorded& r) {
  auto any = codec::decode(r);
  if (!any)
    return fail(any.error());
  auto* fact = std::get_if<session::fact>(&*any);
  auto* entry = fact == nullptr ? nullptr : std::get_if<session::entry_appended>(fact);
  if (entry == nullptr)
    return fail(errc::corrupt, "fact " + r.type + " among the entries");
  return recorded_entry{r.at.version, r.at.position, r.at.time, std::move(*entry)};
}

// -- tail_source --

tl::unexpected<error> tail_source::miss() {
  missed_ = true;
  return fail(errc::unavailable, "not in memory");
}

result<std::vector<recorded_entry>> tail_source::back(version_t before, std::size_t limit) {
  std::vector<recorded_entry> out;
  for (auto it = view_.tail.rbegin(); it != view_.tail.rend() && out.size() < limit; ++it) {
    if ((*it)->at.version >= before)
      continue;
    auto entry = entry_of(**it);
    if (!entry)
      return fail(entry.error());
    out.push_back(std::move(*entry));
  }
  if (out.size() < limit && view_.tail_after > 0)
    return miss();
  return out;
}

result<std::vector<recorded_entry>> tail_source::forth(version_t after, std::size_t limit) {
  if (after < view_.tail_after)
    return miss();
  std::vector<recorded_entry> out;
  for (const auto& f : view_.tail) {
    if (f->at.version <= after)
      continue;
    if (out.size() == limit)
      break;
    auto entry = entry_of(*f);
    if (!entry)
      return fail(entry.error());
    out.push_back(std::move(*entry));
  }
  return out;
}

result<version_t> tail_source::find(std::string_view key) {
  for (const auto& f : view_.tail)
    if (f->key == key)
      return f->at.version;
  if (view_.tail_after > 0)
    return miss();
  return version_t{0};
}

result<version_t> tail_source::first_since(time_us_t t) {
  if (view_.tail.empty() || view_.tail.front()->at.time >= t) {
    if (view_.tail_after > 0)
      return miss();
  }
  for (const auto& f : view_.tail)
    if (f->at.time >= t)
      return f->at.version;
  return version_t{0};
}

// -- log_source --

result<log_source> log_source::over(storage::log_reader& log, const stream_view& view) {
  log_source source(log);
  if (const auto* s = std::get_if<std::shared_ptr<const session::state>>(&view.state)) {
    for (const auto& range : (*s)->borrowed) {
      auto at = log.find_stream(range.stream);
      if (!at && at.error().code != errc::not_found)
        return fail(at.error());
      if (!at)
        return fail(errc::corrupt, "a borrowed stream is missing: " + to_string(range.stream));
      source.stretches_.push_back({at->stream_no, range.through});
    }
  }
  source.stretches_.push_back({view.stream_no, view.version});
  return source;
}

result<std::vector<recorded_entry>> log_source::back(version_t before, std::size_t limit) {
  std::vector<recorded_entry> out;
  for (auto it = stretches_.rbegin(); it != stretches_.rend() && out.size() < limit; ++it) {
    auto facts =
      log_->lane_back(it->no, lane::entries, std::min(before, it->through + 1), limit - out.size());
    if (!facts)
      return fail(facts.error());
    for (const auto& f : *facts) {
      auto entry = entry_of(f);
      if (!entry)
        return fail(entry.error());
      out.push_back(std::move(*entry));
    }
  }
  return out;
}

result<std::vector<recorded_entry>> log_source::forth(version_t after, std::size_t limit) {
  std::vector<recorded_entry> out;
  for (const auto& s : stretches_) {
    if (out.size() >= limit)
      break;
    if (s.through <= after)
      continue;
    auto facts = log_->lane_forth(s.no, lane::entries, after, limit - out.size());
    if (!facts)
      return fail(facts.error());
    for (const auto& f : *facts) {
      if (f.at.version > s.through)
        break;
      auto entry = entry_of(f);
      if (!entry)
        return fail(entry.error());
      out.push_back(std::move(*entry));
    }
    after = std::max(after, s.through);
  }
  return out;
}

result<version_t> log_source::find(std::string_view key) {
  for (auto it = stretches_.rbegin(); it != stretches_.rend(); ++it) {
    auto found = log_->by_key(it->no, key);
    if (!found)
      return fail(found.error());
    if (*found && (*found)->at.version <= it->through)
      return (*found)->at.version;
  }
  return version_t{0};
}

result<version_t> log_source::first_since(time_us_t t) {
  for (const auto& s : stretches_) {
    auto found = log_->first_since(s.no, lane::entries, t);
    if (!found)
      return fail(found.error());
    if (*found != 0 && *found <= s.through)
      return *found;
  }
  return version_t{0};
}

}  // namespace recalld::actors

#pragma once

#include "actors/protocol.hpp"
#include "retrieval/index.hpp"

#include <string>
#include <unordered_map>

namespace recalld::actors {

/// The entries of one session as of a version, ready to be searched: as memories are, each entry
/// being what its role said at the time it was recorded. Entries never change, so what follows is
/// only added; the past that a fork borrows belongs to it.
class searchable_entries {
public:
  /// Reads what was recorded up to the view since the last time. After an error it must not be used
  /// again.
  result<void> refresh(storage::log_reader& log, const stream_view& view);

  result<found_entries> search(storage::log_reader& log, const search_entries& wish) const;
  /// Bytes, about.
  std::size_t footprint() const;

private:
  struct place {
    version_t version = 0;
    time_us_t time = 0;
    /// As in `session::entry_appended`; whether retention still shows it is decided by these.
    std::uint64_t ordinal = 0;
    std::uint64_t turn_ordinal = 0;
  };

  retrieval::memory_index index_;
  std::unordered_map<std::string, place> places_;  ///< By the index's id.
  version_t through_ = 0;
  version_t life_ = 0;
};

}  // namespace recalld::actors

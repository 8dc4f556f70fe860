#pragma once

#include "actors/searchable_entries.hpp"
#include "actors/surroundings.hpp"
#include "retrieval/index.hpp"
#include "retrieval/vectors.hpp"

#include <caf/stateful_actor.hpp>

#include <list>
#include <unordered_map>

namespace recalld::actors {

/// The memories of one owner as of a version of their stream, ready to be searched.
class searchable_memories {
public:
  /// Brings it up to the stream's head, as seen by a frozen view of the log: what changed since is
  /// read, everything where that is not enough. After an error it must not be used again.
  /// Vectors are those of this model; none when it is empty.
  result<void> refresh(storage::log_reader& log, const storage::stream_position& at,
                       const std::string& model);

  const retrieval::memory_index& index() const { return index_; }
  const retrieval::vector_index& vectors() const { return vectors_; }
  version_t version() const { return version_; }
  /// Of a memory in the index.
  const memory_space::traits& traits_of(retrieval::memory_index::slot_t slot) const;
  /// Bytes, about.
  std::size_t footprint() const;

private:
  result<void> load(storage::log_reader& log, stream_no_t stream, const std::string& model);
  result<void> load_vectors(storage::log_reader& log, stream_no_t stream, const std::string& model);
  /// Which memories facts in (`version_`, `head`] are about, in order; nothing: read it all again.
  result<std::optional<std::vector<std::string>>> touched(storage::log_reader& log,
                                                          stream_no_t stream, version_t head);
  /// False: the order of the memories would differ from a fresh load.
  result<bool> renew(storage::log_reader& log, stream_no_t stream, const std::string& id,
                     const std::string& model);
  void put_vector(const projections::row& row, const std::string& model);
  void put(const projections::row& row);
  void drop(const std::string& id);

  retrieval::memory_index index_;
  retrieval::vector_index vectors_;  ///< Of memories in the index.
  std::unordered_map<std::string, memory_space::traits> traits_;
  version_t version_ = 0;
  version_t newest_created_ = 0;
  std::size_t traits_bytes_ = 0;
};

/// What was searched last, by stream, within a bound of bytes. The last one always fits.
template <class T>
class searched_last {
public:
  /// Of this stream, in front of the others; a new one when there is none.
  T& of(const stream_id& stream) {
    const auto known = by_stream_.find(stream);
    if (known == by_stream_.end()) {
      all_.push_front({stream, {}, 0});
      by_stream_.emplace(stream, all_.begin());
    } else {
      all_.splice(all_.begin(), all_, known->second);
    }
    return all_.front().what;
  }
  /// The one in front has another size now.
  void weigh(std::size_t bytes_max) {
    auto& first = all_.front();
    bytes_ -= std::exchange(first.bytes, first.what.footprint());
    bytes_ += first.bytes;
    while (bytes_ > bytes_max && all_.size() > 1)
      forget(std::prev(all_.end()));
  }
  /// The one in front is not to be used again.
  void forget() { forget(all_.begin()); }

private:
  struct one {
    stream_id stream;
    T what;
    std::size_t bytes = 0;
  };
  void forget(typename std::list<one>::iterator which) {
    bytes_ -= which->bytes;
    by_stream_.erase(which->stream);
    all_.erase(which);
  }

  std::list<one> all_;  ///< Last searched first.
  std::unordered_map<stream_id, typename std::list<one>::iterator> by_stream_;
  std::size_t bytes_ = 0;
};

/// Answers searches. Detached, with a connection of its own: it keeps the indexes of the owners and
/// sessions that were searched last, so that a search costs no more than the words in it.
class searcher_state {
public:
  static constexpr const char* name = "searcher";

  void start(surroundings_ptr around, std::shared_ptr<storage::log_reader> log);
  result<found_memories> search(const search_memories& wish);
  result<found_entries> search(const search_entries& wish);

private:
  result<found_memories> search_frozen(const search_memories& wish);
  /// The owner's memories up to date.
  result<const searchable_memories*> fresh(const stream_id& stream,
                                           const storage::stream_position& at);

  surroundings_ptr around_;
  std::shared_ptr<storage::log_reader> log_;
  searched_last<searchable_memories> owners_;
  searched_last<searchable_entries> sessions_;
};

caf::behavior searcher(caf::stateful_actor<searcher_state>* self, surroundings_ptr around,
                       std::shared_ptr<storage::log_reader> log);

}  // namespace recalld::actors

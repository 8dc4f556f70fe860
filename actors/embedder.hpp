#pragma once

#include "actors/surroundings.hpp"

#include <caf/stateful_actor.hpp>

#include <chrono>
#include <list>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace recalld::actors {

/// Makes vectors of questions, and remembers those asked last. When the source fails, questions are
/// told so at once for a while: a search does not wait for what is down.
class question_embedder_state {
public:
  static constexpr const char* name = "question_embedder";

  void start(surroundings_ptr around, embed_texts source, std::chrono::milliseconds patience);
  result<std::string> embed(const embed_question& wish);

private:
  surroundings_ptr around_;
  embed_texts source_;
  std::chrono::milliseconds patience_{};
  std::list<std::pair<std::string, std::string>> asked_;  ///< Question and vector, last one first.
  std::unordered_map<std::string, decltype(asked_)::iterator> by_question_;
  std::optional<error> down_;
  std::chrono::steady_clock::time_point up_again_{};
};

/// Answers `embed_question` with `reply<std::string>`, a vector as `retrieval::quantised` makes it,
/// within about `patience`. Blocks: to be spawned detached.
caf::behavior question_embedder(caf::stateful_actor<question_embedder_state>* self,
                                surroundings_ptr around, embed_texts source,
                                std::chrono::milliseconds patience);

/// Gives every memory a vector, also those that have one of another model: reads which ones want it,
/// asks the source, tells their owners' streams. What it did is in the log; what is left is found again
/// after a restart.
class memory_embedder_state {
public:
  static constexpr const char* name = "memory_embedder";

  void start(caf::stateful_actor<memory_embedder_state>* self, surroundings_ptr around,
             embed_texts source);
  /// One page of memories, then the next one.
  void work();

private:
  struct wanted {
    std::int64_t stream = 0;
    stream_id owner;
    std::string text;
    memory_space::embedding what;
  };
  using page = std::shared_ptr<std::vector<wanted>>;

  void next_page(const std::vector<projections::row>& rows);
  void next_model();
  void read_texts(const page& all, std::size_t at);
  void embed(const page& all);
  void tell(const page& all);
  void rest(std::chrono::milliseconds pause);
  void fail_with(const error& why);

  template <class Answer, class Message, class Then>
  void ask(const caf::actor& whom, Message message, Then then);

  caf::stateful_actor<memory_embedder_state>* self_ = nullptr;
  surroundings_ptr around_;
  embed_texts source_;
  std::string of_model_;  ///< Memories that have vectors of this one are looked at.
  std::vector<projections::value> after_;                  ///< The last one that was.
  std::set<std::pair<std::string, std::string>> refused_;  ///< Ids and hashes, for good.
  std::chrono::milliseconds pause_{0};                     ///< After the last failure.
};

/// Blocks: to be spawned detached.
caf::behavior memory_embedder(caf::stateful_actor<memory_embedder_state>* self,
                              surroundings_ptr around, embed_texts source);

}  // namespace recalld::actors

#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "providers/chat_completions.hpp"

/// Writes the summaries that are due with a model: claims a job, asks the endpoint, stores the text. A
/// worker like any other: it does nothing but call operations.
namespace recalld::providers {

/// Runs an operation of the catalogue with a JSON object as its request.
using call_operation =
  std::function<result<std::string>(std::string_view operation, std::string request)>;

struct scribe_options {
  model_endpoint endpoint;
  std::string tenant = "default";
  std::string worker = "scribe";
  std::uint32_t wait_ms = 500;  ///< How long one claim waits for a job.
  /// Failed jobs are due again by themselves, so that few tries are enough here.
  providers::limits limits{.tries = 2};
};

/// What became of one round.
struct scribed {
  bool claimed = false;
  bool stored = false;
  std::string job;  ///< `app/user/session`, with the filter key in brackets; for logs.
  error failure{};  ///< When it was claimed and not stored.
};

/// What the model is asked for one handed-out job (`job` of `summary.claim`); `corrupt` when that is
/// not readable.
result<std::vector<chat_message>> prompt_for(std::string_view job);

class scribe {
public:
  scribe(scribe_options options, call_operation call);

  /// One round. An error: no job could be asked for.
  result<scribed> work_once();

  /// How long a claim's lease has to be: as long as all tries may take.
  std::uint64_t lease_s() const noexcept;

private:
  scribe_options options_;
  call_operation call_;
  http_client http_;
};

}  // namespace recalld::providers

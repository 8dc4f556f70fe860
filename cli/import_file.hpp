#pragma once

#include <cstdint>
#include <istream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/requests.hpp"
#include "events/result.hpp"

/// Files of conversations, read one stretch of a session at a time and checked as the server would
/// check them, so that what is wrong is known before anything is written.
///
/// JSON Lines, one object a line (empty lines are skipped):
///
///   {"session":{"app":…,"user":…,"id":…,"tenant"?:…,"state"?:{…},"metadata"?:{…},
///               "contexts"?:[{"id"?:…,"type":…,"content":…}],"closed"?:true}}
///       begins a session; the lines behind it belong to it until the next one begins
///   {"entry":{…}}                        an entry of that session
///   {"track":NAME,"item":…}              an item of one of its side logs
///   {"app":…,"user":…,"session":ID,…}    an entry that names its session itself; order is kept
///   {"scope":{"app":…,"user"?:…,"tenant"?:…,"values":{…}}}
///       state shared by an application's (or one of its users') sessions
///
/// LoCoMo: a JSON array of `{sample_id, conversation: {speaker_a, speaker_b, session_N: [{speaker,
/// dia_id, text, blip_caption?}], session_N_date_time}}`. Each `session_N` becomes a session of
/// application `locomo` and user `sample_id`; speaker_a is the user, speaker_b the assistant.
namespace recalld::cli {

struct bad_line {
  std::string place;  ///< `line 12`, or which turn of which conversation.
  std::string reason;
};

/// Neighbouring lines of one session.
struct import_run {
  api::session_key key;
  std::string place;                  ///< Where it begins.
  bool known = false;                 ///< `key` could be read; a run that is not known is only bad.
  bool scope = false;                 ///< Shared state instead of a session; `session` is empty.
  std::string state;                  ///< Raw JSON object; empty = none.
  std::string metadata;               ///< Raw JSON object; empty = none.
  std::vector<std::string> contexts;  ///< Raw JSON objects.
  std::vector<std::string> entries;   ///< Raw JSON objects, each with an id.
  std::vector<std::pair<std::string, std::string>> tracks;  ///< Name and raw item.
  bool closed = false;
  std::vector<bad_line> bad;
};

/// Who owns what does not say it itself.
struct import_defaults {
  std::string tenant = "default";
  std::string app;
  std::string user;
};

class import_source {
public:
  virtual ~import_source() = default;
  /// Nothing at the end. Reasons to refuse a run are in it; failures to read the file end it and
  /// stand in the last run's `bad`.
  virtual std::optional<import_run> next() = 0;
  /// Bytes read so far.
  virtual std::uint64_t bytes() const = 0;
};

enum class import_format : std::uint8_t { json_lines, locomo };

/// Looks at the first byte that is not white space: `[` begins a LoCoMo file.
import_format guess_format(std::istream& in);

/// Reads from `in`, which must outlive the source. `now` is the clock that client times are
/// compared with.
std::unique_ptr<import_source> read_json_lines(std::istream& in, import_defaults defaults,
                                               time_us_t now);
/// `invalid` when it is no JSON array.
result<std::unique_ptr<import_source>> read_locomo(std::istream& in, import_defaults defaults);

/// Microseconds since 1970 of a time such as `1:56 pm on 8 May, 2023`, taken as UTC.
result<time_us_t> parse_spoken_time(std::string_view text);

/// `object` with an `id` member put in front.
std::string with_id(std::string_view object, std::string_view id);

}  // namespace recalld::cli

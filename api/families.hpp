#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>

#include "actors/gateway.hpp"

/// The families of operations. Each lives in a file of its own; `catalogue.cpp` puts them together.
namespace recalld::api {

using call_ptr = std::shared_ptr<actors::call>;

std::span<const actors::operation> session_operations();     ///< Writes to a session, list, fork.
std::span<const actors::operation> transcript_operations();  ///< Reads of one session's entries.
std::span<const actors::operation> context_operations();
std::span<const actors::operation> track_operations();
std::span<const actors::operation> scope_operations();   ///< `app.*` and `user.*`.
std::span<const actors::operation> memory_operations();  ///< `memory.*`.
std::span<const actors::operation> value_operations();   ///< `value.*`.
std::span<const actors::operation> principal_operations();  ///< `principal.*` and `usage.*`.
std::span<const actors::operation> history_operations();    ///< `history.*`.
std::span<const actors::operation> key_operations();        ///< `key.*`.
std::span<const actors::operation>
inbox_operations();  ///< `approval.*`, `grant.*`, `clarification.*`.
std::span<const actors::operation> schedule_operations();  ///< `schedule.*`, `run.*`, `effect.*`.
std::span<const actors::operation> summary_operations();   ///< `summary.*`.
std::span<const actors::operation> node_operations();      ///< `node.*` and `catalogue.list`.

/// The longest that an operation waits when it is asked to, in milliseconds.
inline constexpr std::int64_t wait_ms_max = 60'000;
/// What operations that do nothing but wait (`*.wait`) wait when their request does not say.
inline constexpr std::int64_t wait_ms_default = 30'000;

// -- fields that many operations share --

using actors::field;
using actors::field_type;

template <std::size_t... N>
constexpr auto join(const std::array<field, N>&... parts) {
  std::array<field, (N + ...)> all{};
  std::size_t at = 0;
  const auto add = [&](const auto& part) {
    for (const auto& f : part)
      all[at++] = f;
  };
  (add(parts), ...);
  return all;
}

inline constexpr auto app_field = std::to_array<field>({
  {"app", field_type::string, true, "The application; 1 to 512 bytes."},
});
inline constexpr auto user_fields =
  join(app_field,
       std::to_array<field>({
         {"user", field_type::string, true, "The user within the application; 1 to 512 bytes."},
       }));
inline constexpr auto session_fields = join(
  user_fields, std::to_array<field>({
                 {"session", field_type::string, true, "The session of the user; 1 to 512 bytes."},
               }));

/// What every answer to a write begins with.
inline constexpr auto written_fields = std::to_array<field>({
  {"version", field_type::integer, true, "The stream's version after the write."},
  {"position", field_type::integer, true,
   "Where the write stands in the log; 0 when nothing had to be recorded."},
  {"recorded_at", field_type::string, true, "Server time of the write, UTC with microseconds."},
  {"duplicate", field_type::boolean, true,
   "The command id was executed before: this is the first execution's answer."},
});

}  // namespace recalld::api

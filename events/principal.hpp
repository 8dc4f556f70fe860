#pragma once

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "events/aggregate.hpp"
#include "events/json.hpp"

/// Somebody who talks with agents: the record of a person, the model sessions that are used for
/// them, the memory collections that are attached, and what it all used.
namespace recalld::principal {

inline constexpr std::size_t text_bytes_max = 512;
inline constexpr std::size_t sealed_bytes_max = 16 * 1024;
inline constexpr std::size_t things_max = 1'000;  ///< Sessions, collections, models, each.
/// Numbers are exact in every client up to here.
inline constexpr std::uint64_t number_max = 1ull << 53;

struct record {
  std::string username;
  std::string status;  ///< Of the dialog; a caller's word.
  bool admin = false;
  std::string network;
  std::vector<std::string> topics;
  std::string metadata;  ///< Raw JSON object; empty = `{}`.
  friend bool operator==(const record&, const record&) = default;
};

/// Which model is asked where, under which name.
struct model_session {
  std::string endpoint;
  std::string base_url;
  std::string model;
  std::string type;
  std::string sealed;  ///< The credential as the key ring sealed it; empty = none.
  friend bool operator==(const model_session&, const model_session&) = default;
};

/// What calls of models used.
struct usage {
  std::uint64_t calls = 0;
  std::uint64_t prompt_tokens = 0;
  std::uint64_t completion_tokens = 0;
  std::uint64_t reasoning_tokens = 0;
  std::uint64_t total_tokens = 0;
  std::uint64_t duration_ms = 0;
  friend bool operator==(const usage&, const usage&) = default;
};
/// Nothing when a number would pass `number_max`.
std::optional<usage> sum(const usage& a, const usage& b) noexcept;

/// An owner's memories under a name.
struct collection {
  std::string app;
  std::string user;
  friend bool operator==(const collection&, const collection&) = default;
};

struct spent {
  principal::usage last{};
  principal::usage total{};
  friend bool operator==(const spent&, const spent&) = default;
};

struct state {
  time_us_t created_at = 0;  ///< 0 = there is no record.
  time_us_t updated_at = 0;
  principal::record record{};
  std::map<std::string, model_session, std::less<>> sessions;
  std::map<std::string, collection, std::less<>> collections;
  spent all{};
  std::map<std::string, spent, std::less<>> by_session;
  std::map<std::string, spent, std::less<>> by_model;
  friend bool operator==(const state&, const state&) = default;
};

// -- commands --

struct put {
  principal::record record;
};
struct put_session {
  std::string name;
  model_session session;
  bool keep_credential = false;  ///< `session.sealed` is that of the session that exists.
};
struct drop_session {
  std::string name;
};
/// The same credential under another key; nothing when `was` is not what the session has any more.
struct reseal {
  std::string name;
  std::string was;
  std::string sealed;
};
struct attach {
  std::string name;
  collection what;
};
struct detach {
  std::string name;
};
/// Counted once for each `call`, however often it is told.
struct record_usage {
  std::string call;
  std::string session;  ///< Empty = of none.
  std::string model;    ///< Empty = that of the session, if it has one.
  usage used{};
};
/// Everything goes.
struct purge {};
using command =
  std::variant<put, put_session, drop_session, reseal, attach, detach, record_usage, purge>;

// -- facts --

struct record_put {
  principal::record record;
  time_us_t created_at = 0;
  friend bool operator==(const record_put&, const record_put&) = default;
};
struct session_put {
  std::string name;
  model_session session;
  friend bool operator==(const session_put&, const session_put&) = default;
};
/// With what it used, which still counts in the totals.
struct session_dropped {
  std::string name;
  friend bool operator==(const session_dropped&, const session_dropped&) = default;
};
struct collection_attached {
  std::string name;
  collection what;
  friend bool operator==(const collection_attached&, const collection_attached&) = default;
};
struct collection_detached {
  std::string name;
  friend bool operator==(const collection_detached&, const collection_detached&) = default;
};
struct usage_recorded {
  std::string call;
  std::string session;
  std::string model;
  usage used{};
  friend bool operator==(const usage_recorded&, const usage_recorded&) = default;
};
struct purged {
  friend bool operator==(const purged&, const purged&) = default;
};
using fact = std::variant<record_put, session_put, session_dropped, collection_attached,
                          collection_detached, usage_recorded, purged>;

// -- the aggregate --

struct aggregate : plain_aggregate<state, command, fact> {
  static constexpr stream_kind kind = stream_kind::principal;

  static std::vector<std::string> lookups(const state& s, const command& c);
  static result<decision> decide(const state& s, const command& c, const context& ctx,
                                 const stream_id& self);
  static void evolve(state& s, const fact& f, const envelope& at);
  static std::size_t footprint(const state& s) noexcept;
  static std::optional<base_mark> base_of(const fact& f, version_t version);
  static std::string forgets(const fact& f);
  static const codec::format<aggregate>& stored_as();
};

/// Keys of facts: `usage_key` is there once for a call; those about a session begin with its prefix.
std::string usage_key(std::string_view call);
std::string session_prefix(std::string_view name);

}  // namespace recalld::principal

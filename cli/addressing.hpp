#pragma once

#include <memory>
#include <string>

#include "api/requests.hpp"
#include "cli/command.hpp"
#include "storage/postgres_store.hpp"

/// What commands are about: which session, which log.
namespace recalld::cli {

/// The session with this id of the tenant, application and user that the settings name; `invalid`
/// when one of them is missing.
result<api::session_key> session_key_of(const invocation& call, std::string session);

/// A setting that must not be empty here, such as `app`.
result<std::string> required_setting(const invocation& call, std::string_view key);

/// Where the log is, for people: a directory, or a URL without its password.
std::string log_place(const settings& s);
/// Whether it is in a Postgres database.
bool log_is_remote(const settings& s);
/// The directory of a log that is in one.
std::filesystem::path log_directory(const settings& s);

/// How a log in Postgres is opened, with what the settings say of that.
storage::postgres_options postgres_options_of(const settings& s, const std::string& url);

/// Opens the log for reading; a server may be running on it.
result<std::unique_ptr<storage::store>> open_log_to_read(const invocation& call);
/// Opens it for writing; `unavailable` while a server has it.
result<std::unique_ptr<storage::store>> open_log_to_write(const invocation& call);

/// Microseconds since 1970.
time_us_t wall_clock();

}  // namespace recalld::cli

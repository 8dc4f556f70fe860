#pragma once

#include <memory>
#include <string>

#include "api/requests.hpp"
#include "cli/command.hpp"
#include "storage/store.hpp"

/// What commands are about: which session, which log.
namespace recalld::cli {

/// The session with this id of the tenant, application and user that the settings name; `invalid`
/// when one of them is missing.
result<api::session_key> session_key_of(const invocation& call, std::string session);

/// A setting that must not be empty here, such as `app`.
result<std::string> required_setting(const invocation& call, std::string_view key);

/// Opens the log of the data directory for reading; a server may be running on it.
result<std::unique_ptr<storage::store>> open_log_to_read(const invocation& call);
/// Opens it for writing; `unavailable` while a server has it.
result<std::unique_ptr<storage::store>> open_log_to_write(const invocation& call);

/// Microseconds since 1970.
time_us_t wall_clock();

}  // namespace recalld::cli

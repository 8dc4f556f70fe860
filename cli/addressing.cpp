#include "cli/addressing.hpp"

#include <chrono>

#include <fmt/format.h>

#include "storage/sqlite_store.hpp"

namespace recalld::cli {

namespace {

result<std::unique_ptr<storage::store>> open_log(const invocation& call, bool read_only) {
  storage::sqlite_options options;
  options.directory = call.settings.path("data");
  options.read_only = read_only;
  auto opened = storage::open_sqlite(options);
  if (!opened && opened.error().code == errc::not_found)
    opened.error().message += "; --data names another directory, `recalld serve` makes a new one";
  return opened;
}

}  // namespace

result<std::string> required_setting(const invocation& call, std::string_view key) {
  const auto& value = call.settings.text(key);
  const auto& what = *find_setting(key);
  if (value.empty())
    return fail_field(
      std::string(key),
      fmt::format("which {}? Give {} NAME, {} or `{} = \"NAME\"` in the configuration", key,
                  what.flag, environment_name(what), key));
  if (auto good = check_id(value, key); !good)
    return fail(good.error());
  return value;
}

result<api::session_key> session_key_of(const invocation& call, std::string session) {
  auto tenant = required_setting(call, "tenant");
  auto app = required_setting(call, "app");
  auto user = required_setting(call, "user");
  for (const auto* part : {&tenant, &app, &user})
    if (!*part)
      return fail(part->error());
  if (auto good = check_id(session, "SESSION"); !good)
    return fail(good.error());
  return api::session_key{std::move(*tenant), std::move(*app), std::move(*user),
                          std::move(session)};
}

result<std::unique_ptr<storage::store>> open_log_to_read(const invocation& call) {
  return open_log(call, true);
}

result<std::unique_ptr<storage::store>> open_log_to_write(const invocation& call) {
  return open_log(call, false);
}

time_us_t wall_clock() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
           std::chrono::system_clock::now().time_since_epoch())
    .count();
}

}  // namespace recalld::cli

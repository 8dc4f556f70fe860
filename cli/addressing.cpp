#include "cli/addressing.hpp"

#include <chrono>

#include <fmt/format.h>
#include <unistd.h>

#include "storage/postgres_store.hpp"
#include "storage/sqlite_store.hpp"

namespace recalld::cli {

namespace {

result<std::unique_ptr<storage::store>> open_remote(const settings& s, bool read_only) {
  auto options = postgres_options_of(s, s.text("store"));
  options.read_only = read_only;
  auto opened = storage::open_postgres(options);
  if (!opened)
    opened.error().message = fmt::format("{}: {}", log_place(s), opened.error().message);
  return opened;
}

result<std::unique_ptr<storage::store>> open_log(const invocation& call, bool read_only) {
  if (log_is_remote(call.settings))
    return open_remote(call.settings, read_only);
  storage::sqlite_options options;
  options.directory = log_directory(call.settings);
  options.read_only = read_only;
  auto opened = storage::open_sqlite(options);
  if (!opened && opened.error().code == errc::not_found)
    opened.error().message += "; --data names another directory, `recalld serve` makes a new one";
  return opened;
}

}  // namespace

storage::postgres_options postgres_options_of(const settings& s, const std::string& url) {
  storage::postgres_options options;
  options.url = url;
  options.schema = s.text("postgres.schema");
  options.allow_unsafe = s.flag("postgres.allow_unsafe");
  // Two processes of one node are two incarnations.
  options.application_name = fmt::format("recalld/{}/{}", s.text("node.name"), ::getpid());
  return options;
}

bool log_is_remote(const settings& s) { return storage::is_postgres_url(s.text("store")); }

std::string log_place(const settings& s) {
  return log_is_remote(s) ? storage::printable_postgres_url(s.text("store"))
                          : log_directory(s).string();
}

std::filesystem::path log_directory(const settings& s) {
  const auto& store = s.text("store");
  return store.empty() ? s.path("data") : std::filesystem::path(store);
}

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

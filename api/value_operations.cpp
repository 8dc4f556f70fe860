#include "api/answers.hpp"
#include "api/cursor.hpp"
#include "api/row_pages.hpp"
#include "api/steps.hpp"

/// Values that live for a time: short memory.
namespace recalld::api {

namespace {

using actors::committed;
using actors::operation;
using actors::right;
namespace rows = projections::short_values;

constexpr auto type_fields =
  join(app_field, std::to_array<field>({
                    {"type", field_type::string, true, "What kind of values; 1 to 512 bytes."},
                  }));
constexpr auto key_fields =
  join(type_fields, std::to_array<field>({
                      {"key", field_type::string, true, "The value's key; 1 to 512 bytes."},
                    }));
constexpr auto set_request =
  join(key_fields, std::to_array<field>({
                     {"value", field_type::any, true, "Any JSON, at most 256 KiB."},
                     {"ttl_s", field_type::integer, true,
                      "Seconds that it lives from now on, at least 1; then it is absent."},
                   }));
constexpr auto set_answer =
  join(written_fields, std::to_array<field>({
                         {"stored", field_type::boolean, true,
                          "False when a value lived under the key and was to be left alone."},
                       }));
constexpr auto get_answer = std::to_array<field>({
  {"key", field_type::string, true, "Its key."},
  {"value", field_type::any, true, "What was set."},
  {"created_at", field_type::string, true, "When it was first set; overwriting keeps it."},
  {"updated_at", field_type::string, true, "When it was last set."},
  {"expires_at", field_type::string, true, "From then on it is absent."},
});
constexpr auto count_answer = std::to_array<field>({
  {"count", field_type::integer, true, "How many values of the type live."},
});
constexpr auto list_request = join(type_fields, page_fields);
constexpr auto list_answer = std::to_array<field>({
  {"values", field_type::array, true, "In order of keys; see `value.get`."},
  {"next_cursor", field_type::string, false, "To the next page, when there is one."},
});

struct value_key {
  std::string tenant;
  std::string app;
  std::string type;
  std::string key;
  stream_id stream() const { return value_space::stream_of(tenant, app, type, key); }
};

value_key read_key(request_reader& in, const call_ptr& call) {
  return {call->tenant(), in.id("app"), in.id("type"), in.id("key")};
}

template <bool IfAbsent>
void set(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_key(in, call);
  value_space::set wish{key.key, {}, in.count("ttl_s", 1, ttl_s_max).value_or(0), IfAbsent};
  if (const auto raw = in.raw("value"))
    wish.json = json::minify(*raw);
  if (refused(call, in))
    return;
  call->submit(key.stream(), any_command(value_space::command(std::move(wish))), {},
               call->on<committed>([=](const committed& done) {
                 auto out = written(done);
                 out.boolean("stored", done.first_version != 0);
                 call->answer(std::move(out).done());
               }));
}

void remove(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_key(in, call);
  if (refused(call, in))
    return;
  call->submit(
    key.stream(), any_command(value_space::command(value_space::remove{key.key})), {},
    call->on<committed>([=](const committed& done) { call->answer(written(done).done()); }));
}

std::string value_json(std::string_view key, std::string_view value, time_us_t created_at,
                       time_us_t updated_at, time_us_t expires_at) {
  json::object_writer w;
  w.str("key", key)
    .raw("value", value)
    .str("created_at", format_time(created_at))
    .str("updated_at", format_time(updated_at))
    .str("expires_at", format_time(expires_at));
  return std::move(w).done();
}

void get(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto key = read_key(in, call);
  if (refused(call, in))
    return;
  call->view(key.stream(), 0, call->on<actors::stream_view>([=](const actors::stream_view& view) {
    const auto& state = *std::get<std::shared_ptr<const value_space::state>>(view.state);
    const auto* lives = state.find(key.key, call->now());
    if (lives == nullptr)
      call->fail({errc::not_found, "there is no such value (any more)", "key", 0, 0});
    else
      call->answer(
        value_json(key.key, lives->json, lives->created_at, lives->updated_at, lives->expires_at));
  }));
}

/// All values of a type that live now.
projections::row_query living(const call_ptr& call, const value_key& of) {
  projections::row_query query;
  query.table = &rows::spec;
  query.index = rows::by_type;
  query.equals = {of.tenant, of.app, of.type};
  query.where = {{rows::expires_at, call->now() + 1, std::nullopt, false}};
  return query;
}

value_key read_type(request_reader& in, const call_ptr& call) {
  return {call->tenant(), in.id("app"), in.id("type"), {}};
}

void list(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto of = read_type(in, call);
  row_page page;
  page.query = living(call, of);
  page.place = {rows::key, rows::stream, rows::key};
  page.list = list_name({"value.list", of.tenant, of.app, of.type});
  page.member = "values";
  page.render = [](const projections::row& r) {
    return value_json(text_at(r, rows::key), text_at(r, rows::json), number_at(r, rows::created_at),
                      number_at(r, rows::updated_at), number_at(r, rows::expires_at));
  };
  answer_page(call, in, std::move(page));
}

void count_on(const call_ptr& call, projections::row_query query, std::uint64_t before) {
  query.limit = page_max;
  call->rows(
    query, call->on<std::vector<projections::row>>([=](const std::vector<projections::row>& some) {
      const auto count = before + some.size();
      if (some.size() < page_max) {
        json::object_writer out;
        out.num("count", count);
        call->answer(std::move(out).done());
        return;
      }
      auto next = query;
      const auto& last = some.back();
      next.after = {last[rows::key], last[rows::stream], last[rows::key]};
      count_on(call, std::move(next), count);
    }));
}

void count(call_ptr call) {
  const call_members given(*call);
  request_reader in(given);
  const auto of = read_type(in, call);
  if (refused(call, in))
    return;
  count_on(call, living(call, of), 0);
}

constexpr std::string_view of_type = "/v1/apps/{app}/values/{type}";
constexpr std::string_view of_key = "/v1/apps/{app}/values/{type}/{key}";

constexpr operation operations[] = {
  {"value.set", "Sets a value that lives for a time; overwriting keeps its `created_at`.",
   right::write, "PUT", of_key, true, set_request, set_answer, set<false>},
  {"value.set_if_absent", "Sets a value unless one lives under the key; of many callers one wins.",
   right::write, "POST", of_key, false, set_request, set_answer, set<true>},
  {"value.get", "Answers a value; one that is over is absent.", right::read, "GET", of_key, true,
   key_fields, get_answer, get},
  {"value.delete", "Deletes a value; deleting twice is fine.", right::write, "DELETE", of_key,
   false, key_fields, written_fields, remove},
  {"value.list", "Lists the values of a type that live.", right::read, "GET", of_type, false,
   list_request, list_answer, list},
  {"value.count", "Counts the values of a type that live.", right::read, "GET",
   "/v1/apps/{app}/value-counts/{type}", false, type_fields, count_answer, count},
};

}  // namespace

std::span<const operation> value_operations() { return operations; }

}  // namespace recalld::api

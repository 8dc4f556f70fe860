#include "api/row_pages.hpp"

#include "api/answers.hpp"
#include "api/cursor.hpp"

namespace recalld::api {

namespace {

// So many rows are looked at for one answer; what is left is reached by cursor.
constexpr std::size_t met_max = 20'000;
constexpr std::size_t stretch = 1'000;

using rows = std::vector<projections::row>;

struct paging {
  row_page page;
  std::size_t limit = 0;
  std::size_t met = 0;
  std::size_t found = 0;
  array_writer items;
};

std::vector<cursor_part> place_of(const row_page& page, const projections::row& r) {
  std::vector<cursor_part> place;
  for (const auto column : page.place)
    place.push_back(r[column]);
  return place;
}

void finish(const call_ptr& call, const std::shared_ptr<paging>& p,
            const std::vector<cursor_part>* place) {
  json::object_writer out;
  out.raw(p->page.member, std::move(p->items).done());
  if (place != nullptr)
    out.str("next_cursor", write_cursor(p->page.list, *place));
  call->answer(std::move(out).done());
}

void go_on(const call_ptr& call, const std::shared_ptr<paging>& p) {
  auto query = p->page.query;
  query.limit = p->page.wanted ? stretch : p->limit - p->found + 1;
  const auto wish = query.limit;
  call->rows(std::move(query), call->on<rows>([call, p, wish](const rows& some) {
    // Where an answer that ends here would go on; the limit may be reached with another stretch.
    auto& last = p->page.query.after;
    for (const auto& r : some) {
      ++p->met;
      const bool good = !p->page.wanted || p->page.wanted(r);
      if (good && p->found == p->limit) {
        finish(call, p, &*last);
        return;
      }
      last = place_of(p->page, r);
      if (good) {
        ++p->found;
        p->items.raw(p->page.render(r));
      }
    }
    if (some.size() < wish)
      finish(call, p, nullptr);
    else if (p->met >= met_max)
      finish(call, p, &*last);
    else
      go_on(call, p);
  }));
}

}  // namespace

void answer_page(const call_ptr& call, request_reader& in, row_page page) {
  auto p = std::make_shared<paging>();
  p->limit = in.count("limit", 1, page_max).value_or(100);
  if (const auto cursor = in.string("cursor")) {
    auto place = read_cursor(*cursor, page.list, "cursor");
    if (!place)
      in.refuse(place.error());
    else if (place->size() != page.place.size())
      in.refuse("cursor", "this is not a cursor that an answer gave");
    else
      page.query.after = std::move(*place);
  }
  if (refused(call, in))
    return;
  p->page = std::move(page);
  go_on(call, p);
}

std::string text_at(const projections::row& r, std::size_t column) {
  const auto* t = std::get_if<std::string>(&r[column]);
  return t == nullptr ? std::string() : *t;
}
std::int64_t number_at(const projections::row& r, std::size_t column) {
  const auto* n = std::get_if<std::int64_t>(&r[column]);
  return n == nullptr ? 0 : *n;
}
bool null_at(const projections::row& r, std::size_t column) {
  return std::holds_alternative<std::monostate>(r[column]);
}
void add_text(json::object_writer& w, std::string_view name, const projections::row& r,
              std::size_t column) {
  if (auto t = text_at(r, column); !t.empty())
    w.str(name, t);
}
void add_time(json::object_writer& w, std::string_view name, const projections::row& r,
              std::size_t column) {
  if (!null_at(r, column))
    w.str(name, format_time(number_at(r, column)));
}

}  // namespace recalld::api

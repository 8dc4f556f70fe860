#include "cli/inbox_watch.hpp"

#include <poll.h>
#include <unistd.h>

#include <charconv>
#include <deque>
#include <map>
#include <mutex>

#include "cli/entry_view.hpp"
#include "cli/inbox_view.hpp"
#include "cli/interruption.hpp"

namespace recalld::cli {

namespace {

constexpr std::chrono::milliseconds turn{50};

/// Approvals and questions differ in their words only.
struct kind_of_wait {
  std::string_view name;   ///< Of the family of operations, and the member of answers.
  std::string_view begun;  ///< The fact that lets one wait.
  std::string_view ended;  ///< The fact that ends it.
};
constexpr kind_of_wait kinds[] = {
  {"approval", "approval.requested", "approval.resolved"},
  {"clarification", "clarification.asked", "clarification.ended"},
};

struct waiting {
  const kind_of_wait* kind = nullptr;
  std::string id;
};

/// What the feed tells, from its threads to ours.
class news {
public:
  void tell(const kind_of_wait& kind, const watch_batch& batch) {
    const std::lock_guard guard(lock_);
    for (const auto raw :
         json::elements(batch.facts, "facts").value_or(std::vector<std::string_view>{})) {
      const json_view fact(raw);
      const auto type = fact.str("type");
      if (type == kind.begun || type == kind.ended)
        told_.push_back({&kind, json_view(fact.raw("payload").value_or("{}")).str("id")});
    }
  }
  void fail(const error& e) {
    const std::lock_guard guard(lock_);
    failed_ = e;
  }
  std::deque<waiting> take() {
    const std::lock_guard guard(lock_);
    return std::exchange(told_, {});
  }
  std::optional<error> failed() {
    const std::lock_guard guard(lock_);
    return failed_;
  }

private:
  std::mutex lock_;
  std::deque<waiting> told_;
  std::optional<error> failed_;
};

/// Lines from the terminal, without waiting for them.
class keyboard {
public:
  explicit keyboard(bool there) : open_(there) {}
  bool open() const noexcept { return open_; }

  /// Whole lines that came within `patience`; at the end of input `open` is false.
  std::vector<std::string> lines(std::chrono::milliseconds patience) {
    std::vector<std::string> out;
    pollfd in{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    if (::poll(&in, 1, static_cast<int>(patience.count())) <= 0)
      return out;
    char some[4096];
    const auto got = ::read(STDIN_FILENO, some, sizeof some);
    if (got <= 0) {
      open_ = false;
      return out;
    }
    begun_.append(some, static_cast<std::size_t>(got));
    for (auto end = begun_.find('\n'); end != begun_.npos; end = begun_.find('\n')) {
      out.push_back(begun_.substr(0, end));
      begun_.erase(0, end + 1);
    }
    return out;
  }

private:
  bool open_;
  std::string begun_;
};

/// `a 3 some words` in its parts; what is missing is empty.
struct typed_line {
  std::string verb;
  std::size_t number = 0;
  std::string rest;
};
typed_line parse(std::string_view line) {
  const auto word = [&] {
    const auto begin = std::min(line.find_first_not_of(" \t\r"), line.size());
    const auto end = std::min(line.find_first_of(" \t\r", begin), line.size());
    auto out = std::string(line.substr(begin, end - begin));
    line.remove_prefix(end);
    return out;
  };
  typed_line out;
  out.verb = word();
  const auto number = word();
  std::from_chars(number.data(), number.data() + number.size(), out.number);
  const auto begin = std::min(line.find_first_not_of(" \t\r"), line.size());
  const auto end = line.find_last_not_of(" \t\r");
  if (begin < line.size())
    out.rest = line.substr(begin, end + 1 - begin);
  return out;
}

class live_inbox {
public:
  live_inbox(const invocation& call, const watch_options& o, connection& to, bool interactive)
    : call_(call), o_(o), to_(to), interactive_(interactive) {}

  bool done() const noexcept { return o_.count != 0 && lines_ >= o_.count; }
  bool quits() const noexcept { return quits_; }

  /// Whatever waits already.
  result<void> begin() {
    for (const auto& kind : kinds) {
      std::string cursor;
      std::vector<std::string> newest_first;
      do {
        json::object_writer w;
        w.num("limit", std::uint64_t{1'000});
        if (!cursor.empty())
          w.str("cursor", cursor);
        const auto page = to_.call(std::string(kind.name) + ".list", std::move(w).done());
        if (!page)
          return fail(page.error());
        const json_view a(*page);
        for (const auto& one : a.array(std::string(kind.name) + "s"))
          newest_first.emplace_back(one.text());
        cursor = a.str("next_cursor");
      } while (!cursor.empty());
      for (auto one = newest_first.rbegin(); one != newest_first.rend(); ++one)
        came(kind, json_view(*one));
    }
    return {};
  }

  /// One of them has changed.
  result<void> look(const waiting& at) {
    const auto answer = get(at);
    if (!answer)
      return fail(answer.error());
    const json_view one(json_view(*answer).raw(at.kind->name).value_or("{}"));
    if (one.str("status") == "pending")
      came(*at.kind, one);
    else
      went(*at.kind, one);
    return {};
  }

  void obey(std::string_view line) {
    const auto t = parse(line);
    if (t.verb.empty())
      return;
    if (t.verb == "q") {
      quits_ = true;
    } else if (t.verb == "l") {
      for (const auto& [number, at] : items_)
        if (const auto answer = get(at))
          print(*at.kind, json_view(json_view(*answer).raw(at.kind->name).value_or("{}")));
    } else if (const auto at = items_.find(t.number); at == items_.end()) {
      call_.note(
        "Which one? Write a letter and a number: a 1, r 1, t 1 TEXT, s 1; l lists, q quits.");
    } else {
      obey(t, at->second);
    }
  }

private:
  result<std::string> get(const waiting& at) {
    json::object_writer w;
    w.str(at.kind->name, at.id);
    return to_.call(std::string(at.kind->name) + ".get", std::move(w).done());
  }

  void came(const kind_of_wait& kind, const json_view& one) {
    const auto id = one.str("id");
    if (numbers_.contains(id))
      return;
    numbers_.emplace(id, ++last_);
    items_.emplace(last_, waiting{&kind, id});
    print(kind, one);
  }

  void went(const kind_of_wait& kind, const json_view& one) {
    const auto known = numbers_.find(one.str("id"));
    if (known == numbers_.end())
      return;
    print(kind, one);
    items_.erase(known->second);
    numbers_.erase(known);
  }

  void print(const kind_of_wait& kind, const json_view& one) {
    ++lines_;
    if (call_.json) {
      fmt::print("{{\"{}\":{}}}\n", kind.name, one.text());
      std::fflush(stdout);
      return;
    }
    const auto status = one.str("status");
    const auto id = one.str("id");
    const auto name = interactive_ ? fmt::format("[{}]", numbers_.at(id)) : printable(id);
    std::string rest = asked_gist(one);
    if (status == "pending") {
      const auto who = one.str(kind.name == "approval" ? "created_by" : "asked_by");
      if (!who.empty())
        rest += "  by " + who;
      if (const auto end = one.str("expires_at"); !end.empty())
        rest += "  until " + short_time(end);
    } else {
      const auto by = one.str(kind.name == "approval" ? "resolved_by" : "answered_by");
      const auto words = one.str(kind.name == "approval" ? "feedback" : "answer");
      rest = "by " + by + (words.empty() ? "" : ": " + words);
    }
    fmt::print("{} {}  {}\n", call_.out.paint(style::cyan, name),
               call_.out.paint(status == "pending" ? style::yellow : style::green, status),
               printable(rest));
    std::fflush(stdout);
  }

  void obey(const typed_line& t, const waiting& at) {
    const bool approval = at.kind->name == "approval";
    if (t.verb == "s") {
      if (const auto answer = get(at))
        print_members(call_, json_view(json_view(*answer).raw(at.kind->name).value_or("{}")));
    } else if (approval && (t.verb == "a" || t.verb == "r" || t.verb == "g")) {
      decide(t, at);
    } else if (!approval && t.verb == "t") {
      act("clarification.answer", at, [&](json::object_writer& w) { w.str("answer", t.rest); });
    } else {
      call_.note(approval ? "A request is decided with a, g or r."
                          : "A question is answered with t.");
    }
  }

  void decide(const typed_line& t, const waiting& at) {
    std::uint64_t grant_s = 0;
    std::from_chars(t.rest.data(), t.rest.data() + t.rest.size(), grant_s);
    act("approval.resolve", at, [&](json::object_writer& w) {
      w.str("decision", t.verb == "r" ? "rejected" : "approved");
      if (t.verb == "g")
        w.raw("grant", fmt::format("{{\"for_s\":{}}}", grant_s));
      else if (!t.rest.empty())
        w.str("feedback", t.rest);
    });
  }

  /// The end itself is told by the feed.
  template <class More>
  void act(std::string_view operation, const waiting& at, More more) {
    const auto by = acting(call_, o_.by);
    if (!by) {
      call_.note(by.error().message);
      return;
    }
    json::object_writer w;
    w.str(at.kind->name, at.id).str("by", *by).str("role", o_.admin ? "admin" : "user");
    more(w);
    if (const auto done = to_.call(operation, std::move(w).done()); !done)
      call_.note(fmt::format("{}: {}", to_string(done.error().code), done.error().message));
  }

  const invocation& call_;
  const watch_options& o_;
  connection& to_;
  bool interactive_;
  bool quits_ = false;
  std::uint64_t lines_ = 0;
  std::size_t last_ = 0;
  std::map<std::size_t, waiting> items_;
  std::map<std::string, std::size_t> numbers_;
};

}  // namespace

int watch_inbox(const invocation& call, const watch_options& o) {
  interruption interrupted;
  auto to = connection::open(call, o.embedded);
  if (!to)
    return call.fail(to.error());
  // First the news, then what was before: nothing falls in between.
  news told;
  std::vector<watch> watching;
  for (const auto& kind : kinds) {
    watch_request wish;
    wish.tenant = call.settings.text("tenant");
    wish.kind = kind.name;
    auto one = (*to)->client().watch(
      std::move(wish), [&](const watch_batch& batch) { told.tell(kind, batch); },
      [&](const error& e) { told.fail(e); });
    if (!one)
      return call.fail(one.error());
    watching.push_back(std::move(*one));
  }
  const bool interactive = call.out.tty && !call.json && ::isatty(STDIN_FILENO) != 0;
  keyboard keys(interactive);
  live_inbox inbox(call, o, **to, interactive);
  if (auto begun = inbox.begin(); !begun)
    return call.fail(begun.error());
  while (!inbox.done() && !inbox.quits() && keys.open() == interactive) {
    for (const auto& one : told.take())
      if (auto seen = inbox.look(one); !seen)
        return call.fail(seen.error());
    if (const auto failed = told.failed())
      return call.fail(*failed);
    if (interactive)
      for (const auto& line : keys.lines(turn))
        inbox.obey(line);
    if (interrupted.came(interactive ? std::chrono::milliseconds(0) : turn))
      break;
  }
  return exit_code::success;
}

}  // namespace recalld::cli

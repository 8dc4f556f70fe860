#include <algorithm>
#include <map>
#include <memory>

#include <CLI/App.hpp>
#include <fmt/format.h>
#include <SQLiteCpp/SQLiteCpp.h>

#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "cli/question_file.hpp"
#include "cli/text_table.hpp"
#include "events/json.hpp"
#include "retrieval/evaluation.hpp"
#include "retrieval/ranking.hpp"
#include "retrieval/words.hpp"

namespace recalld::cli {

namespace {

constexpr std::size_t depth = 20;

using ranked_ids = std::vector<std::string>;

/// One way of searching the memories of one set.
class contender {
public:
  virtual ~contender() = default;
  virtual ranked_ids search(const std::string& question) = 0;
};

/// What simple stores do: the whole question must be a part of the text, newest first.
class substring_search : public contender {
public:
  explicit substring_search(const question_set& set) {
    for (const auto& m : set.memories)
      texts_.emplace_back(m.id, retrieval::folded(m.text));
  }
  ranked_ids search(const std::string& question) override {
    const auto wish = retrieval::folded(question);
    ranked_ids out;
    for (auto at = texts_.rbegin(); at != texts_.rend() && out.size() < depth; ++at)
      if (at->second.find(wish) != std::string::npos)
        out.push_back(at->first);
    return out;
  }

private:
  std::vector<std::pair<std::string, std::string>> texts_;
};

/// SQLite's full text search with its Porter stemmer: the question's words joined by OR, words of no
/// content left out, its own BM25.
class full_text_search : public contender {
public:
  explicit full_text_search(const question_set& set) : db_(":memory:", SQLite::OPEN_READWRITE) {
    db_.exec("CREATE VIRTUAL TABLE texts USING fts5(id UNINDEXED, text, tokenize='porter')");
    SQLite::Statement insert(db_, "INSERT INTO texts VALUES (?, ?)");
    for (const auto& m : set.memories) {
      insert.bind(1, m.id);
      insert.bind(2, m.text);
      insert.exec();
      insert.reset();
    }
  }
  ranked_ids search(const std::string& question) override {
    std::string match;
    for (const auto& word : retrieval::plain_words(question))
      if (!retrieval::query_terms(word).empty())
        match += (match.empty() ? "\"" : " OR \"") + word + "\"";
    ranked_ids out;
    if (match.empty())
      return out;
    SQLite::Statement select(db_,
                             "SELECT id FROM texts WHERE texts MATCH ? ORDER BY rank LIMIT 20");
    select.bind(1, match);
    while (select.executeStep())
      out.push_back(select.getColumn(0).getString());
    return out;
  }

private:
  SQLite::Database db_;
};

/// Ours.
class memory_search : public contender {
public:
  memory_search(const question_set& set, const retrieval::parameters& by) : by_(by) {
    for (const auto& m : set.memories) {
      retrieval::indexed_memory in{m.id, m.session, {}, m.time, retrieval::passages_of(m.text)};
      for (const auto& speaker : m.speakers)
        in.speakers.push_back(retrieval::folded(speaker));
      index_.put(in);
    }
  }
  ranked_ids search(const std::string& question) override {
    ranked_ids out;
    for (const auto& hit : retrieval::rank(index_, question, by_, {}, 0, depth))
      out.push_back(index_.memories()[hit.slot].id);
    return out;
  }

private:
  retrieval::memory_index index_;
  retrieval::parameters by_;
};

/// Measures by category; `all` is every question.
using score_sheet = std::map<std::string, retrieval::measures>;
constexpr std::string_view all = "all";

struct method {
  std::string_view name;
  std::function<std::unique_ptr<contender>(const question_set&)> open;
};

std::vector<method> methods() {
  return {
    {"substring", [](const auto& set) { return std::make_unique<substring_search>(set); }},
    {"fts5 porter", [](const auto& set) { return std::make_unique<full_text_search>(set); }},
    {"recalld",
     [](const auto& set) { return std::make_unique<memory_search>(set, retrieval::parameters{}); }},
  };
}

score_sheet measure(const method& by, const std::vector<question_set>& sets) {
  score_sheet sheet;
  for (const auto& set : sets) {
    const auto search = by.open(set);
    for (const auto& q : set.questions) {
      const auto hits = search->search(q.text);
      sheet[std::string(all)].add(hits, q.evidence);
      if (!q.category.empty())
        sheet["category " + q.category].add(hits, q.evidence);
      if (sets.size() > 1)
        sheet["set " + set.name].add(hits, q.evidence);
    }
  }
  return sheet;
}

void print(const invocation& call, const std::vector<std::pair<std::string, score_sheet>>& sheets) {
  const auto number = [](double x) { return fmt::format("{:.3f}", x); };
  text_table table({{.title = "QUESTIONS", .paint = style::cyan},
                    {.title = "N", .side = text_table::align::right},
                    {.title = "METHOD"},
                    {.title = "R@5", .side = text_table::align::right},
                    {.title = "R@10", .side = text_table::align::right},
                    {.title = "R@20", .side = text_table::align::right},
                    {.title = "MRR", .side = text_table::align::right},
                    {.title = "NDCG@10", .side = text_table::align::right}});
  std::string array = "[";
  for (const auto& [group, ignored] : sheets.front().second)
    for (const auto& [name, sheet] : sheets) {
      const auto& m = sheet.at(group);
      table.add({group, std::to_string(m.questions), name, number(m.recall5), number(m.recall10),
                 number(m.recall20), number(m.mrr), number(m.ndcg10)});
      json::object_writer w;
      w.str("questions", group).num("count", std::uint64_t{m.questions}).str("method", name);
      w.raw("recall@5", number(m.recall5)).raw("recall@10", number(m.recall10));
      w.raw("recall@20", number(m.recall20)).raw("mrr", number(m.mrr));
      w.raw("ndcg@10", number(m.ndcg10));
      array += (array.size() > 1 ? "," : "") + std::move(w).done();
    }
  if (call.json)
    fmt::print("{}\n", array + "]");
  else
    fmt::print("{}", table.render(call.out));
}

int evaluate(const invocation& call, const std::string& file) {
  const auto sets = read_questions(file);
  if (!sets)
    return call.fail(sets.error());
  std::vector<std::pair<std::string, score_sheet>> sheets;
  for (const auto& by : methods())
    sheets.emplace_back(by.name, measure(by, *sets));
  print(call, sheets);
  return exit_code::success;
}

command retrieval_command() {
  return {
    .name = "retrieval",
    .summary = "Measure search over a file of memories, questions and their evidence.",
    .details =
      "Plain substring match, SQLite's full text search and ours, side by side: recall@5/10/20,\n"
      "MRR and nDCG@10 for each category. The file is JSON: a set or an array of sets\n"
      "{\"name\", \"memories\":[{\"id\",\"text\",\"session\",\"speakers\",\"time\"}],\n"
      "\"questions\":[{\"question\",\"category\",\"evidence\":[id]}]}, or LoCoMo's. No server is "
      "needed\nand nothing is written.",
    .examples = {"recalld eval retrieval questions.json", "recalld eval retrieval q.json --json"},
    .prepare = [](CLI::App& app) -> runner {
      auto file = std::make_shared<std::string>();
      app.add_option("file", *file, "Memories and questions.")->required()->type_name("FILE");
      return [file](const invocation& call) { return evaluate(call, *file); };
    },
  };
}

}  // namespace

command eval_command() {
  return {
    .name = "eval",
    .summary = "Measure how good the answers are.",
    .children = {retrieval_command()},
    .heading = "Memory",
  };
}

}  // namespace recalld::cli

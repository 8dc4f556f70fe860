#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "events/result.hpp"
#include "retrieval/index.hpp"

/// Questions with known answers, to measure a search with.
namespace recalld::cli {

struct remembered_text {
  std::string id;
  std::string text;
  std::string session;
  std::vector<std::string> speakers;
  time_us_t time = 0;  ///< Noon is not known: a day's begin.
};

struct known_question {
  std::string text;
  std::string category;
  std::set<std::string> evidence;  ///< Ids of memories; not empty.
};

/// Memories of one owner and the questions about them.
struct question_set {
  std::string name;
  std::vector<remembered_text> memories;
  std::vector<known_question> questions;
};

/// Reads a JSON file of one of two shapes, one set or an array of them:
///
///   {"name":…, "memories":[{"id":…, "text":…, "session":…, "speakers":[…], "time":"2023-05-08"}],
///    "questions":[{"question":…, "category":…, "evidence":[id,…]}]}
///
/// or LoCoMo's (`conversation` and `qa`; every turn is a memory, questions of category 5 have no
/// answer and are left out). A question whose evidence names no memory is left out.
/// `invalid` when the file is neither; `unavailable` when it cannot be read.
result<std::vector<question_set>> read_questions(const std::filesystem::path& file);

}  // namespace recalld::cli

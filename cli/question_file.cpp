#include "cli/question_file.hpp"

#include <fstream>
#include <sstream>

#include "cli/json_view.hpp"
#include "retrieval/dates.hpp"

namespace recalld::cli {

namespace {

/// The begin of the first day that `text` names; 0 when it names none.
time_us_t day_of(const std::string& text) {
  constexpr time_us_t day_us = 86'400'000'000;
  const auto is_iso = text.size() > 10 && text[4] == '-' && text[7] == '-';
  const auto dates = retrieval::dates_in(is_iso ? text.substr(0, 10) : text);
  return dates.ranges.empty() ? 0 : dates.ranges.front().first * day_us;
}

std::string word_of(std::string_view raw) {
  if (json::kind_of(raw) == json::kind::string)
    if (auto plain = json::as_string(raw, "value"))
      return *plain;
  return std::string(json::trim(raw));
}

std::string word_of(const json_view& object, std::string_view name) {
  const auto raw = object.raw(name);
  return raw ? word_of(*raw) : std::string();
}

/// Turns' ids in a loosely written list: `D8:6; D9:17`, `D:11:26`, `D30:05` -> D8:6, D9:17, …
std::set<std::string> turns_in(const std::string& text) {
  std::set<std::string> out;
  const auto number = [&](std::size_t& at) -> std::string {
    const auto begin = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9')
      ++at;
    auto digits = text.substr(begin, at - begin);
    digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
    return digits;
  };
  for (std::size_t at = 0; at < text.size();) {
    if (text[at++] != 'D')
      continue;
    if (at < text.size() && text[at] == ':')
      ++at;
    const auto session = number(at);
    if (session.empty() || at >= text.size() || text[at] != ':')
      continue;
    ++at;
    if (const auto turn = number(at); !turn.empty())
      out.insert("D" + session + ":" + turn);
  }
  return out;
}

void keep_known(question_set& set) {
  std::set<std::string> ids;
  for (const auto& m : set.memories)
    ids.insert(m.id);
  for (auto& q : set.questions)
    std::erase_if(q.evidence, [&](const auto& id) { return !ids.contains(id); });
  std::erase_if(set.questions, [](const auto& q) { return q.evidence.empty(); });
}

question_set read_conversation(const json_view& sample) {
  question_set out;
  out.name = sample.str("sample_id");
  const auto conversation = sample.raw("conversation").value_or("{}");
  const json_view said(conversation);
  for (int n = 1; said.raw("session_" + std::to_string(n)); ++n) {
    const auto session = "session_" + std::to_string(n);
    const auto time = day_of(said.str(session + "_date_time"));
    for (const auto& turn : said.array(session)) {
      const auto speaker = turn.str("speaker");
      auto text = speaker + ": " + turn.str("text");
      if (const auto caption = turn.str("blip_caption"); !caption.empty())
        text += " [shares " + caption + "]";
      out.memories.push_back({turn.str("dia_id"), std::move(text), session, {speaker}, time});
    }
  }
  for (const auto& question : sample.array("qa")) {
    const auto category = word_of(question, "category");
    if (category == "5")
      continue;
    known_question q{word_of(question, "question"), category, {}};
    for (const auto& evidence : question.array("evidence"))
      q.evidence.merge(turns_in(word_of(evidence.text())));
    out.questions.push_back(std::move(q));
  }
  return out;
}

question_set read_own(const json_view& sample) {
  question_set out;
  out.name = sample.str("name");
  for (const auto& m : sample.array("memories")) {
    remembered_text memory{m.str("id"), m.str("text"), m.str("session"), {}, day_of(m.str("time"))};
    for (const auto& speaker : m.array("speakers"))
      memory.speakers.push_back(word_of(speaker.text()));
    out.memories.push_back(std::move(memory));
  }
  for (const auto& question : sample.array("questions")) {
    known_question q{word_of(question, "question"), word_of(question, "category"), {}};
    for (const auto& evidence : question.array("evidence"))
      q.evidence.insert(word_of(evidence.text()));
    out.questions.push_back(std::move(q));
  }
  return out;
}

}  // namespace

result<std::vector<question_set>> read_questions(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in)
    return fail(errc::unavailable, "cannot read " + file.string());
  std::ostringstream whole;
  whole << in.rdbuf();
  const auto text = whole.str();
  if (auto good = json::validate(text, "file"); !good)
    return fail(std::move(good.error()));
  std::vector<std::string_view> samples{text};
  if (json::kind_of(json::trim(text)) == json::kind::array)
    if (auto elements = json::elements(json::trim(text), "file"))
      samples = std::move(*elements);
  std::vector<question_set> out;
  for (auto raw : samples) {
    const json_view sample(raw);
    auto set = sample.raw("conversation") ? read_conversation(sample) : read_own(sample);
    keep_known(set);
    if (set.memories.empty() || set.questions.empty())
      return fail_field("file", "has a set without memories or without questions about them");
    out.push_back(std::move(set));
  }
  return out;
}

}  // namespace recalld::cli

#include "projections/memory_words.hpp"

#include <algorithm>

#include "events/base64.hpp"
#include "projections/projections.hpp"
#include "retrieval/words.hpp"

/// The rows of memories: one a memory, one a topic of it, one a revision, and the words by which it
/// is found.
namespace recalld::projections {

namespace memories {

const table spec{
  .name = "memories",
  .version = 1,
  .columns = {{"stream", column_type::integer},
              {"id"},
              {"hash"},
              {"status"},
              {"kind"},
              {"text"},
              {"topics"},
              {"event_time", column_type::integer, true},
              {"participants"},
              {"location"},
              {"importance", column_type::text, true},
              {"metadata"},
              {"source", column_type::text, true},
              {"made_by", column_type::text, true},
              {"revision", column_type::integer},
              {"created_at", column_type::integer},
              {"updated_at", column_type::integer},
              {"created_version", column_type::integer},
              {"replaced_by", column_type::text, true}},
  .key_columns = 2,
  .indexes = {{"by_update", {stream, updated_at, created_at}}},
};

}  // namespace memories

namespace memory_revisions {

const table spec{
  .name = "memory_revisions",
  .version = 1,
  .columns = {{"stream", column_type::integer},
              {"id"},
              {"revision", column_type::integer},
              {"what"},
              {"time", column_type::integer},
              {"version", column_type::integer},
              {"content", column_type::text, true},
              {"reason", column_type::text, true},
              {"made_by", column_type::text, true},
              {"source", column_type::text, true}},
  .key_columns = 3,
};

}  // namespace memory_revisions

namespace memory_topics {

const table spec{
  .name = "memory_topics",
  .version = 1,
  .columns = {{"stream", column_type::integer}, {"id"}, {"topic"}},
  .key_columns = 3,
  .indexes = {{"by_topic", {stream, topic}}},
};

}  // namespace memory_topics

namespace memory_words {

const table spec{
  .name = "memory_words",
  .version = 1,
  .columns = {{"stream", column_type::integer},
              {"id"},
              {"passages"},
              {"topic_words"},
              {"speakers"},
              {"session"},
              {"time", column_type::integer},
              {"created_version", column_type::integer},
              {"active", column_type::integer},
              {"kind"},
              {"topics"},
              {"metadata"}},
  .key_columns = 2,
  .indexes = {{"by_creation", {stream, created_version}}},
};

}  // namespace memory_words

namespace memory_vectors {

const table spec{
  .name = "memory_vectors",
  .version = 1,
  .columns = {{"stream", column_type::integer},
              {"id"},
              {"tenant"},
              {"app"},
              {"user"},
              {"hash"},
              {"model"},
              {"vector"}},
  .key_columns = 2,
  .indexes = {{"by_model", {model}}},
};

}  // namespace memory_vectors

namespace {

using namespace memory_space;

std::int64_t whole(std::uint64_t n) { return static_cast<std::int64_t>(n); }
value text_or_null(const std::string& s) { return s.empty() ? value{} : value{s}; }
std::string object_or_empty(const std::string& s) { return s.empty() ? "{}" : s; }

std::string array_of(const std::vector<std::string>& words) {
  std::string out = "[";
  for (const auto& word : words) {
    if (out.size() > 1)
      out.push_back(',');
    json::append_quoted(out, word);
  }
  return out.append("]");
}

std::string content_text(const content& c) {
  json::object_writer w;
  w.str("text", c.text).str("kind", to_string(c.kind)).raw("topics", array_of(c.topics));
  if (c.event_time)
    w.num("event_time", *c.event_time);
  w.raw("participants", array_of(c.participants)).str("location", c.location);
  if (!c.importance.empty())
    w.raw("importance", c.importance);
  w.raw("metadata", object_or_empty(c.metadata));
  return std::move(w).done();
}

/// The session that a memory's source names; empty when it names none.
std::string session_of(const origin& o) {
  if (o.source.empty())
    return {};
  auto members = json::members(o.source, "source");
  if (!members)
    return {};
  for (const auto& m : *members)
    if (m.name == "session" && json::kind_of(m.raw) == json::kind::string)
      return json::as_string(m.raw, m.name).value_or("");
  return {};
}

void append_joined(std::string& out, const std::vector<std::string>& parts, char between) {
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0)
      out.push_back(between);
    out += parts[i];
  }
}

/// Words by blanks, passages by line feeds: neither is ever part of a word.
std::string passages_text(const content& c) {
  // Names that the text does not say itself are words of it as well.
  const auto said = retrieval::folded(c.text);
  std::vector<std::string> more;
  for (const auto& who : c.participants)
    if (said.find(retrieval::folded(who)) == std::string::npos)
      more.push_back(who);
  if (!c.location.empty())
    more.push_back(c.location);
  std::string out;
  for (const auto& passage : retrieval::passages_of(c.text, more)) {
    if (!out.empty())
      out.push_back('\n');
    append_joined(out, passage, ' ');
  }
  return out;
}

std::string topic_words(const std::vector<std::string>& topics) {
  std::string out;
  for (const auto& topic : topics) {
    auto words = retrieval::terms_of(topic);
    std::erase(words, retrieval::question_mark);
    if (!out.empty() && !words.empty())
      out.push_back(' ');
    append_joined(out, words, ' ');
  }
  return out;
}

std::string speakers_text(const content& c) {
  std::vector<std::string> names;
  for (const auto& who : c.participants)
    names.push_back(retrieval::folded(who));
  std::string out;
  append_joined(out, names, '\n');
  return out;
}

struct memory_projection {
  const envelope& at;
  std::vector<change>& out;
  std::int64_t stream = whole(at.stream_no);

  using cells = std::vector<std::pair<std::size_t, value>>;

  void revision(const std::string& id, std::uint64_t number, std::string what, value content,
                const std::string& reason, const origin& from) {
    out.push_back(put{&memory_revisions::spec,
                      {stream, id, whole(number), std::move(what), at.time, whole(at.version),
                       std::move(content), text_or_null(reason), text_or_null(from.by),
                       text_or_null(from.source)}});
  }
  void topics(const std::string& id, const std::vector<std::string>& all) {
    for (const auto& topic : all)
      out.push_back(put{&memory_topics::spec, {stream, id, topic}});
  }
  void touch(const std::string& id, std::uint64_t number, cells more) {
    more.emplace_back(memories::revision, whole(number));
    more.emplace_back(memories::updated_at, at.time);
    out.push_back(set{&memories::spec, {stream, id}, std::move(more)});
  }

  void operator()(const added& f) {
    const auto& c = f.content;
    out.push_back(put{&memories::spec,
                      {stream, f.id, f.hash, std::string(to_string(status::active)),
                       std::string(to_string(c.kind)), c.text, array_of(c.topics),
                       c.event_time ? value{*c.event_time} : value{}, array_of(c.participants),
                       c.location, text_or_null(c.importance), object_or_empty(c.metadata),
                       text_or_null(f.origin.source), text_or_null(f.origin.by), std::int64_t{1},
                       at.time, at.time, whole(at.version), value{}}});
    topics(f.id, c.topics);
    out.push_back(
      put{&memory_words::spec,
          {stream, f.id, passages_text(c), topic_words(c.topics), speakers_text(c),
           session_of(f.origin), c.event_time.value_or(at.time), whole(at.version), std::int64_t{1},
           std::string(to_string(c.kind)), array_of(c.topics), object_or_empty(c.metadata)}});
    without_vector(f.id, f.hash);
    revision(f.id, 1, "added", content_text(c), {}, f.origin);
  }
  void operator()(const retold& f) {
    touch(
      f.id, f.revision,
      {{memories::topics, array_of(f.topics)}, {memories::metadata, object_or_empty(f.metadata)}});
    out.push_back(erase{&memory_topics::spec, {stream, f.id}});
    topics(f.id, f.topics);
    out.push_back(set{&memory_words::spec,
                      {stream, f.id},
                      {{memory_words::topic_words, topic_words(f.topics)},
                       {memory_words::topics, array_of(f.topics)},
                       {memory_words::metadata, object_or_empty(f.metadata)}}});
    json::object_writer w;
    w.raw("topics", array_of(f.topics)).raw("metadata", object_or_empty(f.metadata));
    revision(f.id, f.revision, "retold", std::move(w).done(), {}, f.origin);
  }
  void operator()(const updated& f) {
    const auto& c = f.content;
    touch(f.id, f.revision,
          {{memories::hash, f.hash},
           {memories::kind, std::string(to_string(c.kind))},
           {memories::text, c.text},
           {memories::topics, array_of(c.topics)},
           {memories::event_time, c.event_time ? value{*c.event_time} : value{}},
           {memories::participants, array_of(c.participants)},
           {memories::location, c.location},
           {memories::importance, text_or_null(c.importance)},
           {memories::metadata, object_or_empty(c.metadata)}});
    out.push_back(erase{&memory_topics::spec, {stream, f.id}});
    topics(f.id, c.topics);
    out.push_back(set{&memory_words::spec,
                      {stream, f.id},
                      {{memory_words::passages, passages_text(c)},
                       {memory_words::topic_words, topic_words(c.topics)},
                       {memory_words::speakers, speakers_text(c)},
                       {memory_words::time, c.event_time.value_or(at.time)},
                       {memory_words::kind, std::string(to_string(c.kind))},
                       {memory_words::topics, array_of(c.topics)},
                       {memory_words::metadata, object_or_empty(c.metadata)}}});
    without_vector(f.id, f.hash);
    revision(f.id, f.revision, "updated", content_text(c), f.reason, f.origin);
  }
  void operator()(const status_changed& f) {
    touch(f.id, f.revision,
          {{memories::status, std::string(to_string(f.to))},
           {memories::replaced_by, text_or_null(f.replaced_by)}});
    out.push_back(set{&memory_words::spec,
                      {stream, f.id},
                      {{memory_words::active, std::int64_t{f.to == status::active ? 1 : 0}}}});
    revision(f.id, f.revision, f.to == status::active ? "restored" : std::string(to_string(f.to)),
             {}, f.reason, f.origin);
  }
  void operator()(const removed& f) { erase_all({stream, f.id}); }
  void operator()(const cleared&) { erase_all({stream}); }
  void operator()(const limit_changed&) {}
  void operator()(const embedded& f) {
    out.push_back(set{
      &memory_vectors::spec,
      {stream, f.what.id},
      {{memory_vectors::model, f.what.model}, {memory_vectors::vector, to_base64(f.what.vector)}}});
  }

  void without_vector(const std::string& id, const std::string& hash) {
    const auto owner = at.stream.parts();
    out.push_back(put{&memory_vectors::spec,
                      {stream, id, std::string(owner.at(0)), std::string(owner.at(1)),
                       std::string(owner.at(2)), hash, std::string(), std::string()}});
  }
  void erase_all(const row& key) {
    for (auto* t : {&memories::spec, &memory_topics::spec, &memory_words::spec,
                    &memory_revisions::spec, &memory_vectors::spec})
      out.push_back(erase{t, key});
  }
};

}  // namespace

namespace memories {

void project(const envelope& at, const memory_space::fact& fact, std::vector<change>& out) {
  std::visit(memory_projection{at, out}, fact);
}

}  // namespace memories

namespace memory_words {

namespace {

std::string_view text_at(const row& r, column c) { return std::get<std::string>(r[c]); }
std::int64_t number_at(const row& r, column c) { return std::get<std::int64_t>(r[c]); }

/// The parts between separators; none in an empty text.
std::vector<std::string> split(std::string_view all, char between) {
  std::vector<std::string> out;
  while (!all.empty()) {
    const auto end = std::min(all.find(between), all.size());
    out.emplace_back(all.substr(0, end));
    all.remove_prefix(std::min(end + 1, all.size()));
  }
  return out;
}

}  // namespace

version_t first_told(const row& r) {
  return static_cast<version_t>(number_at(r, column::created_version));
}

bool is_active(const row& r) { return number_at(r, column::active) != 0; }

retrieval::indexed_memory indexed(const row& r) {
  retrieval::indexed_memory m;
  m.id = text_at(r, column::id);
  m.session = text_at(r, column::session);
  m.speakers = split(text_at(r, column::speakers), '\n');
  m.time = number_at(r, column::time);
  const auto more = split(text_at(r, column::topic_words), ' ');
  for (const auto& passage : split(text_at(r, column::passages), '\n')) {
    auto& words = m.passages.emplace_back(split(passage, ' '));
    retrieval::add_words(words, more);
  }
  // A text without any word is found by its topics.
  if (m.passages.empty() && !more.empty())
    m.passages.push_back(more);
  return m;
}

memory_space::traits traits_of(const row& r) {
  memory_space::traits out;
  out.kind = text_at(r, column::kind) == to_string(memory_kind::episode) ? memory_kind::episode
                                                                         : memory_kind::fact;
  const auto topics = json::elements(text_at(r, column::topics), "topics");
  if (topics)
    for (auto raw : *topics)
      out.topics.push_back(json::as_string(raw, "topics").value_or(""));
  out.time = number_at(r, column::time);
  out.metadata = text_at(r, column::metadata);
  return out;
}

}  // namespace memory_words

}  // namespace recalld::projections

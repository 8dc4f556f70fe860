#include "storage/dump.hpp"

#include "events/json.hpp"
#include "storage/base_marks.hpp"
#include "storage/model_store.hpp"
#include "storage/replay.hpp"

#include <charconv>
#include <istream>
#include <numeric>
#include <ostream>
#include <unordered_map>
#include <unordered_set>

/// One JSON object a line, no blank lines. Numbers are whole; H is a string of hex digits.
///
///   first     {"recalld_dump":1,"log_id":STRING,"generation":N,"head":N}
///   streams   {"stream":NO,"id":H,"name":STRING[,"base":N,"base_fact":N,"head":N]}
///             before anything that names the stream; `id` is stream_id::bytes(), `name` is for
///             people. Streams with a base come first, with their head.
///   facts     {"at":POSITION,"stream":NO,"version":N,"time":MICROSECONDS,"type":STRING,"schema":N,
///              "lane":N[,"key":STRING | ,"key_hex":H][,"command":STRING,"body_hash":H,
///              "command_facts":N],"payload":VALUE}
///             in the order of positions; a blanked fact has "blanked":true in place of the payload.
///             A payload that contains a line break is a string that contains the payload.
///   ranges    {"gone":[FIRST,LAST]}
///   last      {"end":POSITION}
namespace recalld::storage {

namespace {

constexpr std::uint64_t dump_format = 1;
constexpr std::size_t page_facts = 4096;

std::string hex(std::string_view bytes) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const unsigned char c : bytes)
    out += {digits[c >> 4], digits[c & 15]};
  return out;
}

bool from_hex(std::string_view text, std::string& out) {
  if (text.size() % 2 != 0)
    return false;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    unsigned byte = 0;
    const auto [end, ec] = std::from_chars(text.data() + i, text.data() + i + 2, byte, 16);
    if (ec != std::errc{} || end != text.data() + i + 2)
      return false;
    out += static_cast<char>(byte);
  }
  return true;
}

std::string stream_line(stream_no_t no, const stream_id& id, const stream_position* at) {
  json::object_writer w;
  w.num("stream", no).str("id", hex(id.bytes())).str("name", to_string(id));
  if (at != nullptr)
    w.num("base", at->base).num("base_fact", at->base_fact).num("head", at->head);
  return std::move(w).done();
}

std::string fact_line(const recorded& r) {
  json::object_writer w;
  w.num("at", r.at.position).num("stream", r.at.stream_no).num("version", r.at.version);
  w.num("time", r.at.time).str("type", r.type).num("schema", std::uint64_t{r.schema});
  w.num("lane", static_cast<std::uint64_t>(r.lane));
  if (!r.key.empty()) {
    if (json::valid_utf8(r.key))
      w.str("key", r.key);
    else
      w.str("key_hex", hex(r.key));
  }
  if (!r.at.command.empty()) {
    char digits[17];
    const auto end = std::to_chars(digits, digits + sizeof digits, r.at.body_hash, 16).ptr;
    w.str("command", r.at.command)
      .str("body_hash", std::string_view(digits, static_cast<std::size_t>(end - digits)))
      .num("command_facts", std::uint64_t{r.at.command_facts});
  }
  if (r.blanked)
    w.boolean("blanked", true);
  else if (r.payload.view().find_first_of("\r\n") == std::string_view::npos)
    w.raw("payload", r.payload.view());
  else
    w.str("payload", r.payload.view());
  return std::move(w).done();
}

// -- reading --

/// The members of one line; remembers the first that is wrong.
class line_members {
public:
  explicit line_members(std::string_view line) {
    if (auto valid = json::validate(line, "line"); !valid)
      wrong_ = valid.error().message;
    else if (auto found = json::members(line, "line"))
      members_ = std::move(*found);
    else
      wrong_ = found.error().message;
  }
  bool good() const noexcept { return wrong_.empty(); }
  const std::string& wrong() const noexcept { return wrong_; }
  void miss(std::string_view name) {
    if (good())
      wrong_ = "`" + std::string(name) + "` is missing or wrong";
  }

  std::string_view raw(std::string_view name) const {
    for (const auto& m : members_)
      if (m.name == name)
        return m.raw;
    return {};
  }
  bool has(std::string_view name) const { return !raw(name).empty(); }
  std::string str(std::string_view name) {
    auto value = json::as_string(raw(name), name);
    if (!value)
      miss(name);
    return value ? std::move(*value) : std::string();
  }
  template <class Number = std::uint64_t>
  Number num(std::string_view name) {
    Number n = 0;
    const auto value = raw(name);
    const auto [end, ec] = std::from_chars(value.data(), value.data() + value.size(), n);
    if (value.empty() || ec != std::errc{} || end != value.data() + value.size())
      miss(name);
    return n;
  }
  std::string bytes(std::string_view name) {
    std::string out;
    if (!from_hex(str(name), out))
      miss(name);
    return out;
  }

private:
  std::vector<json::member> members_;
  std::string wrong_;
};

/// Fills a log in memory, line by line.
class dump_loader {
public:
  explicit dump_loader(model_log& log) : log_(log) {}

  bool over() const noexcept { return over_; }

  void read(line_members& m) {
    if (!begun_)
      read_first(m);
    else if (m.has("at"))
      read_fact(m);
    else if (m.has("gone"))
      read_range(m);
    else if (m.has("stream"))
      read_stream(m);
    else if (m.has("end"))
      read_end(m);
    else
      m.miss("at");
  }

private:
  void read_first(line_members& m) {
    if (m.num("recalld_dump") != dump_format)
      m.miss("recalld_dump");
    log_.identity = {m.str("log_id"), m.num("generation")};
    begun_ = true;
  }

  void read_stream(line_members& m) {
    const auto no = m.num("stream");
    auto id = stream_id::from_bytes(m.bytes("id"));
    if (no == 0 || !id)
      return m.miss("id");
    if (log_.streams.size() < no)
      log_.streams.resize(no);
    auto& s = log_.streams[no - 1];
    s.id = *id;
    s.at.stream_no = no;
    if (m.has("base")) {
      s.at.base = m.num("base");
      s.at.base_fact = m.num("base_fact");
      s.at.head = m.num("head");
    }
    log_.numbers.emplace(std::move(*id), no);
  }

  void read_fact(line_members& m) {
    recorded r;
    r.at.position = m.num("at");
    r.at.stream_no = m.num("stream");
    r.at.version = m.num("version");
    r.at.time = m.num<time_us_t>("time");
    r.type = m.str("type");
    r.schema = m.num<std::uint16_t>("schema");
    const auto lane_number = m.num<std::uint8_t>("lane");
    if (lane_number >= lane_count)
      m.miss("lane");
    r.lane = static_cast<lane>(lane_number);
    if (m.has("key"))
      r.key = m.str("key");
    else if (m.has("key_hex"))
      r.key = m.bytes("key_hex");
    if (m.has("command")) {
      r.at.command = m.str("command");
      const auto digits = m.str("body_hash");
      const auto end = digits.data() + digits.size();
      if (std::from_chars(digits.data(), end, r.at.body_hash, 16).ptr != end)
        m.miss("body_hash");
      r.at.command_facts = m.num<std::uint32_t>("command_facts");
    }
    r.blanked = m.raw("blanked") == "true";
    if (!r.blanked) {
      const auto payload = m.raw("payload");
      if (payload.starts_with('"'))
        r.payload = text(m.str("payload"));
      else
        r.payload = text(std::string(payload));
      if (payload.empty())
        m.miss("payload");
    }
    if (r.at.position != log_.facts.size() + 1)
      return m.miss("at");
    if (r.at.stream_no == 0 || r.at.stream_no > log_.streams.size()
        || log_.streams[r.at.stream_no - 1].id.empty())
      return m.miss("stream");
    if (!m.good())
      return;
    r.at.stream = log_.streams[r.at.stream_no - 1].id;
    log_.facts.emplace_back(std::move(r));
    log_.note(*log_.facts.back());
  }

  void read_range(line_members& m) {
    const auto ends = json::elements(m.raw("gone"), "gone");
    if (!ends || ends->size() != 2)
      return m.miss("gone");
    const auto first = json::as_integer((*ends)[0], "gone");
    const auto last = json::as_integer((*ends)[1], "gone");
    if (!first || !last || *last < *first
        || static_cast<position_t>(*first) != log_.facts.size() + 1)
      return m.miss("gone");
    log_.facts.resize(static_cast<std::size_t>(*last));
  }

  void read_end(line_members& m) {
    if (m.num("end") != log_.facts.size())
      m.miss("end");
    over_ = true;
  }

  model_log& log_;
  bool begun_ = false;
  bool over_ = false;
};

/// What of a log is forgotten, also what nobody has swept yet.
class forgotten_facts {
public:
  /// A stream with a base, met before any fact.
  result<void> add(log_reader& reader, const stream_position& at) {
    bases_[at.stream_no] = at.base;
    auto borrows = borrows_of(reader, at);
    if (!borrows)
      return fail(borrows.error());
    for (const auto& range : *borrows) {
      const auto source = reader.find_stream(range.stream);
      if (!source)
        return fail(source.error());
      auto& kept = kept_[source->stream_no];
      kept = std::max(kept, range.through);
    }
    return {};
  }
  bool has(const recorded& r) const {
    const auto base = bases_.find(r.at.stream_no);
    if (base == bases_.end() || r.at.version > base->second)
      return false;
    const auto kept = kept_.find(r.at.stream_no);
    return kept == kept_.end() || r.at.version > kept->second;
  }

private:
  std::unordered_map<stream_no_t, version_t> bases_;
  std::unordered_map<stream_no_t, version_t> kept_;  ///< What forks read up to here.
};

/// The streams of a shard that have a base.
result<void> write_bases(log_reader& reader, std::ostream& out, shard_t shard,
                         std::unordered_set<stream_no_t>& named, forgotten_facts& forgotten) {
  for (stream_no_t after = 0;;) {
    auto page = reader.based_streams(shard, after, 1000);
    if (!page)
      return fail(page.error());
    if (page->empty())
      return {};
    for (const auto& at : *page) {
      auto id = reader.stream_of(at.stream_no);
      if (!id)
        return fail(id.error());
      out << stream_line(at.stream_no, *id, &at) << '\n';
      named.insert(at.stream_no);
      if (auto known = forgotten.add(reader, at); !known)
        return known;
      after = at.stream_no;
    }
  }
}

/// The facts and ranges of a shard, whose positions count from `offset` on.
result<void> write_shard(log_reader& reader, std::ostream& out, shard_t shard, position_t offset,
                         std::unordered_set<stream_no_t>& named, const forgotten_facts& forgotten,
                         const std::function<void(position_t)>& progress) {
  for (position_t through = 0;;) {
    auto page = reader.scan(shard, through, page_facts);
    if (!page)
      return fail(page.error());
    if (page->through == through)
      return {};
    auto range = page->blanks.begin();
    auto write_ranges = [&](position_t before) {
      for (; range != page->blanks.end() && range->first < before; ++range)
        out << "{\"gone\":[" << offset + range->first << ',' << offset + range->last << "]}\n";
    };
    for (auto& r : page->facts) {
      write_ranges(r.at.position);
      if (named.insert(r.at.stream_no).second)
        out << stream_line(r.at.stream_no, r.at.stream, nullptr) << '\n';
      r.at.position += offset;
      if (forgotten.has(r)) {
        r.key.clear();
        r.payload = {};
        r.blanked = true;
      }
      out << fact_line(r) << '\n';
    }
    through = page->through;
    write_ranges(through + 1);
    if (!out)
      return fail(errc::unavailable, "the dump cannot be written");
    if (progress)
      progress(offset + through);
  }
}

}  // namespace

result<void> write_dump(log_reader& reader, std::ostream& out,
                        const std::function<void(position_t)>& progress) {
  const frozen_view view(reader);
  if (!view.frozen())
    return fail(view.frozen().error());
  auto heads = reader.heads();
  if (!heads)
    return fail(heads.error());
  const auto identity = reader.identity();
  json::object_writer first;
  first.num("recalld_dump", dump_format).str("log_id", identity.log_id);
  first.num("generation", identity.generation)
    .num("head", std::accumulate(heads->begin(), heads->end(), position_t{0}));
  out << std::move(first).done() << '\n';

  std::unordered_set<stream_no_t> named;
  forgotten_facts forgotten;
  for (shard_t shard = 0; shard < heads->size(); ++shard)
    if (auto written = write_bases(reader, out, shard, named, forgotten); !written)
      return written;
  position_t offset = 0;
  for (shard_t shard = 0; shard < heads->size(); ++shard) {
    if (auto written = write_shard(reader, out, shard, offset, named, forgotten, progress);
        !written)
      return written;
    offset += (*heads)[shard];
  }
  out << "{\"end\":" << offset << "}\n";
  out.flush();
  if (!out)
    return fail(errc::unavailable, "the dump cannot be written");
  return {};
}

result<std::unique_ptr<store>> read_dump(std::istream& in) {
  auto disk = make_model_disk();
  dump_loader loader(disk->log);
  std::string line;
  for (std::uint64_t number = 1; std::getline(in, line); ++number) {
    line_members members(line);
    if (members.good())
      loader.read(members);
    if (!members.good())
      return fail_field("line " + std::to_string(number), members.wrong());
    if (loader.over())
      break;
  }
  if (!loader.over())
    return fail_field("end", "the dump is cut off");
  return open_model(std::move(disk));
}

}  // namespace recalld::storage

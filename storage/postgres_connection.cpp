#include "storage/postgres_connection.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include <libpq-fe.h>
#include <poll.h>

namespace recalld::storage::postgres {

namespace {

constexpr std::size_t array_header_bytes = 20;

template <class T>
void put_number(std::string& out, T v) {
  for (int shift = 8 * (static_cast<int>(sizeof(T)) - 1); shift >= 0; shift -= 8)
    out += static_cast<char>(static_cast<unsigned char>(static_cast<std::uint64_t>(v) >> shift));
}

template <class T>
void set_number(std::string& out, std::size_t at, T v) {
  std::string bytes;
  put_number(bytes, v);
  std::copy(bytes.begin(), bytes.end(), out.begin() + static_cast<std::ptrdiff_t>(at));
}

int width_of(type t) noexcept {
  switch (t) {
    case type::int2: return 2;
    case type::int4: return 4;
    default: return 8;
  }
}

void put_integer(std::string& out, type t, std::int64_t v) {
  switch (t) {
    case type::int2: put_number(out, static_cast<std::uint16_t>(v)); return;
    case type::int4: put_number(out, static_cast<std::uint32_t>(v)); return;
    default: put_number(out, static_cast<std::uint64_t>(v)); return;
  }
}

std::string one_line(const char* message) {
  std::string out(message != nullptr ? message : "");
  while (!out.empty() && (out.back() == '\n' || out.back() == ' '))
    out.pop_back();
  std::replace(out.begin(), out.end(), '\n', ' ');
  return out;
}

}  // namespace

void refuse(errc code, std::string message) { throw failure{{}, {}, false, error{code, std::move(message)}}; }

error to_error(const failure& f) {
  if (f.typed)
    return *f.typed;
  constexpr std::uint32_t soon_ms = 1000;
  auto away = [&](std::string what) {
    return error{errc::unavailable, std::move(what) + f.message, {}, 0, soon_ms};
  };
  const std::string_view state = f.state;
  if (f.lost || state.starts_with("08") || state.starts_with("57"))
    return away("the database cannot be reached: ");
  if (state.starts_with("XX"))
    return {errc::corrupt, "the log's database is damaged: " + f.message};
  if (state.starts_with("53"))
    return away("the database has no room left: ");
  if (state == "55P03" || state.starts_with("40"))
    return away("the log is locked by another connection: ");
  if (state.starts_with("22"))
    return {errc::invalid, "the database does not take a value: " + f.message};
  return away("the database refuses: ");
}

// -- values --

array::array(type element) : element_(element), out_(array_header_bytes, '\0') {}

array& array::put(std::int64_t v) {
  put_number(out_, static_cast<std::uint32_t>(width_of(element_)));
  put_integer(out_, element_, v);
  ++count_;
  return *this;
}

array& array::bytes(std::string_view v) {
  put_number(out_, static_cast<std::uint32_t>(v.size()));
  out_ += v;
  ++count_;
  return *this;
}

array& array::null() {
  put_number(out_, ~std::uint32_t{0});
  nulls_ = true;
  ++count_;
  return *this;
}

type array::array_type() const noexcept {
  switch (element_) {
    case type::bytea: return type::bytea_array;
    case type::int2: return type::int2_array;
    case type::int4: return type::int4_array;
    case type::text: return type::text_array;
    default: return type::int8_array;
  }
}

std::string array::take() {
  // One dimension of `count_` elements whose first has the index 1; none at all when empty.
  set_number(out_, 0, count_ == 0 ? std::uint32_t{0} : std::uint32_t{1});
  set_number(out_, 4, static_cast<std::uint32_t>(nulls_ ? 1 : 0));
  set_number(out_, 8, static_cast<std::uint32_t>(element_));
  set_number(out_, 12, count_);
  set_number(out_, 16, std::uint32_t{1});
  if (count_ == 0)
    out_.resize(12);
  return std::move(out_);
}

parameters& parameters::put(std::int64_t v) {
  auto& one = values_.emplace_back();
  one.what = type::int8;
  put_number(one.owned, static_cast<std::uint64_t>(v));
  return *this;
}

parameters& parameters::text(std::string_view v) {
  auto& one = values_.emplace_back();
  one.what = type::text;
  one.view = v;
  one.is_view = true;
  return *this;
}

parameters& parameters::bytes(std::string_view v) {
  text(v);
  values_.back().what = type::bytea;
  return *this;
}

parameters& parameters::null(type t) {
  auto& one = values_.emplace_back();
  one.what = t;
  one.null = true;
  return *this;
}

parameters& parameters::column(array a) {
  auto& one = values_.emplace_back();
  one.what = a.array_type();
  one.owned = a.take();
  return *this;
}

// -- answers --

answer::~answer() { PQclear(result_); }

std::size_t answer::rows() const noexcept { return static_cast<std::size_t>(PQntuples(result_)); }

std::uint64_t answer::touched() const {
  return std::strtoull(PQcmdTuples(result_), nullptr, 10);
}

std::string_view answer::tag() const { return PQcmdStatus(result_); }

bool answer::null_at(std::size_t row, int column) const noexcept {
  return PQgetisnull(result_, static_cast<int>(row), column) != 0;
}

std::int64_t answer::int_at(std::size_t row, int column) const {
  const auto bytes = view_at(row, column);
  std::uint64_t v = !bytes.empty() && (bytes[0] & 0x80) != 0 ? ~std::uint64_t{0} : 0;
  for (const char c : bytes)
    v = v << 8 | static_cast<unsigned char>(c);
  return static_cast<std::int64_t>(v);
}

std::string_view answer::view_at(std::size_t row, int column) const noexcept {
  const int r = static_cast<int>(row);
  return {PQgetvalue(result_, r, column),
          static_cast<std::size_t>(PQgetlength(result_, r, column))};
}

// -- connection --

connection::connection(const postgres_options& options, mode m) : options_(options), mode_(m) {
  reconnect();
}

connection::~connection() { drop(); }

void connection::drop() noexcept {
  PQfinish(db_);
  db_ = nullptr;
  prepared_.clear();
}

void connection::reconnect() {
  drop();
  // What stands before the URL is a default, what stands behind it is not to be overruled.
  const char* names[] = {"connect_timeout", "tcp_user_timeout", "keepalives", "keepalives_idle",
                         "keepalives_interval", "keepalives_count", "dbname", "application_name",
                         "client_encoding", nullptr};
  const char* values[] = {"2", "2000", "1", "2", "1", "2", options_.url.c_str(),
                          options_.application_name.c_str(), "UTF8", nullptr};
  db_ = PQconnectdbParams(names, values, 1);
  if (PQstatus(db_) != CONNECTION_OK) {
    failure f{{}, one_line(PQerrorMessage(db_)), true};
    drop();
    throw f;
  }
  server_process_ = PQbackendPID(db_);
  PQsetnonblocking(db_, 1);
  PQsetNoticeReceiver(
    db_,
    [](void* self, const PGresult* r) {
      // What was committed here was not confirmed by the standbys that should have it.
      const char* state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
      if (state != nullptr && std::string_view(state).starts_with("57"))
        static_cast<connection*>(self)->warned_ = true;
    },
    this);
  std::string settings =
    "SET search_path TO " + sql_name(options_.schema) + ", pg_catalog;"
    "SET jit = off;SET lock_timeout = " + std::to_string(options_.lock_ms_max) + ";"
    "SET statement_timeout = " + std::to_string(options_.answer_ms_max) + ";"
    // The server, too, is to notice a client that is gone.
    "SET tcp_user_timeout = 5000;SET tcp_keepalives_idle = 2;SET tcp_keepalives_interval = 1;"
    // Every statement here finds its rows by a key; estimates over arrays must not tempt the
    // planner into anything else.
    "SET enable_hashjoin = off;SET enable_mergejoin = off;SET enable_seqscan = off;"
    "SET plan_cache_mode = force_generic_plan;";
  if (mode_ == mode::write)
    // A transaction that its client has forgotten must not hold a shard.
    settings += "SET idle_in_transaction_session_timeout = "
                + std::to_string(options_.answer_ms_max) + ";";
  else
    settings += "SET default_transaction_read_only = on;";
  exec(settings);
}

bool connection::in_transaction() const noexcept {
  if (db_ == nullptr)
    return false;
  const auto s = PQtransactionStatus(db_);
  return s == PQTRANS_INTRANS || s == PQTRANS_INERROR || s == PQTRANS_ACTIVE;
}

bool connection::is_lost() const { return db_ == nullptr || PQstatus(db_) != CONNECTION_OK; }

void connection::lose(const std::string& why) {
  drop();
  throw failure{{}, why, true};
}

void connection::raise(pg_result* r) {
  const char* state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
  const char* primary = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
  failure f{state != nullptr ? state : "",
            one_line(primary != nullptr ? primary : PQresultErrorMessage(r)), false};
  PQclear(r);
  // 57P..: the server ends this connection; what it says arrives just before the end.
  if (f.state.empty() || f.state.starts_with("57P") || is_lost())
    f.lost = true;
  if (f.lost)
    drop();
  throw f;
}

connection::clock::time_point connection::deadline() const {
  return clock::now() + std::chrono::milliseconds(options_.answer_ms_max);
}

void connection::wait(short events, clock::time_point until) {
  for (;;) {
    const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(until - clock::now()).count();
    if (left <= 0)
      lose("no answer within " + std::to_string(options_.answer_ms_max) + " ms");
    pollfd p{PQsocket(db_), events, 0};
    const int n = ::poll(&p, 1, static_cast<int>(std::min<std::int64_t>(left, 1 << 30)));
    if (n < 0 && errno != EINTR)
      lose(std::strerror(errno));
    if (n <= 0)
      continue;
    if ((p.revents & ~POLLOUT) != 0 && PQconsumeInput(db_) == 0)
      lose(one_line(PQerrorMessage(db_)));
    return;
  }
}

void connection::flush(clock::time_point until) {
  for (;;) {
    const int left = PQflush(db_);
    if (left == 0)
      return;
    if (left < 0)
      lose(one_line(PQerrorMessage(db_)));
    wait(POLLIN | POLLOUT, until);
  }
}

pg_result* connection::next(clock::time_point until) {
  while (PQisBusy(db_) != 0)
    wait(POLLIN, until);
  return PQgetResult(db_);
}

void connection::exec(const std::string& sql) {
  if (db_ == nullptr)
    throw failure{{}, "not connected", true};
  const auto until = deadline();
  if (PQsendQuery(db_, sql.c_str()) == 0)
    lose(one_line(PQerrorMessage(db_)));
  flush(until);
  pg_result* bad = nullptr;
  while (auto* r = next(until)) {
    const auto status = PQresultStatus(r);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY
        || bad != nullptr)
      PQclear(r);
    else
      bad = r;
  }
  if (bad != nullptr)
    raise(bad);
}

void connection::prepare_missing(std::span<request> requests) {
  std::vector<const request*> missing;
  for (const auto& r : requests)
    if (!prepared_.contains(r.what->name())
        && std::none_of(missing.begin(), missing.end(),
                        [&](const request* m) { return m->what->name() == r.what->name(); }))
      missing.push_back(&r);
  if (missing.empty())
    return;
  const auto until = deadline();
  for (const auto* r : missing) {
    std::vector<Oid> types;
    for (const auto& v : r->values.values_)
      types.push_back(static_cast<Oid>(v.what));
    if (PQsendPrepare(db_, r->what->name().c_str(), r->what->sql().c_str(),
                      static_cast<int>(types.size()), types.data())
        == 0)
      lose(one_line(PQerrorMessage(db_)));
    flush(until);
    pg_result* bad = nullptr;
    while (auto* answered = next(until)) {
      if (PQresultStatus(answered) == PGRES_COMMAND_OK || bad != nullptr)
        PQclear(answered);
      else
        bad = answered;
    }
    if (bad != nullptr)
      raise(bad);
    prepared_.insert(r->what->name());
  }
}

void connection::send(const statement& s, const parameters& values) {
  const auto n = values.values_.size();
  std::vector<const char*> bytes(n);
  std::vector<int> lengths(n);
  const std::vector<int> formats(n, 1);
  for (std::size_t i = 0; i < n; ++i) {
    const auto& v = values.values_[i];
    const auto view = v.is_view ? v.view : std::string_view(v.owned);
    bytes[i] = v.null ? nullptr : view.data() != nullptr ? view.data() : "";
    lengths[i] = static_cast<int>(view.size());
  }
  if (PQsendQueryPrepared(db_, s.name().c_str(), static_cast<int>(n), bytes.data(),
                          lengths.data(), formats.data(), 1)
      == 0)
    lose(one_line(PQerrorMessage(db_)));
}

answer connection::query(const statement& s, parameters values) {
  request one{&s, std::move(values)};
  return std::move(run({&one, 1}).front());
}

std::int64_t connection::number(const std::string& sql, parameters values) {
  const auto out = query(sql, std::move(values));
  return out.rows() == 0 || out.null_at(0, 0) ? 0 : out.int_at(0, 0);
}

std::vector<answer> connection::run(std::span<request> requests) {
  if (db_ == nullptr)
    throw failure{{}, "not connected", true};
  prepare_missing(requests);
  const auto until = deadline();
  if (PQenterPipelineMode(db_) == 0)
    lose(one_line(PQerrorMessage(db_)));
  for (const auto& r : requests)
    send(*r.what, r.values);
  if (PQpipelineSync(db_) == 0)
    lose(one_line(PQerrorMessage(db_)));
  flush(until);

  std::vector<answer> out;
  out.reserve(requests.size());
  pg_result* bad = nullptr;
  for (;;) {
    auto* r = next(until);
    if (r == nullptr) {
      if (is_lost())
        lose(one_line(PQerrorMessage(db_)));
      continue;  // between two statements
    }
    const auto status = PQresultStatus(r);
    if (status == PGRES_PIPELINE_SYNC) {
      PQclear(r);
      break;
    }
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
      out.emplace_back(r);
    } else if (status == PGRES_PIPELINE_ABORTED || bad != nullptr) {
      PQclear(r);
    } else {
      bad = r;
      if (is_lost())
        break;
    }
  }
  if (bad != nullptr) {
    if (!is_lost())
      PQexitPipelineMode(db_);
    raise(bad);
  }
  if (PQexitPipelineMode(db_) == 0)
    lose(one_line(PQerrorMessage(db_)));
  return out;
}

// -- transaction --

transaction::~transaction() {
  if (done_ || !db_.in_transaction())
    return;
  try {
    db_.exec("ROLLBACK");
  } catch (const failure&) {
    // The connection is gone, and the transaction with it.
    db_.drop();
  }
}

void transaction::commit() {
  done_ = true;
  db_.exec("COMMIT");
}

std::string sql_name(std::string_view name) {
  std::string out = "\"";
  for (const char c : name)
    out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + '"';
}

std::string sql_text(std::string_view text) {
  std::string out = "'";
  for (const char c : text)
    out += c == '\'' ? std::string("''") : std::string(1, c);
  return out + '\'';
}

}  // namespace recalld::storage::postgres

#include "projections/projections.hpp"
#include "storage/failpoint.hpp"
#include "storage/postgres_writer.hpp"

/// Rebuilding projection tables beside the live ones, as in SQLite. Shadows are named
/// `shadow_<table>`; what a lost connection or a crash leaves of them is dropped by the next rebuild.
namespace recalld::storage::postgres {

namespace {

constexpr const char* shadow_prefix = "shadow_";

/// Row changes that are gathered before they are written.
constexpr std::size_t gathered_max = 20'000;

void write_gathered(connection& db, row_gather& rows) {
  std::vector<request> requests;
  rows.write(requests);
  if (!requests.empty())
    db.run(requests);
  rows.forget();
}

}  // namespace

std::shared_ptr<void> writer::quiet() {
  return std::make_shared<ledger::hold>(*ledger_, ledger_->all());
}

result<std::vector<const projections::table*>> writer::outdated_tables() {
  return writing([&]() -> result<std::vector<const projections::table*>> {
    std::vector<const projections::table*> out;
    for (const auto* t : projections::tables())
      if (stored_version(db_, *t) != t->version)
        out.push_back(t);
    return out;
  });
}

result<void> writer::begin_shadow(std::span<const projections::table* const> tables) {
  return writing([&]() -> result<void> {
    shadow_.reset();
    shadow_tables_.clear();
    ledger_->rebuilding = false;
    transaction change(db_);
    const auto number = db_.number("UPDATE meta SET value = (value::int8 + 1)::text "
                                   "WHERE name = 'shadows' RETURNING value::int8");
    for (const auto* t : projections::tables())
      db_.exec("DROP TABLE IF EXISTS " + sql_name(shadow_prefix + std::string(t->name)));
    for (const auto* t : tables)
      db_.exec(
        create_table_sql(*t, shadow_prefix + std::string(t->name), "_r" + std::to_string(number)));
    change.commit();
    ledger_->rebuilding = true;
    shadow_.emplace(shadow_prefix);
    for (const auto* t : tables)
      shadow_->know(*t);
    shadow_tables_.assign(tables.begin(), tables.end());
    return {};
  });
}

result<void> writer::apply_to_shadow(std::vector<projections::change> changes) {
  return writing([&]() -> result<void> {
    if (!shadow_)
      return fail(errc::invalid, "no shadow was begun");
    for (auto& c : changes)
      shadow_->add(std::move(c), false);
    if (shadow_->gathered() < gathered_max)
      return {};
    transaction change(db_);
    write_gathered(db_, *shadow_);
    change.commit();
    return {};
  });
}

result<void> writer::swap_shadow() {
  return writing([&]() -> result<void> {
    if (!shadow_)
      return fail(errc::invalid, "no shadow was begun");
    transaction change(db_);
    write_gathered(db_, *shadow_);
    for (const auto* t : shadow_tables_) {
      db_.exec("DROP TABLE IF EXISTS " + sql_name(t->name));
      db_.exec("ALTER TABLE " + sql_name(shadow_prefix + std::string(t->name)) + " RENAME TO "
               + sql_name(t->name));
      parameters p;
      p.text(t->name).integer(t->version);
      db_.query("INSERT INTO table_versions VALUES($1, $2) ON CONFLICT (name) "
                "DO UPDATE SET version = excluded.version",
                std::move(p));
    }
    failpoint("postgres.swap.before");
    change.commit();
    failpoint("postgres.swap.after");
    shadow_.reset();
    shadow_tables_.clear();
    ledger_->rebuilding = false;
    ++ledger_->swaps;
    know_tables();
    return {};
  });
}

}  // namespace recalld::storage::postgres

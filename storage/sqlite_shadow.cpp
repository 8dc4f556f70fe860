#include "projections/projections.hpp"
#include "storage/failpoint.hpp"
#include "storage/sqlite_schema.hpp"
#include "storage/sqlite_writer.hpp"

/// Rebuilding projection tables beside the live ones. Shadows are named `shadow_<table>`; what a
/// crash leaves of them is dropped by the next rebuild.
namespace recalld::storage::sqlite {

namespace {

constexpr const char* shadow_prefix = "shadow_";

/// Row changes that are gathered before they are written.
constexpr std::size_t gathered_max = 50'000;

}  // namespace

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
    transaction change(db_);
    const auto number = db_.number("SELECT value FROM meta WHERE name = 'shadows'") + 1;
    db_.exec("UPDATE meta SET value = " + std::to_string(number) + " WHERE name = 'shadows'");
    for (const auto* t : projections::tables())
      db_.exec("DROP TABLE IF EXISTS " + sql_name(shadow_prefix + std::string(t->name)));
    for (const auto* t : tables)
      db_.exec(
        create_table_sql(*t, shadow_prefix + std::string(t->name), "_r" + std::to_string(number)));
    change.commit();
    shadow_.emplace(db_, shadow_prefix);
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
    auto knows = [&](const projections::change& c) {
      return std::visit([&](const auto& one) { return shadow_->knows(*one.table); }, c);
    };
    transaction change(db_);
    for (auto& c : changes)
      if (knows(c))
        shadow_->add(std::move(c));
    if (shadow_->gathered() >= gathered_max)
      shadow_->flush();
    change.commit();
    relieve();
    return {};
  });
}

result<void> writer::swap_shadow() {
  return writing([&]() -> result<void> {
    if (!shadow_)
      return fail(errc::invalid, "no shadow was begun");
    transaction change(db_);
    shadow_->flush();
    shadow_.reset();  // its statements name tables that are about to go
    auto record = db_.prepare("INSERT INTO table_versions VALUES(?, ?) ON CONFLICT(name) "
                              "DO UPDATE SET version = excluded.version");
    for (const auto* t : shadow_tables_) {
      db_.exec("DROP TABLE IF EXISTS " + sql_name(t->name));
      db_.exec("ALTER TABLE " + sql_name(shadow_prefix + std::string(t->name)) + " RENAME TO "
               + sql_name(t->name));
      record.text(1, t->name).integer(2, t->version).run();
    }
    failpoint("sqlite.swap.before");
    change.commit();
    failpoint("sqlite.swap.after");
    for (const auto* t : shadow_tables_)
      live_.know(*t);
    shadow_tables_.clear();
    relieve();
    return {};
  });
}

}  // namespace recalld::storage::sqlite

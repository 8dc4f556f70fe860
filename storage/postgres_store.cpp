#include "storage/postgres_store.hpp"

#include "storage/postgres_reader.hpp"
#include "storage/postgres_writer.hpp"
#include "storage/refusing_writer.hpp"

namespace recalld::storage {

namespace {

class postgres_store final : public store {
public:
  explicit postgres_store(const postgres_options& options) : options_(options) {
    if (options_.read_only) {
      const postgres::reader look(options_);
      writer_ = std::make_unique<refusing_writer>(look.identity(), look.shards());
    } else {
      writer_ = std::make_unique<postgres::writer>(options_);
    }
  }

  log_writer& writer() override { return *writer_; }

  result<std::unique_ptr<log_reader>> open_reader() override {
    return postgres::guarded([&]() -> result<std::unique_ptr<log_reader>> {
      return std::make_unique<postgres::reader>(options_);
    });
  }

private:
  postgres_options options_;
  std::unique_ptr<log_writer> writer_;
};

}  // namespace

result<std::unique_ptr<store>> open_postgres(const postgres_options& options) {
  return postgres::guarded(
    [&]() -> result<std::unique_ptr<store>> { return std::make_unique<postgres_store>(options); });
}

result<std::vector<std::string>> postgres_risks(const std::string& url) {
  return postgres::guarded([&]() -> result<std::vector<std::string>> {
    postgres::connection db({.url = url}, postgres::connection::mode::read);
    return postgres::unsafe_settings(db);
  });
}

bool is_postgres_url(std::string_view store) noexcept {
  return store.starts_with("postgres://") || store.starts_with("postgresql://");
}

std::string printable_postgres_url(std::string_view url) {
  std::string out(url);
  const auto begin = out.find("://");
  const auto at = out.find('@', begin == std::string::npos ? 0 : begin + 3);
  if (begin != std::string::npos && at != std::string::npos)
    if (const auto colon = out.find(':', begin + 3); colon != std::string::npos && colon < at)
      out.replace(colon + 1, at - colon - 1, "***");
  if (const auto word = out.find("password="); word != std::string::npos) {
    const auto end = out.find_first_of("& ", word);
    out.replace(word + 9, (end == std::string::npos ? out.size() : end) - word - 9, "***");
  }
  return out;
}

}  // namespace recalld::storage

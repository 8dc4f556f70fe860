#include "storage/postgres_store.hpp"

#include "storage/postgres_lease.hpp"
#include "storage/postgres_reader.hpp"
#include "storage/postgres_writer.hpp"
#include "storage/refusing_writer.hpp"

#include <algorithm>

namespace recalld::storage {

namespace {

class postgres_store final : public store {
public:
  explicit postgres_store(const postgres_options& options) : options_(options) {
    if (options_.read_only) {
      const postgres::reader look(options_);
      writers_.push_back(std::make_unique<refusing_writer>(look.identity(), look.shards()));
    } else {
      auto first = std::make_unique<postgres::writer>(options_);
      const auto shared = first->shared();
      incarnation_ = shared->incarnation;
      writers_.push_back(std::move(first));
      const auto wanted = std::min<std::size_t>(options_.writers, shared->size());
      while (writers_.size() < wanted)
        writers_.push_back(std::make_unique<postgres::writer>(options_, shared));
    }
  }

  log_writer& writer() override { return *writers_.front(); }

  std::vector<log_writer*> writers() override {
    std::vector<log_writer*> out;
    for (const auto& w : writers_)
      out.push_back(w.get());
    return out;
  }

  result<std::unique_ptr<log_lease>> open_lease(const std::string& holder) override {
    return postgres::guarded([&]() -> result<std::unique_ptr<log_lease>> {
      if (options_.read_only)
        return fail(errc::unavailable, "the log was opened for reading only");
      return std::make_unique<postgres::lease>(options_, incarnation_, holder);
    });
  }

  result<std::unique_ptr<log_reader>> open_reader() override {
    return postgres::guarded([&]() -> result<std::unique_ptr<log_reader>> {
      return std::make_unique<postgres::reader>(options_);
    });
  }

private:
  postgres_options options_;
  std::string incarnation_;
  std::vector<std::unique_ptr<log_writer>> writers_;
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

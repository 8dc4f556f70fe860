#pragma once

#include "events/result.hpp"

#include <array>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace recalld::actors {

/// Seals what must not be readable at rest: XSalsa20 with Poly1305 (libsodium's secretbox) under a
/// key from a file. The newest key seals, every key opens. Copies share the keys. Safe to use from any
/// thread.
///
/// The file has one key a line, 64 hexadecimal digits, newest first; a new first line rotates. Who
/// loses the file loses what was sealed.
class key_ring {
public:
  /// Reads the file; one that does not exist is made with a fresh key, readable by its owner only.
  /// `forbidden` when others may read it, `corrupt` when it is no key file.
  static result<key_ring> open(const std::filesystem::path& file);

  /// Text of our own alphabet (`1.KEY.NONCE-AND-BOX`); another one each time.
  std::string seal(std::string_view plain) const;
  /// `not_found` when none of the keys sealed it, `corrupt` when it was changed since.
  result<std::string> unseal(std::string_view sealed) const;
  /// The name of the key that seals: the second part of what it sealed.
  std::string newest() const;
  /// Puts a fresh key before those of the file, on disk first; on an error nothing changed.
  result<void> rotate();

private:
  using key = std::array<unsigned char, 32>;
  struct keys {
    std::filesystem::path file;
    mutable std::mutex guard;  ///< Of `all`.
    std::vector<key> all;      ///< Newest first.
  };
  static result<std::vector<key>> read(const std::filesystem::path& file);

  std::vector<key> all() const;

  std::shared_ptr<keys> keys_;
};

}  // namespace recalld::actors

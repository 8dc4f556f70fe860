#include "actors/key_ring.hpp"

#include <sodium.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

namespace recalld::actors {

namespace {

constexpr std::string_view format = "1";
constexpr int base64 = sodium_base64_VARIANT_URLSAFE_NO_PADDING;

tl::unexpected<error> cannot(const std::filesystem::path& file, std::string_view what) {
  return fail(errc::unavailable, "cannot " + std::string(what) + " the key file " + file.string()
                                   + ": " + std::strerror(errno));
}

std::string hex(const unsigned char* bytes, std::size_t count) {
  std::string out(count * 2 + 1, '\0');
  sodium_bin2hex(out.data(), out.size(), bytes, count);
  out.pop_back();
  return out;
}

/// Tells keys apart without telling anything about them.
std::string name_of(const unsigned char* key) {
  std::array<unsigned char, 16> digest{};
  crypto_generichash(digest.data(), digest.size(), key, crypto_secretbox_KEYBYTES, nullptr, 0);
  return hex(digest.data(), 8);
}

std::string line_of(const unsigned char* key) { return hex(key, crypto_secretbox_KEYBYTES) + "\n"; }

/// Writes the file's new text beside it and lets `put` give it its name, all of it on disk: what is
/// sealed with a key must not outlive it.
template <class Put>
result<void> write(const std::filesystem::path& file, const std::string& lines, Put put) {
  auto beside = file.string() + ".XXXXXX";
  const int fd = ::mkstemp(beside.data());
  if (fd < 0)
    return cannot(file, "make");
  bool done = ::write(fd, lines.data(), lines.size()) == static_cast<ssize_t>(lines.size())
              && ::fsync(fd) == 0;
  ::close(fd);
  done = done && put(beside.c_str());
  const int why = errno;
  ::unlink(beside.c_str());
  const auto parent = file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
  const int directory = ::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool kept = directory >= 0 && ::fsync(directory) == 0;
  if (directory >= 0)
    ::close(directory);
  if (!done)
    errno = why;
  if (!done || !kept)
    return cannot(file, "write");
  return {};
}

/// Of two who begin at once both get the one file of the first.
result<void> make(const std::filesystem::path& file) {
  std::error_code failed;
  if (file.has_parent_path())
    std::filesystem::create_directories(file.parent_path(), failed);
  std::array<unsigned char, crypto_secretbox_KEYBYTES> fresh{};
  crypto_secretbox_keygen(fresh.data());
  return write(file, line_of(fresh.data()), [&](const char* beside) {
    return ::link(beside, file.c_str()) == 0 || errno == EEXIST;
  });
}

}  // namespace

result<key_ring> key_ring::open(const std::filesystem::path& file) {
  if (sodium_init() < 0)
    return fail(errc::unavailable, "libsodium cannot be used here");
  struct stat about {};
  if (::stat(file.c_str(), &about) != 0) {
    if (errno != ENOENT)
      return cannot(file, "look at");
    if (auto made = make(file); !made)
      return fail(made.error());
  }
  auto keys = read(file);
  if (!keys)
    return fail(keys.error());
  key_ring out;
  out.keys_ = std::make_shared<struct keys>();
  out.keys_->file = file;
  out.keys_->all = std::move(*keys);
  return out;
}

result<std::vector<key_ring::key>> key_ring::read(const std::filesystem::path& file) {
  struct stat about {};
  if (::stat(file.c_str(), &about) != 0)
    return cannot(file, "look at");
  if ((about.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    return fail(errc::forbidden, "others than its owner may use the key file " + file.string()
                                   + "; it must have mode 0600");
  std::ifstream in(file);
  if (!in)
    return cannot(file, "read");
  std::vector<key> out;
  for (std::string line; std::getline(in, line);) {
    if (line.empty())
      continue;
    auto& one = out.emplace_back();
    std::size_t size = 0;
    if (sodium_hex2bin(one.data(), one.size(), line.data(), line.size(), nullptr, &size, nullptr)
          != 0
        || size != one.size() || line.size() != 2 * one.size())
      return fail(errc::corrupt, "the key file " + file.string() + " has a line that is no key");
  }
  if (out.empty())
    return fail(errc::corrupt, "the key file " + file.string() + " has no key");
  return out;
}

std::vector<key_ring::key> key_ring::all() const {
  const std::lock_guard lock(keys_->guard);
  return keys_->all;
}

std::string key_ring::newest() const { return name_of(all().front().data()); }

result<void> key_ring::rotate() {
  const std::lock_guard lock(keys_->guard);
  // The file, not what is known of it: its owner may have added keys.
  auto whole = read(keys_->file);
  if (!whole)
    return fail(whole.error());
  whole->emplace(whole->begin());
  crypto_secretbox_keygen(whole->front().data());
  std::string lines;
  for (const auto& one : *whole)
    lines += line_of(one.data());
  auto written = write(keys_->file, lines, [&](const char* beside) {
    return ::rename(beside, keys_->file.c_str()) == 0;
  });
  if (!written)
    return written;
  keys_->all = std::move(*whole);
  return {};
}

std::string key_ring::seal(std::string_view plain) const {
  static_assert(std::tuple_size_v<key> == crypto_secretbox_KEYBYTES);
  const auto with = all().front();
  std::vector<unsigned char> box(crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES
                                 + plain.size());
  randombytes_buf(box.data(), crypto_secretbox_NONCEBYTES);
  crypto_secretbox_easy(box.data() + crypto_secretbox_NONCEBYTES,
                        reinterpret_cast<const unsigned char*>(plain.data()), plain.size(),
                        box.data(), with.data());
  std::string text(sodium_base64_encoded_len(box.size(), base64), '\0');
  sodium_bin2base64(text.data(), text.size(), box.data(), box.size(), base64);
  text.pop_back();
  return std::string(format) + "." + name_of(with.data()) + "." + text;
}

result<std::string> key_ring::unseal(std::string_view sealed) const {
  const auto first = sealed.find('.');
  const auto second = sealed.find('.', first + 1);
  if (first == std::string_view::npos || second == std::string_view::npos
      || sealed.substr(0, first) != format)
    return fail(errc::corrupt, "this was not sealed by a key ring");
  const auto name = sealed.substr(first + 1, second - first - 1);
  const auto text = sealed.substr(second + 1);
  std::vector<unsigned char> box(text.size());
  std::size_t size = 0;
  if (sodium_base642bin(box.data(), box.size(), text.data(), text.size(), nullptr, &size, nullptr,
                        base64)
        != 0
      || size < crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES)
    return fail(errc::corrupt, "what was sealed is damaged");
  for (const auto& with : all()) {
    if (name_of(with.data()) != name)
      continue;
    std::string plain(size - crypto_secretbox_NONCEBYTES - crypto_secretbox_MACBYTES, '\0');
    if (crypto_secretbox_open_easy(reinterpret_cast<unsigned char*>(plain.data()),
                                   box.data() + crypto_secretbox_NONCEBYTES,
                                   size - crypto_secretbox_NONCEBYTES, box.data(), with.data())
        != 0)
      return fail(errc::corrupt, "what was sealed is damaged");
    return plain;
  }
  return fail(errc::not_found, "the key that sealed this is not in the key file any more");
}

}  // namespace recalld::actors

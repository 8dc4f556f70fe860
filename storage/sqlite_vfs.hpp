#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

/// Inside `storage/` only.
///
/// A virtual file system for SQLite: the platform's own one but for two things.
///
/// *Clean pages.* SQLite's `secure_delete` overwrites what is deleted, but not the copies that stay
/// behind when rows move: a page that is packed anew keeps the old bytes of what went to its neighbour
/// in the room between its cell pointers and its cells. Deleted later, the row is overwritten only
/// where it is then. Here that room is overwritten with zeros whenever a page is written to a database
/// file; the write-ahead log is cut after something was forgotten.
///
/// *One write a commit.* SQLite writes two pieces for each page that goes to the write-ahead log. Here
/// pieces that follow each other are gathered until the log is synced, read or looked at otherwise.
/// Other connections read of it only what was synced, so connections that write must have
/// `synchronous` at `FULL`.
namespace recalld::storage::sqlite {

/// The name to open connections with. Registers the file system at the first call. Throws `failure`
/// when SQLite has none.
const char* vfs_name();

struct stretch {
  std::size_t first = 0;
  std::size_t size = 0;
  friend bool operator==(const stretch&, const stretch&) = default;
};

/// The room of a b-tree page in which nothing is stored; none when these bytes are no b-tree page.
/// `offset`: of the page in its file. Layout: https://www.sqlite.org/fileformat2.html, section 1.6.
std::optional<stretch> unused_room(std::span<const std::uint8_t> page, std::int64_t offset) noexcept;

}  // namespace recalld::storage::sqlite

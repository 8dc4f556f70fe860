#pragma once

#include <cstddef>
#include <string>
#include <string_view>

/// What is known of the terminal behind an output, and how wide text is on it.
namespace recalld::cli {

enum class style { plain, bold, dim, red, green, yellow, cyan };

/// One of the process's outputs.
struct terminal {
  bool tty = false;       ///< A person is watching.
  bool colour = false;    ///< Escape sequences are welcome.
  std::size_t width = 0;  ///< Columns; 0 = no limit (a file or a pipe).

  /// `text` in a style, or as it is where colours are not wanted.
  std::string paint(style s, std::string_view text) const;
};

/// Looks at a file descriptor. `colour` is `auto`, `always` or `never`; NO_COLOR (any value) and
/// TERM=dumb speak against `auto`.
terminal inspect(int fd, std::string_view colour);

/// Columns that UTF-8 text takes: wide characters two, combining ones none.
std::size_t display_width(std::string_view text);

/// The longest beginning of `text` that fits into `width` columns; ends with `…` if something had
/// to go.
std::string cut_to(std::string_view text, std::size_t width);

/// Text from outside made harmless for a terminal: line ends as `⏎`, other control characters and
/// invalid UTF-8 as `\xNN`.
std::string printable(std::string_view text);

}  // namespace recalld::cli

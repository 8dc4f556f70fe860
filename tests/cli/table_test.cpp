#include "cli/progress.hpp"
#include "cli/terminal.hpp"
#include "cli/text_table.hpp"
#include "tests/catch.hpp"

using namespace recalld::cli;

TEST_CASE("text is measured as a terminal shows it", "[table]") {
  CHECK(display_width("abc") == 3);
  CHECK(display_width("größer") == 6);
  CHECK(display_width("記憶") == 4);
  CHECK(display_width("e\xCC\x81") == 1);
  CHECK(display_width("🙂") == 2);
  CHECK(display_width("\xff") == 1);
}

TEST_CASE("text is cut at a character, never inside one", "[table]") {
  CHECK(cut_to("hello", 5) == "hello");
  CHECK(cut_to("hello", 4) == "hel…");
  CHECK(cut_to("記憶装置", 5) == "記憶…");
  CHECK(cut_to("記憶装置", 4) == "記…");
  CHECK(cut_to("hello", 0).empty());
  CHECK(cut_to("hello", 1) == "…");
  check_property("a cut text is never wider than asked", [](const std::string& text) {
    const auto width = *rc::gen::inRange<std::size_t>(0, 20);
    RC_ASSERT(display_width(cut_to(printable(text), width)) <= width);
  });
}

TEST_CASE("text from outside cannot steer the terminal", "[table]") {
  CHECK(printable("a\nb") == "a⏎b");
  CHECK(printable("\x1b[31mred") == "\\x1b[31mred");
  CHECK(printable("\xC2\x9B"
                  "31m")
        == "\\xc2\\x9b31m");
  CHECK(printable("bad \xff utf8") == "bad \\xff utf8");
  CHECK(printable("a\xE2\x80\xAE"
                  "b")
        == "a\\xe2\\x80\\xaeb");
  CHECK(printable("größer 記憶") == "größer 記憶");
}

TEST_CASE("columns line up, and the widest gives way", "[table]") {
  text_table t({{.title = "ID"},
                {.title = "N", .side = text_table::align::right},
                {.title = "TEXT", .shrinks = true}});
  t.add({"a", "1", "short"});
  t.add({"記憶", "1000", "a text that is much too long for this"});
  CHECK(t.render({})
        == "ID       N  TEXT\n"
           "a        1  short\n"
           "記憶  1000  a text that is much too long for this\n");
  CHECK(t.render({.width = 30})
        == "ID       N  TEXT\n"
           "a        1  short\n"
           "記憶  1000  a text that is mu…\n");
  t.add({"x"});
  CHECK_THAT(t.render({}), Catch::Matchers::EndsWith("\nx\n"));
}

TEST_CASE("colours are there only when wanted", "[table]") {
  CHECK(terminal{}.paint(style::red, "x") == "x");
  CHECK(terminal{.colour = true}.paint(style::red, "x") == "\x1b[31mx\x1b[0m");
  CHECK(inspect(-1, "always").colour);
  CHECK_FALSE(inspect(-1, "auto").colour);
  CHECK_FALSE(inspect(-1, "never").tty);
}

TEST_CASE("numbers are written for people", "[table]") {
  CHECK(grouped(0) == "0");
  CHECK(grouped(999) == "999");
  CHECK(grouped(1000) == "1,000");
  CHECK(grouped(1234567) == "1,234,567");
  CHECK(human_bytes(1023) == "1023 B");
  CHECK(human_bytes(1536) == "1.5 KiB");
  CHECK(human_seconds(0.25) == "0.2 s");
  CHECK(human_seconds(187) == "3:07");
  CHECK(human_seconds(3723) == "1:02:03");
}

TEST_CASE("a progress line tells share, rate and what is left", "[table]") {
  const auto line = progress_line("import", "entries", 500, 1000, 2.0, 100);
  CHECK_THAT(line, Catch::Matchers::StartsWith("import ▕███████████████"));
  CHECK_THAT(line, Catch::Matchers::EndsWith("50%  500/1,000 entries  250/s  ETA 2.0 s"));
  for (std::size_t width : {10u, 20u, 40u, 60u, 79u, 200u})
    for (std::uint64_t total : {0u, 1000u})
      CHECK(display_width(progress_line("import", "entries", 999, total, 3.3, width)) <= width);
}

#!/usr/bin/env python3
"""The house rules that a program can hold.

    tidy_test.py SOURCE_DIR COMPILE_COMMANDS   checks the tree
    tidy_test.py --prove                       shows that each rule finds what it forbids

That headers compile alone is held by the build (cmake/header_check.cmake); this test holds that
each of them takes part.
"""
import json
import os
import re
import subprocess
import sys
import tempfile

LIBRARIES = ["events", "retrieval", "projections", "storage", "actors", "api", "providers", "cli"]
FOLDERS = LIBRARIES + ["bench", "examples", "tests"]

# Who may include whom. A folder may always include itself; cli, bench, examples and tests may
# include everything. A name ending in / is a folder, any other one header.
ARROWS = {
    "events": [],
    "retrieval": ["events/ids.hpp"],
    # The words by which a memory is found are rows as well.
    "projections": ["events/", "retrieval/words.hpp", "retrieval/index.hpp"],
    "storage": ["events/", "projections/"],
    "actors": ["events/", "retrieval/", "projections/", "storage/store.hpp", "storage/snapshot_cache.hpp",
               "storage/replay.hpp"],
    # What can be listed is asked of the rows that projections describe as data.
    "api": ["events/", "actors/gateway.hpp", "actors/node.hpp", "actors/gateway_protocol.hpp",
            "actors/operation.hpp", "projections/projections.hpp"],
    # Clients of other people's servers: they know what is asked, not who asks.
    "providers": ["events/"],
}

CAF = r"caf/"
SQL = r"(sqlite3\.h|SQLiteCpp/|pqxx/|libpq-fe\.h|libpq/)"
CACHE = r"rocksdb/"
HTTP = (r"(httplib\.h|curl/|boost/(beast|asio)|evhttp\.h|event2/|microhttpd\.h|uv\.h|mongoose\.h"
        r"|drogon/|crow(\.h|/)|pistache/|restinio/|llhttp\.h|nghttp2/|openssl/)")
JSON = r"(nlohmann/|simdjson\.h)"

# (folder, ending of the file, what may not be included, why)
FORBIDDEN_HEADERS = [
    ("events", "", CAF, "events/ knows no CAF"),
    ("events", "", SQL, "events/ knows no SQL"),
    ("events", "", CACHE, "events/ knows no RocksDB"),
    ("events", ".hpp", JSON, "JSON stays in the .cpp files of events/"),
    ("retrieval", "", CAF, "retrieval/ knows no CAF"),
    ("retrieval", "", SQL, "retrieval/ knows no SQL"),
    ("retrieval", "", CACHE, "retrieval/ knows no RocksDB"),
    ("retrieval", "", JSON, "retrieval/ knows no JSON"),
    ("projections", "", CAF, "projections/ knows no CAF"),
    ("projections", "", SQL, "projections/ knows no database handle"),
    ("projections", "", CACHE, "projections/ knows no database handle"),
    ("storage", "", CAF, "storage/ knows no CAF"),
    ("storage", "", HTTP, "storage/ knows no HTTP"),
    ("actors", "", SQL, "actors/ reach the disk through storage/store.hpp"),
    ("actors", "", CACHE, "actors/ reach the cache through storage/snapshot_cache.hpp"),
    ("actors", "", HTTP, "HTTP is a face: api/"),
    ("api", "", SQL, "api/ knows no storage"),
    ("api", "", CACHE, "api/ knows no storage"),
    ("providers", "", CAF, "providers/ knows no CAF"),
    ("providers", "", SQL, "providers/ knows no SQL"),
    ("providers", "", CACHE, "providers/ knows no RocksDB"),
]
# openssl/ in the list above is about TLS, a matter of faces; hashes are everybody's.
HASHES = r"openssl/(evp|sha|hmac|crypto|rand|err)\.h"

# (folder, pattern in code without comments and strings, why)
FORBIDDEN_WORDS = [
    ("events", r"\bnow\s*\(", "the clock comes in through context"),
    # A field called `random` is how it comes in; a source of randomness is what may not be here.
    ("events", r"<random>|random_device|random_engine|mt19937|minstd_rand|getrandom|getentropy"
               r"|randombytes|arc4random|RAND_\w*bytes|\bs?rand(?:om)?(?:_r)?\s*\(",
     "randomness comes in through context"),
    ("events", r"\bstd::j?thread\b", "events/ knows no threads"),
    ("events", r"mutex", "events/ knows no threads"),
    ("events", r"spdlog", "events/ does not log"),
    ("events", r"\bcaf\b", "events/ knows no CAF"),
    ("retrieval", r"\bnow\s*\(", "the clock comes in as data"),
    ("retrieval", r"mutex|\bstd::j?thread\b", "retrieval/ knows no threads"),
    ("projections", r"\bcaf\b", "projections/ knows no CAF"),
    ("storage", r"\bcaf\b", "storage/ knows no CAF"),
]

NAMELESS = {"manager", "managers", "helper", "helpers", "util", "utils", "utility", "utilities",
            "service", "services"}
DETACHED_HOME = "actors/node.cpp"

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
TYPE = re.compile(r"\b(?:class|struct|union|enum(?:\s+(?:class|struct))?|concept)\s+"
                  r"(?:\[\[[^\]]*\]\]\s*)?(?:alignas\([^)]*\)\s*)?([A-Za-z_]\w*)"
                  r"|\busing\s+([A-Za-z_]\w*)\s*=")
LITERALS = re.compile(
    r'(?P<comment>//[^\n]*|/\*.*?\*/)'
    r'|(?P<raw>R"(?P<mark>[^()\s\\]{0,16})\(.*?\)(?P=mark)")'
    r'|(?P<string>"(?:\\.|[^"\\\n])*")'
    r"|(?P<char>(?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])+')", re.S)

# Built from parts, so that this file passes its own rule.
PLACES = re.compile(r"(?<![\w.}~-])/(?:" + "wo" + "rk|ho" + r"me)(?![\w-])")
HOSTS = re.compile("|".join(re.escape(host).replace("!", r"\.") for host in [
    "deb!debian!org", "snapshot!debian!org", "security!debian!org", "ftp!debian!org",
    "pypi!org", "pythonhosted!org", "registry!npmjs!org", "registry!yarnpkg!com",
    "proxy!golang!org", "sum!golang!org", "crates!io", "repo1!maven!org", "repo!maven!apache!org",
]))


def code_of(text):
    """Text without comments and literals, line numbers kept; includes keep their names."""
    def blank(match):
        lines = "\n" * match.group(0).count("\n")
        return lines if match.group("comment") else '""' + lines
    kept = INCLUDE.sub(lambda m: "#include <" + m.group(2) + ">", text)
    return LITERALS.sub(blank, kept)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def words_of(name):
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return {word.lower() for word in spaced.split("_")}


def tracked_files(root):
    """Files under version control with those about to be; without git, all but build trees."""
    try:
        out = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard", "-z"],
                             check=True, capture_output=True).stdout.decode()
        files = [path for path in out.split("\0") if path]
        if files:
            return sorted(path for path in files if os.path.isfile(os.path.join(root, path)))
    except (OSError, subprocess.CalledProcessError):
        pass
    files = []
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below
                    if name not in ("build", ".git", "node_modules", "__pycache__")]
        files += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    return sorted(files)


def check_includes(path, text):
    folder = path.split("/")[0]
    for match in INCLUDE.finditer(text):
        bracket, header = match.group(1), match.group(2)
        line = line_of(text, match.start())
        target = header.split("/")[0]
        if bracket == '"' and ("/" not in header or target not in FOLDERS):
            yield line, f'"{header}": ours are included by their path from the root'
            continue
        if bracket == "<" and "/" in header and target in FOLDERS:
            yield line, f'<{header}>: ours are included with quotes'
        if folder in ARROWS and target in FOLDERS and "/" in header and target != folder:
            if not any(header == to or (to.endswith("/") and header.startswith(to))
                       for to in ARROWS[folder]):
                yield line, f"{folder}/ may not include {header}"
        if folder in LIBRARIES and target in ("tests", "bench", "examples") and "/" in header:
            if folder not in ARROWS:
                yield line, f"{folder}/ may not include {header}"
        for where, ending, pattern, why in FORBIDDEN_HEADERS:
            if folder == where and path.endswith(ending) and re.match(pattern, header):
                if not re.match(HASHES, header):
                    yield line, f"<{header}>: {why}"


def check_words(path, code):
    folder = path.split("/")[0]
    for where, pattern, why in FORBIDDEN_WORDS:
        if folder == where:
            for match in re.finditer(pattern, code):
                yield line_of(code, match.start()), f"'{match.group(0)}': {why}"
    if folder != "tests" and path != DETACHED_HOME:
        for match in re.finditer(r"\bdetached\b", code):
            yield line_of(code, match.start()), f"'detached' is said in {DETACHED_HOME} only"
    if folder in LIBRARIES:
        for match in TYPE.finditer(code):
            name = match.group(1) or match.group(2)
            bad = words_of(name) & NAMELESS
            if bad:
                yield (line_of(code, match.start()),
                       f"type '{name}': '{bad.pop()}' hides that the thing has no name yet")


def check_compiled(root, paths, compiled):
    """Every test source is in a target, every header in the check that it compiles alone."""
    for path in paths:
        if path.startswith("tests/") and path.endswith(".cpp") and path not in compiled["sources"]:
            yield path, 1, "this test source is in no target"
        if path.endswith(".hpp") and path.split("/")[0] in FOLDERS:
            if path not in compiled["headers"]:
                yield path, 1, "this header is not in the check that headers compile alone"


def compiled_of(root, commands_path):
    with open(commands_path, encoding="utf-8") as file:
        commands = json.load(file)
    sources, headers = set(), set()
    for command in commands:
        path = os.path.join(command["directory"], command["file"])
        checked = re.search(r"/header_check/(.*)\.cpp$", path)
        if checked:
            headers.add(checked.group(1))
        else:
            sources.add(os.path.relpath(os.path.realpath(path), os.path.realpath(root)))
    return {"sources": sources, "headers": headers}


def check(root, compiled=None):
    """Yields (path, line, complaint) for everything that breaks a rule."""
    paths = tracked_files(root)
    for path in paths:
        with open(os.path.join(root, path), "rb") as file:
            raw = file.read()
        if b"\0" in raw[:8192]:
            continue
        text = raw.decode("utf-8", errors="replace")
        for pattern, why in ((PLACES, "a path of one machine"), (HOSTS, "a registry's host")):
            for match in pattern.finditer(text):
                yield path, line_of(text, match.start()), f"'{match.group(0)}': {why}"
        if path.split("/")[0] in FOLDERS and path.endswith((".hpp", ".cpp")):
            code = code_of(text)
            for line, why in check_includes(path, code_with_quotes(text)):
                yield path, line, why
            for line, why in check_words(path, code):
                yield path, line, why
            if path.endswith(".hpp") and not re.search(r"^#pragma once$", code, re.M):
                yield path, 1, "a header begins with #pragma once"
    if compiled is not None:
        yield from check_compiled(root, paths, compiled)


def code_with_quotes(text):
    """Text without comments and raw strings, so that a quoted example is no include."""
    def blank(match):
        if match.group("comment") or match.group("raw"):
            return "\n" * match.group(0).count("\n")
        return match.group(0)
    return LITERALS.sub(blank, text)


# --- proof that each rule bites ------------------------------------------------------------------

HEADER = "#pragma once\n"
RED = [  # (file, content, part of the complaint)
    ("events/a.hpp", HEADER + '#include "projections/p.hpp"\n', "may not include"),
    ("events/a.cpp", '#include "tests/catch.hpp"\n', "may not include"),
    ("retrieval/a.cpp", '#include "events/session.hpp"\n', "may not include"),
    ("retrieval/a.cpp", '#include "projections/p.hpp"\n', "may not include"),
    ("retrieval/a.cpp", "#include <sqlite3.h>\n", "no SQL"),
    ("retrieval/a.cpp", "#include <caf/actor.hpp>\n", "no CAF"),
    ("retrieval/a.cpp", "#include <rocksdb/db.h>\n", "no RocksDB"),
    ("retrieval/a.cpp", "#include <nlohmann/json.hpp>\n", "no JSON"),
    ("retrieval/a.cpp", "auto t = std::chrono::system_clock::now();\n", "the clock"),
    ("retrieval/a.cpp", "#include <mutex>\n", "no threads"),
    ("projections/a.cpp", '#include "retrieval/ranking.hpp"\n', "may not include"),
    ("projections/a.cpp", '#include "storage/store.hpp"\n', "may not include"),
    ("projections/a.cpp", "#include <sqlite3.h>\n", "no database handle"),
    ("storage/a.cpp", '#include "actors/gateway.hpp"\n', "may not include"),
    ("storage/a.cpp", "#include <caf/actor.hpp>\n", "no CAF"),
    ("storage/a.cpp", "caf::actor x;\n", "no CAF"),
    ("storage/a.cpp", "#include <httplib.h>\n", "no HTTP"),
    ("actors/a.cpp", '#include "storage/sqlite_store.hpp"\n', "may not include"),
    ("actors/node.cpp", '#include "storage/sqlite_store.hpp"\n', "may not include"),
    ("actors/a.cpp", '#include "api/http.hpp"\n', "may not include"),
    ("actors/node.cpp", "#include <sqlite3.h>\n", "storage/store.hpp"),
    ("actors/node.cpp", "#include <SQLiteCpp/SQLiteCpp.h>\n", "storage/store.hpp"),
    ("actors/a.cpp", "#include <pqxx/pqxx>\n", "storage/store.hpp"),
    ("actors/a.cpp", "#include <rocksdb/db.h>\n", "snapshot_cache.hpp"),
    ("actors/a.cpp", "#include <httplib.h>\n", "face"),
    ("actors/a.cpp", "#include <openssl/ssl.h>\n", "face"),
    ("api/a.cpp", '#include "storage/store.hpp"\n', "may not include"),
    ("api/a.cpp", '#include "actors/journal.hpp"\n', "may not include"),
    ("api/a.cpp", '#include "projections/p.hpp"\n', "may not include"),
    ("api/a.cpp", "#include <sqlite3.h>\n", "no storage"),
    ("providers/a.cpp", '#include "actors/gateway.hpp"\n', "may not include"),
    ("providers/a.cpp", "#include <caf/actor.hpp>\n", "no CAF"),
    ("providers/a.cpp", "#include <sqlite3.h>\n", "no SQL"),
    ("providers/a.cpp", "#include <rocksdb/db.h>\n", "no RocksDB"),
    ("cli/a.cpp", '#include "tests/catch.hpp"\n', "may not include"),
    ("events/a.cpp", '#include "b.hpp"\n', "path from the root"),
    ("events/a.cpp", "#include <events/b.hpp>\n", "with quotes"),
    ("events/a.hpp", HEADER + "#include <nlohmann/json.hpp>\n", ".cpp files of events/"),
    ("events/a.hpp", HEADER + "#include <simdjson.h>\n", ".cpp files of events/"),
    ("events/a.cpp", "auto t = std::chrono::system_clock::now();\n", "the clock"),
    ("events/a.cpp", "#include <random>\n", "randomness"),
    ("events/a.cpp", "std::random_device r;\n", "randomness"),
    ("events/a.cpp", "int r = rand();\n", "randomness"),
    ("events/a.cpp", "RAND_bytes(p, 8);\n", "randomness"),
    ("events/a.cpp", "std::thread t;\n", "no threads"),
    ("events/a.cpp", "#include <mutex>\n", "no threads"),
    ("events/a.cpp", "#include <spdlog/spdlog.h>\n", "does not log"),
    ("events/a.cpp", "#include <caf/actor.hpp>\n", "no CAF"),
    ("projections/a.cpp", "namespace caf { class actor; }\n", "no CAF"),
    ("actors/journal.cpp", "auto a = spawn<caf::detached>(journal);\n", "'detached'"),
    ("cli/a.cpp", "auto a = spawn<detached>(f);\n", "'detached'"),
    ("events/a.hpp", "struct a {};\n", "#pragma once"),
    ("events/a.hpp", "// #pragma once\nstruct a {};\n", "#pragma once"),
    ("events/a.cpp", "struct session_manager {};\n", "session_manager"),
    ("storage/a.cpp", "class RowHelper final {};\n", "RowHelper"),
    ("actors/a.cpp", "enum class util_kind { a };\n", "util_kind"),
    ("api/a.cpp", "using http_service = int;\n", "http_service"),
    ("README.md", "see /" + "wo" + "rk/main\n", "one machine"),
    ("docs/a.md", '"/' + "ho" + 'me/someone"\n', "one machine"),
    ("docker/a.txt", "deb http://deb.debian." + "org/debian trixie main\n", "registry"),
    ("clients/a.json", "https://registry.npmjs." + "org/x\n", "registry"),
    ("tests/events/deep/a_test.cpp", "\n", "in no target"),
    ("tests/strays.cpp", "\n", "in no target"),
    ("bench/deep/a.hpp", HEADER, "compile alone"),
]
GREEN = [
    ("events/a.hpp", HEADER + '#include <string>\n\n#include "events/b.hpp"\n'
     "// now() and random and std::thread, caf, a manager: words in a comment\n"
     'inline const char* a = "detached at random, now()";\n'
     "struct futile_utilisation { long now; std::uint64_t random; };\n"),
    ("events/a.cpp", "#include <nlohmann/json.hpp>\n#include <simdjson.h>\n"
     "#include <openssl/evp.h>\nauto separated = 1'000'000; char quote = '\"';\n"),
    ("projections/a.cpp", '#include "events/a.hpp"\n'),
    ("storage/a.cpp", '#include "projections/a.hpp"\n#include "events/a.hpp"\n#include <sqlite3.h>\n'
     "#include <mutex>\n#include <rocksdb/db.h>\n"),
    ("actors/node.cpp", '#include "storage/store.hpp"\n#include "storage/snapshot_cache.hpp"\n'
     "auto j = spawn<caf::detached>(f); // detached: it blocks\n"),
    ("api/a.cpp", '#include "actors/gateway.hpp"\n#include "actors/node.hpp"\n'
     '#include "actors/gateway_protocol.hpp"\n#include <openssl/ssl.h>\n'),
    ("providers/a.cpp", '#include "events/json.hpp"\n#include <curl/curl.h>\n'),
    ("cli/a.cpp", '#include "storage/sqlite_store.hpp"\n#include "api/http.hpp"\n'),
    ("tests/actors/a_test.cpp", '#include "storage/sqlite_store.hpp"\nauto a = spawn<detached>(f);\n'),
    ("docs/a.md", "https://example.com/home and ~/work and the /workflows\n"),
]


def prove():
    wrong = 0
    for path, content, *expected in RED + GREEN:
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.dirname(os.path.join(root, path)) or root, exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(content)
            in_targets = "deep" not in path and path != "tests/strays.cpp"
            compiled = {"sources": {path} if in_targets else set(),
                        "headers": {path} if in_targets else set()}
            found = [why for _, _, why in check(root, compiled)]
        if expected and not any(expected[0] in why for why in found):
            print(f"not found: {path}: {content!r} should have given '{expected[0]}', gave {found}")
            wrong += 1
        if not expected and found:
            print(f"found in vain: {path}: {content!r} gave {found}")
            wrong += 1
    print(f"{len(RED) + len(GREEN) - wrong} of {len(RED) + len(GREEN)} cases as expected")
    return 1 if wrong else 0


def main(args):
    if args == ["--prove"]:
        return prove()
    if len(args) != 2:
        print(__doc__)
        return 2
    root, commands = args
    complaints = sorted(set(check(root, compiled_of(root, commands))))
    for path, line, why in complaints:
        print(f"{path}:{line}: {why}")
    print(f"{len(complaints)} complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

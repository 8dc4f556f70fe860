#!/usr/bin/env python3
"""Drives the real program from the outside: every command, its exit status, its JSON.

    commands_test.py RECALLD [NAME...]
    commands_test.py RECALLD --update-manual    writes docs/cli.md and docs/configuration.md again

Without names every test runs. Each gets an empty directory and a server when it asks for one.
"""
import base64
import contextlib
import http.server
import json
import os
import pty
import re
import resource
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
EXAMPLE = os.path.join(ROOT, "examples", "conversation.jsonl")
BIN = ""
WHO = ["--app", "demo", "--user", "anna"]
SLOW = float(os.environ.get("RECALLD_TEST_PATIENCE", "60"))


COMMANDS = ["serve", "doctor", "certs", "certs init", "bench", "session", "session create", "session append",
            "session get", "session messages", "session list", "session state", "session fork", "session close",
            "session delete", "memory", "memory add", "memory search", "memory list", "memory show", "memory history",
            "memory invalidate", "memory delete", "usage", "principal", "principal purge",
            "key", "key rotate", "approvals", "approvals list", "approvals show", "approvals approve",
            "approvals reject", "approvals watch", "clarifications", "clarifications list", "clarifications answer",
            "summary", "summary get", "summary list", "summary store", "summary force", "summary claim", "summary jobs",
            "summary triggers",
            "schedules", "schedules add", "schedules list", "schedules pause", "schedules resume", "schedules trigger",
            "schedules delete", "schedules next", "schedules runs", "effects", "effects list", "effects reconcile",
            "tail", "call", "eval", "eval retrieval", "import", "export", "backup", "restore",
            "migrate", "replay", "config", "completion"]

# Those that only have commands below them.
GROUPS = ("session", "memory", "summary", "principal", "key", "certs", "eval", "approvals", "clarifications", "schedules",
          "effects")


class Failure(Exception):
    pass


def check(condition, *what):
    if not condition:
        raise Failure(" ".join(str(w) for w in what))


class Box:
    """A directory of its own, and the servers that were started in it."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="recalld-test-")
        self.data = os.path.join(self.path, "data")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("RECALLD_")}
        self.env.update(RECALLD_DATA=self.data, RECALLD_TIMEOUT_S="30", HOME=self.path)
        self.servers = []

    def close(self):
        for server in self.servers:
            if server.poll() is None:
                server.kill()
            server.wait()
            server.stdout.close()
        subprocess.run(["chmod", "-R", "u+w", self.path], check=False)
        shutil.rmtree(self.path, ignore_errors=True)

    def file(self, name, text):
        path = os.path.join(self.path, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def run(self, *args, status=0, stdin=None, env=None):
        done = subprocess.run([BIN, *args], input=stdin, capture_output=True, text=True, check=False,
                              cwd=self.path, env={**self.env, **(env or {})}, timeout=SLOW * 3)
        check(status is None or done.returncode == status, "recalld", *args, "ended with", done.returncode,
              "instead of", status, "\n", done.stdout, "\n", done.stderr)
        return done

    def json(self, *args, **more):
        return json.loads(self.run(*args, "--json", **more).stdout)

    def error(self, *args, status, **more):
        done = self.run(*args, "--json", status=status, **more)
        return json.loads(done.stderr.strip().splitlines()[-1])["error"]

    def serve(self, *args, port=0):
        server = subprocess.Popen([BIN, "serve", "--port", str(port), "--json", *args], cwd=self.path, env=self.env,
                                  stdout=subprocess.PIPE, stderr=open(os.path.join(self.path, "serve.log"), "ab"),
                                  text=True)
        self.servers.append(server)
        line = server.stdout.readline()
        check(line, "the server did not start:", open(os.path.join(self.path, "serve.log"), encoding="utf-8").read())
        ready = json.loads(line)
        self.env["RECALLD_SERVER"] = ready["listen"]
        return server, ready

    def lines(self, path):
        with open(path, encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]


class Model:
    """A server that speaks enough of OpenAI's HTTP API: words that mean the same give vectors near each other."""

    MEANINGS = (("tea", "beverage", "drink"), ("dog", "puppy", "animal"))

    def __init__(self):
        self.status, self.seen, self.keys = 200, [], set()
        model = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                model.seen.append((self.path, asked))
                model.keys.add(self.headers.get("Authorization"))
                if self.path == "/v1/embeddings":
                    answer = {"data": [{"index": i, "embedding": model.vector(text)} for i, text in enumerate(asked["input"])]}
                else:
                    answer = {"model": "m-1", "choices": [{"message": {"role": "assistant", "content": "They talked of tea."},
                                                           "finish_reason": "stop"}]}
                body = json.dumps(answer).encode()
                self.send_response(model.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def vector(self, text):
        near = [sum(word in text.lower() for word in words) for words in self.MEANINGS]
        return near + [0 if any(near) else 1]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def soon(what, seconds=SLOW):
    end = time.time() + seconds
    while time.time() < end:
        if what():
            return True
        time.sleep(0.1)
    return False


# --- configuration, help ---------------------------------------------------------------------------

def test_help(box):
    check("Usage: recalld COMMAND" in box.run("--help").stdout)
    check("Exit status:" in box.run("--help").stdout)
    check("recalld" in box.run("--version").stdout)
    check("Usage" in box.run(status=2).stderr)
    for command in COMMANDS:
        text = box.run(*command.split(), "--help").stdout
        check(f"Usage: recalld {command}" in text, command)
        check(command in GROUPS or "Examples:" in text, command, "has no examples")


def test_wrong_command_lines(box):
    check("did you mean 'session'" in box.run("sesion", status=2).stderr)
    check("did you mean 'create'" in box.run("session", "creat", status=2).stderr)
    check("did you mean '--last'" in box.run("session", "get", "s", "--lsat", "3", status=2).stderr)
    check(box.error("session", "get", "s", "--last", "-3", status=2)["code"] == "invalid")
    check(box.error("session", "get", "s", status=2)["field"] == "app")
    check("--user" in box.error("session", "get", "s", "--app", "a", status=2)["message"])
    for bad in (["replay"], ["replay", "s", "--verify"], ["replay", "--verify", "--rebuild", "all"],
                ["replay", "s", "--step", "--diff", "1..2"], ["completion", "tcsh"], ["serve", "extra"]):
        box.run(*bad, status=2)


def test_config(box):
    values = box.json("config")["settings"]
    check(values["listen.port"] == {"value": "4711", "from": "default", "environment": "RECALLD_LISTEN_PORT"})
    check(values["data"]["from"] == "RECALLD_DATA")
    file = box.file("recalld.toml", "app = \"filed\"\n[listen]\nport = 9\n")
    values = box.json("config", "--user", "u")["settings"]
    check(values["listen.port"]["value"] == "9" and values["listen.port"]["from"] == "recalld.toml:3")
    check(values["user"]["from"] == "--user")
    check(box.json("config", env={"RECALLD_LISTEN_PORT": "10"})["settings"]["listen.port"]["value"] == "10")
    check(box.json("config", "--config", file)["file"] == file)
    box.run("config", "--config", "missing.toml", status=3)
    other = box.file("other.toml", "[listen]\nprot = 9\n")
    e = box.error("config", "--config", other, status=2)
    check("did you mean 'listen.port'" in e["message"] and ":2:" in e["message"], e)
    check("did you mean RECALLD_LISTEN_PORT" in box.run("config", env={"RECALLD_LISTEN_PROT": "1"}).stderr)
    template = box.run("config", "--template").stdout
    box.run("config", "--config", box.file("t.toml", template))


def test_completion(box):
    for shell in ("bash", "zsh", "fish"):
        script = box.run("completion", shell).stdout
        check("replay" in script and "rebuild" in script, shell)
        if shutil.which(shell):
            subprocess.run([shell, "-n", box.file("script", script)], check=True)
    probe = """
source ./script
complete_words() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _recalld; echo "${COMPREPLY[*]}"; }
complete_words recalld ses
complete_words recalld session fo
complete_words recalld replay --ver
complete_words recalld serve --log-level w
"""
    box.file("script", box.run("completion", "bash").stdout)
    done = subprocess.run(["bash", "-c", probe], cwd=box.path, capture_output=True, text=True, check=True)
    check(done.stdout.split("\n")[:4] == ["session", "fork", "--verify", "warn"], done.stdout, done.stderr)


def test_eval_retrieval(box):
    """Three ways of searching are measured over a file of questions."""
    questions = {"name": "walks", "memories": [
        {"id": "m1", "text": "Ben: We went to the river", "session": "s1", "speakers": ["Ben"], "time": "2023-05-07"},
        {"id": "m2", "text": "Anna: It rained all day", "session": "s2", "speakers": ["Anna"], "time": "2023-06-01T10:00:00Z"}],
        "questions": [{"question": "When did Ben go to a river?", "category": "when", "evidence": ["m1"]},
                      {"question": "lost", "evidence": ["nowhere"]}]}
    file = box.file("questions.json", json.dumps(questions))
    rows = box.json("eval", "retrieval", file)
    ours = [row for row in rows if row["method"] == "recalld" and row["questions"] == "all"]
    check(len(ours) == 1 and ours[0]["count"] == 1 and ours[0]["recall@5"] == 1 and ours[0]["ndcg@10"] == 1, rows)
    check({row["method"] for row in rows} == {"substring", "fts5 porter", "recalld"}, rows)
    check("NDCG@10" in box.run("eval", "retrieval", file).stdout)
    check(box.error("eval", "retrieval", box.file("empty.json", '{"memories":[]}'), status=2)["field"] == "file")
    box.error("eval", "retrieval", box.file("broken.json", "{"), status=2)
    box.error("eval", "retrieval", "nowhere.json", status=13)


HELP_BLOCK = re.compile(r"(<!-- help: recalld ?(.*?) -->\n```text\n)(.*?)(```)", re.S)
SETTINGS_BLOCK = re.compile(r"(<!-- settings -->\n)(.*?)(<!-- end of settings -->)", re.S)


def manual(name):
    with open(os.path.join(ROOT, "docs", name), encoding="utf-8") as text:
        return text.read()


def manual_now(box):
    """The two pages with what the program says now."""
    cli = HELP_BLOCK.sub(lambda m: m.group(1) + box.run(*m.group(2).split(), "--help").stdout + m.group(4), manual("cli.md"))
    configuration = SETTINGS_BLOCK.sub(lambda m: m.group(1) + box.run("config", "--markdown").stdout + m.group(3),
                                       manual("configuration.md"))
    return {"cli.md": cli, "configuration.md": configuration}


def test_manual(box):
    """The manual says what the program says."""
    for name, text in manual_now(box).items():
        check(text == manual(name), f"docs/{name} is old: run tests/cli/commands_test.py RECALLD --update-manual")
    check(SETTINGS_BLOCK.search(manual("configuration.md")), "docs/configuration.md has no settings")
    cli, top = manual("cli.md"), box.run("--help").stdout
    for code, name in re.findall(r"^  (\d+) +(\w+) ", top[top.index("Exit status:"):], re.M):
        check(re.search(rf"^\| {code} \| `{name}` \|", cli, re.M), "docs/cli.md lacks exit status", code, name)
    for command in COMMANDS:
        check(command in GROUPS or f"<!-- help: recalld {command} -->" in cli, "docs/cli.md lacks", command)
    for command in re.findall(r"^  (\w+)  ", top[top.index("Server:"):top.index("Options:")], re.M):
        check(command in COMMANDS, command, "is not tested")


# --- memories --------------------------------------------------------------------------------------

def test_memories(box):
    box.serve()
    made = box.json("memory", "add", "Anna drinks her tea without milk", *WHO, "--topic", "tea", "--by", "ben",
                    "--event-time", "2026-05-07T18:00:00Z", "--metadata", '{"cost":3}', "--session", "s1")
    check(made["created"], made)
    check(not box.json("memory", "add", "Anna drinks her tea without milk", *WHO, "--event-time",
                       "2026-05-07T18:00:00Z")["created"])
    other = box.json("memory", "add", "The harbour was full of boats", *WHO, "--kind", "episode", "--participant", "Ben",
                     "--location", "Bergen", "--command-id", "c1")
    check(box.json("memory", "add", "The harbour was full of boats", *WHO, "--kind", "episode", "--participant", "Ben",
                   "--location", "Bergen", "--command-id", "c1")["duplicate"])
    hits = box.json("memory", "search", "How does Anna like her tea?", *WHO)["hits"]
    check(hits[0]["memory"]["id"] == made["id"] and hits[0]["score"] > 0, hits)
    check(box.json("memory", "search", "tea", *WHO, "--where", '{"field":"cost","more":3}')["hits"] == [])
    check(box.json("memory", "search", "harbour", *WHO, "--kind", "fact")["hits"] == [])
    check("Nothing was found" in box.run("memory", "search", "zebra", *WHO).stderr)
    check("without milk" in box.run("memory", "search", "tea", *WHO).stdout)
    check(box.error("memory", "search", "", *WHO, status=2)["field"] == "query")
    check(box.error("memory", "search", "x", *WHO, "--where", "{", status=2)["field"] == "--where")
    check(box.error("memory", "search", "x", "--app", "demo", status=2)["field"] == "user")

    listed = box.json("memory", "list", *WHO, "--limit", "1")
    check(listed["memories"][0]["id"] == other["id"] and listed["next_cursor"], listed)
    check(made["id"] in box.run("memory", "list", *WHO, "--limit", "1", "--all").stdout)
    check("anna has no such" in box.run("memory", "list", *WHO, "--status", "invalidated").stderr)
    shown = box.run("memory", "show", other["id"], *WHO).stdout
    check("Bergen" in shown and "episode" in shown, shown)
    check(box.json("memory", "invalidate", other["id"], *WHO, "--reason", "a dream", "--by", "ben")["revision"] == 2)
    check(box.json("memory", "search", "harbour", *WHO)["hits"] == [])
    told = box.run("memory", "history", other["id"], *WHO).stdout
    check("a dream" in told and "added" in told and "invalidated" in told, told)
    check([m["id"] for m in box.json("memory", "list", *WHO, "--status", "invalidated")["memories"]] == [other["id"]])
    box.run("memory", "delete", made["id"], *WHO)
    check(box.error("memory", "show", made["id"], *WHO, status=3)["code"] == "not_found")
    check(box.error("memory", "history", made["id"], *WHO, status=3)["code"] == "not_found")
    check(box.json("memory", "search", "tea", *WHO)["hits"] == [])


def test_principals(box):
    box.serve()
    key = os.path.join(box.data, "recalld.key")
    check(os.stat(key).st_mode & 0o777 == 0o600, oct(os.stat(key).st_mode))
    box.run("call", "principal.put_session", '{"principal":"anna","session":"main","model":"small","credential":"k"}')
    for i in (1, 2, 2):
        box.run("call", "usage.record", json.dumps({"principal": "anna", "call": f"c{i}", "session": "main", "prompt_tokens": 7,
                                                    "completion_tokens": 3, "duration_ms": 40}))
    used = box.json("usage", "anna")
    check(used["total"]["calls"] == 2 and used["total"]["total_tokens"] == 20, used)
    shown = box.run("usage", "anna").stdout
    check("small" in shown and "main" in shown and "20" in shown, shown)
    check(box.json("principal", "purge", "anna", "--dry-run")["purged"] is False)
    check("1 model sessions" in box.run("principal", "purge", "anna", "--dry-run").stdout)
    check("purged" in box.run("principal", "purge", "anna").stdout)
    check(box.json("usage", "anna")["total"]["calls"] == 0)


def files_with(path, word):
    """Which files below a directory hold it, read byte by byte."""
    found = []
    for directory, _, names in os.walk(path):
        for name in names:
            with open(os.path.join(directory, name), "rb") as file:
                if word.encode() in file.read():
                    found.append(name)
    return found


def test_purge_leaves_no_byte(box):
    """What a purged principal said is in no file, whatever happens to the server meanwhile."""

    def fill(who, secret):
        box.run("call", "principal.put", json.dumps({"principal": who, "username": secret, "metadata": {"note": secret}}))
        box.run("call", "principal.put_session", json.dumps({"principal": who, "session": "main", "base_url": "http://" + secret,
                                                             "credential": "sk-" + secret}))
        at = {"principal": who, "endpoint": "web", "chat": "c1", "model": "small"}
        key = json.loads(box.run("call", "history.open", json.dumps(at)).stdout)
        address = {name: key[name] for name in ("app", "user", "session")}
        for i in range(20):
            box.run("call", "session.append", json.dumps({**address, "entries": [{"role": "user", "content": f"{i} {secret}"}],
                                                          "state": {"said": secret + str(i), "user:said": secret + str(i)}}))
        for run in ("decided", "open"):
            asked = {**address, "run": who + run, "question": "May I " + secret}
            approval = json.loads(box.run("call", "approval.request", json.dumps({**asked, "tool": "mail", "args": {"to": secret}})).stdout)
            question = json.loads(box.run("call", "clarification.ask", json.dumps(asked)).stdout)
            if run == "decided":
                box.run("call", "approval.resolve", json.dumps({"approval": approval["approval"]["id"], "decision": "approved", "by": "eve",
                                                                "feedback": secret}))
                box.run("call", "clarification.answer", json.dumps({"clarification": question["clarification"]["id"], "answer": secret, "by": "eve"}))
        box.run("call", "summary.store", json.dumps({**address, "text": "About " + secret, "through_version": 10}))

    secrets = [base64.b64encode(os.urandom(18)).decode() for _ in range(3)]  # No compression finds a repetition in it.
    server, _ = box.serve()
    for who, secret in zip(("anna", "ben", "carl"), secrets):
        fill(who, secret)
    # A stop leaves snapshots in the cache, and the pages in the database.
    server.terminate()
    server.wait()
    for secret in secrets:
        check("recalld.db" in files_with(box.data, secret), files_with(box.data, secret))
        check(any(name.endswith(".sst") for name in files_with(box.data, secret)), files_with(box.data, secret))
        check(not files_with(box.data, "sk-" + secret), "a credential is readable at rest")
    server, _ = box.serve()
    box.run("principal", "purge", "anna")
    check(soon(lambda: not files_with(box.data, secrets[0]), 40), files_with(box.data, secrets[0]))
    box.run("principal", "purge", "ben")
    server.kill()
    server.wait()
    server, _ = box.serve()
    check(soon(lambda: not files_with(box.data, secrets[1]), 40), files_with(box.data, secrets[1]))
    box.run("principal", "purge", "carl")
    for form in ("sessions", "log"):
        box.run("export", "--format", form, "-o", os.path.join(box.path, form))
    server.terminate()
    server.wait()
    server, _ = box.serve()
    check(soon(lambda: not files_with(box.data, secrets[2]), 40), files_with(box.data, secrets[2]))
    check(box.json("replay", "--verify")["good"])
    for secret in secrets:
        check(not files_with(box.path, secret), files_with(box.path, secret))


def test_a_stop_is_told_to_who_waits(box):
    server, _ = box.serve()
    asked = json.loads(box.run("call", "approval.request", '{"tool":"mail","run":"r"}').stdout)["approval"]["id"]
    waits = [["approval.wait", json.dumps({"approval": asked, "wait_ms": 5000})], ["run.claim", '{"worker":"w","wait_ms":5000}']]
    waiting = [subprocess.Popen([BIN, "call", *wait, "--json", "--timeout", "3"], env=box.env, cwd=box.path, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True) for wait in waits]
    time.sleep(0.7)
    server.terminate()
    check(server.wait(SLOW) == 0)
    for one in waiting:
        out, err = one.communicate(timeout=SLOW)
        check(any(code in out + err for code in ("unavailable", "outcome_unknown")), out, err)


def test_keys(box):
    box.serve()
    file = os.path.join(box.data, "recalld.key")
    box.run("call", "principal.put_session", '{"principal":"anna","session":"main","credential":"k"}')
    with open(file) as f:
        before = f.read().split()
    done = box.json("key", "rotate")
    check(done["resealed"] == 1 and done["unreadable"] == 0, done)
    check("1 credentials" in box.run("key", "rotate").stdout)
    with open(file) as f:
        after = f.read().split()
    check(len(after) == 3 and after[2:] == before and os.stat(file).st_mode & 0o777 == 0o600, len(after))
    told = json.loads(box.run("call", "principal.credential", '{"principal":"anna","session":"main"}').stdout)
    check(told["credential"] == "k", told)


# --- a server and its sessions ---------------------------------------------------------------------

def test_sessions(box):
    box.serve()
    made = box.json("session", "create", "s1", *WHO, "--state", '{"a":1,"user:lang":"de"}', "--metadata", '{"m":[1]}')
    check(made["created"] and made["session"] == "s1")
    check(len(box.json("session", "create", *WHO)["session"]) == 36)
    check(box.error("session", "create", "s1", *WHO, status=4)["code"] == "already_exists")
    check(not box.json("session", "create", "s1", *WHO, "--return-existing")["created"])
    check("--state" in box.error("session", "create", "s3", *WHO, "--state", "{", status=2)["field"])

    for i in range(3):
        box.run("session", "append", "s1", *WHO, "--text", f"question {i}", "--author", "Anna")
        box.run("session", "append", "s1", *WHO, "--role", "assistant", "--text", f"answer {i}\x1b[31m")
    box.run("session", "append", "s1", *WHO, "--entry", "-", stdin='{"id":"x","role":"user","content":"from stdin"}\n\n'
            '{"id":"y","role":"tool","tool_results":[1]}\n')
    again = box.json("session", "append", "s1", *WHO, "--entry", '{"id":"x","role":"user","content":"again"}')
    check(again["entries"][0]["duplicate"], again)
    once = box.json("session", "append", "s1", *WHO, "--text", "once", "--command-id", "c1")
    check(box.json("session", "append", "s1", *WHO, "--text", "once", "--command-id", "c1")["version"] == once["version"])
    check(box.error("session", "append", "s1", *WHO, "--text", "other", "--command-id", "c1", status=6)["code"] == "key_reuse")
    e = box.error("session", "append", "s1", *WHO, "--text", "x", "--expected-version", "1", status=5)
    check(e["current_version"] == once["version"], e)
    check(box.error("session", "append", "s1", *WHO, status=2)["code"] == "invalid")
    check(box.error("session", "append", "s1", *WHO, "--entry", '{"role":', status=2)["field"] == "entries[0]")

    got = box.json("session", "get", "s1", *WHO, "--last", "2")
    check(got["entries"][-1]["entry"]["content"] == "once", got)
    check(got["state"] == {"a": 1, "user:lang": "de"} and got["metadata"] == {"m": [1]}, got)
    check([e["entry"]["id"] for e in box.json("session", "get", "s1", *WHO, "--anchor", "x", "--before", "0", "--after", "1")["entries"]]
          == ["x", "y"])
    check(all(e["entry"]["role"] == "assistant" for e in box.json("session", "get", "s1", *WHO, "--role", "assistant")["entries"]))
    page = box.json("session", "get", "s1", *WHO, "--limit", "2")
    rest = box.json("session", "get", "s1", *WHO, "--limit", "2", "--cursor", page["next_cursor"])
    check(rest["entries"][0]["version"] > page["entries"][-1]["version"])
    table = box.run("session", "get", "s1", *WHO).stdout
    check("STATE" in table and "VERSION" in table and "\x1b" not in table and "\\x1b[31m" in table, table)
    check("\x1b[1m" in box.run("session", "get", "s1", *WHO, "--color", "always").stdout)
    check("question 0" in box.run("session", "messages", "s1", *WHO).stdout)

    state = box.json("session", "state", "s1", *WHO, "--set", "mood=good", "--set", "n=3", "--set", "app:x=[1]", "--delete", "a")
    check(state == {"app:x": [1], "mood": "good", "n": 3, "user:lang": "de"}, state)

    forked = box.json("session", "fork", "s1", *WHO, "--at", "4", "--as", "f1")
    check(forked["session"] == "f1" and forked["at"] == 4)
    box.run("session", "append", "f1", *WHO, "--text", "only in the fork")
    texts = [e["entry"].get("content") for e in box.json("session", "get", "f1", *WHO)["entries"]]
    check(texts[-1] == "only in the fork" and texts[0] == "question 0", texts)

    listed = box.json("session", "list", "--app", "demo")
    check([s["session"] for s in listed["sessions"]][:2] == ["f1", "s1"], listed)
    first = box.json("session", "list", *WHO, "--limit", "1")
    check(len(first["sessions"]) == 1 and first["next_cursor"])
    check(box.run("session", "list", *WHO, "--limit", "1", "--all").stdout.count("anna") == 3)
    check("no sessions" in box.run("session", "list", "--app", "nobody").stderr)

    box.run("session", "close", "s1", *WHO)
    check(box.error("session", "append", "s1", *WHO, "--text", "x", status=8)["code"] == "closed")
    check(box.json("session", "get", "s1", *WHO)["status"] == "closed")
    box.run("session", "delete", "s1", *WHO)
    box.run("session", "delete", "s1", *WHO)
    check(box.error("session", "get", "s1", *WHO, status=3)["code"] == "not_found")

    check(any(o["name"] == "session.append" for o in box.json("call")))
    check("REQUEST" in box.run("call", "context.add", "--describe").stdout)
    address = {"app": "demo", "user": "anna", "session": "f1"}
    box.run("call", "context.add", json.dumps({**address, "id": "c", "type": "file", "content": {"n": 1}}))
    check(json.loads(box.run("call", "context.list", "-", stdin=json.dumps(address)).stdout)["contexts"][0]["id"] == "c")
    check("did you mean 'context.list'" in box.error("call", "context.lst", status=2)["message"])
    check(box.error("call", "session.get", "[]", status=2)["code"] == "invalid")


def test_tail(box):
    box.serve()
    box.run("session", "create", "s1", *WHO)
    box.run("session", "append", "s1", *WHO, "--text", "one")
    facts = [json.loads(line) for line in box.run("tail", "s1", *WHO, "--from-start", "--count", "2", "--json").stdout.splitlines()]
    check([f["type"] for f in facts] == ["session.created", "session.entry_appended"], facts)
    done = box.run("tail", "--app", "demo", "--from-start", "--count", "2")
    check("user: one" in done.stdout, done.stdout)
    cursor = re.search(r"--after (\S+)", done.stderr).group(1)
    following = subprocess.Popen([BIN, "tail", "--after", cursor, "--json"], env=box.env, cwd=box.path,
                                 stdout=subprocess.PIPE, text=True)
    try:
        box.run("session", "append", "s1", *WHO, "--text", "two")
        check(json.loads(following.stdout.readline())["payload"], "nothing came")
        following.send_signal(signal.SIGINT)
        check(following.wait(SLOW) == 0)
    finally:
        following.kill()
        following.stdout.close()
    check(box.error("tail", "--after", "nonsense", "--count", "1", status=2)["code"] == "invalid")


# --- what waits for a person or the clock ----------------------------------------------------------

def ask(box, operation, **request):
    return json.loads(box.run("call", operation, json.dumps(request)).stdout)


def test_approvals(box):
    box.serve()
    asked = [ask(box, "approval.request", tool="mail", run=f"r{i}", args={"to": f"\x1b[31m{i}"}, created_by="anna")["approval"]["id"]
             for i in range(5)]
    listed = box.json("approvals", "list")["approvals"]
    check([a["id"] for a in listed] == asked[::-1], listed)
    check(box.run("approvals", "list", "--limit", "2", "--all").stdout.count("pending") == 5)
    table = box.run("approvals", "list", "--tool", "mail", "--principal", "anna", "--run", "r1").stdout
    check(table.count("mail") == 1 and "\x1b" not in table, table)
    check("nothing to decide" in box.run("approvals", "list", "--tool", "rm").stderr)
    check("created_by" in box.run("approvals", "show", asked[0]).stdout)
    check(box.error("approvals", "show", "nowhere.1", status=3)["code"] == "not_found")

    check(box.error("approvals", "approve", asked[0], status=2)["field"] == "user")
    check(box.error("approvals", "approve", asked[0], "--by", "eve", status=10)["code"] == "forbidden")
    check(box.json("approvals", "approve", asked[0], "--user", "anna")["approval"]["status"] == "approved")
    check(box.error("approvals", "reject", asked[0], "--by", "anna", status=16)["code"] == "already_resolved")
    check("rejected" in box.run("approvals", "reject", asked[1], "--by", "root", "--admin", "--feedback", "no").stdout)
    box.run("approvals", "approve", asked[2], "--by", "anna", "--grant", "600", "--contains", '"to":"bob"')
    check(ask(box, "approval.request", tool="mail", run="g", args={"to": "bob"})["approval"]["status"] == "approved")
    check(box.error("approvals", "approve", asked[3], "--by", "anna", "--contains", "x", status=2)["field"] == "--contains")
    once = box.json("approvals", "approve", asked[3], "--by", "anna", "--command-id", "c1")
    check(box.json("approvals", "approve", asked[3], "--by", "anna", "--command-id", "c1")["version"] == once["version"])


def test_clarifications(box):
    box.serve()
    asked = ask(box, "clarification.ask", run="r1", question="Which file?", asked_by="anna")["clarification"]["id"]
    check("Which file?" in box.run("clarifications", "list").stdout)
    check(box.error("clarifications", "answer", asked, " ", "--by", "anna", status=2)["field"] == "answer")
    check(box.error("clarifications", "answer", asked, "a", "--by", "eve", status=10)["field"] == "by")
    box.run("clarifications", "answer", asked, "The first", "--by", "anna")
    check(box.error("clarifications", "answer", asked, "a", "--by", "anna", status=18)["code"] == "already_answered")
    check(box.json("clarifications", "list", "--status", "answered")["clarifications"][0]["answer"] == "The first")
    check("nothing to answer" in box.run("clarifications", "list").stderr)


def test_schedules(box):
    box.serve()
    box.run("schedules", "add", "digest", "0 9 * * MON-FRI", "--kind", "digest", "--zone", "Europe/Berlin", "--action", '{"to":"all"}',
            "--misfire", "catch_up", "--catch-up", "3", "--overlap", "skip", "--attempts", "2")
    check(box.error("schedules", "add", "bad", "0 0 30 2 *", "--kind", "k", status=2)["field"] == "expression")
    check(box.error("schedules", "add", "bad", "@daily", "--kind", "k", "--action", "{", status=2)["field"] == "--action")
    listed = box.json("schedules", "list")["schedules"]
    check(listed[0]["catch_up"] == 3 and listed[0]["enabled"], listed)
    check(box.run("schedules", "next", "digest", "--count", "3").stdout.count("\n") == 3)
    check(box.run("schedules", "next", "--expression", "0 0 29 2 *", "--after", "2025-01-01T00:00:00Z", "--count", "1").stdout
          == "2028-02-29T00:00:00.000000Z\n")
    box.run("schedules", "pause", "digest")
    check("paused" in box.run("schedules", "list").stdout)
    box.run("schedules", "resume", "digest")
    check("run " in box.run("schedules", "trigger", "digest").stdout)
    check(box.error("schedules", "trigger", "none", status=3)["code"] == "not_found")
    claimed = ask(box, "run.claim", worker="w")["run"]
    ask(box, "run.complete", schedule="digest", run=claimed["run"], fence=claimed["fence"], result={"sent": 3})
    check('{"sent":3}' in box.run("schedules", "runs", "digest").stdout)
    check(box.json("schedules", "runs", "--status", "failed")["runs"] == [])
    box.run("schedules", "delete", "digest")
    check("no schedules" in box.run("schedules", "list").stderr)
    check(len(box.json("schedules", "runs", "digest")["runs"]) == 1)


def test_summaries(box):
    box.serve()
    box.run("session", "create", "s1", *WHO)
    box.run("session", "append", "s1", *WHO, "--text", "Where to?")
    at = box.json("session", "append", "s1", *WHO, "--text", "To Bergen.", "--role", "assistant")["version"]
    check(box.error("summary", "get", "s1", *WHO, status=3)["field"] == "filter_key")
    box.run("summary", "store", "s1", "They plan a trip.", *WHO, "--through", str(at), "--topic", "trip", "--by", "ben")
    got = box.json("summary", "get", "s1", *WHO, "--filter-key", "root")["summary"]
    check(got["text"] == "They plan a trip." and got["topics"] == ["trip"] and got["entries"] == 2, got)
    check("They plan a trip." in box.run("summary", "get", "s1", *WHO).stdout)
    late = box.error("summary", "store", "s1", "Late.", *WHO, "--through", str(at - 1), status=21)
    check(late["code"] == "stale" and late["detail"]["through_version"] == at, late)
    check("nothing is new" in box.run("summary", "force", "s1", *WHO).stdout)
    box.run("session", "append", "s1", *WHO, "--text", "By train?")
    check("due" in box.run("summary", "force", "s1", *WHO).stdout)
    check(box.run("summary", "claim", "--worker", "me", "--app", "other").stdout == "{}\n")
    # To be asked to wait for longer than an answer may take is no failure.
    check(box.run("summary", "claim", "--worker", "me", "--app", "other", "--wait", "2", "--timeout", "1").stdout == "{}\n")
    job = json.loads(box.run("summary", "claim", "--worker", "me").stdout)
    check(job["previous"]["text"] == "They plan a trip." and len(job["entries"]) == 1, job)
    check(box.run("summary", "claim", "--worker", "me").stdout == "{}\n")
    check("claimed" in box.run("summary", "list", "s1", *WHO).stdout)
    check("me" in box.run("summary", "jobs", "--status", "claimed").stdout)
    box.run("summary", "store", "s1", "By train.", *WHO, "--through", str(job["through_version"]), "--fence", str(job["fence"]))
    check("no jobs" in box.run("summary", "jobs", "--status", "due").stderr)
    check(box.error("summary", "triggers", status=2)["field"] == "app")
    box.run("summary", "triggers", "--app", "demo", "--entries", "1")
    check(box.json("call", "summary.get_triggers", '{"app":"demo"}')["entries"] == 1)


def test_summary_is_due_after_a_kill(box):
    """What was not noticed when the server was killed is noticed at its next start, and once."""
    server, _ = box.serve()
    box.run("summary", "triggers", "--app", "demo", "--entries", "2")
    for i in range(5):
        box.run("session", "create", f"s{i}", *WHO)
        lines = "".join(f'{{"role":"user","content":"{n}"}}\n' for n in range(3))
        box.run("session", "append", f"s{i}", *WHO, "--entry", "-", stdin=lines)
    server.kill()
    server.wait()
    box.serve()
    due = {"s0", "s1", "s2", "s3", "s4"}
    check(soon(lambda: {job["session"] for job in box.json("summary", "jobs")["jobs"]} == due), box.json("summary", "jobs"))
    check(len(box.json("summary", "jobs")["jobs"]) == 5 and box.json("replay", "--verify")["good"])


def test_scribe(box):
    """A model behind an endpoint writes what is due; while it fails, jobs stay due."""
    with contextlib.closing(Model()) as model:
        box.env.update(RECALLD_SUMMARIES_ENDPOINT=model.url, RECALLD_SUMMARIES_MODEL="small",
                       RECALLD_SUMMARIES_API_KEY_FILE=box.file("key", "sk-secret\n"))
        model.status = 500
        server, _ = box.serve()
        box.run("summary", "triggers", "--app", "demo", "--entries", "1")
        box.run("session", "create", "s1", *WHO)
        for text in ("Do you like tea?", "Green tea.", "So do I."):
            box.run("session", "append", "s1", *WHO, "--text", text)
        check(soon(lambda: "resting" in box.run("summary", "jobs").stdout), box.run("summary", "jobs").stdout)
        box.run("summary", "get", "s1", *WHO, status=3)
        server.kill()
        server.wait()
        model.status = 200
        box.serve()
        # An attempt that failed rests for ten seconds.
        check(soon(lambda: box.run("summary", "get", "s1", *WHO, status=None).returncode == 0, 60))
        got = box.json("summary", "get", "s1", *WHO)["summary"]
        check(got["text"] == "They talked of tea." and got["entries"] == 3 and got["made_by"] == "m-1", got)
        check("Green tea." in json.dumps(model.seen[-1][1]), model.seen[-1])
        check(model.keys == {"Bearer sk-secret"}, model.keys)
        with open(os.path.join(box.path, "serve.log"), encoding="utf-8") as log:
            check("sk-secret" not in log.read())
    check(box.error("serve", env={"RECALLD_SUMMARIES_MODEL": ""}, status=2)["field"] == "summaries.model")


def test_embeddings(box):
    """Memories are found by what they mean, after a kill as before; without the model by their words."""
    with contextlib.closing(Model()) as model:
        box.env.update(RECALLD_EMBEDDINGS_ENDPOINT=model.url, RECALLD_EMBEDDINGS_MODEL="small",
                       RECALLD_EMBEDDINGS_API_KEY_FILE=box.file("key", "sk-secret\n"))
        server, _ = box.serve()
        box.run("memory", "add", "Anna likes green tea", *WHO)
        box.run("memory", "add", "Ben has a puppy", *WHO)

        def found():
            answer = box.json("memory", "search", "Which beverage?", *WHO)
            return [hit["memory"]["text"] for hit in answer["hits"]], answer.get("note")

        check(soon(lambda: found() == (["Anna likes green tea"], None)), found())
        server.kill()
        server.wait()
        made = sum("Anna likes green tea" in asked["input"] for _, asked in model.seen)
        server, _ = box.serve()
        check(found() == (["Anna likes green tea"], None), found())
        check(made == 1 and sum("Anna likes green tea" in asked["input"] for _, asked in model.seen) == 1, model.seen)
        check(box.json("replay", "--verify")["good"])
        model.status = 503
        answer = box.json("memory", "search", "green dog", *WHO)
        check([hit["memory"]["text"] for hit in answer["hits"]] == ["Anna likes green tea"], answer)
        check("words only" in answer["note"], answer)
        check("words only" in box.run("memory", "search", "green dog", *WHO).stderr)
        check(model.keys == {"Bearer sk-secret"}, model.keys)
    check(box.error("serve", env={"RECALLD_EMBEDDINGS_ENDPOINT": "ftp://x"}, status=2)["field"] == "embeddings.endpoint")


def test_effects(box):
    server, _ = box.serve()
    ask(box, "effect.begin", key="run1/call1", holder="w", lease_s=1, tool="mail")
    server.kill()
    server.wait()
    time.sleep(1)
    box.serve()  # The lease ran out while nobody looked: it is in doubt, and listed.
    for _ in range(int(SLOW * 10)):
        listed = box.run("effects", "list").stdout
        if "run1/call1" in listed:
            break
        time.sleep(0.1)
    check("in_doubt" in listed, listed)
    check(box.error("effects", "reconcile", "run1/call1", "maybe", "--by", "anna", status=2)["field"] == "outcome")
    box.run("effects", "reconcile", "run1/call1", "completed", "--result", '{"id":7}', "--by", "anna")
    check(ask(box, "effect.begin", key="run1/call1", holder="w")["effect"]["outcome"] == {"id": 7})
    check("There are none" in box.run("effects", "list").stderr)


def test_watch(box):
    """The live inbox, as lines for a program."""
    box.serve()
    first = ask(box, "approval.request", tool="mail", run="r1")["approval"]["id"]
    watching = subprocess.Popen([BIN, "approvals", "watch", "--json"], env=box.env, cwd=box.path, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, text=True)
    try:
        check(json.loads(watching.stdout.readline())["approval"]["id"] == first)
        asked = ask(box, "clarification.ask", run="r1", question="Which?")["clarification"]["id"]
        check(json.loads(watching.stdout.readline())["clarification"]["id"] == asked)
        box.run("approvals", "approve", first, "--by", "anna")
        check(json.loads(watching.stdout.readline())["approval"]["status"] == "approved")
        watching.send_signal(signal.SIGINT)
        check(watching.wait(SLOW) == 0)
    finally:
        watching.kill()
        watching.stdout.close()
    lines = box.run("approvals", "watch", "--count", "1").stdout
    check(asked in lines and "Which?" in lines, lines)


def test_watch_on_a_terminal(box):
    """The live inbox, with a person before it."""
    box.serve()
    first = ask(box, "approval.request", tool="mail", run="r1", args={"to": "bob"})["approval"]["id"]
    ours, theirs = pty.openpty()
    watching = subprocess.Popen([BIN, "approvals", "watch", "--user", "anna", "--color", "never"], env=box.env, cwd=box.path,
                                stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = ""

    def until(words):
        nonlocal seen
        end = time.monotonic() + SLOW
        while words not in seen:
            check(time.monotonic() < end, "waited in vain for", words, "in", seen)
            if select.select([ours], [], [], 0.1)[0]:
                seen += os.read(ours, 4096).decode()
        seen = seen[seen.index(words) + len(words):]

    def type_in(line):
        os.write(ours, (line + "\n").encode())

    try:
        until('[1] pending  mail {"to":"bob"}')
        type_in("what")
        until("Which one?")
        type_in("t 1 answer")
        until("decided with a, g or r")
        type_in("s 1")
        until("args_hash")
        type_in("g 1 600")
        until("[1] approved  by anna")
        asked = ask(box, "clarification.ask", run="r1", question="Which?")["clarification"]["id"]
        until("[2] pending  Which?")
        type_in("t 2 the second one")
        until("[2] answered  by anna: the second one")
        rejected = ask(box, "approval.request", tool="rm", run="r1")["approval"]["id"]
        until("[3] pending  rm")
        type_in("r 3 never")
        until("[3] rejected  by anna: never")
        type_in("q")
        check(watching.wait(SLOW) == 0)
    finally:
        watching.kill()
        os.close(ours)
    check(box.json("approvals", "show", first)["approval"]["status"] == "approved")
    check(len(ask(box, "grant.list")["grants"]) == 1)
    check(box.json("approvals", "show", rejected)["approval"]["feedback"] == "never")
    check(ask(box, "clarification.get", clarification=asked)["clarification"]["answer"] == "the second one")


def test_restart(box):
    server, ready = box.serve()
    box.run("import", EXAMPLE)
    before = box.json("session", "get", "trip-to-lisbon", *WHO, "--last", "20")
    server.kill()
    server.wait()
    _, again = box.serve()
    check(ready["log"] == again["log"])
    check(box.json("session", "get", "trip-to-lisbon", *WHO, "--last", "20") == before)
    check(box.json("replay", "--verify")["good"])


def test_orderly_end(box):
    server, _ = box.serve()
    server.send_signal(signal.SIGTERM)
    check(server.wait(SLOW) == 0, "SIGTERM ended with", server.returncode)
    box.error("session", "list", "--app", "a", "--timeout", "2", status=13)


def test_embedded(box):
    box.run("session", "create", "s1", *WHO, "--embedded")
    box.run("session", "append", "s1", *WHO, "--text", "hello", "--embedded")
    check(box.json("session", "get", "s1", *WHO, "--embedded")["entries"][0]["entry"]["content"] == "hello")
    server, _ = box.serve()
    e = box.error("session", "get", "s1", *WHO, "--embedded", status=13)
    check(str(server.pid) in e["message"], e)
    check(box.json("session", "get", "s1", *WHO)["entries"])


def test_bench(box):
    result = box.json("bench", "--embedded", "--sessions", "4", "--seconds", "0.3", "--batch", "2")
    check([r["name"] for r in result["results"]] == ["append", "read the last 20"])
    check(all(r["calls"] > 0 and r["failed"] == 0 and r["p99_ms"] >= r["p50_ms"] for r in result["results"]), result)
    check(box.json("session", "list", "--app", "recalld-bench", "--embedded")["sessions"] == [])


# --- what can be wrong around a server -------------------------------------------------------------

def test_port_in_use(box):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        e = box.error("serve", "--port", str(port), status=13)
        check("Address already in use" in e["message"] and str(port) in e["message"], e)
        check(not os.path.exists(box.data), "something was made")


def test_two_servers(box):
    server, _ = box.serve()
    e = box.error("serve", "--port", "0", status=13)
    check("in use by process " + str(server.pid) in e["message"], e)
    check(box.json("call", "node.health", "{}")["status"] == "ok")


def test_certificates(box):
    made = box.json("certs", "init", "certs", "--name", "db.internal", "--name", "10.0.0.7")
    check(os.path.exists(made["client_key"]) or os.path.exists(os.path.join(box.path, made["client_key"])))
    check(oct(os.stat(os.path.join(box.path, "certs", "ca.key")).st_mode & 0o777) == "0o600")
    box.run("certs", "init", "certs", status=4)
    box.serve()
    e = box.error("session", "list", "--app", "a", "--certs", "certs", "--timeout", "2", status=13)
    check("certs" in e["message"], e)
    certs = os.path.join(box.data, "certs")
    shutil.copytree(certs, os.path.join(box.path, "bad"))
    box.file("bad/client.pem", "junk")
    e = box.error("session", "list", "--app", "a", "--certs", "bad", status=2)
    check("client.pem" in e["message"], e)
    box.file("bad/node.pem", "junk")
    e = box.error("serve", "--certs", "bad", "--data", "elsewhere", "--port", "0", status=2)
    check("node.pem" in e["message"], e)
    box.error("session", "list", "--app", "a", "--certs", "nowhere", status=None)


def test_insecure_loopback(box):
    box.serve("--insecure-loopback")
    box.run("session", "list", "--app", "a", "--insecure-loopback")
    check(box.error("serve", "--insecure-loopback", "--address", "0.0.0.0", "--port", "0", "--data", "other",
                    status=2)["code"] == "invalid")
    check(box.error("session", "list", "--app", "a", "--insecure-loopback", "--server", "192.0.2.1:4711",
                    status=2)["code"] == "invalid")


def test_newer_schema(box):
    box.run("import", EXAMPLE, "--embedded")
    db = sqlite3.connect(os.path.join(box.data, "recalld.db"))
    db.execute("UPDATE meta SET value = 9999 WHERE name = 'schema'")
    db.commit()
    db.close()
    for command in (["serve", "--port", "0"], ["replay", "--verify"], ["export"], ["session", "list", "--app", "a", "--embedded"]):
        e = box.error(*command, status=13)
        check("9999" in e["message"] or "newer" in e["message"], e)
    report = box.run("doctor", "--json", status=1)
    check(any(c["check"] == "log" and c["result"] == "bad" for c in json.loads(report.stdout)["checks"]))


def test_read_only_directory(box):
    if os.path.isdir("/proc/self"):
        check("/proc" in box.error("serve", "--data", "/proc/recalld", "--port", "0", status=13)["message"])
    os.mkdir(os.path.join(box.path, "fixed"))
    os.chmod(os.path.join(box.path, "fixed"), 0o500)
    if os.access(os.path.join(box.path, "fixed"), os.W_OK):
        return "root writes everywhere"
    e = box.error("serve", "--data", "fixed", "--port", "0", status=13)
    check("fixed" in e["message"], e)
    return None


def test_data_is_a_file(box):
    box.file("plain", "x")
    check("plain" in box.error("serve", "--data", "plain", "--port", "0", status=13)["message"])
    check(any(c["result"] == "bad" for c in json.loads(box.run("doctor", "--data", "plain", "--json", status=1).stdout)["checks"]))


def test_full_disk(box):
    if not os.path.exists("/dev/full"):
        return "no /dev/full here"
    box.run("import", EXAMPLE, "--embedded")
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([BIN, "export"], stdout=full, stderr=subprocess.PIPE, text=True, env=box.env, check=False)
    check(done.returncode == 13 and "No space left" in done.stderr, done.returncode, done.stderr)
    return None


def test_file_that_cannot_grow(box):
    """A disk that is full in the middle of an import: the node ends, nothing of it is lost."""
    lines = []
    for i in range(20):
        lines.append(json.dumps({"session": {"app": "demo", "user": "anna", "id": f"s{i}"}}))
        lines += [json.dumps({"entry": {"role": "user", "content": "x" * 300}})] * 200
    file = box.file("big.jsonl", "\n".join(lines))
    limit = 600 * 1024
    done = subprocess.run([BIN, "import", file, "--embedded"], env=box.env, cwd=box.path, capture_output=True, text=True,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
                          restore_signals=False, check=False)
    check(done.returncode in (13, 70), "ended with", done.returncode, done.stderr)
    check("disk" in done.stderr or "full" in done.stderr, done.stderr)
    check(box.json("replay", "--verify")["good"])
    check(box.json("import", file, "--embedded")["entries"] == 4000)
    check(box.json("replay", "--verify")["good"])
    check(sum(s["entries_total"] for s in box.json("session", "list", *WHO, "--embedded")["sessions"]) == 4000)


def test_foreign_cache(box):
    box.run("import", EXAMPLE, "--embedded")
    # Another log's cache: recognised and emptied. Somebody else's files: refused and kept.
    box.run("import", EXAMPLE, "--embedded", env={"RECALLD_DATA": box.path + "/other"})
    shutil.rmtree(os.path.join(box.data, "cache"))
    shutil.copytree(os.path.join(box.path, "other", "cache"), os.path.join(box.data, "cache"))
    notes = [c for c in box.json("doctor")["checks"] if c["check"] == "cache"]
    check(notes[0]["result"] == "note" and "another log" in notes[0]["detail"], notes)
    check(len(box.json("session", "get", "trip-to-lisbon", *WHO, "--embedded")["entries"]) == 11)
    os.mkdir(os.path.join(box.path, "mine"))
    box.file("mine/thesis.txt", "precious")
    e = box.error("session", "list", "--app", "demo", "--embedded", status=2, env={"RECALLD_CACHE_DIRECTORY": box.path + "/mine"})
    check("mine" in e["message"], e)
    check(os.path.exists(os.path.join(box.path, "mine", "thesis.txt")))


def test_doctor(box):
    fresh = box.json("doctor")
    check(fresh["healthy"] and not os.path.exists(box.data), fresh)
    box.serve()
    report = box.json("doctor")
    names = {c["check"]: c["result"] for c in report["checks"]}
    check(report["healthy"] and names["server"] == "ok" and names["log"] == "ok", report)
    check("healthy" in box.run("doctor").stdout)


# --- data in and out -------------------------------------------------------------------------------

def test_import_again(box):
    first = box.json("import", EXAMPLE, "--embedded")
    check(first["sessions"] == 3 and first["entries"] == 25 and first["known_already"] == 0, first)
    facts = box.json("replay", "--verify")["facts"]
    again = box.json("import", EXAMPLE, "--embedded")
    check(again["known_already"] == 25, again)
    check(box.json("replay", "--verify")["facts"] == facts, "the second import wrote something")


def test_import_of_bad_files(box):
    good = '{"session":{"app":"demo","user":"anna","id":"good"}}\n{"entry":{"role":"user","content":"fine"}}\n'
    bad = ('{"session":{"app":"demo","user":"anna","id":"bad"}}\n' + '{"entry":{"role":"user","content":"fine"}}\n'
           + '{"entry":{"content":"no role"}}\n{"entry":{"role":"user"\n')
    file = box.file("mixed.jsonl", good + bad + good.replace('"good"', '"good too"'))
    box.serve()
    done = box.run("import", file, status=2)
    check("line 5:" in done.stderr and "line 6:" in done.stderr and "nothing was written" in done.stderr, done.stderr)
    check(box.json("session", "list", *WHO)["sessions"] == [])
    report = json.loads(box.run("import", file, "--dry-run", "--keep-going", "--json", status=1).stdout)
    check(report["sessions"] == 2 and [b["place"] for b in report["bad"]] == ["line 5", "line 6"], report)
    check(box.json("session", "list", *WHO)["sessions"] == [])
    report = json.loads(box.run("import", file, "--keep-going", "--json", status=1).stdout)
    check(report["sessions"] == 2 and report["entries"] == 2 and report["bad_sessions"] == 1, report)
    check({s["session"] for s in box.json("session", "list", *WHO)["sessions"]} == {"good", "good too"})

    box.run("session", "close", "good", *WHO)
    more = box.file("more.jsonl", good.replace("fine", "more"))
    e = box.error("import", more, status=8)
    check("closed" in e["message"], e)
    check("line 1" in box.run("import", more, "--keep-going", status=1).stderr)

    box.run("import", "missing.jsonl", status=3)
    box.run("import", box.file("empty.jsonl", ""))
    box.run("import", box.file("binary.jsonl", "\x00\x01"), status=2)
    box.run("import", box.file("cut.json", '[{"sample_id":'), status=2)
    box.run("import", "-", stdin=good.replace('"good"', '"piped"'))
    check(box.json("session", "get", "piped", *WHO)["entries"])


def test_import_locomo(box):
    conversation = {"speaker_a": "Ann", "speaker_b": "Bo", "session_1_date_time": "1:56 pm on 8 May, 2023",
                    "session_1": [{"speaker": "Ann", "dia_id": "D1:1", "text": "Hi"},
                                  {"speaker": "Bo", "dia_id": "D1:2", "text": "Look", "blip_caption": "a dog"}]}
    file = box.file("locomo.json", json.dumps([{"sample_id": "c-1", "conversation": conversation, "qa": []}]))
    check(box.json("import", file, "--embedded")["entries"] == 2)
    entries = box.json("session", "get", "session_1", "--app", "locomo", "--user", "c-1", "--embedded")["entries"]
    check(entries[1]["entry"] == {"id": "D1:2", "role": "assistant", "author": "Bo", "content": "Look",
                                  "client_time": "2023-05-08T13:56:00.000000Z", "caption": "a dog"}, entries)


def test_many_entries(box):
    lines = ['{"session":{"app":"demo","user":"anna","id":"long"}}']
    lines += [json.dumps({"entry": {"role": "user" if i % 2 == 0 else "assistant", "content": f"number {i}"}}) for i in range(1234)]
    check(box.json("import", box.file("long.jsonl", "\n".join(lines)), "--embedded")["entries"] == 1234)
    exported = box.run("export", "long", *WHO).stdout.splitlines()
    check(len(exported) == 1235 and [json.loads(l)["entry"]["content"] for l in exported[1:]] == [f"number {i}" for i in range(1234)])


def test_round_trip(box):
    box.run("import", EXAMPLE, "--embedded")
    first = os.path.join(box.path, "first.jsonl")
    box.run("export", "-o", first)
    check(not os.path.exists(first + ".partial"))
    other = {"RECALLD_DATA": box.path + "/other"}
    box.run("import", first, "--embedded", env=other)
    second = box.run("export", env=other).stdout
    # Several sessions are written at the same time: their order in the log may differ.
    def blocks(text):
        out, block = [], []
        for line in text.splitlines():
            if not line.startswith(('{"entry"', '{"track"')) and block:
                out.append(tuple(block))
                block = []
            block.append(line)
        return sorted(out + [tuple(block)])
    with open(first, encoding="utf-8") as text:
        check(blocks(text.read()) == blocks(second), "the round trip changed something")
    original = {json.loads(l)["session"]["id"]: json.loads(l)["session"] for l in open(EXAMPLE, encoding="utf-8") if '"session":{' in l[:12]}
    exported = {json.loads(l)["session"]["id"]: json.loads(l)["session"] for l in second.splitlines() if '"session":{' in l[:12]}
    for name, session in original.items():
        check({**session, "tenant": "default"} == exported[name], name, exported[name])
    check(len(box.run("export", "broken-boiler", *WHO).stdout.splitlines()) == 8)
    box.run("export", "nope", *WHO, status=3)
    box.run("export", "-o", "no/such/directory/x", status=13)


# --- replay ----------------------------------------------------------------------------------------

def test_replay(box):
    box.serve()
    box.run("import", EXAMPLE)
    at = box.json("replay", "trip-to-lisbon", *WHO, "--at", "6")
    check(at["version"] == 6 and len(at["entries"]) == 3 and at["state"]["stage"] == "planning", at)
    check([c["id"] for c in at["contexts"]] == ["house-rules", "passport"], at)
    head = box.json("replay", "trip-to-lisbon", *WHO, "--entries", "100")
    live = box.json("session", "get", "trip-to-lisbon", *WHO)
    check(head["entries"] == live["entries"] and head["state"] == live["state"], "replay and server differ")
    check(box.json("replay", "trip-to-lisbon", *WHO, "--at", head["at"])["version"] == head["version"])
    check(box.json("replay", "trip-to-lisbon", *WHO, "--at", "2999-01-01T00:00:00Z")["version"] == head["version"])
    check(box.error("replay", "trip-to-lisbon", *WHO, "--at", "2001-01-01T00:00:00Z", status=3)["code"] == "not_found")
    check(box.error("replay", "trip-to-lisbon", *WHO, "--at", "999", status=3)["code"] == "not_found")
    check(box.error("replay", "trip-to-lisbon", *WHO, "--at", "yesterday", status=2)["code"] == "invalid")
    check(box.error("replay", "nope", *WHO, status=3)["code"] == "not_found")

    box.run("session", "state", "trip-to-lisbon", *WHO, "--set", "stage=booked", "--set", "price=284", "--delete", "travellers")
    now = box.json("replay", "trip-to-lisbon", *WHO)["version"]
    diff = box.json("replay", "trip-to-lisbon", *WHO, "--diff", f"{head['version']}..{now}")
    check({(c["change"], c.get("key"), c.get("before"), c.get("after")) for c in diff["changes"]}
          == {("changed", "stage", "planning", "booked"), ("added", "price", None, 284), ("removed", "travellers", 2, None)}, diff)
    whole = box.json("replay", "trip-to-lisbon", *WHO, "--diff", "..")
    check(len(whole["entries_added"]) == 11 and whole["first"] == 0, whole["first"])
    check("nothing changed" in box.run("replay", "trip-to-lisbon", *WHO, "--diff", "5..5").stdout)
    box.run("replay", "trip-to-lisbon", *WHO, "--diff", "9..5", status=2)

    steps = [json.loads(l) for l in box.run("replay", "trip-to-lisbon", *WHO, "--step", "--json").stdout.splitlines()]
    check([s["version"] for s in steps] == list(range(1, now + 1)))
    check(steps[0]["fact"] == "session.created" and {c["what"] for c in steps[0]["changes"]} == {"status", "state", "metadata"}, steps[0])
    text = box.run("replay", "trip-to-lisbon", *WHO, "--step").stdout
    check("+ state stage" in text and "~ state stage" in text and "- state travellers" in text, text)


def test_replay_of_the_deleted(box):
    box.run("import", EXAMPLE, "--embedded")
    box.run("session", "delete", "broken-boiler", *WHO, "--embedded")
    gone = box.json("replay", "broken-boiler", *WHO)
    check(gone["status"] == "deleted" and gone["entries"] == [] and "error_code" not in gone["state"], gone)
    box.error("replay", "broken-boiler", *WHO, "--at", "3", status=3)
    check(box.run("export", "broken-boiler", *WHO, status=3).stdout == "")
    box.run("session", "create", "broken-boiler", *WHO, "--embedded")
    box.run("session", "append", "broken-boiler", *WHO, "--text", "a new life", "--embedded")
    check([e["entry"]["content"] for e in box.json("replay", "broken-boiler", *WHO)["entries"]] == ["a new life"])


def test_replay_of_forks(box):
    box.run("import", EXAMPLE, "--embedded")
    box.run("session", "fork", "trip-to-lisbon", *WHO, "--at", "8", "--as", "f", "--embedded")
    box.run("session", "append", "f", *WHO, "--text", "new", "--embedded")
    got = box.json("replay", "f", *WHO)
    check(len(got["entries"]) == 6 and got["entries"][-1]["entry"]["content"] == "new", got)
    check(box.error("replay", "f", *WHO, "--at", "3", status=3)["code"] == "not_found")
    box.run("session", "delete", "trip-to-lisbon", *WHO, "--embedded")
    check(len(box.json("replay", "f", *WHO)["entries"]) == 6)
    check(box.json("replay", "--verify")["good"])


def test_verify_sees_red(box):
    box.run("import", EXAMPLE, "--embedded")
    good = box.json("replay", "--verify")
    check(good["good"] and good["different"] == 0 and good["facts"] > 25, good)
    check("verified" in box.run("replay", "--verify").stdout)
    db = sqlite3.connect(os.path.join(box.data, "recalld.db"))
    db.execute("UPDATE sessions SET entries = entries + 1 WHERE session = 'broken-boiler'")
    db.execute("DELETE FROM session_state WHERE key = 'slides'")
    db.commit()
    db.close()
    report = json.loads(box.run("replay", "--verify", "--json", status=1).stdout)
    check(report["different"] == 2, report)
    check({(d["table"], d["column"], d["expected"], d["found"]) for d in report["differences"]} >= {("sessions", "entries", "7", "8")}, report)
    check(any("broken-boiler" in d["row"] for d in report["differences"]), report)
    text = box.run("replay", "--verify", status=1).stdout
    check("broken-boiler" in text and "session_state" in text, text)
    check("did you mean 'sessions'" in box.error("replay", "--rebuild", "session", status=3)["message"])
    box.run("replay", "--rebuild", "sessions")
    check(json.loads(box.run("replay", "--verify", "--json", status=1).stdout)["different"] == 1)
    box.run("replay", "--rebuild", "all")
    check(box.json("replay", "--verify")["good"])
    box.serve()
    check("in use" in box.error("replay", "--rebuild", "all", status=13)["message"])


def test_replay_from_dump(box):
    box.run("import", EXAMPLE, "--embedded")
    box.run("export", "--format", "log", "-o", "log.jsonl")
    live = box.json("replay", "trip-to-lisbon", *WHO, "--at", "7")
    other = {"RECALLD_DATA": box.path + "/nothing"}
    check(box.json("replay", "trip-to-lisbon", *WHO, "--at", "7", "--from", "log.jsonl", env=other) == live)
    summary = box.json("replay", "--from", "log.jsonl", env=other)
    check({s["session"]: s["entries"] for s in summary["sessions"]} == {"trip-to-lisbon": 11, "broken-boiler": 7, "発表の準備": 7}, summary)
    box.run("replay", "--from", "log.jsonl", "--verify", status=2)
    box.run("replay", "--from", "missing", status=3)
    with open(os.path.join(box.path, "log.jsonl"), encoding="utf-8") as lines:
        cut = lines.readlines()
    box.file("cut.jsonl", "".join(cut[:-3]))
    check(box.run("replay", "--from", "cut.jsonl", status=None).returncode in (2, 15), "a cut log was taken for whole")


def test_backup_while_the_server_runs(box):
    box.serve()
    box.run("import", EXAMPLE)
    made = box.json("backup", "b.db")
    check(made["head"] > 0 and made["generation"] == 1, made)
    check("never overwrites" in box.error("backup", "b.db", status=5)["message"])
    live = box.json("session", "get", "trip-to-lisbon", *WHO)
    check("in use" in box.error("restore", "b.db", "--replace", status=13)["message"])
    again = {"RECALLD_DATA": box.path + "/again"}
    restored = box.json("restore", "b.db", env=again)
    check(restored["generation"] > 1 and restored["log_id"] == made["log_id"], restored)
    check(box.json("session", "get", "trip-to-lisbon", *WHO, "--embedded", env=again) == live)
    check(box.json("replay", "--verify", env=again)["good"])
    check("--replace" in box.error("restore", "b.db", status=5, env=again)["message"])
    box.run("restore", "b.db", "--replace", env=again)


def main(args):
    global BIN
    if not args:
        print(__doc__)
        return 2
    BIN = os.path.abspath(args[0])
    if args[1:] == ["--update-manual"]:
        box = Box()
        for name, text in manual_now(box).items():
            with open(os.path.join(ROOT, "docs", name), "w", encoding="utf-8") as out:
                out.write(text)
        box.close()
        return 0
    return run_tests(BIN, {name[5:]: f for name, f in globals().items() if name.startswith("test_")}, args[1:])


def run_tests(program, tests, wanted):
    global BIN
    BIN = os.path.abspath(program)
    unknown = sorted(set(wanted) - set(tests))
    if unknown:
        print("no such tests: " + " ".join(unknown), file=sys.stderr)
        return 2
    wrong = 0
    for name, test in tests.items():
        if wanted and name not in wanted:
            continue
        box, begin, word, why = Box(), time.time(), "ok", ""
        try:
            skipped = test(box)
            word, why = ("skipped: " + skipped, "") if skipped else ("ok", "")
        except Exception as e:  # one failing test must not hide the others
            wrong += 1
            word, why = "FAILED", f"\n    {type(e).__name__}: {e}\n"
            log = os.path.join(box.path, "serve.log")
            if os.path.exists(log):
                with open(log, encoding="utf-8") as text:
                    why += "    server: " + "            ".join(text.readlines()[-5:])
        finally:
            box.close()
        print(f"{name:24} {time.time() - begin:6.1f} s  {word}{why}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

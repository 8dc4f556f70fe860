#!/usr/bin/env python3
"""The commands on a log in Postgres: a server of their own, started and stopped here.

    postgres_test.py RECALLD [NAME...]
"""
import glob
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import commands_test as base  # noqa: E402: beside this file
from commands_test import EXAMPLE, WHO, check  # noqa: E402


class Database:
    """A Postgres server with an empty cluster, as whoever may run one."""

    def __init__(self, *settings):
        bins = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda p: float(p.split("/")[-2]))
        check(bins, "Postgres is not installed")
        self.path = tempfile.mkdtemp(prefix="recalld-pg-")
        self.who = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.path, user.pw_uid, user.pw_gid)
            self.who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        data = os.path.join(self.path, "data")
        subprocess.run([f"{bins[-1]}/initdb", "-D", data, "-U", "recalld", "--auth=trust", "--no-locale", "-E", "UTF8",
                        "--no-sync"], check=True, stdout=subprocess.DEVNULL, cwd="/", **self.who)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        words = [w for s in settings for w in ("-c", s)]
        self.server = subprocess.Popen([f"{bins[-1]}/postgres", "-D", data, "-k", self.path, "-p", str(self.port), *words],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **self.who)
        for _ in range(600):
            ready = subprocess.run([f"{bins[-1]}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False)
            if ready.returncode == 0:
                break
            time.sleep(0.05)
        self.url = f"postgres://recalld:not-a-secret@127.0.0.1:{self.port}/postgres"

    def close(self):
        self.server.send_signal(signal.SIGINT)
        self.server.wait()
        shutil.rmtree(self.path, ignore_errors=True)


def on_postgres(*settings):
    """Gives a test a box whose commands use a new database."""
    def wrap(test):
        def run(box):
            database = Database(*settings)
            try:
                box.env["RECALLD_STORE"] = database.url
                test(box, database)
            finally:
                for server in box.servers:
                    server.kill()
                    server.wait()
                database.close()
        run.__doc__ = test.__doc__
        return run
    return wrap


def told(box, env=None, *where):
    """A session as a reader sees it, without the places in the log that its entries have."""
    session = box.json("session", "get", "trip-to-lisbon", *WHO, *where, env=env)
    check(session["entries"], session)
    for entry in session["entries"]:
        del entry["position"]
    return session


@on_postgres()
def test_the_same_commands(box, database):
    """A user moves by changing one URL."""
    server, ready = box.serve()
    check("not-a-secret" not in json.dumps(ready) and "***" in ready["data"], ready)
    box.run("import", EXAMPLE)
    live = told(box)
    check(box.json("replay", "--verify")["good"])
    doctor = box.run("doctor").stdout
    check("keeps what it acknowledged" in doctor and "not-a-secret" not in doctor, doctor)
    check("not-a-secret" not in box.run("config").stdout)
    check("serves" in box.error("replay", "--rebuild", "all", status=13)["message"])
    check("serves" in box.error("session", "get", "trip-to-lisbon", *WHO, "--embedded", status=13)["message"])
    server.send_signal(signal.SIGTERM)
    check(server.wait() == 0)
    check(box.json("replay", "--rebuild", "all")["facts"] > 0)
    check(told(box, None, "--embedded") == live, "another session than before")


@on_postgres()
def test_move_there_and_back(box, database):
    """The log is the same in the other store, and is served there."""
    here = {"RECALLD_STORE": ""}
    box.run("import", EXAMPLE, "--embedded", env=here)
    live = told(box, here, "--embedded")
    moved = box.json("migrate", "--from", box.data, "--to", database.url)
    check(moved["facts"] > 0 and not moved["resumed"] and "not-a-secret" not in json.dumps(moved), moved)
    check(told(box, None, "--embedded") == live, "another session than before")
    check(box.error("migrate", "--from", box.data, "--to", database.url, status=5)["code"] == "conflict")
    back = box.path + "/back"
    text = box.run("migrate", "--from", database.url, "--to", back)
    check("verified" in text.stdout, text.stdout)
    check(told(box, {"RECALLD_STORE": "", "RECALLD_DATA": back}, "--embedded") == live, "another session than before")
    check(box.error("migrate", "--from", box.path + "/none", "--to", back, status=3)["code"] == "not_found")
    box.serve()
    check("serves" in box.error("migrate", "--from", database.url, "--to", box.path + "/x", status=13)["message"])


@on_postgres()
def test_move_is_killed_and_goes_on(box, database):
    """What was copied before the kill is not copied again; until the end nobody can serve it."""
    here = {"RECALLD_STORE": ""}
    lines = "".join(json.dumps({"session": f"s{n % 50}", "app": "demo", "user": "anna", "role": "user", "content": f"line {n}"}) + "\n"
                    for n in range(30_000))
    box.run("import", box.file("many.jsonl", lines), *WHO, "--embedded", env=here)
    whole = box.json("replay", "--verify", env=here)["facts"]
    for wait in (0.25, 0.5, 0.75, 1.0):
        mover = subprocess.Popen([base.BIN, "migrate", "--from", box.data, "--to", database.url], cwd=box.path,
                                 env=box.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(wait)
        mover.kill()
        if mover.wait() == 0:
            break
        seen = box.run("replay", "--verify", "--json", status=None)
        # Killed before it began, it has left an empty log; killed at its very end, a whole one.
        check(seen.returncode != 0 or json.loads(seen.stdout)["facts"] in (0, whole), "an unfinished copy was opened")
    else:
        done = box.run("migrate", "--from", box.data, "--to", database.url, "--json", status=None)
        check(done.returncode in (0, 5), done.stdout, done.stderr)
    check(box.json("replay", "--verify")["good"])
    check(box.json("replay", "--verify")["facts"] == whole)


@on_postgres()
def test_backup_while_it_is_served(box, database):
    """A backup is a file that either store is restored from."""
    box.serve()
    box.run("import", EXAMPLE)
    live = told(box)
    made = box.json("backup", "b.db")
    check(made["facts"] > 0, made)
    check("never overwrites" in box.error("backup", "b.db", status=5)["message"])
    again = {"RECALLD_STORE": "", "RECALLD_DATA": box.path + "/again"}
    restored = box.json("restore", "b.db", env=again)
    check(restored["log_id"] == made["log_id"] and restored["generation"] >= made["generation"], restored)
    check(told(box, again, "--embedded") == live, "another session than before")
    other = {"RECALLD_POSTGRES_SCHEMA": "other"}
    box.json("restore", "b.db", env=other)
    check(told(box, other, "--embedded") == live, "another session than before")
    check(box.error("restore", "b.db", status=5)["code"] == "conflict")


@on_postgres("fsync=off")
def test_unsafe_settings(box, database):
    """A database that may lose writes is refused unless that is accepted."""
    e = box.error("serve", "--port", "0", status=13)
    check("fsync" in e["message"] and "--allow-unsafe" in e["message"], e)
    check("fsync is off" in box.run("doctor", status=1).stdout)
    box.serve("--allow-unsafe")


@on_postgres()
def test_standby(box, database):
    """The second server says who has the log, and takes over."""
    first, _ = box.serve("--node-name", "one")
    second = subprocess.Popen([base.BIN, "serve", "--port", "0", "--json", "--node-name", "two", "--data", box.path + "/two"],
                              cwd=box.path, env=box.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    box.servers.append(second)
    check(json.loads(second.stdout.readline()) == {"standby": "one"})
    first.send_signal(signal.SIGTERM)
    began = time.monotonic()
    check("listen" in json.loads(second.stdout.readline()))
    check(time.monotonic() - began < 3, "whoever leaves in order is not waited for")


def test_no_database(box):
    """Nobody is there: said at once, without the password."""
    box.env["RECALLD_STORE"] = "postgres://me:not-a-secret@127.0.0.1:1/none"
    e = box.error("serve", "--port", "0", status=13)
    check("not-a-secret" not in json.dumps(e), e)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        print(__doc__)
        sys.exit(2)
    sys.exit(base.run_tests(sys.argv[1], {n[5:]: f for n, f in list(globals().items()) if n.startswith("test_")},
                            sys.argv[2:]))

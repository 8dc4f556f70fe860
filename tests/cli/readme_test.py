#!/usr/bin/env python3
"""Runs README's shell blocks, as a newcomer would, against a server that was just started.

    readme_test.py RECALLD README.md
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

PATIENCE_S = float(os.environ.get("RECALLD_TEST_PATIENCE", "60"))


class Server:
    def __init__(self, env, place):
        self.process = subprocess.Popen([os.path.join(place, "build/dev/recalld"), "serve", "--port", "0"], cwd=place,
                                        env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in self.process.stdout:
            ready = re.match(r"ready listen=(\S+)", line)
            if ready:
                self.address = ready[1]
                return
        raise SystemExit("the server did not start")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


def run(script, env, place):
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=place, env=env, capture_output=True,
                          text=True, check=False, timeout=PATIENCE_S)
    if done.returncode != 0:
        raise SystemExit(f"README's lines end with {done.returncode}:\n{script}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def main():
    binary, readme = sys.argv[1:]
    with open(readme, encoding="utf-8") as text:
        blocks = re.findall(r"^```(\w+)\n(.*?)^```", text.read(), re.MULTILINE | re.DOTALL)
    shell = [body for language, body in blocks if language == "sh"]
    if not shell:
        raise SystemExit("README has no shell block")
    makefile = os.path.join(os.path.dirname(os.path.abspath(readme)), "Makefile")
    with open(makefile, encoding="utf-8") as text:
        targets = set(re.findall(r"^([a-z0-9-]+):", text.read(), re.MULTILINE))
    for language, body in blocks:
        for target in re.findall(r"^make (\S+)", body, re.MULTILINE) if language == "console" else []:
            if target not in targets:
                raise SystemExit(f"README says `make {target}`, which the Makefile does not know")

    place = tempfile.mkdtemp(prefix="recalld-readme-")
    env = {k: v for k, v in os.environ.items() if not k.startswith("RECALLD_")}
    env["HOME"] = place
    try:
        os.makedirs(os.path.join(place, "build"))
        os.symlink(os.path.dirname(os.path.abspath(binary)), os.path.join(place, "build/dev"))
        server = Server(env, place)
        try:
            first = run("\n".join(shell), {**env, "RECALLD_SERVER": server.address}, place)
        finally:
            server.kill()
        for wanted in ("You are Ada.", "s1-what-if", "Hello, do you remember me?"):
            if wanted not in first:
                raise SystemExit(f"README's lines do not show {wanted!r}:\n{first}")
        # "Kill the server, start it again, and ask again."
        again = [line for line in shell[0].splitlines() if re.match(r"export |recalld session get", line)]
        server = Server(env, place)
        try:
            second = run("\n".join(again), {**env, "RECALLD_SERVER": server.address}, place)
        finally:
            server.kill()
        if "You are Ada." not in second or second not in first:
            raise SystemExit(f"after a kill the session reads otherwise:\n{second}\nbefore:\n{first}")
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Runs the steps of docker/Dockerfile in chroots, then the image's own command and health check.

For machines without a Docker engine; needs root and debootstrap. Understands the instructions that
our Dockerfile uses and refuses all others, so that it cannot pass by skipping one.

    docker/check.py             what stands below build/docker is used again
    docker/check.py --lint      only reads the files
"""
import os
import re
import shlex
import shutil
import subprocess
import sys
import time

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PLACE = os.path.join(ROOT, "build", "docker")
SUITES = {"12": "bookworm", "13": "trixie"}
KNOWN = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK",
         "ENTRYPOINT", "CMD"}


def instructions(text):
    """The Dockerfile as pairs of instruction and argument."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.M).replace("\\\n", " ")
    out = []
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word not in KNOWN:
            sys.exit(f"check: {word} is not understood; teach docker/check.py")
        out.append((word, rest.strip()))
    return out


def lint(steps):
    """What we want of every image of ours."""
    words = [word for word, _ in steps]
    last = len(words) - 1 - words[::-1].index("FROM")
    final = dict(steps[last:])
    wrong = []
    if final.get("USER", "root") in ("root", "0"):
        wrong.append("the server runs as root")
    if "HEALTHCHECK" not in final:
        wrong.append("there is no health check")
    for word, rest in steps:
        if word == "FROM" and not re.match(r"debian:(\$\{DEBIAN\}|\d+)-slim", rest):
            wrong.append(f"FROM {rest}: not Debian's slim image")
        if word == "RUN" and "apt-get install" in rest and "--no-install-recommends" not in rest:
            wrong.append("apt-get installs recommended packages")
        if word in ("ENTRYPOINT", "CMD") and not rest.startswith("["):
            wrong.append(f"{word} goes through a shell, which does not pass signals on")
        if word == "RUN" and re.search(r"curl|wget", rest):
            wrong.append("a build step downloads something that no package manager checks")
    if wrong:
        sys.exit("check: docker/Dockerfile: " + "; ".join(wrong))


def lint_compose(compose, variables):
    """What we want of the compose file: it starts in order, heals itself, and says what it means."""
    wrong = []
    services = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            if other not in services:
                wrong.append(f"{name} waits for {other}, which is not there")
            elif how["condition"] == "service_healthy" and "healthcheck" not in services[other]:
                wrong.append(f"{name} waits for the health of {other}, which has no check")
        for variable in service.get("environment", {}):
            if variable.startswith("RECALLD_") and variable not in variables:
                wrong.append(f"{name}: the program knows no {variable}")
        for mount in service.get("volumes", []):
            if mount.split(":")[0] not in compose["volumes"]:
                wrong.append(f"{name} mounts {mount}, which is no volume of ours")
        if "build" in service and not os.path.exists(os.path.join(ROOT, service["build"]["dockerfile"])):
            wrong.append(f"{name} is built by a file that is not there")
        if "build" not in service and not re.search(r":\d", service.get("image", "")):
            wrong.append(f"{name}: its image has no version")
        if service.get("privileged"):
            wrong.append(f"{name} is privileged")
    nodes = [s for s in services.values() if "RECALLD_STORE" in s.get("environment", {})]
    if len(nodes) < 2:
        wrong.append("there are not two nodes")
    for node in nodes:
        if node.get("restart") != "always" or "healthcheck" not in node or "user" in node:
            wrong.append("a node does not restart, is not checked, or runs as another user than its image's")
    if len({node["environment"]["RECALLD_NODE_NAME"] for node in nodes}) < len(nodes):
        wrong.append("two nodes have one name")
    if wrong:
        sys.exit("check: docker/compose.yaml: " + "; ".join(wrong))


def mirror():
    for line in subprocess.run(["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)"], capture_output=True,
                               text=True, check=True).stdout.splitlines():
        site, release = line.split()[:2]
        if release in SUITES.values():
            return site
    sys.exit("check: apt's sources name no Debian archive")


def base(debian):
    """A small Debian, made once."""
    path = os.path.join(PLACE, f"debian-{debian}")
    if not os.path.exists(path + ".ready"):
        shutil.rmtree(path, ignore_errors=True)
        subprocess.run(["debootstrap", "--variant=minbase", SUITES[debian], path, mirror()], check=True,
                       stdout=subprocess.DEVNULL)
        open(path + ".ready", "w").close()
    return path


class Stage:
    def __init__(self, name, debian):
        self.path = os.path.join(PLACE, name)
        self.env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        self.place, self.user = "/", None
        shutil.rmtree(self.path, ignore_errors=True)
        subprocess.run(["cp", "-a", "--reflink=auto", base(debian), self.path], check=True)
        self.reach_the_archive()

    def reach_the_archive(self):
        """This machine's way to the archive; a Docker engine would give the container its own."""
        shutil.copy("/etc/resolv.conf", self.path + "/etc/resolv.conf")
        said = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
        with open(self.path + "/etc/apt/apt.conf.d/00host", "w", encoding="utf-8") as conf:
            conf.writelines(f"{line}\n" for line in said.splitlines()
                            if re.match(r"Acquire::(http|https|Check-)", line))
        own = "/usr/local/share/ca-certificates"
        if os.path.isdir(own) and os.listdir(own):
            shutil.copytree(own, self.path + own, dirs_exist_ok=True)
            shutil.copytree("/etc/ssl/certs", self.path + "/etc/ssl/certs", dirs_exist_ok=True)

    def command(self, *words):
        """In the stage's directory, user and environment, with the file systems that programs expect."""
        inside = ["chroot", *(["--userspec", self.user] if self.user else []), self.path, "/usr/bin/env", "-i",
                  *(f"{k}={v}" for k, v in self.env.items()), "sh", "-c", f"cd {shlex.quote(self.place)} && exec \"$@\"",
                  "sh", *words]
        script = ('mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"; mount -t tmpfs -o mode=1777 tmpfs "$0/tmp"; '
                  'exec "$@"')
        return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, self.path, *inside]

    def run(self, *words):
        if subprocess.run(self.command(*words), check=False).returncode != 0:
            sys.exit(f"check: failed: {' '.join(words)}")


def copy(stage, stages, rest):
    from_ = re.match(r"--from=(\S+) ", rest)
    source, target = rest.split()[-2:]
    target = os.path.normpath(stage.path + os.path.join(stage.place, target))
    os.makedirs(target, exist_ok=True)
    if from_:
        subprocess.run(["cp", "-a", stages[from_[1]].path + source + "/.", target], check=True)
        return
    if source != ".":
        sys.exit(f"check: COPY {rest} is not understood")
    files = subprocess.run(["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, capture_output=True,
                           check=True).stdout
    kept = b"\0".join(f for f in files.split(b"\0") if f and os.path.exists(os.path.join(ROOT.encode(), f)))
    archive = subprocess.run(["tar", "--null", "-T", "-", "-cf", "-"], cwd=ROOT, input=kept, capture_output=True,
                             check=True).stdout
    subprocess.run(["tar", "-xf", "-", "-C", target], input=archive, check=True)


def words_of(rest):
    return [word for word in re.findall(r'"([^"]*)"', rest)]


def try_out(stage, final):
    """The image's own command, and its health check."""
    start = words_of(final["ENTRYPOINT"]) + words_of(final["CMD"])
    server = subprocess.Popen(stage.command(*start))
    try:
        health = words_of(final["HEALTHCHECK"].split("CMD", 1)[1])
        for _ in range(40):
            if subprocess.run(stage.command(*health), capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.25)
        else:
            sys.exit("check: the server does not become healthy")
    finally:
        server.terminate()
        server.wait()
    if server.returncode != 0:
        sys.exit(f"check: the server ended with {server.returncode} after SIGTERM")


def main():
    with open(os.path.join(ROOT, "docker", "Dockerfile"), encoding="utf-8") as text:
        steps = instructions(text.read())
    lint(steps)
    with open(os.path.join(ROOT, "docker", "compose.yaml"), encoding="utf-8") as text:
        compose = yaml.safe_load(text)
    with open(os.path.join(ROOT, "docs", "configuration.md"), encoding="utf-8") as text:
        lint_compose(compose, set(re.findall(r"RECALLD_[A-Z_]+", text.read())))
    if sys.argv[1:] == ["--lint"]:
        return
    if os.geteuid() != 0:
        sys.exit("check: a chroot needs root; run: sudo make check-docker")
    os.makedirs(PLACE, exist_ok=True)
    args, stages, stage, final = {}, {}, None, {}
    for word, rest in steps:
        print(f"check: {word} {rest}", flush=True)
        rest = re.sub(r"\$\{(\w+)\}", lambda m: args.get(m[1], m[0]), rest)
        if word == "ARG":
            name, _, value = rest.partition("=")
            args[name] = value
        elif word == "FROM":
            debian = re.match(r"debian:(\d+)-slim", rest)[1]
            name = rest.split(" AS ")[1] if " AS " in rest else "image"
            stage, final = stages.setdefault(name, Stage(name, debian)), {}
        elif word == "WORKDIR":
            stage.place = rest
            os.makedirs(stage.path + rest, exist_ok=True)
        elif word == "COPY":
            copy(stage, stages, rest)
        elif word == "RUN":
            stage.run("sh", "-c", rest)
        elif word == "USER":
            stage.user = rest
        elif word == "ENV":
            stage.env.update(pair.split("=", 1) for pair in shlex.split(rest))
        else:
            final[word] = rest
    try_out(stage, final)
    size = sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(stage.path)
               for name in names if not folder.startswith((stage.path + "/proc", stage.path + "/dev")))
    print(f"check: the server started, was healthy and ended by SIGTERM; {size >> 20} MiB unpacked")


if __name__ == "__main__":
    main()

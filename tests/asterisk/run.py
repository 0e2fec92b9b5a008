#!/usr/bin/env -S python3 -B
"""Proves the daemon against real Asterisks, attacked with real tools: run.py [--show | --storms] [VERSION...]

With --show: a shorter course over UDP, and then the log and the rules. With --storms: the shield alone.

Installs what it takes (../needs.sh), fetches every version of Asterisk that scenarios.py names (fetch.sh), then runs
them side by side, each in namespaces of its own, and says what came of each scenario. Needs root, and the daemon built.
"""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

from course import Course
from scenarios import VERSIONS

HERE = Path(__file__).resolve().parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or HERE.parent.parent / "target").resolve()
SIPBAN = TARGET / "release" / "sipban"
# Whoever is killed, whatever is in the namespaces goes too.
NAMESPACES = "setpriv --pdeathsig KILL unshare --mount --net --pid --fork --kill-child --mount-proc --".split()

SUMMARY = re.compile(r"(\d+) passed, (\d+) failed")


def main(names):
    """The exit status."""
    courses = {"--show": "show", "--storms": "storms"}
    course = next((courses[name] for name in names if name in courses), "run")
    names = [name for name in names if name not in courses]
    versions = [version for version in VERSIONS if not names or version.name in names]
    if not versions or not SIPBAN.exists():
        print(f"{SIPBAN} must be built, and the versions are {[v.name for v in VERSIONS]}", file=sys.stderr)
        return 64
    if subprocess.run([HERE.parent / "needs.sh", "test-asterisk"]).returncode:
        return skip("the programs that this takes cannot be had")
    if subprocess.run([*NAMESPACES, "true"]).returncode:
        return skip("no namespaces can be had; root is needed")
    for version in versions:
        if subprocess.run([HERE / "fetch.sh", version.suite, root(version)]).returncode:
            return skip(f"Asterisk {version.name} cannot be fetched")
    runs = [Run(version, course) for version in versions]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    passed, failed = (sum(counts) for counts in zip(*(run.counts for run in runs)))
    # A course that ended before it could count has failed as well.
    failed += sum(not run.passed and not run.counts[1] for run in runs)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def skip(why):
    """Loudly, and where it must not be, as a failure."""
    print(f"\n*** SKIPPED: nothing was proven against a real Asterisk: {why} ***\n", file=sys.stderr)
    return 1 if os.environ.get("CI") else 0


def root(version):
    """Where that Asterisk is."""
    return TARGET / "asterisk" / version.suite


class Run(threading.Thread):
    """The course of one version, in namespaces of its own: the kernel removes all that is in there at the end."""

    def __init__(self, version, course):
        super().__init__()
        self.version = version
        self.course = course
        self.passed = False
        self.counts = (0, 0)

    def run(self):
        argv = [*NAMESPACES, sys.executable, "-B", __file__, "--inside", self.course, self.version.name]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                print(f"{self.version.name}  {line}", end="", flush=True)
                if counts := SUMMARY.fullmatch(line.strip()):
                    self.counts = tuple(map(int, counts.groups()))
        self.passed = process.returncode == 0


def inside(course, name):
    """The exit status of one version's course."""
    version = next(version for version in VERSIONS if version.name == name)
    return getattr(Course(version, root(version), SIPBAN), course)()


if __name__ == "__main__":
    sys.exit(inside(*sys.argv[2:]) if sys.argv[1:2] == ["--inside"] else main(sys.argv[1:]))

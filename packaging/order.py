#!/usr/bin/env python3
"""Writes the linker script that packaging/build.rs tells of: order.py [BINARY]

Without BINARY it is one that orders nothing: build with that first, because Valgrind knows no names of functions that
are not where the compiler put them. BINARY is watched by Valgrind while it guards an Asterisk that does not exist, in a network namespace of its own: it
starts, hears recorded attackers and phones, answers the console, idles and stops. Every function that ran is listed,
without the hash that the compiler puts into its name.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
STREAMS = [HERE.parent / "tests/captures/ast22" / f"{name}.ami" for name in ["legit-pjsip", "office-nat", "typo", "badpass", "svwar"]]
COMMANDS = ["status", "block", "top", "wl", "why 198.18.0.11"]
# Longer than from one look at the rules to the next.
IDLE = 25

CONFIGURATION = """[ami]
user = "sipban"
pass = "order"
[iptables]
white_list = "{0}/wl"
dump = "{0}/dump"
[state]
file = "{0}/bans"
[log]
file = "{0}/log"
"""

SCRIPT = """/* Written by packaging/order.py: the functions that every daemon runs. */
SECTIONS
{{
  .text.daemon :
  {{
{}  }}
}}
INSERT BEFORE .text;
"""


def main():
    if len(sys.argv) == 1:
        write([])
        return
    binary = os.path.abspath(sys.argv[1])
    if "ORDER_INSIDE" not in os.environ:
        os.execvpe("unshare", ["unshare", "--net", sys.executable, *sys.argv], os.environ | {"ORDER_INSIDE": "1"})
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    write(ran(binary))


def write(names):
    lines = [f"    *(.text.{name})\n" for name in sorted({pattern(name) for name in names})]
    (HERE / "order.ld").write_text(SCRIPT.format("".join(lines)))


def ran(binary):
    """The symbols of all functions of the program that ran in a daemon's day."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "wl").write_text("127.0.0.1\n")
        (path / "conf").touch(0o600)
        (path / "conf").write_text(CONFIGURATION.format(folder))
        play = [sys.executable, HERE.parent / "tests/demo/play.py", "--secret", "order", "--speed", "50", *STREAMS]
        with subprocess.Popen(play, stdout=subprocess.PIPE, text=True) as asterisk:
            asterisk.stdout.readline()
            watch = ["valgrind", "-q", "--tool=callgrind", "--demangle=no", f"--callgrind-out-file={folder}/calls"]
            daemon = subprocess.Popen([*watch, binary, "-c", path / "conf"])
            while asterisk.stdout.readline() not in ("played\n", ""):
                pass
            time.sleep(IDLE)
            for command in COMMANDS:
                ask = [binary, "-c", path / "conf", "ctl", *command.split()]
                subprocess.run(ask, check=True, stdout=subprocess.DEVNULL)
            daemon.terminate()
            if daemon.wait() != 0:
                raise SystemExit("the daemon did not end well:\n" + (path / "log").read_text())
        return functions((path / "calls").read_text(), binary)


def functions(calls, binary):
    """The functions of this file that callgrind counted. It names each file and function once, and then by number."""
    names, found, inside = {}, set(), False
    for key, number, name in re.findall(r"^(c?ob|c?fn)=\((\d+)\)(?: (.*))?$", calls, re.MULTILINE):
        name = names.setdefault((key[-2:], number), name)
        if key == "ob":
            inside = name == binary
        elif key == "fn" and inside:
            found.add(name)
    return {name for name in found if name.startswith(("_ZN", "_R"))}


def pattern(name):
    """What this function is called whichever hashes its compiler puts into the name."""
    # Callgrind marks recursion with a tick.
    name = re.sub(r"(\.llvm\.\d+)?('\d+)?$", "", name)
    name = re.sub(r"17h[0-9a-f]{16}E$", "17h*", name)
    return re.sub(r"Cs[0-9A-Za-z]+_", "Cs*_", name) + ("*" if name.startswith("_R") else "")


main()

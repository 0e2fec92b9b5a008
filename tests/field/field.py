#!/usr/bin/env -S python3 -B
"""A field of PBX users and attackers: who is judged right?

    field.py make SEED STREAM TRUTH [HOURS [SCALE]]
        makes the stream of AMI events of a PBX (8 hours, a million events and more), and the truth about each address
    field.py score TRUTH < LOG
        what each kind meets with by the log of `TZ=UTC sipban replay STREAM`
    field.py prove SIPBAN FOLDER [SEED [HOURS [SCALE]]]
        makes a field, has this program judge it, and scores
    field.py compare SIPBAN FOLDER [SEED [HOURS [SCALE]]]
        the same beside what others would have done

All fail unless nobody honest is blocked, every kind of attack is held, and nobody is blocked whom an attacker made up.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import attackers
import offices
import travellers
import victims
from events import START, Stream
from others import OTHERS, judge
from pbx import Pbx, Weather
from score import Score, read_log, table


class Field:
    """Addresses and accounts, and what comes of them."""

    def __init__(self, seed, hours, scale):
        self.random = random.Random(seed)
        self.hours, self.scale = hours, scale
        self.start, self.end = START, START + hours * 3600
        self.weather = Weather(hours)
        self.stream = Stream()
        self.pbx = Pbx(self.random, self.stream, self.weather)
        # What is true of each address.
        self.truth = {}
        # Guesses that an address of each kind may make.
        self.most = {}
        # Accounts that strangers know, and those that a botnet is after.
        self.known, self.victims = [], []
        self.accounts = 1000
        self.waiting = []
        self.rents = []
        # Four addresses of a /24 at most, so that nobody has neighbours by chance.
        self.free = (
            f"{a}.{b}.{c}.{d}"
            for a in (45, 81, 93, 185)
            for b in range(10, 250)
            for c in range(1, 250, 7)
            for d in (9, 77, 130, 201)
        )
        self.networks = (f"{a}.{b}.{c}" for a in (101, 177) for b in range(10, 250) for c in range(1, 250, 3))
        self.networks6 = (f"2001:db8:{number:x}:1" for number in range(0x100, 0xFFFF))

    def build(self):
        """Puts all kinds in: one at least of each, and attackers when it is known what there is to attack."""
        for kind, number, make in (*offices.KINDS, *travellers.KINDS, *victims.KINDS):
            self.put(make, kind, number)
        for kind, number, most, make in attackers.KINDS:
            self.most[kind] = most
            self.put(make, kind, number)
        while self.waiting:
            self.waiting.pop(0)()

    def put(self, make, kind, number):
        """So many of a kind in a field of scale 1."""
        for each in range(max(1, round(number * self.scale))):
            make(self, kind, each)

    def later(self, what):
        """Does this when all kinds are in."""
        self.waiting.append(what)

    def sized(self, number):
        """So many in a field of scale 1, ten at least."""
        return max(10, round(number * self.scale))

    def address(self, kind, *, good=True, address=None, tolerated=0):
        """A new address, and the truth about it: honest or attacking, or nobody's for `None`.

        Honest ones may be blocked for `tolerated` seconds at first.
        """
        address = address or next(self.free)
        about = {"kind": kind, "good": good, "tolerated": tolerated, "acts": [], "most": self.most.get(kind, 0)}
        self.truth.setdefault(address, about)
        return address

    def account(self, kind):
        """A new account. Those of plain offices are known to strangers."""
        self.accounts += 1
        if kind in ("office", "big office", "very big office"):
            self.known.append(str(self.accounts))
        return str(self.accounts)

    def victim(self):
        """An account that attackers know."""
        return self.random.choice(self.known)

    def network(self):
        """The beginning of the addresses of a new /24."""
        return next(self.networks)

    def network6(self):
        """The beginning of the addresses of a new /64, each in another /48."""
        return next(self.networks6)

    def rented(self, number):
        """The beginning of the addresses of a /24 from which others attack."""
        while number >= len(self.rents):
            self.rents.append(self.network())
        return self.rents[number]

    def moment(self, least, most):
        """A moment between these parts of all the time."""
        return self.start + (self.end - self.start) * self.random.uniform(least, most)

    def fair_moment(self, least, most):
        """The same, while nothing is wrong with the PBX."""
        while self.weather.is_bad(at := self.moment(least, most)):
            pass
        return at


def make(seed, stream, truth, hours=8.0, scale=1.0):
    """Writes a field."""
    field = Field(int(seed), float(hours), float(scale))
    field.build()
    with open(stream, "w", newline="") as file:
        count = field.stream.write(file, field.end)
    with open(truth, "w") as file:
        json.dump(field.truth, file)
    honest = sum(bool(about["good"]) for about in field.truth.values())
    print(f"{count} events, {honest} honest addresses, {len(field.truth) - honest} others", flush=True)


def score(truth, log, others={}):
    """Prints the table; the exit status."""
    with open(truth) as file:
        truth = json.load(file)
    scores = {"SIPban": Score(truth, read_log(log))}
    for name, blocks in others.items():
        scores[name] = Score(truth, blocks)
    print(table(scores))
    return 0 if scores["SIPban"].is_right() else 1


def prove(sipban, folder, seed="1", *size, beside=()):
    """Makes a field and prints how this program, and others by their names, judge it; the exit status."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    stream, truth, log = (Path(folder, name) for name in ("stream.ami", "truth.json", "log"))
    make(seed, stream, truth, *size)
    with open(log, "w") as file:
        # The program's own defaults, wherever it runs.
        command = [sipban, "-c", Path(folder, "no-configuration"), "replay", stream]
        subprocess.run(command, stdout=file, env={**os.environ, "TZ": "UTC"}, check=True)
    others = {name: judge(name, stream) for name in beside}
    stream.unlink()
    with open(log) as file:
        return score(truth, file, others)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", seed, stream, truth, *size] if len(size) <= 2:
            make(seed, stream, truth, *size)
        case ["score", truth]:
            sys.exit(score(truth, sys.stdin))
        case ["prove", sipban, folder, *size] if len(size) <= 3:
            sys.exit(prove(sipban, folder, *size))
        case ["compare", sipban, folder, *size] if len(size) <= 3:
            sys.exit(prove(sipban, folder, *size, beside=OTHERS))
        case _:
            sys.exit(__doc__)

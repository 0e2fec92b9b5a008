"""What the truth says to those who were blocked."""

import calendar
import re
import time
from collections import defaultdict
from ipaddress import ip_network
from math import inf

LINE = re.compile(r"\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\] (BLOCK|UNBLOCK) => ([0-9a-f.:/]+)(?: \((.*)\))?")
HONEST, ATTACKING, NOBODY = True, False, None


def read_log(file):
    """Blocks by address or network, each as [start, end, why], of a log in UTC."""
    blocks = defaultdict(list)
    for line in file:
        found = LINE.match(line)
        if not found:
            continue
        second, what, net, why = found.groups()
        at = calendar.timegm(time.strptime(second, "%Y-%m-%d %H:%M:%S"))
        if what == "BLOCK":
            blocks[net].append([at, inf, why])
        elif blocks[net]:
            blocks[net][-1][1] = at
    return blocks


class Score:
    """How somebody judged."""

    def __init__(self, truth, blocks):
        self.truth = truth
        self.blocks, self.made_up = by_truth(truth, blocks)
        self.kinds = defaultdict(Kind)
        for address, about in truth.items():
            self.kinds[about["good"], about["kind"]].add(about, address, self.blocks.get(address, []))

    def of(self, good):
        """The kinds of the honest, of the attacking, or of nobody, by name."""
        return {name: kind for (what, name), kind in self.kinds.items() if what is good}

    def is_right(self):
        """Whether nobody honest was blocked, nobody that an attacker made up, and every kind of attack was held."""
        honest = sum(len(kind.blocked) for kind in self.of(HONEST).values())
        return not honest and not self.made_up and all(kind.is_held() for kind in self.of(ATTACKING).values())


class Kind:
    """How those of one kind were judged."""

    def __init__(self):
        self.addresses = self.guesses = self.shortly = 0
        self.most = 0
        # Who was blocked, and why.
        self.blocked = []

    def add(self, about, address, blocks):
        """One more of it."""
        self.addresses += 1
        self.most = about["most"]
        self.guesses += sum(not any(start <= at < end for start, end, _ in blocks) for at in about["acts"])
        if not blocks:
            return
        start, end, why = blocks[0]
        # A log has whole seconds.
        if end - start <= about["tolerated"] + 2:
            self.shortly += 1
        else:
            self.blocked.append(f"{address} ({why})")

    def average(self):
        """Guesses of an address before it was stopped."""
        return self.guesses / self.addresses

    def is_held(self):
        """Whether these are as few as they must be."""
        return self.average() <= self.most


def by_truth(truth, blocks):
    """Blocks by the addresses that the truth knows, and those that meet none of them."""
    found, made_up, known = defaultdict(list), [], None
    for net, times in blocks.items():
        name = net.removesuffix("/32").removesuffix("/128")
        if name in truth:
            found[name] += times
            continue
        known = known or [(address, ip_network(address)) for address in truth if ":" in address]
        met = [address for address, there in known if there.version == 6 and overlap(net, there)]
        for address in met:
            found[address] += times
        if not met:
            made_up.append(net)
    return found, made_up


def overlap(net, there):
    """Whether a block meets a network."""
    net = ip_network(net)
    return net.version == there.version and net.overlaps(there)


def table(scores):
    """All judges side by side."""
    names = list(scores)
    head = f"{'':49}{'addresses':>9}" + "".join(f"{name:>17}" for name in names)
    first = scores[names[0]]
    lines = [head, "honest: blocked (+ for as short as cannot be helped)"]
    for kind, of_first in sorted(first.of(HONEST).items()):
        kinds = [score.of(HONEST)[kind] for score in scores.values()]
        cells = (f"{len(one.blocked)}" + (f" (+{one.shortly})" if one.shortly else "") for one in kinds)
        lines.append(row(kind, of_first.addresses, cells))
    lines.append("attacking: guesses of an address (at most), * too many")
    for kind, of_first in sorted(first.of(ATTACKING).items()):
        kinds = [score.of(ATTACKING)[kind] for score in scores.values()]
        cells = (f"{'' if one.is_held() else '* '}{one.average():.1f}" for one in kinds)
        lines.append(row(f"{kind} ({of_first.most})", of_first.addresses, cells))
    lines.append("nobody, only forged: blocked")
    for kind, of_first in sorted(first.of(NOBODY).items()):
        kinds = [score.of(NOBODY)[kind] for score in scores.values()]
        lines.append(row(kind, of_first.addresses, (f"{len(one.blocked)}" for one in kinds)))
    lines += totals(scores)
    lines += [f"{names[0]} blocked {who}, {kind}" for kind, of in first.of(HONEST).items() for who in of.blocked]
    return "\n".join(lines)


def row(name, addresses, cells):
    """A line of the table."""
    return f"  {name:47}{addresses:9}" + "".join(f"{cell:>17}" for cell in cells)


def totals(scores):
    """The lines that everything comes down to."""
    honest = [score.of(HONEST).values() for score in scores.values()]
    attacking = [score.of(ATTACKING).values() for score in scores.values()]
    blocked = (f"{sum(len(kind.blocked) for kind in kinds)}" for kinds in honest)
    held = (f"{sum(kind.is_held() for kind in kinds)}" for kinds in attacking)
    made_up = (f"{len(score.made_up)}" for score in scores.values())
    return [
        "",
        row("honest addresses blocked", sum(kind.addresses for kind in honest[0]), blocked),
        row("kinds of attack held", len(attacking[0]), held),
        row("made-up addresses blocked", "", made_up),
    ]

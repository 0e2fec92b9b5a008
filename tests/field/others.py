"""The rules of other programs, applied to the same stream: whom they would have blocked, and until when."""

import calendar
import re
import time
from collections import defaultdict, deque
from math import inf

# sipban.pl takes the first address that it finds in an event.
EVENT = re.compile(r"Event: (\w+)\r\n(?s:.*?)EventTV: ([^.\r]+)\.(\d+)(?s:.*?)RemoteAddress: IPV[46]/\w+/([^/\r]+)/")
FAILURES = ("FailedACL", "InvalidAccountID", "ChallengeResponseFailed", "InvalidPassword")

WEEK, DAY = 604_800, 86_400


def perl(kind, address):
    """sipban.pl: the first failure, or the sixth challenge within ten seconds, blocks for a week."""
    if ":" in address:
        return None
    if kind in ("InvalidAccountID", "InvalidPassword"):
        return kind, 1, 1, WEEK
    return (kind, 6, 10, WEEK) if kind == "ChallengeSent" else None


def fail2ban(count, ban):
    """fail2ban: so many failures of any kind within ten minutes block for so many seconds."""
    return lambda kind, address: ("failure", count, 600, ban) if kind in FAILURES else None


# A rule gives what counts together, how much of it blocks, within and for how many seconds; or nothing.
OTHERS = {
    "sipban.pl": perl,
    # As Debian ships it.
    "fail2ban": fail2ban(10, 600),
    # As it is often recommended.
    "fail2ban, strict": fail2ban(3, DAY),
}


def judge(name, stream):
    """Blocks by address, each as [start, end, why]."""
    rule = OTHERS[name]
    seen, blocks = defaultdict(deque), defaultdict(list)
    for kind, at, address in events(stream):
        mine = blocks.get(address)
        if mine and at < mine[-1][1]:
            continue
        found = rule(kind, address)
        if found is None:
            continue
        what, count, window, ban = found
        times = seen[address, what]
        times.append(at)
        while times[0] <= at - window:
            times.popleft()
        if len(times) >= count:
            times.clear()
            blocks[address].append([at, at + ban, kind])
    return blocks


def events(stream):
    """Kind, time and address of each event of a stream."""
    for text in frames(stream):
        found = EVENT.search(text)
        if found:
            kind, second, fraction, address = found.groups()
            yield kind, unix(second) + int(fraction) / 1000, address


def frames(stream):
    """The texts between empty lines."""
    rest = ""
    with open(stream, newline="") as file:
        while piece := file.read(1 << 20):
            *whole, rest = (rest + piece).split("\r\n\r\n")
            yield from whole
    yield rest


def unix(second, _known=[None, -inf]):
    """A time of the stream as seconds since 1970."""
    if _known[0] != second:
        _known[:] = second, calendar.timegm(time.strptime(second, "%Y-%m-%dT%H:%M:%S"))
    return _known[1]

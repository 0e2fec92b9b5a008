"""Phones: each an account at an address, which registers again and again and makes calls."""

from dataclasses import dataclass, field
from functools import lru_cache
from math import inf

from events import Peer

# Most phones ask from one place all the time.
peer = lru_cache(4096)(Peer)


@dataclass
class Phone:
    """A phone, as it is set up."""

    account: str
    address: str
    # Seconds after which it registers again, and after which it tries again what was refused.
    every: float = 300
    retry: float = 30
    # Busy-lamp keys, each with a subscription of its own.
    keys: int = 0
    # Calls in eight hours.
    calls: int = 6
    # How many of its requests carry a nonce that is still good.
    cached: float = 0.5
    service: str = "PJSIP"
    transport: str = "UDP"
    port: int = 5060
    # From when on its password is not, or its account does not exist.
    wrong_from: float = inf
    deleted_from: float = inf
    # Where it is from when on.
    moves: list = field(default_factory=list)
    # When its power comes back.
    boots: list = field(default_factory=list)

    def peer(self, at):
        """What the PBX sees of it at this moment."""
        address = self.address
        for since, other in self.moves:
            if at >= since:
                address = other
        return peer(address, self.port, self.service, self.transport)


class Life:
    """What a phone does from one moment to another."""

    def __init__(self, pbx, phone, start, end):
        self.pbx, self.phone, self.start, self.end = pbx, phone, start, end
        self.random = pbx.random

    def live(self):
        """All of it."""
        phone = self.phone
        for boot in phone.boots:
            self.boot(boot)
        changes = sorted(since for since, _ in phone.moves if since > self.start)
        at = self.start
        accepted = self.boot(at)
        while at < self.end:
            uniform = self.random.uniform
            at += phone.every * uniform(0.85, 1) if accepted else phone.retry * uniform(0.97, 1.03)
            # Whoever gets another address notices.
            if changes and changes[0] <= at:
                at = changes.pop(0) + 2
            accepted = self.request(at, phone.cached)
        for _ in range(int(phone.calls * (self.end - self.start) / 28_800)):
            at = self.random.uniform(self.start, self.end)
            self.request(at, phone.cached, str(self.random.randrange(600, 700)))

    def boot(self, at):
        """It registers, and asks for the state of the others that it shows. Whether it was accepted."""
        accepted = self.request(at)
        self.subscribe(at + 0.3)
        return accepted

    def subscribe(self, at):
        """A subscription for each of its keys."""
        for key in range(self.phone.keys):
            self.request(at + key * 0.02)

    def request(self, at, cached=0.0, dialled=None):
        """Whether it was accepted."""
        phone, pbx = self.phone, self.pbx
        peer = phone.peer(at)
        if at >= phone.deleted_from:
            return pbx.refuse_unknown(at, peer, phone.account)
        if at >= phone.wrong_from:
            return pbx.refuse(at, peer, phone.account, dialled=dialled)
        # chan_sip has a new nonce for every request.
        cached = phone.service == "PJSIP" and self.random.random() < cached
        return pbx.login(at, peer, phone.account, cached=cached, dialled=dialled)


def typo(pbx, phone, at, times, gap=15):
    """Somebody types the password wrong some times, and then right."""
    for number in range(times):
        pbx.refuse(at + number * gap, phone.peer(at), phone.account)
    return pbx.login(at + times * gap, phone.peer(at), phone.account)

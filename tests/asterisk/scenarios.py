"""Who does what, and what must come of it. Another version of Asterisk, or another attack, is another line."""

from dataclasses import dataclass
from typing import Callable

import attackers as by
import phones
import storms
import troubles
from sip import Door
from storms import Storm

UDP, UDP6 = Door("UDP", 4, 5060), Door("UDP", 6, 5060)
TCP, TCP6 = Door("TCP", 4, 5060), Door("TCP", 6, 5060)
TLS, TLS6 = Door("TLS", 4, 5061), Door("TLS", 6, 5061)
WS, WS6 = Door("WS", 4, 8088), Door("WS", 6, 8088)
PJSIP = [UDP, UDP6, TCP, TCP6, TLS, TLS6, WS, WS6]

# chan_sip, which has a port of its own.
OLD, OLD6 = Door("UDP", 4, 5070), Door("UDP", 6, 5070)
CHAN_SIP = [OLD, OLD6]

MANAGER = Door("AMI", 4, 5038)


@dataclass(frozen=True)
class Version:
    """A version of Asterisk, the release of Debian that has it, and the ways into it."""

    name: str
    suite: str
    doors: list[Door]


VERSIONS = [
    Version("16", "bullseye", PJSIP + CHAN_SIP + [MANAGER]),
    Version("22", "sid", PJSIP + [MANAGER]),
]


@dataclass(frozen=True)
class Attack:
    """What somebody does through some doors, from a new address each. He is cut off, and logged for this reason."""

    who: str
    technique: Callable
    doors: list[Door]
    reason: str


ATTACKS = [
    Attack("svmap looks for PBXs", by.svmap, [UDP], "Invalid Account"),
    Attack("svwar looks for accounts", by.svwar, [UDP], "Invalid Account"),
    Attack("svwar looks for accounts", by.svwar, [OLD], "Challenge Sent"),
    Attack("svcrack tries passwords", by.svcrack, [UDP], "Challenge Failed"),
    Attack("svcrack tries passwords", by.svcrack, [OLD], "Invalid Password"),
    Attack("sipp calls, no account", by.sipp_stranger, [UDP], "Invalid Account"),
    Attack("sipp calls, no account", by.sipp_stranger, [OLD], "Failed ACL"),
    Attack("sipp calls, known account", by.sipp_caller, [UDP, OLD], "Challenge Sent"),
    Attack("registers, no account", by.unknown_account, PJSIP, "Invalid Account"),
    Attack("registers, no account", by.unknown_account, CHAN_SIP, "Challenge Sent"),
    Attack("registers, wrong password", by.wrong_password, PJSIP, "Challenge Failed"),
    Attack("registers, wrong password", by.wrong_password, CHAN_SIP, "Invalid Password"),
    Attack("a stranger's address in the name", by.false_address, [UDP, UDP6, TCP, WS], "Protocol Misuse"),
    Attack("a stranger's event in the name", by.false_event, CHAN_SIP, "Protocol Misuse"),
    Attack("guesses the manager's secret", by.manager_login, [MANAGER], "Invalid Password"),
]


@dataclass(frozen=True)
class Honest:
    """What honest phones do. Every request of theirs is answered, and they are never blocked."""

    who: str
    routine: Callable
    doors: list[Door]


HONEST = [
    Honest("registers again and again", phones.registers, PJSIP + CHAN_SIP),
    Honest("calls", phones.calls, PJSIP + CHAN_SIP),
    Honest("dials wrong numbers", phones.wrong_numbers, [UDP, TLS] + CHAN_SIP),
    Honest("has twenty busy-lamp keys", phones.lamps, [UDP, UDP6, TCP, WS] + CHAN_SIP),
    Honest("twelve behind one address", phones.office, PJSIP + CHAN_SIP),
    Honest("mistypes the password", phones.typo, PJSIP + CHAN_SIP),
]

#: Phones that are at work during all attacks, with one of these doors each.
BYSTANDERS = [UDP, TCP6, OLD]


@dataclass(frozen=True)
class Trouble:
    """What happens to Asterisk or to the daemon, and what its log says of the connection, each once and in this order.

    No address that is cut off gets through meanwhile, and new attackers through every door are cut off too, at the
    latest when all is well again.
    """

    what: str
    happens: Callable
    says: list[str]


TROUBLES = [
    Trouble("Asterisk is restarted", troubles.asterisk_restarts, ["lost", "connected"]),
    Trouble("Asterisk is killed", troubles.asterisk_dies, ["lost", "connected"]),
    Trouble("Asterisk hangs for a while", troubles.asterisk_hangs, ["lost", "connected"]),
    Trouble("its secret is changed", troubles.secret_changes, ["lost", "login refused", "connected"]),
    Trouble("its manager is switched off", troubles.manager_goes, ["lost", "connected"]),
    Trouble(
        "its security events are withheld",
        troubles.events_withheld,
        ["lost", "connected", "silent", "heard again"],
    ),
    Trouble("the daemon is restarted", troubles.daemon_restarts, ["connected"]),
    Trouble("the daemon is killed", troubles.daemon_dies, ["connected"]),
]

STORMS = [
    Storm("svmap's OPTIONS", OLD, storms.options),
    Storm("ACKs of no call", UDP, storms.ack),
    Storm("datagrams that are no SIP", UDP, storms.nonsense),
    Storm("passwords guessed, hidden", UDP, storms.hidden_guess),
    Storm("INVITEs, eight forged sources", UDP, storms.invite, 8),
    Storm("REGISTERs of one stranger", UDP, storms.register),
    Storm("TCP connections", TCP),
]

#: The backends whose shield is tried.
SHIELDED = ["nft", "ipset", "iptables"]

#: Who is at work in each storm, one after the other. They lose nothing to the shield.
IN_A_STORM = [
    Honest("twelve behind one address", phones.office, [UDP]),
    Honest("a first boot with forty keys", phones.first_boot, [UDP]),
    Honest("a trunk with 50 calls a second", phones.trunk, [UDP]),
    Honest("a new phone", phones.calls, [UDP]),
]

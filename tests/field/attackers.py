"""Those who must be stopped, and how many guesses an address of each kind may make, on average, until it is.

Each kind is a function as those of `offices`. A guess is what could tell the attacker something: a password that the
PBX refuses because it refuses everybody is none.
"""

from events import Peer
from offices import live, office
from pbx import within
from phones import Phone


class Attacker:
    """Somebody at an address, whose guesses are counted."""

    def __init__(self, field, kind, *, address=None, port=5080, service="PJSIP", transport="UDP"):
        self.field, self.pbx = field, field.pbx
        self.address = field.address(kind, good=False, address=address)
        self.peer = Peer(self.address, port, service, transport)

    def guess(self, at, account, dialled=None):
        """A wrong password for an account that exists."""
        self.pbx.refuse(at, self.peer, account, dialled=dialled)
        if not within(at, self.field.weather.database):
            self.act(at + 0.03)

    def look(self, at, account):
        """A request for an account that does not exist, whose answer is not waited for."""
        self.pbx.refuse_unknown(at, self.peer, account, answers=False)
        self.act(at)

    def say(self, at, kind, account, more=""):
        """Any other event."""
        self.field.stream.put(at, kind, self.peer, account, self.pbx.session(self.peer), more)
        self.act(at)

    def act(self, at):
        """What was done now counts."""
        self.field.truth[self.address]["acts"].append(at)

    def guesses(self, start, gap, account, count=None):
        """Guesses at an account, or at what a function names each time, at some pace until the end."""
        at = start
        while at < self.field.end and count != 0:
            self.guess(at, account() if callable(account) else account)
            at += gap * self.field.random.uniform(0.9, 1.1)
            count = count and count - 1


def guesses_fast(field, kind, _):
    attacker = Attacker(field, kind, transport=field.random.choice(("UDP", "UDP", "TCP", "TLS")))
    attacker.guesses(field.fair_moment(0, 0.98), 0.05, field.victim(), 300)


def guesses_slowly(gap):
    """One that guesses every so many seconds, all the time. When a block ends, it comes back."""

    def make(field, kind, _):
        Attacker(field, kind).guesses(field.start + field.random.uniform(0, 600), gap, field.victim())

    return make


def many_accounts(field, kind, _):
    """The same few passwords for one account after another."""
    Attacker(field, kind).guesses(field.moment(0, 0.2), 120, field.victim)


def cracks(field, kind, _):
    """svcrack answers one challenge again and again."""
    attacker, at, account = Attacker(field, kind), field.fair_moment(0, 0.98), field.victim()
    session = field.pbx.session(attacker.peer)
    field.pbx.challenge(at, attacker.peer, account, session)
    for number in range(300):
        field.pbx.fail(at + number * 0.02, attacker.peer, account, session)
        attacker.act(at + number * 0.02)


def looks_for_accounts(field, kind, _):
    attacker, at = Attacker(field, kind), field.fair_moment(0, 0.98)
    for number in range(200):
        attacker.look(at + number * 0.05, str(100 + number))


def looks_for_accounts_slowly(field, kind, _):
    attacker, at = Attacker(field, kind), field.moment(0, 0.2)
    number = 0
    while at < field.end:
        attacker.look(at, str(100 + number))
        number, at = number + 1, at + 300 * field.random.uniform(0.9, 1.1)


def botnet(guesses):
    """Three hundred addresses that make a guess or two each at the same account."""

    def make(field, kind, number):
        account = field.victims[number % len(field.victims)]
        start = field.moment(0.06, 0.1)
        for _ in range(field.sized(300)):
            at = start + field.random.uniform(0, (field.end - start) * 0.6)
            attacker = Attacker(field, kind)
            for _ in range(guesses):
                attacker.guess(at, account)
                at += field.random.uniform(60, 900)

    return make


def rented_network(field, kind, number):
    """Thirty addresses of a /24, each with a guess every twenty minutes at an account of its own."""
    net = field.rented(number)
    for host in range(30):
        attacker = Attacker(field, kind, address=f"{net}.{host * 7 + 3}")
        attacker.guesses(field.moment(0.02, 0.1), 1200, field.victim)


def network_of_ipv6(guess):
    """A /48 of IPv6, another /64 for each request."""

    def make(field, kind, _):
        net, start = field.network6(), field.moment(0.05, 0.15)
        for number in range(field.sized(400)):
            attacker = Attacker(field, kind, address=f"{net[:-2]}:{number:x}::5")
            guess(field, attacker, start + number * 2, number)

    return make


def looks(_, attacker, at, number):
    attacker.look(at, str(100 + number))


def guesses(field, attacker, at, _):
    attacker.guess(at, field.victim())


def thief(gap, accounts):
    """An office that has an account and guesses at so many others."""

    def make(field, kind, _):
        others = field.random.sample(field.known, min(accounts, len(field.known)))
        attacker = Attacker(field, kind, port=5081)
        office(field, kind, 1, 2, (300,), address=attacker.address)
        attacker.guesses(field.start + (field.end - field.start) / 8, gap, lambda: field.random.choice(others), 2000)

    return make


def employee(field, kind, _):
    """Somebody who has his account of an office at home too guesses from there at those of his colleagues."""
    colleagues = [phone.account for phone in office(field, "office", 10, 30, (120,))]
    attacker = Attacker(field, kind, port=5081)
    live(field, [Phone(colleagues[0], attacker.address, 300)], 300)
    attacker.guesses(field.fair_moment(0.35, 0.6), 20, lambda: field.random.choice(colleagues[1:]), 2000)


def flood_of_calls(field, kind, _):
    """Calls in the name of an account, of which no challenge is answered."""
    attacker, at, account = Attacker(field, kind, port=5082), field.fair_moment(0, 0.98), field.victim()
    for number in range(1500):
        attacker.say(at + number * 0.02, "ChallengeSent", account)


def chan_sip_calls(field, kind, _):
    """Guesses with calls through chan_sip, which names what was dialled."""
    attacker, at, account = Attacker(field, kind, service="SIP"), field.fair_moment(0, 0.98), field.victim()
    for number in range(100):
        attacker.guess(at + number, account, dialled=f"00{number}4420")


def chan_sip_slowly(field, kind, _):
    attacker = Attacker(field, kind, service="SIP")
    attacker.guesses(field.moment(0, 0.1), 400, field.victim())


def chan_sip_flood(field, kind, _):
    attacker, at = Attacker(field, kind, service="SIP"), field.fair_moment(0, 0.98)
    for number in range(600):
        attacker.say(at + number * 0.02, "ChallengeSent", f"sip:{field.victims[0]}@198.18.0.1")


def infected_machine(field, kind, _):
    """In an office with many phones something looks for accounts."""
    attacker, at = Attacker(field, kind), field.fair_moment(0.2, 0.9)
    office(field, kind, 20, 40, (120,), address=attacker.address)
    for number in range(200):
        attacker.look(at + number, str(100 + number))


def without_database(field, kind, _):
    """Guesses fast while every account is unknown, and goes on."""
    start, _ = field.weather.database
    Attacker(field, kind).guesses(start + field.random.uniform(60, 120), 1, field.victim(), 600)


def looks_without_database(field, kind, _):
    """Looks for accounts while every account is unknown, and goes on."""
    attacker, start = Attacker(field, kind), field.weather.database[0] + field.random.uniform(60, 120)
    for number in range(2000):
        attacker.look(start + number * 0.3, str(100 + number))


def during_reload(field, kind, _):
    """Guesses fast while a part of the accounts is refused, and goes on."""
    start, _ = field.weather.reload
    Attacker(field, kind).guesses(start + field.random.uniform(60, 120), 1, field.victim(), 600)


def looks_during_reload(field, kind, _):
    """Looks for accounts while a part of those that exist is refused, and goes on."""
    attacker, start = Attacker(field, kind), field.weather.reload[0] + field.random.uniform(60, 120)
    for number in range(2000):
        attacker.look(start + number * 0.3, str(100 + number))


def manager_interface(field, kind, _):
    """Knocks at AMI."""
    attacker, at = Attacker(field, kind, service="AMI", transport="TCP"), field.fair_moment(0, 0.98)
    for number in range(30):
        attacker.say(at + number * 3, ("InvalidPassword", "InvalidAccountID")[number % 2], "admin")


def writes_lines(field, kind, number):
    """A user name with lines in it, that make the event name somebody else, who must not be blocked."""
    service = ("PJSIP", "SIP")[number % 2]
    attacker, at = Attacker(field, kind, service=service), field.fair_moment(0, 0.98)
    made_up = f"9.9.{number}"
    for host in range(20):
        line = f"\r\nRemoteAddress: IPV4/UDP/{made_up}.{host}/5"
        attacker.say(at + host, "InvalidAccountID" if service == "PJSIP" else "InvalidPassword", line)
        if service == "PJSIP":
            attacker.say(at + host + 0.001, "InvalidAccountID", line + "\r\n\r\n")


def not_utf8(field, kind, _):
    """A user name that Asterisk cannot put into an event: only what was answered is left of it."""
    attacker, at = Attacker(field, kind), field.fair_moment(0, 0.98)
    for number in range(100):
        session = field.pbx.session(attacker.peer)
        field.stream.put(at + number, "ChallengeSent", attacker.peer, "<unknown>", session)
        field.stream.put(at + number + 0.03, "ChallengeResponseFailed", attacker.peer, "<unknown>", session)
        attacker.act(at + number + 0.03)


def refused_by_acl(field, kind, _):
    """Has an account and its password, but may not use it from there."""
    attacker, at, account = Attacker(field, kind), field.fair_moment(0, 0.98), field.victim()
    for number in range(50):
        attacker.say(at + number * 5, "FailedACL", account, "ACLName: not_match_endpoint_acl\r\n")


def registers_as_anybody(field, kind, _):
    """Registers where an endpoint `anonymous` takes the calls of all."""
    attacker, at = Attacker(field, kind), field.fair_moment(0, 0.98)
    for number in range(50):
        what = "ACLName: registrar_attempt_without_configured_aors\r\n"
        attacker.say(at + number * 5, "FailedACL", "anonymous", what)


def forged_sources(field, kind, _):
    """Somebody forges sources, each of which names another account that exists, once. Nobody is at these addresses."""
    start = field.moment(0.2, 0.5)
    for number in range(field.sized(5000)):
        address = field.address(kind, good=None, address=f"11.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        at = start + number * 0.01
        peer = Peer(address)
        field.pbx.fail(at, peer, field.known[number % len(field.known)], field.pbx.session(peer))


KINDS = (
    # Kind, how many of it, guesses of an address at most, what puts it in.
    ("guesses fast", 10, 12, guesses_fast),
    ("guesses, every 45 s", 2, 12, guesses_slowly(45)),
    ("guesses, every 240 s", 2, 12, guesses_slowly(240)),
    ("guesses, every 400 s", 2, 12, guesses_slowly(400)),
    ("guesses, every 900 s", 2, 12, guesses_slowly(900)),
    ("guesses, another account each time", 3, 12, many_accounts),
    ("cracks with one challenge", 2, 12, cracks),
    ("looks for accounts", 10, 6, looks_for_accounts),
    ("looks for accounts slowly", 3, 6, looks_for_accounts_slowly),
    ("botnet, one guess each", 1, 0.5, botnet(1)),
    ("botnet, two guesses each", 2, 1.2, botnet(2)),
    ("rented /24, slow guesses from thirty", 2, 3, rented_network),
    ("IPv6 /48, looks for accounts", 1, 1, network_of_ipv6(looks)),
    ("IPv6 /48, guesses", 1, 1, network_of_ipv6(guesses)),
    ("thief in an office, fast, many accounts", 2, 30, thief(1, 12)),
    ("thief in an office, slow, many accounts", 2, 30, thief(60, 12)),
    ("thief in an office, fast, one account", 2, 30, thief(1, 1)),
    ("thief in an office, slow, one account", 2, 30, thief(120, 1)),
    ("employee, at colleagues' accounts", 2, 30, employee),
    ("infected machine in an office", 2, 30, infected_machine),
    ("flood of calls", 3, 250, flood_of_calls),
    ("chan_sip: guesses with calls", 2, 12, chan_sip_calls),
    ("chan_sip: guesses slowly", 2, 12, chan_sip_slowly),
    ("chan_sip: flood of calls", 2, 250, chan_sip_flood),
    ("guesses while the database is away", 3, 12, without_database),
    ("looks while the database is away", 2, 60, looks_without_database),
    ("guesses while passwords are lost", 3, 40, during_reload),
    ("looks while passwords are lost", 2, 60, looks_during_reload),
    ("knocks at the manager interface", 3, 1, manager_interface),
    ("writes lines into events", 4, 1, writes_lines),
    ("user name that is not UTF-8", 2, 6, not_utf8),
    ("refused by an access list", 2, 6, refused_by_acl),
    ("registers as anonymous", 2, 12, registers_as_anybody),
    ("forged sources", 1, 0, forged_sources),
)

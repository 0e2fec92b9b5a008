"""Runs all scenarios against one version of Asterisk and says what came of each."""

import socket
import threading
import time
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import groupby

import phones
from attackers import Attacker, unknown_account
from lab import PBX, Failed, Lab, in_pbx, wait_for
from phones import Bystander, Line
from scenarios import ATTACKS, BYSTANDERS, HONEST, IN_A_STORM, OLD, PJSIP, SHIELDED, STORMS, TROUBLES, UDP, UDP6
from sip import Tally
from storms import LASTS, SHED, Gale


#: What events give away blocks nobody while storms blow, so that what is measured is the shield alone.
STORM_CONFIG = f"""
[limits]
unknown_account = 0
wrong_password = 0
day_guesses = 0
pressure = 0
neighbours = 0

[flood]
count = 0

[shield]
shed = {SHED}
"""

#: Packets that somebody must be seen to send after he was blocked.
MORE = 3


@dataclass
class Cut:
    """Somebody who was cut off."""

    who: str
    door: object
    source: str
    #: How many packets of his got to Asterisk until then.
    arrived: int


class Course:
    """All scenarios, one after the other, with one Asterisk and one daemon that know of all that was before."""

    def __init__(self, version, root, sipban):
        self.version = version
        self.lab = Lab(root, sipban)
        self.cuts = []
        self.lines = self.failures = 0

    def run(self):
        """The exit status."""
        try:
            self.lab.start()
            self.say("starts", self.lab.asterisk.cli("core show version").partition(" built")[0])
            self.all_scenarios()
        except Failed as failure:
            self.fail("the course", failure)
        if self.failures:
            print(f"{self.failures} FAILED. What the daemon said:", *self.lab.daemon.lines(), sep="\n  ")
            print("What Asterisk said last:", *self.lab.asterisk.last_words(), sep="\n  ")
        self.lab.stop()
        print(f"{self.lines - self.failures} passed, {self.failures} failed", flush=True)
        return 1 if self.failures else 0

    def storms(self):
        """The exit status of the storms alone."""
        try:
            self.lab.start()
            self.say("starts", self.lab.asterisk.cli("core show version").partition(" built")[0])
            # So that its port is known.
            if OLD in self.version.doors:
                scanner = Attacker(unknown_account, OLD, self.lab.newcomer(OLD))
                scanner.start()
                try:
                    self.taken("a scanner", scanner)
                finally:
                    scanner.stop()
            self.all_storms()
        except Failed as failure:
            self.fail("the course", failure)
        if self.failures:
            print(f"{self.failures} FAILED. What the daemon said:", *self.lab.daemon.lines(), sep="\n  ")
        self.lab.stop()
        print(f"{self.lines - self.failures} passed, {self.failures} failed", flush=True)
        return 1 if self.failures else 0

    def show(self):
        """For who wants to see it at work: phones and attackers over UDP, then what the administrator sees."""
        try:
            self.lab.start()
            self.say("starts", self.lab.asterisk.cli("core show version").partition(" built")[0])
            for scenarios, what in ((HONEST, self.honest), (ATTACKS, self.attack)):
                for scenario, door in self.offered(scenarios):
                    if door in (UDP, UDP6):
                        self.attempt(f"{scenario.who:33}{door}", what, scenario, door)
            self.attempt("all in all", self.nobody_else)
        except Failed as failure:
            self.fail("the course", failure)
        print("[root@pbx ~]# cat sipban.log", self.lab.daemon.log.read_text(), sep="\n")
        for tool in ("iptables", "ip6tables"):
            print(f"[root@pbx ~]# {tool} -S sipban-udp", in_pbx(tool, "-S", "sipban-udp"), sep="\n")
        self.lab.stop()
        print(f"{self.lines - self.failures} passed, {self.failures} failed", flush=True)
        return 1 if self.failures else 0

    def all_scenarios(self):
        """Phones alone, attackers with phones beside them, then troubles."""
        for scenario, door in self.offered(HONEST):
            self.attempt(f"{scenario.who:33}{door}", self.honest, scenario, door)
        bystanders = [Bystander(self.line(door)) for door in BYSTANDERS if door in self.version.doors]
        for bystander in bystanders:
            bystander.start()
        for scenario, door in self.offered(ATTACKS):
            self.attempt(f"{scenario.who:33}{door}", self.attack, scenario, door)
        for bystander in bystanders:
            self.attempt(f"{'a phone beside them':33}{bystander.line.door}", self.served, bystander)
        for scenario in TROUBLES:
            self.attempt(scenario.what, self.trouble, scenario)
        self.attempt("all in all", self.nobody_else)
        self.all_storms()

    def all_storms(self):
        """Each storm without the shield, then with that of each backend and with phones in it."""
        numbers = iter(range(1, 250))
        offered = [storm for storm in STORMS if storm.door in self.version.doors]
        self.lab.daemon.restart(f'{STORM_CONFIG}mode = "off"\n')
        before = {storm: self.blown(Gale(storm, next(numbers))) for storm in offered}
        for backend in SHIELDED:
            self.lab.daemon.restart(f'{STORM_CONFIG}mode = "on"\n\n[iptables]\nbackend = "{backend}"\n')
            for turn, storm in enumerate(offered):
                gale, honest = Gale(storm, next(numbers)), IN_A_STORM[turn % len(IN_A_STORM)]
                self.attempt(f"{storm.what:33}{storm.door}, {backend}", self.storm, gale, honest, before[storm])

    @staticmethod
    def blown(gale, meanwhile=lambda: None):
        """How many packets reached Asterisk, and what came meanwhile."""
        gale.begin()
        try:
            meanwhile()
        finally:
            gale.join()
        return gale.end()

    def storm(self, gale, honest, before):
        """What reaches Asterisk is what strangers may send, and the phones in the storm are served."""
        line = self.line(UDP)
        after = self.blown(gale, lambda: honest.routine(line))
        self.lab.daemon.catch_up()
        tally = line.tally
        if tally.answered < tally.asked or self.lab.daemon.reason(line.source) is not None:
            raise Failed(f"{tally.answered} of {tally.asked} requests of {honest.who} answered")
        # It is at home a moment after its first login, and until then it may send what strangers may.
        if tally.repeated and honest.routine is not phones.first_boot:
            raise Failed(f"{tally.repeated} requests of {honest.who} were lost and sent again")
        if after > gale.most or before < 4 * gale.most:
            raise Failed(f"{before} packets reached Asterisk without the shield, {after} with it, not {gale.most} at most")
        again = f", {tally.repeated} at the second try" if tally.repeated else ""
        return f"{before / LASTS:.0f} a second reached Asterisk, now {after / LASTS:.0f}; {honest.who}: all answered{again}"

    def offered(self, scenarios):
        """Each with each of its doors that this version has."""
        return [(each, door) for each in scenarios for door in each.doors if door in self.version.doors]

    def attempt(self, what, scenario, *arguments):
        """One scenario; that it fails does not keep the others from being run."""
        try:
            self.say(what, scenario(*arguments))
        except Exception as failure:  # whatever it is, it is not what must come of it
            self.fail(what, failure)

    def say(self, what, came):
        """A line of the report."""
        self.lines += 1
        print(f"{what:51} {came}", flush=True)

    def fail(self, what, failure):
        """Likewise."""
        self.failures += 1
        self.say(what, f"FAILED: {failure if isinstance(failure, Failed) else repr(failure)}")

    def line(self, door):
        """A new address for phones."""
        source = self.lab.newcomer(door)
        return Line(door, source, Tally())

    def honest(self, scenario, door):
        """Phones do what they do, and are served."""
        line = self.line(door)
        scenario.routine(line)
        return self.served_at(line)

    def served(self, bystander):
        """Likewise, all the time that they were there."""
        bystander.stop()
        return self.served_at(bystander.line)

    def served_at(self, line):
        """Nothing of theirs was lost, and nothing held against them."""
        self.lab.daemon.catch_up()
        sent, arrived, _ = self.lab.packets(line.source)
        if arrived < sent:
            raise Failed(f"{sent - arrived} of {sent} packets did not arrive")
        if (reason := self.lab.daemon.reason(line.source)) is not None:
            raise Failed(f"blocked ({reason})")
        if line.tally.answered < line.tally.asked:
            raise Failed(f"{line.tally.answered} of {line.tally.asked} requests answered")
        return f"{line.tally.answered} of {line.tally.asked} requests answered"

    def attack(self, scenario, door):
        """Somebody attacks until he is seen to be cut off."""
        attacker = Attacker(scenario.technique, door, self.lab.newcomer(door))
        attacker.start()
        try:
            return self.cut_off(scenario.who, attacker, scenario.reason)
        finally:
            attacker.stop()

    def cut_off(self, who, attacker, wanted):
        """He is: the log names him and the reason, and whatever he still sends does not arrive."""
        source = attacker.source
        reason = wait_for(f"{source} is blocked", lambda: self.lab.daemon.reason(source))
        since = time.monotonic()
        sent, arrived, back = self.lab.packets(source)
        self.cuts.append(Cut(who, attacker.door, source, arrived))
        wait_for(f"{source} tries on", lambda: self.lab.packets(source)[0] >= sent + MORE)
        attacker.stop()
        self.still_cut_off(self.cuts[-1])
        if attacker.tally.answered_last > since:
            raise Failed("got an answer after that")
        if reason != wanted:
            raise Failed(f"blocked, but for {reason!r} instead of {wanted!r}")
        answers = attacker.tally.answered or back
        later = self.lab.packets(source)[0] - arrived
        return f"blocked ({reason}); {answers} answered before, 0 of {later} packets arrived after"

    def still_cut_off(self, cut):
        """No packet of his has arrived since."""
        late = self.lab.packets(cut.source)[1] - cut.arrived
        if late:
            raise Failed(f"{late} packets of {cut.source} ({cut.who}) arrived after it was blocked")

    def trouble(self, scenario):
        """It happens while new attackers come through every door, and all who are cut off already go on knocking."""
        told = self.lab.daemon.told()
        crowd = Crowd(self.cuts)
        wave = [Attacker(unknown_account, door, self.lab.newcomer(door)) for door in PJSIP]
        for each in (crowd, *wave):
            each.start()
        try:
            scenario.happens(self.lab)
            self.lab.daemon.expect("AMI => connected", told)
            for attacker in wave:
                self.taken(scenario.what, attacker)
        finally:
            for each in (crowd, *wave):
                each.stop()
        self.said(self.lab.daemon.lines(told), scenario.says)
        for cut in self.cuts:
            self.still_cut_off(cut)
        said = ", ".join(scenario.says)
        return f"{said}; of {crowd.tries} packets of {len(crowd.cuts)} none arrived, {len(wave)} more were blocked"

    @staticmethod
    def said(lines, wanted):
        """Of the connection the log said this, in this order, and nothing twice."""
        said = [line.removeprefix("AMI => ").partition(", retry")[0] for line in lines if line.startswith("AMI => ")]
        states = [state for state, _ in groupby(line.partition(" (")[0] for line in said)]
        if states != wanted or len(said) > len(set(said)):
            raise Failed(f"the log says {said} of the connection, which is not once each of {wanted}")

    def taken(self, who, attacker):
        """Likewise cut off, though the daemon may have been killed before it could say so."""
        source = ip_address(attacker.source)
        wait_for(f"{source} is blocked", lambda: any(source in network for network in self.lab.in_force()))
        sent, arrived, _ = self.lab.packets(attacker.source)
        self.cuts.append(Cut(who, attacker.door, attacker.source, arrived))
        wait_for(f"{source} tries on", lambda: self.lab.packets(attacker.source)[0] >= sent + MORE)

    def nobody_else(self):
        """Of all addresses, the attackers' are blocked and no other."""
        self.lab.daemon.catch_up()
        cut = [ip_address(cut.source) for cut in self.cuts]
        blocked = {*self.lab.daemon.blocked(), *self.lab.in_force()}
        if others := [network for network in blocked if not any(source in network for source in cut)]:
            raise Failed(f"blocked too: {others}")
        for each in self.cuts:
            self.still_cut_off(each)
        if len(cut) > len(self.lab.in_force()):
            raise Failed(f"of {len(cut)} attackers only {len(self.lab.in_force())} are blocked")
        return f"{len(cut)} attackers are blocked, and nobody else"


class Crowd(threading.Thread):
    """All who were cut off, knocking at the doors that were closed to them."""

    def __init__(self, cuts):
        super().__init__(daemon=True)
        self.cuts = list(cuts)
        self.over = threading.Event()
        self.tries = 0

    def run(self):
        while not self.over.wait(0.01):
            for cut in self.cuts:
                self.knock(cut)

    def knock(self, cut):
        """One packet."""
        family = socket.AF_INET if cut.door.family == 4 else socket.AF_INET6
        kind = socket.SOCK_DGRAM if cut.door.protocol == "udp" else socket.SOCK_STREAM
        with socket.socket(family, kind) as knocker:
            knocker.bind((cut.source, 0))
            knocker.setblocking(False)
            knocker.connect_ex((PBX[cut.door.family], cut.door.port))
            if kind == socket.SOCK_DGRAM:
                knocker.send(b"OPTIONS sip:x SIP/2.0\r\n\r\n")
        self.tries += 1

    def stop(self):
        """Ends it."""
        self.over.set()
        self.join()

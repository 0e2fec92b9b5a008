"""Those who must be cut off: the tools that attackers use, and attacks of our own where no tool has them."""

import random
import socket
import subprocess
import threading
import time
from pathlib import Path

from lab import PBX, run
from sip import Agent, Silence, Tally

INVITE = Path(__file__).with_name("invite.xml")


class Attacker(threading.Thread):
    """Attacks through a door until he is stopped; nothing discourages him."""

    def __init__(self, technique, door, source):
        super().__init__(daemon=True)
        self.technique, self.door, self.source = technique, door, source
        self.pbx = PBX[door.family]
        self.over = threading.Event()
        #: What was answered, where he counts it himself.
        self.tally = Tally()
        self.program = None

    def run(self):
        while not self.over.is_set():
            try:
                self.technique(self)
            except (OSError, Silence):
                # Cut off, or hung up on: he begins again, though not at once if he did not even get started.
                self.over.wait(0.05)

    def stop(self):
        """Returns when nothing of his is left."""
        self.over.set()
        if self.program:
            self.program.kill()
        self.join()

    def agent(self, user, password=""):
        """A user agent at his address."""
        return Agent(self.door, self.source, self.pbx, self.tally, user, password, patience=0.3)


def tool(command):
    """One that others wrote, started again whenever it ends."""

    def technique(attacker):
        fill = {"source": attacker.source, "pbx": attacker.pbx, "port": attacker.door.port, "invite": INVITE}
        argv = [word.format(**fill) for word in command.split()]
        # Not all of them can be told which address to use; what says none uses this one. All others here say theirs.
        run("ip", "route", "replace", attacker.pbx, "dev", "outside", "src", attacker.source)
        null = subprocess.DEVNULL
        # What these leave behind is left in a folder that goes with the suite.
        attacker.program = subprocess.Popen(argv, stdin=null, stdout=null, stderr=null, cwd="/run", env=HOME)
        if attacker.over.is_set():
            attacker.program.kill()
        attacker.program.wait()

    return technique


HOME = {"HOME": "/run", "PATH": "/usr/bin:/bin"}
svmap = tool("svmap -p {port} {pbx}")
svwar = tool("svwar -p {port} -e 900-999 --force {pbx}")
svcrack = tool("svcrack -p {port} -u 101 -r 1-9999 {pbx}")
sipp_stranger = tool("sipp {pbx}:{port} -i {source} -sf {invite} -key caller nobody -r 50 -m 5000 -nostdin")
sipp_caller = tool("sipp {pbx}:{port} -i {source} -sf {invite} -key caller 101 -r 50 -m 5000 -nostdin")


def unknown_account(attacker):
    """Registers as one nobody after the other."""
    with attacker.agent("nobody") as agent:
        while not attacker.over.is_set():
            agent.user = str(random.randrange(100000, 1000000))
            agent.exchange([agent.request("REGISTER")])


def wrong_password(attacker):
    """Tries one password after the other, as slowly as the answers come."""
    with attacker.agent("101") as agent:
        while not attacker.over.is_set():
            agent.password = str(random.random())
            agent.register()


def false_address(attacker):
    """Has a stranger's address in his name, in a line of its own: all that PJSIP has room for."""
    with attacker.agent("x%0d%0aRemoteAddress%3A%20IPV4/UDP/9.9.9.9/5") as agent:
        while not attacker.over.is_set():
            agent.exchange([agent.request("REGISTER")])


def false_event(attacker):
    """Has the end of an event in his name, which is whole and names a stranger: chan_sip has room for that."""
    lines = (
        "x",
        "SessionID: 0x1",
        f"LocalAddress: IPV4/UDP/{attacker.pbx}/{attacker.door.port}",
        "RemoteAddress: IPV4/UDP/9.9.9.9/5",
        "Challenge: 1",
        "",
        "",
    )
    with attacker.agent("%0d%0a".join(lines).replace(": ", "%3A%20")) as agent:
        while not attacker.over.is_set():
            agent.password = str(random.random())
            agent.register()


def manager_login(attacker):
    """Tries secrets at the manager interface."""
    with socket.create_connection((attacker.pbx, attacker.door.port), 2, (attacker.source, 0)) as connection:
        attacker.tally.asked += 1
        sent = time.monotonic()
        connection.sendall(b"Action: Login\r\nUsername: sipban\r\nSecret: guess\r\n\r\n")
        answer = b""
        while b"Response: Error" not in answer:
            received = connection.recv(4096)
            if not received:
                return
            answer += received
        attacker.tally.note(sent)

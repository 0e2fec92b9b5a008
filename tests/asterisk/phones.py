"""Those who must never be cut off: what honest phones do, each an answer to expect."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice

from lab import PBX, Failed
from sip import Agent

PASSWORD = "right"


class Line:
    """Where phones are plugged in: a door, an address, and the tally of all of them."""

    def __init__(self, door, source, tally):
        self.door, self.source, self.tally = door, source, tally

    def phone(self, number=101, password=PASSWORD):
        """A phone."""
        return Agent(self.door, self.source, PBX[self.door.family], self.tally, str(number), password)


def expect(what, got, wanted):
    """What Asterisk must have answered."""
    if got != wanted:
        raise Failed(f"{what}: {got} instead of {wanted}")


def registers(line):
    """Registers, and again and again with the nonce that it has."""
    with line.phone() as phone:
        for _ in range(6):
            expect("REGISTER", phone.register(), 200)


def calls(line):
    """Registers and makes calls."""
    with line.phone() as phone:
        expect("REGISTER", phone.register(), 200)
        for _ in range(3):
            expect("INVITE and BYE", phone.call(600), (200, 200))


def wrong_numbers(line):
    """Dials what nobody has, more often than a trusted address may fail."""
    with line.phone() as phone:
        expect("REGISTER", phone.register(), 200)
        for _ in range(25):
            expect("INVITE", phone.call(699), (404, None))


def lamps(line, keys=20):
    """Starts and asks for the state of so many others at once; there are twenty."""
    with line.phone() as phone:
        expect("REGISTER", phone.register(), 200)
        phone.challenge = None
        wanted = f"Contact: <sip:101@{phone.contact}>\r\nEvent: dialog\r\nExpires: 600\r\n"
        wanted += "Accept: application/dialog-info+xml\r\n"
        lamps = [phone.request("SUBSCRIBE", number, extra=wanted) for number in islice(cycle(range(101, 121)), keys)]
        expect("SUBSCRIBE", [answer.status for answer in phone.transact(lamps)], [200] * keys)


def first_boot(line):
    """Has forty busy-lamp keys: registers, and asks for all of them at once."""
    lamps(line, keys=40)


def trunk(line):
    """Ten lines of a provider make fifty calls in a second."""
    lines = [line.phone(number) for number in range(101, 111)]

    def five_calls(phone):
        with phone:
            expect("REGISTER", phone.register(), 200)
            for _ in range(5):
                began = time.monotonic()
                expect("INVITE and BYE", phone.call(600), (200, 200))
                time.sleep(max(0, began + 0.2 - time.monotonic()))

    with ThreadPoolExecutor(len(lines)) as pool:
        list(pool.map(five_calls, lines))


def office(line):
    """Twelve phones behind one address start at the same time."""
    phones = [line.phone(number) for number in range(101, 113)]
    together = threading.Barrier(len(phones))

    def start(phone):
        with phone:
            together.wait()
            return phone.register()

    with ThreadPoolExecutor(len(phones)) as pool:
        expect("REGISTER", list(pool.map(start, phones)), [200] * len(phones))


def typo(line):
    """Registers with a wrong password, and then with the right one."""
    with line.phone(password="rigth") as phone:
        if (status := phone.register()) not in (401, 403):
            raise Failed(f"REGISTER with a wrong password: {status}")
        phone.password = PASSWORD
        expect("REGISTER", phone.register(), 200)


class Bystander(threading.Thread):
    """A phone that registers and calls all the while."""

    def __init__(self, line):
        super().__init__(daemon=True)
        self.line = line
        self.over = threading.Event()
        self.failure = None

    def run(self):
        try:
            while not self.over.wait(0.2):
                calls(self.line)
        except Exception as failure:  # whatever it was is told to whoever stops it
            self.failure = failure

    def stop(self):
        """Ends it; it must have been served to the end."""
        self.over.set()
        self.join()
        if self.failure:
            raise Failed(f"{self.line.door}: {self.failure!r}")

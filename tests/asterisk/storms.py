"""What strangers send at full speed and Asterisk tells nobody of: how much of it still reaches Asterisk."""

import random
import re
import socket
import threading
import time
from dataclasses import dataclass
from typing import Callable

from lab import PBX, in_pbx

#: Packets a second that a storm sends, if the machine is fast enough.
RATE = 2000

#: Seconds that a storm lasts.
LASTS = 2

#: `shield.shed`, and what it lets pass of one stranger in a storm.
SHED = 60
PASSES = SHED + SHED * LASTS // 10


def head(method, number, call_id=b"", agent=b"friendly-scanner"):
    """The first lines of a request that nobody ever sent before."""
    call_id = call_id or b"%d-%d" % (number, random.randrange(1 << 48))
    return (
        b"%s sip:101@198.18.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.19.0.1:5060;branch=z9hG4bK%d;rport\r\n"
        b"Max-Forwards: 70\r\nFrom: <sip:101@198.18.0.1>;tag=%d\r\nTo: <sip:101@198.18.0.1>\r\nCall-ID: %s\r\n"
        b"CSeq: 1 %s\r\nContact: <sip:101@198.19.0.1>\r\nUser-Agent: %s\r\n"
        % (method, random.randrange(1 << 48), number, call_id, method, agent)
    )


END = b"Content-Length: 0\r\n\r\n"


def options(number):
    """As svmap asks who is there."""
    return head(b"OPTIONS", number) + END


def ack(number):
    """Of a call that there is not."""
    return head(b"ACK", number) + END


def nonsense(_):
    """Bytes that are no SIP, and not the two that keep a connection alive."""
    return b"\x00" + random.randbytes(200)


def hidden_guess(number):
    """A password, under a Call-ID that is not UTF-8: Asterisk cannot put that into an event."""
    answer = b'username="101", realm="asterisk", nonce="0", uri="sip:198.18.0.1", response="%032x"' % number
    return head(b"REGISTER", number, b"\xff\xfe%d" % number) + b"Authorization: Digest " + answer + b"\r\n" + END


def invite(number):
    """A call without credentials."""
    return head(b"INVITE", number) + END


def register(number):
    """A registration without credentials."""
    return head(b"REGISTER", number) + END


def connects(source, pbx, port):
    """One more connection, which is dropped at once."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.bind((source, 0))
        connection.setblocking(False)
        connection.connect_ex((pbx, port))


@dataclass(frozen=True)
class Storm:
    """What comes through a door, from so many addresses. Without a packet it is connections."""

    what: str
    door: object
    packet: Callable = None
    sources: int = 1


class Gale(threading.Thread):
    """A storm that blows."""

    def __init__(self, storm, number):
        super().__init__(daemon=True)
        self.storm, self.network = storm, f"198.19.{number}.0/24"
        self.addresses = [f"198.19.{number}.{host}" for host in range(1, storm.sources + 1)]
        self.failure = None

    def begin(self):
        """Has what reaches Asterisk counted, and blows."""
        first = ["-p", "tcp", "--syn"] if self.storm.packet is None else ["-p", "udp"]
        counted = ["-s", self.network, *first, "--dport", self.storm.door.port]
        in_pbx("iptables", "-w", "-A", "INPUT", *counted)
        self.start()

    def run(self):
        try:
            self.blow()
        except OSError as failure:  # told to whoever waits for the end
            self.failure = failure

    def blow(self):
        """Sends, a little every hundredth of a second."""
        pbx, port = PBX[4], self.storm.door.port
        sockets = [self.socket(address) for address in self.addresses] if self.storm.packet else []
        began = time.monotonic()
        sent = 0
        while (passed := time.monotonic() - began) < LASTS:
            while sent < passed * RATE:
                if sockets:
                    sockets[sent % len(sockets)].sendto(self.storm.packet(sent), (pbx, port))
                else:
                    connects(self.addresses[0], pbx, port)
                sent += 1
            time.sleep(0.01)
        for each in sockets:
            each.close()

    @staticmethod
    def socket(address):
        """One that sends with this address, which may be anybody's."""
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.bind((address, 0))
        return sender

    def end(self):
        """How many packets reached Asterisk, or first packets of connections, once it is over."""
        if self.failure:
            raise self.failure
        save = in_pbx("iptables-save", "-c", "-t", "filter")
        return int(re.search(rf"\[(\d+):\d+\] -A INPUT -s {re.escape(self.network)} ", save)[1])

    @property
    def most(self):
        """What the shield lets pass at most: each address what one stranger may send, and a second's more for the clock."""
        return len(self.addresses) * (PASSES + SHED // 10)

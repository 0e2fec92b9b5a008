"""A SIP user agent for honest phones and for attackers: requests, digest authentication, UDP, TCP, TLS, WebSocket."""

import base64
import hashlib
import re
import secrets
import socket
import ssl
import struct
import time
from dataclasses import dataclass, field, replace


#: Seconds after which a request over UDP is sent again that was not answered (RFC 3261, 17.1.1.1), then after twice that.
T1 = 0.5


class Silence(Exception):
    """No answer came in time."""


@dataclass(frozen=True)
class Door:
    """A way into Asterisk."""

    transport: str
    family: int
    port: int

    @property
    def protocol(self):
        """As the kernel sees it."""
        return "udp" if self.transport == "UDP" else "tcp"

    def __str__(self):
        return f"{self.transport} {self.port}, IPv{self.family}"


class Wire:
    """Carries SIP messages from an address of ours to the PBX."""

    def __init__(self, door, source, pbx, patience):
        family = socket.AF_INET if door.family == 4 else socket.AF_INET6
        kind = socket.SOCK_DGRAM if door.protocol == "udp" else socket.SOCK_STREAM
        self.socket = socket.socket(family, kind)
        self.socket.settimeout(patience)
        self.transport = door.transport
        self.buffer = b""
        try:
            self.socket.bind((source, 0))
            self.socket.connect((pbx, door.port))
            self.port = self.socket.getsockname()[1]
            if self.transport == "TLS":
                trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
                self.socket = trusting.wrap_socket(self.socket)
            if self.transport == "WS":
                self._upgrade(pbx)
        except OSError:
            self.socket.close()
            raise

    def close(self):
        """Hangs up."""
        self.socket.close()

    def send(self, message):
        """Sends one message."""
        self.socket.sendall(self._masked(message) if self.transport == "WS" else message)

    def receive(self, deadline):
        """The next message."""
        while True:
            message = self._whole_message()
            if message:
                return message
            left = deadline - time.monotonic()
            if left <= 0:
                raise Silence
            self.socket.settimeout(left)
            try:
                received = self.socket.recv(65536)
            except socket.timeout:
                raise Silence from None
            if not received:
                raise ConnectionError("Asterisk hung up")
            self.buffer += received

    def _whole_message(self):
        size = {"UDP": self._datagram, "WS": self._frame}.get(self.transport, self._stream)()
        if size is None or len(self.buffer) < sum(size):
            return None
        skip, length = size
        message, self.buffer = self.buffer[skip : skip + length], self.buffer[skip + length :]
        return message

    def _datagram(self):
        return (0, len(self.buffer)) if self.buffer else None

    def _stream(self):
        head = self.buffer.find(b"\r\n\r\n")
        length = re.search(rb"\r\nContent-Length: *(\d+)", self.buffer[: max(head, 0)], re.IGNORECASE)
        return (0, head + 4 + int(length[1])) if length else None

    def _frame(self):
        if len(self.buffer) < 4:
            return None
        length = self.buffer[1] & 0x7F
        return (4, struct.unpack("!H", self.buffer[2:4])[0]) if length == 126 else (2, length)

    @staticmethod
    def _masked(message):
        key = secrets.token_bytes(4)
        size = bytes([0x80 | len(message)]) if len(message) < 126 else b"\xfe" + struct.pack("!H", len(message))
        return b"\x81" + size + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(message))

    def _upgrade(self, pbx):
        host = f"[{pbx}]" if ":" in pbx else pbx
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        self.socket.sendall(
            f"GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self.buffer:
            received = self.socket.recv(4096)
            if not received:
                raise ConnectionError("Asterisk hung up")
            self.buffer += received
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        if b" 101 " not in head:
            raise ConnectionError(f"no WebSocket: {head!r}")


@dataclass
class Request:
    """A request; what is sent of it changes when it is sent again with an answer to a challenge."""

    method: str
    uri: str
    #: Who it is from, without the host.
    user: str
    to: str
    #: Further headers, each with its line end.
    extra: str = ""
    body: str = ""
    call_id: str = field(default_factory=lambda: secrets.token_hex(12))
    tag: str = field(default_factory=lambda: secrets.token_hex(6))
    branch: str = ""
    cseq: int = 0
    authorization: str = ""

    @property
    def key(self):
        """What its answers carry too."""
        return self.call_id, f"{self.cseq} {self.method}"


def new_branch():
    """What tells one transaction from another."""
    return f"z9hG4bK{secrets.token_hex(8)}"


def md5(text):
    """As digest authentication writes it."""
    return hashlib.md5(text.encode()).hexdigest()


class Answer:
    """An answer, or a request of Asterisk's own."""

    def __init__(self, message):
        head, _, _ = message.decode("utf-8", "replace").partition("\r\n\r\n")
        self.start, *lines = head.split("\r\n")
        self.headers = [(name.strip().lower(), value.strip()) for name, _, value in (s.partition(":") for s in lines)]
        self.status = int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else None

    def all(self, name):
        """The values of a header."""
        return [value for key, value in self.headers if key == name]

    def get(self, name):
        """The first value of a header."""
        return next(iter(self.all(name)), "")

    @property
    def key(self):
        """What the request it answers carries too."""
        return self.get("call-id"), self.get("cseq")


@dataclass
class Tally:
    """How many requests were sent, how many of them were answered, and when the last of those was sent."""

    asked: int = 0
    answered: int = 0
    answered_last: float = 0.0
    #: Requests that were sent again because no answer came.
    repeated: int = 0

    def note(self, sent):
        """A request that was sent then was answered."""
        self.answered += 1
        self.answered_last = max(self.answered_last, sent)


class Agent:
    """A user agent with one wire."""

    def __init__(self, door, source, pbx, tally, user="", password="", patience=10):
        self.door, self.source, self.pbx, self.patience = door, source, pbx, patience
        self.tally, self.user, self.password = tally, user, password
        self.wire = Wire(door, source, pbx, patience)
        self.challenge = None
        self.nonce_count = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wire.close()

    @property
    def host(self):
        """The PBX, as it stands in an URI."""
        return f"[{self.pbx}]" if self.door.family == 6 else self.pbx

    @property
    def contact(self):
        """Where this agent is reached."""
        source = f"[{self.source}]" if self.door.family == 6 else self.source
        return f"{source}:{self.wire.port}"

    def request(self, method, target=None, user=None, **more):
        """A request of this agent to a number, or for its own registration."""
        user = self.user if user is None else user
        uri = f"sip:{target}@{self.host}" if target else f"sip:{self.host}"
        return Request(method, uri, user, f"<sip:{target or user}@{self.host}>", **more)

    def exchange(self, requests):
        """Sends requests all at once and returns the final answer of each."""
        waiting = {}
        for request in requests:
            self.send(request)
            waiting[request.key] = (request, time.monotonic())
        answers = {}
        deadline = time.monotonic() + self.patience
        again, pause = time.monotonic() + T1, T1
        while waiting:
            try:
                answer = self.hear(min(deadline, again) if self.door.transport == "UDP" else deadline)
            except Silence:
                if time.monotonic() >= deadline:
                    raise
                for request, _ in waiting.values():
                    self.tally.repeated += 1
                    self.wire.send(self._text(request))
                pause *= 2
                again = time.monotonic() + pause
                continue
            if answer.status is None or answer.status < 200 or answer.key not in waiting:
                continue
            request, sent = waiting.pop(answer.key)
            self.tally.note(sent)
            if request.method == "INVITE":
                self.acknowledge(request, answer)
            answers[request.call_id] = answer
        return [answers[request.call_id] for request in requests]

    def transact(self, requests):
        """Likewise, and answers the challenges that come back."""
        if self.challenge:
            for request in requests:
                self.authorize(request)
        answers = self.exchange(requests)
        challenged = []
        for request, answer in zip(requests, answers):
            if answer.status in (401, 407):
                self.take_challenge(answer)
                self.authorize(request)
                challenged.append(request)
        again = iter(self.exchange(challenged))
        return [next(again) if answer.status in (401, 407) else answer for answer in answers]

    def do(self, request):
        """Likewise, for one request; returns the status."""
        return self.transact([request])[0].status

    def register(self, **more):
        """Registers; returns the status."""
        contact = f"Contact: <sip:{self.user or 'x'}@{self.contact}>\r\nExpires: 600\r\n"
        return self.do(self.request("REGISTER", extra=contact, **more))

    def send(self, request):
        """Sends a request."""
        request.cseq += 1
        request.branch = new_branch()
        self.tally.asked += 1
        self.wire.send(self._text(request))

    def hear(self, deadline):
        """The next message; what Asterisk asks is answered with yes."""
        answer = Answer(self.wire.receive(deadline))
        if answer.status is None:
            kept = ("via", "from", "to", "call-id", "cseq")
            echo = "".join(f"{name}: {value}\r\n" for name, value in answer.headers if name in kept)
            self.wire.send(f"SIP/2.0 200 OK\r\n{echo}Content-Length: 0\r\n\r\n".encode())
        return answer

    def acknowledge(self, request, answer):
        """Ends the transaction of an INVITE."""
        branch = request.branch if answer.status >= 300 else new_branch()
        ack = replace(request, method="ACK", branch=branch, to=answer.get("to"), extra="", body="")
        self.wire.send(self._text(ack))

    def call(self, number):
        """Calls a number and hangs up when it is answered; returns the statuses of both."""
        network = f"IN IP{self.door.family} {self.source}"
        sdp = (
            f"v=0\r\no=- 1 1 {network}\r\ns=-\r\nc={network}\r\n"
            "t=0 0\r\nm=audio 30000 RTP/AVP 0\r\n"
        )
        contact = f"Contact: <sip:{self.user}@{self.contact}>\r\nContent-Type: application/sdp\r\n"
        invite = self.request("INVITE", number, extra=contact, body=sdp)
        answer = self.transact([invite])[0]
        if answer.status != 200:
            return answer.status, None
        uri = re.search(r"<(.*?)>", answer.get("contact"))[1]
        bye = replace(invite, method="BYE", uri=uri, to=answer.get("to"), extra="", body="", authorization="")
        return 200, self.exchange([bye])[0].status

    def take_challenge(self, answer):
        """Keeps the nonce, of all that are offered the one for MD5."""
        for value in answer.all("www-authenticate") + answer.all("proxy-authenticate"):
            parts = dict(re.findall(r'(\w+)="?([^",]*)"?', value.partition(" ")[2]))
            if parts.get("algorithm", "MD5").upper() == "MD5":
                self.challenge, self.nonce_count = parts, 0
                self.challenge["header"] = "Authorization" if answer.status == 401 else "Proxy-Authorization"
                return
        raise Silence("no challenge for MD5")

    def authorize(self, request):
        """Answers the challenge last seen, in a request that is yet to be sent."""
        given = self.challenge
        realm, nonce = given["realm"], given["nonce"]
        user_hash = md5(f"{self.user}:{realm}:{self.password}")
        uri_hash = md5(f"{request.method}:{request.uri}")
        extra = ""
        if "auth" in given.get("qop", ""):
            self.nonce_count += 1
            count, own = f"{self.nonce_count:08x}", secrets.token_hex(8)
            response = md5(f"{user_hash}:{nonce}:{count}:{own}:auth:{uri_hash}")
            extra = f', qop=auth, nc={count}, cnonce="{own}"'
        else:
            response = md5(f"{user_hash}:{nonce}:{uri_hash}")
        if "opaque" in given:
            extra += f', opaque="{given["opaque"]}"'
        request.authorization = (
            f'{given["header"]}: Digest username="{self.user}", realm="{realm}", nonce="{nonce}", uri="{request.uri}", '
            f'response="{response}", algorithm=MD5{extra}\r\n'
        )

    def _text(self, request):
        return (
            f"{request.method} {request.uri} SIP/2.0\r\n"
            f"Via: SIP/2.0/{self.door.transport} {self.contact};branch={request.branch};rport\r\n"
            "Max-Forwards: 70\r\n"
            f"From: <sip:{request.user}@{self.host}>;tag={request.tag}\r\n"
            f"To: {request.to}\r\n"
            f"Call-ID: {request.call_id}\r\n"
            f"CSeq: {request.cseq} {request.method}\r\n"
            f"{request.authorization}{request.extra}"
            f"Content-Length: {len(request.body)}\r\n\r\n{request.body}"
        ).encode()

"""Security events as Asterisk writes them to a client of AMI. Every shape is that of a recorded one (../captures)."""

import time

START = 1764000000  # 2025-11-24 16:00:00 UTC
PBX = {"4": "198.18.0.1", "6": "2001:db8:18::1"}
PORTS = {"PJSIP": 5060, "SIP": 5070, "AMI": 5038}

INFORMATIONAL = ("ChallengeSent", "SuccessfulAuth")
NONCE = "0a257c107b6c7c8865ff662abd64c520"
HASH = "3af3e4b4ca4bab5cdd5ecf01eb93a4f8"
BEFORE_LOGIN = "SessionTV: 1970-01-01T00:00:00.000+0000\r\n"


class Peer:
    """Somebody who talks to the PBX: the address and port that he is seen with, and the service that he asks."""

    def __init__(self, address, port=5060, service="PJSIP", transport="UDP"):
        family = "6" if ":" in address else "4"
        self.address, self.service = address, service
        head = f"IPV{family}/{transport}"
        self.lines = (
            f"LocalAddress: {head}/{PBX[family]}/{PORTS[service] + (transport == 'TLS')}\r\n"
            f"RemoteAddress: {head}/{address}/{port}\r\n"
        )


class Stream:
    """Events in any order, written in that of their times."""

    def __init__(self):
        self.events = []

    def put(self, at, kind, peer, account, session, more=""):
        """An event. `more` are the lines that only some events of this kind have, each with its line end."""
        self.events.append((at, len(self.events), kind, peer, account, session, more))

    def write(self, file, end):
        """Writes what happened before `end` and returns how many events that were."""
        self.events.sort()
        file.write("Asterisk Call Manager/11.0.0\r\n")
        count = 0
        for at, _, kind, peer, account, session, more in self.events:
            if at >= end:
                break
            file.write(frame(at, kind, peer, account, session, more))
            count += 1
        return count


def frame(at, kind, peer, account, session, more=""):
    """The text of an event. Asterisk escapes nothing, whatever the account or the session holds."""
    severity = "Informational" if kind in INFORMATIONAL else "Error"
    version = 2 if kind == "InvalidPassword" else 1
    return (
        f"Event: {kind}\r\nPrivilege: security,all\r\nEventTV: {stamp(at)}\r\nSeverity: {severity}\r\n"
        f"Service: {peer.service}\r\nEventVersion: {version}\r\nAccountID: {account}\r\nSessionID: {session}\r\n"
        f"{peer.lines}{more}{tail(at, kind, peer.service)}\r\n"
    )


def tail(at, kind, service):
    """The lines that every event of this kind ends with."""
    if service == "AMI":
        return BEFORE_LOGIN
    if kind == "ChallengeSent":
        return "Challenge: \r\n" if service == "PJSIP" else "Challenge: 3170af41\r\n"
    if kind == "SuccessfulAuth":
        return "UsingPassword: 1\r\n"
    if kind == "ChallengeResponseFailed":
        return f"Challenge: {int(at)}/{NONCE}\r\nResponse: {HASH}\r\nExpectedResponse: \r\n"
    if kind == "InvalidPassword":
        return f"Challenge: 3170af41\r\nReceivedChallenge: 3170af41\r\nReceivedHash: {HASH}\r\n"
    return ""


def stamp(at, _seconds={}):
    """The time as EventTV has it."""
    whole = int(at)
    if whole not in _seconds:
        _seconds.clear()
        _seconds[whole] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{_seconds[whole]}.{int((at - whole) * 1000):03}+0000"

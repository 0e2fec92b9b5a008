"""A PBX and its weather: what a request leaves in the stream of events."""

from events import PBX, START

# Seconds after which a phone sends an unanswered REGISTER or SUBSCRIBE again (RFC 3261: T1 0.5 s, T2 4 s, F 32 s).
# Asterisk challenges each of them.
AGAIN = (0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5)
# One answer in so many is lost.
LOST = 500


class Weather:
    """When the PBX itself is at fault, each as (start, end)."""

    def __init__(self, hours):
        def at(part, seconds):
            start = START + hours * 3600 * part
            return (start, start + seconds)

        # Read again, the configuration lacks the passwords of a part of the accounts.
        self.reload = at(0.3, 300)
        # Nothing that the PBX sends arrives.
        self.way_out = at(0.5, 60)
        # It answers after many seconds only.
        self.overload = at(0.62, 120)
        # Every account is unknown.
        self.database = at(0.75, 240)

    def is_bad(self, at):
        """Whether the PBX is at fault now, or was or will be within five minutes."""
        return any(start - 300 <= at < end + 300 for start, end in vars(self).values())

    def lost_password(self, account, at):
        """Whether the right password of this account is refused."""
        return within(at, self.reload) and sum(account.encode()) % 3 == 0


def within(at, times):
    """Whether a moment lies between two others."""
    return times[0] <= at < times[1]


class Pbx:
    """Asterisk with PJSIP and, for those who ask it, chan_sip."""

    def __init__(self, random, stream, weather):
        self.random, self.stream, self.weather = random, stream, weather
        self.sessions = 0

    def session(self, peer):
        """A new Call-ID; with chan_sip the place in memory of a call, which is used again and again."""
        if peer.service == "SIP":
            return f"0x7f1cf8{self.random.randrange(4000) * 0x10:06x}"
        self.sessions += 1
        return f"{self.random.getrandbits(64):016x}@f{self.sessions}"

    def login(self, at, peer, account, *, cached=False, dialled=None):
        """A request with the right password, for a call if a number is dialled. Whether it was accepted."""
        if within(at, self.weather.database):
            return self.refuse_unknown(at, peer, account)
        if self.weather.lost_password(account, at):
            return self.refuse(at, peer, account, dialled=dialled)
        session = self.session(peer)
        answer = dialled if dialled and peer.service == "SIP" else account
        if cached and not within(at, self.weather.way_out):
            self.stream.put(at, "SuccessfulAuth", peer, answer, session)
            return True
        self.challenge(at, peer, account, session, dialled)
        answered = self.answered(at)
        for again in AGAIN:
            if at + again < (answered or at + 32):
                self.challenge(at + again, peer, account, session, dialled)
        if answered is None:
            return False
        if self.random.randrange(LOST):
            self.stream.put(answered, "SuccessfulAuth", peer, answer, session)
        return True

    def answered(self, at):
        """When a request, which the phone repeats, has been answered by both sides; `None` if not within 32 s."""
        for sent in (at, *(at + again for again in AGAIN)):
            if within(sent, self.weather.way_out):
                continue
            if within(sent, self.weather.overload):
                return sent + self.random.uniform(4.5, 9)
            return sent + self.random.uniform(0.02, 0.15)
        return None

    def challenge(self, at, peer, account, session, dialled=None):
        """A challenge. chan_sip names the whole From URI when a call is challenged."""
        name = f"sip:{account}@{PBX['4']}" if dialled and peer.service == "SIP" else account
        self.stream.put(at, "ChallengeSent", peer, name, session)

    def refuse(self, at, peer, account, *, dialled=None):
        """A request with a wrong password."""
        if within(at, self.weather.database):
            return self.refuse_unknown(at, peer, account)
        session = self.session(peer)
        self.challenge(at, peer, account, session, dialled)
        if not within(at, self.weather.way_out):
            self.fail(at + 0.03, peer, account, session, dialled)
        return False

    def fail(self, at, peer, account, session, dialled=None):
        """A wrong answer to a challenge."""
        kind = "InvalidPassword" if peer.service == "SIP" else "ChallengeResponseFailed"
        self.stream.put(at, kind, peer, dialled if dialled and peer.service == "SIP" else account, session)

    def refuse_unknown(self, at, peer, account, *, answers=True):
        """A request for an account that does not exist. chan_sip does not let on."""
        session = self.session(peer)
        if peer.service == "SIP":
            self.challenge(at, peer, account, session)
            if answers:
                self.fail(at + 0.03, peer, account, session)
            return False
        self.stream.put(at, "InvalidAccountID", peer, account, session)
        self.stream.put(at + 0.001, "ChallengeSent", peer, "<unknown>", session)
        if answers and not within(at, self.weather.way_out):
            self.stream.put(at + 0.04, "InvalidAccountID", peer, account, session)
            self.stream.put(at + 0.041, "ChallengeResponseFailed", peer, "<unknown>", session)
        return False

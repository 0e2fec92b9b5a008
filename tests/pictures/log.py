"""A log such as a PBX on the Internet has after some months: made up, and the same each time."""

import datetime
import random


def lines(days=75):
    """Its lines, in their order."""
    chance = random.Random(5060)
    start = datetime.datetime(2026, 8, 3)
    nets = [f"203.0.113.{n}" for n in range(1, 60)] + [f"198.51.100.{n}" for n in range(1, 200)] + [
        f"192.0.2.{n}" for n in range(1, 90)]
    regulars = nets[:9]
    reasons = ["Invalid Account"] * 12 + ["Invalid Password"] * 3 + ["Challenge Failed"] * 4 + ["Challenge Sent"] * 2 + ["Failed ACL"]
    found = [(start, "SipBan Start"), (start + datetime.timedelta(seconds=1), "AMI => connected (Asterisk Call Manager/11.0.0)")]
    for day in range(days):
        midnight = start + datetime.timedelta(days=day)
        campaign = 5 if day % 23 in (4, 5, 6) else 1
        for _ in range(int(chance.gauss(26, 6) * campaign * (0.6 if midnight.weekday() > 4 else 1))):
            hour = int(chance.triangular(0, 24, 3)) % 24
            at = midnight + datetime.timedelta(hours=hour, seconds=chance.randrange(3600))
            who = chance.choice(regulars if chance.random() < 0.25 else nets)
            if chance.random() < 0.06:
                who = f"2001:db8:{chance.randrange(1, 40):x}::/64"
            found.append((at, f"BLOCK => {who} ({chance.choice(reasons)})"))
            found.append((at + datetime.timedelta(days=1), f"UNBLOCK => {who} (Timeout Unblock)"))
    for day, hours, seconds in [(9, 4, 40), (31, 2, 7_800), (60, 22, 300)]:
        at = start + datetime.timedelta(days=day, hours=hours)
        found.append((at, "AMI => lost (Asterisk closed the connection), retry in 1 s"))
        found.append((at + datetime.timedelta(seconds=seconds), "AMI => connected (Asterisk Call Manager/11.0.0)"))
    at = start + datetime.timedelta(days=40, hours=10)
    found.append((at, "REPAIR => jump to sipban-udp in INPUT (IPv4), missing for 10 s at most"))
    found.append((at, "WHITE LIST => 192.0.2.250 not blocked (Invalid Password): 192.0.2.250"))
    found.append((at, "PBX => accepts its phones again, after 1260 s; 214 failures meanwhile count for nothing"))
    return [f"[{at}] {text}\n" for at, text in sorted(found)]

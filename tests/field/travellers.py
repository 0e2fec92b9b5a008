"""Honest users whose address changes, or who share theirs with strangers."""

from offices import live, office
from phones import Phone, typo


def roaming(field, kind, _):
    """One account at several addresses in turn, with a typo at one of them."""
    addresses = [field.address(kind) for _ in range(4)]
    times = sorted(field.fair_moment(0.1, 0.9) for _ in addresses[1:])
    phone = Phone(field.account(kind), addresses[0], 120, moves=list(zip(times, addresses[1:])))
    typo(field.pbx, phone, times[1] + 1, 1, gap=10)
    live(field, [phone], 60)


def to_the_mobile_carrier(field, kind, _):
    """A phone that leaves the home it shares with another, and is given one address after another on its way."""
    phone = office(field, kind, 2, 3, (300,))[0]
    leaves = field.moment(0.2, 0.8)
    phone.moves += [(leaves + number * 500, field.address(kind)) for number in range(3)]


def guest(field, address, leaves, returns):
    """A phone that is somewhere else for a while."""
    phone = Phone(field.account("guest"), field.address("home of somebody who travels"), 300)
    phone.moves += [(leaves, address), (returns, phone.address)]
    return phone


def behind_a_carrier(field, kind, _):
    """The one address that a mobile carrier shows for forty of its customers, who are at home otherwise."""
    address = field.address(kind)
    for number in range(40):
        leaves = field.fair_moment(0.05, 0.6)
        phone = guest(field, address, leaves, leaves + 3600)
        if number % 7 == 0:
            typo(field.pbx, phone, leaves + 5, 1)
        live(field, [phone], 300)


def hot_desks(field, kind, _):
    """Accounts that live elsewhere log in at an office, now and then after a typo."""
    address = office(field, kind, 4, 30, (120,))[0].address
    for number in range(12):
        visit = field.fair_moment(0.1, 0.8)
        phone = guest(field, address, visit, visit + 1800)
        if number % 3 == 0:
            typo(field.pbx, phone, visit + 1, 1)
        live(field, [phone], 300)


def carriers_network(field, kind, _):
    """A carrier's /24 with an account at each of sixty addresses. Some make a typo first, three give up."""
    net = field.network()
    for number in range(60):
        address = field.address(kind, address=f"{net}.{number * 4 + 2}")
        phone = Phone(field.account(kind), address, 300)
        first = field.start + number * (field.end - field.start) / 62
        if field.weather.is_bad(first):
            continue
        if number % 20 == 7:
            field.pbx.refuse(first, phone.peer(first), phone.account)
            continue
        if number % 4 == 1:
            typo(field.pbx, phone, first, 1 + number % 2)
        live(field, [phone], 1, first + 40)


def moved_office(field, kind, _):
    """An office that is at another address from some moment on. Returns its phones."""
    phones = office(field, kind, 5, 30, (120,))
    address, moved = field.address(kind), field.fair_moment(0.4, 0.7)
    for phone in phones:
        phone.moves.append((moved + field.random.uniform(0, 1), address))
    return phones


def moved_with_an_old_password(field, kind, number):
    """A line that is given another address now and then, with a phone of an old password behind it."""
    phone = moved_office(field, kind, number)[0]
    phone.wrong_from = field.moment(0.05, 0.3)


def softphone(field, kind, _):
    """An account of an office with a second phone at home, which is forgotten when the password changes."""
    account = office(field, "office", 4, 30, (120,))[0].account
    phone = Phone(account, field.address(kind), 300, retry=60, wrong_from=field.moment(0.1, 0.5))
    live(field, [phone], 300)


KINDS = (
    ("roaming user", 4, roaming),
    ("phone that goes to a mobile carrier", 4, to_the_mobile_carrier),
    ("mobile carrier's NAT, a few typos", 2, behind_a_carrier),
    ("office with hot desks, a few typos", 3, hot_desks),
    ("carrier's /24, a few typos", 1, carriers_network),
    ("office that moved", 3, moved_office),
    ("office that moved, a phone of an old password", 2, moved_with_an_old_password),
    ("home, a softphone of an old password", 3, softphone),
)

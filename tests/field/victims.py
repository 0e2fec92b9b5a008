"""Honest users whom attackers are after, or in whose name they forge: UDP takes any source address.

An office in whose name is forged may be blocked for `timer.home`, ten minutes, at first. That it cannot be told from
a thief in the office is why it is no longer.
"""

from offices import office
from phones import typo

TEN_MINUTES = 600


def under_attack(field, kind, _):
    """A home whose account a botnet guesses at, where typos are made all the same."""
    phone = office(field, kind, 1, 3, (300,))[0]
    field.victims.append(phone.account)
    for part in (0.4, 0.7):
        typo(field.pbx, phone, field.moment(part, part + 0.05), 2)


def among_attackers(field, kind, number):
    """A home in a /24 from which others attack, with typos."""
    address = field.address(kind, address=f"{field.rented(number)}.250")
    phone = office(field, kind, 1, 3, (300,), address=address)[0]
    for part in (0.4, 0.7):
        typo(field.pbx, phone, field.moment(part, part + 0.05), 2)


def in_the_name_of_an_office(count, gap, forge):
    """So many forged requests, one every so many seconds, by what is done for each."""

    def make(field, kind, _):
        address = field.address(kind, tolerated=TEN_MINUTES)
        phone = office(field, kind, 4, 30, (120,), address=address)[0]
        start = field.moment(0.1, 0.9)
        for number in range(count):
            forge(field, start + number * gap, phone, number)

    return make


def failure_of_its_own(field, at, phone, _):
    """A wrong answer to a challenge that was never sent needs no answer from there."""
    field.pbx.fail(at, phone.peer(at), phone.account, field.pbx.session(phone.peer(at)))


def failure_of_others(field, at, phone, _):
    field.pbx.fail(at, phone.peer(at), field.victim(), field.pbx.session(phone.peer(at)))


def unknown_account(field, at, phone, number):
    field.pbx.refuse_unknown(at, phone.peer(at), f"9{number}", answers=False)


def call(field, at, phone, _):
    field.pbx.challenge(at, phone.peer(at), phone.account, field.pbx.session(phone.peer(at)))


KINDS = (
    ("home whose account is under attack", 2, under_attack),
    ("home among attackers", 2, among_attackers),
    ("forged: office, hammering", 2, in_the_name_of_an_office(200, 0.1, failure_of_its_own)),
    ("forged: office, guesses at others", 2, in_the_name_of_an_office(200, 0.1, failure_of_others)),
    ("forged: office, unknown accounts", 2, in_the_name_of_an_office(200, 0.1, unknown_account)),
    ("forged: office, flood of calls", 2, in_the_name_of_an_office(2000, 0.01, call)),
)

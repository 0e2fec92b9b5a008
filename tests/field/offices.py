"""Honest users at places of their own: offices, homes and trunks, and what is broken in them.

Each kind is a function that puts one of it into the field. It is told which one of its kind it is, from 0.
"""

from phones import Life, Phone, typo

RETRIES = (20, 30, 60, 120)


def office(field, kind, least, most, paces, *, keys=(0,), first=None, address=None, **phone):
    """An office: phones behind one address, some with busy-lamp keys. Returns them; they can still be changed."""
    address = address or field.address(kind)
    every = field.random.choice(paces)
    phones = []
    for _ in range(field.random.randrange(least, most)):
        phones.append(Phone(field.account(kind), address, every, port=field.random.randrange(1024, 65000), **phone))
        if field.random.random() < 0.3:
            phones[-1].keys = field.random.choice(keys)
    field.later(lambda: live(field, phones, every if first is None else 10, first))
    return phones


def live(field, phones, spread, first=None):
    """Lets phones be there, from about the same time on."""
    for phone in phones:
        start = (field.start if first is None else first) + field.random.uniform(0, spread)
        Life(field.pbx, phone, start, field.end).live()


def any_office(field, kind, _):
    transport = field.random.choice(("UDP", "UDP", "TCP", "TLS"))
    office(field, kind, 3, 40, (60, 120, 300, 600, 3600), keys=(0, 8, 20), transport=transport)


def big_office(field, kind, _):
    office(field, kind, 90, 160, (60, 120, 300), keys=(8,))


def very_big_office(field, kind, _):
    office(field, kind, 250, 400, (60,))


def power_cut(field, kind, _):
    power = field.moment(0.1, 0.98)
    for phone in office(field, kind, 60, 150, (300,), keys=(20,)):
        phone.boots.append(power + field.random.uniform(0, 20))


def new_office(field, kind, _):
    office(field, kind, 20, 60, (120,), keys=(8,), first=field.fair_moment(0.02, 0.85))


def old_password(field, kind, number):
    phone = office(field, kind, 4, 30, (120,), retry=RETRIES[number % 4])[0]
    phone.wrong_from = field.moment(0.1, 0.5)


def deleted_extension(field, kind, number):
    phone = office(field, kind, 4, 30, (120,), retry=RETRIES[number % 4])[0]
    phone.deleted_from = field.moment(0.1, 0.5)


def hammers_a_little(field, kind, _):
    """A phone of an old password that tries every three seconds."""
    phone = office(field, kind, 4, 30, (120,))[0]
    phone.wrong_from, phone.retry = field.moment(0.1, 0.5), 3


def passwords_changed(field, kind, _):
    """All passwords of an office are changed at once; it takes the administrator an hour to go round."""
    changed = field.moment(0.1, 0.3)
    for phone in office(field, kind, 10, 30, (120,)):
        refused = Phone(phone.account, phone.address, retry=60, wrong_from=0)
        Life(field.pbx, refused, changed, changed + field.random.uniform(60, 3600)).live()


def set_up_wrongly(field, kind, number):
    """A phone boots with the others whose account never was, or never had this password."""
    first = field.start + 700
    address = office(field, kind, 4, 30, (120,), first=first)[0].address
    phone = Phone(f"1{number}l0", address)
    if number % 2:
        phone.wrong_from = 0
    else:
        phone.deleted_from = 0
    live(field, [phone], 1, first + 16)


def home(field, kind, _):
    """One or two phones, now and then a typo, or two."""
    phones = office(field, kind, 1, 3, (60, 300, 3600))
    if field.random.random() < 0.4:
        field.later(lambda: typo(field.pbx, phones[0], field.moment(0.02, 0.98), field.random.randrange(1, 3)))


def new_home(field, kind, _):
    """The first that is ever heard of it is a typo or two."""
    first = field.fair_moment(0.02, 0.95)
    phones = office(field, kind, 1, 2, (60, 300), first=first + 90)
    typo(field.pbx, phones[0], first, field.random.randrange(1, 3), gap=25)


def boot_loop(field, kind, _):
    phone = office(field, kind, 1, 2, (300,))[0]
    phone.boots += [field.weather.way_out[0] - 400 + number * 45 for number in range(40)]


def keys_in_the_outage(field, kind, _):
    """A phone with twenty busy-lamp keys boots while nothing that the PBX sends arrives."""
    phone = office(field, kind, 1, 4, (120,))[0]
    start, end = field.weather.way_out
    phone.keys = 20
    phone.boots.append(field.random.uniform(start, end - 35))


def keys_refused(field, kind, number):
    """A phone with twenty busy-lamp keys renews its subscriptions while the PBX refuses it and others."""
    phone = office(field, kind, 3, 20, (120,))[0]
    start, end = (field.weather.database, field.weather.reload)[number % 2]
    while number % 2 and not field.weather.lost_password(phone.account, start):
        phone.account = field.account(kind)
    phone.keys = 20
    field.later(lambda: Life(field.pbx, phone, start, end).subscribe(field.random.uniform(start + 30, end - 10)))


def arrives_in_the_outage(field, kind, _):
    """A new phone, there for the first time while nothing that the PBX sends arrives."""
    start, end = field.weather.way_out
    office(field, kind, 1, 2, (120,), first=field.random.uniform(start + 20, end - 10))


def arrives_without_database(field, kind, _):
    """A new phone, there for the first time while every account is unknown."""
    start, end = field.weather.database
    office(field, kind, 1, 2, (120,), first=field.random.uniform(start + 60, end - 10))


def trunk(field, kind, number):
    """A trunk that authenticates its calls, fifty a second in its busiest minutes, just when the weather turns bad."""
    phone = Phone(f"trunk{number}", field.address(kind), 120, calls=100, cached=0)
    live(field, [phone], 60)
    weather = field.weather
    busy = (weather.way_out, weather.overload, weather.database)[number % 3][0] - 30
    life = Life(field.pbx, phone, busy, field.end)
    for call in range(50 * 120):
        life.request(busy + call / 50, dialled=str(number))


def ipv6_office(field, kind, _):
    """Phones that change their addresses within their /64 every hour, one of them of an old password."""
    net = field.network6()
    phones = office(field, kind, 4, 12, (120,), address=field.address(kind, address=f"{net}::/64"))
    phones[0].wrong_from = field.moment(0.1, 0.5)
    for phone in phones:
        for hour in range(int(field.hours) + 1):
            private = f"{net}:{field.random.randrange(1, 1 << 16):x}:1:2:{field.random.randrange(1, 1 << 16):x}"
            phone.moves.append((field.start + hour * 3600, private))


def chan_sip_office(field, kind, _):
    """One phone of an old password, another of a deleted extension; a third dials wrong numbers."""
    phones = office(field, kind, 5, 30, (120, 300), service="SIP", calls=20)
    phones[0].wrong_from = field.moment(0.1, 0.5)
    phones[1].deleted_from = field.moment(0.1, 0.5)
    account, peer = phones[2].account, phones[2].peer(0)
    for _ in range(20):
        at = field.fair_moment(0.05, 0.95)
        field.pbx.login(at, peer, account, dialled="6999")
        session, what = field.pbx.session(peer), "ACLName: no_extension_match\r\n"
        field.stream.put(at + 0.2, "FailedACL", peer, "6999", session, what)


def too_many_contacts(field, kind, number):
    """A phone that was rebooted, and whose last contact is still there; or that registers an AOR that is not."""
    phones = office(field, kind, 2, 10, (120,))
    account, peer = phones[0].account, phones[0].peer(0)
    at = field.moment(0.1, 0.5)
    for _ in range(60):
        at += 30
        if field.weather.is_bad(at):
            continue
        session = field.pbx.session(peer)
        field.stream.put(at, "ChallengeSent", peer, account, session)
        field.stream.put(at + 0.05, "SuccessfulAuth", peer, account, session)
        if number % 2:
            what = "RequestType: registrar_requested_aor_not_found\r\n"
            field.stream.put(at + 0.06, "RequestNotSupported", peer, account, session, what)
        else:
            what = "ACLName: registrar_attempt_exceeds_maximum_configured_contacts\r\n"
            field.stream.put(at + 0.06, "FailedACL", peer, account, session, what)


def other_realm(field, kind, _):
    """Phones that come from another PBX, whose realm they still have in their first request."""
    first = field.fair_moment(0.05, 0.9)
    for phone in office(field, kind, 1, 3, (300,), first=first + 0.1):
        peer = phone.peer(first)
        field.pbx.fail(first, peer, phone.account, field.pbx.session(peer))


KINDS = (
    ("office", 20, any_office),
    ("big office", 3, big_office),
    ("very big office", 2, very_big_office),
    ("office, power cut", 3, power_cut),
    ("new office, first boot", 3, new_office),
    ("office, a phone of an old password", 8, old_password),
    ("office, a phone of a deleted extension", 8, deleted_extension),
    ("office, a phone that hammers a little", 3, hammers_a_little),
    ("office, a phone set up wrongly", 4, set_up_wrongly),
    ("office, all passwords changed", 2, passwords_changed),
    ("home, now and then a typo", 30, home),
    ("new home, first a typo or two", 6, new_home),
    ("boot loop", 5, boot_loop),
    ("phone with keys boots in the outage", 3, keys_in_the_outage),
    ("phone with keys in bad weather", 4, keys_refused),
    ("new phone in the outage", 2, arrives_in_the_outage),
    ("new phone while the database is away", 2, arrives_without_database),
    ("trunk, 50 calls a second", 3, trunk),
    ("IPv6 office, privacy addresses", 3, ipv6_office),
    ("chan_sip office", 4, chan_sip_office),
    ("phone with too many contacts", 4, too_many_contacts),
    ("phone with another PBX's realm", 3, other_realm),
)

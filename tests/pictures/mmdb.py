"""Small databases of MaxMind's format ("MaxMind DB File Format Specification", version 2.0) of made-up places."""

from ipaddress import ip_network

#: Where the addresses of log.py are, and who runs their networks.
COUNTRIES = {
    "203.0.113.0/27": "RU", "203.0.113.32/27": "CN", "198.51.100.0/26": "NL", "198.51.100.64/26": "US",
    "198.51.100.128/25": "BR", "192.0.2.0/26": "FR", "192.0.2.64/27": "VN", "2001:db8::/33": "DE",
}
OPERATORS = {
    "203.0.113.0/24": (64496, "Example Hosting"), "198.51.100.0/25": (64497, "Wide Example Networks of Everywhere Ltd"),
    "198.51.100.128/25": (64498, "Exemplo Telecom"), "192.0.2.0/24": (65551, "Example & Sons <Cloud>"),
}


def countries():
    """The bytes of a file of countries."""
    return database("GeoLite2-Country", {net: {"country": {"iso_code": code}} for net, code in COUNTRIES.items()})


def operators():
    """The bytes of a file of operators."""
    return database("GeoLite2-ASN", {
        net: {"autonomous_system_number": u32(number), "autonomous_system_organization": name}
        for net, (number, name) in OPERATORS.items()
    })


def database(kind, networks):
    """A file; no network may hold another."""
    # What a node leads to: the number of another, None, or the place of a value.
    nodes, data = [[None, None]], b""
    for net, value in networks.items():
        bits = leading_bits(ip_network(net))
        node = nodes[0]
        for bit in bits[:-1]:
            if node[bit] is None:
                node[bit] = len(nodes)
                nodes.append([None, None])
            node = nodes[node[bit]]
        node[bits[-1]] = ("value", len(data))
        data += encode(value)

    def record(leads):
        if leads is None:
            leads = len(nodes)
        elif isinstance(leads, tuple):
            leads = len(nodes) + 16 + leads[1]
        return leads.to_bytes(3, "big")

    metadata = {
        "binary_format_major_version": u16(2), "binary_format_minor_version": u16(0), "build_epoch": u64(1_764_000_000),
        "database_type": kind, "description": {}, "ip_version": u16(6), "languages": [], "node_count": u32(len(nodes)),
        "record_size": u16(24),
    }
    tree = b"".join(record(leads) for node in nodes for leads in node)
    return tree + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + encode(metadata)


def leading_bits(net):
    """Those of IPv4 are in ::/96."""
    bits = bin(int(net.network_address))[2:].zfill(net.max_prefixlen)[:net.prefixlen]
    return [int(bit) for bit in ("0" * (128 - net.max_prefixlen)) + bits]


def u16(number):
    """A number of this size, as bytes."""
    return head(5, 2) + number.to_bytes(2, "big")


def u32(number):
    """Likewise."""
    return head(6, 4) + number.to_bytes(4, "big")


def u64(number):
    """Likewise."""
    return head(9, 8) + number.to_bytes(8, "big")


def encode(value):
    """The bytes of a value; those of a number are known."""
    if isinstance(value, str):
        return head(2, len(value.encode())) + value.encode()
    if isinstance(value, dict):
        return head(7, len(value)) + b"".join(encode(key) + encode(each) for key, each in value.items())
    if isinstance(value, list):
        return head(11, len(value)) + b"".join(map(encode, value))
    return value


def head(kind, size):
    """Type and size; types above 7 and sizes above 28 need a byte more."""
    short = min(size, 29)
    first = bytes([kind << 5 | short]) if kind < 8 else bytes([short, kind - 7])
    return first + (bytes([size - 29]) if short == 29 else b"")

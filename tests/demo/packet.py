#!/usr/bin/env python3
"""Sends and receives the SIP packets of the demo.

    packet.py listen FILE            writes a line `SOURCE TEXT` for each packet that reaches UDP port 5060
    packet.py send SOURCE TO TEXT    sends one packet from the address SOURCE
"""

import socket
import sys

SIP = 5060


def listen(file):
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as both_families, open(file, "w") as log:
        both_families.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        both_families.bind(("::", SIP))
        print("listening", file=log, flush=True)
        while True:
            data, (source, *_) = both_families.recvfrom(4096)
            text = data.decode().splitlines()[-1]
            print(source.removeprefix("::ffff:"), text, file=log, flush=True)


def send(source, to, text):
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.bind((source, 0))
        udp.sendto(f"OPTIONS sip:demo SIP/2.0\r\n\r\n{text}".encode(), (to, SIP))


if __name__ == "__main__":
    {"listen": listen, "send": send}[sys.argv[1]](*sys.argv[2:])

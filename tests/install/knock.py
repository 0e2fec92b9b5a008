#!/usr/bin/env python3
"""Sends packets to a SIP port from several addresses in turn, a thousand a second, until its standard input ends:
knock.py TARGET SOURCE..."""

import select
import socket
import sys

target, *sources = sys.argv[1:]
sockets = []
for source in sources:
    sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sockets[-1].bind((source, 0))
while not select.select([sys.stdin], [], [], 0.001)[0]:
    for knocking in sockets:
        knocking.sendto(b"knock", (target, 5060))

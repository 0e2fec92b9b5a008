#!/usr/bin/env python3
"""An Asterisk that plays recorded AMI streams to one client, at their own pace or faster.

Answers the client's Login, Pings and other actions itself, prints `playing NAME` before each stream and `played` after the
last, and then stays connected until the client goes or it is ended.
"""

import argparse
import re
import socket
import threading
from datetime import datetime
from pathlib import Path

LOGIN_ANSWER = b"Response: Success\r\nActionID: login-1\r\nMessage: Authentication accepted\r\n\r\n"
GOODBYE = b"Response: Goodbye\r\nMessage: Thanks for all the fish.\r\n\r\n"
EVENT_TIME = re.compile(rb"^EventTV: (\S+)\r$", re.MULTILINE)
# Asterisk was idle for longer than that at times; nobody wants to watch it.
LONGEST_PAUSE = 2.0


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, default=5038)
    options.add_argument("--secret", required=True)
    options.add_argument("--speed", type=float, default=1.0, help="how many times faster than recorded")
    options.add_argument("streams", nargs="+", type=Path)
    options = options.parse_args()

    with socket.create_server(("127.0.0.1", options.port)) as server:
        say(f"listening on 127.0.0.1:{options.port}")
        connection, _ = server.accept()
    client = Client(connection)
    client.send(options.streams[0].read_bytes().partition(b"\r\n")[0] + b"\r\n")
    if not client.log_in(options.secret):
        raise SystemExit("the client did not log in")
    reader = threading.Thread(target=client.answer_actions, name="actions")
    reader.start()
    for stream in options.streams:
        say(f"playing {stream.stem}")
        play(client, stream.read_bytes(), options.speed)
    say("played")
    reader.join()


def play(client, stream, speed):
    """Sends the events of a recorded stream, each group as long after the one before it as then."""
    _greeting, _, events = stream.partition(b"\r\n")
    events = events.removeprefix(LOGIN_ANSWER).removesuffix(GOODBYE)
    before = None
    for group in writes(events):
        now = datetime.strptime(EVENT_TIME.search(group)[1].decode(), "%Y-%m-%dT%H:%M:%S.%f%z")
        if before:
            pause = min((now - before).total_seconds(), LONGEST_PAUSE)
            client.gone.wait(max(pause, 0.0) / speed)
        before = now
        client.send(group)


def writes(events):
    """Cuts a stream where Asterisk began to write an event. An attacker may have put blank lines into one: what
    follows those has no time of its own and belongs to the same write."""
    group = b""
    for frame in events.split(b"\r\n\r\n")[:-1]:
        frame += b"\r\n\r\n"
        if group and EVENT_TIME.search(frame):
            yield group
            group = b""
        group += frame
    yield group


class Client:
    """The connection to the one client."""

    def __init__(self, connection):
        self.connection = connection
        self.actions = connection.makefile("rb")
        self.lock = threading.Lock()
        self.gone = threading.Event()

    def send(self, data):
        with self.lock:
            self.connection.sendall(data)

    def answer(self, action, first, *rest):
        same_id = [f"ActionID: {action['actionid']}"] if "actionid" in action else []
        self.send("".join(f"{line}\r\n" for line in [first, *same_id, *rest, ""]).encode())

    def log_in(self, secret):
        action = self.next_action()
        if action.get("action", "").lower() != "login" or action.get("secret") != secret:
            self.answer(action, "Response: Error", "Message: Authentication failed")
            return False
        self.answer(action, "Response: Success", "Message: Authentication accepted")
        return True

    def answer_actions(self):
        while action := self.next_action():
            match action.get("action", "").lower():
                case "ping":
                    stamp = datetime.now().timestamp()
                    self.answer(action, "Response: Success", "Ping: Pong", f"Timestamp: {stamp:.6f}")
                case "events":
                    self.answer(action, "Response: Success", "Events: On")
                case "logoff":
                    self.answer(action, "Response: Goodbye", "Message: Thanks for all the fish.")
                    break
                case _:
                    self.answer(action, "Response: Error", "Message: Permission denied")
        self.gone.set()

    def next_action(self):
        """The next action's headers, keys in lower case; empty when the client has gone."""
        action = {}
        for line in self.actions:
            key, _, value = line.decode().rstrip("\r\n").partition(":")
            if not key:
                return action
            action[key.lower()] = value.strip()
        return {}


def say(text):
    print(text, flush=True)


if __name__ == "__main__":
    main()

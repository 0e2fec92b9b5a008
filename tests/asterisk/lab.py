"""One version of Asterisk, the daemon beside it, and the network between them and everybody else.

All of it is inside the process, mount and network namespaces of the process that makes it (see run.py): whatever
becomes of that process, the kernel removes the lot.
"""

import itertools
import re
import signal
import subprocess
import time
from ipaddress import ip_address, ip_network
from pathlib import Path

HERE = Path(__file__).parent

#: Where storms come from, beside everybody else.
REGION = "198.19.0.0/16"

#: Seconds in which anything expected happens, on a machine that is busy with something else too.
SOON = 30


class Failed(Exception):
    """Something did not come out as it must."""


def wait_for(what, condition, within=SOON):
    """Asks until the condition holds, and returns what it says."""
    deadline = time.monotonic() + within
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise Failed(f"not within {within} s: {what}")
        time.sleep(0.02)
    return result


def run(*argv):
    """Runs a program that must succeed; returns what it printed."""
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"{' '.join(map(str, argv))}: {done.stderr or done.stdout}")
    return done.stdout


class Host(dict):
    """Its addresses, by family."""

    def __init__(self, mac, ipv4, ipv6):
        super().__init__({4: ipv4, 6: ipv6})
        self.mac = mac


PBX = Host("02:00:00:00:00:01", "198.18.0.1", "2001:db8:18::1")
ROUTER = Host("02:00:00:00:00:02", "198.18.0.2", "2001:db8:18::2")
WORLD = {4: "198.18.1.0/24", 6: "2001:db8:18:100::/56"}


class Lab:
    """The PBX in its network namespace, with Asterisk and the daemon; everybody else is in ours."""

    def __init__(self, asterisk, sipban):
        self.numbers = itertools.count(1)
        self.asterisk = Asterisk(asterisk)
        self.daemon = Daemon(sipban, self.asterisk.folder / "sipban")

    def start(self):
        """Lays the cables and starts both."""
        # Names of network namespaces and the locks of iptables: ours alone.
        run("mount", "-t", "tmpfs", "tmpfs", "/run")
        run("ip", "netns", "add", "pbx")
        run("ip", "link", "add", "outside", "address", ROUTER.mac, "type", "veth",
            "peer", "name", "inside", "address", PBX.mac, "netns", "pbx")
        for way, link, own, other in ((run, "outside", ROUTER, PBX), (in_pbx, "inside", PBX, ROUTER)):
            way("ip", "link", "set", "lo", "up")
            way("ip", "link", "set", link, "up")
            for family in (4, 6):
                bits, flags = (30, []) if family == 4 else (64, ["nodad"])
                way("ip", "address", "add", f"{own[family]}/{bits}", "dev", link, *flags)
                # They know each other: nothing is late or lost because somebody asks around first.
                way("ip", "neigh", "add", other[family], "lladdr", other.mac, "dev", link)
        # Every address there is on our side of the cable is ours, without being set up one by one.
        Path("/proc/sys/net/ipv6/ip_nonlocal_bind").write_text("1")
        for family, world in [*WORLD.items(), (4, REGION)]:
            run("ip", "route", "add", "local", world, "dev", "lo")
            in_pbx("ip", "route", "add", world, "via", ROUTER[family])
        self.asterisk.install()
        self.asterisk.start()
        self.daemon.install()
        self.daemon.start()

    def stop(self):
        """Ends both."""
        self.daemon.end(signal.SIGTERM)
        self.asterisk.end(signal.SIGKILL)

    def newcomer(self, door):
        """An address that nobody had before; of IPv6, each in a network of its own. Its packets are counted.

        One rule of ours stands before all others, one behind the daemon's and one on the way out; none decides
        anything.
        """
        number = next(self.numbers)
        address = f"198.18.1.{number}" if door.family == 4 else f"2001:db8:18:1{number:02x}::1"
        iptables = "iptables" if door.family == 4 else "ip6tables"
        there = ["-s", address, "-p", door.protocol, "--dport", door.port]
        back = ["-d", address, "-p", door.protocol, "--sport", door.port]
        in_pbx(iptables, "-w", "-t", "raw", "-A", "PREROUTING", *there)
        in_pbx(iptables, "-w", "-A", "INPUT", *there)
        in_pbx(iptables, "-w", "-A", "OUTPUT", *back)
        return address

    def packets(self, address):
        """How many packets of this address came to the machine, how many got to Asterisk, how many went back."""
        save, bits = ("ip6tables-save", 128) if ":" in address else ("iptables-save", 32)
        counts = {}
        for line in in_pbx(save, "-c").splitlines():
            found = re.match(r"\[(\d+):\d+\] -A (PREROUTING|INPUT|OUTPUT) -[sd] (\S+) ", line)
            if found and found[3] == f"{address}/{bits}":
                counts[found[2]] = int(found[1])
        return counts["PREROUTING"], counts["INPUT"], counts["OUTPUT"]

    @staticmethod
    def in_force():
        """Addresses and networks in the daemon's chains."""
        rules = in_pbx("iptables", "-S", "sipban-udp") + in_pbx("ip6tables", "-S", "sipban-udp")
        return [ip_network(source) for source in re.findall(r"-A sipban-udp -s (\S+) ", rules)]


def in_pbx(*argv):
    """Runs a program on the PBX."""
    return run("ip", "netns", "exec", "pbx", *argv)


class Process:
    """A program on the PBX that runs until it is told to end."""

    def __init__(self, argv, output):
        self.argv = ["ip", "netns", "exec", "pbx", *map(str, argv)]
        self.output = output
        self.process = None

    def spawn(self):
        """Starts it."""
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def signal(self, number):
        """Sends it a signal."""
        self.process.send_signal(number)

    def end(self, number):
        """Sends it a signal that ends it, and waits until it has."""
        if self.process:
            self.signal(number)
            self.process.wait(SOON)


class Asterisk(Process):
    """Asterisk in its folder, with the configuration that is beside this file."""

    def __init__(self, root):
        self.folder = root / "mnt"
        self.command = ["chroot", root, "/usr/sbin/asterisk", "-C", "/mnt/asterisk.conf"]
        super().__init__([*self.command, "-f"], self.folder / "output")

    def install(self):
        """Its configuration, and a certificate for TLS."""
        run("mount", "-t", "tmpfs", "tmpfs", self.folder)
        run("cp", "-r", f"{HERE}/etc/.", self.folder)
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
            "2", "-subj", "/CN=pbx", "-keyout", self.folder / "key.pem", "-out", self.folder / "cert.pem")
        pem = [(self.folder / name).read_text() for name in ("key.pem", "cert.pem")]
        (self.folder / "tls.pem").write_text("".join(pem))

    def start(self):
        """Starts it and waits until it is at work."""
        self.spawn()
        self.wait_until_booted()

    def cli(self, command):
        """Does a command of its console; `None` if there is nobody to do it."""
        argv = ["ip", "netns", "exec", "pbx", *self.command, "-rx", command]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=SOON)
        return done.stdout if done.returncode == 0 else None

    def wait_until_booted(self):
        """Before that, it takes no calls."""
        wait_for("Asterisk is up", lambda: "fully booted" in (self.cli("core waitfullybooted") or ""))

    def last_words(self):
        """The end of its log, without the host names that it cannot look up here."""
        lines = self.output.read_text(errors="backslashreplace").splitlines()
        return [line for line in lines if "netsock2.c" not in line and "acl.c" not in line][-40:]

    def configure(self, file, old, new):
        """Changes a line of its configuration."""
        path = self.folder / file
        text = path.read_text()
        if f"\n{old}\n" not in text:
            raise Failed(f"{path} has no line {old!r}")
        path.write_text(text.replace(f"\n{old}\n", f"\n{new}\n"))


CONFIG = """
[ami]
user = sipban
pass = getout
ping = 2

[iptables]
white_list = {folder}/wl
dump = {folder}/dump
verify = 2

[state]
file = {folder}/bans
on_stop = keep

[log]
file = {folder}/log
"""


class Daemon(Process):
    """SIPban."""

    def __init__(self, program, folder):
        self.folder, self.log = folder, folder / "log"
        super().__init__([program, "-c", folder / "conf"], folder / "output")

    def install(self):
        """Its configuration, and an empty white list."""
        self.folder.mkdir()
        config = self.folder / "conf"
        config.touch(0o600)
        config.write_text(CONFIG.format(folder=self.folder))
        (self.folder / "wl").touch()

    def restart(self, sections):
        """With these sections beside its configuration."""
        self.end(signal.SIGTERM)
        config = self.folder / "conf"
        config.write_text(CONFIG.format(folder=self.folder) + sections)
        self.start()

    def start(self):
        """Starts it and waits until it hears Asterisk."""
        told = self.told()
        self.spawn()
        self.expect("AMI => connected", since=told)

    def catch_up(self):
        """Returns when it has judged all that Asterisk has told: the answer to a Ping comes behind it."""
        in_pbx(*self.argv[4:], "ctl", "ping")

    def lines(self, since=0):
        """Its log, from that line on, without the times."""
        if not self.log.exists():
            return []
        lines = self.log.read_text(errors="backslashreplace").splitlines()
        return [line.partition("] ")[2] for line in lines[since:]]

    def told(self):
        """How many lines it has logged."""
        return len(self.lines())

    def expect(self, start, since=0, within=SOON):
        """Waits for a line that begins so."""
        def logged():
            return next((line for line in self.lines(since) if line.startswith(start)), None)

        def dead():
            if self.process.poll() is not None:
                raise Failed(f"the daemon has ended: {self.output.read_text()}")

        return wait_for(f"the log says {start!r}", lambda: dead() or logged(), within)

    def blocked(self):
        """What it says it blocked, addresses and networks, each with the reason."""
        found = (re.match(r"BLOCK => (\S+) \((.+)\)", line) for line in self.lines())
        return {ip_network(match[1]): match[2] for match in found if match}

    def reason(self, address):
        """Why it says it blocked this address; `None` if it did not."""
        address = ip_address(address)
        return next((why for network, why in self.blocked().items() if address in network), None)

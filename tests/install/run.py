#!/usr/bin/env python3
"""Installs SIPban on test machines, old and new, and lives with it there: run.py BINARY ARCHIVE

BINARY is the static program, ARCHIVE what `make dist` made of it. Needs root and debootstrap; unpacks the
distributions into target/test-install once, and leaves nothing else. Ends with 0 if all was as it should be, and also,
saying so, where the distributions cannot be had, unless the environment has CI set.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from machine import SOURCES, Distribution, Machine, Unavailable, wait_for, workshop

BULLSEYE = Distribution("bullseye", "sysvinit", ["sysvinit-core", "sysv-rc", "initscripts", "insserv", "lsb-base"])
BOOKWORM = Distribution("bookworm", "systemd", ["systemd-sysv", "dbus", "sysvinit-utils"])

ATTACKER = "198.18.0.12"
STREAM = SOURCES / "tests/captures/ast22/svcrack.ami"

# The configuration of the Perl program's first version, and of its later one with a kernel set.
CHAIN = """\
[ami]
port = "5038"
user = "sipban"
pass = "getout"
host = "127.0.0.1"
ping = 600
[control]
port = "4451"
[timer]
ban = 86400
[iptables]
path  = "/sbin/"
chain = "sipban-udp"
rule  = "DROP"
white_list = "/etc/sipban.wl"
dump = "/etc/sipban.dump"
[log]
file = "/var/log/sipban.log"
"""
SET = """\
[ami]
user = "sipban"
pass = "getout"
[control]
port = "4451"
address = "127.0.0.1"
[iptables]
path = "/sbin/"
chain = "sipban"
scope = ""
rule = "DROP"
white_list = "/etc/sipban.wl"
interface = "pbx"
[ipset]
path = "/sbin/"
set_name = "sipban"
dump = "/etc/sipban.dump"
timeout = 604800
[log]
file = "/var/log/sipban.log"
[flood]
count=5
interval=10
"""
PHONE = "198.18.0.100"
VICTIMS = ["203.0.113.1", "203.0.113.2", "203.0.113.3"]
# Prints how many of the victims the kernel blocks now.
COUNT = {
    CHAIN: "iptables -S sipban-udp | grep -c '^-A sipban-udp -s 203.0.113.*DROP'",
    SET: "ipset list sipban | grep -c '^203.0.113.'",
}

# Finds the Perl program, and not the shell that looks for it.
PERL = "pgrep -f 'perl /usr/local/bin/sipban[.]pl'"
PERL_UNIT = """\
[Unit]
Description=SIP Ban Service
After=network.target
[Service]
Type=service
ExecStart=/usr/local/bin/sipban.pl
Restart=always
RestartSec=3
StandardOutput=null
[Install]
WantedBy=multi-user.target
"""
PERL_INIT = """\
#!/bin/sh
# chkconfig: 35 99 99
### BEGIN INIT INFO
# Provides: sipban
# Required-Start: $network
# Required-Stop: $network
# Default-Start: 2 3 4 5
# Default-Stop: 0 1 6
### END INIT INFO
case $1 in
    start) /usr/local/bin/sipban.pl -d >>/var/log/sipban_daemon.log 2>&1 ;;
    stop) pkill -f 'perl /usr/local/bin/sipban.pl' ;;
esac
"""
STRANGER = """\
#!/bin/sh
### BEGIN INIT INFO
# Provides: {0}
# Required-Start: $network
# Required-Stop: $network
# Default-Start: 2 3 4 5
# Default-Stop: 0 1 6
### END INIT INFO
"""
FUNCTIONS = """\
success() { echo -n '[  OK  ]'; }
failure() { echo -n '[FAILED]'; return 1; }
status() { echo 'not what sipban is to call'; exit 99; }
"""


def main():
    if len(sys.argv) != 3:
        sys.exit("Usage: run.py BINARY ARCHIVE")
    binary, archive = (Path(argument).resolve() for argument in sys.argv[1:])
    if os.geteuid() != 0:
        sys.exit("run.py: machines can be booted by root only")
    # So that everything is cleaned up then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with workshop(SOURCES / "target/test-install") as folder:
            make_install_does_as_the_archive_does(BULLSEYE, folder, binary, archive)
            a_machine_with_init_scripts(folder, archive)
            an_old_red_hat_is_served(folder, archive)
            a_machine_with_systemd(folder, archive)
            for distribution in [BULLSEYE, BOOKWORM]:
                for configuration in [CHAIN, SET]:
                    the_perl_program_is_replaced(distribution, configuration, folder, archive)
    except Unavailable as why:
        print(f"\n*** test-install: SKIPPED, nothing more was tested: {why}", flush=True)
        sys.exit(1 if "CI" in os.environ else 0)
    except AssertionError as why:
        sys.exit(f"  FALSE: {why}")
    print("test-install: all true")


def make_install_does_as_the_archive_does(distribution, folder, binary, archive):
    """`make install` by root, who has no cargo, and install.sh of the archive put the same files into DESTDIR."""
    section(f"make install and the archive, {distribution.suite}")
    with Machine(distribution, folder) as machine:
        unpack(machine, archive)
        machine.does("/root/sipban/install.sh DESTDIR=/shared/archive prefix=/usr sysconfdir=/etc/pbx")
        destination = machine.shared / "made"
        places = [f"DESTDIR={destination}", "prefix=/usr", "sysconfdir=/etc/pbx", f"binary={binary}", "CARGO=/no/cargo"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        subprocess.run(["make", "-s", "-C", SOURCES, "install", *places], env=environment, check=True,
                       stdout=subprocess.DEVNULL)
        compared = subprocess.run(["diff", "-r", destination, machine.shared / "archive"], capture_output=True,
                                  text=True, check=False)
        true("both put the same files there", compared.stdout + compared.stderr == "", compared.stdout)
        documents = destination / "usr/share/doc/sipban"
        samples = {"hooks": {"abuseipdb", "mail", "webhook"}, "metrics": {"alerts.yml", "dashboard.json"}}
        there = {name: {file.name for file in (documents / name).iterdir()} for name in samples}
        true("samples of hooks, the alerts and the dashboard are among them", there == samples, str(there))


def a_machine_with_init_scripts(folder, archive):
    section("Debian bullseye with sysvinit")
    with Machine(BULLSEYE, folder) as machine:
        install(machine, archive)
        service = "/etc/init.d/sipban"
        every_action_answers_as_the_lsb_says(machine, service)
        it_blocks(machine, f"{service} start")

        # Ordering: the one that loads firewall rules before us, we before nobody who needs us.
        for name in ["netfilter-persistent", "asterisk"]:
            machine.write(f"/etc/init.d/{name}", STRANGER.format(name), 0o755)
            machine.does(f"update-rc.d {name} defaults")
        said = machine.does("update-rc.d sipban defaults")
        true("update-rc.d takes the script without a warning", "warn" not in said and "error" not in said, said)
        said = machine.does("insserv -n sipban 2>&1")
        true("insserv finds no fault with its header", not re.search("warn|loop|error|missing", said), said)
        links = machine.does("ls /etc/rc2.d /etc/rc0.d")
        start = {name: int(number) for number, name in re.findall(r"^S(\d\d)(\S+)$", links, re.MULTILINE)}
        later = start["sipban"] > start["netfilter-persistent"] and start["sipban"] > start["asterisk"]
        true("it starts after what loads the firewall's rules, and after Asterisk", later, links)
        true("it stops before a shutdown", re.search(r"^K\d\dsipban$", links, re.MULTILINE), links)

        machine.shut_down()
        log = (machine.files / "var/log/sipban.log").read_text()
        true("it was told to stop at the shutdown", log.rstrip().endswith("SipBan Stop"), log[-500:])
        machine.switch_on()
        machine.does(f"{service} status")
        true("it starts at boot, and the blocks are in force again", blocks(machine, ATTACKER), machine.story())

        pid = machine.does("cat /run/sipban.pid")
        reinstall_keeps_everything(machine)
        true("it went on guarding meanwhile", machine.does("cat /run/sipban.pid") == pid)
        uninstall_keeps_configuration(machine)
        left = machine.does("ls /etc/rc?.d | grep sipban || true")
        true("no link of the boot is left", left == "", left)

    section("the same with iptables-legacy")
    with Machine(BULLSEYE, folder) as machine:
        for tool in ["iptables", "ip6tables"]:
            machine.does(f"update-alternatives --set {tool} /usr/sbin/{tool}-legacy")
        install(machine, archive)
        it_blocks(machine, "/etc/init.d/sipban start")
        machine.does("iptables-legacy -S sipban-udp")


def an_old_red_hat_is_served(folder, archive):
    """There is none to be had: what its init script meets there is put beside it."""
    section("the script where /etc/rc.d/init.d/functions is, and where no functions are")
    with Machine(BULLSEYE, folder) as machine:
        machine.does("rm -r /lib/lsb && mkdir -p /etc/rc.d /var/lock/subsys && ln -s ../init.d /etc/rc.d/init.d")
        machine.write("/usr/local/bin/chkconfig", '#!/bin/sh\necho "$@" >>/shared/chkconfig\n', 0o755)
        said = install(machine, archive)
        next_step = "chkconfig --level 345 sipban on && service sipban start"
        true("the next step is told in words of that machine", next_step in said, said)
        every_action_answers_as_the_lsb_says(machine, "/etc/init.d/sipban")
        machine.write("/etc/rc.d/init.d/functions", FUNCTIONS)
        every_action_answers_as_the_lsb_says(machine, "/etc/rc.d/init.d/sipban")
        said = machine.does("/etc/init.d/sipban start")
        true("it speaks as the others do there", "[  OK  ]" in said, said)
        machine.does("test -e /var/lock/subsys/sipban")
        uninstall_keeps_configuration(machine)
        calls = (machine.shared / "chkconfig").read_text()
        true("uninstall takes it out of chkconfig", calls == "--del sipban\n", calls)
        machine.expect(1, "test -e /var/lock/subsys/sipban")
        script = (SOURCES / "packaging/sipban.init").read_text()
        header = re.search(r"^# chkconfig: ([0-6]+|-) (\d\d) (\d\d)$", script, re.MULTILINE)
        true("chkconfig's header says levels 3, 4, 5, late start, early stop",
             header and header[1] == "345" and int(header[2]) > 90 > 10 > int(header[3]))
        true("and has a description", re.search(r"^# description: \S.*[^\\]$", script, re.MULTILINE))


def a_machine_with_systemd(folder, archive):
    section("Debian bookworm with systemd")
    with Machine(BOOKWORM, folder) as machine:
        said = install(machine, archive)
        true("the next step is told in words of that machine", "systemctl enable --now sipban" in said, said)
        unit = "/usr/local/lib/systemd/system/sipban.service"
        said = machine.does(f"systemd-analyze verify --man=no {unit} 2>&1")
        true("systemd finds no fault with the unit", "sipban" not in said, said)
        said = machine.does(f"systemd-analyze security --no-pager --offline=true --threshold=20 {unit} | tail -n 1")
        true("its exposure is 2.0 or less", "OK" in said, said)
        machine.does("systemctl daemon-reload && systemctl enable sipban")
        # systemd makes the folder anew, so it is confined from the first start on.
        machine.does("rm -r /var/lib/sipban")
        it_blocks(machine, "systemctl start sipban")
        it_works_confined(machine)

        service = "/etc/init.d/sipban"
        pid = machine.does("systemctl show -P MainPID sipban")
        machine.does(f"{service} status && {service} start && {service} reload")
        true("the init script hands over to systemd", machine.does("systemctl show -P MainPID sipban") == pid)
        machine.does("systemctl kill -s KILL --kill-who=main sipban")
        new = f'systemctl -q is-active sipban && [ "$(systemctl show -P MainPID sipban)" != {pid.strip()} ]'
        machine.becomes("systemd to start it again after a crash", new)
        true("its blocks are in force still", blocks(machine, ATTACKER))
        machine.does("systemctl stop sipban")
        machine.expect(3, "systemctl status sipban")
        machine.expect(3, f"{service} status")
        true("a stop takes the rules away", not blocks(machine, ATTACKER))

        machine.does("cp -p /etc/sipban.conf /root && echo nonsense >>/etc/sipban.conf")
        machine.expect(1, "systemctl start sipban")
        said = machine.does("systemctl show -P ExecMainStatus,NRestarts,Result sipban")
        true("an error in the configuration is not tried again", set(said.split()) == {"78", "0", "exit-code"}, said)
        machine.does("cp -p /root/sipban.conf /etc && systemctl start sipban")

        # A program that reloads the firewall's rules.
        machine.write("/etc/systemd/system/netfilter-persistent.service",
                      "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/sbin/iptables -F\n")
        machine.does("systemctl daemon-reload && systemctl start netfilter-persistent")
        pid = machine.does("systemctl show -P MainPID sipban").strip()
        machine.does("systemctl restart netfilter-persistent")
        machine.becomes("it to be restarted along with what loads rules",
                        f'[ "$(systemctl show -P MainPID sipban)" != {pid} ]')
        machine.becomes("its blocks to be back", f"iptables -S sipban-udp | grep -q {ATTACKER}")

        machine.shut_down()
        machine.switch_on()
        machine.becomes("it to start at boot", "systemctl is-active sipban")
        true("the blocks are in force again", blocks(machine, ATTACKER), machine.story())
        reinstall_keeps_everything(machine)
        machine.does("systemctl daemon-reload && systemctl restart sipban && systemctl is-active sipban")
        uninstall_keeps_configuration(machine)
        said = machine.call("systemctl status sipban")[1]
        true("systemd knows it no more", "could not be found" in said, said)


def it_works_confined(machine):
    """What the unit takes away is gone, and all that SIPban does can be done without."""
    status = machine.does("cat /proc/$(systemctl show -P MainPID sipban)/status")
    true("of root's capabilities it has CAP_NET_ADMIN and CAP_NET_RAW only",
         re.search(r"^CapEff:\s+0000000000003000$", status, re.MULTILINE), status)
    true("it is under a system call filter", re.search(r"^Seccomp:\s+2$", status, re.MULTILINE), status)
    pid = int(machine.does("systemctl show -P MainPID sipban"))
    view = f"nsenter -t {pid} --mount sh -c"
    for path in ["/etc/passwd", "/etc/init.d/sipban", "/usr/local/sbin/sipban", "/etc/cron.d/x"]:
        machine.expect(1, f"{view} 'exec 2>&1; echo >>{path}' || exit 1")
    true("it cannot write where root's rights could be had back", True)
    for command in ["wl add 192.0.2.77", "block 192.0.2.78 600", "save", "flush", "restore", "unblock 192.0.2.78",
                    "wl del 192.0.2.77"]:
        machine.does(f"sipban ctl {command}")
    machine.does("rm -f /var/log/sipban.log && systemctl reload sipban")
    machine.becomes("the log to be opened again", "grep -q RELOAD /var/log/sipban.log")
    machine.does("iptables -F sipban-udp")
    machine.becomes("what was flushed to be repaired", f"iptables -S sipban-udp | grep -q {ATTACKER}")
    said = machine.does("cat /var/log/sipban.log; journalctl -u sipban --no-pager")
    true("white list, dump, log and repairs work, and no error was logged", "ERROR" not in said, said)


def the_perl_program_is_replaced(distribution, configuration, folder, archive):
    kind = "chain" if configuration == CHAIN else "set"
    section(f"a machine that runs sipban.pl with a {kind}, {distribution.suite}")
    by_systemd = distribution.init == "systemd"
    with Machine(distribution, folder) as machine:
        machine.write("/etc/sipban.conf", configuration)
        machine.write("/etc/sipban.wl", "127.0.0.1\n10.88.1.11\n")
        machine.does("install -m 755 /src/tests/install/sipban.pl /usr/local/bin")
        if by_systemd:
            service = "/etc/systemd/system/sipban.service"
            machine.write(service, PERL_UNIT)
            machine.does("systemctl daemon-reload && systemctl enable sipban && systemctl start sipban")
        else:
            service = "/etc/init.d/sipban"
            machine.write(service, PERL_INIT, 0o755)
            machine.does(f"update-rc.d sipban defaults && {service} start")
        count = COUNT[configuration]
        machine.becomes("sipban.pl to block three addresses", f"[ $({count}) = 3 ]")
        pid = machine.does(PERL)
        unpack(machine, archive)
        installer = "/root/sipban/install.sh"

        said = machine.does(installer)
        true("without a terminal nothing is stopped, and it says what to do", "--yes" in said, said)
        said = machine.does(f"printf 'n\\n' | script -qec {installer} /dev/null")
        true("at a terminal it asks first", "[y/N]" in said, said)
        machine.does(f"cp {service} /root/service && echo nonsense >>/etc/sipban.conf")
        said = machine.does(f"{installer} --yes")
        true("with a configuration that it cannot use, it stays", "cannot use its configuration" in said, said)
        machine.write("/etc/sipban.conf", configuration)
        same = machine.does(PERL) == pid
        true("sipban.pl has run all the time, its service is its own", same and is_perls(machine, service), said)

        agree = f"printf 'y\\n' | script -qec {installer} /dev/null"
        said, arrived = knocked_at(machine, lambda: machine.does(agree))
        true("SIPban runs in its place", machine.call("sipban ctl uptime")[0] == 0, said)
        listed = machine.does("sipban ctl block")
        true("it has taken over the blocks", all(victim in listed for victim in VICTIMS), listed)
        true("at no moment was anyone of them let in, as others were", arrived == {PHONE}, f"let in: {arrived}")
        machine.expect(1, PERL)
        true("the old service is kept", machine.call("cmp /root/service /var/lib/sipban/sipban.pl.*")[0] == 0,
             machine.call("ls /var/lib/sipban")[1])
        true("configuration and white list are as they were",
             machine.does("cat /etc/sipban.conf /etc/sipban.wl") == configuration + "127.0.0.1\n10.88.1.11\n")
        rules = machine.does("iptables -S INPUT")
        true("the rule of sipban.pl in INPUT gave way to ours", "-j sipban" in rules
             and "--dport 5060 -j" not in rules and "--match-set" not in rules, rules)
        machine.shut_down()
        machine.switch_on()
        machine.becomes("SIPban to start at boot", "pgrep -x sipban")
        machine.becomes("the blocks to be in force again", f"[ $({count}) = 3 ]")
        machine.expect(1, PERL)
        said = machine.does(installer)
        true("the next installation has nothing to ask", "sipban.pl" not in said, said)


def knocked_at(machine, work):
    """What this work gave, and who got through to the SIP port while it was done, of the victims and a phone that all
    knocked without a pause."""
    machine.does("""
        ip netns add world && ip link add pbx type veth peer name world netns world
        ip address add 198.18.0.1/16 dev pbx && ip link set pbx up && ip route add 203.0.113.0/24 dev pbx
        ip -n world link set world up && ip -n world address add 198.18.0.100/16 dev world
        """ + "".join(f"ip -n world address add {victim}/32 dev world\n" for victim in VICTIMS))
    seen = machine.shared / "seen"
    listen = [*machine.inside("net"), sys.executable, SOURCES / "tests/demo/packet.py", "listen", seen]
    knock = ["nsenter", f"--net=/proc/{machine.first}/root/run/netns/world", sys.executable,
             SOURCES / "tests/install/knock.py", "198.18.0.1", *VICTIMS, PHONE]
    with subprocess.Popen(listen) as listener:
        try:
            wait_for("the listener", lambda: "listening" in read(seen))
            with subprocess.Popen(knock, stdin=subprocess.PIPE) as knocking:
                wait_for("the phone to get through", lambda: PHONE in read(seen))
                done = work()
                before = read(seen).count("\n")
                wait_for("packets sent after that", lambda: read(seen).count("\n") > before + 10)
                knocking.stdin.close()
        finally:
            listener.kill()
    return done, {line.split()[0] for line in read(seen).splitlines() if line.endswith(" knock")}


def every_action_answers_as_the_lsb_says(machine, service):
    """With the real daemon; tests/init.sh has what takes a fake one."""
    for code, action in [(2, ""), (2, "frobnicate"), (3, "status"), (0, "stop"), (7, "reload"), (7, "force-reload"),
                         (0, "try-restart"), (3, "status"), (0, "start"), (0, "status"), (0, "start")]:
        machine.expect(code, f"{service} {action}")
    one_runs(machine)
    pid = machine.does("cat /run/sipban.pid")
    for action in ["reload", "force-reload"]:
        machine.does(f": >/var/log/sipban.log && {service} {action}")
        machine.becomes(f"{action} to be done", "grep -q RELOAD /var/log/sipban.log")
    true("reload leaves the process", machine.does("cat /run/sipban.pid") == pid)
    for action in ["restart", "try-restart", "condrestart"]:
        machine.does(f"{service} {action}")
        one_runs(machine)
        before, pid = pid, machine.does("cat /run/sipban.pid")
        true(f"{action} makes a new one", pid != before)

    machine.does("sipban ctl block 192.0.2.99 && pkill -KILL -x sipban")
    machine.becomes("the end of what was killed", "! pgrep -x sipban")
    machine.expect(1, f"{service} status")
    machine.does("iptables -S sipban-udp | grep -q 192.0.2.99")
    machine.does(f"{service} start && sipban ctl unblock 192.0.2.99")
    one_runs(machine)
    machine.does(f"{service} stop && echo 1 >/run/sipban.pid")
    machine.expect(1, f"{service} status")
    machine.does(f"{service} start")
    one_runs(machine)
    true("a stale pid file is no obstacle", True)
    machine.does(f"{service} stop")
    machine.expect(3, f"{service} status")
    machine.expect(1, "test -e /run/sipban.pid || iptables -S sipban-udp")

    machine.does("mv /etc/sipban.conf /root")
    machine.expect(6, f"{service} start")
    machine.does("echo nonsense >/etc/sipban.conf")
    machine.expect(6, f"{service} start")
    machine.does("mv /root/sipban.conf /etc && chmod -x /usr/local/sbin/sipban")
    machine.expect(5, f"{service} start")
    machine.does("chmod +x /usr/local/sbin/sipban")
    true(f"{service} answers with the exit codes of the LSB", True)


def one_runs(machine):
    """Not at once: init may yet have to bury the one before."""
    machine.becomes("there to be one daemon, as its file says", '[ "$(cat /run/sipban.pid)" = "$(pgrep -x sipban)" ]')


def it_blocks(machine, start):
    """An attack that a real Asterisk saw ends in a rule of this machine's iptables."""
    play = [sys.executable, SOURCES / "tests/demo/play.py", "--secret", "getout", "--speed", "50", STREAM]
    asterisk = [*machine.inside("net"), *play]
    with subprocess.Popen(asterisk, stdout=subprocess.PIPE, text=True) as playing:
        try:
            assert playing.stdout.readline().startswith("listening")
            machine.does(start)
            rule = f"-A sipban-udp -s {ATTACKER}/32 -j DROP"
            machine.becomes("the block", f"iptables -S sipban-udp | grep -qx -- '{rule}'")
        finally:
            playing.kill()
    machine.does(f"grep -q 'BLOCK => {ATTACKER} ' /var/log/sipban.log")
    true(f"an attacker is blocked by {machine.does('iptables -V').strip()}", True)


def install(machine, archive):
    """Installs from the archive: what it said."""
    unpack(machine, archive)
    said = machine.does("/root/sipban/install.sh")
    machine.does("test -x /usr/local/sbin/sipban && test -r /etc/sipban.wl && test -d /var/lib/sipban")
    true("installed from the archive", "What is left to do" in said, said)
    return said


def unpack(machine, archive):
    (machine.shared / "archive.tar.gz").write_bytes(archive.read_bytes())
    machine.does("mkdir /root/sipban && tar -C /root/sipban --strip-components=1 -xzf /shared/archive.tar.gz")


def reinstall_keeps_everything(machine):
    """Twice, over the daemon at work: what is the administrator's stays byte for byte."""
    mine = "cat /etc/sipban.conf /etc/sipban.wl; stat -c '%n %a %Y' /etc/sipban.conf /etc/sipban.wl"
    machine.does("echo '# mine' | tee -a /etc/sipban.conf >>/etc/sipban.wl")
    before = machine.does(mine)
    said = machine.does("/root/sipban/install.sh && /root/sipban/install.sh")
    true("an upgrade says how to go over to the new program", re.search("restart sipban|sipban restart", said), said)
    true("an upgrade leaves configuration and white list untouched", machine.does(mine) == before)


def uninstall_keeps_configuration(machine):
    machine.does("/root/sipban/install.sh --uninstall")
    machine.becomes("the daemon to be gone", "! pgrep -x sipban")
    machine.expect(1, "iptables -S sipban-udp")
    not_ours = " ".join(f"-path {folder} -prune -o" for folder in ["/root", "/shared", "/src"])
    left = set(machine.does(f"find / -xdev {not_ours} -name '*sipban*' -print").split())
    true("uninstall ends it, and leaves configuration, state and log only",
         left <= {"/etc/sipban.conf", "/etc/sipban.wl", "/etc/sipban.scanners", "/var/lib/sipban", "/var/log/sipban.log"}, str(left))
    machine.does("test -e /etc/sipban.conf && test -e /etc/sipban.wl")


def is_perls(machine, service):
    return machine.call(f"cmp {shlex.quote(service)} /root/service")[0] == 0


def blocks(machine, address):
    return machine.call(f"iptables -S sipban-udp | grep -q -- '-s {address}/32 -j DROP'")[0] == 0


def read(path):
    return path.read_text() if path.exists() else ""


def section(title):
    print(f"\n== {title}", flush=True)


def true(sentence, holds, evidence=""):
    """States what has just been tried."""
    if not holds:
        raise AssertionError(f"{sentence}\n{evidence}")
    print(f"   true: {sentence}", flush=True)


if __name__ == "__main__":
    main()

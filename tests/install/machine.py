"""Test machines: a distribution's own programs, booted by its own init in namespaces of their own.

Nothing of the machine underneath is touched: processes, network, packet filter, mounts and control groups are theirs
alone, and end with their first process. What they write goes to a folder that is removed.
"""

import contextlib
import fcntl
import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Of a machine to boot, of a condition to come true. Far more than it takes, on the slowest of machines.
PATIENCE = 60.0

INITTAB = """\
id:2:initdefault:
si::sysinit:/etc/init.d/rcS
l0:0:wait:/etc/init.d/rc 0
l2:2:wait:/etc/init.d/rc 2
bt:2:once:/bin/touch /run/booted
"""


class Unavailable(Exception):
    """Something to test with is not to be had."""


class Distribution:
    """A Debian release with one of its inits, unpacked once and kept."""

    def __init__(self, suite, init, packages):
        self.suite, self.init = suite, init
        self.packages = ["iptables", "ipset", "iproute2", "perl-base", "procps", *packages]

    def tree(self, folder):
        """The folder it is unpacked in, below this one."""
        key = hashlib.sha256(" ".join([self.suite, *self.packages]).encode()).hexdigest()[:8]
        tree = folder / f"{self.suite}-{key}"
        if not tree.exists():
            self._unpack(tree)
        return tree

    def _unpack(self, tree):
        if not shutil.which("debootstrap"):
            raise Unavailable("debootstrap is not installed")
        print(f"== unpacking Debian {self.suite}", flush=True)
        new = tree.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        include = ",".join(self.packages)
        command = ["debootstrap", "--variant=minbase", f"--include={include}", self.suite, new, mirror()]
        log = tree.with_suffix(".log")
        with log.open("w") as output:
            done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            tail = "\n".join(log.read_text().splitlines()[-5:])
            shutil.rmtree(new, ignore_errors=True)
            raise Unavailable(f"debootstrap of {self.suite} failed, {log} ends with:\n{tail}")
        new.rename(tree)


def mirror():
    """Where apt of this machine has Debian's packages from."""
    command = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)", "Created-By: Packages"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    for line in listed:
        if line.startswith("Debian Debian "):
            return line.split()[2]
    raise Unavailable("apt of this machine knows no mirror of Debian: call apt-get update")


@contextlib.contextmanager
def workshop(folder):
    """This folder, for one run at a time, cleaned of what an earlier one left that was killed."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _clean(folder)
        try:
            yield folder
        finally:
            _clean(folder)


def _clean(folder):
    for state in folder.glob("machine-*"):
        shutil.rmtree(state)
    for group in _control_groups().glob("sipban-test-*"):
        wait_for(f"the processes in {group} to end", lambda group=group: _remove(group))


def _remove(group):
    """Whether a control group could be removed, with those in it: only those without a process can."""
    try:
        for inner in [*sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True), group]:
            inner.rmdir()
    except OSError:
        return False
    return True


def _control_groups():
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    raise Unavailable("this machine has no control groups of version 2 mounted")


class Machine:
    """A machine of this distribution, off at first. As a context: on, and at the end off and gone."""

    def __init__(self, distribution, folder):
        self.distribution, self.tree = distribution, distribution.tree(folder)
        self.state = Path(tempfile.mkdtemp(prefix="machine-", dir=folder))
        self.group = _control_groups() / f"sipban-test-{self.state.name}"
        self.first = None
        self.shared = self.state / "shared"
        self.files = self.state / "upper"
        for name in ["shared", "work", "upper/etc/systemd/system"]:
            (self.state / name).mkdir(parents=True)
        # Nobody logs in, and the boot is over when its last word is said.
        (self.files / "etc/inittab").write_text(INITTAB)
        (self.files / "etc/systemd/system/console-getty.service").symlink_to("/dev/null")

    def __enter__(self):
        self.switch_on()
        return self

    def __exit__(self, *_):
        self.cut_power()
        wait_for(f"the processes in {self.group} to end", lambda: _remove(self.group))
        shutil.rmtree(self.state)

    def switch_on(self):
        """Boots, and waits until the boot is over."""
        self.group.mkdir(exist_ok=True)
        # If we are killed, the kernel kills it.
        boot = f"echo $$ >{self.group}/cgroup.procs; exec setpriv --pdeathsig KILL " \
            'unshare --mount --pid --net --ipc --uts --cgroup --fork --kill-child=KILL "$@"'
        self.power = subprocess.Popen(
            ["sh", "-c", boot, "boot", SOURCES / "tests/install/boot.sh", self.tree, self.state, SOURCES, self.shared],
            stdin=subprocess.DEVNULL, stdout=(self.state / "boot").open("a"), stderr=subprocess.STDOUT)
        wait_for("the first process", self._find_first)
        wait_for("the end of the boot", self._is_up)

    def _is_up(self):
        if self.distribution.init == "sysvinit":
            return self.call("test -e /run/booted")[0] == 0
        return self.call("systemctl is-system-running")[1].strip() in ("running", "degraded")

    def shut_down(self):
        """Has its init stop all services, and waits for the end."""
        self.call({"sysvinit": "init 0", "systemd": "systemctl poweroff"}[self.distribution.init])
        try:
            self.power.wait(PATIENCE)
        finally:
            self.cut_power()

    def cut_power(self):
        """Ends everything at once."""
        if self.first is None:
            self.power.kill()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.first, signal.SIGKILL)
        self.power.wait()
        self.first = None

    def _find_first(self):
        if self.power.poll() is not None:
            raise Unavailable("the machine does not boot: " + (self.state / "boot").read_text())
        pid = self.power.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        # Before its first process is init, it is the script that boots.
        if children and Path(f"/proc/{children[0]}/comm").read_text().strip() in ("init", "systemd"):
            self.first = int(children[0])
        return self.first

    def inside(self, *namespaces):
        """The command that puts another one into these namespaces of the machine, or in all of them and its files."""
        names = namespaces or ("mount", "pid", "net", "ipc", "uts", "cgroup", "root")
        return ["nsenter", f"--target={self.first}", *(f"--{name}" for name in names)]

    def command(self, script):
        """The command that runs a script in the machine's shell."""
        return [*self.inside(), "env", "-i", "-C", "/", f"PATH={PATH}", "TERM=dumb", "HOME=/root", "sh", "-c", script]

    def call(self, script):
        """Runs a script in the machine's shell, without standard input: its exit status and all it wrote."""
        done = subprocess.run(self.command(script), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", check=False, timeout=PATIENCE)
        return done.returncode, done.stdout

    def expect(self, code, script):
        """The same, which must end with this status: all it wrote."""
        status, output = self.call(script)
        if status != code:
            raise AssertionError(f"`{script}` ended with {status}, not {code}:\n{output}{self.story()}")
        return output

    def does(self, script):
        """The same, which must succeed."""
        return self.expect(0, script)

    def becomes(self, what, script):
        """Waits until a script succeeds."""
        try:
            wait_for(what, lambda: self.call(script)[0] == 0)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.call(script)[1]}{self.story()}") from None

    def write(self, path, text, mode=0o644):
        """Puts a file on the running machine."""
        (self.shared / "file").write_text(text)
        folder, path = shlex.quote(os.path.dirname(path)), shlex.quote(path)
        self.does(f"mkdir -p {folder} && install -m {mode:o} /shared/file {path}")

    def story(self):
        """What an administrator would look at first."""
        return self.call("""
            echo; tail -n 30 /var/log/sipban.log; iptables -S; pgrep -a sipban
            ! command -v journalctl || journalctl --no-pager -n 30 -u sipban
            """)[1]


def wait_for(what, condition):
    """Waits until this is true, and gives what it returned."""
    deadline = time.monotonic() + PATIENCE
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited in vain for {what}")
        time.sleep(0.05)
    return result

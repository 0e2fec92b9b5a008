"""What happens to Asterisk and to the daemon; each returns when it is over."""

from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM


def asterisk_restarts(lab):
    """As an administrator does it."""
    told = lab.daemon.told()
    lab.asterisk.cli("core restart now")
    lab.daemon.expect("AMI => lost", told)
    lab.asterisk.wait_until_booted()


def asterisk_dies(lab):
    """Without a word."""
    lab.asterisk.end(SIGKILL)
    lab.asterisk.start()


def asterisk_hangs(lab):
    """It says nothing, and its connections stay."""
    told = lab.daemon.told()
    lab.asterisk.signal(SIGSTOP)
    try:
        lab.daemon.expect("AMI => lost", told)
    finally:
        lab.asterisk.signal(SIGCONT)


def secret_changes(lab):
    """And back, after the daemon was refused."""
    told = lab.daemon.told()
    lab.asterisk.configure("manager.conf", "secret = getout", "secret = other")
    asterisk_restarts(lab)
    lab.daemon.expect("AMI => login refused", told)
    lab.asterisk.configure("manager.conf", "secret = other", "secret = getout")
    lab.asterisk.cli("manager reload")


def manager_goes(lab):
    """And comes back."""
    lab.asterisk.configure("manager.conf", "enabled = yes", "enabled = no")
    asterisk_restarts(lab)
    lab.asterisk.configure("manager.conf", "enabled = no", "enabled = yes")
    lab.asterisk.cli("manager reload")


def events_withheld(lab):
    """Its user may not read security events for a while; a session that stands does not notice."""
    told = lab.daemon.told()
    lab.asterisk.configure("manager.conf", "read = security", "read = call")
    asterisk_restarts(lab)
    lab.daemon.expect("AMI => silent", told)
    lab.asterisk.configure("manager.conf", "read = call", "read = security")
    lab.asterisk.cli("manager reload")
    lab.daemon.expect("AMI => heard again", told, within=90)


def daemon_restarts(lab):
    """As an administrator does it."""
    lab.daemon.end(SIGTERM)
    lab.daemon.start()


def daemon_dies(lab):
    """Without a word."""
    lab.daemon.end(SIGKILL)
    lab.daemon.start()

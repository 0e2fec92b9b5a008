//! The log in the journal of systemd: a real one, beside the daemon, in folders of the test's own.

use std::process::{Child, Command, Stdio};

use crate::lab::netns::Variant;
use crate::lab::{Lab, wait_until};

const JOURNALD: &str = "/usr/lib/systemd/systemd-journald";

/// A mount namespace whose /run is its own, with a journal in it; the process that is there ends with the test.
struct Systemd {
    journald: Child,
}

impl Systemd {
    fn start(lab: &Lab) -> Systemd {
        let script = format!(
            "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && rm -rf /run/log && \
             mount -t tmpfs none /var/log && exec {JOURNALD}"
        );
        let mut unshare = lab.program("unshare");
        unshare.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
        unshare.stdout(Stdio::null()).stderr(Stdio::null());
        let systemd = Systemd { journald: lab.netns.enter(|| unshare.spawn().unwrap()) };
        wait_until("the journal", || systemd.run(lab, "test", &["-S", "/run/systemd/journal/socket"]).0);
        systemd
    }

    /// This program in there.
    fn command(&self, lab: &Lab, program: &str, args: &[&str]) -> Command {
        let mut nsenter = lab.program("nsenter");
        nsenter.arg("--mount").arg(format!("--target={}", self.journald.id())).arg("--").arg(program).args(args);
        nsenter
    }

    /// Whether it succeeds, and what it prints.
    fn run(&self, lab: &Lab, program: &str, args: &[&str]) -> (bool, String) {
        let output = self.command(lab, program, args).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    }

    fn journal(&self, lab: &Lab, args: &[&str]) -> String {
        self.run(lab, "journalctl", &[&["--no-pager", "--quiet", "-t", "sipban"], args].concat()).1
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        let _ = self.journald.kill();
        let _ = self.journald.wait();
    }
}

#[test]
fn the_journal_of_systemd_has_the_lines_and_the_fields_to_search_by() {
    let Some(mut lab) = Lab::new(Variant::Nft) else { return };
    let systemd = Systemd::start(&lab);
    lab.set("log.target", "journal");
    let inner = lab.command(&[]);
    let args: Vec<&str> = inner.get_args().map(|arg| arg.to_str().unwrap()).collect();
    lab.launch_as(systemd.command(&lab, inner.get_program().to_str().unwrap(), &args));
    let says = |text: &str| systemd.journal(&lab, &["-o", "cat"]).lines().any(|line| line.starts_with(text));
    wait_until("the connection", || says("AMI => connected (Asterisk Call Manager/"));
    lab.attack("221.121.138.167");
    wait_until("the block", || says("BLOCK => 221.121.138.167 (Invalid Account)"));
    lab.attack("221.121.138.168");
    wait_until("the block", || says("BLOCK => 221.121.138.168 (Invalid Account)"));
    let found = systemd.journal(&lab, &["-o", "cat", "SIPBAN_ADDRESS=221.121.138.167"]);
    assert_eq!(found, "BLOCK => 221.121.138.167 (Invalid Account)\n");
    let found = systemd.journal(&lab, &["-o", "json", "SIPBAN_REASON=Invalid Account"]);
    assert_eq!(found.lines().count(), 2);
    assert!(found.contains("\"PRIORITY\":\"6\"") && found.contains("\"SYSLOG_IDENTIFIER\":\"sipban\""), "{found}");
    assert_eq!(lab.log(), "", "without need there is no file");

    // As the manual says.
    let stats = format!(
        "journalctl -t sipban -o short-iso --no-hostname | \
         sed -E 's/^(.{{10}})T(.{{8}})[^ ]* [^ ]* /[\\1 \\2] /' | {} stats -",
        env!("CARGO_BIN_EXE_sipban")
    );
    let (_, stats) = systemd.run(&lab, "sh", &["-c", &stats]);
    assert!(stats.contains("  2 blocks of 2 addresses\n"), "{stats}");
    lab.stop();
}

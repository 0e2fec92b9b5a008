//! The journal of systemd, by its native protocol ("Native Journal Protocol" on systemd.io): a datagram for each line.
//!
//! INVARIANT: nobody waits for the journal. What it does not take goes to the log's file.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use log::{Level, Log, Metadata, Record};

use super::LogHandle;
use crate::model::net::Plain;

/// Where systemd-journald listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// Sends lines to the journal, and those that it does not take to the file of the handle.
#[derive(Debug)]
pub(super) struct JournalLogger {
    /// Its mutex keeps the lines of all threads in one order.
    journal: Mutex<Journal>,
    file: LogHandle,
}

#[derive(Debug)]
struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    /// Lines since the last one that it took, which went to the file.
    missed: u64,
}

impl JournalLogger {
    /// To the journal that listens at `path`, now or later.
    ///
    /// # Errors
    /// If the system has no socket to give.
    pub(super) fn new(path: &Path, file: LogHandle) -> io::Result<JournalLogger> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(JournalLogger { journal: Mutex::new(Journal { socket, path: path.to_owned(), missed: 0 }), file })
    }
}

impl Log for JournalLogger {
    /// The level is set in the crate `log`, where it can be changed.
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let text = record.args().to_string();
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        for line in text.lines() {
            if !journal.take(record.level(), line) {
                self.file.lock().write_lines(format!("{line}\n").as_bytes());
            }
        }
    }

    fn flush(&self) {}
}

impl Journal {
    /// Whether it took the line.
    fn take(&mut self, level: Level, line: &str) -> bool {
        if self.missed > 0 {
            let text = format!("ERROR => {} lines that the journal did not take are in log.file", self.missed);
            if self.send(Level::Error, &text) {
                self.missed = 0;
            }
        }
        // While it is away, a second try would fail as the first one did.
        let taken = self.missed == 0 && self.send(level, line);
        self.missed += u64::from(!taken);
        taken
    }

    /// The path is looked up each time, so that a journal that was started anew is found.
    fn send(&self, level: Level, line: &str) -> bool {
        self.socket.send_to(&datagram(level, line), &self.path).is_ok()
    }
}

/// A line with what the journal can be searched for.
fn datagram(level: Level, line: &str) -> Vec<u8> {
    let priority = match level {
        Level::Error => "3",
        Level::Warn => "4",
        Level::Info => "6",
        Level::Debug | Level::Trace => "7",
    };
    let mut datagram = Vec::with_capacity(line.len() + 128);
    field(&mut datagram, "MESSAGE", line);
    field(&mut datagram, "PRIORITY", priority);
    field(&mut datagram, "SYSLOG_IDENTIFIER", "sipban");
    if let Some((address, reason)) = whom(line) {
        field(&mut datagram, "SIPBAN_ADDRESS", address);
        field(&mut datagram, "SIPBAN_REASON", reason);
    }
    datagram
}

/// A value that would end its line has its length before it instead.
fn field(datagram: &mut Vec<u8>, name: &str, value: &str) {
    datagram.extend(name.as_bytes());
    if value.contains('\n') {
        datagram.push(b'\n');
        datagram.extend((value.len() as u64).to_le_bytes());
    } else {
        datagram.push(b'=');
    }
    datagram.extend(value.as_bytes());
    datagram.push(b'\n');
}

/// The address that a line is about, and what is said of it in brackets: `BLOCK => 192.0.2.7 (Invalid Account)`. The
/// words before are ours, and no attacker writes any.
fn whom(line: &str) -> Option<(&str, &str)> {
    let (what, about) = line.split_once(" => ")?;
    if !matches!(what, "BLOCK" | "UNBLOCK" | "WHITE LIST" | "SHED" | "FLEET") {
        return None;
    }
    let (address, rest) = about.split_once(' ')?;
    let done = ["blocked ", "not blocked ", "freed ", "would be blocked "];
    let rest = done.into_iter().find_map(|done| rest.strip_prefix(done)).unwrap_or(rest);
    let (reason, _) = rest.strip_prefix('(')?.split_once(')')?;
    address.parse::<Plain>().is_ok().then_some((address, reason))
}

#[cfg(test)]
mod tests {
    use super::super::Sink;
    use super::super::output::Output;
    use super::*;
    use crate::logging::Target;
    use crate::model::clock::Clock;
    use std::fs;
    use std::sync::Arc;
    use tempfile::TempDir;

    /// A folder for the journal's socket and the file, and the logger.
    fn logger() -> (TempDir, JournalLogger) {
        let folder = tempfile::tempdir().unwrap();
        let file = Output::Later(Target::File(folder.path().join("sipban.log")));
        let handle = LogHandle { sink: Arc::new(Mutex::new(Sink::new(file, Clock::start()))) };
        let logger = JournalLogger::new(&folder.path().join("socket"), handle).unwrap();
        (folder, logger)
    }

    fn listen(folder: &TempDir) -> UnixDatagram {
        let socket = UnixDatagram::bind(folder.path().join("socket")).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    }

    fn say(logger: &JournalLogger, level: Level, text: &str) {
        logger.log(&Record::builder().level(level).args(format_args!("{text}")).build());
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut datagram = vec![0; 1 << 20];
        let length = socket.recv(&mut datagram).unwrap();
        String::from_utf8(datagram[..length].to_vec()).unwrap()
    }

    fn file(folder: &TempDir) -> Vec<String> {
        let text = fs::read_to_string(folder.path().join("sipban.log")).unwrap_or_default();
        text.lines().map(|line| line[22..].to_owned()).collect()
    }

    #[test]
    fn each_line_is_a_datagram_with_the_fields_that_it_is_searched_by() {
        let (folder, logger) = logger();
        let journal = listen(&folder);
        say(&logger, Level::Info, "BLOCK => 2001:db8::/64 (Failed ACL)\nSipBan Stop");
        say(&logger, Level::Error, "AMI => silent (why)");
        assert_eq!(
            heard(&journal),
            "MESSAGE=BLOCK => 2001:db8::/64 (Failed ACL)\nPRIORITY=6\nSYSLOG_IDENTIFIER=sipban\n\
             SIPBAN_ADDRESS=2001:db8::/64\nSIPBAN_REASON=Failed ACL\n"
        );
        assert_eq!(heard(&journal), "MESSAGE=SipBan Stop\nPRIORITY=6\nSYSLOG_IDENTIFIER=sipban\n");
        assert_eq!(heard(&journal), "MESSAGE=AMI => silent (why)\nPRIORITY=3\nSYSLOG_IDENTIFIER=sipban\n");
        assert!(!folder.path().join("sipban.log").exists(), "without need there is no file");
    }

    #[test]
    fn what_the_journal_does_not_take_is_in_the_file_and_told_when_it_is_back() {
        let (folder, logger) = logger();
        say(&logger, Level::Info, "one\ntwo");
        let journal = listen(&folder);
        // Nor does it take what is larger than any socket.
        say(&logger, Level::Info, &"x".repeat(64 << 20));
        say(&logger, Level::Info, "three");
        let told = |count| format!("MESSAGE=ERROR => {count} lines that the journal did not take are in log.file\n");
        assert!(heard(&journal).starts_with(&told(2)));
        assert!(heard(&journal).starts_with(&told(1)));
        assert!(heard(&journal).starts_with("MESSAGE=three\n"));
        let file = file(&folder);
        assert_eq!(
            (file.len(), &file[0], &file[1], file[2].len()),
            (3, &"one".to_owned(), &"two".to_owned(), 64 << 20)
        );
    }

    #[test]
    fn a_journal_that_reads_nothing_holds_up_nobody() {
        let (folder, logger) = logger();
        let journal = listen(&folder);
        (0..2_000).for_each(|number| say(&logger, Level::Info, &number.to_string()));
        let missed = file(&folder);
        let taken = 2_000 - missed.len();
        assert!((1..2_000).contains(&taken), "{taken}");
        assert_eq!(missed[0], taken.to_string());
        (0..taken).for_each(|number| assert!(heard(&journal).starts_with(&format!("MESSAGE={number}\n"))));
        say(&logger, Level::Info, "again");
        assert!(heard(&journal).starts_with(&format!("MESSAGE=ERROR => {} lines", missed.len())));
        assert!(heard(&journal).starts_with("MESSAGE=again\n"));
    }

    #[test]
    fn lines_say_whom_they_are_about() {
        for (line, is) in [
            ("UNBLOCK => 192.0.2.7 (Timeout Unblock)", Some(("192.0.2.7", "Timeout Unblock"))),
            ("WHITE LIST => 192.0.2.7 not blocked (Invalid Password): x (y)", Some(("192.0.2.7", "Invalid Password"))),
            ("SHED => 192.0.2.7 (70 packets too many in 10 s)", Some(("192.0.2.7", "70 packets too many in 10 s"))),
            ("SHED => 192.0.2.7 would be blocked (Flood)", Some(("192.0.2.7", "Flood"))),
            ("FLEET => 192.0.2.7 blocked (Flood, says pbx1)", Some(("192.0.2.7", "Flood, says pbx1"))),
            ("FLEET => 192.0.2.7 not blocked (Flood, says pbx1): a home", Some(("192.0.2.7", "Flood, says pbx1"))),
            ("FLEET => 2001:db8::/64 freed (Withdrawn)", Some(("2001:db8::/64", "Withdrawn"))),
            ("FLEET => cafe is there (SIPban 2.0.0)", None),
            ("WHITE LIST => cafe.example.com (x)", None),
            ("WHITE LIST => 192.0.2.0/24", None),
            ("BLOCK => 3 changes more than are named one by one", None),
            ("ERROR => 192.0.2.7 (x)", None),
        ] {
            assert_eq!(whom(line), is, "{line}");
        }
    }

    #[test]
    fn a_value_of_several_lines_has_its_length_before_it() {
        let mut datagram = Vec::new();
        field(&mut datagram, "MESSAGE", "a\nb");
        assert_eq!(datagram, b"MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n");
    }
}

//! A process kept started ahead, so that a piece of work costs the work alone and not the start.

use super::{Failure, Program, Running};

/// A program that reads its work from standard input, one process of it kept started ahead: then a piece of work
/// costs the work alone and not the start.
///
/// Only for programs that read nothing else before the first line of their input, and either act on nothing before
/// the last, or are told only what may be told again without effect: where one dies in the middle, the next one is
/// given the whole.
///
/// `iptables-restore` is of the first kind, legacy and nft (1.8.9, traced): it takes the xtables lock when it meets
/// the table's name (legacy) or no lock at all (nft), and reads the kernel's rules only then or at COMMIT.
/// `ipset restore -exist` that adds and removes entries is of the second (7.17): it acts on lines as they come, some
/// at a time. Neither holds anybody up while it waits, nor goes stale.
#[derive(Debug)]
pub struct Spare {
    program: Program,
    args: Vec<String>,
    waiting: Option<Running>,
}

impl Spare {
    /// Starts nothing yet.
    pub fn new(program: Program, args: &[&str]) -> Spare {
        Spare { program, args: args.iter().map(ToString::to_string).collect(), waiting: None }
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Starts a process ahead, unless one is waiting. For the moments when nobody waits for us.
    pub fn prepare(&mut self) {
        if self.waiting.as_mut().is_none_or(Running::has_ended) {
            // A start that fails is reported by the next `feed`, which tries again.
            self.waiting = self.program.start(&self.args).ok();
        }
    }

    /// Has `text` done by the waiting process, or by a fresh one where there is none or it died waiting.
    ///
    /// # Errors
    /// As [`Program::run`]; see [`Failure::is_verdict`] for what is then known.
    pub fn feed(&mut self, text: &str) -> Result<(), Failure> {
        if let Some(waiting) = self.waiting.take() {
            match waiting.finish(text) {
                Ok(_) => return Ok(()),
                // The last line never reached it, so doing it again is safe.
                Err(failure) if !failure.fed && !failure.timed_out() => {}
                Err(failure) => return Err(failure),
            }
        }
        self.program.start(&self.args)?.finish(text).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};
    use std::thread;

    /// The script of a program that, like iptables-restore, acts on its last line.
    fn spare(script: &str) -> Spare {
        Spare::new(Program::find("sh", Some(Path::new("/bin"))).unwrap(), &["-c", script])
    }

    #[test]
    fn a_spare_does_the_work_and_another_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log");
        let mut spare = spare(&format!("read -r line; echo \"$$ $line\" >>{}", file.display()));
        for word in ["one", "two"] {
            spare.prepare();
            let pid = spare.waiting.as_ref().unwrap().child.id();
            spare.feed(&format!("{word}\n")).unwrap();
            let log = std::fs::read_to_string(&file).unwrap();
            assert_eq!(log.lines().last().unwrap(), format!("{pid} {word}"));
        }
    }

    #[test]
    fn without_a_spare_a_fresh_process_does_the_work() {
        assert!(spare("read -r line; test \"$line\" = word").feed("word\n").is_ok());
    }

    #[test]
    fn a_spare_that_died_waiting_is_replaced_and_nothing_is_lost() {
        let mut spare = spare("read -r line; test \"$line\" = word");
        spare.prepare();
        let waiting = spare.waiting.as_mut().unwrap();
        waiting.child.kill().unwrap();
        waiting.child.wait().unwrap();
        spare.feed("word\n").unwrap();
        spare.prepare();
        spare.waiting.as_mut().unwrap().child.kill().unwrap();
        while !spare.waiting.as_mut().unwrap().has_ended() {
            thread::yield_now();
        }
        spare.prepare();
        assert!(!spare.waiting.as_mut().unwrap().has_ended());
    }

    #[test]
    fn a_spare_killed_after_its_work_was_sent_leaves_the_outcome_open() {
        let mut spare = spare("read -r line; kill -9 $$");
        spare.prepare();
        let failure = spare.feed("word\n").unwrap_err();
        assert!(!failure.is_verdict() && !failure.timed_out(), "{failure}");
    }

    #[test]
    fn a_dropped_spare_leaves_no_process() {
        let mut spare = spare("read -r line");
        spare.prepare();
        let folder = PathBuf::from(format!("/proc/{}", spare.waiting.as_ref().unwrap().child.id()));
        assert!(folder.exists());
        drop(spare);
        assert!(!folder.exists());
    }
}

//! Thread: runs the administrator's program when something happened.
//!
//! INVARIANT: nobody waits for it. What does not fit into its queue is counted and left out.

mod fact;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use log::warn;

pub use fact::Fact;

use crate::config::HookConfig;
use crate::firewall::run::{self, Program};
use crate::model::clock::Clock;

/// At most this many facts wait, and are told at once: some 60 KB, which every system takes as arguments.
const MOST: usize = 1_000;

/// At most this long may the program take.
const DEADLINE: Duration = Duration::from_secs(30);

/// Where facts are put for the program.
#[derive(Clone, Debug)]
pub struct Hook {
    queue: Sender<Fact>,
    left_out: Arc<AtomicU64>,
}

/// Starts the thread, if a program is configured.
///
/// # Errors
/// If the system has no thread to give.
pub fn start(config: &HookConfig, clock: Clock) -> io::Result<Option<Hook>> {
    let Some(path) = config.program.clone() else { return Ok(None) };
    let (queue, waiting) = bounded(MOST);
    let hook = Hook { queue, left_out: Arc::default() };
    let (left_out, every) = (hook.left_out.clone(), Duration::from_secs(config.every));
    let work = move || serve(&Program::at(path), every, &waiting, &left_out, &clock);
    thread::Builder::new().name("hook".into()).spawn(work)?;
    Ok(Some(hook))
}

impl Hook {
    /// Has the program told, some time later.
    pub fn tell(&self, fact: Fact) {
        if self.queue.try_send(fact).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Runs the program for all that waits, and not again before `every` has passed. Ends with the owner.
fn serve(program: &Program, every: Duration, waiting: &Receiver<Fact>, left_out: &AtomicU64, clock: &Clock) {
    while let Ok(first) = waiting.recv() {
        let began = clock.now().monotonic;
        let facts: Vec<Fact> = [first].into_iter().chain(waiting.try_iter().take(MOST - 1)).collect();
        let told = run::within(DEADLINE, || tell(program, &facts, left_out.swap(0, Ordering::Relaxed)));
        if let Err(why) = told {
            warn!("HOOK => {why}");
        }
        thread::sleep((began + every).saturating_sub(clock.now().monotonic));
    }
}

/// A run of the program: an argument for each fact, and the first one in the environment.
fn tell(program: &Program, facts: &[Fact], left_out: u64) -> Result<(), String> {
    let lines: Vec<String> = facts.iter().map(Fact::to_string).collect();
    let counts = [("SIPBAN_COUNT", facts.len().to_string()), ("SIPBAN_LEFT_OUT", left_out.to_string())];
    let variables: Vec<_> = facts.iter().take(1).flat_map(Fact::variables).chain(counts).collect();
    match program.run_with(&lines, &variables) {
        Ok(_) => Ok(()),
        Err(failure) => Err(format!("{program} {}", failure.cause())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::block::Reason;
    use crate::model::clock::UnixTime;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};

    fn script(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join("hook");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn block(number: u32) -> Fact {
        let net = std::net::IpAddr::from((0xcb00_7100 + number).to_be_bytes()).into();
        Fact::Block { net, end: UnixTime(9), reason: Reason::InvalidAccount }
    }

    #[test]
    fn the_program_has_facts_as_arguments_and_the_first_in_its_environment() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let text = format!("{{ env | grep SIPBAN | sort; for fact; do echo \"$fact\"; done; }} > {}", out.display());
        let program = Program::at(script(folder.path(), &text));
        tell(&program, &[block(7), Fact::Ami { up: false, text: "$(reboot) `x` \"'".into() }], 5).unwrap();
        assert_eq!(
            fs::read_to_string(out).unwrap(),
            "SIPBAN_ADDRESS=203.0.113.7\nSIPBAN_COUNT=2\nSIPBAN_END=9\nSIPBAN_EVENT=block\nSIPBAN_LEFT_OUT=5\n\
             SIPBAN_REASON=Invalid Account\n\
             block 203.0.113.7 9 Invalid Account\nami-down $(reboot) `x` \"'\n"
        );
    }

    #[test]
    fn what_fails_or_hangs_is_named_without_its_many_arguments() {
        let folder = tempfile::tempdir().unwrap();
        let program = Program::at(script(folder.path(), "echo no mail >&2; exit 4"));
        let failure = tell(&program, &[block(1)], 0).unwrap_err();
        assert_eq!(failure, format!("{program} ended with exit status: 4: no mail"));
        let program = Program::at(script(folder.path(), "exec sleep 600"));
        let failure = run::within(Duration::from_millis(100), || tell(&program, &[block(1)], 0)).unwrap_err();
        assert_eq!(failure, format!("{program} gave no answer within 0.1 s and was killed"));
        let missing = tell(&Program::at("/no/such/hook".into()), &[block(1)], 0).unwrap_err();
        assert!(missing.starts_with("/no/such/hook cannot be started: "), "{missing}");
    }

    #[test]
    fn more_facts_than_find_room_are_counted_and_hold_up_nobody() {
        let (queue, waiting) = bounded(MOST);
        let hook = Hook { queue, left_out: Arc::default() };
        (0..2_500).for_each(|number| hook.tell(block(number)));
        assert_eq!((waiting.len(), hook.left_out.load(Ordering::Relaxed)), (MOST, 1_500));
        // All of them go into one run, with the longest lines there are.
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let program = Program::at(script(folder.path(), &format!("echo $# > {}", out.display())));
        let long = Fact::Repair { what: "\u{10ffff}".repeat(500) };
        tell(&program, &vec![long; MOST], 0).unwrap();
        assert_eq!(fs::read_to_string(out).unwrap(), "1000\n");
    }

    #[test]
    fn what_comes_within_the_pause_is_told_at_once_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let program = script(folder.path(), &format!("echo $# >> {}", out.display()));
        let hook = start(&HookConfig { program: Some(program), every: 1 }, Clock::start()).unwrap().unwrap();
        let lines = || fs::read_to_string(&out).unwrap_or_default();
        let wait_for = |text: &str| {
            (0..1_000).any(|_| {
                thread::sleep(Duration::from_millis(10));
                lines() == text
            })
        };
        hook.tell(block(0));
        assert!(wait_for("1\n"), "{}", lines());
        (1..=9).for_each(|number| hook.tell(block(number)));
        assert!(wait_for("1\n9\n"), "{}", lines());
    }

    #[test]
    fn without_a_program_there_is_no_thread() {
        assert!(start(&HookConfig { program: None, every: 60 }, Clock::start()).unwrap().is_none());
    }
}

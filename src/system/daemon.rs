//! Living in the background (`-d`), and telling the service manager how we are.
//!
//! The process that the user started starts this program once more, as a child in a session of its own, and waits for
//! its report. A fork would need `unsafe` and must not happen once there are threads; a new process has no such past.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{dup2_stdin, getppid, setsid};
use sd_notify::NotifyState;

use crate::failure::Failure;
use crate::file;

/// The way back to the process in the foreground, which waits for what the daemon reports.
#[must_use = "the foreground process waits for the report"]
#[derive(Debug)]
pub struct Report(UnixStream);

/// The pid file of a running daemon. It is locked as long as the daemon lives, and removed when this is dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    _locked: Flock<File>,
}

/// Why there is no daemon.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It runs already.
    #[error("sipban is running already, as process {pid} (it holds {})", path.display())]
    Running {
        /// The process, as the pid file names it.
        pid: String,
        /// Path of the pid file.
        path: PathBuf,
    },
    /// The pid file cannot be used.
    #[error("cannot use the pid file {}: {source}; does its folder exist (--pid-file)?", path.display())]
    PidFile {
        /// Path of the pid file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system did not let us.
    #[error("cannot become a daemon: {0}")]
    System(#[from] io::Error),
    /// The daemon reported that it could not set itself up.
    #[error("{text}")]
    Failed {
        /// Exit status it ended with.
        code: u8,
        /// What it said.
        text: String,
    },
    /// The daemon ended without a word.
    #[error("the daemon ended before it was set up; the log may say why")]
    Died,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let code = match &error {
            Error::Failed { code, .. } => *code,
            _ => 1,
        };
        Failure::new(code, error)
    }
}

/// Names the process that started the daemon, in the daemon's environment.
const STARTER: &str = "SIPBAN_STARTER";

/// Starts this program again with the same arguments, to be the daemon, and returns once that one is set up.
///
/// # Errors
/// If it cannot be started, or could not set itself up.
pub fn start() -> Result<(), Error> {
    let (mut waiting, report) = UnixStream::pair()?;
    #[expect(clippy::disallowed_methods, reason = "it is this program, not another one")]
    let started = Command::new(env::current_exe()?)
        .args(env::args_os().skip(1))
        .env(STARTER, process::id().to_string())
        .stdin(OwnedFd::from(report))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    started?;
    let mut told = Vec::new();
    waiting.read_to_end(&mut told)?;
    heard(&told)
}

/// Goes to the background, in the process that [`start`] started: a session of its own, working directory `/`, umask
/// 027, the pid file written and locked. Make relative paths absolute before.
///
/// # Errors
/// If another daemon holds the pid file, or it cannot be written, or the system refuses.
pub fn detach(pid_file: &Path) -> Result<PidFile, Error> {
    setsid().map_err(io::Error::from)?;
    let unusable = |source| Error::PidFile { path: pid_file.to_owned(), source };
    let pid_file = PidFile::write(&std::path::absolute(pid_file).map_err(unusable)?)?;
    umask(Mode::S_IWGRP | Mode::S_IRWXO);
    env::set_current_dir("/")?;
    Ok(pid_file)
}

impl Report {
    /// What [`start`] gave us as standard input, which is empty from then on; `None` in any other process.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn to_starter() -> Result<Option<Report>, Error> {
        // A child of the daemon inherits its environment, but not its parent.
        if env::var(STARTER).ok() != Some(getppid().to_string()) {
            return Ok(None);
        }
        let given = io::stdin().as_fd().try_clone_to_owned()?;
        dup2_stdin(File::open("/dev/null")?).map_err(io::Error::from)?;
        Ok(Some(Report(given.into())))
    }

    /// Reports that all is set up; the foreground process exits with success.
    pub fn ready(self) {
        self.tell(READY);
    }

    /// Reports that it did not work; the foreground process says so and exits as the daemon should.
    pub fn failed(self, failure: &Failure) {
        self.tell(&[FAILED, &[failure.code], failure.text.as_bytes()].concat());
    }

    fn tell(mut self, what: &[u8]) {
        // Nobody may be waiting any more, and that is no reason to stop.
        let _ = self.0.write_all(what).and_then(|()| self.0.shutdown(Shutdown::Both));
    }
}

impl PidFile {
    /// Locks the file and writes our process number into it. A file left by a crash is not locked, so it does not
    /// matter. A symbolic link is not followed: in a folder that others can write to, it could lead anywhere.
    fn write(path: &Path) -> Result<PidFile, Error> {
        let unusable = |source| Error::PidFile { path: path.to_owned(), source };
        loop {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false).mode(0o644);
            let file = file::open_no_link(path, &mut options).map_err(unusable)?;
            let mut locked = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(locked) => locked,
                Err((mut file, Errno::EWOULDBLOCK)) => {
                    let mut pid = String::new();
                    file.read_to_string(&mut pid).map_err(unusable)?;
                    return Err(Error::Running { pid: pid.trim().into(), path: path.to_owned() });
                }
                Err((_, errno)) => return Err(unusable(errno.into())),
            };
            let ours = locked.metadata().map_err(unusable)?;
            if fs::metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
                let written = locked.set_len(0).and_then(|()| writeln!(locked, "{}", process::id()));
                written.map_err(unusable)?;
                return Ok(PidFile { path: path.to_owned(), _locked: locked });
            }
            // The daemon that held it has just ended and removed it: what we locked has no name any more.
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // If it stays, it is no obstacle: its lock ends with us.
        let _ = fs::remove_file(&self.path);
    }
}

/// Tells systemd that the service has started, or is back from reloading. Does nothing without systemd, like all
/// of these.
pub fn notify_ready() {
    notify(&[NotifyState::Ready]);
}

/// Tells systemd that the configuration is being read; [`notify_ready`] follows.
pub fn notify_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(since) => notify(&[NotifyState::Reloading, since]),
        Err(error) => log::debug!("cannot read the clock for the service manager: {error}"),
    }
}

/// Tells systemd that the service is stopping.
pub fn notify_stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Tells systemd that the owner's loop turns. With `WatchdogSec=`, a service that stays silent is restarted.
pub fn notify_watchdog() {
    notify(&[NotifyState::Watchdog]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        // It may come every second, and the service manager says itself what it misses.
        log::debug!("cannot tell the service manager {states:?}: {error}");
    }
}

const READY: &[u8] = b"ready";
const FAILED: &[u8] = b"failed";

fn heard(told: &[u8]) -> Result<(), Error> {
    if told == READY {
        return Ok(());
    }
    match told.strip_prefix(FAILED) {
        Some([code, text @ ..]) => Err(Error::Failed { code: *code, text: String::from_utf8_lossy(text).into() }),
        _ => Err(Error::Died),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

    #[test]
    fn a_pid_file_is_held_by_one_and_gone_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sipban.pid");
        fs::write(&path, "4194304 left by a crash").unwrap();
        let held = PidFile::write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", process::id()));
        let second = PidFile::write(&path).unwrap_err().to_string();
        assert!(second.contains(&format!("running already, as process {} ", process::id())), "{second}");
        drop(held);
        assert!(!path.exists());
        PidFile::write(&path).unwrap();
    }

    #[test]
    fn a_pid_file_that_is_a_link_is_refused_and_what_it_leads_to_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("sipban.pid"), folder.path().join("other"));
        fs::write(&other, "precious").unwrap();
        symlink(&other, &path).unwrap();
        let error = PidFile::write(&path).unwrap_err().to_string();
        assert!(error.contains("sipban.pid: it is a symbolic link"), "{error}");
        assert_eq!(fs::read_to_string(&other).unwrap(), "precious");
    }

    #[test]
    fn a_pid_file_in_no_folder_is_an_error_that_names_it() {
        let error = PidFile::write(Path::new("/no/such/folder/sipban.pid")).unwrap_err().to_string();
        assert!(error.contains("/no/such/folder/sipban.pid: No such file or directory"), "{error}");
    }

    #[test]
    fn what_the_daemon_reports_is_the_outcome() {
        assert!(heard(READY).is_ok());
        let (mut waiting, theirs) = UnixStream::pair().unwrap();
        Report(theirs).failed(&Failure::new(78, "no such key"));
        let mut told = Vec::new();
        waiting.read_to_end(&mut told).unwrap();
        let failure = Failure::from(heard(&told).unwrap_err());
        assert_eq!((failure.code, failure.text.as_str()), (78, "no such key"));
        assert!(matches!(heard(b""), Err(Error::Died)));
    }

    const ACT: &str = "SIPBAN_TEST_DAEMON";

    /// Not a test by itself: sends the messages to systemd, whose address is in the environment.
    #[test]
    fn the_service_itself() {
        if std::env::var(ACT).as_deref() == Ok("notify") {
            notify_ready();
            notify_reloading();
            notify_watchdog();
            notify_stopping();
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the environment of this process is that of all tests")]
    fn systemd_hears_what_it_waits_for() {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "system::daemon::tests::the_service_itself"])
            .env(ACT, "notify")
            .env("NOTIFY_SOCKET", folder.path().join("notify"))
            .stdout(process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        for expected in ["READY=1", "RELOADING=1\nMONOTONIC_USEC=", "WATCHDOG=1", "STOPPING=1"] {
            let mut message = [0; 200];
            let len = socket.recv(&mut message).unwrap();
            let message = String::from_utf8_lossy(&message[..len]).into_owned();
            assert!(message.starts_with(expected), "{message}");
        }
    }
}

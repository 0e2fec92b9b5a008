//! Living in the background (`-d`), and telling the service manager how we are.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process;

use crate::failure::Failure;
use daemonize::{Daemonize, Outcome};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use sd_notify::NotifyState;

/// Which of the two processes we are after [`detach`].
#[derive(Debug)]
pub enum Side {
    /// The process that was started in the foreground. The daemon is up: exit with success.
    Foreground,
    /// The daemon, which has yet to set itself up and to report.
    Daemon(Started),
}

/// A daemon that is setting itself up, while the foreground process waits for its report.
#[must_use = "the foreground process waits for the report"]
#[derive(Debug)]
pub struct Started {
    report: UnixStream,
    pid_file: PidFile,
}

/// The pid file of a running daemon, removed when this is dropped.
#[derive(Debug)]
pub struct PidFile(PathBuf);

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
    System(String),
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
        Failure::new(error.code(), error)
    }
}

impl Error {
    /// The exit status that goes with it.
    pub fn code(&self) -> u8 {
        match self {
            Error::Failed { code, .. } => *code,
            _ => 1,
        }
    }
}

/// Goes to the background: a session of its own, working directory `/`, umask 027, no standard streams, the pid file
/// written and locked. Call it before any thread is started, because only the calling one comes along, and make
/// relative paths absolute before.
///
/// Returns in the daemon, and in the foreground process once the daemon has reported.
///
/// # Errors
/// In the foreground process only: if there can be no daemon, or the daemon could not set itself up.
pub fn detach(pid_file: &Path) -> Result<Side, Error> {
    let unusable = |source| Error::PidFile { path: pid_file.to_owned(), source };
    let path = std::path::absolute(pid_file).map_err(unusable)?;
    refuse_if_running(&path)?;
    let (mut waiting, mut report) = UnixStream::pair().map_err(|error| Error::System(error.to_string()))?;
    match Daemonize::new().pid_file(&path).working_directory("/").umask(0o027).execute() {
        Outcome::Parent(Err(error)) => Err(Error::System(error.to_string())),
        Outcome::Parent(Ok(_)) => {
            // Else the end of the daemon would not be the end of what we read.
            drop(report);
            let mut told = Vec::new();
            waiting.read_to_end(&mut told).map_err(|error| Error::System(error.to_string()))?;
            heard(&told)
        }
        Outcome::Child(Ok(_)) => Ok(Side::Daemon(Started { report, pid_file: PidFile(path) })),
        Outcome::Child(Err(error)) => {
            // Not one of two starts at the same moment, which is seen only here?
            let error = refuse_if_running(&path).err().unwrap_or(Error::System(error.to_string()));
            tell(&mut report, &failure(error.code(), &error.to_string()));
            process::exit(error.code().into())
        }
    }
}

impl Started {
    /// Reports that all is set up; the foreground process exits with success.
    pub fn ready(mut self) -> PidFile {
        tell(&mut self.report, READY);
        self.pid_file
    }

    /// Reports that it did not work; the foreground process says `text` and exits with `code`, as the daemon should.
    pub fn failed(self, code: u8, text: &str) {
        let Started { mut report, pid_file } = self;
        drop(pid_file);
        tell(&mut report, &failure(code, text));
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // If it stays, it is no obstacle: its lock ends with us.
        let _ = fs::remove_file(&self.0);
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

/// Finds out by the lock whether a daemon runs, so a pid file left by a crash does not matter.
fn refuse_if_running(path: &Path) -> Result<(), Error> {
    let unusable = |source| Error::PidFile { path: path.to_owned(), source };
    let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o644).open(path);
    match Flock::lock(file.map_err(unusable)?, FlockArg::LockExclusiveNonblock) {
        Ok(_) => Ok(()),
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(unusable)?;
            Err(Error::Running { pid: pid.trim().into(), path: path.to_owned() })
        }
        Err((_, errno)) => Err(unusable(errno.into())),
    }
}

const READY: &[u8] = b"ready";

fn failure(code: u8, text: &str) -> Vec<u8> {
    [b"failed", &[code][..], text.as_bytes()].concat()
}

fn heard(told: &[u8]) -> Result<Side, Error> {
    if told == READY {
        return Ok(Side::Foreground);
    }
    match told.strip_prefix(b"failed") {
        Some([code, text @ ..]) => Err(Error::Failed { code: *code, text: String::from_utf8_lossy(text).into() }),
        _ => Err(Error::Died),
    }
}

fn tell(report: &mut UnixStream, what: &[u8]) {
    // Nobody may be waiting any more, and that is no reason to stop.
    let _ = report.write_all(what).and_then(|()| report.shutdown(Shutdown::Both));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::clock::Clock;
    use std::os::unix::net::UnixDatagram;
    use std::process::{Command, Output};
    use std::time::Duration;

    const ACT: &str = "SIPBAN_TEST_DAEMON";

    /// Runs [`the_daemon_itself`] in a process of its own, which forks.
    #[expect(clippy::disallowed_methods, reason = "the test needs a process that it can let fork")]
    fn start(act: &str, folder: &Path) -> Output {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "system::daemon::tests::the_daemon_itself", "--nocapture", "--test-threads=1"])
            .env(ACT, act)
            .current_dir(folder)
            .output()
            .unwrap()
    }

    fn wait_for(what: &str, condition: impl Fn() -> bool) {
        let clock = Clock::start();
        while !condition() {
            assert!(clock.now().monotonic < Duration::from_secs(20), "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Not a test by itself: what the processes of the tests below do.
    #[test]
    fn the_daemon_itself() {
        let Ok(act) = std::env::var(ACT) else { return };
        let folder = std::env::current_dir().unwrap();
        match detach(Path::new("sipban.pid")) {
            Ok(Side::Foreground) => process::exit(0),
            Err(error) => {
                io::stderr().write_all(error.to_string().as_bytes()).unwrap();
                process::exit(error.code().into());
            }
            Ok(Side::Daemon(started)) => {
                let home = std::env::current_dir().unwrap();
                match act.as_str() {
                    "fail" => started.failed(78, "no such key"),
                    "die" => process::abort(),
                    _ => {
                        let pid_file = started.ready();
                        fs::write(folder.join("home"), home.as_os_str().as_encoded_bytes()).unwrap();
                        wait_for("the end", || folder.join("stop").exists());
                        drop(pid_file);
                    }
                }
                process::exit(0);
            }
        }
    }

    #[test]
    fn a_daemon_that_is_up_refuses_a_second_one_and_removes_its_pid_file() {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("sipban.pid");
        fs::write(&pid_file, "4194304 left by a crash").unwrap();
        let first = start("run", folder.path());
        assert_eq!(first.status.code(), Some(0), "{first:?}");
        let pid = fs::read_to_string(&pid_file).unwrap();
        assert!(Path::new("/proc").join(pid.trim()).exists(), "{pid}");
        let second = start("run", folder.path());
        let error = String::from_utf8_lossy(&second.stderr).into_owned();
        assert_eq!(second.status.code(), Some(1));
        assert!(error.contains(&format!("running already, as process {} ", pid.trim())), "{error}");
        wait_for("the daemon's home", || fs::read(folder.path().join("home")).is_ok_and(|home| home == b"/"));
        fs::write(folder.path().join("stop"), "").unwrap();
        wait_for("the pid file to go", || !pid_file.exists());
    }

    #[test]
    fn a_daemon_that_cannot_set_itself_up_fails_in_the_foreground() {
        let folder = tempfile::tempdir().unwrap();
        for (act, code, text) in [("fail", 78, "no such key"), ("die", 1, "ended before it was set up")] {
            let output = start(act, folder.path());
            assert_eq!(output.status.code(), Some(code), "{output:?}");
            assert!(String::from_utf8_lossy(&output.stderr).contains(text), "{output:?}");
        }
    }

    #[test]
    fn a_pid_file_in_no_folder_is_an_error_that_names_it() {
        let error = detach(Path::new("/no/such/folder/sipban.pid")).unwrap_err().to_string();
        assert!(error.contains("/no/such/folder/sipban.pid: No such file or directory"), "{error}");
    }

    /// As [`the_daemon_itself`], for the messages to systemd, whose address is in the environment.
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

//! The only place that starts a program: no shell, an argument list, text on standard input, output captured.
//!
//! INVARIANT: no process outlives the value that stands for it; nothing waits for one longer than a deadline.

pub mod spare;

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Error;
use crate::model::clock::Clock;

/// A program that was found, and that is always started by its full path.
#[derive(Clone, Debug)]
pub struct Program(PathBuf);

/// What a program printed that ended with success.
#[derive(Clone, Debug)]
pub struct Output {
    /// Standard output, bytes that are not UTF-8 replaced.
    pub stdout: String,
    /// The first lines of standard error, in one.
    pub stderr: String,
}

/// A program that did not do its work: its command line, and why.
#[derive(Debug, thiserror::Error)]
#[error("`{argv}` {cause}")]
pub struct Failure {
    argv: String,
    cause: Cause,
    /// Whether all of the input went into the pipe. If not, the last line never came.
    fed: bool,
}

#[derive(Debug)]
enum Cause {
    Start(io::Error),
    Ended(ExitStatus, String),
    Unread,
    Pipe(io::Error),
    TooMuch,
    Hung(Duration),
}

const USUAL_FOLDERS: [&str; 6] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/local/bin"];

/// At most this long may a program take. A restore of 50,000 rules takes 0.6 s; the rest is waiting for the xtables lock.
const DEADLINE: Duration = Duration::from_secs(30);

/// At most this many bytes are read of standard output: some 300,000 entries of a set, or rules of a chain, as text.
const MOST_OUTPUT: usize = 64 << 20;

/// At most this many bytes are kept of standard error; the rest is read and dropped.
const MOST_COMPLAINT: usize = 4096;

/// A pipe that can be written to takes this many bytes at once (PIPE_BUF).
const PIECE: usize = 4096;

thread_local! {
    /// When the work that this thread does `within` a limit must be over.
    static OVER: RefCell<Option<(Clock, Duration)>> = const { RefCell::new(None) };
}

/// Gives all programs that this thread runs during `work` this long, together: one that hangs leaves less to the next.
/// Whoever has to answer within a time, such as to a watchdog, can then say how long several of them take.
pub fn within<T>(limit: Duration, work: impl FnOnce() -> T) -> T {
    OVER.set(Some((Clock::start(), limit)));
    let done = work();
    OVER.set(None);
    done
}

/// How long a program may take that is started now.
fn patience() -> Duration {
    OVER.with_borrow(|over| match over {
        Some((clock, limit)) => limit.saturating_sub(clock.now().monotonic).min(DEADLINE),
        None => DEADLINE,
    })
}

impl Program {
    /// Looks `name` up in `folder`, then in the usual ones.
    ///
    /// # Errors
    /// If it is in none of them.
    pub fn find(name: &str, folder: Option<&Path>) -> Result<Program, Error> {
        let folders = folder.into_iter().chain(USUAL_FOLDERS.iter().map(Path::new));
        match folders.map(|folder| folder.join(name)).find(|path| path.is_file()) {
            Some(path) => Ok(Program(path)),
            None => {
                let folder = folder.map(|folder| format!("{}, ", folder.display())).unwrap_or_default();
                let usual = USUAL_FOLDERS.join(", ");
                Err(Error(format!("{name} is not installed: it is not in {folder}{usual}")))
            }
        }
    }

    /// The program at this path, which need not be there before it is run.
    pub fn at(path: PathBuf) -> Program {
        Program(path)
    }

    /// Runs it to its end: `input` in, both outputs out.
    ///
    /// # Errors
    /// If it cannot be started, ends with another status than 0, prints more than anybody would read, or takes
    /// longer than 30 s, or than [`within`] leaves it.
    pub fn run(&self, args: &[&str], input: &str) -> Result<Output, Failure> {
        self.start(args)?.finish(input)
    }

    /// Runs it to its end, with nothing to read and with these variables in its environment.
    ///
    /// # Errors
    /// As [`run`](Program::run).
    pub fn run_with(&self, args: &[String], variables: &[(&str, String)]) -> Result<Output, Failure> {
        self.start_with(args, variables)?.finish("")
    }

    fn start<S: AsRef<str>>(&self, args: &[S]) -> Result<Running, Failure> {
        self.start_with(args, &[])
    }

    fn start_with<S: AsRef<str>>(&self, args: &[S], variables: &[(&str, String)]) -> Result<Running, Failure> {
        let args = || args.iter().map(AsRef::as_ref);
        let argv = args().fold(self.to_string(), |argv, arg| argv + " " + arg);
        #[expect(clippy::disallowed_methods, reason = "this is the only place that starts a program")]
        let child = Command::new(&self.0)
            .args(args())
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C in a terminal is for the daemon, which still has rules to remove.
            .process_group(0)
            .spawn();
        match child {
            Ok(child) => Ok(Running { argv, child }),
            Err(error) => Err(Failure { argv, cause: Cause::Start(error), fed: false }),
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Failure {
    /// Whether the program itself refused the work. Otherwise it was killed, by us or by others, and may have
    /// done the work or not.
    pub fn is_verdict(&self) -> bool {
        match &self.cause {
            Cause::Start(_) | Cause::Unread => true,
            Cause::Ended(status, _) => status.code().is_some(),
            Cause::Pipe(_) | Cause::TooMuch | Cause::Hung(_) => false,
        }
    }

    /// Why, without the command line.
    pub fn cause(&self) -> String {
        self.cause.to_string()
    }

    /// What it printed on standard error: the first lines, in one.
    pub fn complaint(&self) -> &str {
        match &self.cause {
            Cause::Ended(_, complaint) => complaint,
            _ => "",
        }
    }

    /// Whether it was killed because it took too long: more of the same would take as long again.
    pub fn timed_out(&self) -> bool {
        matches!(self.cause, Cause::Hung(_))
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        Error(failure.to_string())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Start(error) => write!(f, "cannot be started: {error}"),
            Cause::Ended(status, complaint) if complaint.is_empty() => write!(f, "ended with {status}"),
            Cause::Ended(status, complaint) => write!(f, "ended with {status}: {complaint}"),
            Cause::Unread => write!(f, "ended without having read its input"),
            Cause::Pipe(error) => write!(f, "could not be spoken with: {error}"),
            Cause::TooMuch => write!(f, "printed more than {MOST_OUTPUT} bytes"),
            Cause::Hung(Duration::ZERO) => {
                f.write_str("was killed: no time was left for it, because those before it took so long")
            }
            Cause::Hung(limit) => write!(f, "gave no answer within {:.1} s and was killed", limit.as_secs_f32()),
        }
    }
}

/// A started process; killed and reaped when dropped before its end.
#[derive(Debug)]
struct Running {
    argv: String,
    child: Child,
}

impl Running {
    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn finish(mut self, input: &str) -> Result<Output, Failure> {
        let limit = patience();
        let mut rest = input.as_bytes();
        let ended = self.converse(&mut rest, limit);
        let fed = rest.is_empty();
        let argv = std::mem::take(&mut self.argv);
        match ended {
            Ok((status, output)) if status.success() && fed => Ok(output),
            Ok((status, _)) if status.success() => Err(Failure { argv, cause: Cause::Unread, fed }),
            Ok((status, output)) => Err(Failure { argv, cause: Cause::Ended(status, output.stderr), fed }),
            Err(cause) => Err(Failure { argv, cause, fed }),
        }
    }

    /// Writes and reads whatever is ready, each as it comes: two programs that each wait for the other to empty
    /// a full pipe would wait for ever.
    fn converse(&mut self, rest: &mut &[u8], limit: Duration) -> Result<(ExitStatus, Output), Cause> {
        let clock = Clock::start();
        let left = || limit.checked_sub(clock.now().monotonic).ok_or(Cause::Hung(limit));
        let mut stdin = self.child.stdin.take().filter(|_| !rest.is_empty());
        let mut stdout = Capture::new(self.child.stdout.take());
        let mut stderr = Capture::new(self.child.stderr.take());
        while stdin.is_some() || stdout.pipe.is_some() || stderr.pipe.is_some() {
            let pipes = [
                (stdin.as_ref().map(AsFd::as_fd), PollFlags::POLLOUT),
                (stdout.pipe.as_ref().map(AsFd::as_fd), PollFlags::POLLIN),
                (stderr.pipe.as_ref().map(AsFd::as_fd), PollFlags::POLLIN),
            ];
            let [writable, out, err] = ready(pipes, left()?).map_err(Cause::Pipe)?;
            if let (true, Some(pipe)) = (writable, stdin.as_mut()) {
                match pipe.write(&rest[..rest.len().min(PIECE)]) {
                    Ok(written) => *rest = &rest[written..],
                    // It ends without having read all: its exit status and complaint say more than this error.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => stdin = None,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(Cause::Pipe(error)),
                }
                if rest.is_empty() {
                    stdin = None;
                }
            }
            if out && stdout.read(MOST_OUTPUT).map_err(Cause::Pipe)? {
                return Err(Cause::TooMuch);
            }
            if err {
                stderr.read(MOST_COMPLAINT).map_err(Cause::Pipe)?;
            }
        }
        let status = self.reap(|| left().is_ok()).map_err(Cause::Pipe)?.ok_or(Cause::Hung(limit))?;
        let stdout = String::from_utf8_lossy(&stdout.bytes).into_owned();
        Ok((status, Output { stdout, stderr: first_lines(&stderr.bytes) }))
    }

    /// Waits for the end of a process that has closed its outputs, and so is about to end: at first without
    /// sleeping, because a sleep is longer than a whole block takes.
    fn reap(&mut self, in_time: impl Fn() -> bool) -> io::Result<Option<ExitStatus>> {
        let mut looks = 0_u32;
        while in_time() {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            looks += 1;
            if looks < 200 {
                thread::yield_now();
            } else {
                thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(None)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Neither fails but for a process that is reaped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One output of a process, until it is closed.
struct Capture<P> {
    pipe: Option<P>,
    bytes: Vec<u8>,
}

impl<P: Read> Capture<P> {
    fn new(pipe: Option<P>) -> Capture<P> {
        Capture { pipe, bytes: Vec::new() }
    }

    /// Reads once and keeps up to `most` bytes in all; says whether there were more.
    fn read(&mut self, most: usize) -> io::Result<bool> {
        let mut piece = [0; PIECE];
        let Some(pipe) = self.pipe.as_mut() else { return Ok(false) };
        match pipe.read(&mut piece) {
            Ok(0) => self.pipe = None,
            Ok(read) => {
                let kept = read.min(most - self.bytes.len());
                self.bytes.extend_from_slice(&piece[..kept]);
                return Ok(kept < read);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(false)
    }
}

/// Waits until one of the pipes can be read or written, or has been closed by the other side, and says which.
fn ready(pipes: [(Option<BorrowedFd<'_>>, PollFlags); 3], patience: Duration) -> io::Result<[bool; 3]> {
    let open = pipes.iter().filter_map(|(pipe, flags)| pipe.map(|pipe| PollFd::new(pipe, *flags)));
    let mut open: Vec<PollFd> = open.collect();
    match poll(&mut open, PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX)) {
        Ok(_) => {
            let mut answers = open.iter().map(|pipe| pipe.any() != Some(false));
            Ok(pipes.map(|(pipe, _)| pipe.is_some() && answers.next() == Some(true)))
        }
        Err(Errno::EINTR) => Ok([false; 3]),
        Err(errno) => Err(errno.into()),
    }
}

/// The first three lines that are not empty, in one.
fn first_lines(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.take(3).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell() -> Program {
        Program::find("sh", Some(Path::new("/bin"))).unwrap()
    }

    #[test]
    fn a_program_that_is_nowhere_is_named_with_the_folders_searched() {
        let error = Program::find("no-such-program", Some(Path::new("/nowhere"))).unwrap_err();
        assert!(error.0.starts_with("no-such-program is not installed: it is not in /nowhere, /usr/sbin, "), "{error}");
    }

    #[test]
    fn a_folder_without_the_program_falls_back_to_the_usual_ones() {
        assert!(Program::find("sh", Some(Path::new("/nowhere"))).is_ok());
    }

    #[test]
    fn more_than_a_pipe_holds_goes_through_in_both_directions_at_once() {
        let text = "line\n".repeat(400_000);
        let output = Program::find("cat", None).unwrap().run(&[], &text).unwrap();
        assert_eq!(output.stdout, text);
    }

    #[test]
    fn a_failure_names_command_line_status_and_the_first_complaints() {
        let failure = shell().run(&["-c", "echo one >&2; echo >&2; echo two >&2; exit 3"], "").unwrap_err();
        assert!(failure.is_verdict());
        let text = failure.to_string();
        assert!(text.contains("/bin/sh -c"), "{text}");
        assert!(text.ends_with("ended with exit status: 3: one; two"), "{text}");
    }

    #[test]
    fn a_program_that_refuses_in_the_middle_of_a_long_input_is_heard() {
        let failure = shell().run(&["-c", "echo line 1 is bad >&2; exit 2"], &"line\n".repeat(400_000)).unwrap_err();
        assert!(failure.to_string().ends_with("ended with exit status: 2: line 1 is bad"), "{failure}");
    }

    #[test]
    fn success_without_having_read_the_input_is_no_success() {
        let failure = shell().run(&["-c", "exit 0"], &"line\n".repeat(400_000)).unwrap_err();
        assert!(failure.to_string().ends_with("ended without having read its input"), "{failure}");
    }

    #[test]
    fn a_program_that_hangs_is_killed_at_the_deadline() {
        for script in ["exec sleep 600", "exec sleep 600 >&- 2>&-", "cat >/dev/null; exec sleep 600"] {
            let running = shell().start(&["-c", script]).unwrap();
            let failure = within(Duration::from_millis(100), || running.finish("text\n")).unwrap_err();
            assert!(failure.timed_out() && !failure.is_verdict(), "{failure}");
            assert!(failure.to_string().ends_with("gave no answer within 0.1 s and was killed"), "{failure}");
        }
    }

    #[test]
    fn programs_that_hang_one_after_the_other_share_one_limit() {
        let hang = || shell().run(&["-c", "exec sleep 600"], "").unwrap_err();
        let (first, second) = within(Duration::from_millis(100), || (hang(), hang()));
        assert!(first.timed_out() && second.timed_out(), "{first}, {second}");
        assert!(second.to_string().contains("no time was left"), "{second}");
        assert!(shell().run(&["-c", "exit 0"], "").is_ok());
    }

    #[test]
    fn more_complaints_than_are_kept_do_not_stop_a_program() {
        let output = shell().run(&["-c", "yes complaint | head -n 100000 >&2; echo done"], "").unwrap();
        assert_eq!(output.stdout, "done\n");
        assert_eq!(output.stderr, "complaint; complaint; complaint");
    }

    #[test]
    fn nothing_of_our_environment_reaches_a_program() {
        let output = Program::find("env", None).unwrap().run(&[], "").unwrap();
        let names: Vec<&str> = output.stdout.lines().filter_map(|line| line.split('=').next()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names.contains(&"PATH") && names.contains(&"LC_ALL"), "{names:?}");
    }
}

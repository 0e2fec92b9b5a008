//! The daemon under test and the Asterisk it listens to.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Failed;
use crate::lab::{Backend, Lab, PBX};

/// How long anything may take before it counts as lost.
const DEADLINE: Duration = Duration::from_secs(120);

/// A running daemon, and our end of its AMI connection. Killed when dropped; its files stay in its folder.
pub struct Pbx {
    daemon: Child,
    ami: TcpStream,
    log: Log,
    config: PathBuf,
    backend: Backend,
    /// When the process was started.
    pub began: Instant,
    /// From the start of the process until its log said that all was set up.
    pub took: Duration,
}

/// What the daemon has used so far.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// CPU time of its own threads.
    pub own: Duration,
    /// CPU time of the programs it ran.
    pub programs: Duration,
    /// Resident memory now, and at most so far, in bytes.
    pub resident: f64,
    /// See `resident`.
    pub peak: f64,
}

impl Pbx {
    /// Starts a daemon that keeps its files in `folder`, and waits until it is set up and logged in.
    pub fn start(lab: &Lab, backend: Backend, folder: &Path) -> Result<Pbx, Failed> {
        Pbx::start_with(lab, backend, folder, "", "")
    }

    /// The same, with more sections in its configuration, and with a white list.
    pub fn start_with(
        lab: &Lab,
        backend: Backend,
        folder: &Path,
        sections: &str,
        white_list: &str,
    ) -> Result<Pbx, Failed> {
        let asterisk = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let config = folder.join("sipban.conf");
        fs::write(&config, configuration(lab, backend, folder, asterisk.local_addr()?.port()) + sections)?;
        fs::write(folder.join("wl"), white_list)?;
        let program = std::env::var_os("SIPBAN_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_sipban").into());
        let mut log = Log::at_end_of(&folder.join("log"))?;
        let began = Instant::now();
        let daemon = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .spawn()?;
        let mut daemon = Killed(Some(daemon));
        log.wait(1, "FIREWALL => ", || daemon.is_running())?;
        let ami = logged_in(&asterisk)?;
        let connected = log.wait(1, "AMI => connected", || daemon.is_running())?;
        // The last line before the connection that is about the firewall says that all is in force.
        let took = log.last_firewall.unwrap_or(connected) - began;
        let daemon = daemon.0.take().ok_or("no daemon")?;
        Ok(Pbx { daemon, ami, log, config, backend, began, took })
    }

    /// Sends these bytes as Asterisk does. For what does not fit into the socket's buffers, see [`Pbx::strike`].
    pub fn send(&mut self, events: &[u8]) -> Result<(), Failed> {
        Ok(self.ami.write_all(events)?)
    }

    /// Sends these bytes and waits for the last of `blocks` blocks that they cause; how long both took, and how many
    /// there were.
    pub fn strike(&mut self, events: &[u8], blocks: usize) -> Result<(Duration, usize), Failed> {
        let began = Instant::now();
        let mut ami = self.ami.try_clone()?;
        let ended = thread::scope(|scope| {
            scope.spawn(move || ami.write_all(events));
            self.log.wait(blocks, "] BLOCK => ", || true)
        });
        Ok((ended.unwrap_or_else(|_| Instant::now()) - began, self.log.counted))
    }

    /// Waits until the log has said so many times that a block is over; the moment of the last.
    pub fn wait_for_ends(&mut self, blocks: usize) -> Result<Instant, Failed> {
        self.log.wait(blocks, "] UNBLOCK => ", || true)
    }

    /// Waits until the log has so many more lines that hold this; the moment of the last.
    pub fn wait_for(&mut self, lines: usize, text: &str) -> Result<Instant, Failed> {
        let daemon = &mut self.daemon;
        self.log.wait(lines, text, || matches!(daemon.try_wait(), Ok(None)))
    }

    /// The same, counting from the beginning of the log.
    pub fn wait_for_in_all(&mut self, lines: usize, text: &str) -> Result<Instant, Failed> {
        self.log.read = 0;
        self.wait_for(lines, text)
    }

    /// Number of blocks that the kernel lists.
    pub fn in_force(&self, lab: &Lab) -> Result<usize, Failed> {
        let (text, block) = match self.backend {
            Backend::ChainNft | Backend::ChainLegacy => {
                (lab.run("iptables-save", &["-t", "filter"], "")?, "-A sipban-udp -s ")
            }
            Backend::Ipset => (lab.run("ipset", &["save", "sipban"], "")?, "\nadd "),
            Backend::Nft => (lab.run("nft", &["list", "set", "inet", "sipban", "b4"], "")?, " timeout "),
        };
        Ok(text.matches(block).count())
    }

    /// Has a console command done.
    pub fn ctl(&self, command: &str) -> Result<(), Failed> {
        let program = std::env::var_os("SIPBAN_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_sipban").into());
        let output = Command::new(program).arg("--config").arg(&self.config).args(["ctl", command]).output()?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("ctl {command}: {}", String::from_utf8_lossy(&output.stderr)).into()),
        }
    }

    /// What the daemon has used so far.
    pub fn usage(&self) -> Result<Usage, Failed> {
        let process = PathBuf::from(format!("/proc/{}", self.daemon.id()));
        let mut own = Duration::ZERO;
        for thread in fs::read_dir(process.join("task"))? {
            let times = fs::read_to_string(thread?.path().join("schedstat"))?;
            own += Duration::from_nanos(times.split(' ').next().unwrap_or_default().parse()?);
        }
        let stat = fs::read_to_string(process.join("stat"))?;
        // Behind the name, which may hold anything; fields 16 and 17 are the children's ticks, 100 a second.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = fields[13].parse::<u64>()? + fields[14].parse::<u64>()?;
        let status = fs::read_to_string(process.join("status"))?;
        let memory = |key: &str| -> Result<f64, Failed> {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).ok_or("no such line")?;
            Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
        };
        Ok(Usage {
            own,
            programs: Duration::from_millis(ticks * 10),
            resident: memory("VmRSS:")?,
            peak: memory("VmHWM:")?,
        })
    }
}

impl Drop for Pbx {
    /// As `kill -9` does: rules and journal stay.
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl Usage {
    /// CPU time since an earlier look.
    pub fn cpu_since(self, earlier: Usage) -> (Duration, Duration) {
        (self.own - earlier.own, self.programs.saturating_sub(earlier.programs))
    }
}

/// The events of one request for an account that does not exist, and that no [`login`] is for.
pub fn attack(from: Ipv4Addr, n: usize) -> String {
    event("InvalidAccountID", "Error", "100", n, from, "")
        + &event("ChallengeSent", "Informational", "<unknown>", n, from, "Challenge: \r\n")
}

/// The events of one login.
pub fn login(from: Ipv4Addr, n: usize) -> String {
    let account = format!("{}", 1000 + n % 1000);
    event("ChallengeSent", "Informational", &account, n, from, "Challenge: \r\n")
        + &event("SuccessfulAuth", "Informational", &account, n, from, "UsingPassword: 1\r\n")
}

fn event(name: &str, severity: &str, account: &str, n: usize, from: Ipv4Addr, rest: &str) -> String {
    let mut text = String::with_capacity(320);
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "Event: {name}\r\nPrivilege: security,all\r\nEventTV: 2026-11-22T10:47:42.628+0000\r\nSeverity: {severity}\r\n\
         Service: PJSIP\r\nEventVersion: 1\r\nAccountID: {account}\r\nSessionID: 3a55b101-{n}@{from}\r\n\
         LocalAddress: IPV4/UDP/{PBX}/5060\r\nRemoteAddress: IPV4/UDP/{from}/37506\r\n{rest}\r\n"
    );
    text
}

fn configuration(lab: &Lab, backend: Backend, folder: &Path, ami: u16) -> String {
    let (programs, folder) = (lab.programs.path().display(), folder.display());
    let kind = backend.key();
    format!(
        "[ami]\nport = {ami}\nuser = sipban\npass = getout\nping = 3600\n\
         [iptables]\npath = {programs}\nbackend = {kind}\nwhite_list = {folder}/wl\ndump = {folder}/dump\n\
         [state]\nfile = {folder}/bans\n[log]\nfile = {folder}/log\n"
    )
}

/// Greets and lets in.
fn logged_in(asterisk: &TcpListener) -> Result<TcpStream, Failed> {
    let (mut stream, _) = asterisk.accept()?;
    stream.set_nodelay(true)?;
    stream.write_all(b"Asterisk Call Manager/11.0.0\r\n")?;
    let mut action = String::new();
    let mut lines = BufReader::new(stream.try_clone()?);
    loop {
        let mut line = String::new();
        lines.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if line.starts_with("ActionID: ") {
            action = line;
        }
    }
    stream.write_all(format!("Response: Success\r\n{action}Message: Authentication accepted\r\n\r\n").as_bytes())?;
    Ok(stream)
}

/// A process that is killed unless somebody else takes care of it.
struct Killed(Option<Child>);

impl Killed {
    fn is_running(&mut self) -> bool {
        self.0.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The daemon's log, read as it grows.
struct Log {
    path: PathBuf,
    read: u64,
    /// Lines found by the last wait.
    counted: usize,
    /// When a line about the firewall was last seen.
    last_firewall: Option<Instant>,
    tail: Vec<String>,
}

impl Log {
    fn at_end_of(path: &Path) -> Result<Log, Failed> {
        let read = fs::metadata(path).map_or(0, |there| there.len());
        Ok(Log { path: path.to_owned(), read, counted: 0, last_firewall: None, tail: Vec::new() })
    }

    /// Waits for so many lines that hold `text`; when the last was seen.
    fn wait(&mut self, lines: usize, text: &str, mut alive: impl FnMut() -> bool) -> Result<Instant, Failed> {
        let began = Instant::now();
        self.counted = 0;
        loop {
            let running = alive();
            let piece = self.more()?;
            let now = Instant::now();
            for line in piece.lines() {
                self.counted += usize::from(line.contains(text));
                if line.contains("FIREWALL => ") {
                    self.last_firewall = Some(now);
                }
                if line.contains("ERROR => ") {
                    self.tail.push(line.to_owned());
                }
            }
            if self.counted >= lines {
                return Ok(now);
            }
            if !running || began.elapsed() > DEADLINE {
                let what = if running { "the daemon is too slow" } else { "the daemon has ended" };
                let tail = self.tail.join("\n");
                return Err(format!("{what}: {} of {lines} lines `{text}` in its log. {tail}", self.counted).into());
            }
            thread::sleep(Duration::from_micros(500));
        }
    }

    /// The whole lines written since last asked.
    fn more(&mut self) -> Result<String, Failed> {
        let Ok(mut file) = File::open(&self.path) else { return Ok(String::new()) };
        file.seek(SeekFrom::Start(self.read))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        self.read += bytes.len() as u64;
        Ok(String::from_utf8(bytes)?)
    }
}

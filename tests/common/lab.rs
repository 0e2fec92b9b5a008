//! A machine to guard: a network namespace with the real iptables, a fake Asterisk, and the real daemon with files of
//! its own.
//!
//! A test file takes it in with `#[path = "common/lab.rs"] mod lab;`.
#![allow(dead_code, reason = "each test file uses a part of it")]

#[path = "asterisk.rs"]
pub mod asterisk;
#[path = "netns.rs"]
pub mod netns;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, unbounded};
use ipnet::IpNet;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use sipban::model::clock::Clock;
use tempfile::TempDir;

use asterisk::{FakeAsterisk, Step};
use netns::{Netns, Variant, call, nft};

/// How long anything that must happen may take, on a machine that has a lot else to do.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Port of the console, and of nothing else in the namespace.
pub const CONSOLE: u16 = 4451;

/// A guarded machine. All of it goes when it is dropped.
pub struct Lab {
    /// Its network.
    pub netns: Netns,
    /// Its iptables.
    pub programs: TempDir,
    /// Its files.
    pub folder: TempDir,
    /// Its PBX.
    asterisk: Option<FakeAsterisk>,
    events: Sender<Vec<u8>>,
    settings: BTreeMap<&'static str, BTreeMap<&'static str, String>>,
    daemon: Option<Child>,
    /// Length of the log when the daemon was last started.
    mark: usize,
}

/// Tries it with a chain on both kinds of iptables, and with a table of nftables.
pub fn each(test: impl Fn(Lab)) {
    each_chain(&test);
    if let Some(mut lab) = Lab::new(Variant::Nft) {
        lab.set("iptables.backend", "nft");
        test(lab);
    }
}

/// Tries it with a chain on both kinds of iptables.
pub fn each_chain(test: impl Fn(Lab)) {
    [Variant::Nft, Variant::Legacy].into_iter().filter_map(Lab::new).for_each(test);
}

/// Waits for something that must come to be.
#[track_caller]
pub fn wait_until(what: &str, is_so: impl FnMut() -> bool) {
    assert!(comes_to_be(is_so), "waited {DEADLINE:?} for {what}");
}

fn comes_to_be(mut is_so: impl FnMut() -> bool) -> bool {
    let clock = Clock::start();
    while !is_so() {
        if clock.now().monotonic > DEADLINE {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}

impl Lab {
    /// A machine whose Asterisk stays connected and says what the test tells it to, through any number of restarts.
    /// `None`, loudly, if there can be no such machine here.
    pub fn new(variant: Variant) -> Option<Lab> {
        Lab::facing(variant, Vec::new())
    }

    /// A machine whose Asterisk first plays these scripts, one a connection.
    pub fn facing(variant: Variant, scripts: Vec<Vec<Step>>) -> Option<Lab> {
        const RESTARTS: usize = 200;
        let (netns, programs) = (Netns::new()?, variant.folder()?);
        let (events, relayed) = unbounded();
        let live = || vec![Step::Courtesy, Step::Welcome, Step::Relay(relayed.clone())];
        let scripts = scripts.into_iter().chain((0..RESTARTS).map(|_| live())).collect();
        let asterisk = netns.enter(|| FakeAsterisk::start(scripts));
        let mut lab = Lab {
            netns,
            programs,
            folder: tempfile::tempdir().unwrap(),
            asterisk: None,
            events,
            settings: BTreeMap::new(),
            daemon: None,
            mark: 0,
        };
        for (key, file) in [
            ("iptables.white_list", "white_list"),
            ("iptables.dump", "dump"),
            ("state.file", "state/bans"),
            ("log.file", "log"),
        ] {
            lab.set(key, lab.path(file).display().to_string());
        }
        lab.set("ami.user", "sipban");
        lab.set("ami.pass", "getout");
        lab.set("ami.port", asterisk.address().port());
        lab.set("iptables.path", lab.programs.path().display().to_string());
        fs::write(lab.path("white_list"), "127.0.0.1\n").unwrap();
        lab.asterisk = Some(asterisk);
        Some(lab)
    }

    /// Writes a key of the configuration, such as `iptables.verify`.
    pub fn set(&mut self, key: &'static str, value: impl ToString) {
        let (section, key) = key.split_once('.').unwrap();
        self.settings.entry(section).or_default().insert(key, value.to_string());
        self.write_settings();
    }

    /// Takes a section out of the configuration.
    pub fn unset(&mut self, section: &str) {
        self.settings.remove(section);
        self.write_settings();
    }

    fn write_settings(&self) {
        use std::os::unix::fs::PermissionsExt;
        let mut text = String::new();
        for (section, keys) in &self.settings {
            text += &format!("[{section}]\n");
            text.extend(keys.iter().map(|(key, value)| format!("{key} = \"{value}\"\n")));
        }
        fs::write(self.path("conf"), text).unwrap();
        fs::set_permissions(self.path("conf"), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// A file of this machine: `conf`, `log`, `white_list`, `dump`, `state/bans`, `pid`, `stdout`, `stderr`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Its PBX.
    pub fn asterisk(&self) -> &FakeAsterisk {
        self.asterisk.as_ref().unwrap()
    }

    /// Has Asterisk say this.
    pub fn say(&self, bytes: impl Into<Vec<u8>>) {
        self.events.send(bytes.into()).unwrap();
    }

    /// Has Asterisk report a request for an account that does not exist.
    pub fn attack(&self, address: &str) {
        self.say(unknown_account(address));
    }

    /// As [`Lab::attack`]; returns when the block is in force and in the log.
    #[track_caller]
    pub fn attack_and_block(&self, address: &str) {
        self.attack(address);
        self.wait_for_log(&format!("BLOCK => {address} (Invalid Account)"));
        assert!(self.is_blocked(address));
    }

    /// Starts the daemon in the foreground; it guards the machine and hears Asterisk when this returns.
    #[track_caller]
    pub fn start(&mut self) {
        self.spawn(&[]);
        self.wait_for_log("AMI => connected");
    }

    /// Starts the daemon in the foreground, with more arguments; its console is open when this returns.
    #[track_caller]
    pub fn spawn(&mut self, args: &[&str]) {
        self.launch(args);
        let console = || TcpStream::connect(("127.0.0.1", CONSOLE));
        wait_until("the console", || {
            self.assert_running();
            // Not only connected: a session that ends before it began would be a line in the log.
            self.netns.enter(|| console().map(|mut stream| read_to_prompt(&mut stream)).is_ok())
        });
    }

    /// Starts the daemon in the foreground and waits for nothing.
    pub fn launch(&mut self, args: &[&str]) {
        self.launch_as(self.command(args));
    }

    /// The same with the rights that the systemd unit leaves it.
    pub fn launch_confined(&mut self) {
        let (inner, mut command) = (self.command(&[]), self.program("setpriv"));
        command.args(["--bounding-set=-all,+net_admin,+net_raw", "--inh-caps=-all"]);
        command.arg(inner.get_program()).args(inner.get_args());
        self.launch_as(command);
    }

    /// The same, started by this command.
    pub fn launch_as(&mut self, mut command: Command) {
        assert!(self.daemon.is_none(), "it is running");
        self.mark = self.log_file().len();
        command.stdout(self.open("stdout")).stderr(self.open("stderr"));
        self.daemon = Some(self.netns.enter(|| command.spawn().unwrap()));
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        let mut command = self.command(args);
        self.netns.enter(|| command.output().unwrap())
    }

    /// The same, but with status 124 if it does not end by itself.
    pub fn run_within_deadline(&self, args: &[&str]) -> Output {
        let (inner, mut command) = (self.command(args), self.program("timeout"));
        command.arg(DEADLINE.as_secs().to_string()).arg(inner.get_program()).args(inner.get_args());
        self.netns.enter(|| command.output().unwrap())
    }

    /// `sipban` with the configuration of this machine, and these arguments.
    pub fn command(&self, args: &[&str]) -> Command {
        let (conf, pid) = (self.path("conf"), self.path("pid"));
        let mut command = self.program(env!("CARGO_BIN_EXE_sipban"));
        command.arg("-c").arg(conf).arg("--pid-file").arg(pid).args(args);
        command
    }

    /// Any other program; it is in the network of the thread that starts it.
    #[expect(clippy::disallowed_methods, reason = "the whole program is tested, as a process of its own")]
    pub fn program(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.stdin(Stdio::null());
        command
    }

    /// Number of the daemon's process.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.daemon.as_ref().unwrap().id().try_into().unwrap())
    }

    /// Memory that the daemon occupies, in bytes, without the program itself: how much of that is resident is not its doing.
    pub fn resident(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB"));
        resident.unwrap().parse::<usize>().unwrap() << 10
    }

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: Signal) {
        signal::kill(self.pid(), signal).unwrap();
    }

    /// Waits for the daemon's end.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let mut daemon = self.daemon.take().unwrap();
        let mut status = None;
        let ended = comes_to_be(|| {
            status = daemon.try_wait().unwrap();
            status.is_some()
        });
        if !ended {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        }
        assert!(ended, "it does not end: {}", self.log());
        status.unwrap()
    }

    /// Stops the daemon as a service manager does.
    #[track_caller]
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.wait_for_end();
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// Kills the daemon, so that it can do nothing more.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait_for_end();
    }

    /// The log since the last start, without the times.
    pub fn log(&self) -> String {
        let text = self.log_file();
        // After a rotation it is another file.
        let since = text.get(self.mark..).unwrap_or(&text);
        since.lines().map(|line| line.get(22..).unwrap_or(line)).fold(String::new(), |text, line| text + line + "\n")
    }

    /// How often this is in the log since the last start.
    pub fn logged(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    /// Waits for a line that holds this.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        self.wait_for_log_times(text, 1);
    }

    /// Waits for this many such lines.
    #[track_caller]
    pub fn wait_for_log_times(&self, text: &str, times: usize) {
        let come = comes_to_be(|| self.logged(text) >= times);
        assert!(come, "not {times} times in the log: {text}\n{}\n{}", self.log(), self.text("stderr"));
    }

    /// Content of a file of this machine; nothing if it is not there.
    pub fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }

    /// What the console answers to a command, without prompts and with plain line ends.
    #[track_caller]
    pub fn console(&self, command: &str) -> String {
        let answer = self.netns.enter(|| {
            let mut stream = TcpStream::connect(("127.0.0.1", CONSOLE)).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            read_to_prompt(&mut stream);
            stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
            read_to_prompt(&mut stream)
        });
        answer.trim_end_matches("sipban>").replace("\r\n", "\n").trim().to_owned()
    }

    /// What `iptables -S sipban-udp` shows, or `ip6tables`, without the `-N`; fails if there is no chain.
    pub fn chain(&self, tool: &str) -> Result<Vec<String>, String> {
        let listed = self.tool(tool, "-S sipban-udp")?;
        Ok(listed.lines().skip(1).map(|line| line.trim_end().to_owned()).collect())
    }

    /// Runs `iptables` or the like, with its lock.
    pub fn tool(&self, tool: &str, args: &str) -> Result<String, String> {
        let wait: &[&str] = if tool.ends_with("tables") { &["-w"] } else { &[] };
        let args: Vec<&str> = wait.iter().copied().chain(args.split_whitespace()).collect();
        self.netns.enter(|| call(self.programs.path().join(tool), &args))
    }

    /// Runs nft; what it prints.
    pub fn nft(&self, args: &str) -> Result<String, String> {
        self.netns.enter(|| call(nft().unwrap_or_else(|| "nft".into()), &args.split(' ').collect::<Vec<_>>()))
    }

    /// All rules of the table `filter`, of IPv4 and IPv6, without comments and counters, and our table of nftables
    /// without its blocks.
    pub fn rules(&self) -> Vec<String> {
        let listed = ["iptables-save", "ip6tables-save"].map(|tool| self.tool(tool, "-t filter").unwrap());
        let lines = listed.iter().flat_map(|text| text.lines()).filter(|line| !line.starts_with('#'));
        let chains = lines.map(|line| line.split(" [").next().unwrap().trim_end().to_owned());
        let table = ["prerouting", "blocks"].map(|chain| self.nft(&format!("list chain inet sipban {chain}")));
        chains
            .chain(table.into_iter().flatten().flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()))
            .collect()
    }

    /// Whom the kernel blocks.
    pub fn blocked(&self) -> BTreeSet<IpNet> {
        match self.backend() {
            Some("nft") => return ["b4", "b6", "a6", "n4", "n6"].iter().flat_map(|set| self.elements(set)).collect(),
            Some("ipset") => {
                let saved = self.netns.enter(|| call("ipset", &["save"])).unwrap();
                return saved
                    .lines()
                    .filter_map(|line| Some(net(line.strip_prefix("add sipban")?.split(' ').nth(1)?)))
                    .collect();
            }
            _ => {}
        }
        let source = |rule: &String| rule.strip_prefix("-A sipban-udp -s ")?.split(' ').next()?.parse().ok();
        self.rules().iter().filter_map(source).collect()
    }

    /// What the log calls that which holds the blocks.
    pub fn holder(&self) -> &'static str {
        if self.backend() == Some("nft") { "TABLE => inet sipban" } else { "CHAIN => sipban-udp" }
    }

    /// What the console calls that which holds the blocks.
    pub fn holder_name(&self) -> &'static str {
        if self.backend() == Some("nft") { "inet sipban" } else { "sipban-udp" }
    }

    /// What the console answers to `flush`.
    pub fn flushed(&self) -> &'static str {
        match self.backend() {
            Some("nft") => "nft rules from table inet sipban removed",
            _ => "iptables rules from chain sipban-udp removed",
        }
    }

    fn backend(&self) -> Option<&str> {
        self.settings.get("iptables")?.get("backend").map(String::as_str)
    }

    /// The blocks in a set of our table.
    fn elements(&self, set: &str) -> Vec<IpNet> {
        let Ok(text) = self.nft(&format!("list set inet sipban {set}")) else { return Vec::new() };
        let list = text.split("elements = {").nth(1).and_then(|list| list.split('}').next()).unwrap_or_default();
        let first = list.split(',').filter_map(|element| element.split_whitespace().next());
        first.map(|text| net(&if set == "b6" { format!("{text}/64") } else { text.to_owned() })).collect()
    }

    /// Whether the kernel blocks this address or network.
    pub fn is_blocked(&self, net: &str) -> bool {
        self.blocked().contains(&self::net(net))
    }

    /// Waits until the kernel blocks exactly these.
    #[track_caller]
    pub fn wait_for_blocks(&self, nets: &[&str]) {
        let wanted: BTreeSet<IpNet> = nets.iter().map(|text| net(text)).collect();
        let come = comes_to_be(|| self.blocked() == wanted);
        assert!(come, "the kernel blocks {:?}, not {wanted:?}\n{}", self.blocked(), self.log());
    }

    /// Panics if the daemon has ended.
    #[track_caller]
    pub fn assert_running(&mut self) {
        let ended = self.daemon.as_mut().unwrap().try_wait().unwrap();
        assert_eq!(ended, None, "it has ended: {}{}", self.log(), self.text("stderr"));
    }

    fn log_file(&self) -> String {
        self.text("log")
    }

    fn open(&self, name: &str) -> File {
        File::options().create(true).append(true).open(self.path(name)).unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        // One that went to the background, and whose test did not get as far as to stop it.
        if let Ok(pid) = self.text("pid").trim().parse() {
            let ours = fs::read_link(format!("/proc/{pid}/exe"))
                .is_ok_and(|exe| exe == Path::new(env!("CARGO_BIN_EXE_sipban")));
            let _ = ours.then(|| signal::kill(Pid::from_raw(pid), Signal::SIGKILL));
        }
        // It wakes itself up over its own network.
        let asterisk = self.asterisk.take();
        self.netns.enter(|| drop(asterisk));
    }
}

/// An address stands for the network of that address alone.
pub fn net(text: &str) -> IpNet {
    text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).unwrap()
}

/// A request for an account that does not exist.
pub fn unknown_account(address: &str) -> Vec<u8> {
    event("InvalidAccountID", "Error", "100", address, "1-7", "")
}

/// A challenge, which nobody answers.
pub fn challenge(address: &str, session: usize) -> Vec<u8> {
    event("ChallengeSent", "Informational", "<unknown>", address, &format!("1-{session}"), "Challenge: \r\n")
}

/// An event as Asterisk 22 writes it.
pub fn event(name: &str, severity: &str, account: &str, address: &str, session: &str, more: &str) -> Vec<u8> {
    let (version, local) = match address.parse().unwrap() {
        IpAddr::V4(_) => ("IPV4", "198.18.0.1"),
        IpAddr::V6(_) => ("IPV6", "2001:db8:18::1"),
    };
    format!(
        "Event: {name}\r\nPrivilege: security,all\r\nEventTV: 2026-11-22T10:47:42.628+0000\r\nSeverity: {severity}\r\n\
         Service: PJSIP\r\nEventVersion: 1\r\nAccountID: {account}\r\nSessionID: {session}\r\n\
         LocalAddress: {version}/UDP/{local}/5060\r\nRemoteAddress: {version}/UDP/{address}/5060\r\n{more}\r\n"
    )
    .into_bytes()
}

/// This many attackers, all different: the first is 10.SERIES.0.0.
pub fn attackers(series: u8, count: u16) -> impl Iterator<Item = String> {
    (0..count).map(move |number| format!("10.{series}.{}.{}", number >> 8, number & 255))
}

fn read_to_prompt(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\nsipban>") {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&piece[..count]);
    }
    String::from_utf8(text).unwrap()
}
